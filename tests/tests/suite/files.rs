//! Files that are read: `.env`, tokens, ids, passwords, certificates. No size and no kind of file hangs a load or fills
//! the memory, and a pipe is read when something answers on it.

use std::fs;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{ErrorKind, Loader, Mode, Vault, VaultConfig};
use vault_config_tests::OpenBao;

use crate::support::{NOTHING, load_error};

#[derive(Debug, VaultConfig)]
#[vault(env_prefix = "APP")]
struct Config {
    #[vault(kv = "app")]
    password: SecretString,
    #[vault(default = 1)]
    port: u16,
}

fn local(dotenv: &Path) -> Loader<Config> {
    Config::loader().mode(Mode::Local).env_source(NOTHING).dotenv(dotenv)
}

fn pipe(folder: &TempDir, name: &str) -> PathBuf {
    let path = folder.path().join(name);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

/// Waits until it is opened, as a password manager does, and answers in two parts.
fn answers(pipe: &Path, text: &str) -> JoinHandle<()> {
    let (path, text) = (pipe.to_owned(), text.to_owned());
    thread::spawn(move || {
        let mut pipe = fs::OpenOptions::new().write(true).open(path).unwrap();
        let (one, other) = text.split_at(text.len() / 2);
        pipe.write_all(one.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(50));
        pipe.write_all(other.as_bytes()).unwrap();
    })
}

/// Every file that is none, and what is said of it.
fn no_files(folder: &TempDir) -> [(PathBuf, &'static str); 4] {
    let socket = folder.path().join("socket");
    if !socket.exists() {
        drop(UnixListener::bind(&socket).unwrap());
    }
    [
        (folder.path().to_owned(), "it is a directory"),
        ("/dev/zero".into(), "it is a device"),
        ("/dev/null".into(), "it is a device"),
        (socket, "it is a socket"),
    ]
}

#[tokio::test]
async fn an_env_file_is_read_up_to_a_mebibyte() {
    const MIB: usize = 1024 * 1024;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join(".env");
    let secret = "x".repeat(MIB - "APP_PASSWORD=''".len());
    fs::write(&file, format!("APP_PASSWORD='{secret}'")).unwrap();
    let read = local(&file).load().await.unwrap();
    assert_eq!(read.password.expose_secret(), secret);

    fs::write(&file, format!("APP_PASSWORD='{secret}'\n")).unwrap();
    let long = format!("APP_PASSWORD={}", "x".repeat(100 * MIB));
    for text in [None, Some(&long)] {
        if let Some(text) = text {
            fs::write(&file, text).unwrap();
        }
        let error = load_error(local(&file)).await;
        let problem = &error.problems()[0];
        assert_eq!(problem.kind(), ErrorKind::Dotenv, "{error}");
        assert_eq!(problem.message(), "it is larger than 1 MiB, the most that is read");
        assert_eq!(problem.source_name(), file.to_str());
    }
}

#[tokio::test]
async fn an_env_file_that_is_no_file_is_a_problem_with_a_message() {
    let folder = TempDir::new().unwrap();
    for (path, what) in no_files(&folder) {
        let error = load_error(local(&path)).await;
        let problem = &error.problems()[0];
        assert_eq!(problem.kind(), ErrorKind::Dotenv, "{error}");
        assert_eq!(problem.message(), format!("{what}: only regular files and pipes are read"));
        assert_eq!(problem.source_name(), path.to_str());
    }
}

#[tokio::test]
async fn an_env_file_may_be_a_pipe_that_answers() {
    let folder = TempDir::new().unwrap();
    let path = pipe(&folder, ".env");
    for _ in 0..2 {
        let writer = answers(&path, "APP_PASSWORD='of a pipe'\nAPP_PORT=2\n");
        let (read, report) = local(&path).load_with_report().await.unwrap();
        writer.join().unwrap();
        assert_eq!((read.password.expose_secret(), read.port), ("of a pipe", 2));
        assert!(report.to_string().contains(".env line 2 APP_PORT"), "{report}");
    }
    let writer = answers(&path, "APP_PASSWORD='of a pipe'\n");
    let blocking = thread::spawn({
        let path = path.clone();
        move || local(&path).load_blocking().unwrap()
    });
    assert_eq!(blocking.join().unwrap().password.expose_secret(), "of a pipe");
    writer.join().unwrap();

    // As a shell's <(..) is: without a name of its own, and its writer is gone already.
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"APP_PASSWORD='of a shell'\n").unwrap();
    drop(writer);
    let path = PathBuf::from(format!("/dev/fd/{}", reader.as_raw_fd()));
    assert_eq!(local(&path).load().await.unwrap().password.expose_secret(), "of a shell");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(writer);
    let path = PathBuf::from(format!("/dev/fd/{}", reader.as_raw_fd()));
    assert_eq!(load_error(local(&path)).await.kind(), ErrorKind::Missing, "an empty file");
}

#[tokio::test]
async fn an_env_pipe_without_a_writer_ends_with_a_message_and_blocks_no_task() {
    let folder = TempDir::new().unwrap();
    let path = pipe(&folder, ".env");
    let load = load_error(local(&path));
    let mut load = std::pin::pin!(load);
    // On the one thread of this runtime.
    tokio::select! {
        biased;
        error = &mut load => panic!("it came before a tenth of a second: {error}"),
        () = tokio::time::sleep(Duration::from_millis(100)) => {}
    }
    let error = load.await;
    let problem = &error.problems()[0];
    assert_eq!(problem.kind(), ErrorKind::Dotenv, "{error}");
    assert!(problem.message().starts_with("it is a pipe, and its writer"), "{error}");

    // Opened by something that then says nothing.
    let silent = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    assert_eq!(load_error(local(&path)).await.problems()[0].message(), problem.message());
    drop(silent);

    let endless = thread::spawn({
        let path = path.clone();
        move || {
            let mut pipe = fs::OpenOptions::new().write(true).open(path).unwrap();
            while pipe.write_all(&[b'x'; 4096]).is_ok() {}
        }
    });
    let error = load_error(local(&path)).await;
    assert!(error.to_string().contains("larger than 1 MiB"), "{error}");
    endless.join().unwrap();
}

/// It gives its values once, and may ask a person first.
#[tokio::test]
async fn an_env_pipe_is_left_alone_where_no_field_is_looked_for_in_it() {
    let folder = TempDir::new().unwrap();
    let path = pipe(&folder, ".env");
    let all = [("APP_PASSWORD", "p"), ("APP_PORT", "3")];
    let loader = Config::loader().mode(Mode::Local).env_source(all).dotenv(&path);
    assert_eq!(loader.load().await.unwrap().port, 3);

    #[derive(Debug, VaultConfig)]
    struct Secrets {
        #[vault(kv = "app")]
        password: SecretString,
    }
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "app", json!({ "password": "of vault" })).await;
    let variables = [("VAULT_ADDR", bao.address()), ("VAULT_TOKEN", bao.root_token())];
    let loader = Secrets::loader().env_source(variables).dotenv(&path);
    assert_eq!(loader.load().await.unwrap().password.expose_secret(), "of vault");
    // Nothing has taken anything out of it.
    let writer = answers(&path, "APP_PASSWORD='of a pipe'\n");
    assert_eq!(local(&path).load().await.unwrap().password.expose_secret(), "of a pipe");
    writer.join().unwrap();
}

/// Logins by a file: the variables that name it, and those that they need.
fn logins(file: &str) -> [Vec<(&'static str, String)>; 6] {
    let of = |pairs: &[(&'static str, &str)]| -> Vec<_> {
        pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    };
    [
        of(&[("VAULT_TOKEN_FILE", file)]),
        of(&[("VAULT_ROLE_ID", "r"), ("VAULT_SECRET_ID_FILE", file)]),
        of(&[("VAULT_WRAPPED_TOKEN_FILE", file)]),
        of(&[("VAULT_AUTH_METHOD", "jwt"), ("VAULT_JWT_FILE", file)]),
        of(&[
            ("VAULT_AUTH_METHOD", "userpass"),
            ("VAULT_USERNAME", "u"),
            ("VAULT_PASSWORD_FILE", file),
        ]),
        of(&[("VAULT_AUTH_ROLE", "r"), ("VAULT_KUBERNETES_TOKEN_FILE", file)]),
    ]
}

#[tokio::test]
async fn a_login_reads_no_file_that_is_none_and_none_that_is_too_large() {
    let folder = TempDir::new().unwrap();
    let large = folder.path().join("large");
    fs::write(&large, "x".repeat(1024 * 1024 + 1)).unwrap();
    let too_large = (large, "it is larger than 1 MiB, the most that is read");
    let address = ("VAULT_ADDR", "http://127.0.0.1:1".to_owned());
    for (path, what) in no_files(&folder).into_iter().chain([too_large]) {
        for login in logins(path.to_str().unwrap()) {
            let variables = std::iter::once(address.clone()).chain(login.clone());
            let error = load_error(Config::loader().without_dotenv().env_source(variables)).await;
            let expected = format!("{} cannot be read: {what}", path.display());
            assert!(error.to_string().contains(&expected), "{login:?}: {error}");
        }
    }
}

#[tokio::test]
async fn a_login_reads_a_pipe_that_answers_and_waits_for_no_other() {
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "app", json!({ "password": "of vault" })).await;
    let folder = TempDir::new().unwrap();
    let path = pipe(&folder, "token");
    let variables = [("VAULT_ADDR", bao.address()), ("VAULT_TOKEN_FILE", path.to_str().unwrap())];
    let loader = || Config::loader().without_dotenv().env_source(variables);
    let writer = answers(&path, &format!("{}\n", bao.root_token()));
    assert_eq!(loader().load().await.unwrap().password.expose_secret(), "of vault");
    writer.join().unwrap();

    let mut load = std::pin::pin!(load_error(loader()));
    tokio::select! {
        biased;
        error = &mut load => panic!("it came before a tenth of a second: {error}"),
        () = tokio::time::sleep(Duration::from_millis(100)) => {}
    }
    let error = load.await;
    assert!(error.to_string().contains("cannot be read: it is a pipe, and its writer"), "{error}");
}

#[tokio::test]
async fn certificates_are_read_from_files_and_pipes_that_answer() {
    let folder = TempDir::new().unwrap();
    let large = folder.path().join("large.pem");
    fs::write(&large, "x".repeat(16 * 1024 * 1024 + 1)).unwrap();
    let silent = pipe(&folder, "silent.pem");
    let too_large = (large, "it is larger than 16 MiB, the most that is read");
    let silent = (silent, "it is a pipe, and its writer did not finish within 1s");
    for (path, what) in no_files(&folder).into_iter().chain([too_large, silent]) {
        for variable in ["VAULT_CACERT", "VAULT_CLIENT_CERT"] {
            let address = ("VAULT_ADDR", "https://127.0.0.1:1");
            let variables = [
                address,
                ("VAULT_TOKEN", "t"),
                (variable, path.to_str().unwrap()),
                ("VAULT_CLIENT_KEY", "/dev/zero"),
            ];
            let used = if variable == "VAULT_CACERT" { 3 } else { 4 };
            let error = Vault::from_env_source(variables.into_iter().take(used)).unwrap_err();
            let expected = format!("env {variable}: {} cannot be read: {what}", path.display());
            assert!(error.to_string().contains(&expected), "{error}");
        }
    }

    let bao = OpenBao::dev_tls().await;
    bao.kv_put("secret", "app", json!({ "password": "of vault" })).await;
    let path = pipe(&folder, "ca.pem");
    let writer = answers(&path, &fs::read_to_string(bao.ca_cert()).unwrap());
    let variables = [
        ("VAULT_ADDR", bao.address()),
        ("VAULT_TOKEN", bao.root_token()),
        ("VAULT_CACERT", path.to_str().unwrap()),
    ];
    let vault = Vault::from_env_source(variables).unwrap();
    writer.join().unwrap();
    for _ in 0..2 {
        let loader = Config::loader().without_dotenv().env_source(NOTHING).vault(vault.clone());
        assert_eq!(loader.load().await.unwrap().password.expose_secret(), "of vault");
        // A file is checked at most once a second.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
}

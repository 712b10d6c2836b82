//! A private OpenSSH server that trusts an authority's certificates.

use std::fs;
use std::io::Write;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::{NamedTempFile, TempDir};

use crate::debian::Root;
use crate::port;
use crate::process::{Process, Program, Signal, User, temporary_directory};
use crate::provision::blocking;

/// The account that logs in if the tests run as root; every Debian system has it. A server that runs as root needs
/// another account and a directory in `/run`. A server that runs as another user needs neither, and accepts that user
/// only.
const ACCOUNT: &str = "daemon";

const SERVER: &str = "usr/sbin/sshd";

/// The further programs of the server in newer versions, each with the option for its path.
const PARTS: [(&str, &str); 2] = [
    ("usr/lib/openssh/sshd-session", "SshdSessionPath"),
    ("usr/lib/openssh/sshd-auth", "SshdAuthPath"),
];

/// A running OpenSSH server. Dropping it stops the server and deletes its files.
#[derive(Debug)]
pub struct Sshd {
    // Declared before the directory that it uses, so that it is dropped first.
    process: Process,
    port: u16,
    account: String,
    _directory: TempDir,
}

impl Sshd {
    /// Starts a server that accepts only certificates of this authority for one of these principals. `authority` is
    /// its public key, on one line.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start(authority: &str, principals: &[&str]) -> Self {
        let (account, user) = account();
        let trust = [authority.trim().to_owned(), principals.join("\n")];
        port::on_free_port("sshd", async |port| {
            let directory = temporary_directory("sshd-");
            let (path, trust) = (directory.path().to_owned(), trust.clone());
            let program = blocking(move || prepare(&path, port, &trust, user)).await;
            let mut process = Process::start(&program);
            process.says("Server listening on").await?;
            Ok(Self { process, port, account: account.clone(), _directory: directory })
        })
        .await
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Logs in with a private key and its certificate.
    ///
    /// # Errors
    ///
    /// The output of `ssh` if the server refuses the login.
    ///
    /// # Panics
    ///
    /// If `ssh` cannot be run.
    pub async fn login(&self, private_key: &str, certificate: &str) -> Result<(), String> {
        // `ssh` refuses a private key that other users may read. A temporary file is readable by its owner only.
        let [key, certificate] = [private_key, certificate].map(file_of);
        let mut command = Command::new(root().join("usr/bin/ssh"));
        command.envs(root().environment());
        let port = self.port.to_string();
        command.args(["-F", "none", "-p", &port]).arg("-i").arg(key.path());
        for option in [
            &*format!("CertificateFile={}", certificate.path().display()),
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "UserKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=no",
            "BatchMode=yes",
            "LogLevel=ERROR",
        ] {
            command.args(["-o", option]);
        }
        // A subsystem, because the account may have no shell. Without input it ends at once.
        command.arg(format!("{}@127.0.0.1", self.account)).args(["-s", "sftp"]);
        command.stdin(Stdio::null());
        let output = blocking(move || command.output()).await;
        let output = output.unwrap_or_else(|error| panic!("cannot run ssh: {error}"));
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
    }

    /// The server's output so far: why it accepted or refused logins.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.output()
    }
}

/// Generates a key pair without a passphrase: the private and the public key.
///
/// # Panics
///
/// If `ssh-keygen` fails.
pub async fn key_pair() -> (String, String) {
    blocking(|| {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let file = directory.path().join("key");
        generate(&file);
        let read = |file: &Path| fs::read_to_string(file).expect("ssh-keygen wrote it");
        (read(&file), read(&file.with_extension("pub")))
    })
    .await
}

fn root() -> Root {
    Root::with_parts("openssh-server", &["openssh-client"], SERVER, "OPENSSH_ROOT")
}

fn generate(file: &Path) {
    let mut command = Command::new(root().join("usr/bin/ssh-keygen"));
    command.envs(root().environment()).args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(file);
    let output = command.output().unwrap_or_else(|error| panic!("cannot run ssh-keygen: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The account that the server runs as and accepts logins for. The user is `None` if it is the one that runs the tests.
fn account() -> (String, Option<User>) {
    if User::unprivileged().is_some() {
        let user = User::named(ACCOUNT);
        return (ACCOUNT.to_owned(), Some(user.expect("there is a user named daemon")));
    }
    let output = Command::new("id").arg("-un").output().expect("`id -un` prints the user's name");
    (String::from_utf8_lossy(&output.stdout).trim().to_owned(), None)
}

fn prepare(
    directory: &Path,
    port: u16,
    [authority, principals]: &[String; 2],
    user: Option<User>,
) -> Program {
    let here = |name: &str| directory.join(name);
    let mut config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nTrustedUserCAKeys {}\n\
         AuthorizedPrincipalsFile {}\nAuthorizedKeysFile none\nPasswordAuthentication no\n\
         KbdInteractiveAuthentication no\nUsePAM no\nPidFile none\nStrictModes no\n\
         Subsystem sftp internal-sftp\n",
        here("host").display(),
        here("authority").display(),
        here("principals").display(),
    );
    // Copied, because the server's user may not have access to the originals.
    let copy = |from: &str| {
        let to = here(from.rsplit('/').next().unwrap_or(from));
        fs::copy(root().join(from), &to).ok().map(|_| to)
    };
    let program = copy(SERVER).expect("the package has its server");
    for (part, option) in PARTS {
        if let Some(copied) = copy(part) {
            config += &format!("{option} {}\n", copied.display());
        }
    }
    let libraries = here("libraries");
    root().copy_libraries(&libraries);
    generate(&here("host"));
    for (file, text) in
        [("sshd_config", &config), ("authority", authority), ("principals", principals)]
    {
        fs::write(here(file), format!("{text}\n")).expect("the server's directory is ours");
    }
    if let Some(user) = user {
        give(directory, user);
    }
    let config = here("sshd_config").display().to_string();
    Program {
        path: program,
        arguments: ["-D", "-e", "-f", &config].map(str::to_owned).to_vec(),
        environment: vec![("LD_LIBRARY_PATH".to_owned(), libraries.display().to_string())],
        directory: directory.to_owned(),
        user,
        last: Signal::Kill,
    }
}

/// Gives the directory and everything in it to `user`.
fn give(path: &Path, user: User) {
    chown(path, Some(user.uid), Some(user.gid)).expect("root can give a file away");
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        give(&entry.path(), user);
    }
}

fn file_of(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("the temporary directory is writable");
    writeln!(file, "{}", text.trim_end()).expect("the temporary directory is writable");
    file
}

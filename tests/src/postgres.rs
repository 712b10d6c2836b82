//! A private PostgreSQL server.

use std::env;
use std::fs;
use std::io::Write;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tempfile::TempDir;
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};

use crate::process::{Process, Program, Signal, User};
use crate::provision::blocking;
use crate::{port, provision};

/// The superuser's name and password.
pub const SUPERUSER: (&str, &str) = ("postgres", "rootpw");

/// The name and the first password of a plain user, for a static role.
pub const LEGACY_ROLE: (&str, &str) = ("legacy", "legacypw");

/// The name of the database.
pub const DATABASE: &str = "app";

/// A running PostgreSQL server with the database `app`, the superuser `postgres` and the role `legacy`. Dropping it
/// stops the server and deletes its data.
#[derive(Debug)]
pub struct Postgres {
    // Declared before the directory that it uses, so that it is dropped first.
    process: Mutex<Option<Process>>,
    port: u16,
    programs: PathBuf,
    directory: TempDir,
}

impl Postgres {
    /// Starts a server.
    pub async fn start() -> Self {
        Self::start_from(&blocking(provision::postgres).await).await
    }

    /// Starts a server with the PostgreSQL programs in this directory.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start_from(programs: &Path) -> Self {
        port::on_free_port("PostgreSQL", async |port| {
            let path = programs.to_owned();
            let directory = blocking(move || data_directory(&path)).await;
            let process = started(programs, directory.path(), port).await?;
            let process = Mutex::new(Some(process));
            Ok(Self { process, port, programs: programs.to_owned(), directory })
        })
        .await
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The password of the superuser `postgres`.
    #[must_use]
    pub fn superuser_password(&self) -> &'static str {
        SUPERUSER.1
    }

    /// Logs in to the database `app`.
    ///
    /// # Errors
    ///
    /// If the server refuses.
    pub async fn connect(&self, user: &str, password: &str) -> Result<Client, Error> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).dbname(DATABASE).user(user).password(password);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Runs statements as the superuser, as the `psql` program would, and returns the rows as
    /// text (`NULL` is empty).
    ///
    /// # Panics
    ///
    /// If one fails.
    pub async fn psql(&self, sql: &str) -> Vec<Vec<String>> {
        let client = self.connect(SUPERUSER.0, SUPERUSER.1).await;
        let client = client.unwrap_or_else(|error| panic!("the superuser cannot log in: {error}"));
        let messages = client.simple_query(sql).await;
        let messages = messages.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        rows.map(|row| (0..row.len()).map(|i| row.get(i).unwrap_or("").to_owned()).collect())
            .collect()
    }

    /// Stops the server, which closes its connections, and keeps its data and port.
    pub fn stop(&self) {
        if let Some(mut process) = self.process().take() {
            process.stop(Signal::Interrupt);
        }
    }

    /// Starts a stopped server on the same port.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start_again(&self) {
        self.stop();
        let process = started(&self.programs, self.directory.path(), self.port).await;
        let process = process.unwrap_or_else(|why| panic!("PostgreSQL did not start again: {why}"));
        *self.process() = Some(process);
    }

    /// Freezes the server's main process: logins hang, and open sessions continue.
    pub fn freeze(&self) {
        self.signal(Signal::Freeze);
    }

    /// Continues a frozen server.
    pub fn thaw(&self) {
        self.signal(Signal::Thaw);
    }

    /// The server's process id; `None` when it is stopped.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process().as_ref().map(Process::id)
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = self.process().as_mut() {
            process.signal(signal);
        }
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn started(programs: &Path, directory: &Path, port: u16) -> Result<Process, String> {
    let data = directory.join("data").display().to_string();
    let port = port.to_string();
    let options = "-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off";
    let mut arguments: Vec<_> = options.split_whitespace().map(str::to_owned).collect();
    arguments.extend(["-D", &data, "-p", &port].map(str::to_owned));
    let mut process = Process::start(&Program {
        path: programs.join("postgres"),
        arguments,
        environment: Vec::new(),
        directory: directory.to_owned(),
        user: User::unprivileged(),
        // After a SIGKILL its shared memory would be left behind.
        last: Signal::Quit,
    });
    process.says("ready to accept connections").await?;
    Ok(process)
}

/// A new directory with a database in `data`. It is copied from one that is created once for each version of
/// PostgreSQL, because that takes a second.
fn data_directory(programs: &Path) -> TempDir {
    let version = run(&programs.join("postgres"), &["--version"], "", Path::new("/"));
    let version = version.split_whitespace().nth(2).unwrap_or("unknown");
    let template = provision::directory().join(format!("postgres-data-{version}"));
    provision::install(&template, |staging| make_template(programs, staging));
    let directory = private_directory();
    copy(&template, &directory.path().join("data"));
    directory
}

fn make_template(programs: &Path, staging: &Path) -> PathBuf {
    // Created elsewhere and copied, because the server's user may not have access to the target directory.
    let directory = private_directory();
    let password = directory.path().join("password");
    fs::write(&password, SUPERUSER.1).expect("the server's directory is ours");
    give(&password);
    let data = directory.path().join("data").display().to_string();
    let password = format!("--pwfile={}", password.display());
    let options = "-U postgres -A scram-sha-256 --no-locale -E UTF8 --no-sync --wal-segsize=1";
    let mut arguments: Vec<_> = options.split_whitespace().collect();
    arguments.extend(["-D", &data, &password]);
    run(&programs.join("initdb"), &arguments, "", directory.path());
    let (role, password) = LEGACY_ROLE;
    // No test needs the templates; without them, only a third of the data has to be copied.
    let no_templates = "update pg_database set datistemplate = false";
    let rename = format!("alter database postgres rename to {DATABASE}");
    let create = format!("create role {role} login password '{password}'");
    let as_template1 = [no_templates, "drop database template0", &rename].join("\n");
    let as_app = ["drop database template1", &create].join("\n");
    for (database, sql) in [("template1", as_template1), (DATABASE, as_app)] {
        let single = ["--single", "-D", &data, database];
        run(&programs.join("postgres"), &single, &sql, directory.path());
    }
    let prepared = staging.join("data");
    copy(Path::new(&data), &prepared);
    prepared
}

/// A temporary directory of the user that the server runs as.
fn private_directory() -> TempDir {
    let directory = tempfile::Builder::new().prefix("postgres-").tempdir_in(temporary());
    let directory = directory.expect("the temporary directory is writable");
    give(directory.path());
    directory
}

/// In memory, if there is enough of it: a disk may take half a second to create the hundreds of files of a database.
fn temporary() -> &'static Path {
    static TEMPORARY: OnceLock<PathBuf> = OnceLock::new();
    TEMPORARY.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let usual = env::temp_dir();
        if env::var_os("TMPDIR").is_some() || tempfile::tempfile_in(memory).is_err() {
            return usual;
        }
        let output = Command::new("df").arg("-Pk").arg(memory).output();
        let output = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let free = output.ok().and_then(|table| {
            let row = table.lines().nth(1)?;
            row.split_whitespace().nth(3)?.parse::<u64>().ok()
        });
        if free.unwrap_or(0) > 1 << 20 { memory.to_owned() } else { usual }
    })
}

fn give(path: &Path) {
    let Some(user) = User::unprivileged() else {
        return;
    };
    chown(path, Some(user.uid), Some(user.gid)).expect("root can give a file away");
}

fn copy(from: &Path, to: &Path) {
    let kind = fs::metadata(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    if kind.is_file() {
        fs::copy(from, to).unwrap_or_else(|error| panic!("cannot copy to {to:?}: {error}"));
        return give(to);
    }
    fs::create_dir(to).unwrap_or_else(|error| panic!("cannot make {to:?}: {error}"));
    fs::set_permissions(to, kind.permissions()).expect("a new directory's mode can be set");
    give(to);
    for entry in fs::read_dir(from).expect("a directory can be read").flatten() {
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

/// Runs a program as the server's user and returns its output.
fn run(program: &Path, arguments: &[&str], input: &str, directory: &Path) -> String {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).env("HOME", directory);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(user) = User::unprivileged() {
        command.uid(user.uid).gid(user.gid);
    }
    let mut child = command.spawn().unwrap_or_else(|error| {
        panic!("cannot run {program:?} ({error}): the user of the servers must be able to reach it")
    });
    let mut stdin = child.stdin.take().expect("the input is piped");
    stdin.write_all(input.as_bytes()).expect("the program reads its input");
    drop(stdin);
    let output = child.wait_with_output().expect("the program's output can be read");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{program:?} {arguments:?} failed:\n{stdout}{stderr}");
    stdout
}

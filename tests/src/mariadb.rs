//! A private MariaDB server, which speaks MySQL's protocol.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::debian::Root;
use crate::port;
use crate::process::{Process, Program, Signal, temporary_directory};
use crate::provision::blocking;

/// The administrator's name and password.
pub const SUPERUSER: (&str, &str) = ("root", "rootpw");

/// The name and the first password of a plain user, for a static role.
pub const LEGACY_USER: (&str, &str) = ("legacy", "legacypw");

/// The name of the database.
pub const DATABASE: &str = "app";

const SERVER: &str = "usr/sbin/mariadbd";

/// A running MariaDB server with the database `app`, the administrator `root` and the user `legacy`. Dropping it stops
/// the server and deletes its data.
#[derive(Debug)]
pub struct MariaDb {
    // Declared before the directory that it uses, so that it is dropped first.
    _process: Process,
    port: u16,
    _directory: TempDir,
}

impl MariaDb {
    /// Starts a server.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start() -> Self {
        let directory = blocking(prepared).await;
        let (process, port) = port::on_free_port("MariaDB", async |port| {
            let mut process = Process::start(&program(directory.path(), port));
            process.says("ready for connections").await?;
            Ok((process, port))
        })
        .await;
        Self { _process: process, port, _directory: directory }
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn root() -> Root {
    // The package `mariadb-server` is several times larger, and only adds the start at boot.
    Root::of("mariadb-server-core", SERVER, "MARIADB_ROOT")
}

/// A fresh directory with a database in `data`.
fn prepared() -> TempDir {
    let directory = temporary_directory("mariadb-");
    fs::create_dir(directory.path().join("data")).expect("the server's directory is ours");
    let mut command = Command::new(root().join(SERVER));
    command.args(options(directory.path())).arg("--bootstrap").envs(root().environment());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run MariaDB: {error}"));
    let mut stdin = child.stdin.take().expect("the input is piped");
    let written = stdin.write_all(&statements());
    drop(stdin);
    let output = child.wait_with_output().expect("the program's output can be read");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "MariaDB cannot make a database ({written:?}): {said}");
    directory
}

/// The statements, one a line, that create the server's own tables, the users and the database.
fn statements() -> Vec<u8> {
    let tables = ["_system_tables.sql", "_system_tables_data.sql"].map(script);
    let [administrator, legacy] = [SUPERUSER, LEGACY_USER]
        .map(|(name, password)| format!("CREATE USER '{name}'@'%' IDENTIFIED BY '{password}';"));
    // The users that MariaDB brings along log in without a password. It must read the tables again before it can
    // create users.
    let own = format!(
        "\nDELETE FROM global_priv WHERE user IN ('', 'root');\n\
         DELETE FROM proxies_priv;\n\
         FLUSH PRIVILEGES;\n\
         {administrator}\n\
         GRANT ALL ON *.* TO '{}'@'%' WITH GRANT OPTION;\n\
         CREATE DATABASE {DATABASE};\n\
         {legacy}\n\
         GRANT SELECT ON {DATABASE}.* TO '{}'@'%';\n",
        SUPERUSER.0, LEGACY_USER.0
    );
    let first = b"CREATE DATABASE mysql;\nUSE mysql;\n";
    [first, &*tables[0], &*tables[1], own.as_bytes()].concat()
}

/// One of the server's own scripts, by the end of its name. The name begins with `mysql` or `mariadb`.
fn script(end: &str) -> Vec<u8> {
    let share = share();
    let entries = fs::read_dir(&share).into_iter().flatten().flatten();
    let mut files = entries.map(|entry| entry.path());
    let file = files.find(|file| file.to_string_lossy().ends_with(end));
    let file = file.unwrap_or_else(|| panic!("{} has no file *{end}", share.display()));
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn share() -> PathBuf {
    let mut named =
        ["usr/share/mysql", "usr/share/mariadb"].map(|name| root().join(name)).into_iter();
    named.find(|share| share.join("charsets").is_dir()).expect("the package has its files")
}

fn options(directory: &Path) -> Vec<String> {
    let here = directory.display();
    let messages = share();
    vec![
        "--no-defaults".to_owned(),
        // Without this option the server does not run as root. For other users it has no effect.
        "--user=root".to_owned(),
        format!("--datadir={here}/data"),
        format!("--lc-messages-dir={}", messages.display()),
        format!("--plugin-dir={here}"),
        // At its start, a server deletes the temporary files in this directory, so it must not share it.
        format!("--tmpdir={here}"),
        // Otherwise the server looks up a host name for each connection.
        "--skip-name-resolve".to_owned(),
        "--innodb-use-native-aio=0".to_owned(),
        "--innodb-flush-method=nosync".to_owned(),
        "--innodb-log-file-size=4M".to_owned(),
        "--innodb-buffer-pool-size=8M".to_owned(),
        "--innodb-autoextend-increment=1".to_owned(),
    ]
}

fn program(directory: &Path, port: u16) -> Program {
    let here = directory.display();
    let mut arguments = options(directory);
    arguments.extend([
        "--bind-address=127.0.0.1".to_owned(),
        format!("--port={port}"),
        format!("--socket={here}/mariadb.sock"),
        format!("--pid-file={here}/pid"),
    ]);
    Program {
        path: root().join(SERVER),
        arguments,
        environment: root().environment(),
        directory: directory.to_owned(),
        user: None,
        last: Signal::Kill,
    }
}

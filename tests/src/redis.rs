//! A private Redis server.

use std::fs;
use std::path::Path;

use ::redis::aio::MultiplexedConnection;
pub use ::redis::cmd;
use ::redis::{Client, RedisResult};
use tempfile::TempDir;

use crate::debian::Root;
use crate::port;
use crate::process::{Process, Program, Signal, temporary_directory};
use crate::provision::blocking;

/// The administrator's name and password.
pub const SUPERUSER: (&str, &str) = ("default", "rootpw");

/// The name and the first password of a user, for a static role.
pub const LEGACY_USER: (&str, &str) = ("legacy", "legacypw");

/// A running Redis server without persistence, with the administrator `default` and the user `legacy`, who has every
/// permission too. Dropping it stops the server.
#[derive(Debug)]
pub struct Redis {
    // Declared before the directory that it uses, so that it is dropped first.
    _process: Process,
    port: u16,
    _directory: TempDir,
}

impl Redis {
    /// Starts a server.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start() -> Self {
        port::on_free_port("Redis", async |port| {
            let directory = temporary_directory("redis-");
            let path = directory.path().to_owned();
            let mut process = Process::start(&blocking(move || program(&path, port)).await);
            process.says("Ready to accept connections").await?;
            Ok(Self { _process: process, port, _directory: directory })
        })
        .await
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The names of the users, in order.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub async fn users(&self) -> Vec<String> {
        let url = format!("redis://{}:{}@127.0.0.1:{}/", SUPERUSER.0, SUPERUSER.1, self.port);
        let mut session = connect(&url).await.expect("the administrator can log in");
        cmd("ACL").arg("USERS").query_async(&mut session).await.expect("the users can be listed")
    }
}

/// Logs in by a URL, `redis://user:password@127.0.0.1:port/`.
///
/// # Errors
///
/// If the URL is invalid, or the server refuses the login.
pub async fn connect(url: &str) -> RedisResult<MultiplexedConnection> {
    Client::open(url)?.get_multiplexed_async_connection().await
}

fn program(directory: &Path, port: u16) -> Program {
    let name = "usr/bin/redis-server";
    let root = Root::with_parts("redis-server", &["redis-tools"], name, "REDIS_ROOT");
    let config = format!(
        "bind 127.0.0.1\nport {port}\nsave \"\"\n\
         user {} on >{} ~* &* +@all\nuser {} on >{} ~* &* +@all\n",
        SUPERUSER.0, SUPERUSER.1, LEGACY_USER.0, LEGACY_USER.1
    );
    let config_file = directory.join("redis.conf");
    fs::write(&config_file, config).expect("the server's directory is ours");
    Program {
        path: root.join(name),
        arguments: vec![config_file.display().to_string()],
        environment: root.environment(),
        directory: directory.to_owned(),
        user: None,
        last: Signal::Kill,
    }
}

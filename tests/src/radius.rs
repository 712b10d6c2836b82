//! A private RADIUS server: FreeRADIUS.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::Administrator;
use crate::debian::Root;
use crate::process::{Process, Program, Signal, temporary_directory};
use crate::provision::blocking;

const SHARED_SECRET: &str = "radius-shared";

/// A running RADIUS server. Dropping it stops the server and deletes its data.
#[derive(Debug)]
pub struct Radius {
    // Declared before the directory that it uses, so that it is dropped first.
    _process: Process,
    port: u16,
    _directory: TempDir,
}

impl Radius {
    /// Starts a server with these users (name and password).
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start(users: &[(&str, &str)]) -> Self {
        let line = |(name, password): &(&str, &str)| {
            format!("{name} Cleartext-Password := \"{password}\"\n")
        };
        let users: String = users.iter().map(line).collect();
        for _ in 0..10 {
            let directory = temporary_directory("radius-");
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
            let port = socket.local_addr().expect("a socket has an address").port();
            drop(socket);
            let (path, users) = (directory.path().to_owned(), users.clone());
            let program = blocking(move || prepare(&path, &users, port)).await;
            let mut process = Process::start(&program);
            match process.says("Ready to process requests").await {
                Ok(()) => return Self { _process: process, port, _directory: directory },
                Err(why) if why.contains("already in use") => {}
                Err(why) => panic!("FreeRADIUS did not start: {why}"),
            }
        }
        panic!("FreeRADIUS found its port taken ten times in a row: see what takes ports")
    }

    /// Enables the method at its usual path, with this server.
    pub async fn connect(&self, bao: &Administrator) {
        bao.enable_auth("radius").await;
        let config = json!({
            "host": "127.0.0.1",
            "port": self.port,
            "secret": SHARED_SECRET,
            "dial_timeout": 2,
            "read_timeout": 5,
        });
        bao.write("auth/radius/config", config).await;
    }
}

fn prepare(directory: &Path, users: &str, port: u16) -> Program {
    let root = Root::of("freeradius", "usr/sbin/freeradius", "FREERADIUS_ROOT");
    let (libraries, here) = (root.join("usr/lib/freeradius"), directory.display());
    let config = format!(
        r#"
libdir = {}
logdir = {here}
run_dir = {here}
pidfile = {here}/pid
security {{
  allow_vulnerable_openssl = yes
}}
listen {{
  type = auth
  ipaddr = 127.0.0.1
  port = {port}
  virtual_server = default
}}
client local {{
  ipaddr = 127.0.0.1
  secret = {SHARED_SECRET}
}}
modules {{
  pap {{
  }}
  files {{
    filename = {here}/users
  }}
}}
server default {{
  authorize {{
    files
    pap
  }}
  authenticate {{
    Auth-Type PAP {{
      pap
    }}
  }}
}}
"#,
        libraries.display(),
    );
    for (file, text) in [("radiusd.conf", config.as_str()), ("users", users), ("dictionary", "")] {
        fs::write(directory.join(file), text).expect("the server's directory is ours");
    }
    let dictionary = root.join("usr/share/freeradius").display().to_string();
    let here = here.to_string();
    Program {
        path: root.join("usr/sbin/freeradius"),
        arguments: ["-f", "-l", "stdout", "-d", &here, "-D", &dictionary]
            .map(str::to_owned)
            .to_vec(),
        environment: root.environment(),
        directory: directory.to_owned(),
        user: None,
        last: Signal::Kill,
    }
}

//! A private RabbitMQ server, managed over HTTP.

use std::fs;
use std::path::{Path, PathBuf};

use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::debian::Root;
use crate::process::{Process, Program, Signal, temporary_directory};
use crate::provision::blocking;
use crate::{Administrator, client_builder, port};

/// The administrator's name and password.
pub const SUPERUSER: (&str, &str) = ("root", "rootpw");

/// The arguments of `erl` in RabbitMQ's own scripts, which cannot be used because they have fixed paths. A single
/// node needs no daemon to find other nodes.
const START: &str = "-noinput -s rabbit boot -boot start_sasl +W w +sbwt none +sbwtdcpu none \
                     +sbwtdio none -syslog logger [] -syslog syslog_error_logger false \
                     -kernel prevent_overlapping_partitions false -sname rabbit@localhost \
                     -start_epmd false -kernel inet_dist_use_interface {127,0,0,1}";

/// A running RabbitMQ server with its management API. It takes ten seconds to start. Dropping it stops the server and
/// deletes its data.
#[derive(Debug)]
pub struct RabbitMq {
    // Declared before the directory that it uses, so that it is dropped first.
    _process: Process,
    port: u16,
    client: Client,
    _directory: TempDir,
}

impl RabbitMq {
    /// Starts a server.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start() -> Self {
        port::on_free_port("RabbitMQ", async |port| {
            let directory = temporary_directory("rabbitmq-");
            let path = directory.path().to_owned();
            let mut process = Process::start(&blocking(move || program(&path, port)).await);
            let client = client_builder().no_proxy().build().expect("a client builds");
            process.says("Server startup complete").await?;
            Ok(Self { _process: process, port, client, _directory: directory })
        })
        .await
    }

    /// Mounts the engine at `rabbitmq/` for this server, with these lifetimes in seconds for all roles. Users of its
    /// role `app` may ask the management API for their own name.
    pub async fn connect(&self, bao: &Administrator, ttl: u64, max_ttl: u64) {
        bao.mount("rabbitmq", "rabbitmq", json!({})).await;
        let connection = json!({
            "connection_uri": format!("http://127.0.0.1:{}", self.port),
            "username": SUPERUSER.0,
            "password": SUPERUSER.1,
        });
        bao.write("rabbitmq/config/connection", connection).await;
        bao.write("rabbitmq/config/lease", json!({ "ttl": ttl, "max_ttl": max_ttl })).await;
        bao.write("rabbitmq/roles/app", json!({ "tags": "management" })).await;
    }

    /// The name of the user by the management API; `None` if it refuses the credentials.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub async fn who_is(&self, user: &str, password: &str) -> Option<String> {
        let answer = self.get("whoami", user, password).await?;
        answer["name"].as_str().map(str::to_owned)
    }

    /// The names of the users, without the administrator.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub async fn users(&self) -> Vec<String> {
        let answer = self.get("users", SUPERUSER.0, SUPERUSER.1).await;
        let answer = answer.expect("the administrator can log in");
        let users = answer.as_array().expect("users are listed").iter();
        let names = users.filter_map(|user| user["name"].as_str());
        names.filter(|name| *name != SUPERUSER.0).map(str::to_owned).collect()
    }

    async fn get(&self, path: &str, user: &str, password: &str) -> Option<Value> {
        let url = format!("http://127.0.0.1:{}/api/{path}", self.port);
        let answer = self.client.get(url).basic_auth(user, Some(password)).send().await;
        let answer = answer.expect("the management API answers");
        if answer.status() == 401 {
            return None;
        }
        assert_eq!(answer.status(), 200, "{path}");
        Some(answer.json().await.expect("the management API answers JSON"))
    }
}

fn program(directory: &Path, port: u16) -> Program {
    let start = "usr/lib/rabbitmq/bin/rabbitmq-server";
    let root = Root::with_parts("rabbitmq-server", &["erlang-"], start, "RABBITMQ_ROOT");
    let erlang = root.join("usr/lib/erlang");
    let programs = the_one(&erlang, "erts-").join("bin");
    let rabbit = the_one(&root.join("usr/lib/rabbitmq/lib"), "rabbitmq_server-");
    let here = |name: &str| directory.join(name).display().to_string();
    let config = format!(
        "listeners.tcp = none\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}\n\
         default_user = {}\ndefault_pass = {}\n",
        SUPERUSER.0, SUPERUSER.1
    );
    for (file, text) in
        [("rabbitmq.conf", config.as_str()), ("plugins", "[rabbitmq_management].\n")]
    {
        fs::write(directory.join(file), text).expect("the server's directory is ours");
    }
    let mut arguments: Vec<_> = START.split_whitespace().map(str::to_owned).collect();
    arguments.extend(["-erl_epmd_port".to_owned(), (port + 1).to_string()]);
    let own = [
        ("ROOTDIR", erlang.display().to_string()),
        ("BINDIR", programs.display().to_string()),
        ("EMU", "beam".to_owned()),
        ("PROGNAME", "erl".to_owned()),
        ("ERL_LIBS", rabbit.join("plugins").display().to_string()),
        ("RABBITMQ_HOME", rabbit.display().to_string()),
        ("RABBITMQ_NODENAME", "rabbit@localhost".to_owned()),
        ("RABBITMQ_DIST_PORT", (port + 1).to_string()),
        ("RABBITMQ_LOGS", "-".to_owned()),
        ("RABBITMQ_LOG_BASE", directory.display().to_string()),
        ("RABBITMQ_UPGRADE_LOG", here("upgrade.log")),
        ("ERL_CRASH_DUMP", here("crash.dump")),
        ("RABBITMQ_CONFIG_FILE", here("rabbitmq.conf")),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", here("none.config")),
        ("RABBITMQ_CONF_ENV_FILE", here("none")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", here("plugins")),
        ("RABBITMQ_PLUGINS_EXPAND_DIR", here("expanded")),
        ("RABBITMQ_GENERATED_CONFIG_DIR", here("generated")),
        ("RABBITMQ_MNESIA_BASE", here("data")),
        ("RABBITMQ_QUORUM_DIR", here("quorum")),
        ("RABBITMQ_STREAM_DIR", here("stream")),
        ("RABBITMQ_PID_FILE", here("pid")),
    ];
    let mut environment = root.environment();
    environment.extend(own.map(|(name, value)| (name.to_owned(), value)));
    Program {
        path: programs.join("erlexec"),
        arguments,
        environment,
        directory: directory.to_owned(),
        user: None,
        last: Signal::Kill,
    }
}

/// The directory whose name is this prefix and a version.
fn the_one(parent: &Path, prefix: &str) -> PathBuf {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let mut paths = entries.map(|entry| entry.path());
    let named = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    };
    paths.find(named).unwrap_or_else(|| panic!("{} has no {prefix}..", parent.display()))
}

//! A private OpenBao server.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Identity, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::audit::{ADMINISTRATOR_HEADER, AuditLog};
use crate::process::{Process, Program, Signal, temporary_directory};
use crate::provision::blocking;
use crate::{Administrator, AuditRequest, Authority, ClientCertificate, ServerCertificate};
use crate::{port, provision};

const READY_BOUND: Duration = Duration::from_secs(30);
const ROOT_TOKEN: &str = "root";

/// A running OpenBao server. Dropping it stops the server and deletes its data.
///
/// It is its own [`Administrator`]: `bao.kv_put(…)`, `bao.policy(…)`.
#[derive(Debug)]
pub struct OpenBao {
    // Declared before the directory that it uses, so that it is dropped first.
    process: Mutex<Option<Process>>,
    administrator: Administrator,
    audit: AuditLog,
    unseal_key: Option<String>,
    port: u16,
    setup: Setup,
    directory: TempDir,
}

/// What kind of server to start.
#[derive(Debug, Clone, Default)]
struct Setup {
    mode: Mode,
    certificate: Option<ServerCertificate>,
    /// With an authority, every client has to present a certificate of it.
    client_ca: Option<PathBuf>,
    administrator: Option<ClientCertificate>,
    /// An older version, which still has the auth methods ldap and radius.
    with_ldap: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mode {
    #[default]
    Dev,
    DevTls,
    InMemory,
    Raft,
}

impl OpenBao {
    /// A dev server on plain http: unsealed, KV v2 at `secret/`, nothing else set up.
    pub async fn dev() -> Self {
        Self::set_up(Setup::default()).await
    }

    /// Like [`dev`](Self::dev), of an older version with the auth methods ldap and radius.
    pub async fn dev_with_ldap() -> Self {
        Self::set_up(Setup { with_ldap: true, ..Setup::default() }).await
    }

    /// A dev server on https with a certificate that it creates itself: see [`ca_cert`](Self::ca_cert).
    pub async fn dev_tls() -> Self {
        Self::set_up(Setup { mode: Mode::DevTls, ..Setup::default() }).await
    }

    /// Like [`dev`](Self::dev), on https with this certificate.
    pub async fn with_tls(certificate: &ServerCertificate) -> Self {
        let certificate = Some(certificate.clone());
        Self::set_up(Setup { mode: Mode::InMemory, certificate, ..Setup::default() }).await
    }

    /// Like [`dev`](Self::dev), on https, and every client has to present a certificate of this authority.
    pub async fn with_mutual_tls(authority: &Authority) -> Self {
        Self::set_up(Setup {
            mode: Mode::InMemory,
            certificate: Some(authority.server()),
            client_ca: Some(authority.ca_cert().to_owned()),
            administrator: Some(authority.client("administrator")),
            with_ldap: false,
        })
        .await
    }

    /// Like [`dev`](Self::dev), but keeps its data after [`stop`](Self::stop). Starts more slowly.
    pub async fn durable() -> Self {
        Self::set_up(Setup { mode: Mode::Raft, ..Setup::default() }).await
    }

    /// Set up like [`dev`](Self::dev), then sealed: [`unseal`](Self::unseal) makes it usable.
    pub async fn sealed() -> Self {
        let bao = Self::set_up(Setup { mode: Mode::InMemory, ..Setup::default() }).await;
        bao.seal().await;
        bao
    }

    /// A server that is not initialised: [`initialise`](Self::initialise) makes it usable.
    pub async fn uninitialised() -> Self {
        Self::launch(Setup { mode: Mode::InMemory, ..Setup::default() }).await
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority that clients have to trust for this server's https.
    ///
    /// # Panics
    ///
    /// If the server uses plain http.
    #[must_use]
    pub fn ca_cert(&self) -> &Path {
        let certificate = self.setup.certificate.as_ref();
        &certificate.expect("a server on plain http has no certificate").ca
    }

    /// A Unix socket on which the server also answers, in plain http.
    #[must_use]
    pub fn unix_socket(&self) -> PathBuf {
        self.directory.path().join("bao.sock")
    }

    /// The administrator. Clone it to use it apart from the server.
    #[must_use]
    pub fn administrator(&self) -> &Administrator {
        &self.administrator
    }

    /// The requests since the start or the last [`clear_audit`](Self::clear_audit), including those without a valid
    /// token, but without the administrator's.
    ///
    /// A request is in the list at the latest when its answer has arrived. Requests that need no token, such as health
    /// checks, are not in it, except logins. Neither are requests to a sealed server.
    #[must_use]
    pub fn audit_requests(&self) -> Vec<AuditRequest> {
        self.audit.requests()
    }

    /// Forgets the requests received so far.
    pub fn clear_audit(&self) {
        self.audit.clear();
    }

    /// Initialises the server, unseals it and sets it up like [`dev`](Self::dev).
    pub async fn initialise(&mut self) {
        let shares = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let keys = self.write("sys/init", shares).await;
        self.unseal_key = keys["keys_base64"][0].as_str().map(str::to_owned);
        let token = keys["root_token"].as_str().expect("initialising answers a root token");
        self.administrator.set_token(token);
        self.unseal().await;
        self.settle().await;
        self.mount_kv_v2("secret").await;
    }

    /// Seals the server: it answers every request with 503 from now on.
    pub async fn seal(&self) {
        // A standby refuses this while it connects to a new leader.
        let body = || Some(json!({}));
        self.until("sealed", || self.send(Method::POST, "sys/seal", body(), self.root_token()))
            .await;
    }

    /// Unseals the server and waits until it serves again.
    ///
    /// # Panics
    ///
    /// If the server is not initialised, or does not become usable.
    pub async fn unseal(&self) {
        self.give_key().await;
        self.until("unsealed", || self.send(Method::GET, "sys/health", None, "")).await;
    }

    /// Stops the server, as an operator would, and keeps its port for
    /// [`start_again`](Self::start_again).
    pub fn stop(&self) {
        self.end(Signal::Terminate);
    }

    /// Kills the server, as a crash would, and keeps its port for
    /// [`start_again`](Self::start_again).
    pub fn kill(&self) {
        self.end(Signal::Kill);
    }

    /// Starts a stopped server on the same port. A [`durable`](Self::durable) one has its data
    /// and is unsealed; a dev server is empty, with the same root token; others are not
    /// initialised.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start_again(&self) {
        self.start_sealed().await;
        match self.setup.mode {
            Mode::Raft => self.unseal().await,
            Mode::Dev | Mode::DevTls => self.settle().await,
            Mode::InMemory => {}
        }
    }

    /// Freezes the server: it accepts connections and does not answer.
    pub fn freeze(&self) {
        if let Some(process) = self.process().as_mut() {
            process.freeze();
        }
    }

    /// Continues a frozen server.
    pub fn thaw(&self) {
        if let Some(process) = self.process().as_mut() {
            process.signal(Signal::Thaw);
        }
    }

    /// The server's process id; `None` when it is stopped.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process().as_ref().map(Process::id)
    }

    /// A server for a cluster: not initialised, and not joined yet.
    pub(crate) async fn raft_node() -> Self {
        Self::launch(Setup { mode: Mode::Raft, ..Setup::default() }).await
    }

    /// Joins a server that is not initialised to `leader`, as an unsealed standby.
    pub(crate) async fn join(&mut self, leader: &Self) {
        let body = json!({ "leader_api_addr": leader.address() });
        self.write("sys/storage/raft/join", body).await;
        self.unseal_key.clone_from(&leader.unseal_key);
        self.administrator.set_token(leader.root_token());
        self.unseal_in_cluster().await;
    }

    /// Unseals the server and waits until it serves, as the active one or a standby.
    pub(crate) async fn unseal_in_cluster(&self) {
        // Once only: a second key during a join unseals the server twice, and then it cannot step down.
        self.give_key().await;
        let health = "sys/health?standbyok=true";
        self.until("unsealed", || self.send(Method::GET, health, None, "")).await;
        self.until_kv_v2("secret").await;
    }

    /// Starts a stopped server on the same port, and does not unseal it.
    pub(crate) async fn start_sealed(&self) {
        self.stop();
        let process = Process::start(&self.setup.program(self.directory.path(), self.port));
        let process = started(process).await;
        let process = process.unwrap_or_else(|why| panic!("OpenBao did not start again: {why}"));
        *self.process() = Some(process);
    }

    async fn give_key(&self) {
        let key = self.unseal_key.clone().or_else(|| self.dev_unseal_key());
        let key = key.expect("only an initialised server can be unsealed");
        self.write("sys/unseal", json!({ "key": key })).await;
    }

    async fn set_up(setup: Setup) -> Self {
        let mut bao = Self::launch(setup).await;
        if bao.is_dev() {
            bao.settle().await;
        } else {
            bao.initialise().await;
        }
        bao.clear_audit();
        bao
    }

    /// Starts a server. Uses other ports if another process has taken the first ones meanwhile.
    async fn launch(mut setup: Setup) -> Self {
        for _ in 0..10 {
            let directory = temporary_directory("bao-");
            if setup.mode == Mode::DevTls {
                setup.certificate = Some(ServerCertificate::of_dev_server(directory.path()));
            }
            let port = port::free_pair();
            let program = setup.clone();
            let path = directory.path().to_owned();
            let program = blocking(move || program.program(&path, port)).await;
            let process = match started(Process::start(&program)).await {
                Ok(process) => process,
                Err(why) if why.contains("address already in use") => continue,
                Err(why) => panic!("OpenBao did not start: {why}"),
            };
            return Self {
                process: Mutex::new(Some(process)),
                administrator: setup.administrator(port),
                audit: AuditLog::new(directory.path().join("audit.log")),
                unseal_key: None,
                port,
                setup,
                directory,
            };
        }
        panic!("OpenBao found its port taken ten times in a row: see what takes ports on 127.0.0.1")
    }

    /// Makes the audit log contain the administrator's header. Repeats the request, since the server may refuse
    /// requests just after its start.
    async fn settle(&self) {
        let path = format!("sys/config/auditing/request-headers/{ADMINISTRATOR_HEADER}");
        let body = || Some(json!({ "hmac": false }));
        self.until("ready", || self.send(Method::POST, &path, body(), self.root_token())).await;
        if self.is_dev() {
            self.until_kv_v2("secret").await;
        }
    }

    async fn until<F>(&self, state: &str, request: impl Fn() -> F)
    where
        F: Future<Output = reqwest::Result<(u16, Value)>>,
    {
        let end = Instant::now() + READY_BOUND;
        loop {
            let answer = request().await;
            if matches!(answer, Ok((200..300, _))) {
                return;
            }
            if Instant::now() > end {
                let log = self.process().as_ref().map(Process::log_tail).unwrap_or_default();
                panic!("OpenBao is not {state} after {READY_BOUND:?}: {answer:?}; {log}");
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The unseal key of a dev server, which creates a new one at each start and prints it.
    fn dev_unseal_key(&self) -> Option<String> {
        let output = self.process().as_ref().map(Process::output)?;
        let key = output.lines().find_map(|line| line.strip_prefix("Unseal Key: "))?;
        Some(key.trim().to_owned())
    }

    fn is_dev(&self) -> bool {
        self.setup.is_dev()
    }

    fn end(&self, signal: Signal) {
        if let Some(mut process) = self.process().take() {
            process.stop(signal);
        }
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for OpenBao {
    type Target = Administrator;

    fn deref(&self) -> &Administrator {
        &self.administrator
    }
}

impl Setup {
    fn program(&self, directory: &Path, port: u16) -> Program {
        let config = directory.join("config.hcl");
        fs::write(&config, self.config(directory, port)).expect("the server's directory is ours");
        let mut arguments = vec!["server".to_owned(), format!("-config={}", config.display())];
        if self.is_dev() {
            arguments.extend(["-dev".into(), "-dev-no-store-token".into()]);
            arguments.push(format!("-dev-root-token-id={ROOT_TOKEN}"));
            arguments.push(format!("-dev-listen-address=127.0.0.1:{port}"));
        }
        if self.mode == Mode::DevTls {
            arguments.push("-dev-tls".into());
            arguments.push(format!("-dev-tls-cert-dir={}", directory.display()));
        }
        Program {
            path: match self.with_ldap {
                true => provision::openbao_with_ldap(),
                false => provision::openbao(),
            },
            arguments,
            // Autopilot would not let a server vote in its first ten seconds after the join.
            environment: vec![("BAO_RAFT_AUTOPILOT_DISABLE".into(), "true".into())],
            directory: directory.to_owned(),
            user: None,
            // An orderly stop takes half a second, and the data is deleted anyway.
            last: Signal::Kill,
        }
    }

    /// The configuration file. Only this file can enable the audit log, since the API refuses to. Its path is
    /// relative, because all servers of a cluster must have the same.
    fn config(&self, directory: &Path, port: u16) -> String {
        let path = directory.display();
        let common = format!(
            r#"
audit "file" "audit" {{ options = {{ file_path = "audit.log" }} }}
listener "unix" {{
  address = "{path}/bao.sock"
  socket_mode = "600"
}}
"#
        );
        if self.is_dev() {
            return common;
        }
        let cluster = port + 1;
        let scheme = self.scheme();
        let storage = match self.mode {
            Mode::Raft => format!(
                r#"
storage "raft" {{
  path = "{path}"
  node_id = "{port}"
  performance_multiplier = 1
}}
"#
            ),
            _ => r#"storage "inmem" {}"#.to_owned(),
        };
        let tls = self.listener_tls();
        format!(
            r#"
{common}
{storage}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster}"
  {tls}
}}
api_addr = "{scheme}://127.0.0.1:{port}"
cluster_addr = "https://127.0.0.1:{cluster}"
"#
        )
    }

    fn listener_tls(&self) -> String {
        let Some(ServerCertificate { cert, key, .. }) = &self.certificate else {
            return "tls_disable = true".into();
        };
        let mut tls = format!("tls_cert_file = {cert:?}\n  tls_key_file = {key:?}");
        if let Some(ca) = &self.client_ca {
            tls += &format!("\n  tls_client_ca_file = {ca:?}");
            tls += "\n  tls_require_and_verify_client_cert = true";
        }
        tls
    }

    fn administrator(&self, port: u16) -> Administrator {
        let address = format!("{}://127.0.0.1:{port}", self.scheme());
        let token = if self.is_dev() { ROOT_TOKEN } else { "" };
        // The administrator does not verify the certificate, because some tests give the server an invalid one.
        let mut client =
            crate::administrator::client_builder().no_proxy().tls_danger_accept_invalid_certs(true);
        if let Some(ClientCertificate { cert, key, .. }) = &self.administrator {
            let pem = [cert, key].map(|file| fs::read(file).expect("the authority wrote it"));
            client = client.identity(Identity::from_pem(&pem.concat()).expect("a certificate"));
        }
        Administrator::with_client(client.build().expect("a client builds"), &address, token)
    }

    fn is_dev(&self) -> bool {
        matches!(self.mode, Mode::Dev | Mode::DevTls)
    }

    fn scheme(&self) -> &'static str {
        if self.certificate.is_some() { "https" } else { "http" }
    }
}

async fn started(mut process: Process) -> Result<Process, String> {
    process.says("server started!").await?;
    Ok(process)
}

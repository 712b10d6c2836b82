//! The connection: where the server is, how to log in, one token for every configuration that
//! shares it.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;

use crate::auth::AuthMethod;
use crate::error::{Cause, Error, ErrorKind};
use crate::source::env::Environment;
use crate::time::clock::{Clock, Reading, SystemClock};
use crate::{Resolved, VaultConfig};

mod choosing;
mod client;
mod contained;
mod custody;
mod lanes;
mod limit;
mod login;
mod nodes;
mod pause;
mod reachability;
mod renewal;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod retry;
mod session;
pub(crate) mod settings;
pub(crate) mod tls;
mod upkeep;

use client::Clients;
pub(crate) use contained::contained;
pub(crate) use custody::{Custody, CustodyGuard, IssueTicket};
pub(crate) use lanes::Lane;
use login::Login;
pub(crate) use login::{Held, Leaving, TokenUse};
#[cfg(test)]
pub(crate) use reachability::Reachability;
pub(crate) use reachability::{Asker, Recovery};
pub(crate) use renewal::{Renewal, end_lease};
pub(crate) use reply::{Lease, LeaseId, Reply};
use request::Http;
pub(crate) use retry::{Attempts, Repeat};
use session::Learned;
pub(crate) use session::{Made, Mount, Session};
use settings::{Address, Addresses, Settings};
use upkeep::Upkeep;
pub(crate) use upkeep::{Failure, News, TokenAction, TokenOutcome, Watcher, token_urgency};

/// A connection to HashiCorp Vault or OpenBao.
///
/// Cheap to clone. It logs in on first use, and every configuration that shares it shares one login
/// and one token. A login that failed is not kept: the next use tries again.
///
/// ```no_run
/// use vault_config::{Vault, auth::AppRole, secrecy::SecretString};
///
/// # fn main() -> Result<(), vault_config::Error> {
/// let vault = Vault::builder()
///     .address("https://vault.example.com:8200")
///     .auth(AppRole::new("my-role-id", SecretString::from("my-secret-id")))
///     .build()?;
/// let same = Vault::from_env()?; // or: from VAULT_ADDR, VAULT_ROLE_ID, ..
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Vault(Arc<Inner>);

struct Inner {
    http: Http,
    auth: Arc<dyn AuthMethod>,
    environment: Environment,
    clock: Arc<dyn Clock>,
    login: AsyncMutex<Login>,
    /// The token in use, to look at without waiting for a login.
    held: Mutex<Option<Arc<Held>>>,
    /// Tokens that were in use, and may still have leases.
    retired: Mutex<Vec<Arc<Held>>>,
    /// How often everything was revoked.
    epoch: AtomicU64,
    upkeep: Upkeep,
    /// Nothing uses the connection any more: a login that is under way serves nothing.
    abandoned: AtomicBool,
    /// By namespace and path.
    mounts: Mutex<HashMap<(String, String), Learned>>,
}

impl Vault {
    /// A connection described in code. Nothing is read from the environment.
    #[must_use]
    pub fn builder() -> VaultBuilder {
        VaultBuilder::default()
    }

    /// The connection that the process environment describes, by the official client's variables
    /// and those of [`auth`](crate::auth).
    ///
    /// # Errors
    /// Every malformed variable, no address, or nothing to log in with.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_environment(&Environment::Process)
    }

    /// Like [`from_env`](Self::from_env), from variables given here: tests never touch the real
    /// environment.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn from_env_source<K: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, Error> {
        Self::from_environment(&Environment::given(variables))
    }

    /// Fetches the fields of `T` that are marked for Vault once, for a figment of your own; see
    /// [`Resolved`]. Nothing renews what it gives: see [`Loader::load`](crate::Loader::load).
    ///
    /// # Errors
    /// Every problem at once; see [`Error`].
    pub async fn resolve<T: VaultConfig>(&self) -> Result<Resolved, Error> {
        let loader = T::loader().vault(self.clone()).environment(self.0.environment.clone());
        loader.resolve().await
    }

    fn from_environment(environment: &Environment) -> Result<Self, Error> {
        Self::connect(environment).map_err(|causes| {
            let problems = causes.into_iter().map(crate::error::Problem::general).collect();
            Error::new(CONNECTION, problems, None)
        })
    }

    pub(crate) fn connect(environment: &Environment) -> Result<Self, Vec<Cause>> {
        let settings = Settings::from_environment(environment);
        let auth = crate::auth::detect(environment);
        match (settings, auth) {
            (Ok(Some(settings)), Ok(auth)) => {
                let clock = Arc::new(SystemClock::default());
                Self::open(settings, auth, environment.clone(), None, clock)
                    .map_err(|cause| vec![cause])
            }
            // Without a server there is nothing to log in to.
            (Ok(None), _) => Err(vec![no_address()]),
            (Ok(Some(_)), Err(cause)) => Err(vec![cause]),
            (Err(mut causes), auth) => {
                causes.extend(auth.err());
                Err(causes)
            }
        }
    }

    fn open(
        settings: Settings,
        auth: Arc<dyn AuthMethod>,
        environment: Environment,
        client: Option<reqwest::Client>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Cause> {
        if settings.addresses.iter().any(Address::is_open) {
            tracing::warn!(
                address = %settings.addresses.shown(),
                "tokens and secrets go over plain http to another host: use https"
            );
        }
        if settings.tls.skip_verify {
            tracing::warn!(address = %settings.addresses.shown(), "the server's certificate is not verified");
        }
        let clients = match client {
            Some(client) => Clients::given(client),
            None => Clients::new(&settings)?,
        };
        Ok(Self(Arc::new(Inner {
            http: Http::new(clients, settings, Arc::clone(&clock)),
            auth,
            environment,
            clock,
            login: AsyncMutex::default(),
            held: Mutex::default(),
            retired: Mutex::default(),
            epoch: AtomicU64::new(0),
            upkeep: Upkeep::default(),
            abandoned: AtomicBool::new(false),
            mounts: Mutex::default(),
        })))
    }

    pub(crate) fn addresses(&self) -> &Addresses {
        &self.0.http.settings().addresses
    }

    pub(crate) fn wants_one_first(&self) -> bool {
        self.0.http.wants_one_first()
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    pub(crate) fn auth(&self) -> &dyn AuthMethod {
        self.0.auth.as_ref()
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.0.http.settings().timeout
    }

    /// The token in use, if there is one.
    pub(crate) fn held(&self) -> Option<Arc<Held>> {
        lock(&self.0.held).clone()
    }

    fn hold_now(&self, held: Option<Arc<Held>>) {
        *lock(&self.0.held) = held;
    }

    /// Of a token that somebody else made, nothing is ours to let go of.
    fn retire(&self, held: Arc<Held>) {
        let now = self.clock().now();
        let mut retired = lock(&self.0.retired);
        retired.retain(|held| !held.has_ended(now));
        if held.is_ours() {
            retired.push(held);
        }
    }

    /// Tokens that are no longer in use and that nobody has let go of.
    pub(crate) fn retired(&self) -> MutexGuard<'_, Vec<Arc<Held>>> {
        lock(&self.0.retired)
    }

    /// How long the server has asked not to be asked anything.
    pub(crate) fn retry_after(&self, now: Reading) -> Duration {
        self.0.http.retry_after(now).unwrap_or_default()
    }

    pub(crate) fn namespace(&self) -> Option<&str> {
        self.0.http.settings().namespace.as_deref()
    }

    /// How the paths of a namespace, or else the connection's, begin for the token's policies.
    pub(crate) fn policy_prefix(&self, namespace: Option<&str>) -> String {
        let below_root = |namespace: Option<&str>| match namespace {
            None | Some(request::ROOT) => String::new(),
            Some(namespace) => format!("{namespace}/"),
        };
        let there = below_root(namespace.or(self.namespace()));
        let login = below_root(self.login_namespace());
        there.strip_prefix(&login).map(str::to_owned).unwrap_or(there)
    }

    /// Where the token is made, and where it may look at, renew and revoke itself.
    fn login_namespace(&self) -> Option<&str> {
        self.0.http.settings().login_namespace()
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("address", &self.addresses().shown())
            .field("auth", &self.0.auth.describe())
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn no_address() -> Cause {
    Cause::new(
        ErrorKind::Setting,
        "no address of a Vault server is configured",
        "set VAULT_ADDR (or BAO_ADDR, or VAULT_AGENT_ADDR for a local agent)",
    )
}

/// Errors of the connection alone are told under this name.
const CONNECTION: &str = "the connection to Vault";

/// Builds a [`Vault`].
#[derive(Default)]
pub struct VaultBuilder {
    address: Option<String>,
    namespace: Option<String>,
    login_namespace: Option<String>,
    auth: Option<Arc<dyn AuthMethod>>,
    timeout: Option<Duration>,
    max_retries: Option<u32>,
    max_connections: Option<usize>,
    authorities: Vec<tls::Pem>,
    files: tls::Files,
    identity: Option<(tls::Pem, tls::Pem)>,
    client: Option<reqwest::Client>,
    clock: Option<Arc<dyn Clock>>,
}

/// Never derived: an address that is refused later may hold a password.
impl fmt::Debug for VaultBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultBuilder")
            .field("namespace", &self.namespace)
            .field("auth", &self.auth.as_ref().map(|auth| auth.describe()))
            .finish_non_exhaustive()
    }
}

impl VaultBuilder {
    /// Where the server is: `https://host:8200`, `http://127.0.0.1:8200` or
    /// `unix:///run/agent.sock`. Several nodes of one cluster are joined by commas: the first that
    /// is healthy is used, and another one when it fails.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// The namespace of every request, such as `team-a/billing`. A field's own
    /// [`namespace`](crate::docs::attributes) takes its place for that field.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// The namespace to log in to, when it is another than the one that is read from: `root`, or a
    /// path such as `team-a`. Its policies name the paths of the namespaces below it.
    #[must_use]
    pub fn login_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.login_namespace = Some(namespace.into());
        self
    }

    /// How to log in.
    #[must_use]
    pub fn auth(mut self, method: impl AuthMethod) -> Self {
        self.auth = Some(Arc::new(method));
        self
    }

    /// The limit for one request with all its retries. Default: 60 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How often a request is tried again after a failure that may pass. Default: 2.
    #[must_use]
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = Some(retries);
        self
    }

    /// The limit on concurrent connections over HTTP/1.1. Default: 64. Over TLS one HTTP/2
    /// connection is used, with up to 84 requests at once.
    ///
    /// Beyond it, renewals and issues may open up to 8 each, so that requests which the server
    /// does not answer never keep a credential from being renewed or replaced. What waits for a
    /// connection for longer than its own [`timeout`](Self::timeout) fails without being sent.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = Some(connections);
        self
    }

    /// Trusts the authorities in this PEM text, and no others.
    #[must_use]
    pub fn ca_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities.push(tls::Pem::given(pem.into(), "ca_certificate(..)".to_owned()));
        self
    }

    /// Trusts the authorities in this PEM file, and no others. It is read when the connection is
    /// built, and again when it changes.
    #[must_use]
    pub fn ca_certificate_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.authorities.push(path.into());
        self
    }

    /// Shows this certificate chain, with its key, to a server that asks for one. Both are PEM
    /// text.
    #[must_use]
    pub fn client_certificate(
        mut self,
        chain: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        let said_by = || "client_certificate(..)".to_owned();
        self.identity = Some((
            tls::Pem::given(chain.into(), said_by()),
            tls::Pem::given(key.into(), said_by()),
        ));
        self
    }

    /// The same from PEM files, which are read when the connection is built, and again when they
    /// change: a certificate that is renewed in place is shown from then on.
    #[must_use]
    pub fn client_certificate_files(
        mut self,
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.files.identity = Some((chain.into(), key.into()));
        self
    }

    /// A client of your own: its TLS, proxy and resolver settings are used as they are. Let it
    /// follow no redirects: reqwest's own would carry the token along.
    ///
    /// It cannot be built again, so that a connection over HTTP/2 which died without a word is left
    /// only if the client itself finds out: set `http2_keep_alive_interval`,
    /// `http2_keep_alive_timeout` and `http2_keep_alive_while_idle`, to 5 s as here.
    ///
    /// reqwest is built without a crypto provider here; where nothing else turns on a TLS feature
    /// of it, install one before you build a client, or it panics:
    /// `rustls::crypto::ring::default_provider().install_default()`.
    #[must_use]
    pub fn http_client(mut self, client: reqwest::Client) -> Self {
        self.client = Some(client);
        self
    }

    /// Tells the time to what keeps a configuration fresh, for tests. Default: the machine's clocks.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Checks the settings. Nothing is sent.
    ///
    /// # Errors
    /// A malformed or missing setting.
    pub fn build(self) -> Result<Vault, Error> {
        self.checked().map_err(|cause| Error::single(CONNECTION, cause))
    }

    fn checked(self) -> Result<Vault, Cause> {
        let text =
            self.address.ok_or_else(|| no_address().hint("or call .address(..) on the builder"))?;
        let addresses = Addresses::parse(&text, "Vault::builder().address(..)");
        let mut settings =
            Settings::new(addresses.map_err(|cause| cause.at("Vault::builder().address(..)"))?);
        let namespace = |given: Option<String>, said_by: &str| {
            let checked = given.map(|namespace| settings::namespace(&namespace)).transpose();
            checked.map_err(|what| Cause::new(ErrorKind::Setting, what, "").at(said_by))
        };
        settings.namespace = namespace(self.namespace, "Vault::builder().namespace(..)")?;
        settings.login_namespace =
            namespace(self.login_namespace, "Vault::builder().login_namespace(..)")?;
        settings.timeout = self.timeout.unwrap_or(settings.timeout).min(settings::LONGEST_TIMEOUT);
        settings.max_retries = self.max_retries.unwrap_or(settings.max_retries);
        settings.max_connections = self.max_connections.unwrap_or(settings.max_connections);
        let tls = tls::from_builder(self.authorities, self.identity, &self.files)?;
        if self.client.is_some() && !tls.is_default() {
            return Err(Cause::new(
                ErrorKind::Setting,
                "a client of your own brings its own authorities and certificate",
                "give them to the client, or leave out .http_client(..)",
            )
            .at("Vault::builder().http_client(..)"));
        }
        settings.tls = tls;
        let auth = self.auth.ok_or_else(|| {
            Cause::new(
                ErrorKind::NoLogin,
                "the connection has no way to log in",
                "call .auth(..) with one of vault_config::auth",
            )
        })?;
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::default()));
        Vault::open(settings, auth, Environment::Process, self.client, clock)
    }
}

//! The connection: where the server is, how to log in, one token for every configuration that
//! shares it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;

use crate::auth::AuthMethod;
use crate::error::{Cause, Error, ErrorKind};
use crate::source::env::Environment;
use crate::{Resolved, VaultConfig};

mod limit;
mod login;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod retry;
mod session;
pub(crate) mod settings;
mod tls;

use login::Login;
pub(crate) use reply::Reply;
use request::Http;
pub(crate) use retry::Repeat;
use session::Learned;
pub(crate) use session::{Mount, Session};
use settings::{Address, Settings};

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
    login: AsyncMutex<Login>,
    mounts: Mutex<HashMap<String, Learned>>,
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

    /// Fetches the fields of `T` that are marked for Vault, for a figment of your own; see
    /// [`Resolved`].
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
                Self::open(settings, auth, environment.clone(), None).map_err(|cause| vec![cause])
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
    ) -> Result<Self, Cause> {
        if settings.address.is_open() {
            tracing::warn!(
                address = %settings.address.shown(),
                "tokens and secrets go over plain http to another host: use https"
            );
        }
        if settings.tls.skip_verify {
            tracing::warn!(address = %settings.address.shown(), "the server's certificate is not verified");
        }
        let client = client.map_or_else(|| client_for(&settings), Ok)?;
        Ok(Self(Arc::new(Inner {
            http: Http::new(client, settings),
            auth,
            environment,
            login: AsyncMutex::default(),
            mounts: Mutex::default(),
        })))
    }

    pub(crate) fn address(&self) -> &Address {
        &self.0.http.settings().address
    }

    pub(crate) fn wants_one_first(&self) -> bool {
        self.0.http.wants_one_first()
    }

    fn namespace(&self) -> Option<&str> {
        self.0.http.settings().namespace.as_deref()
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("address", &self.address().shown())
            .field("auth", &self.0.auth.describe())
            .finish_non_exhaustive()
    }
}

fn client_for(settings: &Settings) -> Result<reqwest::Client, Cause> {
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(settings.connect_timeout())
        .retry(reqwest::retry::never())
        .tcp_nodelay(true);
    builder = match settings.address.url.scheme() {
        "https" => tls::apply(&settings.tls, builder)?,
        _ => tls::without(builder),
    };
    let failed = |error: reqwest::Error| {
        Cause::new(ErrorKind::Setting, format!("the HTTP client cannot be made: {error}"), "")
    };
    builder = match &settings.proxy {
        Some(proxy) => builder.proxy(reqwest::Proxy::all(proxy.clone()).map_err(failed)?),
        None => builder.no_proxy(),
    };
    #[cfg(unix)]
    if let Some(socket) = &settings.address.socket {
        builder = builder.unix_socket(socket.as_path());
    }
    #[cfg(not(unix))]
    if settings.address.socket.is_some() {
        return Err(Cause::new(ErrorKind::Setting, "unix:// addresses need a Unix system", ""));
    }
    builder.build().map_err(failed)
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
    auth: Option<Arc<dyn AuthMethod>>,
    timeout: Option<Duration>,
    max_retries: Option<u32>,
    max_connections: Option<usize>,
    authorities: Vec<tls::Pem>,
    client: Option<reqwest::Client>,
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
    /// `unix:///run/agent.sock`.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// The namespace of every request, such as `team-a/billing`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
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
    /// connection is used.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = Some(connections);
        self
    }

    /// Trusts the authorities in this PEM text, and no others.
    #[must_use]
    pub fn ca_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities
            .push(tls::Pem { bytes: pem.into(), said_by: "ca_certificate(..)".to_owned() });
        self
    }

    /// A client of your own: its TLS, proxy and resolver settings are used as they are. Let it
    /// follow no redirects: reqwest's own would carry the token along.
    ///
    /// reqwest is built without a crypto provider here; where nothing else turns on a TLS feature
    /// of it, install one before you build a client, or it panics:
    /// `rustls::crypto::ring::default_provider().install_default()`.
    #[must_use]
    pub fn http_client(mut self, client: reqwest::Client) -> Self {
        self.client = Some(client);
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
        let address = Address::parse(&text, "Vault::builder().address(..)");
        let mut settings =
            Settings::new(address.map_err(|cause| cause.at("Vault::builder().address(..)"))?);
        if let Some(namespace) = self.namespace {
            let checked = settings::namespace(&namespace);
            settings.namespace = Some(checked.map_err(|what| {
                Cause::new(ErrorKind::Setting, what, "").at("Vault::builder().namespace(..)")
            })?);
        }
        settings.timeout = self.timeout.unwrap_or(settings.timeout).min(settings::LONGEST_TIMEOUT);
        settings.max_retries = self.max_retries.unwrap_or(settings.max_retries);
        settings.max_connections = self.max_connections.unwrap_or(settings.max_connections);
        if self.client.is_some() && !self.authorities.is_empty() {
            return Err(Cause::new(
                ErrorKind::Setting,
                "a client of your own brings its own authorities",
                "give the authority to the client, or leave out .http_client(..)",
            )
            .at("Vault::builder().ca_certificate(..)"));
        }
        settings.tls.authorities = self.authorities;
        let auth = self.auth.ok_or_else(|| {
            Cause::new(
                ErrorKind::NoLogin,
                "the connection has no way to log in",
                "call .auth(..) with one of vault_config::auth",
            )
        })?;
        Vault::open(settings, auth, Environment::Process, self.client)
    }
}

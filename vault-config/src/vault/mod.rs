//! The connection: where the server is, how to log in, one token for every configuration that shares it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Method;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use tokio::sync::Mutex as AsyncMutex;

use crate::auth::{AuthMethod, AuthToken, LoginClient};
use crate::error::{Cause, Error, ErrorKind};
use crate::source::env::Environment;
use crate::value::Value;
use crate::{Resolved, VaultConfig};

mod limit;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod retry;
pub(crate) mod settings;
mod tls;

pub(crate) use reply::Reply;
use request::{Call, Http, SharedHttp};
pub(crate) use retry::Repeat;
use settings::{Address, Settings};

/// A connection to HashiCorp Vault or OpenBao.
///
/// Cheap to clone. It logs in on first use, and every configuration that shares it shares one login and
/// one token. A login that failed is not kept: the next use tries again.
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
    http: SharedHttp,
    auth: Arc<dyn AuthMethod>,
    environment: Environment,
    login: AsyncMutex<Login>,
    /// Counts logins that ended, so that whoever waited for one that failed shares its failure.
    logins: AtomicU64,
    mounts: Mutex<HashMap<String, Learned>>,
}

#[derive(Default)]
struct Login {
    held: Option<Arc<Held>>,
    failure: Option<Cause>,
}

pub(crate) struct Held {
    token: AuthToken,
    /// Whether the token was alive, and when that was asked.
    alive: AsyncMutex<Option<(Instant, bool)>>,
}

/// What is mounted somewhere, as far as the token may know.
#[derive(Debug, Clone)]
pub(crate) enum Mount {
    Kv(u8),
    Other(String),
    Unknown,
}

impl Mount {
    pub(crate) fn kv_version(&self) -> Option<u8> {
        match self {
            Self::Kv(version) => Some(*version),
            _ => None,
        }
    }

    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }
}

impl Vault {
    /// A connection described in code. Nothing is read from the environment.
    #[must_use]
    pub fn builder() -> VaultBuilder {
        VaultBuilder::default()
    }

    /// The connection that the process environment describes, by the official client's variables and those
    /// of [`auth`](crate::auth).
    ///
    /// # Errors
    /// Every malformed variable, no address, or nothing to log in with.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_environment(&Environment::Process)
    }

    /// Like [`from_env`](Self::from_env), from variables given here: tests never touch the real environment.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn from_env_source<K: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, Error> {
        Self::from_environment(&Environment::given(variables))
    }

    /// Fetches the fields of `T` that are marked for Vault, for a figment of your own; see [`Resolved`].
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
            (Ok(None), auth) => Err(std::iter::once(no_address()).chain(auth.err()).collect()),
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
            http: Arc::new(Http::new(client, settings)),
            auth,
            environment,
            login: AsyncMutex::default(),
            logins: AtomicU64::new(0),
            mounts: Mutex::default(),
        })))
    }

    pub(crate) fn address(&self) -> &Address {
        &self.0.http.settings().address
    }

    pub(crate) fn wants_one_first(&self) -> bool {
        self.0.http.wants_one_first()
    }

    /// Logs in now if there is no token yet.
    pub(crate) async fn ready(&self) -> Result<(), Cause> {
        self.token(None).await.map(drop)
    }

    /// The token in hand, unless it is the one that was `refused`; then a new one. One login at a time.
    async fn token(&self, refused: Option<&Arc<Held>>) -> Result<Arc<Held>, Cause> {
        let seen = self.0.logins.load(Ordering::SeqCst);
        let mut login = self.0.login.lock().await;
        if let Some(held) = &login.held
            && refused.is_none_or(|refused| !Arc::ptr_eq(refused, held))
        {
            return Ok(Arc::clone(held));
        }
        if let Some(failure) = &login.failure
            && self.0.logins.load(Ordering::SeqCst) != seen
        {
            return Err(failure.clone());
        }
        login.held = None;
        let result = self.log_in().await;
        self.0.logins.fetch_add(1, Ordering::SeqCst);
        match result {
            Ok(token) => {
                let held = Arc::new(Held { token, alive: AsyncMutex::default() });
                login.held = Some(Arc::clone(&held));
                login.failure = None;
                Ok(held)
            }
            Err(cause) => {
                login.failure = Some(cause.clone());
                Err(cause)
            }
        }
    }

    async fn log_in(&self) -> Result<AuthToken, Cause> {
        let auth = &self.0.auth;
        let client = LoginClient::new(&self.0.http);
        let token = auth.login(&client).await.map_err(|error| {
            error.into_cause().at(format!(
                "vault {}, login by {}",
                self.address().shown(),
                auth.describe()
            ))
        })?;
        tracing::debug!(method = %auth.describe(), "logged in");
        Ok(token)
    }

    /// After a 403: a new token if the old one is dead and can be replaced, `None` if it is alive.
    /// That is asked once for all who were refused since `since`; a token that was alive before may be dead now.
    async fn replace_dead(
        &self,
        held: &Arc<Held>,
        since: Instant,
    ) -> Result<Option<Arc<Held>>, Cause> {
        let Some(token) = held.token.secret() else { return Ok(None) };
        let mut asked = held.alive.lock().await;
        let alive = match *asked {
            Some((when, alive)) if when >= since || !alive => alive,
            _ => {
                let alive = self.is_alive(token).await?;
                *asked = Some((Instant::now(), alive));
                alive
            }
        };
        drop(asked);
        if alive {
            return Ok(None);
        }
        if !self.0.auth.can_repeat() {
            return Err(Cause::new(
                ErrorKind::TokenInvalid,
                "the token is expired, revoked, used up or unknown to this server (HTTP 403)",
                format!("give a valid token; the refused one is the {}", self.0.auth.describe()),
            )
            .at(format!("vault {}", self.address().shown())));
        }
        self.token(Some(held)).await.map(Some)
    }

    /// A dead token and a missing permission are both 403; only a look at the token tells them apart.
    async fn is_alive(&self, token: &SecretString) -> Result<bool, Cause> {
        let call = Call {
            token: Some(token),
            namespace: self.namespace(),
            ..Call::get("auth/token/lookup-self")
        };
        let reply = self.0.http.send(&call).await?;
        Ok(reply.status != 403 || reply.denies_by_policy())
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

/// One load's use of a connection.
pub(crate) struct Session<'a> {
    pub(crate) vault: &'a Vault,
    /// What was learned before may have changed.
    pub(crate) started: Instant,
}

impl Session<'_> {
    /// A read with the token. A dead token is replaced once, and the read repeated once.
    pub(crate) async fn get(
        &self,
        path: &str,
        query: Option<(&'static str, String)>,
    ) -> Result<Reply, Cause> {
        let held = self.vault.token(None).await?;
        let reply = self.get_with(&held, path, query.clone()).await?;
        if reply.status != 403 {
            return Ok(reply);
        }
        match self.vault.replace_dead(&held, self.started).await? {
            Some(fresh) => self.get_with(&fresh, path, query).await,
            None => Ok(reply),
        }
    }

    async fn get_with(
        &self,
        held: &Held,
        path: &str,
        query: Option<(&'static str, String)>,
    ) -> Result<Reply, Cause> {
        let call = Call {
            query,
            token: held.token.secret(),
            namespace: self.vault.namespace(),
            ..Call::get(path)
        };
        self.vault.0.http.send(&call).await
    }

    /// What the token may do on each path: <https://openbao.org/api-docs/system/capabilities-self/>.
    pub(crate) async fn capabilities(&self, paths: &[String]) -> Result<Reply, Cause> {
        let held = self.vault.token(None).await?;
        let body = serde_json::json!({ "paths": paths }).to_string().into_bytes();
        let call = Call {
            token: held.token.secret(),
            namespace: self.vault.namespace(),
            ..Call::post("sys/capabilities-self", Zeroizing::new(body), Repeat::Always)
        };
        self.vault.0.http.send(&call).await
    }

    pub(crate) fn known_mount(&self, mount: &str) -> Option<Mount> {
        self.learned(mount).try_lock().ok().and_then(|known| self.fresh(&known))
    }

    /// What is mounted there; asked for once a mount, however many paths wait to know.
    pub(crate) async fn mount(&self, mount: &str, path: &str) -> Result<Mount, Cause> {
        let learned = self.learned(mount);
        let mut known = learned.lock().await;
        if let Some(mount) = self.fresh(&known) {
            return Ok(mount);
        }
        let reply = self.get(&format!("sys/internal/ui/mounts/{mount}/{path}"), None).await?;
        let mount = learn(&reply);
        *known = Some((Instant::now(), mount.clone()));
        Ok(mount)
    }

    /// What the token may not know today it may know after its policy changes.
    fn fresh(&self, known: &Option<(Instant, Mount)>) -> Option<Mount> {
        let (when, mount) = known.as_ref()?;
        (!mount.is_unknown() || *when >= self.started).then(|| mount.clone())
    }

    fn learned(&self, mount: &str) -> Learned {
        let mut mounts = self.vault.0.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(mounts.entry(mount.to_owned()).or_default())
    }
}

/// What is known of one mount, and since when; locked while it is asked for.
type Learned = Arc<AsyncMutex<Option<(Instant, Mount)>>>;

fn learn(reply: &Reply) -> Mount {
    let text = |key: &str| reply.data().get(key).and_then(Value::as_str);
    let version =
        reply.data().get("options").and_then(|o| o.get("version")).and_then(Value::as_str);
    match (reply.ok(), text("type")) {
        (true, Some("kv" | "generic")) => Mount::Kv(if version == Some("2") { 2 } else { 1 }),
        (true, Some(other)) => Mount::Other(other.to_owned()),
        _ => Mount::Unknown,
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
#[derive(Debug, Default)]
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

impl VaultBuilder {
    /// Where the server is: `https://host:8200`, `http://127.0.0.1:8200` or `unix:///run/agent.sock`.
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

    /// The limit on concurrent connections over HTTP/1.1. Default: 64. Over TLS one HTTP/2 connection is used.
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

    /// A client of your own: its TLS, proxy and resolver settings are used as they are. Let it follow no
    /// redirects: reqwest's own would carry the token along.
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
        settings.timeout = self.timeout.unwrap_or(settings.timeout);
        settings.max_retries = self.max_retries.unwrap_or(settings.max_retries);
        settings.max_connections = self.max_connections.unwrap_or(settings.max_connections);
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

pub(crate) fn post_login<'a>(path: &'a str, body: Zeroizing<Vec<u8>>, http: &'a Http) -> Call<'a> {
    Call {
        method: Method::POST,
        namespace: http.settings().namespace.as_deref(),
        ..Call::post(path, body, Repeat::UnlessArrived)
    }
}

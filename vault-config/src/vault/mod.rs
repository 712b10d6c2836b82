//! The connection to one server or cluster: its address, its login, and one token for every configuration that
//! shares it.
//!
//! | file | what it holds |
//! |---|---|
//! | `builder` | `VaultBuilder` |
//! | `session` | requests with a token, for one load or one background action |
//! | `response`, `mount`, `policy` | a finished response with its lease; what is mounted where; policy stanzas |
//! | `login`, `tracked_token`, `liveness` | one login at a time; the token and what is known of it; whether it is dead |
//! | `renewal` | the requests that renew and revoke tokens and leases |
//! | `rollback` | revokes what a failed load was issued |
//! | `reachability` | pure: outages and their probes |
//! | `upkeep` | what the watched configurations share: the token's renewal, failures, the login budget |

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;

use crate::auth::AuthMethod;
use crate::error::{Cause, Error, ErrorKind, Problem};
use crate::http::{self, Address, Addresses, ReqwestNetwork, Settings, Transport};
use crate::source::env::Environment;
use crate::time::clock::{Clock, Reading};
use crate::time::{Moment, Timing};

mod builder;
mod catch_panic;
mod liveness;
mod login;
mod mount;
mod policy;
mod reachability;
mod renewal;
mod response;
mod rollback;
mod session;
mod tracked_token;
mod upkeep;

pub use builder::VaultBuilder;
pub(crate) use catch_panic::catch_panic;
use login::LoginState;
use mount::MountCache;
pub(crate) use mount::MountKind;
pub(crate) use policy::Grant;
#[cfg(test)]
pub(crate) use reachability::Reachability;
pub(crate) use reachability::{PlannedRequest, Recovery};
pub(crate) use renewal::{RenewalOutcome, end_lease};
pub(crate) use response::{Issued, Lease, LeaseId, Response};
pub(crate) use rollback::{IssueTicket, LoadRollback, RollbackGuard};
pub(crate) use session::Session;
pub(crate) use tracked_token::{ReservedToken, Retirement, TrackedToken};
use upkeep::Upkeep;
pub(crate) use upkeep::{
    ConnectionEvent, Failure, TokenAction, TokenOutcome, WatchRegistration, token_urgency,
};

/// A connection to HashiCorp Vault or OpenBao: the address, the login and the token that loads use.
///
/// Create it with [`builder`](Self::builder), or with [`from_env`](Self::from_env) from the variables of the
/// official client. Nothing is sent until the first load, which logs in. All clones, and all configurations that
/// use one of them, share one login and one token. After a failed login the next load logs in again.
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
pub struct Vault(Arc<VaultConnection>);

/// What all clones of a [`Vault`] share.
struct VaultConnection {
    http: Transport,
    auth: Arc<dyn AuthMethod>,
    environment: Environment,
    login_state: AsyncMutex<LoginState>,
    /// Outside of `login_state`, so that it can be read while a login is under way.
    active_token: Mutex<Option<Arc<TrackedToken>>>,
    /// Tokens of earlier logins that have not been revoked, because leases under them may be in use.
    retired_tokens: Mutex<Vec<Arc<TrackedToken>>>,
    /// How often all tokens were revoked. A login compares it to notice a revocation while it was under way.
    revocations: AtomicU64,
    upkeep: Upkeep,
    /// The load that created the connection has failed, and nothing else can use it.
    is_abandoned: AtomicBool,
    mount_cache: MountCache,
}

impl Vault {
    /// Starts a connection that is described in code. Nothing is read from the environment.
    #[must_use]
    pub fn builder() -> VaultBuilder {
        VaultBuilder::default()
    }

    /// The connection that the process environment describes: the variables of the official client, such as
    /// `VAULT_ADDR`, and those of [`auth`](crate::auth). Nothing is sent.
    ///
    /// # Errors
    /// Every malformed variable, a missing address, or a missing login.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_environment(&Environment::Process)
    }

    /// Like [`from_env`](Self::from_env), but with these variables instead of the process environment, as for
    /// tests.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn from_env_source<K: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, Error> {
        Self::from_environment(&Environment::injected(variables))
    }

    fn from_environment(environment: &Environment) -> Result<Self, Error> {
        Self::connect(environment).map_err(|causes| {
            let problems = causes.into_iter().map(Problem::general).collect();
            Error::new(CONNECTION, problems, None)
        })
    }

    pub(crate) fn connect(environment: &Environment) -> Result<Self, Vec<Cause>> {
        let settings = Settings::from_environment(environment);
        let auth = crate::auth::detect(environment);
        match (settings, auth) {
            (Ok(Some(settings)), Ok(auth)) => {
                Self::open(settings, auth, environment.clone(), None, Timing::default())
                    .map_err(|cause| vec![cause])
            }
            // Without an address the login does not matter, so its errors are not reported.
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
        timing: Timing,
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
        let network = ReqwestNetwork::new(&settings, client, timing.network.clone())?;
        Ok(Self(Arc::new(VaultConnection {
            http: Transport::new(Box::new(network), settings, timing),
            auth,
            environment,
            login_state: AsyncMutex::default(),
            active_token: Mutex::default(),
            retired_tokens: Mutex::default(),
            revocations: AtomicU64::new(0),
            upkeep: Upkeep::default(),
            is_abandoned: AtomicBool::new(false),
            mount_cache: MountCache::default(),
        })))
    }

    pub(crate) fn addresses(&self) -> &Addresses {
        &self.0.http.settings().addresses
    }

    pub(crate) fn wants_one_first(&self) -> bool {
        self.0.http.wants_one_first()
    }

    pub(crate) fn timing(&self) -> &Timing {
        self.0.http.timing()
    }

    /// A moment of the network's clock, for what is ordered or measured and never planned.
    pub(crate) fn moment(&self) -> Moment {
        self.timing().network.now()
    }

    /// In `0.0..1.0`, for the jitter of waits.
    pub(crate) fn random(&self) -> f64 {
        self.timing().chance.fraction()
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.timing().clock
    }

    /// The environment that the connection was described by.
    pub(crate) fn environment(&self) -> &Environment {
        &self.0.environment
    }

    pub(crate) fn auth(&self) -> &dyn AuthMethod {
        self.0.auth.as_ref()
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.0.http.settings().timeout
    }

    /// The token of the last login, if there is one. It does not wait for a login that is under way.
    pub(crate) fn active_token(&self) -> Option<Arc<TrackedToken>> {
        lock(&self.0.active_token).clone()
    }

    fn set_active_token(&self, token: Option<Arc<TrackedToken>>) {
        *lock(&self.0.active_token) = token;
    }

    /// Keeps a replaced token for its later revocation. Only tokens that this connection logged in for are kept,
    /// because the connection may not revoke any other.
    fn retire_token(&self, token: Arc<TrackedToken>) {
        let now = self.clock().now();
        let mut retired = lock(&self.0.retired_tokens);
        retired.retain(|token| !token.has_expired(now));
        if token.is_from_login() {
            retired.push(token);
        }
    }

    /// The tokens of earlier logins that have not been revoked.
    pub(crate) fn retired_tokens(&self) -> MutexGuard<'_, Vec<Arc<TrackedToken>>> {
        lock(&self.0.retired_tokens)
    }

    /// The rest of the pause that the server requested with `Retry-After`.
    pub(crate) fn retry_after(&self, now: Reading) -> Duration {
        self.0.http.retry_after(now).unwrap_or_default()
    }

    pub(crate) fn namespace(&self) -> Option<&str> {
        self.0.http.settings().namespace.as_deref()
    }

    /// The prefix of a namespace's paths in the token's policies. A policy names paths as seen from the namespace
    /// of the login. `None` is the connection's own namespace.
    pub(crate) fn policy_prefix(&self, namespace: Option<&str>) -> String {
        let below_root = |namespace: Option<&str>| match namespace {
            None | Some(http::ROOT) => String::new(),
            Some(namespace) => format!("{namespace}/"),
        };
        let path = below_root(namespace.or(self.namespace()));
        let login = below_root(self.login_namespace());
        path.strip_prefix(&login).map(str::to_owned).unwrap_or(path)
    }

    /// The namespace that issues the token. Only there can the token be looked up, renewed and revoked.
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

/// Stands in place of the configuration's name in errors of the connection alone.
const CONNECTION: &str = "the connection to Vault";

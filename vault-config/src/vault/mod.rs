//! The connection: where the server is, how to log in, one token for every configuration that
//! shares it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;

use crate::auth::AuthMethod;
use crate::error::{Cause, Error, ErrorKind};
use crate::http::{self, Address, Addresses, Http, ReqwestNetwork, Settings};
use crate::source::env::Environment;
use crate::time::Timing;
use crate::time::clock::{Clock, Reading};

mod builder;
mod contained;
mod custody;
mod login;
mod policy;
mod reachability;
mod renewal;
mod response;
mod session;
mod upkeep;

pub use builder::VaultBuilder;
pub(crate) use contained::contained;
pub(crate) use custody::{Custody, CustodyGuard, IssueTicket};
use login::Login;
pub(crate) use login::{Held, Leaving, TokenUse};
pub(crate) use policy::Grant;
#[cfg(test)]
pub(crate) use reachability::Reachability;
pub(crate) use reachability::{Asker, Recovery};
pub(crate) use renewal::{Renewal, end_lease};
pub(crate) use response::{Issued, Lease, LeaseId, Response};
use session::Learned;
pub(crate) use session::{Mount, Session};
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
                Self::open(settings, auth, environment.clone(), None, Timing::default())
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
        Ok(Self(Arc::new(Inner {
            http: Http::new(Box::new(network), settings, timing),
            auth,
            environment,
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

    pub(crate) fn timing(&self) -> &Timing {
        self.0.http.timing()
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.timing().clock
    }

    /// Where the connection itself was read from.
    pub(crate) fn environment(&self) -> &Environment {
        &self.0.environment
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
            None | Some(http::ROOT) => String::new(),
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

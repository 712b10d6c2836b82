//! One token for all who share a connection: one login at a time, one failure for all who waited.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::Vault;
use super::request::Call;
use crate::auth::{AuthToken, Granted, LoginClient};
use crate::error::{Cause, ErrorKind};
use crate::live::clock::Reading;
use crate::live::schedule::Term;
use crate::text::printable;

#[derive(Default)]
pub(super) struct Login {
    held: Option<Arc<Held>>,
    failure: Option<(Instant, Cause)>,
}

/// A token in use.
pub(crate) struct Held {
    token: AuthToken,
    /// Whether the token was alive, and when that was asked.
    alive: Mutex<Option<(Instant, bool)>>,
    /// Unknown for a token that was made elsewhere and not looked at yet.
    term: SyncMutex<Option<Term>>,
    /// One renewal at a time, whoever shares the token.
    renewing: Mutex<()>,
    /// What is left of a token that may be used so many times; the last is kept to revoke it.
    uses: Option<AtomicU64>,
    left: OnceLock<Leaving>,
}

/// Why a token is no longer in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// It lives on, with all that was made under it.
    UsedUp,
    /// It is dead or about to be.
    Ended,
}

impl Held {
    fn new(token: AuthToken, asked: Reading) -> Self {
        let granted = token.granted().copied();
        let term = granted.map(|granted| term(&granted, asked));
        let uses = granted.map(|granted| granted.uses).filter(|uses| *uses > 0);
        // Who may use it once uses it once.
        let uses = uses.map(|uses| AtomicU64::new(uses.saturating_sub(1).max(1)));
        Self {
            token,
            alive: Mutex::default(),
            term: SyncMutex::new(term),
            renewing: Mutex::default(),
            uses,
            left: OnceLock::new(),
        }
    }

    pub(crate) fn secret(&self) -> Option<&SecretString> {
        self.token.secret()
    }

    /// Whether this connection made it, and may revoke it.
    pub(crate) fn is_ours(&self) -> bool {
        self.token.granted().is_some()
    }

    pub(crate) fn term(&self) -> MutexGuard<'_, Option<Term>> {
        self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has_ended(&self, now: Reading) -> bool {
        let left = self.term().as_ref().and_then(|term| term.left(now));
        left.is_some_and(|left| left.is_zero())
    }

    pub(crate) async fn renewing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.renewing.lock().await
    }

    pub(crate) fn left(&self) -> Option<Leaving> {
        self.left.get().copied()
    }

    pub(super) fn learn(&self, granted: &Granted, full: std::time::Duration, asked: Reading) {
        let random = fastrand::f64();
        *self.term() = Some(Term::new(asked, granted.ttl, full, granted.renewable, random));
    }

    /// Counts one request; `false` when there is none left.
    pub(super) fn take_use(&self) -> bool {
        let Some(uses) = &self.uses else { return true };
        let less = |left: u64| left.checked_sub(1);
        uses.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// Nothing is left but the use that revokes it.
    pub(crate) fn is_used_up(&self) -> bool {
        self.uses.as_ref().is_some_and(|uses| uses.load(Ordering::Relaxed) == 0)
    }

    fn is(&self, token: &AuthToken) -> bool {
        match (self.secret(), token.secret()) {
            (Some(held), Some(token)) => held.expose_secret() == token.expose_secret(),
            (held, token) => held.is_none() && token.is_none(),
        }
    }
}

impl Vault {
    /// Logs in now if there is no token yet.
    pub(crate) async fn ready(&self, since: Instant) -> Result<(), Cause> {
        self.token(None, since).await.map(drop)
    }

    /// The token in hand, unless it is the one that was `refused`; then a new one. A login that
    /// failed since `since` is not repeated: several wrong tries lock a role.
    pub(super) async fn token(
        &self,
        refused: Option<&Arc<Held>>,
        since: Instant,
    ) -> Result<Arc<Held>, Cause> {
        let login = self.0.login.lock().await;
        if let Some(settled) = login.settled(refused, since) {
            return settled;
        }
        drop(login);
        // On a task of its own: who stops waiting does not cancel a login that others wait for, nor
        // loses a token that a single-use secret_id has paid for.
        let (vault, refused) = (self.clone(), refused.cloned());
        let login = tokio::spawn(async move { vault.log_in_once(refused, since).await });
        login.await.unwrap_or_else(|_| Err(unanswered()))
    }

    async fn log_in_once(
        &self,
        refused: Option<Arc<Held>>,
        since: Instant,
    ) -> Result<Arc<Held>, Cause> {
        let mut login = self.0.login.lock().await;
        if let Some(settled) = login.settled(refused.as_ref(), since) {
            return settled;
        }
        let asked = self.clock().now();
        let result = match (self.log_in().await, &refused) {
            // A file whose token nobody has replaced.
            (Ok(token), Some(refused)) if refused.is(&token) => Err(self.dead()),
            (result, _) => result,
        };
        match result {
            Ok(token) => {
                let leaving = match refused.as_deref().map(Held::is_used_up) {
                    Some(true) => Leaving::UsedUp,
                    _ => Leaving::Ended,
                };
                Ok(self.hold(&mut login, token, asked, leaving))
            }
            Err(cause) => {
                // What was refused is dead, or has no use left.
                if let Some(old) = login.held.take() {
                    self.retire(old);
                }
                login.failure = Some((Instant::now(), cause.clone()));
                self.hold_now(None);
                Err(cause)
            }
        }
    }

    async fn log_in(&self) -> Result<AuthToken, Cause> {
        let auth = &self.0.auth;
        let client = LoginClient::new(&self.0.http);
        let span = tracing::info_span!("login", method = printable(&auth.describe()));
        let began = Instant::now();
        let token = auth.login(&client).instrument(span.clone()).await.map_err(|error| {
            let place = format!("vault {}, login by {}", self.addresses().shown(), auth.describe());
            error.into_cause().at(place)
        })?;
        span.in_scope(|| tracing::debug!(elapsed = ?began.elapsed(), "logged in"));
        Ok(token)
    }

    fn hold(
        &self,
        login: &mut Login,
        token: AuthToken,
        asked: Reading,
        leaving: Leaving,
    ) -> Arc<Held> {
        let held = Arc::new(Held::new(token, asked));
        if let Some(old) = login.held.replace(Arc::clone(&held)) {
            let _ = old.left.set(leaving);
            self.retire(old);
        }
        login.failure = None;
        self.hold_now(Some(Arc::clone(&held)));
        held
    }

    /// Another token before this one ends. The old one stays in use until there is a new one.
    pub(crate) async fn log_in_again(&self, old: &Arc<Held>) -> Result<Arc<Held>, Cause> {
        let (vault, old, since) = (self.clone(), Arc::clone(old), Instant::now());
        let login = tokio::spawn(async move {
            let mut login = vault.0.login.lock().await;
            if let Some(held) = login.held.as_ref().filter(|held| !Arc::ptr_eq(held, &old)) {
                return Ok(Arc::clone(held));
            }
            if let Some((when, cause)) = &login.failure
                && *when >= since
            {
                return Err(cause.clone());
            }
            let asked = vault.clock().now();
            match vault.log_in().await {
                // A file whose token nobody has replaced.
                Ok(token) if old.is(&token) => Ok(old),
                Ok(token) => Ok(vault.hold(&mut login, token, asked, Leaving::Ended)),
                Err(cause) => {
                    login.failure = Some((Instant::now(), cause.clone()));
                    Err(cause)
                }
            }
        });
        login.await.unwrap_or_else(|_| Err(unanswered()))
    }

    /// Revokes every token that this connection made, and with them all that was made under them.
    /// The next use logs in anew.
    pub(crate) async fn revoke_all(&self) -> Result<(), Cause> {
        // A login that is under way is waited for, or its token would be left behind.
        let held = self.0.login.lock().await.held.take();
        self.hold_now(None);
        let mut tokens: Vec<_> = self.retired().drain(..).collect();
        tokens.extend(held.filter(|held| held.is_ours()));
        let mut tasks = JoinSet::new();
        for held in tokens {
            let vault = self.clone();
            let span = tracing::info_span!("revoke", source = "token");
            tasks.spawn(async move { vault.revoke_token(&held).await }.instrument(span));
        }
        tasks.join_all().await.into_iter().collect()
    }

    /// After a 403: a new token if the old one is dead and can be replaced, `None` if it is alive.
    /// That is asked once for all who were refused since `since`; a token that was alive may have
    /// died.
    pub(super) async fn replace_dead(
        &self,
        held: &Arc<Held>,
        since: Instant,
    ) -> Result<Option<Arc<Held>>, Cause> {
        match self.is_dead(held, since).await? {
            false => Ok(None),
            true if !self.0.auth.can_repeat() => Err(self.dead()),
            true => self.token(Some(held), since).await.map(Some),
        }
    }

    pub(super) async fn is_dead(&self, held: &Held, since: Instant) -> Result<bool, Cause> {
        let Some(token) = held.secret() else { return Ok(false) };
        let mut asked = held.alive.lock().await;
        if let Some((when, alive)) = *asked
            && (when >= since || !alive)
        {
            return Ok(!alive);
        }
        let alive = self.is_alive(token).await?;
        *asked = Some((Instant::now(), alive));
        Ok(!alive)
    }

    /// A dead token and a missing permission are both 403; only a look at the token tells them
    /// apart.
    async fn is_alive(&self, token: &SecretString) -> Result<bool, Cause> {
        let namespace = self.login_namespace();
        let call = Call { token: Some(token), namespace, ..Call::get("auth/token/lookup-self") };
        let reply = self.0.http.send(&call).await?;
        Ok(reply.status != 403 || reply.denies_by_policy())
    }

    pub(crate) fn dead(&self) -> Cause {
        Cause::new(
            ErrorKind::TokenInvalid,
            "the token is expired, revoked, used up or unknown to this server (HTTP 403)",
            format!("give a valid token; the refused one is the {}", self.0.auth.describe()),
        )
        .at(format!("vault {}", self.addresses().shown()))
    }
}

fn term(granted: &Granted, asked: Reading) -> Term {
    Term::new(asked, granted.ttl, granted.ttl, granted.renewable, fastrand::f64())
}

fn unanswered() -> Cause {
    let help = "see the login method's code: it panicked, or its runtime ended";
    Cause::new(ErrorKind::LoginRefused, "the login ended without an answer", help)
}

impl Login {
    /// What needs no login: a token that was not refused, or a failure that is too fresh to repeat.
    fn settled(
        &self,
        refused: Option<&Arc<Held>>,
        since: Instant,
    ) -> Option<Result<Arc<Held>, Cause>> {
        if let Some(held) = &self.held
            && refused.is_none_or(|refused| !Arc::ptr_eq(refused, held))
        {
            return Some(Ok(Arc::clone(held)));
        }
        let (when, cause) = self.failure.as_ref()?;
        (*when >= since).then(|| Err(cause.clone()))
    }
}

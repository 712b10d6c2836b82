//! One token for all who share a connection: one login at a time, one failure for all who waited.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::session::Manner;
use super::{Vault, contained};
use crate::auth::{AuthToken, LoginClient};
use crate::error::{Cause, ErrorKind};
use crate::http::{Call, Lane};
use crate::text::printable;
use crate::time::Lifetime;
use crate::time::clock::Reading;

#[derive(Default)]
pub(super) struct Login {
    failure: Option<(Instant, Cause)>,
}

/// A token in use.
pub(crate) struct Held {
    token: AuthToken,
    /// Whether the token was alive, and when that was asked.
    alive: Mutex<Option<(Instant, bool)>>,
    /// Unknown for a token that was made elsewhere and not looked at yet.
    term: SyncMutex<Option<Lifetime>>,
    /// Since when the server refuses it.
    dead: SyncMutex<Option<Reading>>,
    /// What is left of a token that may be used so many times; the last is kept to revoke it.
    uses: Option<AtomicU64>,
    /// Something needed more uses than are left.
    is_short_of_uses: AtomicBool,
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
    fn new(token: AuthToken, asked: Reading, may_renew: bool) -> Self {
        let granted = token.granted().copied();
        let term = granted.and_then(|granted| {
            let ttl = granted.ttl?;
            let renewable = granted.renewable && may_renew;
            Some(Lifetime::new(asked, ttl, ttl, renewable, fastrand::f64()))
        });
        let uses = granted.map(|granted| granted.uses).filter(|uses| *uses > 0);
        // Who may use it once uses it once.
        let uses = uses.map(|uses| AtomicU64::new(uses.saturating_sub(1).max(1)));
        Self {
            token,
            alive: Mutex::default(),
            term: SyncMutex::new(term),
            dead: SyncMutex::default(),
            uses,
            is_short_of_uses: AtomicBool::new(false),
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

    pub(crate) fn term(&self) -> MutexGuard<'_, Option<Lifetime>> {
        self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has_ended(&self, now: Reading) -> bool {
        let left = self.term().as_ref().and_then(|term| term.remaining(now));
        left.is_some_and(|left| left.is_zero())
    }

    /// The server refuses it. Whether that is news.
    pub(super) fn dies(&self, now: Reading) -> bool {
        let mut dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        dead.is_none() && dead.replace(now).is_none()
    }

    /// The server takes it after all.
    pub(super) fn lives(&self) {
        *self.dead.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn dead_since(&self) -> Option<Reading> {
        *self.dead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead_since().is_some()
    }

    pub(crate) fn left(&self) -> Option<Leaving> {
        self.left.get().copied()
    }

    pub(super) fn learn(&self, lifetime: Lifetime) {
        *self.term() = Some(lifetime);
    }

    /// Sets `count` uses aside before any of them is spent; `false` when so many are not left, and then a
    /// login is due.
    pub(crate) fn reserve(&self, count: u64) -> bool {
        let Some(uses) = &self.uses else { return true };
        let less = |left: u64| left.checked_sub(count);
        let is_reserved = uses.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
        if !is_reserved {
            self.is_short_of_uses.store(true, Ordering::Relaxed);
        }
        is_reserved
    }

    /// Counts one request; `false` when there is none left.
    pub(super) fn take_use(&self) -> bool {
        self.reserve(1)
    }

    /// Each request costs one of a number of uses.
    pub(crate) fn is_use_limited(&self) -> bool {
        self.uses.is_some()
    }

    /// Nothing is left but the use that revokes it, or less than something needs.
    pub(crate) fn is_used_up(&self) -> bool {
        self.is_short_of_uses.load(Ordering::Relaxed)
            || self.uses.as_ref().is_some_and(|uses| uses.load(Ordering::Relaxed) == 0)
    }

    fn is(&self, token: &AuthToken) -> bool {
        match (self.secret(), token.secret()) {
            (Some(held), Some(token)) => held.expose_secret() == token.expose_secret(),
            (held, token) => held.is_none() && token.is_none(),
        }
    }
}

/// A token that one action in the background uses from its first request to its last, with the uses that
/// were set aside for it. Those that it did not need are given back.
pub(crate) struct TokenUse {
    held: Arc<Held>,
    reserved: AtomicU64,
}

impl TokenUse {
    /// `None` when so many uses are not left.
    pub(crate) fn reserve(held: Arc<Held>, count: u64) -> Option<Self> {
        let is_reserved = held.reserve(count);
        is_reserved.then(|| Self { held, reserved: AtomicU64::new(count) })
    }

    pub(crate) fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// Counts one request; `false` when there is no use left for it.
    pub(super) fn take(&self) -> bool {
        let less = |left: u64| left.checked_sub(1);
        let was_reserved = self.reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        was_reserved.is_ok() || self.held.take_use()
    }
}

impl Drop for TokenUse {
    fn drop(&mut self) {
        if let Some(uses) = &self.held.uses {
            uses.fetch_add(self.reserved.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// What the server says of a token that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Liveness {
    Alive,
    Dead,
    /// Something else answered, or nothing: that changes nothing of what is known.
    Unknown,
}

impl Vault {
    /// Logs in now if there is no token yet.
    pub(crate) async fn ready(&self, since: Instant) -> Result<(), Cause> {
        self.token(None, since).await.map(drop)
    }

    /// The current token, unless it is the one that was `refused`; then a new one. A login that failed
    /// since `since` is not repeated: several wrong tries lock a role.
    pub(super) async fn token(
        &self,
        refused: Option<&Arc<Held>>,
        since: Instant,
    ) -> Result<Arc<Held>, Cause> {
        if let Some(held) = self.token_other_than(refused) {
            return Ok(held);
        }
        let (refused, same) = (refused.cloned(), refused.cloned());
        let settled = move |vault: &Self| vault.token_other_than(refused.as_ref());
        let held = self.log_in_apart(since, settled).await?;
        match same.is_some_and(|same| Arc::ptr_eq(&same, &held)) {
            true => Err(self.dead()),
            false => Ok(held),
        }
    }

    /// Another token before this one ends. The old one stays in use until there is a new one.
    pub(crate) async fn log_in_again(&self, old: &Arc<Held>) -> Result<Arc<Held>, Cause> {
        let (old, since) = (Arc::clone(old), Instant::now());
        self.log_in_apart(since, move |vault| vault.held().filter(|held| !Arc::ptr_eq(held, &old)))
            .await
    }

    fn token_other_than(&self, refused: Option<&Arc<Held>>) -> Option<Arc<Held>> {
        let held = self.held()?;
        let is_refused = refused.is_some_and(|refused| Arc::ptr_eq(refused, &held));
        let is_useless = held.is_dead() && self.auth().can_repeat();
        (!is_refused && !is_useless).then_some(held)
    }

    /// Logs in, unless `settled` finds that another login was faster. On a task of its own: a caller that
    /// stops waiting does not cancel a login that others wait for, nor loses a token that a single-use
    /// secret_id has paid for.
    async fn log_in_apart(
        &self,
        since: Instant,
        settled: impl Fn(&Self) -> Option<Arc<Held>> + Send + 'static,
    ) -> Result<Arc<Held>, Cause> {
        let waiting = Arc::new(());
        let (vault, waits) = (self.clone(), Arc::downgrade(&waiting));
        let epoch = self.0.epoch.load(Ordering::SeqCst);
        let login = tokio::spawn(async move {
            let mut login = vault.0.login.lock().await;
            if let Some(held) = settled(&vault) {
                return Ok(held);
            }
            if let Some((when, cause)) = &login.failure
                && *when >= since
            {
                return Err(cause.clone());
            }
            let result = contained(vault.log_in_once()).await.unwrap_or_else(|_| {
                let cause = unanswered();
                vault.login_failed(&cause, vault.clock().now());
                Err(cause)
            });
            login.failure = result.as_ref().err().map(|cause| (Instant::now(), cause.clone()));
            // Everything was revoked meanwhile, and nothing waits for another token.
            let is_over = epoch != vault.0.epoch.load(Ordering::SeqCst) && !vault.is_watched();
            if is_over && waits.strong_count() == 0 {
                let _ = vault.revoke_all().await;
            }
            result
        });
        login.await.unwrap_or_else(|_| Err(unanswered()))
    }

    async fn log_in_once(&self) -> Result<Arc<Held>, Cause> {
        let asked = self.clock().now();
        self.may_log_in(asked)?;
        self.login_begins();
        let old = self.held();
        match (self.log_in().await, old) {
            // A file whose token was not replaced. What a login grants is new, whatever it is called.
            (Ok(token), Some(old)) if token.granted().is_none() && old.is(&token) => Ok(old),
            (Ok(token), old) => self.hold_unless_abandoned(token, old, asked).await,
            (Err(cause), _) => {
                self.login_failed(&cause, self.clock().now());
                Err(cause)
            }
        }
    }

    async fn log_in(&self) -> Result<AuthToken, Cause> {
        let auth = &self.0.auth;
        let client = LoginClient::new(&self.0.http);
        let span = tracing::info_span!("login", method = printable(&auth.describe()));
        let began = Instant::now();
        self.refuse_abandoned()?;
        let token = auth.login(&client).instrument(span.clone()).await.map_err(|error| {
            let place = format!("vault {}, login by {}", self.addresses().shown(), auth.describe());
            error.into_cause().at(place)
        })?;
        span.in_scope(|| tracing::debug!(elapsed = ?began.elapsed(), "logged in"));
        Ok(token)
    }

    fn hold(&self, token: AuthToken, old: Option<Arc<Held>>, asked: Reading) -> Arc<Held> {
        let held = Arc::new(Held::new(token, asked, self.may_renew_tokens(asked)));
        let is_first = old.is_none();
        self.hold_now(Some(Arc::clone(&held)));
        if let Some(old) = old {
            // One that was used up lives on, and so does what was issued under it.
            let leaving = match old.is_used_up() && !old.is_dead() {
                true => Leaving::UsedUp,
                false => Leaving::Ended,
            };
            let _ = old.left.set(leaving);
            self.retire(old);
        }
        self.login_succeeded(self.clock().now(), is_first);
        held
    }

    /// Revokes every token that this connection made, and with them all that was issued under them. The
    /// next use logs in anew. A login that is under way is not waited for: its token is revoked when it is
    /// there and nothing waits for it.
    ///
    /// The tokens that live on are returned, with the reason.
    pub(crate) async fn revoke_all(&self) -> Vec<(Arc<Held>, Cause)> {
        self.0.epoch.fetch_add(1, Ordering::SeqCst);
        let held = self.held();
        if held.as_ref().is_some_and(|held| held.is_ours()) {
            self.hold_now(None);
        }
        let mut tokens: Vec<_> = self.retired().drain(..).collect();
        tokens.extend(held.filter(|held| held.is_ours()));
        for held in &tokens {
            // What a configuration that begins to watch at this moment was issued is issued anew.
            let _ = held.left.set(Leaving::Ended);
        }
        let mut tasks = JoinSet::new();
        for held in tokens {
            let vault = self.clone();
            let span = tracing::info_span!("revoke", source = "token");
            let revoke =
                async move { vault.revoke_token(&held).await.err().map(|cause| (held, cause)) };
            tasks.spawn(revoke.instrument(span));
        }
        tasks.join_all().await.into_iter().flatten().collect()
    }

    /// After a 403: a new token if the old one is dead and can be replaced, `None` if it is alive. That
    /// is asked once for all that were refused since `since`; a token that was alive may have died.
    pub(super) async fn replace_dead(
        &self,
        held: &Arc<Held>,
        since: Instant,
        manner: Manner,
    ) -> Result<Option<Arc<Held>>, Cause> {
        match self.is_dead(held, since, manner).await? {
            false => Ok(None),
            true if !self.0.auth.can_repeat() => Err(self.dead()),
            true => self.token(Some(held), since).await.map(Some),
        }
    }

    pub(super) async fn is_dead(
        &self,
        held: &Held,
        since: Instant,
        manner: Manner,
    ) -> Result<bool, Cause> {
        let Some(token) = held.secret() else { return Ok(false) };
        let mut asked = held.alive.lock().await;
        if let Some((when, alive)) = *asked
            && when >= since
        {
            return Ok(!alive);
        }
        // To look costs one of its uses, and the last one ends it.
        if !held.take_use() {
            return Ok(false);
        }
        let is_alive = match self.liveness(token, manner).await? {
            Liveness::Alive => true,
            Liveness::Dead => false,
            Liveness::Unknown => return Ok(false),
        };
        *asked = Some((Instant::now(), is_alive));
        Ok(!is_alive)
    }

    /// A dead token and a missing permission are both 403; only a look at the token separates them.
    async fn liveness(&self, token: &SecretString, manner: Manner) -> Result<Liveness, Cause> {
        let namespace = self.login_namespace();
        let call = manner.of(Call::get("auth/token/lookup-self"));
        let call = Call { token: Some(token), namespace, lane: Lane::Renew, ..call };
        let reply = self.0.http.send(&call).await?;
        Ok(match reply.ok() || reply.denies_by_policy() {
            true => Liveness::Alive,
            false if reply.denies_token() => Liveness::Dead,
            false => Liveness::Unknown,
        })
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

/// A connection of a load's own that nothing uses any more.
impl Vault {
    /// From now on it does not log in. The token of a login that is under way is revoked when it
    /// comes.
    pub(super) fn abandon(&self) {
        self.0.abandoned.store(true, Ordering::SeqCst);
    }

    fn refuse_abandoned(&self) -> Result<(), Cause> {
        match self.0.abandoned.load(Ordering::SeqCst) {
            true => Err(abandoned()),
            false => Ok(()),
        }
    }

    /// Either this sees that the connection was abandoned meanwhile, or what abandoned it sees the
    /// token.
    async fn hold_unless_abandoned(
        &self,
        token: AuthToken,
        old: Option<Arc<Held>>,
        asked: Reading,
    ) -> Result<Arc<Held>, Cause> {
        let held = self.hold(token, old, asked);
        let Err(cause) = self.refuse_abandoned() else { return Ok(held) };
        if held.is_ours() {
            self.revoke_abandoned(&held).await;
        }
        Err(cause)
    }
}

fn abandoned() -> Cause {
    Cause::new(
        ErrorKind::Runtime,
        "the load is over, and its login is no longer needed",
        "load again",
    )
}

fn unanswered() -> Cause {
    let help = "see the login method's code: it panicked, or its runtime ended";
    Cause::new(ErrorKind::Runtime, "the login ended without an answer", help)
}

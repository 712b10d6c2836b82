//! One token for every configuration that shares a connection: one login at a time, and a failed login
//! fails once for all requests that waited for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::{Retirement, TrackedToken, Vault, catch_panic};
use crate::auth::{AuthToken, LoginClient};
use crate::error::{Cause, ErrorKind};
use crate::text::printable;
use crate::time::Moment;
use crate::time::clock::Reading;

/// Guarded by the lock that lets one login run at a time.
#[derive(Default)]
pub(super) struct LoginState {
    last_failure: Option<(Moment, Cause)>,
}

impl Vault {
    /// Logs in if there is no token yet.
    pub(crate) async fn ensure_logged_in(&self, since: Moment) -> Result<(), Cause> {
        self.obtain_token(None, since).await.map(drop)
    }

    /// The active token, or a new one if the active one is the `refused` one. A login that failed after
    /// `since` is not repeated, because several wrong attempts lock a role.
    pub(super) async fn obtain_token(
        &self,
        refused: Option<&Arc<TrackedToken>>,
        since: Moment,
    ) -> Result<Arc<TrackedToken>, Cause> {
        if let Some(token) = self.active_token_except(refused) {
            return Ok(token);
        }
        let refused_token = refused.cloned();
        let find_newer = move |vault: &Self| vault.active_token_except(refused_token.as_ref());
        let token = self.log_in_unless(since, find_newer).await?;
        match refused.is_some_and(|refused| Arc::ptr_eq(refused, &token)) {
            true => Err(self.token_invalid()),
            false => Ok(token),
        }
    }

    /// Logs in for a successor of `old` before `old` expires. `old` stays active until then.
    pub(crate) async fn replace_token(
        &self,
        old: &Arc<TrackedToken>,
    ) -> Result<Arc<TrackedToken>, Cause> {
        let (old, since) = (Arc::clone(old), self.moment());
        let find_newer =
            move |vault: &Self| vault.active_token().filter(|active| !Arc::ptr_eq(active, &old));
        self.log_in_unless(since, find_newer).await
    }

    fn active_token_except(
        &self,
        refused: Option<&Arc<TrackedToken>>,
    ) -> Option<Arc<TrackedToken>> {
        let token = self.active_token()?;
        let is_refused = refused.is_some_and(|refused| Arc::ptr_eq(refused, &token));
        let is_replaceable = token.is_dead() && self.auth().can_repeat();
        (!is_refused && !is_replaceable).then_some(token)
    }

    /// Logs in, unless `find_newer` finds the token of another login that was faster.
    ///
    /// The login runs on a task of its own: a caller that stops waiting must neither cancel a login that
    /// others wait for, nor lose a token that consumed a single-use secret_id.
    async fn log_in_unless(
        &self,
        since: Moment,
        find_newer: impl Fn(&Self) -> Option<Arc<TrackedToken>> + Send + 'static,
    ) -> Result<Arc<TrackedToken>, Cause> {
        let waiting_caller = Arc::new(());
        let (vault, caller) = (self.clone(), Arc::downgrade(&waiting_caller));
        let revocations = self.0.revocations.load(Ordering::SeqCst);
        let login = tokio::spawn(async move {
            let mut state = vault.0.login_state.lock().await;
            if let Some(token) = find_newer(&vault) {
                return Ok(token);
            }
            if let Some((when, cause)) = &state.last_failure
                && *when >= since
            {
                return Err(cause.clone());
            }
            let result = catch_panic(vault.log_in_once()).await.unwrap_or_else(|_| {
                let cause = no_login_response();
                vault.record_login_failure(&cause, vault.clock().now());
                Err(cause)
            });
            state.last_failure = result.as_ref().err().map(|cause| (vault.moment(), cause.clone()));
            // All tokens were revoked while this login was under way, and no caller needs its token.
            let was_revoked = revocations != vault.0.revocations.load(Ordering::SeqCst);
            if was_revoked && !vault.is_watched() && caller.strong_count() == 0 {
                let _ = vault.revoke_all_tokens().await;
            }
            result
        });
        login.await.unwrap_or_else(|_| Err(no_login_response()))
    }

    async fn log_in_once(&self) -> Result<Arc<TrackedToken>, Cause> {
        let requested_at = self.clock().now();
        self.check_login_allowed(requested_at)?;
        self.record_login_start();
        let old = self.active_token();
        match (self.call_auth_method().await, old) {
            // The token file still holds the same token. A token that a login issued is new even if it has
            // the same name.
            (Ok(token), Some(old)) if token.granted().is_none() && old.has_same_secret(&token) => {
                Ok(old)
            }
            (Ok(token), old) => self.activate_unless_abandoned(token, old, requested_at).await,
            (Err(cause), _) => {
                self.record_login_failure(&cause, self.clock().now());
                Err(cause)
            }
        }
    }

    async fn call_auth_method(&self) -> Result<AuthToken, Cause> {
        let auth = &self.0.auth;
        let client = LoginClient::new(&self.0.http, auth.locks_accounts());
        let span = tracing::info_span!("login", method = printable(&auth.describe()));
        let began = self.moment();
        self.fail_if_abandoned()?;
        let token = auth.login(&client).instrument(span.clone()).await.map_err(|error| {
            let place = format!("vault {}, login by {}", self.addresses().shown(), auth.describe());
            error.into_cause().at(place)
        })?;
        span.in_scope(|| tracing::debug!(elapsed = ?self.moment().since(began), "logged in"));
        Ok(token)
    }

    fn activate(
        &self,
        token: AuthToken,
        old: Option<Arc<TrackedToken>>,
        requested_at: Reading,
    ) -> Arc<TrackedToken> {
        let may_renew = self.tokens_may_renew_themselves(requested_at);
        let token = Arc::new(TrackedToken::new(token, requested_at, may_renew, self.random()));
        let is_first = old.is_none();
        self.set_active_token(Some(Arc::clone(&token)));
        if let Some(old) = old {
            old.set_retirement(match old.is_used_up() && !old.is_dead() {
                true => Retirement::OutOfUses,
                false => Retirement::Ending,
            });
            self.retire_token(old);
        }
        self.record_login_success(self.clock().now(), is_first);
        token
    }

    /// Revokes every token that this connection logged in for, and with them all that was issued under them.
    /// The next use logs in again. A login that is under way is not waited for: when it completes and no
    /// caller waits for it, its token is revoked then.
    ///
    /// Returns the tokens that could not be revoked, with the reason.
    pub(crate) async fn revoke_all_tokens(&self) -> Vec<(Arc<TrackedToken>, Cause)> {
        self.0.revocations.fetch_add(1, Ordering::SeqCst);
        let active = self.active_token().filter(|token| token.is_from_login());
        if active.is_some() {
            self.set_active_token(None);
        }
        let mut tokens: Vec<_> = self.retired_tokens().drain(..).collect();
        tokens.extend(active);
        for token in &tokens {
            // A configuration that begins to watch at this moment has to replace what it was issued.
            token.set_retirement(Retirement::Ending);
        }
        let mut tasks = JoinSet::new();
        for token in tokens {
            let vault = self.clone();
            let span = tracing::info_span!("revoke", source = "token");
            let revoke =
                async move { vault.revoke_token(&token).await.err().map(|cause| (token, cause)) };
            tasks.spawn(revoke.instrument(span));
        }
        tasks.join_all().await.into_iter().flatten().collect()
    }

    /// The error of a token that the server refuses.
    pub(crate) fn token_invalid(&self) -> Cause {
        let method = self.0.auth.describe();
        let is_from_login = self.active_token().is_some_and(|token| token.is_from_login());
        let help = match is_from_login {
            true => format!(
                "it is the token of the login by {method}: check whether it was revoked, and whether its lifetime and its number \
                 of uses are sufficient"
            ),
            false => format!("use a valid token; the refused one is the {method}"),
        };
        Cause::new(
            ErrorKind::TokenInvalid,
            "the token is expired, revoked, used up or unknown to this server (HTTP 403)",
            help,
        )
        .at(format!("vault {}", self.addresses().shown()))
    }
}

/// A connection is abandoned when the load that created it fails: nothing else can use it then.
impl Vault {
    /// From now on no login starts, and the token of a login that is under way is revoked on arrival.
    pub(super) fn abandon(&self) {
        self.0.is_abandoned.store(true, Ordering::SeqCst);
    }

    fn fail_if_abandoned(&self) -> Result<(), Cause> {
        match self.0.is_abandoned.load(Ordering::SeqCst) {
            true => Err(abandoned()),
            false => Ok(()),
        }
    }

    /// The token is activated first and the flag is read second, while [`abandon`](Self::abandon) sets the
    /// flag first and its caller reads the active token second. So at least one of them sees the other, and
    /// the token is revoked.
    async fn activate_unless_abandoned(
        &self,
        token: AuthToken,
        old: Option<Arc<TrackedToken>>,
        requested_at: Reading,
    ) -> Result<Arc<TrackedToken>, Cause> {
        let token = self.activate(token, old, requested_at);
        let Err(cause) = self.fail_if_abandoned() else { return Ok(token) };
        if token.is_from_login() {
            self.revoke_token_of_failed_load(&token).await;
        }
        Err(cause)
    }
}

fn abandoned() -> Cause {
    Cause::new(
        ErrorKind::Runtime,
        "the load has ended, and its login is no longer needed",
        "load again",
    )
}

fn no_login_response() -> Cause {
    let help = "check the login method's code: it may have panicked, or its runtime may have ended";
    Cause::new(ErrorKind::Runtime, "the login ended without an answer", help)
}

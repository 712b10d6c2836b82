//! One action for the token. One task at a time claims it, runs it beside its other requests, and records the
//! result for all.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use super::{ConnectionEvent, TOKEN};
use crate::error::{Cause, ErrorKind};
use crate::time::clock::Reading;
use crate::time::{Deadline, Lifetime, backoff};
use crate::vault::{RenewalOutcome, TrackedToken, Vault, catch_panic};

pub(crate) struct TokenAction {
    kind: TokenActionKind,
    claim: TokenActionClaim,
}

pub(super) enum TokenActionKind {
    LookUp(Arc<TrackedToken>),
    Renew(Arc<TrackedToken>),
    /// For the successor of this token, if there is one.
    LogIn(Option<Arc<TrackedToken>>),
}

/// The right to act for the token. It is returned however the action ends, even if the runtime of its task ends.
struct TokenActionClaim(Vault);

/// How an action for the token ended.
pub(crate) struct TokenOutcome {
    result: TokenActionResult,
    claim: TokenActionClaim,
}

enum TokenActionResult {
    LookedUp(Arc<TrackedToken>, Result<(), Cause>),
    Renewed(Arc<TrackedToken>, RenewalOutcome),
    /// Whether the login returned another token than before.
    LoggedIn(Result<bool, Cause>),
}

impl Drop for TokenActionClaim {
    fn drop(&mut self) {
        let mut state = self.0.upkeep().state();
        state.action_is_running = false;
        state.token_is_being_replaced = false;
        drop(state);
        self.0.upkeep().publish(ConnectionEvent::StateChanged);
    }
}

impl Vault {
    /// The action that is due for the token, if no other task has claimed it.
    pub(crate) fn claim_token_action(&self, now: Reading) -> Option<TokenAction> {
        let pause = self.retry_after(now);
        let mut state = self.upkeep().state();
        if state.action_is_running || !pause.is_zero() {
            return None;
        }
        let kind = state.due_action(self, now)?;
        let request = state.planned_request(self, now);
        state.reachability.admit(request, now, self.random()).ok()?;
        (state.action_is_running, state.is_requested) = (true, false);
        state.token_is_being_replaced = matches!(kind, TokenActionKind::LogIn(_));
        Some(TokenAction { kind, claim: TokenActionClaim(self.clone()) })
    }

    /// Like [`claim_token_action`](Self::claim_token_action), but never a login: if its response is lost, a
    /// login leaves a token at the server, and may have consumed a single-use secret_id.
    pub(crate) fn claim_safe_token_action(&self, now: Reading) -> Option<TokenAction> {
        let kind = self.upkeep().state().due_action(self, now)?;
        match kind {
            TokenActionKind::LogIn(_) => None,
            TokenActionKind::LookUp(_) | TokenActionKind::Renew(_) => self.claim_token_action(now),
        }
    }
}

impl TokenAction {
    pub(crate) async fn run(self) -> TokenOutcome {
        let vault = self.claim.0.clone();
        let result = match self.kind {
            TokenActionKind::LookUp(token) => {
                let span = tracing::info_span!("look up", source = TOKEN);
                let lookup = catch_panic(vault.look_up_token(&token).instrument(span)).await;
                TokenActionResult::LookedUp(
                    Arc::clone(&token),
                    lookup.and_then(std::convert::identity),
                )
            }
            TokenActionKind::Renew(token) => {
                let span = tracing::info_span!("renew", source = TOKEN);
                let timeout = renewal_timeout(&vault, &token);
                let renewal = vault.renew_token(&token, timeout).instrument(span);
                let renewal = catch_panic(renewal).await.unwrap_or_else(RenewalOutcome::Failed);
                TokenActionResult::Renewed(Arc::clone(&token), renewal)
            }
            TokenActionKind::LogIn(Some(old)) => {
                let login = vault.replace_token(&old).await;
                TokenActionResult::LoggedIn(login.map(|new| !Arc::ptr_eq(&new, &old)))
            }
            TokenActionKind::LogIn(None) => {
                let login = vault.ensure_logged_in(vault.moment()).await;
                TokenActionResult::LoggedIn(login.map(|()| true))
            }
        };
        TokenOutcome { result, claim: self.claim }
    }
}

fn renewal_timeout(vault: &Vault, token: &TrackedToken) -> Duration {
    let lifetime = token.lifetime();
    match &*lifetime {
        Some(lifetime) => {
            let (life, failures) = (lifetime.full_ttl(), lifetime.failures());
            backoff::request_timeout(Some(life), failures, vault.timeout())
        }
        None => vault.timeout(),
    }
}

impl TokenOutcome {
    /// Records the result. Returns whether the action failed.
    pub(crate) fn finish(self, now: Reading) -> bool {
        let vault = self.claim.0.clone();
        let failed = match self.result {
            TokenActionResult::LookedUp(token, lookup) => vault.finish_lookup(&token, lookup, now),
            TokenActionResult::Renewed(token, renewal) => {
                vault.finish_token_renewal(&token, renewal, now)
            }
            TokenActionResult::LoggedIn(Ok(true)) => false,
            TokenActionResult::LoggedIn(Ok(false)) => vault.finish_login_with_same_token(now),
            // The login recorded its failure itself, once for all callers that waited for it.
            TokenActionResult::LoggedIn(Err(_)) => true,
        };
        // The claim is returned after the result is recorded, or another task could repeat the action.
        drop(self.claim);
        failed
    }
}

/// Each function records one result, and returns whether it is a failure.
impl Vault {
    fn finish_lookup(
        &self,
        token: &Arc<TrackedToken>,
        lookup: Result<(), Cause>,
        now: Reading,
    ) -> bool {
        let Err(cause) = lookup else {
            token.mark_alive();
            self.record_token_success(token, now);
            return false;
        };
        if cause.kind == ErrorKind::TokenInvalid {
            self.record_token_death(token, now);
        }
        let mut state = self.upkeep().state();
        state.failed_lookups = state.failed_lookups.saturating_add(1);
        let wait = backoff::read_retry(state.failed_lookups, Duration::MAX, self.random());
        state.next_lookup = Some(Deadline::new(now, wait));
        drop(state);
        self.record_failure(TOKEN, &cause, now);
        self.report_token_failure(cause, now);
        true
    }

    fn finish_token_renewal(
        &self,
        token: &Arc<TrackedToken>,
        renewal: RenewalOutcome,
        now: Reading,
    ) -> bool {
        let update_lifetime = |update: &dyn Fn(&mut Lifetime)| {
            if let Some(lifetime) = token.lifetime().as_mut() {
                update(lifetime);
            }
        };
        match renewal {
            RenewalOutcome::Granted { requested_at, ttl } => {
                update_lifetime(&|lifetime| lifetime.renewed(requested_at, ttl, self.random()));
                self.record_token_success(token, now);
                self.upkeep().publish(ConnectionEvent::TokenRenewed);
                false
            }
            RenewalOutcome::Refused(cause) => {
                self.record_response(TOKEN);
                self.finish_refused_renewal(token, cause, now);
                true
            }
            RenewalOutcome::Gone(cause) => {
                tracing::info!("{}", cause.message);
                self.record_response(TOKEN);
                self.record_token_death(token, now);
                true
            }
            RenewalOutcome::Failed(cause) => {
                update_lifetime(&|lifetime| lifetime.renewal_failed(now, self.random()));
                self.record_failure(TOKEN, &cause, now);
                self.report_token_failure(cause, now);
                true
            }
        }
    }

    /// The server will not renew the token, so another login replaces it. If no login can, the renewal is tried
    /// again later, because the policies may change while the token lives.
    fn finish_refused_renewal(&self, token: &Arc<TrackedToken>, cause: Cause, now: Reading) {
        let is_replaceable = self.can_replace(token);
        if let Some(lifetime) = token.lifetime().as_mut() {
            match is_replaceable {
                true => lifetime.renewal_refused(),
                false => lifetime.renewal_failed(now, self.random()),
            }
        }
        if !is_replaceable {
            return self.report_token_failure(cause, now);
        }
        tracing::info!("{}", cause.message);
        if cause.kind == ErrorKind::Denied {
            self.upkeep().state().renewal_denied_since = Some(now);
        }
    }

    /// The login returned the active token again, as when a file was rewritten with the same token. That is a
    /// failure only if this token is dead or about to expire.
    fn finish_login_with_same_token(&self, now: Reading) -> bool {
        let expires_soon = |token: &TrackedToken| {
            let lifetime = token.lifetime();
            let life = lifetime.as_ref().and_then(|it| Some((it.remaining(now)?, it.full_ttl())));
            life.is_some_and(|(remaining, full_ttl)| remaining <= full_ttl / 20)
        };
        if self.active_token().is_none_or(|token| token.is_dead() || expires_soon(&token)) {
            self.record_login_failure(&self.token_invalid(), now);
            return true;
        }
        let mut state = self.upkeep().state();
        state.login_budget.same_token_returned(now, self.random());
        let has_final_expiry = state.has_final_expiry;
        let has_recovered = state.failure.take_if(|_| !has_final_expiry).is_some();
        drop(state);
        if has_recovered {
            self.report_token_recovery();
        }
        false
    }
}

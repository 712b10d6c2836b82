//! The failure of the token: when it begins, when it ends, and what is logged and published about it.

use std::sync::Arc;
use std::time::Duration;

use super::token_plan::final_expiry_report_in;
use super::{ConnectionEvent, Failure, TOKEN};
use crate::error::{Cause, ErrorKind};
use crate::time::Lifetime;
use crate::time::clock::Reading;
use crate::vault::{TrackedToken, Vault};

impl Vault {
    /// The failure that prevents all requests at the moment: there is no usable token, and no action is due that
    /// could change that.
    pub(crate) fn blocking_token_failure(&self, now: Reading) -> Option<Failure> {
        let state = self.upkeep().state();
        let is_blocked = !state.action_is_running && state.due_action(self, now).is_none();
        let failure = state.failure.clone().filter(|_| is_blocked)?;
        drop(state);
        (!self.has_usable_token()).then_some(failure)
    }

    /// The server refused this token.
    pub(crate) fn record_token_death(&self, token: &Arc<TrackedToken>, now: Reading) {
        let is_active = self.active_token().is_some_and(|active| Arc::ptr_eq(&active, token));
        if !token.mark_dead(now) || !is_active {
            return;
        }
        let age = token.lifetime().as_ref().map(|lifetime| lifetime.age(now));
        self.upkeep().state().login_budget.token_died(age, now, self.random());
        if !self.can_replace(token) {
            self.report_token_failure(self.token_invalid(), now);
        }
        self.upkeep().publish(ConnectionEvent::StateChanged);
    }

    pub(super) fn record_token_success(&self, token: &TrackedToken, now: Reading) {
        let is_truncated = token.lifetime().as_ref().is_some_and(Lifetime::is_truncated);
        let mut state = self.upkeep().state();
        state.failed_lookups = 0;
        state.next_lookup = None;
        state.last_success = Some(now.wall);
        state.has_final_expiry &= is_truncated;
        // As long as no login can replace the token, the success does not end that failure.
        let is_irreplaceable = state.has_final_expiry || state.login_budget.is_refused();
        let has_recovered = state.failure.take_if(|_| !is_irreplaceable).is_some();
        drop(state);
        self.record_response(TOKEN);
        if has_recovered {
            self.report_token_recovery();
        }
    }

    /// Logs and publishes a failure when it begins, and when its kind changes.
    pub(super) fn report_token_failure(&self, cause: Cause, now: Reading) {
        let mut state = self.upkeep().state();
        // The refusal of the login stays the reported cause: it is what has to be corrected.
        let is_refused = state.login_budget.is_refused() && state.failure.is_some();
        if is_refused && cause.kind != ErrorKind::LoginRefused {
            return;
        }
        let before = state.failure.take();
        let is_new = before.as_ref().is_none_or(|failure| failure.cause.kind != cause.kind);
        let since = before.map_or(now.wall, |failure| failure.since);
        let failure = Failure { since, cause: Arc::new(cause), is_held_back: false };
        state.failure = Some(failure.clone());
        // Without a watching configuration, a load returns the error to its caller.
        let is_reported = is_new && state.watchers > 0;
        drop(state);
        if is_reported {
            tracing::warn!(source = TOKEN, "failing: {}", failure.cause.log_line());
            self.upkeep().publish(ConnectionEvent::TokenFailing(failure));
        }
    }

    pub(super) fn report_token_recovery(&self) {
        tracing::info!(source = TOKEN, "works again");
        self.upkeep().publish(ConnectionEvent::TokenRecovered);
    }

    /// Reports once that the token expires soon and that neither a renewal nor a login can prevent it.
    pub(crate) fn report_final_expiry(&self, now: Reading) {
        let Some(token) = self.active_token().filter(|token| !token.is_dead()) else { return };
        let is_replaceable = self.upkeep().state().is_replaceable(self, &token);
        if is_replaceable || token.secret().is_none() {
            return;
        }
        let lifetime = token.lifetime();
        let report_in =
            lifetime.as_ref().and_then(|lifetime| final_expiry_report_in(self, lifetime, now));
        drop(lifetime);
        if report_in != Some(Duration::ZERO) {
            return;
        }
        let was_reported = std::mem::replace(&mut self.upkeep().state().has_final_expiry, true);
        if !was_reported {
            self.report_token_failure(expires_for_good(self), now);
        }
    }
}

fn expires_for_good(vault: &Vault) -> Cause {
    Cause::new(
        ErrorKind::TokenInvalid,
        format!(
            "the token expires soon and can be neither renewed any further nor replaced: it is the {}",
            vault.auth().describe()
        ),
        "give the service a login method, such as an AppRole; or restart it with a new token",
    )
}

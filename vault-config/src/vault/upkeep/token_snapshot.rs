//! What is known of the token, for a status.

use std::time::{Duration, SystemTime};

use super::Failure;
use crate::time::clock::Reading;
use crate::time::{Lifetime, LifetimeStep};
use crate::vault::Vault;

pub(crate) struct TokenSnapshot {
    /// `None` if it is not known yet, or if there is no token.
    pub(crate) lifetime: Option<Lifetime>,
    /// Since when there is no token that the server accepts.
    pub(crate) dead_since: Option<Reading>,
    pub(crate) login_is_refused: bool,
    pub(crate) next_step: Option<(LifetimeStep, Duration)>,
    pub(crate) failure: Option<Failure>,
    pub(crate) last_success: Option<SystemTime>,
}

impl Vault {
    /// `None` where an agent adds the token to each request.
    pub(crate) fn token_snapshot(&self, now: Reading) -> Option<TokenSnapshot> {
        let token = self.active_token();
        if token.as_ref().is_some_and(|token| token.secret().is_none()) {
            return None;
        }
        let lifetime = token.as_ref().and_then(|token| token.lifetime().clone());
        let dead_since = match &token {
            None => Some(now),
            Some(token) => token.dead_since(),
        };
        let state = self.upkeep().state();
        let login_in = state.login_budget.wait(now);
        let next_step = match (&lifetime, dead_since) {
            (_, Some(_)) => Some((LifetimeStep::Replace, login_in)),
            (Some(lifetime), None) => lifetime.next_step(now).map(|(step, wait)| match step {
                LifetimeStep::Renew => (step, wait),
                LifetimeStep::Replace => (step, wait.max(login_in)),
            }),
            (None, None) => None,
        };
        Some(TokenSnapshot {
            lifetime,
            dead_since,
            login_is_refused: state.login_budget.is_refused(),
            next_step,
            failure: state.failure.clone(),
            last_success: state.last_success,
        })
    }
}

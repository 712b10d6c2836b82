//! The token of the connection, which all configurations over it share: the actions that this task runs for it, and
//! its status and events.

use super::RefreshTask;
use crate::VaultConfig;
use crate::error::Problem;
use crate::live::events::Event;
use crate::live::status::{Action, Login, State, TokenStatus};
use crate::time::LifetimeStep;
use crate::time::clock::Reading;
use crate::vault::{ConnectionEvent, Failure, TokenAction, TokenOutcome, Vault};

/// The name of the token as a source, in events.
const TOKEN: &str = "token";

impl<T: VaultConfig + Send + Sync + 'static> RefreshTask<T> {
    pub(super) fn start_token_action(&mut self, action: Option<TokenAction>) {
        if let Some(action) = action {
            self.token_actions.spawn(action.run());
        }
    }

    /// `None` is an action that panicked. Its claim was returned, so the action is started again.
    pub(super) fn finish_token_action(&mut self, outcome: Option<TokenOutcome>, now: Reading) {
        if outcome.is_none_or(|outcome| outcome.finish(now)) {
            self.counters.failures += 1;
        }
    }

    /// Any of the configurations over the connection may have caused the event.
    pub(super) fn handle_connection_event(&mut self, event: ConnectionEvent, now: Reading) {
        let source = TOKEN.to_owned();
        let event = match event {
            // The next turn of the task reads the new state.
            ConnectionEvent::StateChanged => return,
            ConnectionEvent::OutageContinues => {
                self.refresh_awaits_probe = false;
                return;
            }
            ConnectionEvent::OutageEnded(recovery) => return self.finish_outage(recovery, now),
            ConnectionEvent::LoggedIn => {
                self.counters.logins += 1;
                Event::LoggedIn
            }
            ConnectionEvent::TokenRenewed => {
                self.counters.token_renewals += 1;
                Event::Renewed { source }
            }
            ConnectionEvent::TokenFailing(Failure { cause, .. }) => {
                let status = status(&self.vault, now);
                let good_until = status.and_then(|status| status.state.expires_at);
                Event::Failing { source, problem: Problem::general_of(cause), good_until }
            }
            ConnectionEvent::TokenRecovered => Event::Recovered { source },
        };
        self.shared.publish_event(event);
    }
}

/// `None` where an agent adds the token to each request.
pub(super) fn status(vault: &Vault, now: Reading) -> Option<TokenStatus> {
    let snapshot = vault.token_snapshot(now)?;
    let login = match snapshot.login_is_refused {
        _ if !vault.auth().can_repeat() => Login::Impossible,
        false => Login::Repeatable,
        true => Login::Refused,
    };
    let mut state = State::healthy();
    state.last_success = snapshot.last_success;
    if let Some(lifetime) = &snapshot.lifetime {
        let (remaining, overdue) = (lifetime.remaining(now), lifetime.overdue_by(now));
        state.set_expiry(now.wall, remaining, overdue, lifetime.full_ttl());
    }
    match snapshot.next_step {
        Some((LifetimeStep::Renew, wait)) => state.set_next_action(now.wall, Action::Renew, wait),
        Some((LifetimeStep::Replace, wait)) => state.set_next_action(now.wall, Action::LogIn, wait),
        None => {}
    }
    if let Some(dead_since) = snapshot.dead_since {
        state.expires_at = Some(dead_since.wall);
    }
    if let Some(failure) = &snapshot.failure {
        state.failing_since = Some(failure.since);
        state.error = Some(failure.cause.log_line());
    }
    Some(TokenStatus { login, state })
}

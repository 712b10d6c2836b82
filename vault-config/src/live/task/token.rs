//! The token that is shared with all other configurations over the connection: what this one does for it,
//! and what it reports of it.

use super::Task;
use crate::VaultConfig;
use crate::error::Problem;
use crate::live::events::Event;
use crate::live::status::{Action, Login, State, TokenStatus};
use crate::time::LifetimeStep;
use crate::time::clock::Reading;
use crate::vault::{ConnectionEvent, Failure, TokenAction, TokenOutcome, Vault};

const NAME: &str = "token";

impl<T: VaultConfig + Send + Sync + 'static> Task<T> {
    pub(super) fn start_token_action(&mut self, action: Option<TokenAction>) {
        if let Some(action) = action {
            self.token_actions.spawn(action.run());
        }
    }

    /// `None` is an action that panicked: its turn is given back, and it is chosen again.
    pub(super) fn token_is_done(&mut self, outcome: Option<TokenOutcome>, now: Reading) {
        if outcome.is_none_or(|outcome| outcome.finish(now)) {
            self.counters.failures += 1;
        }
    }

    /// What any of the configurations that share the token brought about.
    pub(super) fn learn(&mut self, news: ConnectionEvent, now: Reading) {
        let source = NAME.to_owned();
        let event = match news {
            ConnectionEvent::StateChanged => return,
            ConnectionEvent::OutageContinues => {
                self.probe_is_awaited = false;
                return;
            }
            ConnectionEvent::OutageEnded(recovery) => return self.outage_ended(recovery, now),
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
        self.shared.report(event);
    }
}

pub(super) fn status(vault: &Vault, now: Reading) -> Option<TokenStatus> {
    let view = vault.token_snapshot(now)?;
    let login = match view.login_is_refused {
        _ if !vault.auth().can_repeat() => Login::Impossible,
        false => Login::Repeatable,
        true => Login::Refused,
    };
    let mut state = State::healthy();
    state.last_success = view.last_success;
    if let Some(lifetime) = &view.lifetime {
        let (remaining, overdue) = (lifetime.remaining(now), lifetime.overdue_by(now));
        state.ends(now.wall, remaining, overdue, lifetime.full_ttl());
    }
    match view.next_step {
        Some((LifetimeStep::Renew, wait)) => state.plan(now.wall, Action::Renew, wait),
        Some((LifetimeStep::Replace, wait)) => state.plan(now.wall, Action::LogIn, wait),
        None => {}
    }
    if let Some(dead_since) = view.dead_since {
        state.expires_at = Some(dead_since.wall);
    }
    if let Some(failure) = &view.failure {
        state.failing_since = Some(failure.since);
        state.error = Some(failure.cause.log_line());
    }
    Some(TokenStatus { login, state })
}

//! What all watched configurations over one connection share: whether the server is reachable, the renewal and
//! replacement of the token, its failure, and when the next login may be tried. Whichever task is awake first
//! does what is due, once for all of them.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use tokio::sync::broadcast;

use super::reachability::{Reachability, Recovery};
use super::{Vault, lock};
use crate::error::Cause;
use crate::time::Deadline;
use crate::time::clock::Reading;

mod file_stamp;
mod login_budget;
mod outage;
mod token_action;
mod token_health;
mod token_plan;
mod token_snapshot;
mod watchers;

use login_budget::LoginBudget;
pub(crate) use token_action::{TokenAction, TokenOutcome};
pub(crate) use token_plan::token_urgency;
pub(crate) use watchers::WatchRegistration;

/// The name of the token as a source, in logs and events.
const TOKEN: &str = "token";

pub(crate) struct Upkeep {
    state: Mutex<UpkeepState>,
    events: broadcast::Sender<ConnectionEvent>,
}

#[derive(Default)]
struct UpkeepState {
    watchers: usize,
    reachability: Reachability,
    /// A task is renewing, replacing or looking up the token.
    action_is_running: bool,
    /// The running action is a login: a credential issued under the current token would soon expire with it.
    token_is_being_replaced: bool,
    login_budget: LoginBudget,
    /// When a token that was refused, or that could not be looked up, is looked up again.
    next_lookup: Option<Deadline>,
    failed_lookups: u32,
    /// Since when it is known that the policies do not let tokens of this login renew themselves.
    renewal_denied_since: Option<Reading>,
    failure: Option<Failure>,
    /// The failure is that the token expires and nothing can replace it. A truncated renewal does not end
    /// this failure.
    has_final_expiry: bool,
    last_success: Option<SystemTime>,
    /// A refresh was requested: the next action does not count as a retry.
    is_requested: bool,
}

/// What every watched configuration over the connection is notified of.
#[derive(Debug, Clone)]
pub(crate) enum ConnectionEvent {
    /// Something may be due now that was not before.
    StateChanged,
    /// A request failed, and the server is still unreachable.
    OutageContinues,
    OutageEnded(Recovery),
    LoggedIn,
    TokenRenewed,
    TokenFailing(Failure),
    TokenRecovered,
}

/// Why a source or the token fails, and since when.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) since: SystemTime,
    pub(crate) cause: Arc<Cause>,
    /// No request was sent for it, because the server was unreachable.
    pub(crate) is_held_back: bool,
}

impl Failure {
    /// Whether the failure ends with the outage.
    pub(crate) fn ends_with_outage(&self, recovery: Recovery) -> bool {
        self.is_held_back || recovery.covers(self.cause.kind)
    }
}

impl Default for Upkeep {
    fn default() -> Self {
        // A task that falls behind by more than 64 events handles the gap as one `StateChanged`.
        Self { state: Mutex::default(), events: broadcast::Sender::new(64) }
    }
}

impl Upkeep {
    fn state(&self) -> MutexGuard<'_, UpkeepState> {
        lock(&self.state)
    }

    fn publish(&self, event: ConnectionEvent) {
        // The send fails if no task is watching, and then no task needs the event.
        let _ = self.events.send(event);
    }
}

impl Vault {
    fn upkeep(&self) -> &Upkeep {
        &self.0.upkeep
    }

    /// Makes the next probe, login and lookup of the token due now, as far as they may be.
    pub(crate) fn make_token_due_now(&self) {
        let mut state = self.upkeep().state();
        state.reachability.request_probe();
        state.login_budget.allow_login_on_request();
        state.next_lookup = None;
        state.renewal_denied_since = None;
        state.is_requested = true;
        drop(state);
        self.upkeep().publish(ConnectionEvent::StateChanged);
    }

    /// Whether requests can be sent with the active token.
    pub(crate) fn has_usable_token(&self) -> bool {
        self.active_token().is_some_and(|token| !token.is_dead() && !token.is_used_up())
    }

    /// Whether a login for another token is under way. A credential issued under the active token meanwhile would
    /// soon expire with it.
    pub(crate) fn token_is_being_replaced(&self) -> bool {
        self.upkeep().state().token_is_being_replaced
    }

    /// How tokens of this login start: `false` if it is known that they may not renew themselves. The policies
    /// may change, so this is assumed for an hour only.
    pub(super) fn tokens_may_renew_themselves(&self, now: Reading) -> bool {
        const REMEMBERED: std::time::Duration = std::time::Duration::from_secs(3600);
        let mut state = self.upkeep().state();
        state.renewal_denied_since.take_if(|since| now.since(*since) > REMEMBERED);
        state.renewal_denied_since.is_none()
    }
}

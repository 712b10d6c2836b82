//! One secret or credential that is kept fresh: its current value, and the next action for it.
//!
//! `lease` and `holding` hold the current value, `due` decides the next action, `results` records how an action ended.
//! Nothing here does I/O.

use std::time::{Duration, SystemTime};

use super::schedule::{IssueBudget, MetadataProbe};
use super::status::{Action, SourceStatus, State};
use crate::engine::{Refresh, VaultRequest};
use crate::load::{Fetched, PendingLeaf};
use crate::time::backoff::{self, Urgency};
use crate::time::clock::Reading;
use crate::time::{Chance, Deadline, RotationSchedule};
use crate::vault::Failure;

mod due;
mod holding;
mod lease;
mod results;

pub(super) use due::DueAction;
pub(super) use holding::Holding;
pub(super) use lease::LeaseState;

/// The password of a static role counts as one that lives at least this long, for the timeout of its reads. A
/// rotation may be due in a second when it is read first, and a timeout in proportion would be too short.
const SHORTEST_ROTATION_PERIOD: Duration = Duration::from_secs(30);

pub(super) struct WatchedSecret {
    pub(super) request: VaultRequest,
    pub(super) fields: Vec<PendingLeaf>,
    pub(super) field_paths: Vec<String>,
    /// The interval between two reads; `None` if it is never read again.
    interval: Option<Duration>,
    /// A field sets the interval.
    has_own_interval: bool,
    pub(super) holding: Holding,
    /// An action is under way.
    pub(super) is_busy: bool,
    /// A refresh was requested during the action, so another action follows it.
    is_due_again: bool,
    /// The next read skips the metadata and reads the secret itself.
    reads_whole_secret: bool,
    /// A refresh was requested: the next action does not count as a retry.
    is_requested: bool,
    pub(super) issue_budget: IssueBudget,
    /// Consecutive failed actions.
    failures: u32,
    pub(super) failure: Option<Failure>,
    pub(super) rejection: Option<Rejection>,
    last_success: SystemTime,
    /// When its last action started.
    last_started: Reading,
    pub(super) metadata_probe: MetadataProbe,
    /// Since when it is known that the policies do not allow the renewal of its leases.
    renewal_denied_since: Option<Reading>,
    pub(super) chance: Chance,
}

/// The last value does not make a valid configuration, and so it is not published.
pub(super) struct Rejection {
    pub(super) failure: Failure,
    /// When the credential expires that is still published in place of the rejected one.
    published_until: Option<Deadline>,
}

impl WatchedSecret {
    pub(super) fn new(
        fetched: Fetched,
        field_paths: Vec<String>,
        default_interval: Duration,
        now: Reading,
        chance: Chance,
    ) -> Self {
        let refreshes: Vec<_> =
            fetched.fields.iter().filter_map(|field| field.vault_source.refresh()).collect();
        let has_own_interval = refreshes.iter().any(|refresh| matches!(refresh, Refresh::Every(_)));
        let interval = shortest_interval(&refreshes, fetched.fields.len(), default_interval)
            .filter(|_| fetched.request.can_change());
        let mut secret = Self {
            request: fetched.request,
            fields: fetched.fields,
            field_paths,
            interval,
            has_own_interval,
            holding: Holding::absent(),
            is_busy: false,
            is_due_again: false,
            reads_whole_secret: false,
            is_requested: false,
            issue_budget: IssueBudget::default(),
            failures: 0,
            failure: None,
            rejection: None,
            last_success: now.wall,
            last_started: now,
            metadata_probe: MetadataProbe::default(),
            renewal_denied_since: None,
            chance,
        };
        match fetched.meta {
            Some(facts) => drop(secret.hold_response(facts, now, true)),
            None => secret.hold_absence(now, true),
        }
        secret
    }

    /// Why the last actions fail, or else why the last value is not published.
    pub(super) fn current_failure(&self) -> Option<&Failure> {
        self.failure.as_ref().or(self.rejection.as_ref().map(|rejection| &rejection.failure))
    }

    /// Whether the last read found a value.
    pub(super) fn has_value(&self) -> bool {
        !matches!(&self.holding, Holding::Stored(stored) if !stored.exists)
    }

    /// How late an announced rotation of the password is; `None` if it is not late.
    pub(super) fn rotation_is_late_by(&self) -> Option<Duration> {
        let Holding::Rotating(password) = &self.holding else { return None };
        let waited = password.read_at.since(password.waiting_since?);
        RotationSchedule::is_late(waited).then_some(waited)
    }

    pub(super) fn last_started(&self) -> Reading {
        self.last_started
    }

    /// How much a continuing outage costs this secret.
    pub(super) fn urgency(&self, now: Reading) -> Urgency {
        match &self.holding {
            Holding::Leased(lease) => {
                let life = lease.life().zip(lease.remaining(now));
                let urgency = |(life, remaining)| Urgency::from_remaining(remaining, life);
                life.map_or(Urgency::NONE, urgency)
            }
            Holding::Rotating(password) if password.stale_at.has_passed(now) => Urgency::EXPIRED,
            Holding::Rotating(_) | Holding::Stored(_) => Urgency::NONE,
        }
    }

    /// The limit on one request for it.
    pub(super) fn request_timeout(&self, longest: Duration) -> Duration {
        let (life, failures) = match &self.holding {
            Holding::Leased(lease) => (lease.life(), lease.lifetime.failures()),
            Holding::Rotating(password) => {
                (Some(password.period.max(SHORTEST_ROTATION_PERIOD)), self.failures)
            }
            Holding::Stored(_) => (None, self.failures),
        };
        backoff::request_timeout(life, failures, longest)
    }

    pub(super) fn status(&self, now: Reading) -> SourceStatus {
        let mut state = State::healthy();
        state.last_success = Some(self.last_success);
        match &self.holding {
            Holding::Leased(lease) => lease.add_to_status(&mut state, now),
            Holding::Rotating(password) => {
                // The password does not weaken before its rotation, so the last sixth of its life is no reason
                // for the status `Failing`: its life counts as zero here.
                let (remaining, overdue) =
                    (password.stale_at.remaining(now), password.stale_at.overdue_by(now));
                state.set_expiry(now.wall, Some(remaining), overdue, Duration::ZERO);
                state.set_next_action(now.wall, Action::Read, password.next_read.remaining(now));
            }
            Holding::Stored(stored) => {
                if let Some(wait) = stored.next_read_in(now) {
                    state.set_next_action(now.wall, Action::Read, wait);
                }
            }
        }
        if let Some(end) = self.rejection.as_ref().and_then(|rejection| rejection.published_until) {
            let (remaining, overdue) = (end.remaining(now), end.overdue_by(now));
            state.set_expiry(now.wall, Some(remaining), overdue, Duration::ZERO);
        }
        if let Some(failure) = self.current_failure() {
            state.failing_since = Some(failure.since);
            state.error = Some(failure.cause.log_line());
        }
        SourceStatus { source: self.request.name(), fields: self.field_paths.clone(), state }
    }
}

/// The shortest interval that a field sets. The default counts if a field sets none; `None` if all fields say
/// never.
fn shortest_interval(refreshes: &[Refresh], fields: usize, default: Duration) -> Option<Duration> {
    let default = (refreshes.len() < fields).then_some(default);
    let own = refreshes.iter().filter_map(|refresh| match refresh {
        Refresh::Never => None,
        Refresh::Every(milliseconds) => Some(Duration::from_millis(*milliseconds)),
    });
    own.chain(default).min()
}

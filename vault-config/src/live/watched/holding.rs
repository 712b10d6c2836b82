//! The held value of a secret, by the way in which it changes.

use std::time::Duration;

use super::{LeaseState, WatchedSecret};
use crate::engine::{ResponseMeta, SecretVersion};
use crate::live::schedule;
use crate::time::clock::Reading;
use crate::time::{Deadline, Lifetime, RotationSchedule};

pub(in crate::live) enum Holding {
    /// A credential or certificate that expires.
    Leased(LeaseState),
    /// The password of a static role, which the server changes on a schedule.
    Rotating(RotatingPassword),
    /// A value without an expiry, such as a KV secret.
    Stored(StoredValue),
}

pub(in crate::live) struct RotatingPassword {
    pub(super) schedule: RotationSchedule,
    pub(super) read_at: Reading,
    /// Since when a rotation that is under way is waited for.
    pub(super) waiting_since: Option<Reading>,
    pub(super) next_read: Deadline,
    /// When the password is no longer valid, unless it is read again before.
    pub(super) stale_at: Deadline,
    /// The longest time to the next rotation that was ever seen: an estimate of the rotation period.
    pub(super) period: Duration,
}

pub(in crate::live) struct StoredValue {
    /// `None` for a value without versions, or without a value.
    pub(super) version: Option<SecretVersion>,
    pub(super) exists: bool,
    /// The next regular read. Failures and outages do not move it, so that instances which failed together do not
    /// read together from then on.
    pub(super) next_turn: Option<Deadline>,
    /// A read before the regular one, after a failure or on request.
    pub(super) early_read: Option<Deadline>,
}

impl StoredValue {
    pub(super) fn next_read_in(&self, now: Reading) -> Option<Duration> {
        self.next_turn.iter().chain(&self.early_read).map(|at| at.remaining(now)).min()
    }
}

impl Holding {
    pub(in crate::live) fn absent() -> Self {
        Self::Stored(StoredValue {
            version: None,
            exists: false,
            next_turn: None,
            early_read: None,
        })
    }
}

impl WatchedSecret {
    /// Holds a read value or an issued credential in place of the one before. Returns the lease that was held before.
    pub(in crate::live) fn hold_response(
        &mut self,
        facts: ResponseMeta,
        now: Reading,
        is_first: bool,
    ) -> Option<LeaseState> {
        self.record_success(now);
        let (requested_at, token) = (facts.issued.at, Some(facts.issued.token));
        let random = self.chance.fraction();
        let holding = if let Some(lease) = facts.lease {
            // A leased certificate may expire before its lease does.
            let lives = [lease.ttl, facts.life.unwrap_or_default()];
            let ttl = lives.into_iter().filter(|life| !life.is_zero()).min().unwrap_or_default();
            let renewable = lease.renewable && self.leases_may_be_renewed(requested_at);
            let lifetime = Lifetime::new(requested_at, ttl, ttl, renewable, random);
            let id = lease.renewable.then_some(lease.id);
            let has_own_expiry = facts.life.is_some();
            Holding::Leased(LeaseState::new(id, lifetime, token, has_own_expiry))
        } else if let Some(life) = facts.life.filter(|life| !self.is_reread_within(*life)) {
            // A certificate without a lease stays valid when its token is revoked.
            let lifetime = Lifetime::of_fixed_length(requested_at, life, random);
            Holding::Leased(LeaseState::new(None, lifetime, None, false))
        } else if let Some(rotation) = facts.rotation {
            Holding::Rotating(self.rotating_password(rotation, requested_at, random))
        } else {
            Holding::Stored(StoredValue {
                version: facts.version,
                exists: true,
                next_turn: self.next_turn(requested_at, is_first),
                early_read: None,
            })
        };
        match std::mem::replace(&mut self.holding, holding) {
            Holding::Leased(before) => Some(before),
            _ => None,
        }
    }

    /// The server has no value, and had none before.
    pub(in crate::live) fn hold_absence(&mut self, now: Reading, is_first: bool) {
        self.record_success(now);
        let next_turn = self.next_turn(now, is_first);
        self.holding = Holding::Stored(StoredValue {
            version: None,
            exists: false,
            next_turn,
            early_read: None,
        });
    }

    /// Whether a field sets an interval that is short enough for something that expires after `life`. Then it is
    /// read again in that interval instead of being replaced at two thirds of its life.
    fn is_reread_within(&self, life: Duration) -> bool {
        self.has_own_interval && self.interval.is_some_and(|interval| interval <= life / 2)
    }

    /// Whether the policies allow the renewal of its leases, as far as is known. A lease that cannot be renewed is
    /// replaced as late as possible. The policies may change, so a denial is assumed for an hour only.
    fn leases_may_be_renewed(&mut self, now: Reading) -> bool {
        const REMEMBERED: Duration = Duration::from_secs(3600);
        self.renewal_denied_since.take_if(|since| now.since(*since) > REMEMBERED);
        self.renewal_denied_since.is_none()
    }

    fn rotating_password(
        &self,
        schedule: RotationSchedule,
        read_at: Reading,
        random: f64,
    ) -> RotatingPassword {
        let before = match &self.holding {
            Holding::Rotating(before) => Some(before),
            _ => None,
        };
        let waiting_since = before.and_then(|before| before.waiting_since);
        let waited = waiting_since.map(|since| read_at.since(since));
        let compared = before.map(|before| (&before.schedule, read_at.since(before.read_at)));
        let is_under_way = schedule.is_under_way(compared, waited);
        let waiting_since = is_under_way.then(|| waiting_since.unwrap_or(read_at));
        let waited = waiting_since.map(|since| read_at.since(since));
        let wait = schedule.next_read_in(waited, random);
        // An administrator may rotate the password at any time, so the interval of a field counts as well.
        let wait = self.interval.map_or(wait, |interval| wait.min(interval));
        let longest = before.map_or(Duration::ZERO, |before| before.period);
        RotatingPassword {
            read_at,
            waiting_since,
            next_read: Deadline::new(read_at, wait),
            stale_at: Deadline::new(read_at, schedule.stale_in(waited)),
            period: longest.max(schedule.ttl),
            schedule,
        }
    }

    /// The next regular read, after one at `now`.
    pub(super) fn next_turn(&self, now: Reading, is_first: bool) -> Option<Deadline> {
        let interval = self.interval?;
        let planned = match &self.holding {
            Holding::Stored(stored) => stored.next_turn.map(|at| at.remaining(now)),
            _ => None,
        };
        let wait = match is_first {
            true => schedule::first_read(interval, self.chance.fraction()),
            false => {
                schedule::next_read(interval, planned.unwrap_or_default(), self.chance.fraction())
            }
        };
        Some(Deadline::new(now, wait))
    }
}

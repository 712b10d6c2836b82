//! When stored secrets are read again, and how many credentials may be issued ahead of schedule. Pure: no clock, no
//! I/O, and all randomness is passed in.
//!
//! When a lease is renewed or replaced is decided by [`Lifetime`](crate::time::Lifetime).

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::clock::Reading;

/// The task never sleeps longer than this, because the wall clock may be set while it sleeps.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The wait before the first regular read. Spreading it over nearly the whole interval separates instances that
/// started together.
pub(crate) fn first_read(interval: Duration, random: f64) -> Duration {
    interval.mul_f64(0.1 + 0.9 * random)
}

/// The wait between two regular reads: the interval, give or take a tenth.
pub(crate) fn regular_read(interval: Duration, random: f64) -> Duration {
    interval.mul_f64(0.9 + 0.2 * random)
}

/// The wait before the next read after one that succeeded just now, if the next regular read was `planned` in this
/// time.
///
/// A read ahead of schedule, as at the end of an outage, does not move the next regular read: otherwise instances that
/// read at the same moment once would do so from then on. If the regular read is so near that it would be
/// superfluous, it is moved to a random moment in the last third of the interval.
pub(crate) fn next_read(interval: Duration, planned: Duration, random: f64) -> Duration {
    match planned {
        Duration::ZERO => regular_read(interval, random),
        planned if planned < interval / 3 => interval.mul_f64(2.0 / 3.0 + random / 3.0),
        planned => planned,
    }
}

/// The wait before a secret is read that missed its read in an outage. It is at least a third of the interval: the
/// server that returns receives a probe from each instance already.
pub(crate) fn read_after_outage(interval: Duration, random: f64) -> Duration {
    interval.mul_f64(1.0 / 3.0 + random * 2.0 / 3.0)
}

/// Whether reading the metadata before a secret is worth the request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MetadataProbe {
    /// The number of reads since the policies denied the metadata; `None` if they did not.
    reads_since_denial: Option<u32>,
}

impl MetadataProbe {
    /// A denied request is tried again at every twelfth read: if an administrator has corrected the policy, the other
    /// eleven reads become cheaper, and if not, one request in twelve is lost.
    const RETRY_EVERY: u32 = 12;

    pub(crate) fn is_worth_it(self) -> bool {
        self.reads_since_denial.is_none_or(|reads| reads >= Self::RETRY_EVERY)
    }

    /// `is_allowed` is `None` if the read did not try the metadata.
    pub(crate) fn record_read(&mut self, is_allowed: Option<bool>) {
        self.reads_since_denial = match is_allowed {
            Some(true) => None,
            Some(false) => Some(1),
            None => self.reads_since_denial.map(|reads| reads.saturating_add(1)),
        };
    }
}

/// Limits how many credentials of one role are issued ahead of schedule. A role whose credentials are revoked as soon
/// as they are issued must not fill the server and the database with them.
#[derive(Debug, Clone, Default)]
pub(crate) struct IssueBudget {
    /// When credentials were issued ahead of schedule.
    early_issues: VecDeque<Reading>,
    /// The request under way is counted as the last one of `early_issues`.
    last_is_early: bool,
    /// When the response of an issue request was lost.
    lost_responses: VecDeque<Reading>,
}

/// A replacement before a third of the lifetime has passed is ahead of schedule. This many are allowed within the
/// window, so that one revocation by an administrator is repaired at once.
const MAX_EARLY_ISSUES: usize = 3;
/// Each lost response may have left a credential at the server that nothing can revoke. More of them are allowed,
/// because they are mostly harmless and a flaky network must not exhaust the budget.
const MAX_LOST_RESPONSES: usize = 20;
const WINDOW: Duration = Duration::from_secs(600);

impl IssueBudget {
    /// Whether a credential of this `age`, whose full life is `life`, may be replaced now. If so, the replacement is
    /// counted. The error is how long to wait.
    pub(crate) fn try_spend(
        &mut self,
        now: Reading,
        age: Duration,
        life: Option<Duration>,
    ) -> Result<(), Duration> {
        self.last_is_early = false;
        for spent in [&mut self.early_issues, &mut self.lost_responses] {
            while spent.front().is_some_and(|at| now.since(*at) >= WINDOW) {
                spent.pop_front();
            }
        }
        let window_rest = |oldest: Option<&Reading>| {
            oldest.map_or(WINDOW, |at| WINDOW - now.since(*at).min(WINDOW))
        };
        if self.lost_responses.len() >= MAX_LOST_RESPONSES {
            return Err(window_rest(self.lost_responses.front()));
        }
        let in_turn_age = life.map_or(WINDOW, |life| life / 3);
        if age >= in_turn_age {
            return Ok(());
        }
        if self.early_issues.len() >= MAX_EARLY_ISSUES {
            return Err(window_rest(self.early_issues.front()).min(in_turn_age - age));
        }
        self.early_issues.push_back(now);
        self.last_is_early = true;
        Ok(())
    }

    /// The request under way issued nothing, so it does not count.
    pub(crate) fn refund(&mut self) {
        if std::mem::take(&mut self.last_is_early) {
            self.early_issues.pop_back();
        }
    }

    /// A credential may have been issued that is not in use.
    pub(crate) fn record_lost_response(&mut self, now: Reading) {
        self.lost_responses.push_back(now);
    }
}

#[cfg(test)]
mod tests;

//! What a watched configuration does next and when: no clock, no I/O, no chance but the one that is passed in.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::clock::Reading;

/// No sleep is longer: the wall clock may have jumped meanwhile.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The wait until a secret is read again. Instances that start together part at the first.
pub(crate) fn reread(every: Duration, first: bool, random: f64) -> Duration {
    match first {
        true => every.mul_f64(0.1 + 0.9 * random),
        false => every.mul_f64(0.9 + 0.2 * random),
    }
}

/// The wait until a secret that was just read is read again, when its own turn would come in `planned`. A
/// reading out of turn, as at the end of an outage, leaves the turn where it was, so that instances which
/// read together once do not do so again; one that would come soon is put off to any time in the last
/// third of the interval.
pub(crate) fn after_reading(every: Duration, planned: Duration, random: f64) -> Duration {
    match planned {
        Duration::ZERO => reread(every, false, random),
        planned if planned < every / 3 => every.mul_f64(2.0 / 3.0 + random / 3.0),
        planned => planned,
    }
}

/// The wait until a secret that missed its turn in an outage is read again. Not at once: finding out that
/// the server is back is a request of each instance already.
pub(crate) fn after_outage(every: Duration, random: f64) -> Duration {
    every.mul_f64(1.0 / 3.0 + random * 2.0 / 3.0)
}

/// Whether a secret's metadata is looked at before the secret is read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MetadataProbe {
    /// How often the secret was read since the token was not allowed to look.
    read_since: Option<u32>,
}

impl MetadataProbe {
    /// What was refused is tried again at every twelfth reading: the policy may be mended, which
    /// saves the others.
    const AGAIN: u32 = 12;

    pub(crate) fn is_worth_it(self) -> bool {
        self.read_since.is_none_or(|readings| readings >= Self::AGAIN)
    }

    /// `may_look` is nothing when it was not tried.
    pub(crate) fn was_read(&mut self, may_look: Option<bool>) {
        self.read_since = match may_look {
            Some(true) => None,
            Some(false) => Some(1),
            None => self.read_since.map(|readings| readings.saturating_add(1)),
        };
    }
}

/// What may be minted out of turn: a role whose credentials never last must not fill the server
/// with them.
#[derive(Debug, Clone, Default)]
pub(crate) struct IssueBudget {
    early: VecDeque<Reading>,
    /// The last one that was asked for is the last of these, and is not there yet.
    asks_early: bool,
    unanswered: VecDeque<Reading>,
}

/// Before a third of its life has passed, a credential is replaced out of turn.
const EARLY: usize = 3;
/// Answers that were lost on the way may each have left a credential behind.
const UNANSWERED: usize = 20;
const WINDOW: Duration = Duration::from_secs(600);

impl IssueBudget {
    /// Whether a credential whose life was to be `life` may be replaced at this `age`; otherwise
    /// how long to wait.
    pub(crate) fn allows(
        &mut self,
        now: Reading,
        age: Duration,
        life: Option<Duration>,
    ) -> Result<(), Duration> {
        self.asks_early = false;
        for spent in [&mut self.early, &mut self.unanswered] {
            while spent.front().is_some_and(|at| now.since(*at) >= WINDOW) {
                spent.pop_front();
            }
        }
        let wait =
            |at: Option<&Reading>| at.map_or(WINDOW, |at| WINDOW - now.since(*at).min(WINDOW));
        if self.unanswered.len() >= UNANSWERED {
            return Err(wait(self.unanswered.front()));
        }
        let in_turn = life.map_or(WINDOW, |life| life / 3);
        if age >= in_turn {
            return Ok(());
        }
        if self.early.len() >= EARLY {
            return Err(wait(self.early.front()).min(in_turn - age));
        }
        self.early.push_back(now);
        self.asks_early = true;
        Ok(())
    }

    /// There is no other: it is not one that was replaced out of turn.
    pub(crate) fn failed(&mut self) {
        if std::mem::take(&mut self.asks_early) {
            self.early.pop_back();
        }
    }

    pub(crate) fn unanswered(&mut self, now: Reading) {
        self.unanswered.push_back(now);
    }
}

#[cfg(test)]
mod tests;

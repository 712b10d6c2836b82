//! What to do next and when: no clock, no I/O, no chance but the one that is passed in.

use std::collections::VecDeque;
use std::time::Duration;

use super::clock::Reading;

/// No sleep is longer: the wall clock may have jumped meanwhile.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// What a renewal leaves of a short life, so that an outage of seconds does not cost it.
const MARGIN: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const SHORTEST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Renew,
    /// Log in again, or make another credential.
    Replace,
}

/// The life of one token or lease, as the server granted it.
#[derive(Debug, Clone)]
pub(crate) struct Term {
    /// Before the request was sent.
    granted: Reading,
    /// When it was first granted: a renewal does not change it.
    made: Reading,
    /// Zero: it never ends.
    ttl: Duration,
    /// What a renewal gives that is not cut short.
    full: Duration,
    renewable: bool,
    /// Since `granted`.
    due: Option<(Step, Duration)>,
    failures: u32,
}

impl Term {
    /// `full` is the time to live that a renewal should give; the one that was granted may have
    /// begun before.
    pub(crate) fn new(
        granted: Reading,
        ttl: Duration,
        full: Duration,
        renewable: bool,
        random: f64,
    ) -> Self {
        let step = if renewable { Step::Renew } else { Step::Replace };
        // Instances that start together part here: the first step takes a wide jitter, later ones a
        // narrow one.
        let after = latest(ttl).mul_f64(0.5 + random / 2.0);
        let due = (!ttl.is_zero()).then_some((step, after));
        Self { granted, made: granted, ttl, full: full.max(ttl), renewable, due, failures: 0 }
    }

    /// For what cannot be renewed, such as a certificate. Where all of them end at one moment, each
    /// lives shorter than the one before: less than a second is not worth another.
    pub(crate) fn of_fixed_life(made: Reading, life: Duration, random: f64) -> Self {
        const SHORTEST: Duration = Duration::from_secs(1);
        let mut term = Self::new(made, life, life, false, random);
        let after = life.mul_f64(2.0 / 3.0) - (life / 10).mul_f64(random);
        let after = after.max(SHORTEST.min(life));
        term.due = (!life.is_zero()).then_some((Step::Replace, after));
        term
    }

    /// A renewal that is cut short says that the end is near: replace it now, while it works.
    pub(crate) fn renewed(&mut self, granted: Reading, ttl: Duration, random: f64) {
        self.granted = granted;
        self.ttl = ttl;
        self.failures = 0;
        self.due = match ttl {
            Duration::ZERO => None,
            _ if ttl < self.full.mul_f64(0.98) => Some((Step::Replace, Duration::ZERO)),
            _ => {
                let latest = latest(ttl);
                let jitter = (ttl / 10).min(latest / 2).mul_f64(random);
                Some((Step::Renew, latest - jitter))
            }
        };
    }

    /// It will never be renewed.
    pub(crate) fn refused(&mut self) {
        self.renewable = false;
        self.failures = 0;
        self.due = Some((Step::Replace, Duration::ZERO));
    }

    /// It is dead, or will be as soon as the server looks at it.
    pub(crate) fn lost(&mut self) {
        self.failures = 0;
        self.due = Some((Step::Replace, Duration::ZERO));
    }

    /// The step failed for something that may pass. A renewal that keeps failing ends in a
    /// replacement while some of the life is left.
    pub(crate) fn failed(&mut self, now: Reading, random: f64) {
        self.failures = self.failures.saturating_add(1);
        let age = now.since(self.granted);
        let again = age.saturating_add(retry(self.failures, self.ttl, age, random));
        let last_resort = self.ttl.mul_f64(5.0 / 6.0);
        self.due = Some(match self.due {
            Some((Step::Renew, _)) if again < last_resort => (Step::Renew, again),
            Some((Step::Renew, _)) => (Step::Replace, last_resort.max(age)),
            _ => (Step::Replace, again),
        });
    }

    /// Not before `wait` has passed.
    pub(crate) fn postpone(&mut self, now: Reading, wait: Duration) {
        if let Some((_, after)) = &mut self.due {
            *after = now.since(self.granted).saturating_add(wait);
        }
    }

    /// Nothing more can be done for it.
    pub(crate) fn rest(&mut self) {
        self.due = None;
    }

    /// Whatever is next, now: somebody asked for it.
    pub(crate) fn hurry(&mut self) {
        if let Some((_, after)) = &mut self.due {
            *after = Duration::ZERO;
        }
    }

    pub(crate) fn due(&self, now: Reading) -> Option<Step> {
        self.due.filter(|(_, after)| now.since(self.granted) >= *after).map(|(step, _)| step)
    }

    /// What is next, and in how long.
    pub(crate) fn next(&self, now: Reading) -> Option<(Step, Duration)> {
        let (step, after) = self.due?;
        Some((step, after.saturating_sub(now.since(self.granted))))
    }

    /// What is left of it; `None` when it never ends.
    pub(crate) fn left(&self, now: Reading) -> Option<Duration> {
        (!self.ttl.is_zero()).then(|| self.ttl.saturating_sub(now.since(self.granted)))
    }

    /// For how long it has been over.
    pub(crate) fn over(&self, now: Reading) -> Duration {
        match self.ttl {
            Duration::ZERO => Duration::ZERO,
            ttl => now.since(self.granted).saturating_sub(ttl),
        }
    }

    /// A renewal may make it longer than it is: little is left, and the last one was not cut short.
    pub(crate) fn could_last(&self, now: Reading) -> bool {
        let left = self.left(now).unwrap_or(Duration::MAX);
        self.renewable && self.ttl >= self.full && !left.is_zero() && left < self.full / 2
    }

    pub(crate) fn age(&self, now: Reading) -> Duration {
        now.since(self.made)
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn full(&self) -> Duration {
        self.full
    }
}

/// The last moment for a step that is not a retry: two thirds of the life, sooner when that would
/// leave less than the margin, and never in its first sixth.
fn latest(ttl: Duration) -> Duration {
    ttl.mul_f64(2.0 / 3.0).min(ttl.saturating_sub(MARGIN)).max(ttl / 6)
}

/// The wait before another try: doubled each time, half of it by chance. Short lives have little
/// time; what is overdue has lost it already, and waits in proportion.
fn retry(failures: u32, ttl: Duration, age: Duration, random: f64) -> Duration {
    let first = match ttl {
        Duration::ZERO => FIRST_RETRY,
        _ => (ttl / 30).clamp(SHORTEST_RETRY, FIRST_RETRY),
    };
    let overdue = age.saturating_sub(ttl);
    let longest = match ttl {
        Duration::ZERO => LONGEST_RETRY,
        _ => (ttl / 12).max(overdue / 4).clamp(first, LONGEST_RETRY),
    };
    let ceiling = first.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)));
    ceiling.min(longest).mul_f64(0.5 + random / 2.0)
}

/// The wait before what has no life of its own, such as a KV secret, is tried again.
pub(crate) fn retry_read(failures: u32, every: Duration, random: f64) -> Duration {
    retry(failures, Duration::ZERO, Duration::ZERO, random).min(every.max(FIRST_RETRY))
}

/// The wait before a refused login is tried again. Five in a row lock an account, and are forgotten
/// fifteen minutes after the last: <https://openbao.org/docs/concepts/user-lockout/>.
pub(crate) fn after_refused_login(refusals: u32, random: f64) -> Duration {
    let minutes = match refusals {
        0 | 1 => 1,
        2 => 5,
        _ => 20,
    };
    Duration::from_secs(60 * minutes).mul_f64(1.0 + random / 10.0)
}

/// The wait until a secret is read again. Instances that start together part at the first.
pub(crate) fn reread(every: Duration, first: bool, random: f64) -> Duration {
    match first {
        true => every.mul_f64(0.1 + 0.9 * random),
        false => every.mul_f64(0.9 + 0.2 * random),
    }
}

/// Whether a secret's metadata is looked at before the secret is read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Looking {
    /// How often the secret was read since the token was not allowed to look.
    read_since: Option<u32>,
}

impl Looking {
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

/// How long one request of the background may take: what is left of a short life does not wait a
/// minute for an answer. A server that is slow, and not gone, is waited for longer each time.
pub(crate) fn patience(ttl: Option<Duration>, failures: u32, longest: Duration) -> Duration {
    const SHORTEST: Duration = Duration::from_millis(500);
    match ttl {
        None | Some(Duration::ZERO) => longest,
        Some(ttl) => {
            let first = (ttl / 6).max(SHORTEST);
            let more = first.saturating_mul(failures.saturating_add(1));
            more.min((ttl / 3).max(SHORTEST * 2)).min(longest)
        }
    }
}

/// What may be minted out of turn: a role whose credentials never last must not fill the server
/// with them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Budget {
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

impl Budget {
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

/// What a static role says of its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rotation {
    /// Until the next one.
    pub(crate) ttl: Duration,
    /// The server's time of the last one, as it writes it.
    pub(crate) last: String,
}

/// A rotation that is this near may already be under way.
const UNDER_WAY: Duration = Duration::from_secs(2);
const POLLS: u32 = 10;

/// The server looks every 5 s whether a rotation is due, then takes a moment for it. A reading that
/// finds it not done yet says that the password is still good.
const LATE: Duration = Duration::from_secs(10);

impl Rotation {
    /// When the password that was read is surely replaced.
    pub(crate) fn stale_in(&self, under_way: bool) -> Duration {
        match under_way {
            true => LATE,
            false => self.ttl.saturating_add(LATE),
        }
    }

    /// The wait until the password is read again, and whether that waits for a rotation that is
    /// under way. `before` is what was read last and how long ago, `polls` how often it was waited
    /// for so far.
    pub(crate) fn next(
        &self,
        before: Option<(&Self, Duration)>,
        polls: u32,
        random: f64,
    ) -> (Duration, bool) {
        // The time of the next rotation may be reset before the password is: the same last
        // rotation with more time left than there should be.
        let reset_early = before.is_some_and(|(before, ago)| {
            let expected = before.ttl.saturating_sub(ago);
            before.last == self.last && self.ttl > expected + UNDER_WAY
        });
        let overdue = self.ttl <= UNDER_WAY;
        if (overdue || reset_early) && polls < POLLS {
            let ceiling = Duration::from_millis(500).saturating_mul(2u32.saturating_pow(polls));
            return (ceiling.min(UNDER_WAY).mul_f64(0.5 + random / 2.0), true);
        }
        let after = self.ttl.max(UNDER_WAY).saturating_add(Duration::from_secs(1).mul_f64(random));
        (after, false)
    }
}

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::backoff::{Urgency, retry};
use super::clock::Reading;

/// What a renewal leaves of a short life, so that an outage of seconds does not cost it.
const MARGIN: Duration = Duration::from_secs(10);
const SHORTEST_RENEWAL: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Renew,
    /// Log in again, or issue another credential.
    Replace,
}

/// The life of one token or lease, as the server granted it, and when it is renewed and replaced. The two
/// are planned apart: what cannot be replaced for now is renewed all the same, to its very end.
#[derive(Debug, Clone)]
pub(crate) struct Lifetime {
    /// Before the request was sent.
    granted: Reading,
    /// When it was first granted: a renewal does not change it.
    issued: Reading,
    /// Zero: it never ends.
    ttl: Duration,
    /// What a renewal gives that is not cut short.
    full: Duration,
    renewable: bool,
    /// Since `granted`.
    renew_after: Option<Duration>,
    /// Since `granted`.
    replace_after: Option<Duration>,
    failures: u32,
    /// Its last renewal came at the end of an outage, like that of every other instance.
    in_step: bool,
}

impl Lifetime {
    /// `full` is the time to live that a renewal should give; the one that was granted may have begun
    /// before.
    pub(crate) fn new(
        granted: Reading,
        ttl: Duration,
        full: Duration,
        renewable: bool,
        random: f64,
    ) -> Self {
        let mut lifetime = Self {
            granted,
            issued: granted,
            ttl,
            full: full.max(ttl),
            renewable,
            renew_after: None,
            replace_after: None,
            failures: 0,
            in_step: false,
        };
        match (ttl.is_zero(), renewable) {
            (true, _) => {}
            (false, true) => lifetime.renew_after = Some(spread(ttl, random)),
            (false, false) => lifetime.replace_after = Some(before_end(ttl, random)),
        }
        lifetime
    }

    /// For what cannot be renewed, such as a certificate. Where all of them end at one moment, each lives
    /// shorter than the one before: less than a second is not worth another.
    pub(crate) fn of_fixed_length(issued: Reading, life: Duration, random: f64) -> Self {
        const SHORTEST: Duration = Duration::from_secs(1);
        let mut lifetime = Self::new(issued, life, life, false, random);
        lifetime.replace_after = lifetime.replace_after.map(|after| after.max(SHORTEST.min(life)));
        lifetime
    }

    /// A renewal that is cut short shows that the end is near: it is replaced now, while it works.
    pub(crate) fn renewed(&mut self, granted: Reading, ttl: Duration, random: f64) {
        self.granted = granted;
        self.ttl = ttl;
        self.failures = 0;
        if ttl.is_zero() {
            (self.renew_after, self.replace_after) = (None, None);
            return;
        }
        let latest = latest(ttl);
        let jitter = (ttl / 10).min(latest / 2).mul_f64(random);
        self.renew_after = Some(match std::mem::take(&mut self.in_step) {
            // Another renewal gives nothing, unless the maximum is raised before the end.
            _ if self.is_cut_short() => (ttl / 2).max(SHORTEST_RENEWAL),
            true => spread(ttl, random),
            false => latest - jitter,
        });
        self.replace_after = self.is_cut_short().then_some(Duration::ZERO);
    }

    /// The last renewal gave less than a full life.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.ttl < self.full.mul_f64(0.98)
    }

    /// It will never be renewed.
    pub(crate) fn refused(&mut self) {
        self.renewable = false;
        self.lost();
    }

    /// It is dead, or will be as soon as the server looks at it.
    pub(crate) fn lost(&mut self) {
        self.failures = 0;
        self.renew_after = None;
        self.replace_after = Some(Duration::ZERO);
    }

    /// A renewal failed for something that may pass. One that keeps failing is joined by a replacement
    /// while some of the life is left.
    pub(crate) fn renewal_failed(&mut self, now: Reading, random: f64) {
        let again = self.retry(now, random);
        self.renew_after = Some(again);
        let last_resort = self.ttl.mul_f64(5.0 / 6.0);
        if again >= last_resort {
            let age = now.since(self.granted);
            self.replace_after = self.replace_after.or(Some(last_resort.max(age)));
        }
    }

    /// A replacement failed for something that may pass.
    pub(crate) fn replacement_failed(&mut self, now: Reading, random: f64) {
        self.replace_after = Some(self.retry(now, random));
    }

    fn retry(&mut self, now: Reading, random: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let age = now.since(self.granted);
        age.saturating_add(retry(self.failures, self.ttl, age, random))
    }

    /// An outage is over. What was due meanwhile comes back spread over the time that it still has, so
    /// that a fleet does not come back in one moment.
    pub(crate) fn outage_ended(&mut self, now: Reading, random: f64) {
        if self.due(now).is_none() {
            return;
        }
        self.failures = 0;
        let remaining = self.remaining(now).unwrap_or_default();
        let spare = remaining.saturating_sub(self.ttl / 6);
        let window = (spare / 2).max(remaining / 4);
        let after = now.since(self.granted).saturating_add(window.mul_f64(random));
        self.in_step = true;
        // A renewal that works makes the replacement needless.
        match self.renew_after {
            Some(_) if !remaining.is_zero() => {
                self.renew_after = Some(after);
                self.replace_after = self.replace_after.filter(|_| self.is_cut_short());
            }
            _ => {}
        }
        self.replace_after = self.replace_after.map(|_| after);
    }

    /// Not replaced before `wait` has passed.
    pub(crate) fn postpone(&mut self, now: Reading, wait: Duration) {
        self.replace_after = Some(now.since(self.granted).saturating_add(wait));
    }

    /// The next step is due now.
    pub(crate) fn make_due_now(&mut self) {
        let after = self.renew_after.as_mut().or(self.replace_after.as_mut());
        if let Some(after) = after {
            *after = Duration::ZERO;
        }
    }

    /// What is due. A renewal that works makes a replacement needless, so it goes first while there is
    /// something to renew.
    pub(crate) fn due(&self, now: Reading) -> Option<Step> {
        let replace = self.replacement_in(now).is_some_and(|wait| wait.is_zero());
        match self.renewal_in(now).is_some_and(|wait| wait.is_zero()) {
            true if !(replace && self.remaining(now) == Some(Duration::ZERO)) => Some(Step::Renew),
            _ => replace.then_some(Step::Replace),
        }
    }

    /// What is next, and in how long.
    pub(crate) fn next(&self, now: Reading) -> Option<(Step, Duration)> {
        if let Some(step) = self.due(now) {
            return Some((step, Duration::ZERO));
        }
        let renew = self.renewal_in(now).map(|wait| (Step::Renew, wait));
        let replace = self.replacement_in(now).map(|wait| (Step::Replace, wait));
        renew.into_iter().chain(replace).min_by_key(|(_, wait)| *wait)
    }

    pub(crate) fn renewal_in(&self, now: Reading) -> Option<Duration> {
        self.renew_after.map(|after| after.saturating_sub(now.since(self.granted)))
    }

    pub(crate) fn replacement_in(&self, now: Reading) -> Option<Duration> {
        self.replace_after.map(|after| after.saturating_sub(now.since(self.granted)))
    }

    /// What remains of it; `None` when it never ends.
    pub(crate) fn remaining(&self, now: Reading) -> Option<Duration> {
        (!self.ttl.is_zero()).then(|| self.ttl.saturating_sub(now.since(self.granted)))
    }

    /// Time since its end.
    pub(crate) fn overdue_by(&self, now: Reading) -> Duration {
        match self.ttl {
            Duration::ZERO => Duration::ZERO,
            ttl => now.since(self.granted).saturating_sub(ttl),
        }
    }

    pub(crate) fn urgency(&self, now: Reading) -> Urgency {
        let remaining = self.remaining(now);
        remaining.map_or(Urgency::NONE, |remaining| Urgency::of(remaining, self.full))
    }

    /// A renewal may make it longer than it is: little is left, and the last one was not cut short.
    pub(crate) fn could_last(&self, now: Reading) -> bool {
        let left = self.remaining(now).unwrap_or(Duration::MAX);
        self.renewable && self.ttl >= self.full && !left.is_zero() && left < self.full / 2
    }

    pub(crate) fn age(&self, now: Reading) -> Duration {
        now.since(self.issued)
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn full(&self) -> Duration {
        self.full
    }
}

/// The last moment for a renewal that is not a retry: two thirds of the life, sooner when that would
/// leave less than the margin, and never in its first sixth.
fn latest(ttl: Duration) -> Duration {
    ttl.mul_f64(2.0 / 3.0).min(ttl.saturating_sub(MARGIN)).max(ttl / 6)
}

/// Instances that start together separate here: over half of the time until the latest moment.
fn spread(ttl: Duration, random: f64) -> Duration {
    latest(ttl).mul_f64(0.5 + random / 2.0)
}

/// For what cannot be renewed: each replacement costs a credential or a login, so that not even a short
/// life is replaced much before its last third.
fn before_end(ttl: Duration, random: f64) -> Duration {
    ttl.mul_f64(0.5 + random / 6.0)
}

#[cfg(test)]
mod tests;

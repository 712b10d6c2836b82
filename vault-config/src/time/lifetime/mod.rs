//! The one place that decides when a lease or a token is renewed and when it is replaced.

use std::time::Duration;

use super::backoff::{Urgency, lifetime_retry};
use super::clock::Reading;

/// A renewal happens at least this long before the expiry, where the life is long enough, so that an outage
/// of a few seconds does not lose the lease.
const MARGIN: Duration = Duration::from_secs(10);
const SHORTEST_RENEWAL: Duration = Duration::from_millis(500);

/// What has to be done with a lease or a token to stay in possession of one that works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LifetimeStep {
    Renew,
    /// Log in again, or issue another credential.
    Replace,
}

/// The life of one token or lease, as the server granted it, and when it is renewed and replaced.
///
/// Renewal and replacement are planned separately: if a replacement is due but not possible, the renewals
/// continue until the expiry.
#[derive(Debug, Clone)]
pub(crate) struct Lifetime {
    /// The start of the current `ttl`: the time just before the request for it was sent, so that the real
    /// expiry is never earlier than the computed one.
    granted_at: Reading,
    /// When it was issued. A renewal does not change it.
    issued_at: Reading,
    /// From `granted_at` to the expiry. Zero: it never expires.
    ttl: Duration,
    /// The time to live that a renewal grants as long as no maximum truncates it.
    full_ttl: Duration,
    renewable: bool,
    /// The next renewal, as time since `granted_at`; `None` if none is planned.
    renew_after: Option<Duration>,
    /// The next replacement, as time since `granted_at`; `None` if none is planned.
    replace_after: Option<Duration>,
    failures: u32,
    /// The next renewal follows an outage. All instances do that renewal at about the same time, so the one
    /// after it has to be spread again.
    is_after_outage: bool,
}

impl Lifetime {
    /// `ttl` is what remained at `granted_at`, and `full_ttl` is what a renewal should grant. They differ
    /// for a token that was issued elsewhere some time ago.
    pub(crate) fn new(
        granted_at: Reading,
        ttl: Duration,
        full_ttl: Duration,
        renewable: bool,
        random: f64,
    ) -> Self {
        let mut lifetime = Self {
            granted_at,
            issued_at: granted_at,
            ttl,
            full_ttl: full_ttl.max(ttl),
            renewable,
            renew_after: None,
            replace_after: None,
            failures: 0,
            is_after_outage: false,
        };
        match (ttl.is_zero(), renewable) {
            (true, _) => {}
            (false, true) => lifetime.renew_after = Some(first_renewal(ttl, random)),
            (false, false) => lifetime.replace_after = Some(replacement_age(ttl, random)),
        }
        lifetime
    }

    /// The life of something that cannot be renewed, such as a certificate. If all certificates expire at
    /// the same moment (that of their issuer), each new one lives shorter than the one before. Then a
    /// replacement at two thirds of the life would repeat faster and faster, so one second is the least.
    pub(crate) fn of_fixed_length(issued_at: Reading, life: Duration, random: f64) -> Self {
        const SHORTEST: Duration = Duration::from_secs(1);
        let mut lifetime = Self::new(issued_at, life, life, false, random);
        lifetime.replace_after = lifetime.replace_after.map(|after| after.max(SHORTEST.min(life)));
        lifetime
    }

    /// The server granted another `ttl`. A truncated one means that the maximum is near: a replacement is
    /// due at once, while the old lease still works.
    pub(crate) fn renewed(&mut self, granted_at: Reading, ttl: Duration, random: f64) {
        self.granted_at = granted_at;
        self.ttl = ttl;
        self.failures = 0;
        if ttl.is_zero() {
            (self.renew_after, self.replace_after) = (None, None);
            return;
        }
        let latest = latest_renewal(ttl);
        let jitter = (ttl / 10).min(latest / 2).mul_f64(random);
        self.renew_after = Some(match std::mem::take(&mut self.is_after_outage) {
            // Another renewal grants nothing more, unless an administrator raises the maximum meanwhile.
            _ if self.is_truncated() => (ttl / 2).max(SHORTEST_RENEWAL),
            true => first_renewal(ttl, random),
            false => latest - jitter,
        });
        self.replace_after = self.is_truncated().then_some(Duration::ZERO);
    }

    /// Whether the last renewal granted less than the full time to live. A server may round down, so two
    /// percent less still counts as full.
    pub(crate) fn is_truncated(&self) -> bool {
        self.ttl < self.full_ttl.mul_f64(0.98)
    }

    /// The server will never renew it.
    pub(crate) fn renewal_refused(&mut self) {
        self.renewable = false;
        self.replace_now();
    }

    /// It is revoked or is going to be: only a replacement helps.
    pub(crate) fn replace_now(&mut self) {
        self.failures = 0;
        self.renew_after = None;
        self.replace_after = Some(Duration::ZERO);
    }

    /// A renewal failed for a temporary reason. If renewals keep failing into the last sixth of the life, a
    /// replacement is tried as well.
    pub(crate) fn renewal_failed(&mut self, now: Reading, random: f64) {
        let again = self.retry_after(now, random);
        self.renew_after = Some(again);
        let last_resort = self.ttl.mul_f64(5.0 / 6.0);
        if again >= last_resort {
            let age = now.since(self.granted_at);
            self.replace_after = self.replace_after.or(Some(last_resort.max(age)));
        }
    }

    /// A replacement failed for a temporary reason.
    pub(crate) fn replacement_failed(&mut self, now: Reading, random: f64) {
        self.replace_after = Some(self.retry_after(now, random));
    }

    fn retry_after(&mut self, now: Reading, random: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let age = now.since(self.granted_at);
        age.saturating_add(lifetime_retry(self.failures, self.ttl, age, random))
    }

    /// The outage has ended. A step that came due during it is spread over a part of the remaining life, so
    /// that a fleet of instances does not send all of these requests at the same moment.
    pub(crate) fn resume_after_outage(&mut self, now: Reading, random: f64) {
        if self.due_step(now).is_none() {
            return;
        }
        self.failures = 0;
        let remaining = self.remaining(now).unwrap_or_default();
        let spare = remaining.saturating_sub(self.ttl / 6);
        let window = (spare / 2).max(remaining / 4);
        let after = now.since(self.granted_at).saturating_add(window.mul_f64(random));
        self.is_after_outage = true;
        // A renewal that succeeds makes the replacement unnecessary, unless the last one was truncated.
        match self.renew_after {
            Some(_) if !remaining.is_zero() => {
                self.renew_after = Some(after);
                self.replace_after = self.replace_after.filter(|_| self.is_truncated());
            }
            _ => {}
        }
        self.replace_after = self.replace_after.map(|_| after);
    }

    /// Plans the replacement for the moment when `wait` has passed.
    pub(crate) fn postpone_replacement(&mut self, now: Reading, wait: Duration) {
        self.replace_after = Some(now.since(self.granted_at).saturating_add(wait));
    }

    /// Makes the planned renewal due now, or else the planned replacement.
    pub(crate) fn make_due_now(&mut self) {
        let after = self.renew_after.as_mut().or(self.replace_after.as_mut());
        if let Some(after) = after {
            *after = Duration::ZERO;
        }
    }

    /// The step that is due at `now`, if any: this is where the renewal of a lease is decided. If both steps
    /// are due, the renewal is tried first, since its success makes the replacement unnecessary. After the expiry
    /// there is nothing to renew any more.
    pub(crate) fn due_step(&self, now: Reading) -> Option<LifetimeStep> {
        let replace = self.replacement_in(now).is_some_and(|wait| wait.is_zero());
        match self.renewal_in(now).is_some_and(|wait| wait.is_zero()) {
            true if !(replace && self.remaining(now) == Some(Duration::ZERO)) => {
                Some(LifetimeStep::Renew)
            }
            _ => replace.then_some(LifetimeStep::Replace),
        }
    }

    /// The next step, and the time until it is due.
    pub(crate) fn next_step(&self, now: Reading) -> Option<(LifetimeStep, Duration)> {
        if let Some(step) = self.due_step(now) {
            return Some((step, Duration::ZERO));
        }
        let renew = self.renewal_in(now).map(|wait| (LifetimeStep::Renew, wait));
        let replace = self.replacement_in(now).map(|wait| (LifetimeStep::Replace, wait));
        renew.into_iter().chain(replace).min_by_key(|(_, wait)| *wait)
    }

    pub(crate) fn renewal_in(&self, now: Reading) -> Option<Duration> {
        self.renew_after.map(|after| after.saturating_sub(now.since(self.granted_at)))
    }

    pub(crate) fn replacement_in(&self, now: Reading) -> Option<Duration> {
        self.replace_after.map(|after| after.saturating_sub(now.since(self.granted_at)))
    }

    /// Time until the expiry; `None` if it never expires.
    pub(crate) fn remaining(&self, now: Reading) -> Option<Duration> {
        (!self.ttl.is_zero()).then(|| self.ttl.saturating_sub(now.since(self.granted_at)))
    }

    /// Time since the expiry; zero before it.
    pub(crate) fn overdue_by(&self, now: Reading) -> Duration {
        match self.ttl {
            Duration::ZERO => Duration::ZERO,
            ttl => now.since(self.granted_at).saturating_sub(ttl),
        }
    }

    pub(crate) fn urgency(&self, now: Reading) -> Urgency {
        let remaining = self.remaining(now);
        remaining
            .map_or(Urgency::NONE, |remaining| Urgency::from_remaining(remaining, self.full_ttl))
    }

    /// Whether one more renewal would extend it noticeably: less than half of the life remains, and the last
    /// renewal was not truncated.
    pub(crate) fn can_be_extended(&self, now: Reading) -> bool {
        let remaining = self.remaining(now).unwrap_or(Duration::MAX);
        self.renewable
            && self.ttl >= self.full_ttl
            && !remaining.is_zero()
            && remaining < self.full_ttl / 2
    }

    /// Time since it was issued.
    pub(crate) fn age(&self, now: Reading) -> Duration {
        now.since(self.issued_at)
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn full_ttl(&self) -> Duration {
        self.full_ttl
    }
}

/// The latest age for a renewal that is not a retry: two thirds of the life, earlier if that would leave less
/// than the margin, and never in the first sixth, so that short lives are not renewed all the time.
fn latest_renewal(ttl: Duration) -> Duration {
    ttl.mul_f64(2.0 / 3.0).min(ttl.saturating_sub(MARGIN)).max(ttl / 6)
}

/// The age of the first renewal: anywhere in the second half of the time until the latest renewal, so that
/// instances that started together do not renew together.
fn first_renewal(ttl: Duration, random: f64) -> Duration {
    latest_renewal(ttl).mul_f64(0.5 + random / 2.0)
}

/// The age at which something is replaced that cannot be renewed: between half and two thirds of the life.
/// Each replacement costs a credential or a login, so it has no margin that would make it earlier.
fn replacement_age(ttl: Duration, random: f64) -> Duration {
    ttl.mul_f64(0.5 + random / 6.0)
}

#[cfg(test)]
mod tests;

//! The lease of a credential that is held, and the token that it was issued under. The server revokes a lease
//! together with its token.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Cause, ErrorKind};
use crate::live::status::{Action, State};
use crate::time::clock::Reading;
use crate::time::{Lifetime, LifetimeStep};
use crate::vault::{Failure, LeaseId, Retirement, TrackedToken};

pub(in crate::live) struct LeaseState {
    /// `None` if it cannot be renewed, and so cannot be shortened either: a certificate, or a lease that states so.
    pub(in crate::live) id: Option<LeaseId>,
    pub(in crate::live) lifetime: Lifetime,
    /// The token that it is revoked with; `None` for a certificate without a lease.
    pub(in crate::live) token: Option<Arc<TrackedToken>>,
    /// Its token was retired, and a replacement is already planned for that reason.
    is_orphan: bool,
    /// The credential states its own expiry, as a certificate does, and stays valid without its lease.
    has_own_expiry: bool,
    /// Why the server will never renew it.
    refusal: Option<Cause>,
    /// Since when the server does not know the lease any more, and so the credential is revoked.
    gone_since: Option<Reading>,
}

/// The one decision about a held lease. It is pure; [`Lifetime`] decides from the life alone, and this adds what
/// follows from the token.
impl LeaseState {
    /// The next step for the lease, and the time until it is due; `None` if there is none.
    ///
    /// If the token was retired, the lease is revoked with it, so a replacement is due at once. While a login for
    /// another token is under way, no replacement is issued under the old token, unless the lease expires before.
    pub(super) fn next_step(
        &self,
        now: Reading,
        token_is_being_replaced: bool,
    ) -> Option<(LifetimeStep, Duration)> {
        let (step, wait) = match self.token_is_retiring(now) {
            true => (LifetimeStep::Replace, Duration::ZERO),
            false => self.lifetime.next_step(now)?,
        };
        match step {
            LifetimeStep::Replace if token_is_being_replaced => {
                Some((step, wait.max(self.urgent_in(now)?)))
            }
            _ => Some((step, wait)),
        }
    }

    /// Plans the replacement of a lease whose token was retired. It is planned only once, so that the retries of a
    /// failed replacement keep their backoff.
    pub(super) fn plan_replacement_if_orphaned(&mut self, now: Reading) {
        if self.token_is_retiring(now) {
            self.is_orphan = true;
            self.lifetime.replace_now();
        }
    }

    /// Whether the lease is going to be revoked with its token, and no replacement is planned for it yet.
    pub(super) fn token_is_retiring(&self, now: Reading) -> bool {
        let Some(token) = self.token.as_ref().filter(|_| !self.is_orphan) else { return false };
        match token.retirement() {
            None => false,
            Some(Retirement::Ending) => true,
            // The token stays valid, but nothing renews it any more: its leases are replaced before its expiry.
            Some(Retirement::OutOfUses) => {
                token.lifetime().as_ref().is_some_and(|lifetime| lifetime.due_step(now).is_some())
            }
        }
    }

    /// Time until a replacement cannot be postponed any more: the last sixth of the life; `None` if it never
    /// expires.
    fn urgent_in(&self, now: Reading) -> Option<Duration> {
        Some(self.remaining(now)?.saturating_sub(self.life().unwrap_or_default() / 6))
    }
}

impl LeaseState {
    pub(super) fn new(
        id: Option<LeaseId>,
        lifetime: Lifetime,
        token: Option<Arc<TrackedToken>>,
        has_own_expiry: bool,
    ) -> Self {
        Self {
            id,
            lifetime,
            token,
            is_orphan: false,
            has_own_expiry,
            refusal: None,
            gone_since: None,
        }
    }

    /// Whether the credential stays valid until its lease expires or is revoked.
    pub(in crate::live) fn is_valid_as_long_as_its_lease(&self) -> bool {
        self.token.is_some() && !self.has_own_expiry
    }

    pub(in crate::live) fn renewed(&mut self, requested_at: Reading, ttl: Duration, random: f64) {
        self.lifetime.renewed(requested_at, ttl, random);
        self.gone_since = None;
    }

    /// The server will never renew it, so a replacement is due at once. `is_gone` is whether it is revoked already.
    pub(super) fn renewal_refused(&mut self, cause: Cause, is_gone: bool, now: Reading) {
        self.lifetime.renewal_refused();
        self.refusal = Some(cause);
        self.gone_since = self.gone_since.or(is_gone.then_some(now));
    }

    /// Since when the credential is invalid: the server does not know its lease, or refuses its token.
    pub(super) fn invalid_since(&self) -> Option<Reading> {
        self.gone_since.or_else(|| self.token.as_ref()?.dead_since())
    }

    /// Time until its own expiry or that of its token, whichever is earlier; `None` if neither expires.
    pub(in crate::live) fn remaining(&self, now: Reading) -> Option<Duration> {
        if self.invalid_since().is_some() {
            return Some(Duration::ZERO);
        }
        let token = self.of_token_lifetime(|lifetime| lifetime.remaining(now)).flatten();
        self.lifetime.remaining(now).into_iter().chain(token).min()
    }

    /// Time since its own expiry or that of its token, whichever is longer ago.
    fn overdue_by(&self, now: Reading) -> Duration {
        let token = self.of_token_lifetime(|lifetime| lifetime.overdue_by(now));
        self.lifetime.overdue_by(now).max(token.unwrap_or_default())
    }

    /// The time to live that a renewal grants, or that of its token if it is shorter; `None` if neither expires.
    pub(super) fn life(&self) -> Option<Duration> {
        let own = self.lifetime.full_ttl();
        let token = self.of_token_lifetime(Lifetime::full_ttl);
        std::iter::once(own).chain(token).filter(|full_ttl| !full_ttl.is_zero()).min()
    }

    /// `None` if there is no token, or if its lifetime is not known.
    fn of_token_lifetime<R>(&self, read: impl FnOnce(&Lifetime) -> R) -> Option<R> {
        let token = self.token.as_ref()?;
        let lifetime = token.lifetime();
        lifetime.as_ref().map(read)
    }

    /// Whether it is renewed once more after its replacement. A lease that was replaced late has little time
    /// left, and one more renewal gives its users time to change to the new credential.
    pub(in crate::live) fn deserves_grace(&self, now: Reading) -> bool {
        !self.is_orphan && self.invalid_since().is_none() && self.lifetime.can_be_extended(now)
    }

    /// The failure to report when no replacement is issued before `wait` has passed; `None` if the lease lasts
    /// that long. `failure` is the current failure of its source.
    pub(super) fn blocked_cause(
        &self,
        now: Reading,
        wait: Duration,
        failure: Option<&Failure>,
    ) -> Option<Cause> {
        let expires_before = self.remaining(now).is_some_and(|remaining| remaining <= wait);
        if self.refusal.is_none() && !expires_before {
            return None;
        }
        // If issuing failed, that has to be corrected, and it is the better explanation.
        let failed = failure.map(|failure| &*failure.cause);
        let failed = failed.filter(|cause| cause.kind != ErrorKind::LeaseLost);
        let why = match (&self.refusal, self.invalid_since(), failed) {
            (_, _, Some(cause)) => cause.message.as_str(),
            (Some(refusal), _, None) => refusal.message.as_str(),
            (None, Some(_), None) => "the lease expired with its token",
            (None, None, None) => "the lease is about to expire",
        };
        let next = now.wall.checked_add(wait).map(crate::time::rfc3339::shown);
        let next = next.map_or_else(String::new, |next| format!(" before {next}"));
        let what = format!(
            "{why}; too many credentials were requested in the last ten minutes: no new credential is issued{next}"
        );
        let help = "find in the server's audit log which client revokes the leases or their token, and let \
                    the token's policies allow update on sys/leases/renew, as `default` does";
        let help = failed.map_or(help, |cause| cause.help.as_str());
        Some(Cause::new(ErrorKind::LeaseLost, what, help))
    }

    pub(super) fn add_to_status(&self, state: &mut State, now: Reading) {
        let life = self.life().unwrap_or_default();
        state.set_expiry(now.wall, self.remaining(now), self.overdue_by(now), life);
        if let Some(invalid_since) = self.invalid_since() {
            state.expires_at = Some(invalid_since.wall);
            state.error = self.refusal.as_ref().map(Cause::log_line);
        }
        if let Some((step, wait)) = self.lifetime.next_step(now) {
            let action = match step {
                LifetimeStep::Renew => Action::Renew,
                LifetimeStep::Replace => Action::Rotate,
            };
            state.set_next_action(now.wall, action, wait);
        }
    }
}

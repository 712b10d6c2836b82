//! Records how an action ended, and plans the next one accordingly.

use std::sync::Arc;
use std::time::Duration;

use super::{Holding, Rejection, WatchedSecret};
use crate::error::{Cause, ErrorKind};
use crate::live::schedule;
use crate::time::clock::Reading;
use crate::time::{Deadline, backoff};
use crate::vault::Failure;

impl WatchedSecret {
    pub(in crate::live) fn action_started(&mut self, now: Reading) {
        (self.is_busy, self.is_requested) = (true, false);
        self.last_started = now;
    }

    /// Called last, after the result of the action was recorded.
    pub(in crate::live) fn action_finished(&mut self, now: Reading) {
        self.is_busy = false;
        if std::mem::take(&mut self.is_due_again) {
            self.make_due_now(now);
        }
    }

    pub(in crate::live) fn record_success(&mut self, now: Reading) {
        self.failures = 0;
        self.reads_whole_secret = false;
        self.last_success = now.wall;
    }

    /// A read found the current value unchanged.
    pub(in crate::live) fn record_unchanged(&mut self, now: Reading) {
        self.record_success(now);
        let next_turn = self.next_turn(now, false);
        if let Holding::Stored(stored) = &mut self.holding {
            (stored.next_turn, stored.early_read) = (next_turn, None);
        }
    }

    /// A read or the issue of a credential failed for a temporary reason.
    pub(in crate::live) fn record_failure(&mut self, now: Reading) {
        self.failures = self.failures.saturating_add(1);
        let random = self.chance.fraction();
        let interval = self.interval.unwrap_or(Duration::MAX);
        let retry = Deadline::new(now, backoff::read_retry(self.failures, interval, random));
        self.skip_turn(now);
        match &mut self.holding {
            Holding::Leased(lease) => lease.lifetime.replacement_failed(now, random),
            Holding::Rotating(password) => password.next_read = retry,
            Holding::Stored(stored) => stored.early_read = Some(retry),
        }
    }

    /// A renewal failed for a temporary reason.
    pub(in crate::live) fn record_renewal_failure(&mut self, now: Reading) {
        if let Holding::Leased(lease) = &mut self.holding {
            lease.lifetime.renewal_failed(now, self.chance.fraction());
        }
    }

    /// The server will never renew the lease. `is_gone` is whether it is revoked already.
    pub(in crate::live) fn record_renewal_refusal(
        &mut self,
        cause: Cause,
        is_gone: bool,
        now: Reading,
    ) {
        if cause.kind == ErrorKind::Denied {
            self.renewal_denied_since = Some(now);
        }
        if let Holding::Leased(lease) = &mut self.holding {
            lease.renewal_refused(cause, is_gone, now);
        }
    }

    /// Moves a regular read that is due to its next turn, and drops an early one. During an outage this keeps all
    /// secrets from being read at the same moment when the server returns.
    pub(in crate::live) fn skip_turn(&mut self, now: Reading) {
        let Some(interval) = self.interval else { return };
        let Holding::Stored(stored) = &mut self.holding else { return };
        stored.early_read = None;
        if stored.next_turn.is_none_or(|turn| turn.has_passed(now)) {
            let wait = schedule::regular_read(interval, self.chance.fraction());
            stored.next_turn = Some(Deadline::new(now, wait));
        }
    }

    /// The outage that made it fail has ended.
    pub(in crate::live) fn resume_after_outage(&mut self, now: Reading) {
        self.failures = 0;
        let random = self.chance.fraction();
        match &mut self.holding {
            // A revoked lease, or one that is revoked with its token, is replaced at once instead.
            Holding::Leased(lease)
                if lease.invalid_since().is_none() && !lease.token_is_retiring(now) =>
            {
                lease.lifetime.resume_after_outage(now, random);
            }
            Holding::Stored(stored) => {
                let wait =
                    self.interval.map(|interval| schedule::read_after_outage(interval, random));
                stored.next_turn = wait.map(|wait| Deadline::new(now, wait));
                stored.early_read = None;
            }
            Holding::Leased(_) | Holding::Rotating(_) => {}
        }
    }

    /// The value that was read or issued is not published, for this reason.
    pub(in crate::live) fn record_rejection(&mut self, cause: Cause, now: Reading) {
        let (since, published_until) = match self.rejection.take() {
            Some(before) => (before.failure.since, before.published_until),
            None => (now.wall, None),
        };
        let failure = Failure { since, cause: Arc::new(cause), is_held_back: false };
        self.rejection = Some(Rejection { failure, published_until });
    }

    /// A rejected credential has replaced one that stays published and that expires in `remaining`. The first such
    /// expiry counts, since the published credential stays the same.
    pub(in crate::live) fn keep_published_until(
        &mut self,
        remaining: Option<Duration>,
        now: Reading,
    ) {
        if let Some(rejection) = &mut self.rejection {
            let end = remaining.map(|remaining| Deadline::new(now, remaining));
            rejection.published_until = rejection.published_until.or(end);
        }
    }

    /// A refresh was requested: the next read reads the secret itself, whatever its metadata states.
    pub(in crate::live) fn request_refresh(&mut self, now: Reading) {
        (self.reads_whole_secret, self.is_requested) = (true, true);
        self.renewal_denied_since = None;
        self.make_due_now(now);
    }

    pub(in crate::live) fn make_due_now(&mut self, now: Reading) {
        self.is_due_again = self.is_busy;
        let due_now = Deadline::new(now, Duration::ZERO);
        match &mut self.holding {
            Holding::Leased(lease) => lease.lifetime.make_due_now(),
            Holding::Rotating(password) => password.next_read = due_now,
            Holding::Stored(stored) => stored.early_read = Some(due_now),
        }
    }
}

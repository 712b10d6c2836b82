//! When the password of a static role is read again. The server announces the time of the next rotation, but
//! completes the rotation some seconds later, and sometimes not at all.

use std::time::Duration;

/// What the server reports about the rotation of a static role's password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RotationSchedule {
    /// Time until the next rotation.
    pub(crate) ttl: Duration,
    /// The server's time of the last rotation, in the server's own format. It is only compared.
    pub(crate) last: String,
}

/// A rotation that is this near may have started already.
const UNDER_WAY: Duration = Duration::from_secs(2);

/// The server checks every 5 s whether a rotation is due, and then takes a moment for it. A rotation that
/// is not done after this time is late.
const LATE: Duration = Duration::from_secs(10);

/// The server skipped a rotation that it announced and that has not happened after this time.
const SKIPPED: Duration = Duration::from_secs(900);

const LONGEST_POLL: Duration = Duration::from_secs(60);

/// In all functions, `waited` is for how long a rotation that is under way has been waited for; `None` if no
/// rotation is under way.
impl RotationSchedule {
    /// Time until the password is certainly replaced, unless it is read again before.
    pub(crate) fn stale_in(&self, waited: Option<Duration>) -> Duration {
        match waited {
            // As long as the rotation is not done, each read confirms the password until the next read.
            Some(waited) => LATE.max(poll_interval(waited) * 2),
            None => self.ttl.saturating_add(LATE),
        }
    }

    /// Whether a rotation is under way. `before` is the schedule of the last read and how long ago it was.
    pub(crate) fn is_under_way(
        &self,
        before: Option<(&Self, Duration)>,
        waited: Option<Duration>,
    ) -> bool {
        if self.ttl <= UNDER_WAY {
            return true;
        }
        // The server may announce the next rotation before it has changed the password: then the last
        // rotation is the same, with more time left than there should be (hashicorp/vault #31918). The wait
        // ends with a new rotation, or when this one was skipped, as outside of a `rotation_window`.
        before.is_some_and(|(before, ago)| {
            let expected = before.ttl.saturating_sub(ago);
            let was_announced_early = self.ttl > expected + UNDER_WAY;
            before.last == self.last
                && waited.map_or(was_announced_early, |waited| waited < SKIPPED)
        })
    }

    /// The wait until the password is read again.
    pub(crate) fn next_read_in(&self, waited: Option<Duration>, random: f64) -> Duration {
        match waited {
            Some(waited) => poll_interval(waited).mul_f64(0.5 + random / 2.0),
            None => self.ttl.saturating_add(Duration::from_secs(1).mul_f64(random)),
        }
    }

    /// Whether the rotation takes longer than the server normally needs.
    pub(crate) fn is_late(waited: Duration) -> bool {
        waited > LATE
    }
}

/// The old password is refused from the rotation on, so it is read often at first. A rotation that keeps
/// failing may do so for days, so the interval then grows with the wait.
fn poll_interval(waited: Duration) -> Duration {
    const FIRST: Duration = Duration::from_millis(500);
    (waited / 8).max(waited.min(UNDER_WAY)).clamp(FIRST, LONGEST_POLL)
}

#[cfg(test)]
mod tests;

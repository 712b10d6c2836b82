use std::time::Duration;

/// What a static role says of its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RotationSchedule {
    /// Until the next rotation.
    pub(crate) ttl: Duration,
    /// The server's time of the last rotation, as the server writes it.
    pub(crate) last: String,
}

/// A rotation that is this near may already be under way.
const UNDER_WAY: Duration = Duration::from_secs(2);

/// The server looks every 5 s whether a rotation is due, then takes a moment for it. A reading that
/// finds it not done yet shows that the password is still good.
const LATE: Duration = Duration::from_secs(10);

/// A rotation that was announced as over and is not seen for so long was skipped.
const SKIPPED: Duration = Duration::from_secs(900);

const LONGEST_POLL: Duration = Duration::from_secs(60);

impl RotationSchedule {
    /// Time until the password that was read is surely replaced.
    pub(crate) fn stale_in(&self, waited: Option<Duration>) -> Duration {
        match waited {
            // As long as the server has not rotated it, each reading confirms it until the next one.
            Some(waited) => LATE.max(poll(waited) * 2),
            None => self.ttl.saturating_add(LATE),
        }
    }

    /// Whether a rotation is under way. `before` is what was read last and how long ago; `waited` is how
    /// long a rotation has been waited for since, if it is.
    pub(crate) fn is_under_way(
        &self,
        before: Option<(&Self, Duration)>,
        waited: Option<Duration>,
    ) -> bool {
        if self.ttl <= UNDER_WAY {
            return true;
        }
        // The time of the next rotation may be reset before the password is: the same last rotation with
        // more time left than there should be (hashicorp/vault #31918). The wait ends with a new rotation,
        // or when this one was skipped, as outside of a `rotation_window`.
        before.is_some_and(|(before, ago)| {
            let expected = before.ttl.saturating_sub(ago);
            let reset_early = self.ttl > expected + UNDER_WAY;
            before.last == self.last && waited.map_or(reset_early, |waited| waited < SKIPPED)
        })
    }

    /// The wait until the password is read again. `waited` is how long a rotation that is under way has
    /// been waited for.
    pub(crate) fn next(&self, waited: Option<Duration>, random: f64) -> Duration {
        match waited {
            Some(waited) => poll(waited).mul_f64(0.5 + random / 2.0),
            None => self.ttl.saturating_add(Duration::from_secs(1).mul_f64(random)),
        }
    }

    /// A rotation that is waited for longer than the server takes for one is failing.
    pub(crate) fn is_late(waited: Duration) -> bool {
        waited > LATE
    }
}

/// Often at first, since the old password is refused from the rotation on; then in proportion to the wait
/// so far, since a rotation that keeps failing may do so for days.
fn poll(waited: Duration) -> Duration {
    const FIRST: Duration = Duration::from_millis(500);
    (waited / 8).max(waited.min(UNDER_WAY)).clamp(FIRST, LONGEST_POLL)
}

#[cfg(test)]
mod tests;

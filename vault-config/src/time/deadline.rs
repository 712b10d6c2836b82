use std::time::Duration;

use super::clock::Reading;

/// A moment measured by both clocks. It has passed as soon as it has passed by one of them, because a
/// suspended machine stops the monotonic clock and an administrator can set the wall clock back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    set_at: Reading,
    wait: Duration,
}

impl Deadline {
    /// The moment `wait` after `set_at`.
    pub(crate) fn new(set_at: Reading, wait: Duration) -> Self {
        Self { set_at, wait }
    }

    pub(crate) fn remaining(self, now: Reading) -> Duration {
        self.wait.saturating_sub(now.since(self.set_at))
    }

    /// Time since the deadline; zero before it.
    pub(crate) fn overdue_by(self, now: Reading) -> Duration {
        now.since(self.set_at).saturating_sub(self.wait)
    }

    pub(crate) fn has_passed(self, now: Reading) -> bool {
        self.remaining(now).is_zero()
    }
}

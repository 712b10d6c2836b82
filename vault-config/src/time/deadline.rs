use std::time::Duration;

use super::clock::Reading;

/// A moment by both clocks: it has come when either of them says so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    since: Reading,
    after: Duration,
}

impl Deadline {
    pub(crate) fn new(since: Reading, after: Duration) -> Self {
        Self { since, after }
    }

    pub(crate) fn remaining(self, now: Reading) -> Duration {
        self.after.saturating_sub(now.since(self.since))
    }

    pub(crate) fn overdue_by(self, now: Reading) -> Duration {
        now.since(self.since).saturating_sub(self.after)
    }

    pub(crate) fn has_come(self, now: Reading) -> bool {
        self.remaining(now).is_zero()
    }
}

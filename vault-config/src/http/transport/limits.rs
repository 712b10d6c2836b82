use std::time::Duration;

use crate::time::{Moment, NetworkClock};

/// How long a call may take with all its attempts, and when that time ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits<'a> {
    pub(crate) in_all: Duration,
    clock: &'a NetworkClock,
    deadline: Moment,
}

impl<'a> Limits<'a> {
    pub(in crate::http) fn new(clock: &'a NetworkClock, in_all: Duration) -> Self {
        Self { in_all, clock, deadline: clock.now() + in_all }
    }

    pub(crate) fn remaining(self) -> Duration {
        self.deadline.since(self.clock.now())
    }

    /// For one attempt that must leave time for others.
    pub(in crate::http) fn for_one_attempt(self, patience: Duration) -> Self {
        Self { deadline: self.deadline.min(self.clock.now() + patience), ..self }
    }

    /// `None` if the time is over first.
    pub(in crate::http) async fn within<T>(self, waiting: impl Future<Output = T>) -> Option<T> {
        self.clock.within(self.remaining(), waiting).await
    }
}

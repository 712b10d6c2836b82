//! The time, read from two clocks at once, and the seam through which tests replace both.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime};

/// A source of time that can be waited on. Implement it in a test and pass it to
/// [`VaultBuilder::clock`](crate::VaultBuilder::clock) to make a day of refreshing pass in a second.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The monotonic clock and the wall clock at the same moment.
    fn now(&self) -> Reading;

    /// Completes after `duration` of monotonic time. Time while the machine is suspended does not count.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The monotonic clock and the wall clock at the same moment.
///
/// The monotonic clock is never adjusted, but stops while the machine is suspended. The wall clock counts
/// suspended time, but can be adjusted. Neither is right alone, so a deadline has passed as soon as
/// it has passed by one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Time since a fixed moment, which any clock may choose for itself.
    pub monotonic: Duration,
    /// The time of day.
    pub wall: SystemTime,
}

impl Reading {
    /// The time from `earlier` to this reading, by the clock that counted more of it. Zero if `earlier` is later
    /// by both clocks.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let monotonic = self.monotonic.saturating_sub(earlier.monotonic);
        monotonic.max(self.wall.duration_since(earlier.wall).unwrap_or_default())
    }
}

/// The clocks of the machine: the default of [`VaultBuilder::clock`](crate::VaultBuilder::clock).
#[derive(Debug, Clone)]
pub struct SystemClock {
    origin: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Reading {
        Reading { monotonic: self.origin.elapsed(), wall: SystemTime::now() }
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

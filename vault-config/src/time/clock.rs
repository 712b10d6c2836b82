use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime};

/// Tells the time, and waits. Tests give one of their own to
/// [`VaultBuilder::clock`](crate::VaultBuilder::clock), so that a day passes in a second.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Both clocks at one moment.
    fn now(&self) -> Reading;

    /// Waits for `duration`, as the machine counts it: a suspended machine does not wait.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Two clocks at one moment. The monotonic clock is never set, and stands still while the machine
/// is suspended; the wall clock is the other way round. A deadline has come when either says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Time since any fixed moment.
    pub monotonic: Duration,
    /// The time of day.
    pub wall: SystemTime,
}

impl Reading {
    /// How long ago `earlier` was, by the clock that says longer.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let monotonic = self.monotonic.saturating_sub(earlier.monotonic);
        monotonic.max(self.wall.duration_since(earlier.wall).unwrap_or_default())
    }
}

/// The clocks of the machine.
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

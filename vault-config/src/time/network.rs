use std::future::{Future, poll_fn};
use std::ops::Add;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use tokio::task::unconstrained;

use super::clock::{Clock, SystemClock};

/// Measures and limits what is waited for from outside: the network, a disk, a server that starts.
///
/// It is not the clock that decides when a renewal is due: a test may replace that one and let a day pass at
/// once, while an answer over a socket still takes its real time.
#[derive(Debug, Clone)]
pub(crate) struct NetworkClock(Arc<dyn Clock>);

/// A moment of one [`NetworkClock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Duration);

impl NetworkClock {
    #[cfg(test)]
    pub(crate) fn by(clock: Arc<dyn Clock>) -> Self {
        Self(clock)
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(self.0.now().monotonic)
    }

    /// The time of day, for what is signed with it.
    #[cfg_attr(not(feature = "aws"), allow(dead_code))]
    pub(crate) fn wall(&self) -> SystemTime {
        self.0.now().wall
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration).await;
    }

    /// `None` if `limit` passes first.
    pub(crate) async fn within<T>(
        &self,
        limit: Duration,
        waiting: impl Future<Output = T>,
    ) -> Option<T> {
        let mut waiting = pin!(waiting);
        // Most requests wait for nothing here: a timer is made for those that do. It is outside of the runtime's
        // budget for a task, which a future that is always busy consumes.
        let mut timer = None;
        poll_fn(|context| {
            if let Poll::Ready(output) = waiting.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            let timer = timer.get_or_insert_with(|| unconstrained(self.0.sleep(limit)));
            pin!(timer).poll(context).map(|()| None)
        })
        .await
    }
}

impl Default for NetworkClock {
    fn default() -> Self {
        Self(Arc::new(SystemClock::default()))
    }
}

impl Moment {
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_ready_is_taken_even_without_time_left() {
        let clock = NetworkClock::default();
        assert_eq!(clock.within(Duration::ZERO, async { 1 }).await, Some(1));
        assert_eq!(clock.within(Duration::ZERO, std::future::pending::<()>()).await, None);
    }

    /// It takes all the work that the runtime allows a task before another one is polled.
    #[tokio::test]
    async fn what_is_always_busy_ends_at_the_limit() {
        let clock = NetworkClock::default();
        let began = clock.now();
        let busy = async {
            while clock.now().since(began) < Duration::from_secs(2) {
                tokio::task::consume_budget().await;
            }
        };
        assert_eq!(clock.within(Duration::from_millis(20), busy).await, None);
    }

    #[test]
    fn moments_are_apart_by_what_lies_between_them() {
        let now = NetworkClock::default().now();
        let later = now + Duration::from_secs(3);
        assert_eq!((later.since(now), now.since(later)), (Duration::from_secs(3), Duration::ZERO));
        assert!(later > now && now + Duration::MAX > later);
    }
}

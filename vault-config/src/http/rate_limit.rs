//! The client's own limit on requests, `rate[:burst]`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;

use super::lanes::Lane;
use crate::time::{Moment, NetworkClock};

/// At most `1 / interval` requests a second, after a first `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RateLimit {
    interval: Duration,
    burst: u32,
}

impl RateLimit {
    /// `10` or `10:20`, as the official client reads it; without a burst the burst is the rate.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "is not a rate such as 10, or a rate and a burst such as 10:20".to_owned();
        let (rate, burst) = text.trim().split_once(':').unwrap_or((text.trim(), ""));
        let rate: f64 = rate.parse().map_err(|_| wrong())?;
        if !(0.001..=1e6).contains(&rate) {
            return Err(wrong());
        }
        let burst = match burst {
            // With a burst of zero no request could ever be sent.
            "" => (rate as u32).max(1),
            text => text.parse().ok().filter(|burst| *burst > 0).ok_or_else(wrong)?,
        };
        Ok(Self { interval: Duration::from_secs_f64(1.0 / rate), burst })
    }
}

/// Decides when the next request may be sent, by the generic cell rate algorithm (ITU-T I.371).
#[derive(Debug, Default)]
struct RateLimiter {
    /// When all requests so far would be next_free at the plain rate, counted from the opening of the connection.
    next_free: Duration,
}

impl RateLimiter {
    /// Reserves a place for one request; `Err` is the wait until there is one.
    fn reserve(&mut self, limit: RateLimit, now: Duration) -> Result<(), Duration> {
        let ahead = limit.interval.saturating_mul(limit.burst - 1);
        let start = self.next_free.max(now);
        match start.saturating_sub(ahead).saturating_sub(now) {
            Duration::ZERO => {
                self.next_free = start + limit.interval;
                Ok(())
            }
            wait => Err(wait),
        }
    }
}

/// Requests pass it in the order of their arrival, those that keep credentials alive before those that read.
#[derive(Debug)]
pub(super) struct RateGate {
    limit: RateLimit,
    clock: NetworkClock,
    opened: Moment,
    limiter: Mutex<RateLimiter>,
    reads: AsyncMutex<()>,
    others: AsyncMutex<()>,
}

impl RateGate {
    pub(super) fn new(limit: RateLimit, clock: NetworkClock) -> Self {
        Self {
            limit,
            opened: clock.now(),
            clock,
            limiter: Mutex::default(),
            reads: AsyncMutex::default(),
            others: AsyncMutex::default(),
        }
    }

    /// Waits for a place. A request that stops waiting has reserved none.
    pub(super) async fn pass(&self, lane: Lane) {
        let queue = if lane == Lane::Read { &self.reads } else { &self.others };
        let _first = queue.lock().await;
        while let Err(wait) = self.reserve(lane) {
            self.clock.sleep(wait).await;
        }
    }

    fn reserve(&self, lane: Lane) -> Result<(), Duration> {
        if lane == Lane::Read && self.others.try_lock().is_err() {
            return Err(self.limit.interval);
        }
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        limiter.reserve(self.limit, self.clock.now().since(self.opened))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::JoinSet;

    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let limit = RateLimit::parse("10:3").unwrap();
        let mut limiter = RateLimiter::default();
        let mut wait = |millis| {
            let limiter = limiter.reserve(limit, Duration::from_millis(millis));
            limiter.err().unwrap_or_default().as_millis()
        };
        assert_eq!([wait(0), wait(0), wait(0), wait(0), wait(0)], [0, 0, 0, 100, 100]);
        assert_eq!([wait(99), wait(100), wait(100)], [1, 0, 100]);
        assert_eq!([wait(10_000), wait(10_000), wait(10_000), wait(10_000)], [0, 0, 0, 100]);
    }

    #[tokio::test]
    async fn renewals_have_priority_over_reads_that_wait() {
        let gate =
            Arc::new(RateGate::new(RateLimit::parse("20:1").unwrap(), NetworkClock::default()));
        let sent = Arc::new(Mutex::new(Vec::new()));
        let mut going = JoinSet::new();
        for lane in [Lane::Read; 5].into_iter().chain([Lane::Renew, Lane::Issue]) {
            let (gate, sent) = (Arc::clone(&gate), Arc::clone(&sent));
            going.spawn(async move {
                gate.pass(lane).await;
                sent.lock().unwrap().push(lane);
            });
        }
        going.join_all().await;
        let sent = sent.lock().unwrap();
        let [first, second] = [Lane::Renew, Lane::Issue];
        assert!(sent[..3].contains(&first) && sent[..3].contains(&second), "{sent:?}");
        assert_eq!(sent.len(), 7);
    }

    #[tokio::test]
    async fn what_stops_waiting_has_taken_no_place() {
        let gate = RateGate::new(RateLimit::parse("0.001:1").unwrap(), NetworkClock::default());
        gate.pass(Lane::Read).await;
        let next_free = gate.limiter.lock().unwrap().next_free;
        for _ in 0..3 {
            let waiting = gate.pass(Lane::Read);
            let waited = gate.clock.within(Duration::from_millis(1), waiting).await;
            assert!(waited.is_none());
        }
        assert_eq!(gate.limiter.lock().unwrap().next_free, next_free);
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in ["", "x", "0", "-1", "10:", "NaN", "inf", "10:0", "10:-1", "10:x", ":5"] {
            let parsed = RateLimit::parse(text);
            assert_eq!(parsed.is_err(), text != "10:", "{text}");
        }
        assert_eq!(RateLimit::parse("0.5").unwrap(), RateLimit::parse("0.5:1").unwrap());
    }
}

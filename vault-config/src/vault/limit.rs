//! The client's own limit on requests, `rate[:burst]`: no clock, no I/O.

use std::time::Duration;

/// At most `1 / interval` requests a second, after a first `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RateLimit {
    interval: Duration,
    burst: u32,
}

impl RateLimit {
    /// `10` or `10:20`, as the official client reads it; the burst is the rate when it is left out.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "is not a rate such as 10, or a rate and a burst such as 10:20".to_owned();
        let (rate, burst) = text.trim().split_once(':').unwrap_or((text.trim(), ""));
        let rate: f64 = rate.parse().map_err(|_| wrong())?;
        if !(0.001..=1e6).contains(&rate) {
            return Err(wrong());
        }
        let burst = match burst {
            // At least one, or nothing could ever be sent.
            "" => (rate as u32).max(1),
            text => text.parse().ok().filter(|burst| *burst > 0).ok_or_else(wrong)?,
        };
        Ok(Self { interval: Duration::from_secs_f64(1.0 / rate), burst })
    }
}

/// When the next request may go, by the generic cell rate algorithm (ITU-T I.371).
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Since the connection was made: when everything asked for so far would be done at the plain
    /// rate.
    done: Duration,
}

impl Taken {
    /// Takes one request's place and returns how long it has to wait.
    pub(crate) fn take(&mut self, limit: RateLimit, now: Duration) -> Duration {
        let ahead = limit.interval.saturating_mul(limit.burst - 1);
        let start = self.done.max(now);
        self.done = start + limit.interval;
        start.saturating_sub(ahead).saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let limit = RateLimit::parse("10:3").unwrap();
        let mut taken = Taken::default();
        let mut wait = |millis| taken.take(limit, Duration::from_millis(millis)).as_millis();
        assert_eq!([wait(0), wait(0), wait(0), wait(0), wait(0)], [0, 0, 0, 100, 200]);
        assert_eq!([wait(10_000), wait(10_000), wait(10_000), wait(10_000)], [0, 0, 0, 100]);
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

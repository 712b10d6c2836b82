//! How long to wait before a request is sent again, and how long one request may take.

use std::time::Duration;

const FIRST_RETRY: Duration = Duration::from_secs(1);
pub(super) const SHORTEST_RETRY: Duration = Duration::from_millis(50);
pub(super) const LONGEST_RETRY: Duration = Duration::from_secs(60);
const LONGEST_PROBE: Duration = Duration::from_secs(60);

/// Retries and probes of all sources together are at least this far apart, so that one failing server does
/// not receive a burst. Lives of less than a minute may be retried more often.
const RETRY_SPACING: Duration = Duration::from_secs(1);

/// The wait before the next attempt to renew or replace something that lives for `ttl` and is `age` old.
///
/// The wait doubles with each failure, and half of it is random. A short life has little time for attempts,
/// so its waits are shorter. Something that has expired already loses nothing more by waiting, so its waits
/// grow with the time since its expiry.
pub(super) fn lifetime_retry(failures: u32, ttl: Duration, age: Duration, random: f64) -> Duration {
    let first = match ttl {
        Duration::ZERO => FIRST_RETRY,
        _ => (ttl / 30).clamp(SHORTEST_RETRY, FIRST_RETRY),
    };
    let overdue = age.saturating_sub(ttl);
    let longest = match ttl {
        Duration::ZERO => LONGEST_RETRY,
        _ => (ttl / 12).max(overdue / 4).clamp(first, LONGEST_RETRY),
    };
    doubled(first, failures).min(longest).mul_f64(0.5 + random / 2.0)
}

/// The wait before the next attempt to read something without a lifetime, such as a KV secret. It is never
/// longer than `interval`, in which the secret would be read again anyway.
pub(crate) fn read_retry(failures: u32, interval: Duration, random: f64) -> Duration {
    let wait = lifetime_retry(failures, Duration::ZERO, Duration::ZERO, random);
    wait.min(interval.max(FIRST_RETRY))
}

/// How much is lost if an outage continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Urgency {
    /// Time until the first token or lease expires.
    pub(crate) expires_in: Duration,
    /// The least time between two requests. A short life needs shorter spacing.
    pub(crate) spacing: Duration,
    /// Something has expired, or less than a quarter of its life remains.
    pub(crate) is_high: bool,
}

impl Urgency {
    pub(crate) const NONE: Self =
        Self { expires_in: Duration::MAX, spacing: RETRY_SPACING, is_high: false };
    pub(crate) const EXPIRED: Self =
        Self { expires_in: Duration::MAX, spacing: RETRY_SPACING, is_high: true };

    pub(crate) fn from_remaining(remaining: Duration, life: Duration) -> Self {
        match remaining {
            Duration::ZERO => Self::EXPIRED,
            expires_in => Self {
                expires_in,
                spacing: (life / 60).clamp(SHORTEST_RETRY, RETRY_SPACING),
                is_high: remaining <= life / 4,
            },
        }
    }

    /// The more urgent of both, in each respect.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            expires_in: self.expires_in.min(other.expires_in),
            spacing: self.spacing.min(other.spacing),
            is_high: self.is_high || other.is_high,
        }
    }
}

/// The wait before an unreachable server is probed again: it grows to about a minute, and to half of that
/// when something has expired or expires soon. It is at most a quarter of the time until the next expiry, so
/// that several probes fall before it.
pub(crate) fn probe(failures: u32, urgency: Urgency, random: f64) -> Duration {
    let longest = if urgency.is_high { LONGEST_PROBE / 2 } else { LONGEST_PROBE };
    let wait = FIRST_RETRY.saturating_mul(3u32.saturating_pow(failures.saturating_sub(1)));
    let wait = wait.min(longest).mul_f64(0.75 + random / 2.0);
    wait.min((urgency.expires_in / 4).max(urgency.spacing))
}

/// The wait before a refused login is tried again. Five wrong secrets within fifteen minutes lock an
/// account: <https://openbao.org/docs/concepts/user-lockout/>. All instances with the same account share
/// that limit, so each instance sends at most one wrong secret in that time.
pub(crate) fn refused_login(locks_account: bool, refusals: u32, random: f64) -> Duration {
    let minutes = match (locks_account, refusals) {
        (false, _) => 1,
        (true, 0 | 1) => 20,
        (true, 2) => 60,
        (true, _) => 240,
    };
    Duration::from_secs(60 * minutes).mul_f64(1.0 + random / 10.0)
}

/// How long one background request may take. A lease with a short life cannot wait a minute for a response,
/// so the limit is a sixth of its life. The limit grows with each failure up to a third of the life, because
/// the server may be slow and not gone.
pub(crate) fn request_timeout(
    life: Option<Duration>,
    failures: u32,
    longest: Duration,
) -> Duration {
    const SHORTEST: Duration = Duration::from_millis(500);
    match life {
        None | Some(Duration::ZERO) => longest,
        Some(life) => {
            let first = (life / 6).max(SHORTEST);
            let extended = first.saturating_mul(failures.saturating_add(1));
            extended.min((life / 3).max(SHORTEST * 2)).min(longest)
        }
    }
}

fn doubled(first: Duration, failures: u32) -> Duration {
    first.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)))
}

#[cfg(test)]
mod tests;

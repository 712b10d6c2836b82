use std::time::Duration;

const FIRST_RETRY: Duration = Duration::from_secs(1);
pub(super) const SHORTEST_RETRY: Duration = Duration::from_millis(50);
pub(super) const LONGEST_RETRY: Duration = Duration::from_secs(60);
const LONGEST_PROBE: Duration = Duration::from_secs(60);

/// The wait before another attempt for what lives for `ttl` and is `age` old: doubled each time, half
/// of it random. Short lives have little time; what is overdue has lost it already, and waits in
/// proportion.
pub(super) fn retry(failures: u32, ttl: Duration, age: Duration, random: f64) -> Duration {
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

/// The wait before what has no life of its own, such as a KV secret, is tried again.
pub(crate) fn retry_read(failures: u32, every: Duration, random: f64) -> Duration {
    retry(failures, Duration::ZERO, Duration::ZERO, random).min(every.max(FIRST_RETRY))
}

/// What an outage costs when it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Urgency {
    /// When the first token or lease ends.
    pub(crate) ends_in: Duration,
    /// How often it may be asked at most: short lives have little time.
    pub(crate) spacing: Duration,
    /// Something has ended, or less than a quarter of its life remains.
    pub(crate) is_high: bool,
}

/// Requests that repeat what failed, and probes, are never closer together than this, but for lives of less
/// than a minute.
const SPACING: Duration = Duration::from_secs(1);

impl Urgency {
    pub(crate) const NONE: Self = Self { ends_in: Duration::MAX, spacing: SPACING, is_high: false };
    pub(crate) const ENDED: Self = Self { ends_in: Duration::MAX, spacing: SPACING, is_high: true };

    /// Of what lives for `life`, of which `remaining` remains.
    pub(crate) fn of(remaining: Duration, life: Duration) -> Self {
        match remaining {
            Duration::ZERO => Self::ENDED,
            ends_in => Self {
                ends_in,
                spacing: (life / 60).clamp(SHORTEST_RETRY, SPACING),
                is_high: remaining <= life / 4,
            },
        }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            ends_in: self.ends_in.min(other.ends_in),
            spacing: self.spacing.min(other.spacing),
            is_high: self.is_high || other.is_high,
        }
    }
}

/// The wait before a Vault that is away is asked again: about a minute, half of it when something ends soon
/// or has ended, and never so long that what ends next could not be saved.
pub(crate) fn probe(failures: u32, urgency: Urgency, random: f64) -> Duration {
    let longest = if urgency.is_high { LONGEST_PROBE / 2 } else { LONGEST_PROBE };
    let wait = FIRST_RETRY.saturating_mul(3u32.saturating_pow(failures.saturating_sub(1)));
    let wait = wait.min(longest).mul_f64(0.75 + random / 2.0);
    wait.min((urgency.ends_in / 4).max(urgency.spacing))
}

/// The wait before a login that was refused is tried again. Five wrong secrets within fifteen minutes
/// lock an account: <https://openbao.org/docs/concepts/user-lockout/>. Instances that share the account
/// share that limit, so each stays at one attempt in that time.
pub(crate) fn refused_login(locks_account: bool, refusals: u32, random: f64) -> Duration {
    let minutes = match (locks_account, refusals) {
        (false, _) => 1,
        (true, 0 | 1) => 20,
        (true, 2) => 60,
        (true, _) => 240,
    };
    Duration::from_secs(60 * minutes).mul_f64(1.0 + random / 10.0)
}

/// How long one request of the background may take: what is left of a short life does not wait a
/// minute for an answer. A server that is slow, and not gone, is waited for longer each time.
pub(crate) fn patience(ttl: Option<Duration>, failures: u32, longest: Duration) -> Duration {
    const SHORTEST: Duration = Duration::from_millis(500);
    match ttl {
        None | Some(Duration::ZERO) => longest,
        Some(ttl) => {
            let first = (ttl / 6).max(SHORTEST);
            let more = first.saturating_mul(failures.saturating_add(1));
            more.min((ttl / 3).max(SHORTEST * 2)).min(longest)
        }
    }
}

fn doubled(first: Duration, failures: u32) -> Duration {
    first.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)))
}

#[cfg(test)]
mod tests;

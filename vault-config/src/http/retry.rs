//! Whether to retry, and after which wait: no clock, no I/O.

use std::time::{Duration, SystemTime};

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);
const LONGEST_AT_START: Duration = Duration::from_secs(2);

/// How one attempt outcome, as far as it decides about another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptOutcome {
    /// No connection was made: the request cannot have arrived.
    NotSent,
    /// The connection broke or timed out after the request may have arrived.
    Broken,
    /// A retry cannot help.
    Hopeless,
    /// Not sent, because the server had asked to wait.
    Deferred,
    Status {
        code: u16,
        /// Vault itself says that it did not process the request. A proxy may answer 503 after Vault did.
        not_processed: bool,
    },
    /// The mount is being upgraded to KV version 2: a 400 that passes.
    Upgrading,
}

/// Whether a request may be repeated after it may have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idempotency {
    Safe,
    /// It may consume something that works once, such as a secret_id, or issue a credential.
    AtMostOnce,
}

/// How many attempts a request has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Attempts {
    /// As many as the connection is configured for, with back-off.
    #[default]
    Configured,
    /// One at each node of a cluster at most. The caller decides when to try again.
    Single,
}

impl AttemptOutcome {
    /// Whether another node of the cluster may succeed.
    pub(crate) fn is_of_the_node(self) -> bool {
        match self {
            Self::NotSent | Self::Broken | Self::Deferred => true,
            Self::Status { code, .. } => matches!(code, 472 | 500..=599),
            Self::Hopeless | Self::Upgrading => false,
        }
    }
}

impl Idempotency {
    /// The limit on one attempt while other nodes are left.
    pub(crate) fn patience(self) -> Duration {
        match self {
            Self::Safe => Duration::from_secs(5),
            // It must not be sent to another node afterwards.
            Self::AtMostOnce => Duration::MAX,
        }
    }
}

/// The wait before the next attempt, or `None` if this one was the last.
///
/// `random` is in `0.0..1.0`: full jitter, so that instances started together do not return
/// together. `left` is what remains of the time for all attempts. `pause` is what the server asked
/// to wait: one that asks for nothing, `Retry-After: 0`, still means "later".
pub(crate) fn wait(
    outcome: AttemptOutcome,
    idempotency: Idempotency,
    tries: u32,
    max_retries: u32,
    random: f64,
    left: Duration,
    pause: Duration,
) -> Option<Duration> {
    if tries > max_retries || !worth_another(outcome, idempotency) {
        return None;
    }
    let ceiling = FIRST.saturating_mul(2u32.saturating_pow(tries.saturating_sub(1))).min(LONGEST);
    let wait = pause.saturating_add(ceiling.mul_f64(random.clamp(0.0, 1.0)));
    (wait < left).then_some(wait)
}

/// The wait before a server that is starting is tried again, or `None` at the deadline.
pub(crate) fn startup_wait(tries: u32, random: f64, left: Duration) -> Option<Duration> {
    let ceiling = FIRST.saturating_mul(2u32.saturating_pow(tries)).min(LONGEST_AT_START);
    // At least half of it: many early requests would slow the start down.
    let wait = ceiling.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0);
    (!left.is_zero()).then_some(wait.min(left))
}

/// `Retry-After`: seconds or a date, RFC 9110 section 10.2.3. A date in the past is no wait.
pub(crate) fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text.trim()).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

pub(crate) fn worth_another(outcome: AttemptOutcome, idempotency: Idempotency) -> bool {
    let passes = match outcome {
        AttemptOutcome::NotSent | AttemptOutcome::Deferred | AttemptOutcome::Upgrading => {
            return true;
        }
        AttemptOutcome::Hopeless => return false,
        AttemptOutcome::Broken => true,
        AttemptOutcome::Status { not_processed: true, .. } => return true,
        AttemptOutcome::Status { code: 501, .. } => false,
        AttemptOutcome::Status { code, .. } => matches!(code, 412 | 429 | 472 | 473 | 500..=599),
    };
    passes && idempotency == Idempotency::Safe
}

/// Statuses that a gateway answers if the server behind it does not answer in time. 520, 522 and 524 are Cloudflare's.
pub(crate) fn is_lost_behind_a_gateway(status: u16) -> bool {
    matches!(status, 502 | 504 | 520 | 522 | 524)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn wait(
        outcome: AttemptOutcome,
        idempotency: Idempotency,
        tries: u32,
        max: u32,
        random: f64,
    ) -> Option<Duration> {
        super::wait(outcome, idempotency, tries, max, random, LONG, Duration::ZERO)
    }

    fn status(code: u16) -> AttemptOutcome {
        AttemptOutcome::Status { code, not_processed: false }
    }

    #[test]
    fn the_statuses_that_pass_are_tried_again_and_no_others() {
        for code in 100..600 {
            let again = wait(status(code), Idempotency::Safe, 1, 2, 0.5).is_some();
            let expected =
                matches!(code, 412 | 429 | 472 | 473) || (500..600).contains(&code) && code != 501;
            assert_eq!(again, expected, "{code}");
        }
    }

    #[test]
    fn what_can_be_used_once_is_not_sent_twice() {
        for (outcome, again) in [
            (AttemptOutcome::NotSent, true),
            (AttemptOutcome::Broken, false),
            (status(500), false),
            (status(502), false),
            (status(504), false),
            (status(503), false),
            (status(429), false),
            (AttemptOutcome::Status { code: 503, not_processed: true }, true),
            (AttemptOutcome::Deferred, true),
        ] {
            assert_eq!(
                wait(outcome, Idempotency::AtMostOnce, 1, 2, 0.5).is_some(),
                again,
                "{outcome:?}"
            );
        }
    }

    #[test]
    fn an_untrusted_certificate_is_never_tried_again() {
        assert_eq!(wait(AttemptOutcome::Hopeless, Idempotency::Safe, 1, 9, 0.0), None);
    }

    #[test]
    fn the_wait_grows_jitters_and_is_bounded() {
        let at = |tries, random| {
            wait(AttemptOutcome::NotSent, Idempotency::Safe, tries, 99, random).unwrap()
        };
        assert_eq!(at(1, 0.0), Duration::ZERO);
        assert_eq!(at(1, 1.0), FIRST);
        assert_eq!(at(3, 1.0), FIRST * 4);
        assert_eq!(at(40, 1.0), LONGEST);
    }

    #[test]
    fn waiting_for_a_server_ends_at_the_deadline() {
        assert_eq!(startup_wait(1, 0.5, Duration::ZERO), None);
        assert_eq!(startup_wait(9, 1.0, Duration::from_millis(7)), Some(Duration::from_millis(7)));
        assert_eq!(startup_wait(40, 1.0, LONG), Some(LONGEST_AT_START));
        assert_eq!(startup_wait(1, 0.0, LONG), Some(FIRST));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (text, seconds) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:27 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn a_pause_is_kept_and_the_deadline_wins() {
        for outcome in [status(429), status(503), AttemptOutcome::Deferred] {
            let wait = |seconds, tries, random| {
                let pause = Duration::from_secs(seconds);
                super::wait(outcome, Idempotency::Safe, tries, 9, random, LONG, pause)
            };
            assert_eq!(wait(u64::MAX, 4, 1.0), None);
            assert!(wait(3, 1, 0.0).unwrap() >= Duration::from_secs(3));
            assert!(wait(3, 1, 1.0).unwrap() > Duration::from_secs(3));
            assert_eq!(wait(61, 1, 0.0), None);
            assert_eq!(wait(0, 10, 0.0), None);
        }
    }

    #[test]
    fn an_attempt_leaves_time_for_other_nodes_only_if_they_may_be_asked() {
        assert_eq!(Idempotency::Safe.patience(), Duration::from_secs(5));
        assert_eq!(Idempotency::AtMostOnce.patience(), Duration::MAX);
    }
}

//! How long a node asked not to be sent requests, by `Retry-After`. No clock, no I/O.

use std::time::Duration;

use crate::time::clock::Reading;

/// A broken gateway must not silence a client for longer than this.
const LONGEST: Duration = Duration::from_secs(3600);

/// The time since which a node asks to wait, and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pause {
    since: Reading,
    lasts: Duration,
}

impl Pause {
    /// The rest of the pause; `None` once it is over.
    pub(super) fn remaining(self, now: Reading) -> Option<Duration> {
        self.lasts.checked_sub(now.since(self.since)).filter(|left| !left.is_zero())
    }

    /// The pause after another answer that asks for one: the longer rest wins, so that a late answer does not
    /// shorten a newer pause.
    pub(super) fn extended(before: Option<Self>, now: Reading, asked: Duration) -> Option<Self> {
        let lasts = asked.min(LONGEST);
        let left = before.and_then(|pause| pause.remaining(now)).unwrap_or_default();
        if left >= lasts { before } else { Some(Self { since: now, lasts }) }
    }
}

/// The shortest of these pauses; `None` if one of the nodes accepts requests.
pub(super) fn soonest(left: impl Iterator<Item = Option<Duration>>) -> Option<Duration> {
    left.min().flatten()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn at(seconds: u64) -> Reading {
        let monotonic = Duration::from_secs(seconds);
        Reading { monotonic, wall: SystemTime::UNIX_EPOCH + monotonic }
    }

    fn asked(before: Option<Pause>, now: u64, seconds: u64) -> Option<Pause> {
        Pause::extended(before, at(now), Duration::from_secs(seconds))
    }

    fn left(pause: Option<Pause>, now: u64) -> Option<u64> {
        pause.and_then(|pause| pause.remaining(at(now))).map(|left| left.as_secs())
    }

    #[test]
    fn it_lasts_as_long_as_was_asked_and_an_hour_at_most() {
        let pause = asked(None, 10, 600);
        assert_eq!([left(pause, 10), left(pause, 609)], [Some(600), Some(1)]);
        assert_eq!([left(pause, 610), left(pause, 99_999)], [None, None]);
        assert_eq!(left(asked(None, 10, u64::MAX), 10), Some(3600));
        assert_eq!(left(asked(None, 10, 0), 10), None);
    }

    #[test]
    fn the_later_end_holds() {
        let long = asked(None, 0, 600);
        assert_eq!(left(asked(long, 100, 1), 100), Some(500));
        assert_eq!(left(asked(long, 100, 0), 100), Some(500));
        assert_eq!(left(asked(long, 100, 501), 100), Some(501));
        assert_eq!(left(asked(long, 700, 1), 700), Some(1));
    }

    #[test]
    fn a_suspended_machine_and_a_clock_that_is_set_back_end_it_in_time() {
        let pause = asked(None, 100, 60);
        let suspended = Reading { wall: at(160).wall, ..at(101) };
        let set_back = Reading { wall: at(5).wall, ..at(160) };
        for now in [suspended, set_back] {
            assert_eq!(pause.and_then(|pause| pause.remaining(now)), None);
        }
    }

    #[test]
    fn one_node_that_may_be_asked_is_enough() {
        let [short, long] = [5, 9].map(|seconds| Some(Duration::from_secs(seconds)));
        assert_eq!(soonest([long, short].into_iter()), short);
        assert_eq!(soonest([long, None, short].into_iter()), None);
    }
}

use super::*;

/// Instances that share an account share its limit of five refusals within fifteen minutes.
#[test]
fn a_wrong_secret_is_sent_once_in_the_time_that_locks_an_account() {
    for refusals in [0, 1, 2, 3, u32::MAX] {
        for random in [0.0, 1.0] {
            let wait = refused_login(true, refusals, random);
            assert!(wait > Duration::from_secs(15 * 60), "{refusals}: {wait:?}");
            let wait = refused_login(false, refusals, random);
            assert!(wait >= Duration::from_secs(60) && wait <= Duration::from_secs(66));
        }
    }
}

#[test]
fn a_server_that_is_away_is_asked_once_a_minute_or_twice() {
    for failures in [1, 5, 6, 40, u32::MAX] {
        for random in [0.0, 1.0] {
            let calm = probe(failures, Urgency::NONE, random);
            let urgent = probe(failures, Urgency::EXPIRED, random);
            assert!(calm <= LONGEST_PROBE * 5 / 4 && urgent <= LONGEST_PROBE * 5 / 8);
            assert!(urgent <= calm, "{failures}");
            assert!(failures == 1 || urgent >= LONGEST_PROBE / 3, "{failures}: {urgent:?}");
        }
    }
}

#[test]
fn what_ends_next_can_still_be_saved() {
    for life in [3, 10, 60, 3600].map(Duration::from_secs) {
        for part in [1.0, 0.9, 0.5, 0.2, 0.1] {
            let remaining = life.mul_f64(part);
            let wait = probe(40, Urgency::from_remaining(remaining, life), 1.0);
            assert!(wait <= remaining / 4 + Duration::from_secs(1), "{life:?}, {part}: {wait:?}");
            let shortest = (life / 60).min(Duration::from_secs(1));
            assert!(wait >= shortest, "{life:?}, {part}: {wait:?}");
        }
    }
}

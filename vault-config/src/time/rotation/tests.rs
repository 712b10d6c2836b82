use super::*;

fn schedule(ttl: u64, last: &str) -> RotationSchedule {
    RotationSchedule { ttl: Duration::from_secs(ttl), last: last.to_owned() }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_password_is_read_just_after_its_rotation() {
    let hourly = schedule(3600, "1");
    assert!(!hourly.is_under_way(None, None));
    let wait = hourly.next_read_in(None, 0.5);
    assert!(wait > 3600 * SECOND && wait < 3602 * SECOND, "{wait:?}");
}

#[test]
fn a_rotation_is_under_way_until_there_is_a_new_one() {
    // The rotation is due and not done yet: the server reports 0 for a while.
    assert!(schedule(0, "1").is_under_way(None, None));
    let before = schedule(10, "1");
    let ago = Some((&before, 10 * SECOND));
    // The server announced the next rotation before it changed the password.
    assert!(schedule(3600, "1").is_under_way(ago, None));
    assert!(!schedule(3600, "2").is_under_way(ago, None), "it is done");
    // The same at the next reads, which no longer see a difference in the announced time.
    let before = schedule(3600, "1");
    let ago = Some((&before, 2 * SECOND));
    assert!(schedule(3598, "1").is_under_way(ago, Some(20 * SECOND)));
    assert!(!schedule(3598, "1").is_under_way(ago, None), "nothing was waited for");
    assert!(!schedule(3000, "1").is_under_way(ago, Some(SKIPPED)), "it was skipped");
    assert!(schedule(0, "1").is_under_way(ago, Some(SKIPPED)), "it keeps failing");
}

/// A rotation that is late by any time is noticed within an eighth of that time, and a rotation that fails
/// for days costs one read a minute.
#[test]
fn a_late_rotation_is_polled_in_proportion() {
    for seed in 0..200 {
        let random = &mut fastrand::Rng::with_seed(seed);
        let (mut waited, mut readings) = (Duration::ZERO, 0);
        while waited < 3600 * SECOND {
            let wait =
                RotationSchedule::next_read_in(&schedule(0, "1"), Some(waited), random.f64());
            assert!(wait <= (waited / 8).max(2 * SECOND).min(60 * SECOND), "{waited:?}: {wait:?}");
            assert!(wait >= SECOND / 4, "{waited:?}: {wait:?}");
            waited += wait;
            readings += 1;
        }
        assert!(readings < 160, "{readings} readings in an hour");
    }
}

/// The password counts as stale only if the next read does not happen in time.
#[test]
fn a_password_is_good_until_the_reading_after_next() {
    for waited in [0, 1, 10, 100, 1000, 100_000].map(|seconds| seconds * SECOND) {
        let rotation = schedule(0, "1");
        assert!(rotation.stale_in(Some(waited)) >= 2 * rotation.next_read_in(Some(waited), 1.0));
    }
    assert_eq!(schedule(60, "1").stale_in(None), 70 * SECOND);
}

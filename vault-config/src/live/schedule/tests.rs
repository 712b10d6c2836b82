//! Properties, over many lives made by chance. Every message names the seed that is_retry it.

use std::time::SystemTime;

use super::*;

const SEEDS: u64 = 20_000;
const DAY: Duration = Duration::from_secs(24 * 3600);

fn at(since_start: Duration) -> Reading {
    Reading { monotonic: since_start, wall: SystemTime::UNIX_EPOCH + since_start }
}

/// From a second to a month, small ones as often as large ones.
fn any_ttl(random: &mut fastrand::Rng) -> Duration {
    let exponent = random.f64() * f64::ln(30.0 * DAY.as_secs_f64());
    Duration::from_secs(exponent.exp().max(1.0) as u64)
}

/// A role whose leases are gone as soon as they are made, whatever their time to live.
#[test]
fn what_never_lasts_is_made_a_few_times_in_ten_minutes() {
    for seed in 0..200 {
        let random = &mut fastrand::Rng::with_seed(seed);
        let life = any_ttl(random).max(Duration::from_secs(600));
        let mut budget = IssueBudget::default();
        let (mut now, mut made, mut minted) = (Duration::ZERO, Duration::ZERO, Vec::new());
        while now < DAY {
            match budget.allows(at(now), now - made, Some(life)) {
                Ok(()) => {
                    minted.push(now);
                    made = now;
                    now += Duration::from_millis(random.u64(1..5000));
                }
                Err(wait) => {
                    assert!(!wait.is_zero(), "seed {seed}");
                    now += wait;
                }
            }
        }
        for (index, first) in minted.iter().enumerate() {
            let within = |at: &&Duration| **at - *first < WINDOW;
            let count = minted.iter().skip(index).take_while(within).count();
            // In turn, a life of ten minutes gives three more.
            assert!(count <= 2 * EARLY + 1, "seed {seed}: {count} in ten minutes");
        }
    }
}

/// Answers that are lost on the way may each have made a credential.
#[test]
fn lost_answers_are_counted_too() {
    let mut budget = IssueBudget::default();
    let (mut now, mut asked) = (Duration::ZERO, 0);
    while now < WINDOW {
        match budget.allows(at(now), DAY, Some(DAY)) {
            Ok(()) => {
                asked += 1;
                budget.unanswered(at(now));
                now += Duration::from_millis(100);
            }
            Err(wait) => now += wait,
        }
    }
    assert_eq!(asked, UNANSWERED);
}

/// Somebody who asks again and again in an outage has what he asks for as soon as it is over.
#[test]
fn what_was_refused_is_not_counted() {
    let mut budget = IssueBudget::default();
    for second in 0..100 {
        let now = at(Duration::from_secs(second));
        assert_eq!(budget.allows(now, Duration::ZERO, Some(DAY)), Ok(()), "{second}");
        budget.failed();
    }
    let now = at(Duration::from_secs(100));
    let made = std::iter::repeat_with(|| budget.allows(now, Duration::ZERO, Some(DAY)));
    assert_eq!(made.take(10).filter(Result::is_ok).count(), EARLY);
}

#[test]
fn metadata_that_was_refused_is_looked_at_again_at_every_twelfth_reading() {
    let mut looking = MetadataProbe::default();
    let mut looked = Vec::new();
    for reading in 0..40 {
        let looks = looking.is_worth_it();
        looked.extend(looks.then_some(reading));
        let may_look = reading >= 30;
        looking.was_read(looks.then_some(may_look));
    }
    assert_eq!(looked, [0, 12, 24, 36, 37, 38, 39]);
}

#[test]
fn secrets_are_read_again_in_time_and_not_all_together() {
    let every = Duration::from_secs(300);
    for seed in 0..SEEDS {
        let random = &mut fastrand::Rng::with_seed(seed);
        let (first, later) =
            (reread(every, true, random.f64()), reread(every, false, random.f64()));
        assert!(first >= every / 10 && first <= every, "seed {seed}: {first:?}");
        assert!(later >= every.mul_f64(0.9) && later <= every.mul_f64(1.1), "seed {seed}");
    }
}

//! Properties, over many lives made by chance. Every message names the seed that is_retry it.

use std::time::SystemTime;

use super::*;

const SEEDS: u64 = 20_000;
const DAY: Duration = Duration::from_secs(24 * 3600);

fn at(since_start: Duration) -> Reading {
    Reading { monotonic: since_start, wall: SystemTime::UNIX_EPOCH + since_start }
}

/// From a second to a month, uniform on a logarithmic scale.
fn any_ttl(random: &mut fastrand::Rng) -> Duration {
    let exponent = random.f64() * f64::ln(30.0 * DAY.as_secs_f64());
    Duration::from_secs(exponent.exp().max(1.0) as u64)
}

/// The leases of a role are revoked as soon as they are issued, whatever their time to live.
#[test]
fn what_never_lasts_is_made_a_few_times_in_ten_minutes() {
    for seed in 0..200 {
        let random = &mut fastrand::Rng::with_seed(seed);
        let life = any_ttl(random).max(Duration::from_secs(600));
        let mut budget = IssueBudget::default();
        let (mut now, mut issued_at, mut issued) = (Duration::ZERO, Duration::ZERO, Vec::new());
        while now < DAY {
            match budget.try_spend(at(now), now - issued_at, Some(life)) {
                Ok(()) => {
                    issued.push(now);
                    issued_at = now;
                    now += Duration::from_millis(random.u64(1..5000));
                }
                Err(wait) => {
                    assert!(!wait.is_zero(), "seed {seed}");
                    now += wait;
                }
            }
        }
        for (index, first) in issued.iter().enumerate() {
            let within = |at: &&Duration| **at - *first < WINDOW;
            let count = issued.iter().skip(index).take_while(within).count();
            // Replacements in turn add three more for a life of ten minutes.
            assert!(count <= 2 * MAX_EARLY_ISSUES + 1, "seed {seed}: {count} in ten minutes");
        }
    }
}

/// Each lost response may have left a credential at the server.
#[test]
fn lost_answers_are_counted_too() {
    let mut budget = IssueBudget::default();
    let (mut now, mut asked) = (Duration::ZERO, 0);
    while now < WINDOW {
        match budget.try_spend(at(now), DAY, Some(DAY)) {
            Ok(()) => {
                asked += 1;
                budget.record_lost_response(at(now));
                now += Duration::from_millis(100);
            }
            Err(wait) => now += wait,
        }
    }
    assert_eq!(asked, MAX_LOST_RESPONSES);
}

/// Repeated refreshes during an outage do not spend the budget, so the first one after it succeeds.
#[test]
fn what_was_refused_is_not_counted() {
    let mut budget = IssueBudget::default();
    for second in 0..100 {
        let now = at(Duration::from_secs(second));
        assert_eq!(budget.try_spend(now, Duration::ZERO, Some(DAY)), Ok(()), "{second}");
        budget.refund();
    }
    let now = at(Duration::from_secs(100));
    let attempts = std::iter::repeat_with(|| budget.try_spend(now, Duration::ZERO, Some(DAY)));
    assert_eq!(attempts.take(10).filter(Result::is_ok).count(), MAX_EARLY_ISSUES);
}

#[test]
fn refused_metadata_is_probed_again_at_every_twelfth_read() {
    let mut probe = MetadataProbe::default();
    let mut tried = Vec::new();
    for reading in 0..40 {
        let tries = probe.is_worth_it();
        tried.extend(tries.then_some(reading));
        let is_allowed = reading >= 30;
        probe.record_read(tries.then_some(is_allowed));
    }
    assert_eq!(tried, [0, 12, 24, 36, 37, 38, 39]);
}

#[test]
fn secrets_are_read_again_in_time_and_not_all_together() {
    let interval = Duration::from_secs(300);
    for seed in 0..SEEDS {
        let random = &mut fastrand::Rng::with_seed(seed);
        let (first, later) =
            (first_read(interval, random.f64()), regular_read(interval, random.f64()));
        assert!(first >= interval / 10 && first <= interval, "seed {seed}: {first:?}");
        assert!(later >= interval.mul_f64(0.9) && later <= interval.mul_f64(1.1), "seed {seed}");
    }
}

//! Properties, checked over many random lives. Each failure message names the seed that repeats it.

use std::time::SystemTime;

use super::super::backoff::{LONGEST_RETRY, SHORTEST_RETRY};
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

/// How a server treats one lease or token.
struct Server {
    max: Duration,
    /// The percentage of renewals that fail.
    failing: u32,
}

impl Server {
    fn renews(&self, age: Duration, ttl: Duration, random: &mut fastrand::Rng) -> Option<Duration> {
        let granted = ttl.min(self.max.saturating_sub(age));
        let whole = Duration::from_secs(granted.as_secs());
        (random.u32(0..100) >= self.failing && !whole.is_zero()).then_some(whole)
    }
}

#[test]
fn nothing_is_renewed_after_its_end_and_every_replacement_begins_before_it() {
    for seed in 0..SEEDS {
        let random = &mut fastrand::Rng::with_seed(seed);
        let ttl = any_ttl(random);
        let server = Server {
            max: ttl.mul_f64(1.0 + random.f64() * 20.0),
            failing: *random.choice(&[0, 0, 30, 90, 100]).unwrap(),
        };
        let renewable = random.u32(0..10) > 0;
        let mut now = Duration::ZERO;
        let mut lifetime = Lifetime::new(at(now), ttl, ttl, renewable, random.f64());
        let mut end = ttl;
        for _ in 0..10_000 {
            let (step, wait) = lifetime.next_step(at(now)).unwrap();
            now += wait;
            assert_eq!(lifetime.due_step(at(now)), Some(step), "seed {seed}");
            assert!(now < end, "seed {seed}: {step:?} at {now:?}, the end is {end:?}");
            if step == LifetimeStep::Replace {
                break;
            }
            assert!(renewable, "seed {seed}");
            match server.renews(now, ttl, random) {
                Some(granted) => {
                    lifetime.renewed(at(now), granted, random.f64());
                    end = now + granted;
                }
                None => fail(&mut lifetime, now, random.f64()),
            }
        }
    }
}

/// The server revokes a lease together with its token. Both are replaced before the earlier expiry.
#[test]
fn a_lease_is_replaced_before_the_sooner_of_its_own_end_and_its_tokens() {
    for seed in 0..SEEDS {
        let random = &mut fastrand::Rng::with_seed(seed);
        let (of_token, of_lease) = (any_ttl(random), any_ttl(random));
        let token = Lifetime::new(at(Duration::ZERO), of_token, of_token, false, random.f64());
        let lease = Lifetime::new(at(Duration::ZERO), of_lease, of_lease, false, random.f64());
        let first = |lifetime: &Lifetime| lifetime.next_step(at(Duration::ZERO)).unwrap().1;
        let replaced = first(&token).min(first(&lease));
        assert!(replaced < of_token.min(of_lease), "seed {seed}");
    }
}

#[test]
fn a_truncated_renewal_is_replaced_at_once_and_a_full_one_is_not() {
    for seed in 0..SEEDS {
        let random = &mut fastrand::Rng::with_seed(seed);
        let ttl = any_ttl(random).max(Duration::from_secs(2));
        let mut lifetime = Lifetime::new(at(Duration::ZERO), ttl, ttl, true, random.f64());
        let now = at(ttl / 2);
        lifetime.renewed(now, ttl, random.f64());
        assert_eq!(lifetime.due_step(now), None, "seed {seed}");
        lifetime.renewed(now, ttl / 2, random.f64());
        assert_eq!(lifetime.due_step(now), Some(LifetimeStep::Replace), "seed {seed}");
    }
}

#[test]
fn instances_that_start_together_part() {
    for ttl in [60, 600, 3600, 86_400] {
        let ttl = Duration::from_secs(ttl);
        let random = &mut fastrand::Rng::with_seed(7);
        let first = |_| {
            Lifetime::new(at(Duration::ZERO), ttl, ttl, true, random.f64())
                .next_step(at(Duration::ZERO))
                .unwrap()
                .1
        };
        let firsts: Vec<Duration> = (0..1000).map(first).collect();
        let (soonest, last) = (firsts.iter().min().unwrap(), firsts.iter().max().unwrap());
        assert!(*last - *soonest > ttl.mul_f64(0.3), "{ttl:?}: {soonest:?} to {last:?}");
        // No tenth of that time has more than twice its share.
        let width = (*last - *soonest) / 10;
        for tenth in 0..10 {
            let (from, to) = (*soonest + width * tenth, *soonest + width * (tenth + 1));
            let share = firsts.iter().filter(|first| (from..to).contains(first)).count();
            assert!(share < 200, "{ttl:?}: {share} of 1000 in one tenth");
        }
    }
}

/// For every lifetime, the replacement is near two thirds of it and never later.
#[test]
fn a_credential_with_a_fixed_lifetime_is_issued_again_at_two_thirds() {
    for seed in 0..200 {
        let random = &mut fastrand::Rng::with_seed(seed);
        let life = any_ttl(random);
        let lifetime = Lifetime::of_fixed_length(at(Duration::ZERO), life, random.f64());
        let (step, wait) = lifetime.next_step(at(Duration::ZERO)).unwrap();
        assert_eq!(step, LifetimeStep::Replace);
        let longest = life.mul_f64(2.0 / 3.0).max(Duration::from_secs(1));
        assert!(wait <= longest && wait > life / 2, "{life:?}: {wait:?}");
    }
}

/// The step that is due fails.
fn fail(lifetime: &mut Lifetime, now: Duration, random: f64) {
    match lifetime.due_step(at(now)) {
        Some(LifetimeStep::Replace) => lifetime.replacement_failed(at(now), random),
        _ => lifetime.renewal_failed(at(now), random),
    }
}

#[test]
fn retries_back_off_to_a_minute_and_never_stop() {
    for seed in 0..200 {
        let random = &mut fastrand::Rng::with_seed(seed);
        let ttl = any_ttl(random);
        let mut lifetime = Lifetime::new(at(Duration::ZERO), ttl, ttl, true, random.f64());
        let (mut now, mut last) = (Duration::ZERO, Vec::new());
        while now < ttl + Duration::from_secs(600) {
            now += lifetime.next_step(at(now)).unwrap().1;
            fail(&mut lifetime, now, random.f64());
            let waits = [lifetime.renewal_in(at(now)), lifetime.replacement_in(at(now))];
            last = waits.into_iter().flatten().filter(|wait| !wait.is_zero()).collect();
            assert!(
                last.iter().all(|wait| *wait <= LONGEST_RETRY.max(ttl)),
                "seed {seed}: {last:?}"
            );
        }
        assert!(!last.is_empty(), "seed {seed}");
        assert!(last.iter().all(|wait| *wait >= SHORTEST_RETRY / 2), "seed {seed}: {last:?}");
        assert!(last.iter().all(|wait| *wait <= LONGEST_RETRY), "seed {seed}: {last:?}");
    }
}

#[test]
fn a_clock_that_jumps_forward_makes_it_due_and_one_that_jumps_back_does_not_stall_it() {
    for seed in 0..SEEDS {
        let random = &mut fastrand::Rng::with_seed(seed);
        let ttl = any_ttl(random);
        let start = at(DAY * 365);
        let lifetime = Lifetime::new(start, ttl, ttl, true, random.f64());
        // Suspended: the monotonic clock stood still.
        let woken = Reading { wall: start.wall + ttl, ..start };
        assert_eq!(lifetime.due_step(woken), Some(LifetimeStep::Renew), "seed {seed}");
        // Set back by a day: the monotonic clock went on.
        let set_back = Reading { monotonic: start.monotonic + ttl, wall: start.wall - DAY };
        assert_eq!(lifetime.due_step(set_back), Some(LifetimeStep::Renew), "seed {seed}");
        assert_eq!(lifetime.remaining(set_back), Some(Duration::ZERO), "seed {seed}");
    }
}

#[test]
fn extremes_neither_panic_nor_spin() {
    let thousand_years = DAY * 366 * 1000;
    for ttl in [Duration::from_secs(1), Duration::from_secs(2), thousand_years] {
        for random in [0.0, 0.5, 1.0 - f64::EPSILON] {
            let mut lifetime = Lifetime::new(at(Duration::ZERO), ttl, ttl, true, random);
            assert!(lifetime.next_step(at(Duration::ZERO)).unwrap().1 >= Duration::from_millis(80));
            lifetime.failures = u32::MAX - 1;
            lifetime.renewal_failed(at(thousand_years), random);
            lifetime.renewal_failed(at(thousand_years), random);
            lifetime.renewed(at(thousand_years), ttl, random);
            lifetime.postpone_replacement(at(thousand_years), Duration::MAX);
            assert_eq!(lifetime.due_step(at(thousand_years)), None);
        }
    }
    let mut endless = Lifetime::new(at(Duration::ZERO), Duration::ZERO, Duration::ZERO, true, 0.5);
    assert_eq!((endless.due_step(at(DAY)), endless.remaining(at(DAY))), (None, None));
    endless.replace_now();
    assert_eq!(endless.due_step(at(DAY)), Some(LifetimeStep::Replace));
}

/// If no replacement succeeds, renewals continue at every age, however long the server was unreachable.
#[test]
fn renewals_go_on_whatever_becomes_of_the_replacement() {
    for seed in 0..SEEDS {
        let random = &mut fastrand::Rng::with_seed(seed);
        let ttl = any_ttl(random).max(Duration::from_secs(10));
        let mut lifetime = Lifetime::new(at(Duration::ZERO), ttl, ttl, true, random.f64());
        let away = ttl.mul_f64(random.f64() * 0.97);
        let mut now = Duration::ZERO;
        while now < away {
            now += lifetime.renewal_in(at(now)).expect("a renewal is always planned");
            lifetime.renewal_failed(at(now), random.f64());
            if lifetime.due_step(at(now)) == Some(LifetimeStep::Replace) {
                lifetime.replacement_failed(at(now), random.f64());
            }
        }
        let wait = lifetime.renewal_in(at(now)).unwrap();
        assert!(wait <= ttl / 12, "seed {seed}: {wait:?} of {ttl:?}");
        let wait = wait.min(LONGEST_RETRY);
        assert!(now + wait < ttl || now > ttl.mul_f64(0.9), "seed {seed}: {now:?} of {ttl:?}");
    }
}

#[test]
fn a_renewal_that_works_makes_a_planned_replacement_needless() {
    let ttl = Duration::from_secs(3600);
    let mut lifetime = Lifetime::new(at(Duration::ZERO), ttl, ttl, true, 0.5);
    lifetime.renewal_failed(at(ttl.mul_f64(0.95)), 0.5);
    assert!(lifetime.replacement_in(at(ttl)).is_some_and(|wait| wait.is_zero()));
    lifetime.renewed(at(ttl.mul_f64(0.97)), ttl, 0.5);
    assert_eq!(lifetime.replacement_in(at(ttl)), None);
}

/// After an outage of any length at any time, a step that is due is spread over a part of the remaining life,
/// and the replacement of an expired lease is due at once.
#[test]
fn after_an_outage_what_is_due_comes_back_spread_and_in_time() {
    for seed in 0..SEEDS {
        let random = &mut fastrand::Rng::with_seed(seed);
        let ttl = any_ttl(random).max(Duration::from_secs(60));
        let mut lifetime = Lifetime::new(at(Duration::ZERO), ttl, ttl, true, random.f64());
        let back = ttl.mul_f64(random.f64() * 1.3);
        let due = lifetime.due_step(at(back));
        lifetime.resume_after_outage(at(back), random.f64());
        let (step, wait) = lifetime.next_step(at(back)).unwrap();
        if due.is_none() {
            assert!(
                step == LifetimeStep::Renew && !wait.is_zero(),
                "seed {seed}: its own time is unchanged"
            );
            continue;
        }
        let remaining = ttl.saturating_sub(back);
        let latest = (remaining.saturating_sub(ttl / 6) / 2).max(remaining / 4);
        assert!(wait <= latest, "seed {seed}: {step:?} in {wait:?}, {back:?} of {ttl:?}");
    }
}

/// All instances renew at the same moment after an outage, but not the next time.
#[test]
fn the_renewal_after_an_outage_has_no_echo() {
    let (ttl, random) = (Duration::from_secs(3600), &mut fastrand::Rng::with_seed(3));
    let mut seconds: Vec<u64> = (0..1000)
        .map(|_| {
            let mut lifetime = Lifetime::new(at(Duration::ZERO), ttl, ttl, true, random.f64());
            let back = ttl.mul_f64(0.7);
            lifetime.resume_after_outage(at(back), random.f64());
            lifetime.renewed(at(back), ttl, random.f64());
            lifetime.next_step(at(back)).unwrap().1.as_secs()
        })
        .collect();
    seconds.sort_unstable();
    assert!(seconds[950] - seconds[50] > 900, "{} to {}", seconds[50], seconds[950]);
}

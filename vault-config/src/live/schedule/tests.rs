//! Properties, over many lives made by chance. Every message names the seed that repeats it.

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

/// What a server does with one lease, or one token.
struct Server {
    max: Duration,
    /// Renewals that fail, of a hundred.
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
        let mut term = Term::new(at(now), ttl, ttl, renewable, random.f64());
        let mut end = ttl;
        for _ in 0..10_000 {
            let (step, wait) = term.next(at(now)).unwrap();
            now += wait;
            assert_eq!(term.due(at(now)), Some(step), "seed {seed}");
            assert!(now < end, "seed {seed}: {step:?} at {now:?}, the end is {end:?}");
            if step == Step::Replace {
                break;
            }
            assert!(renewable, "seed {seed}");
            match server.renews(now, ttl, random) {
                Some(granted) => {
                    term.renewed(at(now), granted, random.f64());
                    end = now + granted;
                }
                None => term.failed(at(now), random.f64()),
            }
        }
    }
}

/// A lease dies with its token, and a token is replaced before it ends: so is the lease.
#[test]
fn a_lease_is_replaced_before_the_sooner_of_its_own_end_and_its_tokens() {
    for seed in 0..SEEDS {
        let random = &mut fastrand::Rng::with_seed(seed);
        let (of_token, of_lease) = (any_ttl(random), any_ttl(random));
        let token = Term::new(at(Duration::ZERO), of_token, of_token, false, random.f64());
        let lease = Term::new(at(Duration::ZERO), of_lease, of_lease, false, random.f64());
        let first = |term: &Term| term.next(at(Duration::ZERO)).unwrap().1;
        let replaced = first(&token).min(first(&lease));
        assert!(replaced < of_token.min(of_lease), "seed {seed}");
    }
}

#[test]
fn a_truncated_renewal_is_replaced_at_once_and_a_full_one_is_not() {
    for seed in 0..SEEDS {
        let random = &mut fastrand::Rng::with_seed(seed);
        let ttl = any_ttl(random).max(Duration::from_secs(2));
        let mut term = Term::new(at(Duration::ZERO), ttl, ttl, true, random.f64());
        let now = at(ttl / 2);
        term.renewed(now, ttl, random.f64());
        assert_eq!(term.due(now), None, "seed {seed}");
        term.renewed(now, ttl / 2, random.f64());
        assert_eq!(term.due(now), Some(Step::Replace), "seed {seed}");
    }
}

#[test]
fn instances_that_start_together_part() {
    for ttl in [60, 600, 3600, 86_400] {
        let ttl = Duration::from_secs(ttl);
        let random = &mut fastrand::Rng::with_seed(7);
        let first = |_| Term::new(at(Duration::ZERO), ttl, ttl, true, random.f64()).due.unwrap().1;
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

/// A role whose leases are gone as soon as they are made, whatever their time to live.
#[test]
fn what_never_lasts_is_made_a_few_times_in_ten_minutes() {
    for seed in 0..200 {
        let random = &mut fastrand::Rng::with_seed(seed);
        let life = any_ttl(random).max(Duration::from_secs(600));
        let mut budget = Budget::default();
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
    let mut budget = Budget::default();
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

/// However short or long: near two thirds, never later, and then it is replaced.
#[test]
fn what_lives_for_a_fixed_time_is_made_anew_at_two_thirds() {
    for seed in 0..200 {
        let random = &mut fastrand::Rng::with_seed(seed);
        let life = any_ttl(random);
        let term = Term::of_fixed_life(at(Duration::ZERO), life, random.f64());
        let (step, wait) = term.next(at(Duration::ZERO)).unwrap();
        assert_eq!(step, Step::Replace);
        let longest = life.mul_f64(2.0 / 3.0).max(Duration::from_secs(1));
        assert!(wait <= longest && wait > life / 2, "{life:?}: {wait:?}");
    }
}

/// Somebody who asks again and again in an outage has what he asks for as soon as it is over.
#[test]
fn what_was_refused_is_not_counted() {
    let mut budget = Budget::default();
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
fn retries_back_off_to_a_minute_and_never_stop() {
    for seed in 0..200 {
        let random = &mut fastrand::Rng::with_seed(seed);
        let ttl = any_ttl(random);
        let mut term = Term::new(at(Duration::ZERO), ttl, ttl, true, random.f64());
        let (mut now, mut wait) = (Duration::ZERO, Duration::ZERO);
        while now < ttl + WINDOW {
            now += term.next(at(now)).unwrap().1;
            term.failed(at(now), random.f64());
            wait = term.next(at(now)).unwrap().1;
            assert!(wait <= LONGEST_RETRY, "seed {seed}: {wait:?}");
            // But for the one moment when a renewal is given up.
            let given_up = now >= ttl.mul_f64(0.8) && now < ttl.mul_f64(0.9);
            assert!(wait >= SHORTEST_RETRY / 2 || given_up, "seed {seed}: {wait:?}");
        }
        assert!(wait >= LONGEST_RETRY / 2, "seed {seed}: {wait:?}");
    }
}

#[test]
fn a_clock_that_jumps_forward_makes_it_due_and_one_that_jumps_back_does_not_stall_it() {
    for seed in 0..SEEDS {
        let random = &mut fastrand::Rng::with_seed(seed);
        let ttl = any_ttl(random);
        let start = at(DAY * 365);
        let term = Term::new(start, ttl, ttl, true, random.f64());
        // Suspended: the monotonic clock stood still.
        let woken = Reading { wall: start.wall + ttl, ..start };
        assert_eq!(term.due(woken), Some(Step::Renew), "seed {seed}");
        // Set back by a day: the monotonic clock went on.
        let set_back = Reading { monotonic: start.monotonic + ttl, wall: start.wall - DAY };
        assert_eq!(term.due(set_back), Some(Step::Renew), "seed {seed}");
        assert_eq!(term.left(set_back), Some(Duration::ZERO), "seed {seed}");
    }
}

#[test]
fn extremes_neither_panic_nor_spin() {
    let thousand_years = DAY * 366 * 1000;
    for ttl in [Duration::from_secs(1), Duration::from_secs(2), thousand_years] {
        for random in [0.0, 0.5, 1.0 - f64::EPSILON] {
            let mut term = Term::new(at(Duration::ZERO), ttl, ttl, true, random);
            assert!(term.next(at(Duration::ZERO)).unwrap().1 >= Duration::from_millis(80));
            term.failures = u32::MAX - 1;
            term.failed(at(thousand_years), random);
            term.failed(at(thousand_years), random);
            term.renewed(at(thousand_years), ttl, random);
            term.postpone(at(thousand_years), Duration::MAX);
            assert_eq!(term.due(at(thousand_years)), None);
        }
    }
    let mut endless = Term::new(at(Duration::ZERO), Duration::ZERO, Duration::ZERO, true, 0.5);
    assert_eq!((endless.due(at(DAY)), endless.left(at(DAY))), (None, None));
    endless.lost();
    assert_eq!(endless.due(at(DAY)), Some(Step::Replace));
    for refusals in [0, 1, 2, 3, u32::MAX] {
        let wait = after_refused_login(refusals, 1.0);
        assert!(wait >= Duration::from_secs(60) && wait <= Duration::from_secs(22 * 60));
    }
}

/// Never five refusals within fifteen minutes of each other, which would lock the account.
#[test]
fn refused_logins_lock_nobody_out() {
    let quiet = Duration::from_secs(15 * 60);
    let mut in_a_row = 0;
    for refusals in 1..100 {
        in_a_row += 1;
        if after_refused_login(refusals, 0.0) > quiet {
            in_a_row = 0;
        }
        assert!(in_a_row < 4, "after {refusals} refusals");
    }
}

fn rotation(ttl: u64, last: &str) -> Rotation {
    Rotation { ttl: Duration::from_secs(ttl), last: last.to_owned() }
}

#[test]
fn a_static_password_is_read_just_after_its_rotation() {
    let (wait, under_way) = rotation(3600, "1").next(None, 0, 0.5);
    assert!(!under_way && wait.as_secs() == 3600 && wait > Duration::from_secs(3600));
    // Due, and not done yet: the server shows 0 for a while.
    for polls in 0..POLLS {
        let (wait, under_way) = rotation(0, "1").next(None, polls, 0.9);
        assert!(under_way && wait <= UNDER_WAY, "{polls}: {wait:?}");
    }
    let (wait, under_way) = rotation(0, "1").next(None, POLLS, 0.9);
    assert!(!under_way && wait >= UNDER_WAY, "it is not asked for ever so often");
    // The time was reset before the password was.
    let (before, ago) = (rotation(10, "1"), Duration::from_secs(10));
    let (wait, under_way) = rotation(3600, "1").next(Some((&before, ago)), 0, 0.9);
    assert!(under_way && wait <= UNDER_WAY);
    let (_, under_way) = rotation(3600, "2").next(Some((&before, ago)), 0, 0.9);
    assert!(!under_way, "it is done");
}

#[test]
fn metadata_that_was_refused_is_looked_at_again_at_every_twelfth_reading() {
    let mut looking = Looking::default();
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

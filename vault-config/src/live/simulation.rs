//! A fleet in virtual time, by the functions that the real one uses. It prints its figures:
//! `cargo test -p vault-config fleet -- --nocapture`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, SystemTime};

use super::clock::Reading;
use super::schedule::{self, Step, Term};

const INSTANCES: usize = 1000;
const DAY: u64 = 24 * 3600;
/// One token, one database lease, three KV secrets.
const KV_PATHS: usize = 3;
const TTL: Duration = Duration::from_secs(3600);
const MAX_TTL: Duration = Duration::from_secs(DAY - 2000);
const KV: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Client {
    Ours,
    /// The official Go client's LifetimeWatcher, 10 to 20 % of grace.
    Go,
    /// A minute (lease) or five seconds (token) before the end, and no jitter.
    FixedTime,
}

/// One thing that one instance keeps alive.
enum Kept {
    Leased { term: Term, made: f64, margin: Duration },
    Stored { first: bool },
}

fn at(seconds: f64) -> Reading {
    let since_start = Duration::from_secs_f64(seconds);
    Reading { monotonic: since_start, wall: SystemTime::UNIX_EPOCH + since_start }
}

fn wait(client: Client, kept: &Kept, now: f64, random: &mut fastrand::Rng) -> f64 {
    let wait = match (client, kept) {
        (Client::Ours, Kept::Leased { term, .. }) => term.next(at(now)).map_or(MAX_TTL, |(_, w)| w),
        (Client::Ours, Kept::Stored { first }) => schedule::reread(KV, *first, random.f64()),
        (Client::Go, Kept::Leased { .. }) => {
            let grace = TTL.mul_f64(0.1 + 0.1 * random.f64());
            TTL.mul_f64(2.0 / 3.0) + grace / 3
        }
        (Client::FixedTime, Kept::Leased { margin, .. }) => TTL - *margin,
        (Client::Go | Client::FixedTime, Kept::Stored { .. }) => KV,
    };
    wait.as_secs_f64()
}

/// Requests in each second of a day. All instances start in the first.
fn requests(client: Client, kv_paths: usize, outage: std::ops::Range<u64>) -> Vec<u32> {
    let random = &mut fastrand::Rng::with_seed(1);
    let mut seconds = vec![0; DAY as usize];
    let mut kept: Vec<Kept> = Vec::new();
    for _ in 0..INSTANCES {
        for margin in [5, 60] {
            let term = Term::new(at(0.0), TTL, TTL, true, random.f64());
            kept.push(Kept::Leased { term, made: 0.0, margin: Duration::from_secs(margin) });
        }
        kept.extend((0..kv_paths).map(|_| Kept::Stored { first: true }));
    }
    let mut failures = vec![0u32; kept.len()];
    let milliseconds = |seconds: f64| (seconds * 1000.0) as u64;
    let mut queue: BinaryHeap<Reverse<(u64, usize)>> = kept
        .iter()
        .enumerate()
        .map(|(index, kept)| {
            let start = random.f64();
            Reverse((milliseconds(start + wait(client, kept, 0.0, random)), index))
        })
        .collect();
    while let Some(Reverse((when, index))) = queue.pop() {
        let now = when as f64 / 1000.0;
        let Some(second) = seconds.get_mut((when / 1000) as usize) else { continue };
        *second += 1;
        let fails = outage.contains(&(when / 1000));
        let kept = &mut kept[index];
        let next = match kept {
            Kept::Leased { term, .. } if fails && client == Client::Ours => {
                term.failed(at(now), random.f64());
                term.next(at(now)).map_or(MAX_TTL, |(_, wait)| wait).as_secs_f64()
            }
            Kept::Stored { .. } if fails && client == Client::Ours => {
                failures[index] += 1;
                schedule::retry_read(failures[index], KV, random.f64()).as_secs_f64()
            }
            Kept::Leased { term, made, .. } => {
                let left = MAX_TTL.as_secs_f64() - (now - *made);
                if client == Client::Ours && term.due(at(now)) == Some(Step::Renew) {
                    let granted = TTL.min(Duration::from_secs_f64(left.max(1.0)));
                    term.renewed(at(now), granted, random.f64());
                } else {
                    *term = Term::new(at(now), TTL, TTL, true, random.f64());
                    *made = now;
                }
                wait(client, kept, now, random)
            }
            Kept::Stored { first } => {
                *first = false;
                failures[index] = 0;
                wait(client, kept, now, random)
            }
        };
        queue.push(Reverse((when + milliseconds(next).max(1), index)));
    }
    seconds
}

fn peak_to_mean(seconds: &[u32]) -> (f64, u32, f64) {
    let mean = f64::from(seconds.iter().sum::<u32>()) / seconds.len() as f64;
    let peak = *seconds.iter().max().unwrap();
    (mean, peak, f64::from(peak) / mean)
}

#[test]
#[allow(clippy::print_stdout)]
fn a_fleet_that_starts_in_one_second_does_not_come_back_in_one() {
    println!(
        "requests a second of {INSTANCES} instances that start in the same second, over a day:"
    );
    println!("token and lease of 1 h, at most a day | and {KV_PATHS} KV secrets read every 5 min");
    println!(
        "{:9} {:>6} {:>5} {:>10} | {:>6} {:>5} {:>10}",
        "", "mean", "peak", "peak/mean", "mean", "peak", "peak/mean"
    );
    let of = |client| {
        let leases = peak_to_mean(&requests(client, 0, 0..0));
        let all = peak_to_mean(&requests(client, KV_PATHS, 0..0));
        let name = format!("{client:?}");
        println!(
            "{name:9} {:>6.2} {:>5} {:>10.1} | {:>6.2} {:>5} {:>10.1}",
            leases.0, leases.1, leases.2, all.0, all.1, all.2
        );
        (leases.2, all.2)
    };
    let (ours, go, fixed) = (of(Client::Ours), of(Client::Go), of(Client::FixedTime));
    assert!(ours.0 * 3.0 < fixed.0 && ours.1 * 3.0 < fixed.1);
    assert!(ours.0 < go.0 && ours.1 < go.1);
    assert!(ours.1 < 5.0, "{}", ours.1);
}

#[test]
#[allow(clippy::print_stdout)]
fn a_fleet_does_not_storm_a_server_that_comes_back() {
    let (from, to) = (6 * 3600, 6 * 3600 + 1200);
    let seconds = requests(Client::Ours, KV_PATHS, from..to);
    let mean = peak_to_mean(&seconds[..from as usize]).0;
    let during = peak_to_mean(&seconds[from as usize..to as usize]);
    let after = peak_to_mean(&seconds[to as usize..to as usize + 600]);
    println!(
        "an outage of 20 minutes: before {mean:.1} requests a second; during it {:.1}, peak {}; in the ten minutes after it {:.1}, peak {}",
        during.0, during.1, after.0, after.1
    );
    // Five things of each instance, each tried about once a minute.
    let one_a_minute = (INSTANCES * (2 + KV_PATHS)) as f64 / 60.0;
    assert!(during.0 < 2.0 * one_a_minute && f64::from(during.1) < 4.0 * one_a_minute);
    assert!(f64::from(after.1) < 4.0 * one_a_minute);
}

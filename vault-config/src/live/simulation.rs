//! Simulates the requests of many instances of a service in virtual time. The instances use the decisions of the real
//! task: `Lifetime`, `schedule`, `backoff` and `Reachability`. `cargo test -p vault-config --lib fleet -- --nocapture`
//! prints the figures.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, SystemTime};

use super::schedule;
use crate::error::{Cause, ErrorKind};
use crate::time::backoff::Urgency;
use crate::time::clock::Reading;
use crate::time::{Lifetime, LifetimeStep, backoff};
use crate::vault::{PlannedRequest, Reachability};

const INSTANCES: usize = 1000;
const DAY: u64 = 24 * 3600;
/// Each instance has this number of KV secrets, a token and a database lease.
const KV_PATHS: usize = 3;
const TTL: Duration = Duration::from_secs(3600);
const MAX_TTL: Duration = Duration::from_secs(DAY - 2000);
const KV: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Client {
    Ours,
    /// `LifetimeWatcher` of the official Go client, with a grace of 10 to 20 %.
    Go,
    /// Renews a minute (lease) or five seconds (token) before the expiry, without jitter.
    FixedTime,
}

fn at(seconds: f64) -> Reading {
    let since_start = Duration::from_secs_f64(seconds);
    Reading { monotonic: since_start, wall: SystemTime::UNIX_EPOCH + since_start }
}

/// The number of requests in each second of a day. All instances start in the first second.
fn requests(client: Client, kv_paths: usize, outage: &Outage) -> Vec<u32> {
    match client {
        Client::Ours => ours(kv_paths, outage),
        Client::Go | Client::FixedTime => others(client, kv_paths),
    }
}

/// The other clients send at fixed intervals. Their simulation has no outage.
fn others(client: Client, kv_paths: usize) -> Vec<u32> {
    let random = &mut fastrand::Rng::with_seed(1);
    let mut seconds = vec![0; DAY as usize];
    for _ in 0..INSTANCES {
        let margins = [Some(5.0), Some(60.0)].into_iter();
        for margin in margins.chain(std::iter::repeat_n(None, kv_paths)) {
            let mut now = random.f64();
            while now < DAY as f64 {
                now += match (client, margin) {
                    (Client::Go, Some(_)) => {
                        let grace = TTL.mul_f64(0.1 + 0.1 * random.f64());
                        (TTL.mul_f64(2.0 / 3.0) + grace / 3).as_secs_f64()
                    }
                    (_, Some(margin)) => TTL.as_secs_f64() - margin,
                    (_, None) => KV.as_secs_f64(),
                };
                if let Some(second) = seconds.get_mut(now as usize) {
                    *second += 1;
                }
            }
        }
    }
    seconds
}

/// An outage, and the kind of error during it.
struct Outage {
    seconds: std::ops::Range<u64>,
    answer: ErrorKind,
}

const NONE: Outage = Outage { seconds: 0..0, answer: ErrorKind::Sealed };

/// One instance. It sends the requests that are due. During an outage it sends one probe for all sources, and stored
/// secrets wait for their next scheduled read.
struct Instance {
    reachability: Reachability,
    kept: Vec<Kept>,
}

struct Kept {
    name: String,
    upkeep: Upkeep,
    failures: u32,
    fails: bool,
    asked: f64,
}

enum Upkeep {
    Leased { lifetime: Lifetime, issued: f64 },
    Stored { turn: f64, sooner: f64 },
}

impl Kept {
    fn wait(&self, now: f64) -> f64 {
        match &self.upkeep {
            Upkeep::Leased { lifetime, .. } => {
                lifetime.next_step(at(now)).map_or(MAX_TTL, |(_, wait)| wait).as_secs_f64()
            }
            Upkeep::Stored { turn, sooner } => (turn.min(*sooner) - now).max(0.0),
        }
    }

    fn succeeds(&mut self, now: f64, random: &mut fastrand::Rng) {
        (self.failures, self.fails) = (0, false);
        match &mut self.upkeep {
            Upkeep::Leased { lifetime, issued } => {
                let left = MAX_TTL.as_secs_f64() - (now - *issued);
                if lifetime.due_step(at(now)) == Some(LifetimeStep::Renew) {
                    let granted = TTL.min(Duration::from_secs_f64(left.max(1.0)));
                    lifetime.renewed(at(now), granted, random.f64());
                } else {
                    *lifetime = Lifetime::new(at(now), TTL, TTL, true, random.f64());
                    *issued = now;
                }
            }
            Upkeep::Stored { turn, sooner } => {
                let planned = Duration::from_secs_f64((*turn - now).max(0.0));
                *turn = now + schedule::next_read(KV, planned, random.f64()).as_secs_f64();
                *sooner = f64::MAX;
            }
        }
    }

    fn urgency(&self, now: f64) -> Urgency {
        match &self.upkeep {
            Upkeep::Leased { lifetime, .. } => lifetime.urgency(at(now)),
            Upkeep::Stored { .. } => Urgency::NONE,
        }
    }

    fn plan_next_turn(&mut self, now: f64, random: &mut fastrand::Rng) {
        if let Upkeep::Stored { turn, sooner } = &mut self.upkeep {
            *sooner = f64::MAX;
            if *turn <= now {
                *turn = now + schedule::regular_read(KV, random.f64()).as_secs_f64();
            }
        }
    }

    fn fails(&mut self, now: f64, random: &mut fastrand::Rng) {
        self.failures += 1;
        self.fails = true;
        self.plan_next_turn(now, random);
        match &mut self.upkeep {
            Upkeep::Leased { lifetime, .. } => match lifetime.due_step(at(now)) {
                Some(LifetimeStep::Replace) => lifetime.replacement_failed(at(now), random.f64()),
                _ => lifetime.renewal_failed(at(now), random.f64()),
            },
            Upkeep::Stored { sooner, .. } => {
                let wait = backoff::read_retry(self.failures, KV, random.f64());
                *sooner = now + wait.as_secs_f64();
            }
        }
    }
}

impl Instance {
    fn start(kv_paths: usize, random: &mut fastrand::Rng) -> Self {
        let began = random.f64();
        let leased = |random: &mut fastrand::Rng| Upkeep::Leased {
            lifetime: Lifetime::new(at(began), TTL, TTL, true, random.f64()),
            issued: began,
        };
        let stored = |random: &mut fastrand::Rng| Upkeep::Stored {
            turn: began + schedule::first_read(KV, random.f64()).as_secs_f64(),
            sooner: f64::MAX,
        };
        let mut upkeeps = vec![leased(random), leased(random)];
        upkeeps.extend((0..kv_paths).map(|_| stored(random)));
        let kept = upkeeps.into_iter().enumerate().map(|(index, upkeep)| Kept {
            name: format!("source {index}"),
            upkeep,
            failures: 0,
            fails: false,
            asked: began,
        });
        Self { reachability: Reachability::default(), kept: kept.collect() }
    }

    /// Sends the requests that are due now. Returns their number, and the time until the next one is due.
    fn step(&mut self, now: f64, outage: &Outage, random: &mut fastrand::Rng) -> (u32, f64) {
        let mut sent = 0;
        if self.reachability.outage_cause().is_none() {
            for index in 0..self.kept.len() {
                if self.kept[index].wait(now) == 0.0 {
                    sent += self.ask(index, now, outage, random);
                }
            }
        }
        if self.reachability.outage_cause().is_some() {
            let wants = |kept: &Kept| kept.fails || kept.wait(now) == 0.0;
            if self.kept.iter().any(wants) {
                sent += self.probe(now, outage, random);
            }
            self.hold_back(now, random);
        }
        (sent, self.wait(now))
    }

    fn ask(&mut self, index: usize, now: f64, outage: &Outage, random: &mut fastrand::Rng) -> u32 {
        let urgency = self.urgency(now);
        let kept = &mut self.kept[index];
        let is_only_probe = kept.wait(now) > 0.0;
        let request =
            PlannedRequest { source: &kept.name, is_retry: kept.fails, is_only_probe, urgency };
        if self.reachability.admit(request, at(now), random.f64()).is_err() {
            return 0;
        }
        kept.asked = now;
        if !outage.seconds.contains(&(now as u64)) {
            kept.succeeds(now, random);
            let recovery = self.reachability.record_response(&kept.name);
            if recovery.is_some_and(|recovery| recovery.covers(outage.answer)) {
                self.outage_ended(now, random);
            }
            return 1;
        }
        kept.fails(now, random);
        let cause = Cause::new(outage.answer, "", "");
        self.reachability.record_failure(&kept.name, &cause, Duration::ZERO, at(now), random.f64());
        1
    }

    fn urgency(&self, now: f64) -> Urgency {
        self.kept.iter().map(|kept| kept.urgency(now)).fold(Urgency::NONE, Urgency::max)
    }

    fn probe(&mut self, now: f64, outage: &Outage, random: &mut fastrand::Rng) -> u32 {
        let mut candidates: Vec<usize> =
            (0..self.kept.len()).filter(|index| self.may_probe(*index, now)).collect();
        candidates.sort_by(|one, other| self.kept[*one].asked.total_cmp(&self.kept[*other].asked));
        candidates
            .into_iter()
            .map(|index| self.ask(index, now, outage, random))
            .find(|sent| *sent > 0)
            .unwrap_or_default()
    }

    fn may_probe(&self, index: usize, now: f64) -> bool {
        let is_stored = |kept: &Kept| matches!(kept.upkeep, Upkeep::Stored { .. });
        match self.kept.iter().any(is_stored) {
            true => is_stored(&self.kept[index]),
            false => self.kept[index].wait(now) == 0.0,
        }
    }

    fn hold_back(&mut self, now: f64, random: &mut fastrand::Rng) {
        let is_away = self.reachability.outage_cause().is_some();
        for kept in self.kept.iter_mut().filter(|kept| is_away && kept.wait(now) == 0.0) {
            kept.plan_next_turn(now, random);
            kept.fails = true;
        }
    }

    fn outage_ended(&mut self, now: f64, random: &mut fastrand::Rng) {
        for kept in self.kept.iter_mut().filter(|kept| kept.fails) {
            (kept.fails, kept.failures) = (false, 0);
            match &mut kept.upkeep {
                Upkeep::Leased { lifetime, .. } => {
                    lifetime.resume_after_outage(at(now), random.f64())
                }
                Upkeep::Stored { turn, sooner } => {
                    *turn = now + schedule::read_after_outage(KV, random.f64()).as_secs_f64();
                    *sooner = f64::MAX;
                }
            }
        }
    }

    fn wait(&self, now: f64) -> f64 {
        let is_away = self.reachability.outage_cause().is_some();
        let urgency = self.urgency(now);
        let wants = self.kept.iter().any(|kept| kept.fails);
        let waits = self.kept.iter().enumerate().map(|(index, kept)| {
            let wait = kept.wait(now);
            let (is_retry, is_only_probe) = (kept.fails, wait > 0.0);
            let request = PlannedRequest { source: &kept.name, is_retry, is_only_probe, urgency };
            let admitted = self.reachability.admits_in(request, at(now)).as_secs_f64();
            match is_away {
                false => wait.max(admitted),
                true if wants && self.may_probe(index, now) => admitted,
                true if kept.fails => f64::MAX,
                true => wait,
            }
        });
        waits.fold(f64::MAX, f64::min)
    }
}

fn ours(kv_paths: usize, outage: &Outage) -> Vec<u32> {
    let random = &mut fastrand::Rng::with_seed(1);
    let mut seconds = vec![0; DAY as usize];
    let mut instances: Vec<Instance> =
        (0..INSTANCES).map(|_| Instance::start(kv_paths, random)).collect();
    let milliseconds = |seconds: f64| (seconds * 1000.0).ceil() as u64;
    let mut queue: BinaryHeap<Reverse<(u64, usize)>> = instances
        .iter()
        .enumerate()
        .map(|(index, instance)| Reverse((milliseconds(1.0 + instance.wait(1.0)), index)))
        .collect();
    // Three hours after an outage, its effects have ended.
    let end = if outage.seconds.is_empty() { DAY } else { outage.seconds.end + 3 * 3600 };
    while let Some(Reverse((when, index))) = queue.pop() {
        if when / 1000 >= end {
            break;
        }
        let Some(second) = seconds.get_mut((when / 1000) as usize) else { continue };
        let (sent, wait) = instances[index].step(when as f64 / 1000.0, outage, random);
        *second += sent;
        queue.push(Reverse((when + milliseconds(wait).max(1), index)));
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
fn a_fleet_that_starts_in_one_second_spreads_its_later_requests() {
    println!(
        "requests a second of {INSTANCES} instances that start in the same second, over a day:"
    );
    println!("token and lease of 1 h, at most a day | and {KV_PATHS} KV secrets read every 5 min");
    println!(
        "{:9} {:>6} {:>5} {:>10} | {:>6} {:>5} {:>10}",
        "", "mean", "peak", "peak/mean", "mean", "peak", "peak/mean"
    );
    let of = |client| {
        let leases = peak_to_mean(&requests(client, 0, &NONE));
        let all = peak_to_mean(&requests(client, KV_PATHS, &NONE));
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

/// The busiest minute of a part of the day, as a multiple of the mean of a day without an outage.
fn busiest_minute(seconds: &[u32], mean: f64) -> f64 {
    let minutes = seconds.windows(60).step_by(5).map(|minute| minute.iter().sum::<u32>());
    f64::from(minutes.max().unwrap_or_default()) / 60.0 / mean
}

#[test]
#[allow(clippy::print_stdout)]
fn a_fleet_does_not_overload_a_server_during_or_after_an_outage() {
    let mean = peak_to_mean(&requests(Client::Ours, KV_PATHS, &NONE)[3600..]).0;
    for (minutes, answer) in [
        (1, ErrorKind::Sealed),
        (10, ErrorKind::Sealed),
        (10, ErrorKind::NotVault),
        (20, ErrorKind::ConnectionRefused),
        (120, ErrorKind::Sealed),
    ] {
        let (from, to) = (6 * 3600, 6 * 3600 + minutes * 60);
        let outage = Outage { seconds: from..to, answer };
        let seconds = requests(Client::Ours, KV_PATHS, &outage);
        let part = |from: u64, to: u64| busiest_minute(&seconds[from as usize..to as usize], mean);
        let (during, soon) = (part(from, to), part(to, to + 120));
        let (hour, echo) = (part(to + 120, to + 3600), part(to + 3600, to + 3 * 3600));
        println!(
            "{minutes} min of {answer:?}: busiest minute {during:.1} times the mean, in the two minutes \
             after it {soon:.1}, in the hour {hour:.1}, in the two hours then {echo:.1}"
        );
        // An error that may concern one path only is retried by each path, until a second path fails too.
        let limit = match answer {
            ErrorKind::NotVault => 6.5,
            // After all leases have expired, each instance probes twice a minute.
            _ if minutes > 20 => 5.5,
            _ => 4.0,
        };
        assert!(during <= limit, "{during}");
        // If the leases of all instances have expired, all of them are issued again within a minute.
        let limit = if minutes <= 10 { 2.0 } else { 6.0 };
        assert!(soon <= limit && hour.max(echo) <= 2.0, "{soon} {hour} {echo}");
    }
}

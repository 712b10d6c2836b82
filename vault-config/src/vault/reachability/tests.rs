use std::time::SystemTime;

use super::*;

fn at(milliseconds: u64) -> Reading {
    let monotonic = Duration::from_millis(milliseconds);
    Reading { monotonic, wall: SystemTime::UNIX_EPOCH + monotonic }
}

fn cause(kind: ErrorKind) -> Cause {
    Cause::new(kind, "it failed", "")
}

fn request(source: &str, is_retry: bool) -> PlannedRequest<'_> {
    PlannedRequest { source, is_retry, is_only_probe: false, urgency: Urgency::EXPIRED }
}

fn fail(
    reachability: &mut Reachability,
    source: &str,
    kind: ErrorKind,
    now: u64,
) -> Option<Recovery> {
    reachability.record_failure(source, &cause(kind), Duration::ZERO, at(now), 0.5)
}

#[test]
fn a_server_that_says_that_it_is_away_is_believed_at_once() {
    for kind in [ErrorKind::Sealed, ErrorKind::ConnectionRefused, ErrorKind::Standby] {
        let mut reachability = Reachability::default();
        fail(&mut reachability, "kv a", kind, 0);
        assert_eq!(reachability.outage_cause().unwrap().kind, kind);
        assert!(reachability.admit(request("kv b", false), at(10), 0.5).is_err());
    }
}

#[test]
fn one_path_that_hangs_delays_no_other() {
    let mut reachability = Reachability::default();
    for now in 0..10 {
        fail(&mut reachability, "database/creds/app", ErrorKind::Timeout, now * 60_000);
        assert!(reachability.outage_cause().is_none());
        assert_eq!(reachability.admit(request("kv a", false), at(now * 60_000), 0.5), Ok(()));
    }
}

#[test]
fn several_paths_that_fail_without_any_answer_are_an_outage() {
    let mut reachability = Reachability::default();
    fail(&mut reachability, "kv a", ErrorKind::NotVault, 0);
    reachability.record_response("kv d");
    fail(&mut reachability, "kv b", ErrorKind::NotVault, 10);
    assert!(reachability.outage_cause().is_none(), "something was answered between them");
    fail(&mut reachability, "kv a", ErrorKind::Server, 20);
    assert!(reachability.outage_cause().is_some());
    // A source that was not tried yet may reach the server.
    assert!(reachability.admit(request("kv c", false), at(100), 0.5).is_err(), "not at once");
    assert_eq!(reachability.admit(request("kv c", false), at(1_100), 0.5), Ok(()));
    assert_eq!(reachability.record_response("kv c"), Some(Recovery::ServerWasReachable));
    assert_eq!(reachability.admit(request("kv a", false), at(1_200), 0.5), Ok(()));
}

#[test]
fn an_answer_of_any_kind_ends_it() {
    for kind in [ErrorKind::Denied, ErrorKind::PathAbsent, ErrorKind::TokenInvalid] {
        let mut reachability = Reachability::default();
        fail(&mut reachability, "kv a", ErrorKind::Sealed, 0);
        let recovery = fail(&mut reachability, "kv b", kind, 10);
        assert_eq!(recovery, Some(Recovery::ServerReturned), "{kind:?}");
        assert!(reachability.outage_cause().is_none());
    }
}

/// Whatever the number of sources, and however often they try to send a request.
#[test]
fn an_outage_costs_less_than_a_request_a_second() {
    for kind in [ErrorKind::Sealed, ErrorKind::Server] {
        let mut reachability = Reachability::default();
        let sources: Vec<String> = (0..100).map(|number| format!("kv {number}")).collect();
        for source in &sources {
            fail(&mut reachability, source, kind, 0);
        }
        let mut sent = Vec::new();
        for now in (0..600_000).step_by(100) {
            for source in &sources {
                if reachability.admit(request(source, true), at(now), 0.3).is_ok() {
                    sent.push(now);
                    fail(&mut reachability, source, kind, now);
                }
            }
        }
        let apart = sent.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(apart.min().unwrap() >= 700, "{kind:?}: {sent:?}");
        assert!(sent.len() >= 20, "{kind:?}: it is asked at least twice a minute");
        let last_minute = sent.iter().filter(|now| **now > 540_000).count();
        assert!((2..=3).contains(&last_minute), "{kind:?}: {last_minute}");
    }
}

#[test]
fn retries_of_paths_that_fail_for_themselves_are_a_second_apart() {
    let mut reachability = Reachability::default();
    assert_eq!(reachability.admit(request("kv a", true), at(0), 0.5), Ok(()));
    assert!(reachability.admit(request("kv b", true), at(400), 0.5).is_err());
    assert_eq!(
        reachability.admit(request("kv c", false), at(400), 0.5),
        Ok(()),
        "a first try is free"
    );
    assert_eq!(reachability.admits_in(request("kv b", true), at(400)), Duration::from_millis(600));
    assert_eq!(reachability.admit(request("kv b", true), at(1_000), 0.5), Ok(()));
}

#[test]
fn a_probe_that_is_never_answered_is_followed_by_another() {
    let mut reachability = Reachability::default();
    fail(&mut reachability, "kv a", ErrorKind::Sealed, 0);
    let mut probes = 0;
    for now in (0..300_000).step_by(500) {
        probes += usize::from(reachability.admit(request("kv a", true), at(now), 0.5).is_ok());
    }
    assert!(probes >= 10, "{probes}");
}

#[test]
fn what_was_under_way_when_it_began_does_not_make_it_longer() {
    let mut reachability = Reachability::default();
    for _ in 0..64 {
        fail(&mut reachability, "kv a", ErrorKind::Sealed, 0);
    }
    assert!(reachability.admits_in(request("kv a", true), at(0)) <= Duration::from_secs(1));
}

#[test]
fn a_refresh_asks_at_once() {
    let mut reachability = Reachability::default();
    fail(&mut reachability, "kv a", ErrorKind::Sealed, 0);
    for failure in 1..10 {
        let now = failure * 60_000;
        assert!(reachability.admit(request("kv a", true), at(now), 1.0).is_ok());
        fail(&mut reachability, "kv a", ErrorKind::Sealed, now);
    }
    assert!(reachability.admit(request("kv a", true), at(540_200), 1.0).is_err());
    reachability.request_probe();
    assert!(reachability.admit(request("kv a", true), at(540_200), 1.0).is_ok());
    assert!(reachability.admit(request("kv b", true), at(540_200), 1.0).is_err(), "one for all");
}

#[test]
fn retry_after_is_waited_for_by_everything_and_not_to_the_second() {
    let mut reachability = Reachability::default();
    let pause = Duration::from_secs(600);
    reachability.record_failure("kv a", &cause(ErrorKind::RateLimited), pause, at(0), 0.5);
    for source in ["kv a", "kv b", TOKEN] {
        assert_eq!(reachability.admits_in(request(source, false), at(0)), Duration::from_secs(630));
    }
}

const TOKEN: &str = "token";

#[test]
fn what_failed_and_is_answered_shows_that_all_of_it_was_the_server() {
    let mut reachability = Reachability::default();
    for source in ["kv a", "kv b"] {
        fail(&mut reachability, source, ErrorKind::NotVault, 0);
    }
    let recovery = reachability.record_response("kv a").unwrap();
    assert!(recovery.covers(ErrorKind::NotVault) && recovery.covers(ErrorKind::Sealed));
    assert!(!recovery.covers(ErrorKind::Denied));
    assert!(!Recovery::ServerWasReachable.covers(ErrorKind::NotVault));
}

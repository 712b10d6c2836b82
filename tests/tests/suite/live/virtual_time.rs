//! A whole day, a suspended machine, clocks that are set back, and outages, all in virtual time.

use std::collections::BTreeSet;
use std::time::SystemTime;

use vault_config::live::{Action, Clock};

use super::world::{HOUR, ROTATION, TTL, World, version};
use super::*;

#[tokio::test]
async fn a_day_without_failures() {
    let world = World::start().await;
    let began = Instant::now();
    let mut late = Vec::new();
    world
        .pass(seconds(24 * HOUR), |now| {
            assert!(world.is_healthy(), "{now:?}: {:#?}", world.live.status());
            let config = world.live.current();
            // A secret may be five and a half minutes old, and the password of a static role 40 s.
            let earlier = now.saturating_sub(seconds(330));
            let keys = [version(earlier), version(now)].map(|version| format!("k{version}"));
            if !keys.iter().any(|key| key == config.key.expose_secret()) {
                late.push(format!("{now:?}: {}", config.key.expose_secret()));
            }
            let earlier = now.saturating_sub(seconds(40)).as_secs() / ROTATION;
            let passwords = [earlier, now.as_secs() / ROTATION].map(|number| format!("p{number}"));
            if !passwords.iter().any(|p| p == config.legacy.password().expose_secret()) {
                late.push(format!("{now:?}: {}", config.legacy.password().expose_secret()));
            }
        })
        .await;
    assert_eq!(late, Vec::<String>::new());
    assert_eq!(world.server().refused, Vec::<String>::new());
    let status = world.live.status();
    assert_eq!((status.health, status.counters.failures), (Health::Healthy, 0), "{status:#?}");
    assert!((3..=5).contains(&status.counters.logins), "{:?}", status.counters);
    let requests: usize = world.server().asked.values().sum();
    eprintln!("a day in {:?}: {requests} requests, {:#?}", began.elapsed(), world.server().asked);
    assert!(requests < 900, "{requests} requests");
}

#[tokio::test]
async fn after_a_suspend_everything_is_renewed_or_replaced_within_half_a_minute() {
    let world = World::start().await;
    world.pass(seconds(HOUR / 2), |_| assert!(world.has_valid_credentials())).await;
    world.clock.change(|now| {
        now.real += seconds(5 * HOUR);
        now.suspended += seconds(5 * HOUR);
    });
    assert!(!world.has_valid_credentials(), "the lease expired during the suspend");
    // The client wakes at least every 30 s, and its requests take no virtual time.
    world.pass(seconds(30), |_| {}).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
    world.pass(seconds(3 * HOUR), |now| assert!(world.has_valid_credentials(), "{now:?}")).await;
}

#[tokio::test]
async fn a_wall_clock_that_is_set_back_delays_no_action() {
    let world = World::start().await;
    world.pass(seconds(HOUR / 2), |_| assert!(world.has_valid_credentials())).await;
    world.clock.change(|now| now.behind = seconds(24 * HOUR));
    world.pass(seconds(5 * HOUR), |now| assert!(world.has_valid_credentials(), "{now:?}")).await;
    // When the clock is set forward again, everything seems overdue. Early renewals do no harm.
    world.clock.change(|now| now.behind = Duration::ZERO);
    world.pass(seconds(3 * HOUR), |now| assert!(world.has_valid_credentials(), "{now:?}")).await;
    assert_eq!(world.server().refused, Vec::<String>::new());
    assert!(world.requests_for("/v1/database/creds/app") <= 3);
}

#[tokio::test]
async fn an_outage_of_two_hours_is_degraded_then_failing_then_healthy() {
    let world = World::start().await;
    world.pass(seconds(HOUR / 2), |_| assert!(world.has_valid_credentials())).await;
    world.server().is_down = true;
    let before: usize = world.server().asked.values().sum();
    let (mut seen, mut ends) = (Vec::new(), BTreeSet::new());
    world
        .pass(seconds(2 * HOUR), |_| {
            let Status { health, good_until, .. } = world.live.status();
            if seen.last() != Some(&health) {
                seen.push(health);
            }
            ends.extend(good_until.filter(|_| health == Health::Failing));
            assert!(world.live.current().key.expose_secret().starts_with('k'));
        })
        .await;
    let during = world.server().asked.values().sum::<usize>() - before;
    eprintln!("{during} requests in an outage of two hours");
    assert_eq!(seen, [Health::Healthy, Health::Degraded, Health::Failing]);
    assert_eq!(ends.len(), 1, "the time of expiry must not move: {ends:?}");
    // At most four sources, each about once a minute, each with a request for the health of the server.
    assert!((200..1600).contains(&during), "{during}");
    world.server().is_down = false;
    let (up, mut healthy) = (world.clock.real(), None);
    world
        .pass(seconds(300), |now| match world.is_healthy() {
            true => drop(healthy.get_or_insert(now - up)),
            false => healthy = None,
        })
        .await;
    // The token expired during the outage. A login is tried once a minute, and the sources follow it.
    eprintln!("healthy {healthy:?} after it");
    assert!(healthy.is_some_and(|after| after <= seconds(61)), "{healthy:?}");
}

#[tokio::test]
async fn a_role_whose_renewals_always_fail_is_issued_on_schedule_only() {
    let world = World::start().await;
    // The answer if the role's renewal statement has a syntax error.
    let why = "failed to renew entry: resp: (*logical.Response)(nil) err: syntax error";
    world.server().renews_nothing = Some(why);
    for _ in 0..20 {
        world.pass(seconds(30), |_| assert!(world.has_valid_credentials())).await;
        drop(world.live.refresh().await);
    }
    let issued = world.requests_for("/v1/database/creds/app");
    assert!(issued <= 2, "{issued} in ten minutes");
    world.pass(seconds(6 * HOUR), |now| assert!(world.has_valid_credentials(), "{now:?}")).await;
    let issued = world.requests_for("/v1/database/creds/app");
    assert!((6..=10).contains(&issued), "{issued} in six hours, of an hour each");
}

/// Waits until the database credential fails; returns the kind, the message and the time of expiry.
async fn failing(events: &mut Events) -> (ErrorKind, String, Option<SystemTime>) {
    next(events, |event| match event {
        Event::Failing { source, problem, good_until } if source == "database/creds/app" => {
            Some((problem.kind(), problem.to_string(), *good_until))
        }
        _ => None,
    })
    .await
}

async fn recovered(events: &mut Events) {
    next(events, |event| match event {
        Event::Recovered { source } if source == "database/creds/app" => Some(()),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn a_lost_lease_is_failing_until_another_credential_may_be_issued() {
    let world = World::start().await;
    let mut events = world.live.events();
    for _ in 0..3 {
        world.server().revoke_leases(world.clock.real());
        world.live.refresh().await.unwrap();
        assert!(world.is_healthy(), "{:#?}", world.live.status());
    }
    world.server().revoke_leases(world.clock.real());
    let error = world.live.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error}");
    let text = error.to_string();
    assert!(text.contains("lease not found"), "{text}");
    assert!(text.contains("no new credential is issued before 2001-09-09T01:56:40Z"), "{text}");
    let ended = Some(world.clock.now().wall);
    let (kind, message, good_until) = failing(&mut events).await;
    assert_eq!((kind, good_until), (ErrorKind::LeaseLost, ended), "{message}");
    // The reported expiry is the time when the loss was noticed, not the time when the status is read.
    world.pass(seconds(60), |_| {}).await;
    let state = world.state("database/creds/app");
    assert_eq!((state.health, state.expires_at), (Health::Failing, ended), "{state:#?}");
    assert_eq!((state.failing_since, state.next_action), (ended, Some(Action::Rotate)));
    assert!(state.error.unwrap().contains("lease not found"));
    world.pass(seconds(540), |_| {}).await;
    recovered(&mut events).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
}

#[tokio::test]
async fn a_lease_that_may_not_be_renewed_is_degraded_until_another_credential_may_be_issued() {
    let world = World::start().await;
    let mut events = world.live.events();
    world.server().renews_nothing = Some("lease is not renewable");
    for _ in 0..3 {
        world.live.refresh().await.unwrap();
        assert!(world.is_healthy(), "{:#?}", world.live.status());
    }
    let error = world.live.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error}");
    let (_, message, good_until) = failing(&mut events).await;
    assert!(message.contains("lease is not renewable"), "{message}");
    assert_eq!(good_until, Some(world.clock.now().wall + TTL), "the credential stays valid");
    world.pass(seconds(600), |now| assert!(world.has_valid_credentials(), "{now:?}")).await;
    recovered(&mut events).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
}

#[tokio::test]
async fn a_lease_whose_token_was_revoked_is_failing_until_another_credential_may_be_issued() {
    let world = World::start().await;
    for _ in 0..4 {
        world.server().revoke_tokens(world.clock.real());
        // A token that was revoked soon after its login is not replaced at once.
        drop(tokio::join!(world.live.refresh(), world.pass(seconds(90), |_| {})));
    }
    let state = world.state("database/creds/app");
    assert_eq!(state.health, Health::Failing, "{state:#?}");
    assert!(state.expires_at.unwrap() <= world.clock.now().wall, "{state:#?}");
    let error = state.error.unwrap();
    assert!(error.contains("the lease expired with its token"), "{error}");
    world.pass(seconds(600), |_| {}).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
}

#[tokio::test]
async fn a_static_role_that_is_not_read_is_failing_from_its_rotation_on() {
    let world = World::start().await;
    let rotation = world.clock.now().wall + seconds(ROTATION);
    let state = || world.state("database/static-creds/legacy");
    world
        .pass(seconds(ROTATION - HOUR), |now| {
            assert_eq!(state().health, Health::Healthy, "{now:?}");
            assert_eq!(state().expires_at, Some(rotation + seconds(10)), "{now:?}");
        })
        .await;
    world.server().failing = Some("/v1/database/static-creds/legacy");
    world.pass(seconds(HOUR), |now| assert!(state().health < Health::Failing, "{now:?}")).await;
    assert_eq!(state().health, Health::Degraded);
    world.pass(seconds(10), |_| {}).await;
    assert_eq!(
        (state().health, state().expires_at),
        (Health::Failing, Some(rotation + seconds(10)))
    );
    world.server().failing = None;
    world.pass(seconds(60), |_| {}).await;
    assert_eq!(state().health, Health::Healthy, "{:#?}", state());
    assert_eq!(world.live.current().legacy.password().expose_secret(), "p1");
}

#[tokio::test]
async fn a_subscriber_that_falls_behind_learns_how_many_events_it_missed() {
    let world = World::start().await;
    let mut events = world.live.events();
    for _ in 0..300 {
        world.live.refresh().await.unwrap();
    }
    let missed = events.next().await;
    assert!(matches!(missed, Some(Event::Missed { count: 44 })), "{missed:?}");
    for _ in 0..256 {
        let renewed = events.next().await;
        assert!(matches!(renewed, Some(Event::Renewed { .. })), "{renewed:?}");
    }
}

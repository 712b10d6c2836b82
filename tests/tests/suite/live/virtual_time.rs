//! A day, a suspended machine, clocks that are set, and outages: in virtual time.

use std::collections::BTreeSet;
use std::time::SystemTime;

use vault_config::live::{Action, Clock};

use super::world::{HOUR, ROTATION, TTL, World, version};
use super::*;

#[tokio::test]
async fn a_day_in_the_life() {
    let world = World::start().await;
    let began = Instant::now();
    let mut late = Vec::new();
    world
        .pass(seconds(24 * HOUR), |now| {
            assert!(world.is_healthy(), "{now:?}: {:#?}", world.live.status());
            let config = world.live.current();
            // What was true five and a half minutes ago, or half a minute for what is rotated.
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
    assert_eq!(world.books().refused, Vec::<String>::new());
    let status = world.live.status();
    assert_eq!((status.health, status.counters.failures), (Health::Healthy, 0), "{status:#?}");
    assert!((3..=5).contains(&status.counters.logins), "{:?}", status.counters);
    let requests: usize = world.books().asked.values().sum();
    eprintln!("a day in {:?}: {requests} requests, {:#?}", began.elapsed(), world.books().asked);
    assert!(requests < 900, "{requests} requests");
}

#[tokio::test]
async fn after_a_suspend_all_is_renewed_or_replaced_within_half_a_minute() {
    let world = World::start().await;
    world.pass(seconds(HOUR / 2), |_| assert!(world.is_well())).await;
    world.clock.change(|now| {
        now.real += seconds(5 * HOUR);
        now.suspended += seconds(5 * HOUR);
    });
    assert!(!world.is_well(), "everything ended meanwhile");
    // It wakes within thirty seconds, and what it does then takes no time.
    world.pass(seconds(30), |_| {}).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
    world.pass(seconds(3 * HOUR), |now| assert!(world.is_well(), "{now:?}")).await;
}

#[tokio::test]
async fn a_wall_clock_that_is_set_back_stalls_nothing() {
    let world = World::start().await;
    world.pass(seconds(HOUR / 2), |_| assert!(world.is_well())).await;
    world.clock.change(|now| now.behind = seconds(24 * HOUR));
    world.pass(seconds(5 * HOUR), |now| assert!(world.is_well(), "{now:?}")).await;
    // Forward again: everything looks overdue, is renewed early, and no harm is done.
    world.clock.change(|now| now.behind = Duration::ZERO);
    world.pass(seconds(3 * HOUR), |now| assert!(world.is_well(), "{now:?}")).await;
    assert_eq!(world.books().refused, Vec::<String>::new());
    assert!(world.asked("/v1/database/creds/app") <= 3);
}

#[tokio::test]
async fn an_outage_of_two_hours_is_degraded_then_failing_then_over() {
    let world = World::start().await;
    world.pass(seconds(HOUR / 2), |_| assert!(world.is_well())).await;
    world.books().is_down = true;
    let before: usize = world.books().asked.values().sum();
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
    let during = world.books().asked.values().sum::<usize>() - before;
    eprintln!("{during} requests in an outage of two hours");
    assert_eq!(seen, [Health::Healthy, Health::Degraded, Health::Failing]);
    assert_eq!(ends.len(), 1, "what has ended has ended then: {ends:?}");
    // Four things, each about once a minute, and each time the question whether it is sealed.
    assert!((200..1600).contains(&during), "{during}");
    world.books().is_down = false;
    let (up, mut healthy) = (world.clock.real(), None);
    world
        .pass(seconds(300), |now| match world.is_healthy() {
            true => drop(healthy.get_or_insert(now - up)),
            false => healthy = None,
        })
        .await;
    // The token, which ended meanwhile, is tried for once a minute; all the others follow it.
    eprintln!("all well {healthy:?} after it");
    assert!(healthy.is_some_and(|after| after <= seconds(61)), "{healthy:?}");
}

#[tokio::test]
async fn a_role_whose_renewal_always_fails_is_minted_in_turn_and_no_more() {
    let world = World::start().await;
    // As with a broken statement of the role.
    let why = "failed to renew entry: resp: (*logical.Response)(nil) err: syntax error";
    world.books().renews_nothing = Some(why);
    for _ in 0..20 {
        world.pass(seconds(30), |_| assert!(world.is_well())).await;
        drop(world.live.refresh().await);
    }
    let made = world.asked("/v1/database/creds/app");
    assert!(made <= 2, "{made} in ten minutes");
    world.pass(seconds(6 * HOUR), |now| assert!(world.is_well(), "{now:?}")).await;
    let made = world.asked("/v1/database/creds/app");
    assert!((6..=10).contains(&made), "{made} in six hours, of an hour each");
}

/// When the database's credential fails, what is said of it.
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
async fn a_lease_that_is_gone_is_failing_until_another_may_be_made() {
    let world = World::start().await;
    let mut events = world.live.events();
    for _ in 0..3 {
        world.books().revoke_leases(world.clock.real());
        world.live.refresh().await.unwrap();
        assert!(world.is_healthy(), "{:#?}", world.live.status());
    }
    world.books().revoke_leases(world.clock.real());
    let error = world.live.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error}");
    let text = error.to_string();
    assert!(text.contains("lease not found"), "{text}");
    assert!(text.contains("no new credential is issued before 2001-09-09T01:56:40Z"), "{text}");
    let ended = Some(world.clock.now().wall);
    let (kind, message, good_until) = failing(&mut events).await;
    assert_eq!((kind, good_until), (ErrorKind::LeaseLost, ended), "{message}");
    // It expired when that was noticed, and not when the status is read.
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
async fn a_lease_that_may_not_be_renewed_is_degraded_until_another_may_be_made() {
    let world = World::start().await;
    let mut events = world.live.events();
    world.books().renews_nothing = Some("lease is not renewable");
    for _ in 0..3 {
        world.live.refresh().await.unwrap();
        assert!(world.is_healthy(), "{:#?}", world.live.status());
    }
    let error = world.live.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error}");
    let (_, message, good_until) = failing(&mut events).await;
    assert!(message.contains("lease is not renewable"), "{message}");
    assert_eq!(good_until, Some(world.clock.now().wall + TTL), "it lives on");
    world.pass(seconds(600), |now| assert!(world.is_well(), "{now:?}")).await;
    recovered(&mut events).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
}

#[tokio::test]
async fn a_lease_whose_token_was_revoked_is_failing_until_another_may_be_made() {
    let world = World::start().await;
    for _ in 0..4 {
        world.books().revoke_tokens(world.clock.real());
        // Tokens that die young are not replaced at once.
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
    world.books().failing = Some("/v1/database/static-creds/legacy");
    world.pass(seconds(HOUR), |now| assert!(state().health < Health::Failing, "{now:?}")).await;
    assert_eq!(state().health, Health::Degraded);
    world.pass(seconds(10), |_| {}).await;
    assert_eq!(
        (state().health, state().expires_at),
        (Health::Failing, Some(rotation + seconds(10)))
    );
    world.books().failing = None;
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

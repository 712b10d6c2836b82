//! Several configurations over one connection.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use vault_config::auth::{AppRole, Kubernetes};
use vault_config_tests::{ScriptedAnswer, ScriptedServer};

use super::world::{Everything, HOUR, World};
use super::*;

const MINUTE: u64 = 60;

fn errors(status: u16, words: &str) -> ScriptedAnswer {
    ScriptedAnswer::json(status, &json!({ "errors": [words] }))
}

/// A world in which three configurations share the connection.
async fn three() -> (World, [Live<Everything>; 2]) {
    let world = World::start().await;
    let watch = || Everything::loader().without_dotenv().vault(world.vault.clone()).watch();
    let others = [watch().await.unwrap(), watch().await.unwrap()];
    world.pass(seconds(1), |_| {}).await;
    (world, others)
}

#[tokio::test]
async fn a_dead_token_costs_all_of_them_one_login_and_each_one_credential() {
    let (world, others) = three().await;
    assert_eq!((world.asked("/v1/auth/approle/login"), world.books().leases.len()), (1, 3));
    let first = Arc::new(AtomicBool::new(true));
    world.answer_instead(move |request, _| {
        let fails =
            request.path() == "/v1/auth/approle/login" && first.swap(false, Ordering::SeqCst);
        fails.then(|| errors(500, "internal error"))
    });
    world.books().revoke_tokens(world.clock.real());
    drop(world.live.refresh().await);
    world.pass(seconds(2 * MINUTE), |_| {}).await;
    assert_eq!(world.asked("/v1/auth/approle/login"), 3, "the first, one that failed, and one");
    assert_eq!(world.books().leases.len(), 6, "one each");
    for live in others.iter().chain([&world.live]) {
        let status = live.status();
        assert_eq!(status.health, Health::Healthy, "{status:#?}");
        assert!(world.books().is_alive(live.current().database.username(), world.clock.real()));
    }
}

/// What one of them has repaired, the others do not report as failing.
#[tokio::test]
async fn what_works_again_works_again_for_all_of_them() {
    let (world, others) = three().await;
    let mut events: Vec<_> = others.iter().map(Live::events).collect();
    world.answer_instead(|request, _| {
        let is_renewal = request.path() == "/v1/auth/token/renew-self";
        is_renewal.then(|| errors(500, "internal error"))
    });
    world.pass(seconds(45 * MINUTE), |_| {}).await;
    let health = |live: &Live<Everything>| live.status().token.unwrap().state.health;
    assert!(others.iter().all(|live| health(live) == Health::Degraded), "it fails for all");
    world.answer_again();
    world.pass(seconds(2 * MINUTE), |_| {}).await;
    assert!(others.iter().all(|live| health(live) == Health::Healthy));
    for events in &mut events {
        let is_of_token = |event: &Event| match event {
            Event::Failing { source, .. } if source == "token" => Some("failing"),
            Event::Recovered { source } if source == "token" => Some("recovered"),
            _ => None,
        };
        assert_eq!(next(events, is_of_token).await, "failing");
        assert_eq!(next(events, is_of_token).await, "recovered");
    }
    let renewals = world.asked("/v1/auth/token/renew-self");
    assert!(renewals < 40, "{renewals}: one of them renews for all");
}

/// Five wrong tries within a quarter of an hour lock the account, for all instances.
#[tokio::test]
async fn a_secret_that_is_refused_is_hardly_sent_again() {
    let (world, others) = three().await;
    world.answer_instead(|request, _| {
        let is_login = request.path() == "/v1/auth/approle/login";
        is_login.then(|| errors(400, "invalid role or secret ID"))
    });
    world.books().revoke_tokens(world.clock.real());
    let began = world.clock.real();
    for _ in 0..60 {
        for live in others.iter().chain([&world.live]) {
            drop(tokio::join!(live.refresh(), world.pass(Duration::ZERO, |_| {})));
        }
        world.pass(seconds(MINUTE), |_| {}).await;
    }
    let books = world.books();
    let logins: Vec<Duration> = books
        .log
        .iter()
        .filter(|(at, path)| *at >= began && path == "/v1/auth/approle/login")
        .map(|(at, _)| *at)
        .collect();
    for at in &logins {
        let soon =
            logins.iter().filter(|other| **other >= *at && **other < *at + seconds(15 * MINUTE));
        // Another instance, and a load by hand, have to fit in beside it.
        assert!(soon.count() <= 2, "{logins:?}");
    }
}

/// Kubernetes' API is away for ten minutes: 403 for the right token. Nothing is locked by that.
#[tokio::test]
async fn a_login_that_depends_on_what_is_away_is_tried_each_minute() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwt");
    std::fs::write(&file, "a.b.c").unwrap();
    let world = World::with(Kubernetes::new("app").token_file(&file), |_| {}).await;
    world.answer_instead(|request, _| {
        let is_login = request.path() == "/v1/auth/kubernetes/login";
        is_login.then(|| errors(403, "permission denied"))
    });
    world.books().revoke_tokens(world.clock.real());
    drop(world.live.refresh().await);
    world.pass(seconds(10 * MINUTE), |_| {}).await;
    assert!(!world.is_well(), "or it shows nothing");
    world.answer_again();
    world.pass(seconds(75), |_| {}).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
}

/// A policy without `default`: repeating for each token what was refused does not help.
#[tokio::test]
async fn tokens_that_may_not_renew_themselves_are_replaced_in_their_time() {
    let world = World::with(AppRole::new("role", "secret"), |books| {
        books.token_ttl = Some(6);
    })
    .await;
    let denied = "1 error occurred:\n\t* permission denied\n\n";
    world.answer_instead(move |request, _| {
        let is_renewal = request.path() == "/v1/auth/token/renew-self";
        is_renewal.then(|| errors(403, denied))
    });
    world.pass(seconds(20), |_| {}).await;
    let began = world.clock.real();
    world.pass(seconds(MINUTE), |now| assert!(world.is_well(), "{now:?}")).await;
    let (renewals, logins) = (
        world.asked_since(began, "/v1/auth/token/renew-self"),
        world.asked_since(began, "/v1/auth/approle/login"),
    );
    assert_eq!(renewals, 0, "it is remembered");
    assert!((10..=22).contains(&logins), "{logins} logins in a minute");
}

/// The runtime that a configuration was watched on has ended: its place is free, and nothing waits for it.
#[test]
fn a_runtime_that_ends_leaves_its_place_and_stops_its_configuration() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let outer = runtime();
    let revoked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&revoked);
    let server = outer.block_on(ScriptedServer::start(move |request| match request.path() {
        "/v1/auth/approle/login" => ScriptedAnswer::json(
            200,
            &json!({ "auth": { "client_token": "t", "lease_duration": HOUR, "renewable": true } }),
        ),
        "/v1/auth/token/revoke-self" => {
            counted.fetch_add(1, Ordering::SeqCst);
            ScriptedAnswer::status(204)
        }
        _ => {
            let data = json!({ "data": { "key": "k" }, "metadata": { "version": 1 } });
            ScriptedAnswer::json(200, &json!({ "data": data }))
        }
    }));
    let vault = vault_config::Vault::builder()
        .address(server.address())
        .auth(AppRole::new("role", "secret"))
        .build()
        .unwrap();
    #[derive(Debug, VaultConfig)]
    struct Config {
        #[vault(kv = "app")]
        key: SecretString,
    }
    let watch = || Config::loader().without_dotenv().vault(vault.clone()).watch();
    let live = outer.block_on(watch()).unwrap();
    // Not one turn of its task: it ends with the load.
    let single = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stopped = single.block_on(watch()).unwrap();
    drop(single);
    let mut subscription = stopped.subscribe();
    outer.block_on(async {
        assert_eq!(stopped.status().health, Health::Stopped);
        let end = tokio::time::timeout(seconds(30), subscription.changed()).await;
        assert!(end.expect("the end is reported").is_none());
        assert_eq!(stopped.refresh().await.unwrap_err().kind(), ErrorKind::Stopped);
        assert_eq!(revoked.load(Ordering::SeqCst), 0);
        live.shutdown().await.unwrap();
        assert_eq!(revoked.load(Ordering::SeqCst), 1, "it was the last one");
    });
    assert_eq!(stopped.current().key.expose_secret(), "k");
}

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
async fn a_revoked_token_costs_one_login_in_total_and_one_credential_each() {
    let (world, others) = three().await;
    assert_eq!((world.requests_for("/v1/auth/approle/login"), world.server().leases.len()), (1, 3));
    let first = Arc::new(AtomicBool::new(true));
    world.override_answers(move |request, _| {
        let fails =
            request.path() == "/v1/auth/approle/login" && first.swap(false, Ordering::SeqCst);
        fails.then(|| errors(500, "internal error"))
    });
    world.server().revoke_tokens(world.clock.real());
    drop(world.live.refresh().await);
    world.pass(seconds(2 * MINUTE), |_| {}).await;
    assert_eq!(
        world.requests_for("/v1/auth/approle/login"),
        3,
        "the first, a failed one, and its retry"
    );
    assert_eq!(world.server().leases.len(), 6, "one each");
    for live in others.iter().chain([&world.live]) {
        let status = live.status();
        assert_eq!(status.health, Health::Healthy, "{status:#?}");
        assert!(world.server().is_valid(live.current().database.username(), world.clock.real()));
    }
}

/// One configuration renews the token for all. The others must not keep reporting a failure that has ended.
#[tokio::test]
async fn a_recovery_is_reported_to_every_configuration() {
    let (world, others) = three().await;
    let mut events: Vec<_> = others.iter().map(Live::events).collect();
    world.override_answers(|request, _| {
        let is_renewal = request.path() == "/v1/auth/token/renew-self";
        is_renewal.then(|| errors(500, "internal error"))
    });
    world.pass(seconds(45 * MINUTE), |_| {}).await;
    let health = |live: &Live<Everything>| live.status().token.unwrap().state.health;
    assert!(
        others.iter().all(|live| health(live) == Health::Degraded),
        "all of them report the failure"
    );
    world.restore_answers();
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
    let renewals = world.requests_for("/v1/auth/token/renew-self");
    assert!(renewals < 40, "{renewals}: one of them renews for all");
}

/// Five wrong attempts within a quarter of an hour lock the account for all instances.
#[tokio::test]
async fn a_refused_secret_id_is_sent_at_most_twice_in_a_quarter_of_an_hour() {
    let (world, others) = three().await;
    world.override_answers(|request, _| {
        let is_login = request.path() == "/v1/auth/approle/login";
        is_login.then(|| errors(400, "invalid role or secret ID"))
    });
    world.server().revoke_tokens(world.clock.real());
    let began = world.clock.real();
    for _ in 0..60 {
        for live in others.iter().chain([&world.live]) {
            drop(tokio::join!(live.refresh(), world.pass(Duration::ZERO, |_| {})));
        }
        world.pass(seconds(MINUTE), |_| {}).await;
    }
    let server = world.server();
    let logins: Vec<Duration> = server
        .log
        .iter()
        .filter(|(at, path)| *at >= began && path == "/v1/auth/approle/login")
        .map(|(at, _)| *at)
        .collect();
    for at in &logins {
        let soon =
            logins.iter().filter(|other| **other >= *at && **other < *at + seconds(15 * MINUTE));
        // This leaves attempts for another instance and for a load by hand.
        assert!(soon.count() <= 2, "{logins:?}");
    }
}

/// While the API of Kubernetes is away, the server refuses a correct token with 403. Attempts lock no account there.
#[tokio::test]
async fn a_login_that_kubernetes_cannot_confirm_is_retried_each_minute() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwt");
    std::fs::write(&file, "a.b.c").unwrap();
    let world = World::with(Kubernetes::new("app").token_file(&file), |_| {}).await;
    world.override_answers(|request, _| {
        let is_login = request.path() == "/v1/auth/kubernetes/login";
        is_login.then(|| errors(403, "permission denied"))
    });
    world.server().revoke_tokens(world.clock.real());
    drop(world.live.refresh().await);
    world.pass(seconds(10 * MINUTE), |_| {}).await;
    assert!(!world.has_valid_credentials(), "otherwise this tests nothing");
    world.restore_answers();
    world.pass(seconds(75), |_| {}).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
}

/// Without the `default` policy the server refuses each renewal. The refusal is remembered for later tokens too.
#[tokio::test]
async fn tokens_that_may_not_renew_themselves_are_replaced_on_schedule() {
    let world = World::with(AppRole::new("role", "secret"), |server| {
        server.token_ttl = Some(6);
    })
    .await;
    let denied = "1 error occurred:\n\t* permission denied\n\n";
    world.override_answers(move |request, _| {
        let is_renewal = request.path() == "/v1/auth/token/renew-self";
        is_renewal.then(|| errors(403, denied))
    });
    world.pass(seconds(20), |_| {}).await;
    let began = world.clock.real();
    world.pass(seconds(MINUTE), |now| assert!(world.has_valid_credentials(), "{now:?}")).await;
    let (renewals, logins) = (
        world.requests_since(began, "/v1/auth/token/renew-self"),
        world.requests_since(began, "/v1/auth/approle/login"),
    );
    assert_eq!(renewals, 0, "the refusal is remembered");
    assert!((10..=22).contains(&logins), "{logins} logins in a minute");
}

/// The other configurations renew the token, and their shutdown does not wait for the one that has ended.
#[test]
fn the_end_of_a_runtime_stops_its_configuration_and_no_other() {
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
    // The runtime ends right after the load, before the task of the configuration has run once.
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
        assert_eq!(revoked.load(Ordering::SeqCst), 1, "the last configuration revokes the token");
    });
    assert_eq!(stopped.current().key.expose_secret(), "k");
}

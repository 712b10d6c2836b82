//! Servers that are away, and gateways in front of them.

use vault_config::auth::AppRole;
use vault_config_tests::{ScriptedAnswer, ScriptedServer};

use super::world::{HOUR, World};
use super::*;

const MINUTE: u64 = 60;

/// The answers of a gateway, or of a server without its storage, to every request.
fn answers() -> Vec<(&'static str, ScriptedAnswer)> {
    let html = |status| {
        ScriptedAnswer::status(status).header("Content-Type", "text/html").body("<html>away</html>")
    };
    let errors = |status, words| ScriptedAnswer::json(status, &json!({ "errors": [words] }));
    vec![
        ("HTML 200", html(200)),
        ("HTML 403", html(403)),
        ("HTML 503", html(503)),
        ("HTML 504", html(504)),
        ("500", errors(500, "internal error")),
        ("sealed", errors(503, "Vault is sealed")),
    ]
}

#[tokio::test]
async fn a_lost_lease_is_replaced_soon_after_an_outage() {
    for (what, answer) in answers() {
        for minutes in [1, 3, 5] {
            let world = World::start().await;
            world.pass(seconds(10 * MINUTE), |_| {}).await;
            world.server().revoke_leases(world.clock.real());
            let answer = answer.clone();
            world.override_answers(move |_, _| Some(answer.clone()));
            let (refreshed, ()) =
                tokio::join!(world.live.refresh(), world.pass(seconds(90), |_| {}));
            assert!(refreshed.is_err(), "{what}");
            world.pass(seconds(minutes * MINUTE), |_| {}).await;
            assert!(!world.has_valid_credentials(), "otherwise this tests nothing");
            world.restore_answers();
            let (back, mut well) = (world.clock.real(), None);
            world
                .pass(seconds(75), |now| {
                    if world.has_valid_credentials() {
                        well.get_or_insert(now - back);
                    }
                })
                .await;
            assert!(well.is_some(), "{what} for {minutes} min: {:#?}", world.live.status());
            // The requests that were refused issued no credential.
            assert!(world.server().leases.len() <= 3, "{what}: {}", world.server().leases.len());
            world.pass(seconds(6 * MINUTE), |_| assert!(world.has_valid_credentials())).await;
            assert!(world.is_healthy(), "{what}: {:#?}", world.live.status());
        }
    }
}

#[tokio::test]
async fn retry_after_applies_to_the_token_and_every_source() {
    let world = World::start().await;
    world.pass(seconds(10 * MINUTE), |_| {}).await;
    let began = world.clock.real();
    let limited = ScriptedAnswer::json(429, &json!({ "errors": ["slow down"] }));
    world.override_answers(move |_, _| Some(limited.clone().header("Retry-After", "600")));
    world.pass(seconds(599), |_| {}).await;
    let asked = world.requests_since(began, "/v1/");
    assert!(asked <= 2, "{asked} requests: {:?}", world.server().log);
    world.restore_answers();
    world.pass(seconds(20 * MINUTE), |_| {}).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
}

/// The limit does not depend on the number of paths.
#[tokio::test]
async fn an_outage_costs_at_most_a_request_a_second() {
    for (what, answer) in answers() {
        let world = World::start().await;
        world.pass(seconds(10 * MINUTE), |_| {}).await;
        let began = world.clock.real();
        world.override_answers(move |_, _| Some(answer.clone()));
        for _ in 0..4 {
            drop(tokio::join!(world.live.refresh(), world.pass(seconds(MINUTE), |_| {})));
        }
        world.pass(seconds(56 * MINUTE), |_| {}).await;
        let server = world.server();
        let times: Vec<Duration> =
            server.log.iter().map(|(at, _)| *at).filter(|at| *at >= began).collect();
        // The first requests are sent together, and each probe after that alone.
        for (index, at) in times.iter().enumerate() {
            let minute =
                times[index..].iter().take_while(|other| **other - *at < seconds(60)).count();
            assert!(minute <= 60, "{what}: {minute} in the minute from {at:?}");
        }
        assert!(times.len() < 300, "{what}: {} requests in an hour", times.len());
        assert!(times.len() > 30, "{what}: {} requests in an hour", times.len());
    }
}

#[tokio::test]
async fn one_failing_path_delays_no_other() {
    let world = World::start().await;
    world.server().failing = Some("/v1/database/static-creds/legacy");
    world.pass(seconds(8 * HOUR), |now| assert!(world.has_valid_credentials(), "{now:?}")).await;
    let states = world.live.status().sources;
    let failing = states.iter().filter(|source| source.state.health != Health::Healthy);
    let failing: Vec<_> = failing.map(|source| source.source.as_str()).collect();
    assert_eq!(failing, ["database/static-creds/legacy"]);
    assert!(world.live.current().key.expose_secret() != "k1", "changes are seen meanwhile");
}

/// Over HTTP/1.1, a request without an answer occupies its TCP connection.
#[tokio::test]
async fn paths_that_hang_delay_no_renewal() {
    let is_hanging = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (hangs, renewed) = (Arc::clone(&is_hanging), Arc::new(Mutex::new(0)));
    let renewals = Arc::clone(&renewed);
    let server = ScriptedServer::start(move |request| {
        let ok = |body: Value| ScriptedAnswer::json(200, &body);
        match request.path() {
            "/v1/auth/approle/login" => {
                ok(json!({ "auth": { "client_token": "t", "lease_duration": 3600, "renewable": true } }))
            }
            "/v1/database/creds/app" => ok(json!({
                "lease_id": "lease", "lease_duration": 12, "renewable": true,
                "data": { "username": "u", "password": "p" },
            })),
            "/v1/sys/leases/renew" => {
                *renewals.lock().unwrap() += 1;
                ok(json!({ "lease_id": "lease", "lease_duration": 12, "renewable": true }))
            }
            _ if hangs.load(std::sync::atomic::Ordering::SeqCst) => ScriptedAnswer::never(),
            _ => ok(json!({ "data": { "data": { "key": "k" }, "metadata": { "version": 1 } } })),
        }
    })
    .await;
    let vault = vault_config::Vault::builder()
        .address(server.address())
        .auth(AppRole::new("role", "secret"))
        // Fewer than paths that hang.
        .max_connections(2)
        .build()
        .unwrap();
    #[derive(Debug, VaultConfig)]
    #[allow(dead_code)]
    struct Paths {
        #[vault(kv = "a", key = "key", refresh = "1s")]
        a: SecretString,
        #[vault(kv = "b", key = "key", refresh = "1s")]
        b: SecretString,
        #[vault(kv = "c", key = "key", refresh = "1s")]
        c: SecretString,
        #[vault(database = "app")]
        database: DatabaseCredentials,
    }
    let live = Paths::loader().without_dotenv().vault(vault).watch().await.unwrap();
    is_hanging.store(true, std::sync::atomic::Ordering::SeqCst);
    let before = *renewed.lock().unwrap();
    until("renewed while others hang", async || *renewed.lock().unwrap() > before + 3).await;
    let sources = live.status().sources;
    let lease = sources.iter().find(|source| source.source == "database/creds/app").unwrap();
    assert!(lease.state.health < Health::Failing, "{lease:#?}");
}

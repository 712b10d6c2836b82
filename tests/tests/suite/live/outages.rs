//! Servers that are away, and gateways in front of them.

use vault_config::auth::AppRole;
use vault_config_tests::{ScriptedAnswer, ScriptedServer};

use super::world::{HOUR, World};
use super::*;

const MINUTE: u64 = 60;

/// What stands in front of a server, or a server without its storage, answers to everything.
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
            world.books().revoke_leases(world.clock.real());
            let answer = answer.clone();
            world.answer_instead(move |_, _| Some(answer.clone()));
            let (refreshed, ()) =
                tokio::join!(world.live.refresh(), world.pass(seconds(90), |_| {}));
            assert!(refreshed.is_err(), "{what}");
            world.pass(seconds(minutes * MINUTE), |_| {}).await;
            assert!(!world.is_well(), "or it shows nothing");
            world.answer_again();
            let (back, mut well) = (world.clock.real(), None);
            world
                .pass(seconds(75), |now| {
                    if world.is_well() {
                        well.get_or_insert(now - back);
                    }
                })
                .await;
            assert!(well.is_some(), "{what} for {minutes} min: {:#?}", world.live.status());
            // No more were issued than one for the loss: what was refused left nothing behind.
            assert!(world.books().leases.len() <= 3, "{what}: {}", world.books().leases.len());
            world.pass(seconds(6 * MINUTE), |_| assert!(world.is_well())).await;
            assert!(world.is_healthy(), "{what}: {:#?}", world.live.status());
        }
    }
}

#[tokio::test]
async fn retry_after_binds_everything_that_is_watched() {
    let world = World::start().await;
    world.pass(seconds(10 * MINUTE), |_| {}).await;
    let began = world.clock.real();
    let limited = ScriptedAnswer::json(429, &json!({ "errors": ["slow down"] }));
    world.answer_instead(move |_, _| Some(limited.clone().header("Retry-After", "600")));
    world.pass(seconds(599), |_| {}).await;
    let asked = world.asked_since(began, "/v1/");
    assert!(asked <= 2, "{asked} requests: {:?}", world.books().log);
    world.answer_again();
    world.pass(seconds(20 * MINUTE), |_| {}).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
}

/// However many paths there are.
#[tokio::test]
async fn an_outage_costs_at_most_a_request_a_second() {
    for (what, answer) in answers() {
        let world = World::start().await;
        world.pass(seconds(10 * MINUTE), |_| {}).await;
        let began = world.clock.real();
        world.answer_instead(move |_, _| Some(answer.clone()));
        for _ in 0..4 {
            drop(tokio::join!(world.live.refresh(), world.pass(seconds(MINUTE), |_| {})));
        }
        world.pass(seconds(56 * MINUTE), |_| {}).await;
        let books = world.books();
        let times: Vec<Duration> =
            books.log.iter().map(|(at, _)| *at).filter(|at| *at >= began).collect();
        // The first requests go out together; each probe after that by itself.
        for (index, at) in times.iter().enumerate() {
            let minute =
                times[index..].iter().take_while(|other| **other - *at < seconds(60)).count();
            assert!(minute <= 60, "{what}: {minute} in the minute from {at:?}");
        }
        assert!(times.len() < 300, "{what}: {} requests in an hour", times.len());
        assert!(times.len() > 30, "{what}: {} requests in an hour", times.len());
    }
}

/// What hangs holds up nothing: neither other paths nor the status.
#[tokio::test]
async fn a_path_that_fails_for_itself_holds_up_none_of_the_others() {
    let world = World::start().await;
    world.books().failing = Some("/v1/database/static-creds/legacy");
    world.pass(seconds(8 * HOUR), |now| assert!(world.is_well(), "{now:?}")).await;
    let states = world.live.status().sources;
    let failing = states.iter().filter(|source| source.state.health != Health::Healthy);
    let failing: Vec<_> = failing.map(|source| source.source.as_str()).collect();
    assert_eq!(failing, ["database/static-creds/legacy"]);
    assert!(world.live.current().key.expose_secret() != "k1", "changes are seen meanwhile");
}

/// Over HTTP/1.1 a request that is not answered keeps its connection.
#[tokio::test]
async fn paths_that_hang_hold_up_no_lease() {
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
        // Fewer than there are paths.
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

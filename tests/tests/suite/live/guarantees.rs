//! Guarantees that hold during failures too: a rejected configuration is not published, no credential is left behind,
//! and none is issued again and again.

use std::sync::atomic::{AtomicUsize, Ordering};

use vault_config_tests::{Fault, FaultProxy, ScriptedAnswer};

use super::world::{Validity, World};
use super::*;

const MINUTE: u64 = 60;
const CREDS: &str = "/v1/database/creds/app";
const LOGIN: &str = "/v1/auth/approle/login";

#[tokio::test]
async fn a_configuration_that_a_validator_rejects_is_never_published() {
    fn short(key: &SecretString) -> Result<(), String> {
        (key.expose_secret().len() < 5).then_some(()).ok_or_else(|| "is too long".to_owned())
    }
    #[derive(Debug, VaultConfig)]
    struct Checked {
        #[vault(kv = "app", refresh = "1s", validate = short)]
        key: SecretString,
        #[vault(kv = "app", key = "other")]
        neighbour: SecretString,
    }
    let bao = bao().await;
    let live = loader::<Checked>(&bao, json!({})).await.watch().await.unwrap();
    let (mut events, mut subscription) = (live.events(), live.subscribe());
    bao.kv_put("secret", "app", json!({ "key": "too long", "other": "o2" })).await;
    next(&mut events, |event| matches!(event, Event::Rejected { .. }).then_some(())).await;
    let config = live.current();
    assert_eq!((config.key.expose_secret(), config.neighbour.expose_secret()), ("k1", "o1"));
    let woken = tokio::time::timeout(Duration::from_millis(100), subscription.changed()).await;
    assert!(woken.is_err(), "nothing was published");
    bao.kv_put("secret", "app", json!({ "key": "k3", "other": "o3" })).await;
    let config = subscription.changed().await.unwrap();
    assert_eq!((config.key.expose_secret(), config.neighbour.expose_secret()), ("k3", "o3"));
}

#[tokio::test]
async fn a_replaced_token_is_revoked_when_no_credential_depends_on_it() {
    let servers = Servers::start("1h", "24h").await;
    let settings = json!({ "token_ttl": "4s", "token_max_ttl": "8s" });
    let loader = loader::<Config>(&servers.bao, settings).await.overlap(Duration::ZERO);
    let live = loader.watch().await.unwrap();
    until("two logins", async || live.status().counters.logins >= 2).await;
    until("the token before is revoked", async || {
        requests_for(&servers.bao, "auth/token/revoke-self") > 0
    })
    .await;
    // Without an overlap, credentials may be replaced and revoked while a session is opened with them.
    let mut checked = 0;
    while checked < 20 {
        let config = live.current();
        let is_accepted = servers.accepts(&config.database).await;
        let is_current = std::ptr::eq(&*config, &*live.current());
        assert!(is_accepted || !is_current, "{:#?}", live.status());
        checked += u32::from(is_accepted);
    }
}

/// Each request whose answer was lost may have issued a credential that nothing can revoke.
#[tokio::test]
async fn lost_answers_count_against_the_issue_budget() {
    let world = World::start().await;
    world.server().renews_nothing = Some("lease is not renewable");
    world.override_answers(|request, _| (request.path() == CREDS).then(ScriptedAnswer::close));
    let began = world.clock.real();
    for _ in 0..40 {
        drop(tokio::join!(world.live.refresh(), world.pass(seconds(2), |_| {})));
    }
    let asked = world.requests_since(began, CREDS);
    assert!((10..=21).contains(&asked), "{asked} within 80 s");
    world.restore_answers();
    world.pass(seconds(11 * MINUTE), |_| {}).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
}

#[tokio::test]
async fn tokens_that_are_revoked_again_and_again_cost_few_logins() {
    let world = World::start().await;
    let began = world.clock.real();
    for _ in 0..600 {
        world.server().revoke_tokens(world.clock.real());
        drop(tokio::join!(world.live.refresh(), world.pass(seconds(1), |_| {})));
    }
    let logins = world.requests_since(began, LOGIN);
    assert!(logins < 60, "{logins} logins in ten minutes");
    world.pass(seconds(11 * MINUTE), |_| {}).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
}

/// The renewal gives readers time to change to the new credential.
#[tokio::test]
async fn a_lease_that_was_replaced_late_is_renewed_once_more() {
    let world = World::start().await;
    world.server().failing = Some("/v1/sys/leases/renew");
    let issued = || world.requests_for(CREDS);
    while issued() == 1 {
        world.pass(seconds(10), |now| assert!(now < seconds(2 * 3600))).await;
    }
    let server = world.server();
    let (at, _) = server.log.iter().rfind(|(_, path)| path == CREDS).unwrap();
    let renewals =
        server.log.iter().filter(|(when, path)| when >= at && path.contains("leases/renew"));
    assert!(renewals.count() >= 1, "{:?}", server.log);
}

/// A supplied token is not revoked, so the lease that arrives during the shutdown must be shortened by itself.
#[tokio::test]
async fn a_credential_that_is_issued_during_a_shutdown_is_not_left_behind() {
    let servers = Servers::start("1h", "24h").await;
    let proxy = FaultProxy::in_front_of(servers.bao.address()).await;
    let variables = [("VAULT_ADDR", proxy.address()), ("VAULT_TOKEN", "root".to_owned())];
    let live = Config::loader().without_dotenv().env_source(variables).watch().await.unwrap();
    let path = "sys/leases/revoke-prefix/database/creds/app";
    servers.bao.write(path, json!({ "sync": true })).await;
    servers.bao.clear_audit();
    proxy.set(Fault::Delay(Duration::from_millis(300))).await;
    let asker = live.clone();
    let refresh = tokio::spawn(async move { asker.refresh().await });
    // The audit log contains the request before its answer has arrived.
    until("another is asked for", async || requests_for(&servers.bao, "database/creds/app") > 0)
        .await;
    live.shutdown().await.unwrap();
    drop(refresh.await);
    servers.no_user_is_left().await;
}

/// An answer without a password still has a lease.
#[tokio::test]
async fn the_lease_of_an_unusable_answer_is_shortened() {
    let world = World::start().await;
    let (ended, counted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (of_world, of_test) = (Arc::clone(&ended), Arc::clone(&counted));
    world.override_answers(move |request, _| match request.path() {
        CREDS => {
            of_test.fetch_add(1, Ordering::SeqCst);
            let data = json!({ "username": "half" });
            let body = json!({ "lease_id": "half", "lease_duration": 3600, "renewable": true, "data": data });
            Some(ScriptedAnswer::json(200, &body))
        }
        "/v1/sys/leases/renew" if request.json()["lease_id"] == "half" => {
            of_world.fetch_add(usize::from(request.json()["increment"] == 1), Ordering::SeqCst);
            Some(ScriptedAnswer::json(200, &json!({ "lease_id": "half", "lease_duration": 1 })))
        }
        _ => None,
    });
    world.server().revoke_leases(world.clock.real());
    assert!(world.live.refresh().await.is_err());
    world.pass(seconds(MINUTE), |_| {}).await;
    let (ended, issued) = (ended.load(Ordering::SeqCst), counted.load(Ordering::SeqCst));
    assert!(issued > 0 && ended == issued, "{ended} of {issued}");
}

/// Code of the user runs inside of requests, such as a DNS resolver.
#[tokio::test]
async fn a_panic_in_a_request_is_a_failure_of_that_request() {
    use std::sync::atomic::AtomicBool;

    #[derive(Debug)]
    struct Resolver(Arc<AtomicBool>, std::net::SocketAddr);
    impl reqwest::dns::Resolve for Resolver {
        fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
            assert!(!self.0.load(Ordering::SeqCst), "a defect of the user's resolver");
            let address = self.1;
            Box::pin(async move {
                let addresses: reqwest::dns::Addrs = Box::new(std::iter::once(address));
                Ok(addresses)
            })
        }
    }
    let bao = bao().await;
    #[derive(Debug, VaultConfig)]
    struct Config {
        #[vault(kv = "app", refresh = "1s")]
        key: SecretString,
    }
    let (host, port) = bao.address().trim_start_matches("http://").split_once(':').unwrap();
    let address: std::net::SocketAddr = format!("{host}:{port}").parse().unwrap();
    let panics = Arc::new(AtomicBool::new(false));
    let client = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .dns_resolver(Arc::new(Resolver(Arc::clone(&panics), address)))
        .build()
        .unwrap();
    let ids = bao.approle("app", &["app"], json!({})).await;
    let vault = vault_config::Vault::builder()
        .address(format!("http://vault.test:{port}"))
        .auth(vault_config::auth::AppRole::new(ids.role_id.as_str(), ids.secret_id.as_str()))
        .http_client(client)
        .build()
        .unwrap();
    let live = Config::loader().without_dotenv().vault(vault).watch().await.unwrap();
    panics.store(true, Ordering::SeqCst);
    until("it fails", async || live.status().health == Health::Degraded).await;
    panics.store(false, Ordering::SeqCst);
    bao.kv_put("secret", "app", json!({ "key": "k2" })).await;
    until("it is read again", async || live.current().key.expose_secret() == "k2").await;
}

/// A credential that is issued under a token that is being replaced would expire with it.
#[tokio::test]
async fn no_credential_is_issued_under_a_retiring_token() {
    use std::sync::atomic::AtomicBool;
    let world = World::start().await;
    let now = world.clock.real();
    world.server().tokens.insert("s.next".to_owned(), Validity::new(now, 9 * 3600));
    let (is_leaving, under_old) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (leaving, counted) = (Arc::clone(&is_leaving), Arc::clone(&under_old));
    world.override_answers(move |request, _| match request.path() {
        "/v1/auth/token/renew-self" => {
            let auth = json!({ "client_token": "s.0", "lease_duration": 1800 });
            Some(ScriptedAnswer::json(200, &json!({ "auth": auth })))
        }
        LOGIN => {
            leaving.store(true, Ordering::SeqCst);
            let auth =
                json!({ "client_token": "s.next", "lease_duration": 3600, "renewable": true });
            let answer = ScriptedAnswer::json(200, &json!({ "auth": auth }));
            Some(answer.after(Duration::from_millis(500)))
        }
        "/v1/sys/leases/renew" => {
            let why = json!({ "errors": ["lease is not renewable"] });
            Some(ScriptedAnswer::json(400, &why))
        }
        CREDS => {
            let is_old = request.header("x-vault-token") == Some("s.0");
            let is_late = is_old && leaving.load(Ordering::SeqCst);
            counted.fetch_add(usize::from(is_late), Ordering::SeqCst);
            None
        }
        _ => None,
    });
    let refreshed = async {
        while !is_leaving.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        world.live.refresh().await
    };
    let (refreshed, ()) = tokio::join!(refreshed, world.pass(seconds(41 * MINUTE), |_| {}));
    refreshed.unwrap();
    assert_eq!(under_old.load(Ordering::SeqCst), 0);
    assert!(world.has_valid_credentials(), "{:#?}", world.live.status());
}

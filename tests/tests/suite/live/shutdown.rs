//! Shutdown: which tokens and leases it ends, how long it waits, and what it reports.

use vault_config_tests::{Fault, FaultProxy, ScriptedAnswer, ScriptedServer};

use super::*;

#[tokio::test]
async fn dropping_the_last_handle_stops_every_request_and_revokes_nothing() {
    let servers = Servers::start("5s", "1h").await;
    let live = loader::<Config>(&servers.bao, json!({})).await.watch().await.unwrap();
    let another = live.clone();
    drop(live);
    servers.always_accepts(&another, seconds(3)).await;
    let mut subscription = another.subscribe();
    drop(another);
    assert!(subscription.changed().await.is_none());
    // Requests that were sent before may still arrive.
    tokio::time::sleep(seconds(1)).await;
    servers.bao.clear_audit();
    tokio::time::sleep(seconds(3)).await;
    assert_eq!(servers.bao.audit_requests().len(), 0);
}

#[tokio::test]
async fn a_shutdown_revokes_every_credential_and_the_last_value_stays() {
    let servers = Servers::start("12s", "13s").await;
    let live = loader::<Config>(&servers.bao, json!({})).await.watch().await.unwrap();
    until("rotated twice", async || live.status().counters.rotations >= 2).await;
    let another = live.clone();
    let (mut subscription, mut events) = (another.subscribe(), another.events());
    let mut view = another.select(|config| &config.database);
    live.shutdown().await.unwrap();
    servers.no_user_is_left().await;
    // A subscriber learns that no further value will come.
    assert!(subscription.changed().await.is_none() && view.changed().await.is_none());
    while events.next().await.is_some() {}
    assert!(
        another.subscribe().changed().await.is_none() && another.events().next().await.is_none()
    );
    assert_eq!(another.current().key.expose_secret(), "k1");
    let status = another.status();
    assert_eq!((status.health, status.sources.len()), (Health::Stopped, 0), "{status:#?}");
    assert!(status.counters.rotations >= 2, "{status:#?}");
    another.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_server_that_hangs() {
    let servers = Servers::start("1h", "24h").await;
    let proxy = FaultProxy::in_front_of(servers.bao.address()).await;
    let ids = servers.bao.approle("app", &["app"], json!({})).await;
    let live = approle_loader::<Config>(&proxy.address(), &ids).watch().await.unwrap();
    proxy.set(Fault::Stall).await;
    let began = Instant::now();
    let error = live.shutdown().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("could not be revoked within 5s"), "{error}");
    assert!(began.elapsed() < seconds(20));
}

#[tokio::test]
async fn a_load_that_fails_leaves_no_credential_behind() {
    let servers = Servers::start("1h", "24h").await;
    #[derive(Debug, VaultConfig)]
    struct Doomed {
        #[vault(database = "app")]
        database: DatabaseCredentials,
        #[vault(kv = "nothing/here")]
        key: SecretString,
    }
    loader::<Doomed>(&servers.bao, json!({})).await.watch().await.unwrap_err();
    loader::<Doomed>(&servers.bao, json!({})).await.load().await.unwrap_err();
    servers.no_user_is_left().await;
}

#[tokio::test]
async fn a_shutdown_goes_on_when_its_future_is_dropped() {
    let servers = Servers::start("1h", "24h").await;
    let live = loader::<Config>(&servers.bao, json!({})).await.watch().await.unwrap();
    let another = live.clone();
    let mut subscription = another.subscribe();
    let half_way = tokio::time::timeout(Duration::ZERO, live.shutdown()).await;
    assert!(half_way.is_err(), "the shutdown takes longer than that");
    let end = tokio::time::timeout(seconds(30), subscription.changed()).await;
    assert!(end.expect("the end is published").is_none());
    assert_eq!(another.status().health, Health::Stopped);
    servers.no_user_is_left().await;
}

#[tokio::test]
async fn a_lease_that_could_not_be_shortened_is_reported() {
    let servers = Servers::start("1h", "24h").await;
    // Without the `default` policy, the token may not renew a lease.
    let token = servers.bao.token(&["app"], json!({ "no_default_policy": true })).await;
    let live = token_loader::<Config>(servers.bao.address(), &token).watch().await.unwrap();
    let error = live.shutdown().await.unwrap_err().to_string();
    assert!(
        error.contains("a lease of database/creds/app stays valid until it expires"),
        "{error}"
    );
    assert!(error.contains("permission denied"), "{error}");
    assert_eq!(servers.users().await, 1);

    let live = token_loader::<Config>(servers.bao.address(), "root").watch().await.unwrap();
    servers.bao.seal().await;
    let error = live.shutdown().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Sealed, "{error}");
    assert!(error.to_string().contains("a lease of database/creds/app"), "{error}");
}

/// A batch token cannot be revoked, and neither can a token whose policies do not allow it.
#[tokio::test]
async fn the_leases_of_a_token_that_cannot_be_revoked_are_shortened() {
    const NO_REVOCATION: &str = r#"
path "sys/leases/renew" { capabilities = ["update"] }
path "auth/token/lookup-self" { capabilities = ["read"] }
"#;
    for settings in [
        json!({ "token_type": "batch", "token_ttl": "1h" }),
        json!({ "token_no_default_policy": true, "token_policies": ["app", "renews"] }),
    ] {
        let servers = Servers::start("1h", "24h").await;
        servers.bao.policy("renews", NO_REVOCATION).await;
        let live = loader::<Config>(&servers.bao, settings.clone()).await.watch().await.unwrap();
        assert_eq!(servers.users().await, 1);
        live.shutdown().await.unwrap();
        servers.no_user_is_left().await;
    }
}

/// The token may neither revoke itself nor renew leases.
#[tokio::test]
async fn a_lease_that_stays_valid_after_a_shutdown_is_reported() {
    let servers = Servers::start("1h", "24h").await;
    let settings = json!({ "token_no_default_policy": true });
    let live = loader::<Config>(&servers.bao, settings).await.watch().await.unwrap();
    let error = live.shutdown().await.unwrap_err().to_string();
    assert!(
        error.contains("a lease of database/creds/app stays valid until it expires"),
        "{error}"
    );
    assert_eq!(servers.users().await, 1);
}

#[tokio::test]
async fn a_refresh_after_a_shutdown_is_an_error() {
    let bao = bao().await;
    #[derive(Debug, VaultConfig)]
    struct Config {
        #[vault(kv = "app")]
        key: SecretString,
    }
    let live = loader::<Config>(&bao, json!({})).await.watch().await.unwrap();
    let another = live.clone();
    live.refresh().await.unwrap();
    live.shutdown().await.unwrap();
    let error = another.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stopped);
    assert!(error.to_string().contains("it was shut down"), "{error}");
    assert_eq!(another.current().key.expose_secret(), "k1");
}

/// The shutdown does not wait for the login.
#[tokio::test]
async fn a_shutdown_during_a_login_that_hangs_revokes_the_current_token() {
    let hangs = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (is_hanging, revoked) = (Arc::clone(&hangs), Arc::new(Mutex::new(0)));
    let revocations = Arc::clone(&revoked);
    let server = ScriptedServer::start(move |request| match request.path() {
        "/v1/auth/approle/login" if is_hanging.load(std::sync::atomic::Ordering::SeqCst) => {
            ScriptedAnswer::never()
        }
        "/v1/auth/approle/login" => {
            let auth = json!({ "client_token": "t", "lease_duration": 3, "renewable": false });
            ScriptedAnswer::json(200, &json!({ "auth": auth }))
        }
        "/v1/auth/token/revoke-self" => {
            *revocations.lock().unwrap() += 1;
            ScriptedAnswer::status(204)
        }
        _ => {
            let data = json!({ "data": { "key": "k" }, "metadata": { "version": 1 } });
            ScriptedAnswer::json(200, &json!({ "data": data }))
        }
    })
    .await;
    #[derive(Debug, VaultConfig)]
    #[allow(dead_code)]
    struct Config {
        #[vault(kv = "app")]
        key: SecretString,
    }
    let vault = vault_config::Vault::builder()
        .address(server.address())
        .auth(vault_config::auth::AppRole::new("role", "secret"))
        .build()
        .unwrap();
    let live = Config::loader().without_dotenv().vault(vault).watch().await.unwrap();
    hangs.store(true, std::sync::atomic::Ordering::SeqCst);
    let logins = || server.requests().iter().filter(|it| it.path().ends_with("login")).count();
    until("another login is under way", async || logins() == 2).await;
    live.shutdown().await.unwrap();
    assert_eq!(*revoked.lock().unwrap(), 1);
}

/// If the new credential is rejected, it is not published, and readers still use the old one.
#[tokio::test]
async fn with_an_overlap_a_credential_stays_valid_if_its_replacement_is_rejected() {
    static ACCEPTED: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    fn first(pair: &DatabaseCredentials) -> Result<(), String> {
        let accepted = ACCEPTED.get_or_init(|| pair.username().to_owned());
        (accepted == pair.username()).then_some(()).ok_or_else(|| "is another one".to_owned())
    }
    #[derive(Debug, VaultConfig)]
    struct Checked {
        #[vault(database = "app", validate = first)]
        database: DatabaseCredentials,
    }
    let servers = Servers::start("20s", "20s").await;
    let loader = loader::<Checked>(&servers.bao, json!({})).await.overlap(Duration::ZERO);
    let live = loader.watch().await.unwrap();
    let user = live.current().database.username().to_owned();
    let mut events = live.events();
    next(&mut events, |event| matches!(event, Event::Rejected { .. }).then_some(())).await;
    let began = Instant::now();
    while began.elapsed() < seconds(4) {
        assert_eq!(live.current().database.username(), user);
        assert!(servers.accepts(&live.current().database).await, "{:#?}", live.status());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    live.shutdown().await.unwrap();
    servers.no_user_is_left().await;
}

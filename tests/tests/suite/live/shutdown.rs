//! The end.

use vault_config_tests::{Fault, FaultProxy};

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
    // What was under way still arrives.
    tokio::time::sleep(seconds(1)).await;
    servers.bao.clear_audit();
    tokio::time::sleep(seconds(3)).await;
    assert_eq!(servers.bao.audit_requests().len(), 0);
}

#[tokio::test]
async fn a_shutdown_takes_everything_along_and_the_last_value_stays() {
    let servers = Servers::start("12s", "13s").await;
    let live = loader::<Config>(&servers.bao, json!({})).await.watch().await.unwrap();
    until("rotated twice", async || live.status().counters.rotations >= 2).await;
    let another = live.clone();
    let (mut subscription, mut events) = (another.subscribe(), another.events());
    let mut view = another.select(|config| &config.database);
    live.shutdown().await.unwrap();
    servers.no_user_is_left().await;
    // Whoever follows it learns that nothing more will come.
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
    let live = with_role::<Config>(&proxy.address(), &ids).watch().await.unwrap();
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
async fn a_shutdown_that_nobody_waits_for_goes_on() {
    let servers = Servers::start("1h", "24h").await;
    let live = loader::<Config>(&servers.bao, json!({})).await.watch().await.unwrap();
    let another = live.clone();
    let mut subscription = another.subscribe();
    let half_way = tokio::time::timeout(Duration::ZERO, live.shutdown()).await;
    assert!(half_way.is_err(), "it takes a moment");
    let end = tokio::time::timeout(seconds(30), subscription.changed()).await;
    assert!(end.expect("the end is told").is_none());
    assert_eq!(another.status().health, Health::Stopped);
    servers.no_user_is_left().await;
}

#[tokio::test]
async fn a_lease_that_could_not_be_cut_short_is_told() {
    let servers = Servers::start("1h", "24h").await;
    // Without `default` it may renew no lease.
    let token = servers.bao.token(&["app"], json!({ "no_default_policy": true })).await;
    let live = with_token::<Config>(&servers.bao, &token).watch().await.unwrap();
    let error = live.shutdown().await.unwrap_err().to_string();
    assert!(error.contains("a lease of database/creds/app is left to its end"), "{error}");
    assert!(error.contains("permission denied"), "{error}");
    assert_eq!(servers.users().await, 1);

    let live = with_token::<Config>(&servers.bao, "root").watch().await.unwrap();
    servers.bao.seal().await;
    let error = live.shutdown().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Sealed, "{error}");
    assert!(error.to_string().contains("a lease of database/creds/app"), "{error}");
}

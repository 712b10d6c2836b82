//! Dynamic credentials: renewed, rotated, and never revoked too early.

use super::*;

#[tokio::test]
async fn a_new_user_is_published_before_the_old_one_expires() {
    let servers = Servers::start("5s", "10s").await;
    let live = loader::<Config>(&servers.bao, json!({})).await.watch().await.unwrap();
    let failures = failures(&live);
    let mut database = live.select(|config| &config.database);
    let mut old = database.seen();
    for _ in 0..2 {
        let new = database.changed().await.unwrap();
        assert_ne!(old.username(), new.username());
        assert!(servers.accepts(&new).await, "the new user works when it is published");
        assert!(servers.accepts(&old).await, "the old user still works");
        old = new;
    }
    servers.always_accepts(&live, seconds(8)).await;
    let counters = live.status().counters;
    assert!(counters.renewals > counters.rotations, "{counters:?}");
    assert_eq!(*failures.lock().unwrap(), Vec::<String>::new(), "{counters:?}");
}

#[tokio::test]
async fn a_replaced_user_is_revoked_after_the_overlap_when_every_reader_has_the_new_one() {
    let servers = Servers::start("12s", "13s").await;
    let loader = loader::<Config>(&servers.bao, json!({})).await;
    let began = Instant::now();
    let live = loader.overlap(seconds(1)).watch().await.unwrap();
    let mut slow = live.subscribe();
    let old = live.current();
    slow.changed().await.unwrap();
    // The reader has the new user, and may still be connecting as the old one.
    tokio::time::sleep(seconds(2)).await;
    assert!(servers.accepts(&old.database).await);
    let asking = tokio::spawn(async move { slow.changed().await.is_some() });
    until("it is revoked", async || !servers.accepts(&old.database).await).await;
    assert!(
        began.elapsed() < seconds(12),
        "it expired after 13 s, and was not revoked: {:?}",
        began.elapsed()
    );
    servers.always_accepts(&live, seconds(1)).await;
    asking.abort();
}

#[tokio::test]
async fn a_lease_that_is_revoked_by_an_operator_is_replaced_at_its_next_renewal() {
    let servers = Servers::start("4s", "1h").await;
    let live = loader::<Config>(&servers.bao, json!({})).await.watch().await.unwrap();
    let before = live.current();
    servers.bao.write("sys/leases/revoke-prefix/database/creds/app", json!({})).await;
    until("a new user is published", async || servers.accepts(&live.current().database).await)
        .await;
    assert_ne!(before.database.username(), live.current().database.username());
    assert_eq!(live.status().health, Health::Healthy);
}

/// Consul Template created 600 users a minute in this situation.
#[tokio::test]
async fn credentials_that_are_revoked_again_and_again_are_issued_a_few_times_only() {
    let servers = Servers::start("1h", "24h").await;
    let live = loader::<Config>(&servers.bao, json!({})).await.watch().await.unwrap();
    for _ in 0..30 {
        servers.bao.write("sys/leases/revoke-prefix/database/creds/app", json!({})).await;
        live.refresh().await.ok();
    }
    let issued = requests_for(&servers.bao, "database/creds/app");
    assert!(
        (3..=4).contains(&issued),
        "{issued}, not the first and at most three ahead of schedule"
    );
    let renewals = requests_for(&servers.bao, "sys/leases/renew");
    assert!(renewals <= 32, "{renewals} renewals");
}

#[tokio::test]
async fn without_permission_to_renew_leases_credentials_are_rotated_on_schedule() {
    let servers = Servers::start("3s", "1h").await;
    let settings = json!({ "token_no_default_policy": true, "token_ttl": "1h" });
    let live = loader::<Config>(&servers.bao, settings).await.watch().await.unwrap();
    servers.always_accepts(&live, seconds(9)).await;
    let issued = requests_for(&servers.bao, "database/creds/app");
    assert!((3..=20).contains(&issued), "{issued} were issued in 9 s");
}

/// While the database is away, the server answers a renewal with 400. That does not mean that the lease is lost.
#[tokio::test]
async fn an_outage_of_the_database_costs_no_lease() {
    let servers = Servers::start("1m", "1h").await;
    let live = loader::<Config>(&servers.bao, json!({})).await.watch().await.unwrap();
    let before = live.current();
    servers.postgres.stop();
    live.refresh().await.unwrap_err();
    let status = live.status();
    assert_eq!(status.health, Health::Degraded, "{status:#?}");
    let error = status.sources.iter().find_map(|source| source.state.error.clone()).unwrap();
    assert!(error.contains("connection refused"), "{error}");
    servers.postgres.start_again().await;
    live.refresh().await.unwrap();
    assert_eq!(live.status().health, Health::Healthy);
    assert_eq!(before.database.username(), live.current().database.username());
    servers.always_accepts(&live, seconds(3)).await;
}

#[tokio::test]
async fn one_path_that_fails_does_not_stop_the_others() {
    let servers = Servers::start("12s", "1h").await;
    #[derive(Debug, VaultConfig)]
    struct Two {
        #[vault(database = "app")]
        database: DatabaseCredentials,
        #[vault(database_static = "legacy")]
        legacy: DatabaseCredentials,
        #[vault(kv = "app", refresh = "1s")]
        key: SecretString,
    }
    let live = loader::<Two>(&servers.bao, json!({})).await.watch().await.unwrap();
    servers.bao.delete("database/static-roles/legacy").await;
    let refreshed = live.refresh().await.unwrap_err();
    assert_eq!(refreshed.problems().len(), 1, "{refreshed}");
    assert_eq!(refreshed.problems()[0].field(), Some("legacy"));
    servers.bao.kv_put("secret", "app", json!({ "key": "k2" })).await;
    until("the change is seen", async || live.current().key.expose_secret() == "k2").await;
    let renewals = live.status().counters.renewals;
    until("renewed", async || live.status().counters.renewals > renewals + 2).await;
}

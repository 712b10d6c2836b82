//! Dynamic credentials: renewed, rotated, and never revoked too early.

use super::*;

#[tokio::test]
async fn a_new_pair_is_there_before_the_old_one_ends() {
    let servers = Servers::start("5s", "10s").await;
    let live = loader::<Config>(&servers.bao, json!({})).await.watch().await.unwrap();
    let failures = failures(&live);
    let mut database = live.select(|config| &config.database);
    let mut old = database.seen();
    for _ in 0..2 {
        let new = database.changed().await.unwrap();
        assert_ne!(old.username(), new.username());
        assert!(servers.accepts(&new).await, "the new pair works when it is published");
        assert!(servers.accepts(&old).await, "the old one still does");
        old = new;
    }
    servers.always_accepts(&live, seconds(8)).await;
    let counters = live.status().counters;
    assert!(counters.renewals > counters.rotations, "{counters:?}");
    assert_eq!(*failures.lock().unwrap(), Vec::<String>::new(), "{counters:?}");
}

#[tokio::test]
async fn a_replaced_pair_is_revoked_when_every_reader_has_the_new_one_and_the_overlap_has_passed() {
    let servers = Servers::start("12s", "13s").await;
    let loader = loader::<Config>(&servers.bao, json!({})).await;
    let began = Instant::now();
    let live = loader.overlap(seconds(1)).watch().await.unwrap();
    let mut slow = live.subscribe();
    let old = live.current();
    slow.changed().await.unwrap();
    // The reader has the new pair, and may still be connecting with the one before.
    tokio::time::sleep(seconds(2)).await;
    assert!(servers.accepts(&old.database).await);
    let asking = tokio::spawn(async move { slow.changed().await.is_some() });
    until("it is revoked", async || !servers.accepts(&old.database).await).await;
    assert!(
        began.elapsed() < seconds(12),
        "by itself it lives for thirteen: {:?}",
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
    until("healed", async || servers.accepts(&live.current().database).await).await;
    assert_ne!(before.database.username(), live.current().database.username());
    assert_eq!(live.status().health, Health::Healthy);
}

/// Consul Template made 600 users a minute in this situation.
#[tokio::test]
async fn credentials_that_never_last_are_made_a_few_times_and_no_more() {
    let servers = Servers::start("1h", "24h").await;
    let live = loader::<Config>(&servers.bao, json!({})).await.watch().await.unwrap();
    for _ in 0..30 {
        servers.bao.write("sys/leases/revoke-prefix/database/creds/app", json!({})).await;
        live.refresh().await.ok();
    }
    let made = asked(&servers.bao, "database/creds/app");
    assert!((3..=4).contains(&made), "{made} were made: the first, and three out of turn");
    let renewals = asked(&servers.bao, "sys/leases/renew");
    assert!(renewals <= 32, "{renewals} renewals");
}

#[tokio::test]
async fn without_permission_to_renew_leases_credentials_are_rotated_in_turn() {
    let servers = Servers::start("3s", "1h").await;
    let settings = json!({ "token_no_default_policy": true, "token_ttl": "1h" });
    let live = loader::<Config>(&servers.bao, settings).await.watch().await.unwrap();
    servers.always_accepts(&live, seconds(9)).await;
    let made = asked(&servers.bao, "database/creds/app");
    assert!((3..=20).contains(&made), "{made} were made in 9 s");
}

/// The server answers 400 to a renewal while the database is away: that passes.
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

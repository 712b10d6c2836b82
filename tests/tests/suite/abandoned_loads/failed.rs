//! Loads that fail, and credentials that no field holds.

use serde_json::json;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{DatabaseCredentials, VaultConfig};

use super::{Absent, Config, Doomed, POLICY, Servers, accessors, dropped_at_any_time};
use crate::support::{logged, until};

#[tokio::test]
async fn a_load_that_fails_leaves_nothing() {
    let servers = Servers::start().await;
    servers.own::<Absent>().load().await.unwrap_err();
    servers.own::<Absent>().watch().await.unwrap_err();
    servers.own::<Absent>().resolve().await.unwrap_err();
    servers.own::<Doomed>().load().await.unwrap_err();
    servers.own::<Doomed>().load_with_report().await.unwrap_err();
    servers.own::<Doomed>().watch().await.unwrap_err();
    servers.own::<Doomed>().resolve().await.unwrap_err();
    let loader = servers.own::<Doomed>();
    let blocking = std::thread::spawn(move || loader.load_blocking().map(drop));
    tokio::task::spawn_blocking(|| blocking.join()).await.unwrap().unwrap().unwrap_err();
    // It was waited for.
    assert_eq!(accessors(&servers.bao).await, servers.known);
    servers.assert_nothing_left("over connections of their own").await;

    let vault = servers.vault();
    let other = Config::loader().without_dotenv().vault(vault.clone()).load().await.unwrap();
    let doomed = || Doomed::loader().without_dotenv().vault(vault.clone());
    doomed().load().await.unwrap_err();
    doomed().watch().await.unwrap_err();
    vault.resolve::<Doomed>().await.unwrap_err();
    until("their leases are over", async || servers.users().await.len() == 2).await;
    servers.has(&other).await;

    // A token of the user is not revoked, not even on a connection of the load's own.
    servers.revoke_all().await;
    let token = servers.bao.token(&["app"], json!({})).await;
    servers.own_with_token::<Doomed>(&token).load().await.unwrap_err();
    servers.own_with_token::<Doomed>(&token).load().await.unwrap_err();
    servers.assert_only_tokens_left(1, "with a token that was given").await;
}

#[tokio::test]
async fn leases_of_tokens_that_are_never_revoked_are_ended_one_by_one() {
    let servers = Servers::with(json!({ "token_type": "batch" }), "1.5").await;
    servers.own::<Doomed>().load().await.unwrap_err();
    servers.assert_each_lease_ended(0, "it failed").await;
    dropped_at_any_time(|| servers.own::<Config>().load()).await;
    servers.assert_each_lease_ended(0, "dropped").await;

    // Nor are tokens of the user.
    let token = servers.bao.token(&["app"], json!({})).await;
    dropped_at_any_time(|| servers.own_with_token::<Config>(&token).load()).await;
    servers.assert_each_lease_ended(1, "dropped with a token that was given").await;
}

#[tokio::test]
async fn leases_that_the_token_may_not_revoke_are_reported() {
    let servers = Servers::with(json!({ "token_no_default_policy": true }), "0").await;
    let lines = logged(async { drop(servers.own::<Doomed>().load().await.unwrap_err()) }).await;
    let warned = |says: &str| {
        let is_it = |line: &&String| line.starts_with("WARN") && line.contains(says);
        lines.iter().filter(is_it).count()
    };
    assert_eq!(warned("the token of a finished load stays valid until it expires"), 1, "{lines:?}");
    assert_eq!(
        warned("a lease of database/creds/readonly stays valid until it expires"),
        1,
        "{lines:?}"
    );
    assert_eq!(
        warned("a lease of database/creds/slow stays valid until it expires"),
        1,
        "{lines:?}"
    );
    servers.revoke_all().await;

    // Either right is enough.
    let alone = |path: &str| format!("{POLICY} path \"{path}\" {{ capabilities = [\"update\"] }}");
    servers.bao.policy("app", &alone("auth/token/revoke-self")).await;
    servers.own::<Doomed>().load().await.unwrap_err();
    servers.assert_nothing_left("it may revoke itself").await;
    servers.bao.policy("app", &alone("sys/leases/renew")).await;
    servers.own::<Doomed>().load().await.unwrap_err();
    servers.assert_only_tokens_left(1, "it may renew leases").await;
}

/// The last use of a token is not spent on a lease, since the token's end would revoke the leases of others.
#[tokio::test]
async fn leases_of_a_token_that_is_used_up_are_ended_by_another() {
    let servers = Servers::with(json!({ "token_num_uses": 3 }), "0").await;
    servers.own::<Doomed>().load().await.unwrap_err();
    servers.assert_nothing_left("over a connection of its own").await;
    let vault = servers.vault();
    Doomed::loader().without_dotenv().vault(vault).load().await.unwrap_err();
    until("the leases are over", async || servers.users().await.is_empty()).await;
}

/// No key of a credential has this name.
#[derive(Debug, VaultConfig)]
struct Unusable {
    #[vault(read = "database/creds/readonly", key = "nothing")]
    first: Option<SecretString>,
    #[vault(read = "database/creds/readonly", key = "nothing_either", default = "x")]
    second: SecretString,
    #[vault(database = "slow")]
    slow: DatabaseCredentials,
}

#[tokio::test]
async fn a_credential_that_no_field_can_hold_is_ended() {
    let servers = Servers::start().await;
    let vault = servers.vault();
    for is_shared in [true, false] {
        let loader = || match is_shared {
            true => Unusable::loader().without_dotenv().vault(vault.clone()),
            false => servers.own::<Unusable>(),
        };
        let loaded = loader().load().await.unwrap();
        assert!(loaded.first.is_none() && loaded.second.expose_secret() == "x");
        until("one is left", async || servers.users().await.len() == 1).await;
        assert!(servers.accepts(&loaded.slow).await);
        loader().resolve().await.unwrap();
        until("two are left", async || servers.users().await.len() == 2).await;
        let live = loader().watch().await.unwrap();
        until("three are left", async || servers.users().await.len() == 3).await;
        assert!(servers.accepts(&live.current().slow).await);
        let watched = live.status().sources;
        assert!(watched.len() == 1 && watched[0].fields == ["slow"], "{watched:#?}");
        live.shutdown().await.unwrap();
        servers.revoke_all().await;
    }
    let lines = logged(async { drop(servers.own::<Unusable>().load().await.unwrap()) }).await;
    assert!(!lines.iter().any(|line| line.contains("readonly")), "{lines:?}");
}

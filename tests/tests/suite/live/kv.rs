//! Secrets of a KV engine that change while they are watched.

use super::*;

#[derive(Debug, VaultConfig)]
#[vault(kv = "app")]
struct Stored {
    #[vault(kv, refresh = "1s")]
    key: SecretString,
    #[vault(kv)]
    other: SecretString,
    #[vault(kv)]
    later: Option<SecretString>,
}

fn pair(live: &Live<Stored>) -> (String, String) {
    let config = live.current();
    (config.key.expose_secret().to_owned(), config.other.expose_secret().to_owned())
}

#[tokio::test]
async fn the_fields_of_one_secret_change_together_and_unchanged_data_is_not_read() {
    let bao = bao().await;
    let live = loader::<Stored>(&bao, json!({})).await.watch().await.unwrap();
    let mut events = live.events();
    let mut subscription = live.subscribe();
    bao.clear_audit();
    until("metadata is read", async || requests_for(&bao, "secret/metadata/app") >= 3).await;
    assert_eq!(requests_for(&bao, "secret/data/app"), 0);
    bao.kv_put("secret", "app", json!({ "key": "k2", "other": "o2" })).await;
    let config = subscription.changed().await.unwrap();
    assert_eq!((config.key.expose_secret(), config.other.expose_secret()), ("k2", "o2"));
    let changed = next(&mut events, |event| match event {
        Event::Changed { fields } => Some(fields.clone()),
        _ => None,
    });
    assert_eq!(changed.await, ["key", "other"]);
    assert_eq!(requests_for(&bao, "secret/data/app"), 1);
    // A new version with the same values is no change.
    bao.kv_put("secret", "app", json!({ "key": "k2", "other": "o2" })).await;
    until("it is read", async || requests_for(&bao, "secret/data/app") == 2).await;
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(live.status().counters.published, 1);
    bao.kv_put("secret", "app", json!({ "key": "k2", "other": "o2", "later": "l" })).await;
    let config = subscription.changed().await.unwrap();
    assert_eq!(config.later.as_ref().unwrap().expose_secret(), "l");
}

#[tokio::test]
async fn a_deleted_secret_keeps_its_last_value_and_is_reported_once() {
    let bao = bao().await;
    let live = loader::<Stored>(&bao, json!({})).await.watch().await.unwrap();
    let mut events = live.events();
    bao.delete("secret/data/app").await;
    let kind = next(&mut events, |event| match event {
        Event::Failing { problem, .. } => Some(problem.kind()),
        _ => None,
    });
    assert_eq!(kind.await, ErrorKind::Deleted);
    let status = live.status();
    assert_eq!(status.health, Health::Degraded);
    let error = status.sources[0].state.error.clone().unwrap();
    assert!(error.contains("was deleted at") && error.contains("vault kv undelete"), "{error}");
    assert_eq!(pair(&live), ("k1".into(), "o1".into()));
    assert_eq!(live.refresh().await.unwrap_err().kind(), ErrorKind::Deleted);
    bao.write("secret/undelete/app", json!({ "versions": [1] })).await;
    next(&mut events, |event| match event {
        Event::Recovered { .. } => Some(()),
        Event::Failing { .. } => panic!("the failure was reported already"),
        _ => None,
    })
    .await;
    assert_eq!(live.status().health, Health::Healthy);
    // If one key of the secret is missing, both fields keep their last values.
    bao.kv_put("secret", "app", json!({ "key": "k9" })).await;
    let kind = next(&mut events, |event| match event {
        Event::Failing { problem, .. } => Some(problem.kind()),
        _ => None,
    });
    assert_eq!(kind.await, ErrorKind::KeyAbsent);
    assert_eq!(pair(&live), ("k1".into(), "o1".into()));
}

#[tokio::test]
async fn secrets_of_kv_version_1_are_compared_by_content() {
    let bao = bao().await;
    bao.mount_kv_v1("old").await;
    bao.write("old/app", json!({ "key": "k1" })).await;
    #[derive(Debug, VaultConfig)]
    struct Old {
        #[vault(kv = "app", mount = "old", refresh = "1s")]
        key: SecretString,
    }
    let live = loader::<Old>(&bao, json!({})).await.watch().await.unwrap();
    tokio::time::sleep(seconds(3)).await;
    assert_eq!(live.status().counters.published, 0);
    bao.write("old/app", json!({ "key": "k2" })).await;
    until("seen", async || live.current().key.expose_secret() == "k2").await;
    assert_eq!(requests_for(&bao, "old/metadata"), 0);
}

#[tokio::test]
async fn without_permission_for_metadata_the_data_is_read() {
    let bao = bao().await;
    bao.policy("app", r#"path "secret/data/app" { capabilities = ["read"] }"#).await;
    let live = loader::<Stored>(&bao, json!({})).await.watch().await.unwrap();
    bao.clear_audit();
    until("read", async || requests_for(&bao, "secret/data/app") >= 3).await;
    assert_eq!(requests_for(&bao, "secret/metadata/app"), 1, "asked once, and not again");
    bao.kv_put("secret", "app", json!({ "key": "k2", "other": "o2" })).await;
    until("seen", async || pair(&live) == ("k2".into(), "o2".into())).await;
    assert_eq!(live.status().health, Health::Healthy);
    // With the corrected policy, unchanged data is not read any more.
    bao.policy("app", POLICY).await;
    until("metadata is read again", async || requests_for(&bao, "secret/metadata/app") >= 4).await;
    let reads = requests_for(&bao, "secret/data/app");
    assert!((12..20).contains(&reads), "{reads} reads");
    let probes = requests_for(&bao, "secret/metadata/app");
    until("metadata is read", async || requests_for(&bao, "secret/metadata/app") >= probes + 3)
        .await;
    assert_eq!(requests_for(&bao, "secret/data/app"), reads);
}

#[tokio::test]
async fn an_absent_secret_may_appear_and_a_secret_with_refresh_never_is_not_read() {
    let bao = bao().await;
    bao.kv_put("secret", "fixed", json!({ "fixed": "f1" })).await;
    #[derive(Debug, VaultConfig)]
    struct Mixed {
        #[vault(kv = "later", refresh = "1s")]
        later: Option<SecretString>,
        #[vault(kv = "fixed", refresh = "never")]
        fixed: SecretString,
        #[vault(kv = "app", key = "key", version = 1, refresh = "1s")]
        pinned: SecretString,
    }
    let live = loader::<Mixed>(&bao, json!({})).await.watch().await.unwrap();
    assert!(live.current().later.is_none());
    bao.clear_audit();
    tokio::time::sleep(seconds(3)).await;
    assert_eq!(live.status().health, Health::Healthy);
    bao.kv_put("secret", "later", json!({ "later": "l" })).await;
    until("seen", async || live.current().later.is_some()).await;
    assert_eq!(
        requests_for(&bao, "secret/data/fixed") + requests_for(&bao, "secret/metadata/fixed"),
        0
    );
    assert_eq!(
        requests_for(&bao, "secret/data/app") + requests_for(&bao, "secret/metadata/app"),
        0
    );
}

/// The versions of such a secret begin at 1 again, so the version alone does not show the change.
#[tokio::test]
async fn a_secret_that_is_written_again_after_its_metadata_was_deleted_is_seen() {
    let bao = bao().await;
    #[derive(Debug, VaultConfig)]
    struct Config {
        #[vault(kv = "app", refresh = "1s")]
        key: SecretString,
    }
    let live = loader::<Config>(&bao, json!({})).await.watch().await.unwrap();
    bao.delete("secret/metadata/app").await;
    bao.kv_put("secret", "app", json!({ "key": "k2" })).await;
    until("it is seen", async || live.current().key.expose_secret() == "k2").await;
}

#[tokio::test]
async fn a_refresh_reads_the_secret_itself() {
    let bao = bao().await;
    #[derive(Debug, VaultConfig)]
    struct Config {
        #[vault(kv = "app")]
        key: SecretString,
    }
    let live = loader::<Config>(&bao, json!({})).await.watch().await.unwrap();
    bao.clear_audit();
    live.refresh().await.unwrap();
    assert_eq!(requests_for(&bao, "secret/data/app"), 1);
    assert_eq!(live.current().key.expose_secret(), "k1");
}

/// A restart would read `None` and the default, and so does the running service.
#[tokio::test]
async fn optional_keys_may_disappear_without_delaying_other_keys() {
    let bao = bao().await;
    #[derive(Debug, VaultConfig)]
    struct Config {
        #[vault(kv = "app", refresh = "1s")]
        key: SecretString,
        #[vault(kv = "app")]
        other: Option<SecretString>,
        #[vault(kv = "app", plain, default = 7)]
        size: u16,
    }
    bao.kv_put("secret", "app", json!({ "key": "k1", "other": "o1", "size": "9" })).await;
    let live = loader::<Config>(&bao, json!({})).await.watch().await.unwrap();
    assert!(live.current().other.is_some() && live.current().size == 9);
    bao.kv_put("secret", "app", json!({ "key": "k2" })).await;
    until("the other key is seen", async || live.current().key.expose_secret() == "k2").await;
    let config = live.current();
    assert!(config.other.is_none() && config.size == 7, "{config:?}");
    assert_eq!(live.status().health, Health::Healthy);
    bao.kv_put("secret", "app", json!({ "key": "k3", "other": "o3" })).await;
    until("the optional key is back", async || live.current().other.is_some()).await;
    // If a required key is missing, all fields of the secret keep their last values.
    bao.kv_put("secret", "app", json!({ "other": "o4" })).await;
    until("it fails", async || live.status().health == Health::Degraded).await;
    let config = live.current();
    assert_eq!(config.key.expose_secret(), "k3");
    assert_eq!(config.other.as_ref().unwrap().expose_secret(), "o3");
}

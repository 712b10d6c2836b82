//! The readers of a watched configuration: what they return, and when they wake.

use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;

use super::*;
use crate::support::{LogLines, listen};

#[derive(Debug, VaultConfig)]
struct Parts {
    #[vault(kv = "app", key = "key", refresh = "1s")]
    key: SecretString,
    #[vault(nested)]
    inner: Inner,
    #[vault(nested)]
    boxed: Box<Inner>,
}

#[derive(Debug, VaultConfig)]
struct Inner {
    #[vault(kv = "inner", refresh = "1s")]
    one: SecretString,
    #[vault(kv = "app", key = "other", refresh = "1s")]
    two: SecretString,
}

#[tokio::test]
async fn a_view_changes_when_its_part_does() {
    let bao = bao().await;
    bao.kv_put("secret", "inner", json!({ "one": "1" })).await;
    let mut loader = loader::<Parts>(&bao, json!({})).await;
    loader = loader.env_prefix("APP");
    let live = loader.watch().await.unwrap();
    let mut key = live.select(|config| &config.key);
    let mut one = live.select(|config| &config.inner.one);
    let mut inner = live.select(|config| &config.inner);
    let mut boxed = live.select(|config| &config.boxed.one);
    bao.kv_put("secret", "inner", json!({ "one": "2" })).await;
    assert_eq!(one.changed().await.unwrap().expose_secret(), "2");
    assert_eq!(inner.changed().await.unwrap().one.expose_secret(), "2");
    assert_eq!(boxed.changed().await.unwrap().expose_secret(), "2");
    let untouched = tokio::time::timeout(seconds(1), key.changed()).await;
    assert!(untouched.is_err(), "the key did not change");
    bao.kv_put("secret", "app", json!({ "key": "k2", "other": "o1" })).await;
    assert_eq!(key.changed().await.unwrap().expose_secret(), "k2");
    let untouched = tokio::time::timeout(seconds(1), one.changed()).await;
    assert!(untouched.is_err(), "its part did not change");
    drop(live);
    assert!(key.changed().await.is_none(), "the configuration is not watched any more");
}

fn short(key: &SecretString) -> Result<(), String> {
    match key.expose_secret() {
        "kaboom" => panic!("the validator panics"),
        text if text.len() > 3 => Err("is too long".to_owned()),
        _ => Ok(()),
    }
}

#[derive(Debug, VaultConfig)]
struct Checked {
    #[vault(kv = "app", refresh = "1s", validate = short)]
    key: SecretString,
    #[vault(kv = "second", refresh = "1s")]
    second: SecretString,
}

#[tokio::test]
async fn an_invalid_value_is_not_published_and_delays_no_other_secret() {
    let bao = bao().await;
    bao.kv_put("secret", "second", json!({ "second": "s1" })).await;
    let live = loader::<Checked>(&bao, json!({})).await.watch().await.unwrap();
    let mut events = live.events();
    for refused in ["much too long", "kaboom"] {
        bao.kv_put("secret", "app", json!({ "key": refused })).await;
        let problems = next(&mut events, |event| match event {
            Event::Rejected { source, problems } => Some((source.clone(), problems.clone())),
            _ => None,
        });
        let (source, problems) = problems.await;
        assert_eq!((source.as_str(), problems[0].kind()), ("kv secret/app", ErrorKind::Invalid));
        assert!(!format!("{problems:?}{:#?}", live.status()).contains(refused));
    }
    assert_eq!(live.current().key.expose_secret(), "k1");
    assert_eq!(live.status().health, Health::Degraded);
    bao.kv_put("secret", "second", json!({ "second": "s2" })).await;
    until("the other is seen", async || live.current().second.expose_secret() == "s2").await;
    assert_eq!(live.current().key.expose_secret(), "k1");
    assert_eq!(live.status().health, Health::Degraded);
    bao.kv_put("secret", "app", json!({ "key": "k3" })).await;
    until("valid again", async || live.current().key.expose_secret() == "k3").await;
    assert_eq!(live.status().health, Health::Healthy);
}

#[derive(Debug, VaultConfig)]
struct CheckedOld {
    #[vault(kv = "app", mount = "old", refresh = "1s", validate = short)]
    key: SecretString,
}

/// A secret of KV version 1 is read as a whole each time, so the invalid value is seen again and again.
#[tokio::test]
async fn an_invalid_value_is_reported_once_until_it_changes() {
    let bao = bao().await;
    bao.mount_kv_v1("old").await;
    bao.write("old/app", json!({ "key": "k1" })).await;
    let live = loader::<CheckedOld>(&bao, json!({})).await.watch().await.unwrap();
    let mut events = live.events();
    for (value, times) in [("much too long", 1), ("too long as well", 2)] {
        bao.write("old/app", json!({ "key": value })).await;
        until("refused", async || live.status().counters.rejected == times).await;
        for _ in 0..3 {
            assert_eq!(live.refresh().await.unwrap_err().kind(), ErrorKind::Invalid);
        }
        assert_eq!(live.status().health, Health::Degraded);
    }
    bao.write("old/app", json!({ "key": "k1" })).await;
    live.refresh().await.unwrap();
    assert_eq!((live.status().health, live.status().counters.rejected), (Health::Healthy, 2));
    let mut event_names = Vec::new();
    while event_names.last() != Some(&"recovered") {
        event_names.push(match events.next().await.unwrap() {
            Event::Rejected { .. } => "rejected",
            Event::Recovered { .. } => "recovered",
            Event::Renewed { .. } => continue,
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(event_names, ["rejected", "rejected", "recovered"]);
}

/// The user name of the first credential. The validator rejects every other.
static ACCEPTED: OnceLock<String> = OnceLock::new();

fn first(pair: &DatabaseCredentials) -> Result<(), String> {
    let accepted = ACCEPTED.get_or_init(|| pair.username().to_owned());
    (accepted == pair.username()).then_some(()).ok_or_else(|| "is another one".to_owned())
}

#[derive(Debug, VaultConfig)]
struct CheckedCredential {
    #[vault(database = "app", validate = first)]
    database: DatabaseCredentials,
}

#[tokio::test]
async fn a_renewal_does_not_hide_that_the_new_credential_is_rejected() {
    let servers = Servers::start("1h", "24h").await;
    let live = loader::<CheckedCredential>(&servers.bao, json!({})).await.watch().await.unwrap();
    let mut events = live.events();
    let revoked = json!({ "sync": true });
    servers.bao.write("sys/leases/revoke-prefix/database/creds/app", revoked).await;
    for _ in 0..3 {
        assert_eq!(live.refresh().await.unwrap_err().kind(), ErrorKind::Invalid);
        let status = live.status();
        // The published credential is the revoked one.
        assert_eq!(status.health, Health::Failing, "{status:#?}");
        assert!(status.good_until.unwrap() <= std::time::SystemTime::now(), "{status:#?}");
    }
    assert_eq!(live.status().counters.renewals, 2);
    drop(live);
    let mut rejected = 0;
    while let Some(event) = events.next().await {
        assert!(!matches!(event, Event::Recovered { .. }), "{event:?}");
        rejected += usize::from(matches!(event, Event::Rejected { .. }));
    }
    assert_eq!(rejected, 1);
}

#[tokio::test]
async fn a_state_is_logged_when_it_begins_and_when_it_ends() {
    let bao = bao().await;
    let log = LogLines::default();
    let _listening = listen(log.clone());
    let live = loader::<KeyOnly>(&bao, json!({})).await.watch().await.unwrap();
    log.take();
    bao.seal().await;
    until("failing", async || live.status().counters.failures >= 3).await;
    bao.unseal().await;
    until("healthy", async || live.status().health == Health::Healthy).await;
    let lines = log.take();
    let of_secret: Vec<_> = lines.iter().filter(|line| line.contains("kv secret/app")).collect();
    assert_eq!(of_secret.len(), 2, "{lines:#?}");
    assert!(of_secret[0].starts_with("WARN") && of_secret[0].contains("sealed"), "{lines:#?}");
    assert!(of_secret[1].starts_with("INFO") && of_secret[1].contains("works again"), "{lines:#?}");
}

#[derive(Debug, VaultConfig)]
struct KeyOnly {
    #[vault(kv = "app", refresh = "1s")]
    key: SecretString,
}

#[tokio::test]
async fn the_status_is_a_document_for_a_health_endpoint() {
    let bao = bao().await;
    let live = loader::<KeyOnly>(&bao, json!({})).await.watch().await.unwrap();
    until("read once", async || live.status().counters.reads > 0).await;
    let document = serde_json::to_value(live.status()).unwrap();
    assert_eq!(document["health"], "healthy");
    assert_eq!(document["token"]["login"], "repeatable");
    assert_eq!(document["token"]["next_action"], "renew");
    assert_eq!(document["sources"][0]["source"], "kv secret/app");
    assert_eq!(document["sources"][0]["fields"], json!(["key"]));
    assert_eq!(document["sources"][0]["next_action"], "read");
    assert!(document["token"]["expires_at"].as_str().unwrap().ends_with('Z'));
    assert!(document["counters"]["reads"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn in_local_mode_nothing_is_refreshed_and_every_method_works() {
    let variables = [("KEY", "k")];
    let loader = KeyOnly::loader().without_dotenv().env_source(variables);
    let live = loader.watch().await.unwrap();
    assert_eq!(live.current().key.expose_secret(), "k");
    assert!(live.status().sources.is_empty());
    assert_eq!(live.status().health, Health::Healthy);
    live.refresh().await.unwrap();
    let mut subscription = live.subscribe();
    live.shutdown().await.unwrap();
    assert!(subscription.changed().await.is_none());
}

#[tokio::test]
async fn a_panic_in_a_selector_reaches_its_caller() {
    let loader = KeyOnly::loader().without_dotenv().env_source([("KEY", "k")]);
    let live = loader.watch().await.unwrap();
    let selecting = AssertUnwindSafe(|| live.select(|_| -> &SecretString { panic!("mine") }));
    assert!(std::panic::catch_unwind(selecting).is_err());
    assert_eq!(live.current().key.expose_secret(), "k");
}

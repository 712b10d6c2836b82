//! A service that starts before its Vault does.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{Error, ErrorKind, Loader, VaultConfig};
use vault_config_tests::{Fault, FaultProxy, OpenBao, ScriptedAnswer, ScriptedServer};

#[derive(Debug, VaultConfig)]
struct Config {
    #[vault(kv = "app")]
    key: SecretString,
}

fn loader<T: VaultConfig>(variables: &[(&str, &str)]) -> Loader<T> {
    T::loader().without_dotenv().env_source(variables.iter().copied())
}

/// Starts a load, lets the server come up a little later, and returns what the load gave.
async fn meanwhile(
    loader: Loader<Config>,
    comes_up: impl Future<Output = ()>,
) -> Result<Config, Error> {
    let load = tokio::spawn(loader.load());
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!load.is_finished(), "it does not wait");
    comes_up.await;
    load.await.unwrap()
}

#[tokio::test]
async fn a_sealed_server_is_waited_for_and_a_single_use_secret_id_survives_it() {
    let bao = OpenBao::dev_tls().await;
    bao.kv_put("secret", "app", json!({ "key": "k" })).await;
    bao.policy("app", r#"path "secret/data/app" { capabilities = ["read"] }"#).await;
    let ids = bao.approle("app", &["app"], json!({ "secret_id_num_uses": 1 })).await;
    bao.seal().await;
    let loader = loader(&[
        ("VAULT_ADDR", bao.address()),
        ("VAULT_CACERT", bao.ca_cert().to_str().unwrap()),
        ("VAULT_ROLE_ID", &ids.role_id),
        ("VAULT_SECRET_ID", &ids.secret_id),
    ]);
    let config = meanwhile(loader, bao.unseal()).await.unwrap();
    assert_eq!(config.key.expose_secret(), "k");
}

#[tokio::test]
async fn a_server_that_refuses_connections_is_waited_for() {
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "app", json!({ "key": "k" })).await;
    let proxy = FaultProxy::in_front_of(bao.address()).await;
    proxy.set(Fault::Refuse).await;
    let variables = [("VAULT_ADDR", &*proxy.address()), ("VAULT_TOKEN", bao.root_token())];
    let config = meanwhile(loader(&variables), proxy.set(Fault::None)).await.unwrap();
    assert_eq!(config.key.expose_secret(), "k");
}

#[tokio::test]
async fn the_deadline_ends_the_wait_with_the_precise_error() {
    let unreachable = [("VAULT_ADDR", "http://127.0.0.1:1"), ("VAULT_TOKEN", "t")];
    for deadline in [Duration::ZERO, Duration::from_millis(300)] {
        let error =
            loader::<Config>(&unreachable).startup_deadline(deadline).load().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
        let waited = error.problems()[0].help().contains("waited for the server for 300ms");
        assert_eq!(waited, !deadline.is_zero(), "{error}");
    }
}

/// Only what failed is asked again: a credential that was made is kept.
#[tokio::test]
async fn what_was_answered_is_not_asked_again() {
    #[derive(Debug, VaultConfig)]
    struct Two {
        #[vault(read = "early/creds/app", key = "password")]
        early: SecretString,
        #[vault(read = "late/creds/app", key = "password")]
        late: SecretString,
    }
    let refusals = AtomicU32::new(5);
    let server = ScriptedServer::start(move |request| {
        let count = |left: u32| left.checked_sub(1);
        match request.path() {
            "/v1/late/creds/app"
                if refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count).is_ok() =>
            {
                ScriptedAnswer::json(503, &json!({ "errors": ["Vault is sealed"] }))
            }
            "/v1/sys/health" => ScriptedAnswer::status(503),
            _ => ScriptedAnswer::json(200, &json!({ "data": { "password": "p" } })),
        }
    })
    .await;
    let variables = [("VAULT_ADDR", &*server.address()), ("VAULT_TOKEN", "t")];
    let config = loader::<Two>(&variables).load().await.unwrap();
    assert_eq!((config.early.expose_secret(), config.late.expose_secret()), ("p", "p"));
    let asked = server.requests();
    assert_eq!(asked.iter().filter(|request| request.path() == "/v1/early/creds/app").count(), 1);
}

/// The failure of an earlier attempt does not outlive it.
#[tokio::test]
async fn a_check_of_a_credential_waits_no_longer_than_until_the_server_is_up() {
    #[derive(Debug, VaultConfig)]
    struct Issued {
        #[vault(read = "early/creds/app", key = "password")]
        _password: SecretString,
    }
    let refusals = AtomicU32::new(5);
    let server = ScriptedServer::start(move |request| {
        let count = |left: u32| left.checked_sub(1);
        let is_refused = refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count).is_ok();
        match request.path() {
            "/v1/sys/health" => ScriptedAnswer::status(503),
            _ if is_refused => ScriptedAnswer::json(503, &json!({ "errors": ["Vault is sealed"] })),
            _ => ScriptedAnswer::json(200, &json!({ "data": { "early/creds/app": ["read"] } })),
        }
    })
    .await;
    let variables = [("VAULT_ADDR", &*server.address()), ("VAULT_TOKEN", "t")];
    let report = loader::<Issued>(&variables).check().await.unwrap();
    assert!(report.to_string().contains("not issued"), "{report}");
}

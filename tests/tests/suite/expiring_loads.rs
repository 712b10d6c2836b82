//! A load that returns expiring values logs a warning.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use serde_json::json;
use vault_config::secrecy::SecretString;
use vault_config::{Certificate, DatabaseCredentials, Loader, Vault, VaultConfig};
use vault_config_tests::{AppRoleIds, OpenBao, Postgres, ScriptedAnswer, ScriptedServer};

use crate::support::logged;

#[derive(Debug, VaultConfig)]
struct Config {
    #[vault(kv = "app")]
    key: SecretString,
    #[vault(database = "readonly")]
    database: DatabaseCredentials,
    #[vault(read = "database/creds/readonly", key = "username")]
    user: SecretString,
    #[vault(read = "database/creds/readonly", key = "nothing")]
    absent: Option<SecretString>,
    #[vault(read = "database/creds/short", key = "nothing")]
    absent_too: Option<SecretString>,
    #[vault(database_static = "legacy")]
    legacy: DatabaseCredentials,
    #[vault(pki = "web", common_name = "app.example.com")]
    tls: Certificate,
}

#[derive(Debug, VaultConfig)]
struct Stored {
    #[vault(kv = "app")]
    key: SecretString,
}

async fn servers(settings: serde_json::Value) -> (OpenBao, Postgres, AppRoleIds) {
    let (bao, postgres) = tokio::join!(OpenBao::dev(), Postgres::start());
    bao.connect_database(&postgres).await;
    bao.database_role("short", "1m", "1m").await;
    bao.certificate_authority("72h").await;
    bao.kv_put("secret", "app", json!({ "key": "k" })).await;
    bao.policy("app", &Config::schema().policy()).await;
    let ids = bao.approle("app", &["app"], settings).await;
    (bao, postgres, ids)
}

fn loader<T: VaultConfig>(bao: &OpenBao, ids: &AppRoleIds) -> Loader<T> {
    T::loader().without_dotenv().env_source([
        ("VAULT_ADDR", bao.address()),
        ("VAULT_ROLE_ID", &ids.role_id),
        ("VAULT_SECRET_ID", &ids.secret_id),
    ])
}

/// The warnings that are logged while this runs.
async fn warnings(load: impl Future<Output = ()>) -> Vec<String> {
    let lines = logged(load).await;
    lines.into_iter().filter(|line| line.starts_with("WARN")).collect()
}

/// The warnings that are logged while this runs on a thread without a runtime.
fn warnings_blocking(load: impl FnOnce() + Send + 'static) -> Vec<String> {
    let thread = std::thread::spawn(|| {
        let mut warnings = pin!(warnings(async { load() }));
        match warnings.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(warnings) => warnings,
            Poll::Pending => unreachable!("it waits for nothing"),
        }
    });
    thread.join().unwrap()
}

/// One line that names the fields, their sources, how long they are valid, and the way to keep them fresh.
#[track_caller]
fn is_warned_once(warnings: &[String]) {
    let [warning] = warnings else { panic!("{warnings:?}") };
    for says in [
        "the following expire and are not renewed: ",
        "database, user (database/creds/readonly) in 1h; ",
        // When it was rotated last is the server's affair.
        "legacy (database/static-creds/legacy) in ",
        ", when its password is rotated; ",
        "tls (pki/issue/web) in 3days; use .watch() to keep them current, or load again before then",
    ] {
        assert!(warning.contains(says), "no {says:?} in {warning}");
    }
    assert!(!warning.contains("key"), "{warning}");
    assert!(!warning.contains("absent") && !warning.contains("creds/short"), "{warning}");
    assert!(warning.contains("config=\"Config\"") && !warning.contains('\n'), "{warning}");
}

#[tokio::test]
async fn a_load_of_what_expires_is_warned_of_once() {
    let (bao, _postgres, ids) = servers(json!({ "token_ttl": "2h" })).await;
    let loader = || loader::<Config>(&bao, &ids);
    is_warned_once(&warnings(async { drop(loader().load().await.unwrap()) }).await);
    is_warned_once(&warnings(async { drop(loader().load_with_report().await.unwrap()) }).await);
    is_warned_once(&warnings(async { drop(loader().resolve().await.unwrap()) }).await);
    let blocking = loader();
    is_warned_once(&warnings_blocking(|| drop(blocking.load_blocking().unwrap())));

    // What is kept fresh needs no warning, nor does what is not kept.
    let watched = warnings(async { loader().watch().await.unwrap().shutdown().await.unwrap() });
    assert_eq!(watched.await, [""; 0]);
    assert_eq!(warnings(async { drop(loader().check().await.unwrap()) }).await, [""; 0]);
}

#[tokio::test]
async fn a_load_of_what_does_not_expire_is_not_warned_of() {
    let (bao, _postgres, ids) = servers(json!({ "token_ttl": "1m" })).await;
    let stored = loader::<Stored>(&bao, &ids);
    assert_eq!(warnings(async { drop(stored.load().await.unwrap()) }).await, [""; 0]);
    // Nor of what comes from elsewhere.
    let ids = [("VAULT_ROLE_ID", ids.role_id), ("VAULT_SECRET_ID", ids.secret_id)];
    #[derive(Debug, VaultConfig)]
    struct Overridden {
        #[vault(kv = "app")]
        key: SecretString,
        #[vault(database = "readonly")]
        database: DatabaseCredentials,
    }
    let pair = [("DATABASE_USERNAME", "u"), ("DATABASE_PASSWORD", "p")];
    let variables = pair.map(|(name, value)| (name, value.to_owned())).into_iter().chain(ids);
    let variables = variables.chain([("VAULT_ADDR", bao.address().to_owned())]);
    let overridden = Overridden::loader().without_dotenv().env_source(variables);
    assert_eq!(warnings(async { drop(overridden.load().await.unwrap()) }).await, [""; 0]);
}

/// A lease expires with its token, even if its own lifetime is longer.
#[tokio::test]
async fn the_end_of_the_token_is_named_when_it_comes_first() {
    #[derive(Debug, VaultConfig)]
    struct Leased {
        #[vault(database = "readonly")]
        database: DatabaseCredentials,
    }
    let (bao, _postgres, ids) = servers(json!({ "token_ttl": "10m" })).await;
    let load = loader::<Leased>(&bao, &ids).load();
    let warned = warnings(async { drop(load.await.unwrap()) }).await;
    assert_eq!(warned.len(), 1, "{warned:?}");
    let says = "database (database/creds/readonly) in 10m, with its token; use .watch()";
    assert!(warned[0].contains(says), "{warned:?}");

    // A lease that never ends by itself.
    let server = ScriptedServer::start(|request| match request.path() {
        "/v1/auth/approle/login" => {
            let auth = json!({ "client_token": "s.t", "lease_duration": 300, "renewable": true });
            ScriptedAnswer::json(200, &json!({ "auth": auth }))
        }
        _ => {
            let data = json!({ "username": "u", "password": "p" });
            ScriptedAnswer::json(
                200,
                &json!({ "data": data, "lease_id": "l", "lease_duration": 0 }),
            )
        }
    })
    .await;
    let ids = vault_config::auth::AppRole::new("r", SecretString::from("s"));
    let vault = Vault::builder().address(server.address()).auth(ids).build().unwrap();
    let load = Leased::loader().without_dotenv().vault(vault).load();
    let warned = warnings(async { drop(load.await.unwrap()) }).await;
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains(" in 5m, with its token"), "{warned:?}");
}

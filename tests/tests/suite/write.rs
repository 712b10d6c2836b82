//! Engines that answer a write, and the facts of a lease beside its value.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use insta::assert_snapshot;
use serde_json::json;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{DatabaseCredentials, ErrorKind, Leased, Mode, VaultConfig};
use vault_config_tests::{OpenBao, Postgres, ScriptedAnswer, ScriptedServer};

use crate::support::problems;
use crate::support::until;

#[derive(Debug, VaultConfig)]
struct Config {
    #[vault(write = "transit/random/16", data(format = "hex", source = "{source}"))]
    random: HashMap<String, SecretString>,
    #[vault(
        write = "transit/random/16",
        data(format = "hex", source = "{source}"),
        key = "random_bytes"
    )]
    same: SecretString,
    #[vault(write = "transit/random/16", key = "random_bytes")]
    other: SecretString,
}

#[tokio::test]
async fn fields_with_the_same_data_share_one_answer() {
    let bao = OpenBao::dev().await;
    bao.mount("transit", "transit", json!({})).await;
    bao.policy("app", &Config::schema().policy()).await;
    let ids = bao.approle("app", &["app"], json!({})).await;
    let variables = [
        ("VAULT_ADDR", bao.address().to_owned()),
        ("VAULT_ROLE_ID", ids.role_id),
        ("VAULT_SECRET_ID", ids.secret_id),
        ("VAULT_CONFIG_VAR_SOURCE", "platform".to_owned()),
    ];
    bao.clear_audit();
    let loader = || Config::loader().without_dotenv().env_source(variables.clone());
    let live = loader().watch().await.unwrap();
    let config = live.current();
    let same = config.same.expose_secret();
    assert_eq!(config.random["random_bytes"].expose_secret(), same);
    assert!(
        same.len() == 32 && same.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{}",
        same.len()
    );
    assert!(config.other.expose_secret().ends_with('='), "base64, as it is without data");
    let asked = || bao.audit_requests().iter().filter(|it| it.path == "transit/random/16").count();
    assert_eq!(asked(), 2);
    // A write repeats only if the field sets `refresh`.
    assert!(live.status().sources.iter().all(|source| source.state.next_action.is_none()));
    live.refresh().await.unwrap();
    assert_eq!(asked(), 4, "but for who asks");
    live.shutdown().await.unwrap();
    // A check writes nothing.
    bao.clear_audit();
    loader().check().await.unwrap();
    assert_eq!(asked(), 0);
}

#[tokio::test]
async fn what_is_refused_is_reported() {
    #[derive(VaultConfig)]
    struct Wrong {
        #[vault(write = "transit/random/many", key = "random_bytes")]
        many: SecretString,
        #[vault(write = "transit/random/8", key = "bytes")]
        wrong_key: SecretString,
    }
    let bao = OpenBao::dev().await;
    bao.mount("transit", "transit", json!({})).await;
    let load = async |token: &str| {
        let variables = [("VAULT_ADDR", bao.address()), ("VAULT_TOKEN", token)];
        let loader = Wrong::loader().without_dotenv().startup_deadline(Duration::ZERO);
        loader.env_source(variables).load().await.err().unwrap()
    };
    let error = load(bao.root_token()).await;
    assert_snapshot!(problems(&error, ErrorKind::Server), @r#"
    many: SecretString
    vault transit/random/many: error parsing url-set byte count: strconv.Atoi: parsing "many": invalid syntax (HTTP 400)
    help: correct the path or its data: vault path-help transit/random/many

    wrong_key: SecretString
    vault write transit/random/8#bytes: the secret has no key "bytes"; its keys are random_bytes
    help: add the key "bytes" to the secret, or name another with key = ".."
    "#);
    let error = load(&bao.token(&["default"], json!({})).await).await;
    assert_snapshot!(problems(&error, ErrorKind::Denied), @r#"
    many: SecretString
    vault transit/random/many: permission denied (HTTP 403)
    help: add this to a policy of the token:
      path "transit/random/many" {
        capabilities = ["update"]
      }
      or no engine is mounted there: the server answers 403 for that too

    wrong_key: SecretString
    vault transit/random/8: permission denied (HTTP 403)
    help: add this to a policy of the token:
      path "transit/random/8" {
        capabilities = ["update"]
      }
      or no engine is mounted there: the server answers 403 for that too
    "#);
}

/// What may have arrived is not written a second time.
#[tokio::test]
async fn a_write_is_not_repeated_when_its_answer_is_lost() {
    #[derive(VaultConfig)]
    struct Small {
        #[vault(write = "engine/token", key = "token")]
        token: SecretString,
    }
    let server = ScriptedServer::start(|_| ScriptedAnswer::status(502)).await;
    let variables = [("VAULT_ADDR", &*server.address()), ("VAULT_TOKEN", "t")];
    let loader = Small::loader().without_dotenv().startup_deadline(Duration::ZERO);
    loader.env_source(variables).load().await.err().unwrap();
    assert_eq!(server.requests().len(), 1);
}

#[derive(Debug, VaultConfig)]
struct Facts {
    #[vault(database = "app")]
    database: Leased<DatabaseCredentials>,
    #[vault(kv = "app")]
    stored: Leased<SecretString>,
    #[vault(kv = "app", key = "stored")]
    optional: Option<Leased<SecretString>>,
    #[vault(read = "identity/oidc/token/app")]
    token: Leased<HashMap<String, SecretString>>,
}

#[tokio::test]
async fn a_lease_is_returned_with_its_value() {
    let (bao, postgres) = tokio::join!(OpenBao::dev(), Postgres::start());
    bao.connect_database(&postgres).await;
    bao.database_role("app", "30m", "1h").await;
    bao.kv_put("secret", "app", json!({ "stored": "s" })).await;
    bao.write("identity/oidc/key/app", json!({ "allowed_client_ids": "*" })).await;
    bao.write("identity/oidc/role/app", json!({ "key": "app", "ttl": "10m" })).await;
    bao.policy("app", &Facts::schema().policy()).await;
    // OpenID tokens are for entities, which only a login has.
    let ids = bao.approle("app", &["app"], json!({})).await;
    let variables = [
        ("VAULT_ADDR", bao.address().to_owned()),
        ("VAULT_ROLE_ID", ids.role_id),
        ("VAULT_SECRET_ID", ids.secret_id),
    ];
    let live = Facts::loader().without_dotenv().env_source(variables).watch().await.unwrap();
    let config = live.current();
    let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));
    assert_eq!(config.database.ttl(), minutes(30));
    assert!(config.database.is_renewable());
    let end = config.database.expires_at().unwrap();
    let left = end.duration_since(SystemTime::now()).unwrap();
    assert!(
        left > Duration::from_secs(60 * 28) && left <= Duration::from_secs(60 * 30),
        "{left:?}"
    );
    let password = config.database.value().password().expose_secret();
    postgres.connect(config.database.username(), password).await.unwrap();
    assert_eq!((config.stored.ttl(), config.stored.expires_at()), (None, None));
    assert_eq!(config.stored.expose_secret(), "s");
    assert_eq!(config.optional.as_ref().unwrap().expose_secret(), "s");
    assert_eq!(config.token.ttl(), minutes(10));
    assert!(!config.token.is_renewable());
    assert!(!format!("{config:?}").contains(password));
    // A token without a lease is made again before it ends, and not read every five minutes.
    let status = live.status();
    let of_token = status.sources.iter().find(|it| it.source.starts_with("identity")).unwrap();
    assert!(of_token.state.expires_at.is_some(), "{of_token:?}");
    live.shutdown().await.unwrap();
}

/// Such as `auth/token/create`, or a path that only stores.
#[tokio::test]
async fn a_write_that_answers_no_data_is_reported() {
    #[derive(VaultConfig)]
    struct Wrong {
        #[vault(write = "cubbyhole/app", data(a = "b"), key = "a")]
        stores: SecretString,
        #[vault(write = "auth/token/create", data(ttl = "1m"), key = "token")]
        logs_in: SecretString,
    }
    let bao = OpenBao::dev().await;
    let variables = [("VAULT_ADDR", bao.address()), ("VAULT_TOKEN", bao.root_token())];
    let loader = Wrong::loader().without_dotenv().startup_deadline(Duration::ZERO);
    let error = loader.env_source(variables).load().await.err().unwrap();
    assert_snapshot!(problems(&error, ErrorKind::Protocol), @"
    stores: SecretString
    vault cubbyhole/app: the path accepted the write and returned nothing (HTTP 204)
    help: use a path that returns data; `read` and `kv` read stored data

    logs_in: SecretString
    vault auth/token/create: the answer has no `data`
    help: run `vault write` to see what the path returns, and check that the address is Vault's own
    ");
}

/// A token that ends sooner than the field is to be read again is made again before it ends.
#[tokio::test]
async fn no_interval_outlasts_the_credential() {
    #[derive(Debug, VaultConfig)]
    struct Paced {
        #[vault(write = "engine/token", key = "token", refresh = "1h")]
        token: SecretString,
    }
    let server = ScriptedServer::start(|request| match request.path() {
        "/v1/engine/token" => {
            let token = json!({ "token": "t", "ttl": 3 });
            ScriptedAnswer::json(200, &json!({ "request_id": "1", "data": token }))
        }
        _ => ScriptedAnswer::json(200, &json!({ "request_id": "1", "data": { "ttl": 0 } })),
    })
    .await;
    let variables = [("VAULT_ADDR", &*server.address()), ("VAULT_TOKEN", "t")];
    let live = Paced::loader().without_dotenv().env_source(variables).watch().await.unwrap();
    let written = || server.requests().iter().filter(|it| it.path() == "/v1/engine/token").count();
    until("it is made again", async || written() > 1).await;
    assert!(live.status().sources[0].state.expires_at.is_some(), "{:?}", live.status());
    live.shutdown().await.unwrap();
}

/// An absent value has no lease to report.
#[tokio::test]
async fn what_is_leased_may_be_absent_either_way() {
    #[derive(Debug, VaultConfig)]
    struct Absent {
        #[vault(kv = "none", key = "a")]
        inside: Leased<Option<SecretString>>,
        #[vault(kv = "none", key = "b")]
        outside: Option<Leased<SecretString>>,
    }
    let loader = Absent::loader().mode(Mode::Local).without_dotenv();
    let config = loader.env_source([("INSIDE", "")]).load().await.unwrap();
    assert!(config.inside.is_none() && config.outside.is_none());
    #[derive(Debug, VaultConfig)]
    struct Wanted {
        #[vault(kv = "none")]
        wanted: Leased<SecretString>,
    }
    let loader = Wanted::loader().mode(Mode::Local).without_dotenv();
    let error = loader.env_source([("", ""); 0]).load().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Missing);
}

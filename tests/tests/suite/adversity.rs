//! Servers, gateways and neighbours that behave badly: nothing is mistaken for absence, no login is
//! wasted, no secret is shown.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Format, Json, Toml};
use serde::Deserialize;
use serde_json::json;
use vault_config::auth::{AppRole, TokenFile};
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{DatabaseCredentials, Error, ErrorKind, Mode, Vault, VaultConfig};
use vault_config_tests::{OpenBao, ScriptedAnswer, ScriptedRequest, ScriptedServer};

#[derive(Debug, Deserialize, VaultConfig)]
struct Covered {
    #[vault(kv = "app")]
    optional: Option<SecretString>,
    #[vault(kv = "app", default = "default")]
    #[serde(default = "none")]
    defaulted: SecretString,
}

fn none() -> SecretString {
    "none".into()
}

async fn load<T: VaultConfig>(server: &ScriptedServer) -> Result<T, Error> {
    let variables =
        [("VAULT_ADDR", &*server.address()), ("VAULT_TOKEN", "t"), ("VAULT_MAX_RETRIES", "0")];
    T::loader().without_dotenv().startup_deadline(Duration::ZERO).env_source(variables).load().await
}

async fn answering(
    answer: impl Fn(&ScriptedRequest) -> ScriptedAnswer + Send + Sync + 'static,
) -> ScriptedServer {
    ScriptedServer::start(move |request: ScriptedRequest| answer(&request)).await
}

fn errors(status: u16, text: &str) -> ScriptedAnswer {
    ScriptedAnswer::json(status, &json!({ "errors": [text] }))
}

fn mount(version: &str) -> ScriptedAnswer {
    ScriptedAnswer::json(
        200,
        &json!({ "data": { "type": "kv", "options": { "version": version } } }),
    )
}

#[tokio::test]
async fn a_gateways_404_is_not_absence() {
    for (answer, kind) in [
        (
            ScriptedAnswer::status(404).header("Content-Type", "text/html").body("<h1>no</h1>"),
            ErrorKind::NotVault,
        ),
        (ScriptedAnswer::status(404), ErrorKind::NotVault),
        (ScriptedAnswer::json(404, &json!({ "message": "no Route matched" })), ErrorKind::NotVault),
        (ScriptedAnswer::json(403, &json!({ "message": "forbidden" })), ErrorKind::NotVault),
        (ScriptedAnswer::json(200, &json!({ "errors": ["internal"] })), ErrorKind::Protocol),
        (
            ScriptedAnswer::json(200, &json!({ "data": null, "request_id": "r" })),
            ErrorKind::Protocol,
        ),
    ] {
        let server = answering(move |request| match request.path().contains("/ui/mounts/") {
            true => mount("2"),
            false => answer.clone(),
        })
        .await;
        let error = load::<Covered>(&server).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.problems().len(), 2, "{error}");
    }
}

/// A KV v1 mount that falls ill between the first miss and the second read.
#[tokio::test]
async fn a_failure_while_the_mount_is_learned_is_not_absence() {
    for (preflight, then, kind) in [
        (
            errors(429, "request path: rate limit quota exceeded"),
            errors(404, ""),
            ErrorKind::RateLimited,
        ),
        (errors(500, "oh"), errors(404, ""), ErrorKind::Server),
        (errors(403, "denied"), errors(503, "Vault is sealed"), ErrorKind::Sealed),
        (mount("1"), errors(503, "Vault is sealed"), ErrorKind::Sealed),
    ] {
        let server = answering(move |request| match request.path() {
            "/v1/secret/data/app" => ScriptedAnswer::json(404, &json!({ "errors": [] })),
            "/v1/secret/app" => then.clone(),
            "/v1/auth/token/lookup-self" => ScriptedAnswer::json(200, &json!({ "data": {} })),
            _ => preflight.clone(),
        })
        .await;
        let error = load::<Covered>(&server).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[tokio::test]
async fn half_a_credential_is_not_absence() {
    #[derive(Debug, VaultConfig)]
    struct Half {
        #[vault(database = "ro")]
        database: Option<DatabaseCredentials>,
    }
    let half = json!({ "lease_id": "x", "data": { "username": "u" } });
    let server = answering(move |_| ScriptedAnswer::json(200, &half)).await;
    assert_eq!(load::<Half>(&server).await.unwrap_err().kind(), ErrorKind::Protocol);
}

/// A service that cannot start must not leave a credential behind at every attempt.
#[tokio::test]
async fn no_credential_is_issued_for_a_load_that_cannot_succeed() {
    #[derive(Debug, VaultConfig)]
    struct Doomed {
        required: String,
        #[vault(kv = "app", key = "optional")]
        read: SecretString,
        #[vault(database = "ro")]
        database: DatabaseCredentials,
    }
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "app", json!({ "optional": "o" })).await;
    bao.clear_audit();
    let variables = [("VAULT_ADDR", bao.address()), ("VAULT_TOKEN", bao.root_token())];
    let error = Doomed::loader().without_dotenv().env_source(variables).load().await.unwrap_err();
    assert_eq!(error.problems().len(), 1, "{error}");
    assert_eq!(error.kind(), ErrorKind::Missing, "{error}");
    let paths: Vec<_> = bao.audit_requests().into_iter().map(|request| request.path).collect();
    assert!(!paths.iter().any(|path| path.starts_with("database/creds")), "{paths:?}");
}

#[tokio::test]
async fn an_upgrade_of_a_mount_is_noticed() {
    let bao = OpenBao::dev().await;
    bao.mount_kv_v1("kv").await;
    bao.write("kv/app", json!({ "key": "k" })).await;
    #[derive(Debug, VaultConfig)]
    struct Upgraded {
        #[vault(kv = "app", mount = "kv", key = "key")]
        key: Option<SecretString>,
    }
    let variables = [("VAULT_ADDR", bao.address()), ("VAULT_TOKEN", bao.root_token())];
    let vault = Vault::from_env_source(variables).unwrap();
    let load = || {
        Upgraded::loader().without_dotenv().env_source([("", ""); 0]).vault(vault.clone()).load()
    };
    assert_eq!(load().await.unwrap().key.unwrap().expose_secret(), "k");
    bao.write("sys/mounts/kv/tune", json!({ "options": { "version": "2" } })).await;
    while bao.try_request("GET", "kv/data/app", None, bao.root_token()).await.0 != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(load().await.unwrap().key.unwrap().expose_secret(), "k");
}

#[tokio::test]
async fn no_layer_of_a_users_own_stands_in_for_an_absent_secret() {
    let bao = OpenBao::dev().await;
    let variables = [("VAULT_ADDR", bao.address()), ("VAULT_TOKEN", bao.root_token())];
    let secrets = Vault::from_env_source(variables).unwrap().resolve::<Covered>().await.unwrap();
    let file = Figment::from(Toml::string("optional = 'of a file'"));
    let read: Covered = file.merge(secrets).extract().unwrap();
    assert!(read.optional.is_none());
    assert_eq!(read.defaulted.expose_secret(), "default");
}

#[test]
fn a_variable_that_hides_the_address_is_no_choice_of_local_mode() {
    let variables = [("VAULT_ADDR", "http://127.0.0.1:1"), ("BAO_ADDR", ""), ("OPTIONAL", "x")];
    let loader = Covered::loader().without_dotenv().env_source(variables);
    let error = loader.load_blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Setting);
    assert!(
        error.to_string().contains("env BAO_ADDR: is empty, and so hides VAULT_ADDR"),
        "{error}"
    );
}

fn approle(server: &ScriptedServer) -> Vault {
    let login = AppRole::new("role", "secret");
    Vault::builder().address(server.address()).auth(login).max_retries(2).build().unwrap()
}

fn logins(server: &ScriptedServer) -> usize {
    server.requests().iter().filter(|request| request.path().ends_with("/login")).count()
}

fn let_in() -> ScriptedAnswer {
    ScriptedAnswer::json(200, &json!({ "auth": { "client_token": "t" } }))
}

fn secret(_: &str) -> ScriptedAnswer {
    let secret = json!({ "data": { "key": "k" }, "metadata": { "version": 1 } });
    ScriptedAnswer::json(200, &json!({ "data": secret }))
}

/// Twelve paths learn one after the other that the token is dead, and the login is refused: five
/// wrong tries would lock the role.
#[tokio::test]
async fn a_refused_login_is_sent_once_a_load() {
    #[derive(Debug, VaultConfig)]
    #[rustfmt::skip]
    struct Many {
        #[vault(kv = "0", key = "k")] a: SecretString, #[vault(kv = "1", key = "k")] b: SecretString,
        #[vault(kv = "2", key = "k")] c: SecretString, #[vault(kv = "3", key = "k")] d: SecretString,
        #[vault(kv = "4", key = "k")] e: SecretString, #[vault(kv = "5", key = "k")] f: SecretString,
        #[vault(kv = "6", key = "k")] g: SecretString, #[vault(kv = "7", key = "k")] h: SecretString,
    }
    let once = AtomicBool::new(true);
    let server = answering(move |request| match request.path() {
        path if path.ends_with("/login") => match once.swap(false, Ordering::SeqCst) {
            true => let_in(),
            false => errors(400, "invalid role or secret ID"),
        },
        path => {
            let number = path.rsplit('/').next().and_then(|last| last.parse().ok()).unwrap_or(0);
            errors(403, "permission denied").after(Duration::from_millis(40 * number))
        }
    })
    .await;
    let loader = Many::loader().without_dotenv().env_source([("", ""); 0]).vault(approle(&server));
    let error = loader.load().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LoginRefused, "{error}");
    assert_eq!(logins(&server), 2, "the first, and one to replace the dead token");
}

#[tokio::test]
async fn a_login_that_a_gateway_may_have_passed_on_is_not_sent_again() {
    for (answer, sent) in [
        (ScriptedAnswer::status(503).body("upstream connect error or disconnect/reset"), 1),
        (ScriptedAnswer::json(429, &json!({ "message": "slow down" })), 1),
        (errors(429, "request path \"auth/approle/login\": rate limit quota exceeded"), 3),
        (errors(503, "Vault is sealed"), 3),
    ] {
        let server = answering(move |_| answer.clone()).await;
        let loader = Covered::loader().without_dotenv().startup_deadline(Duration::ZERO);
        let loader = loader.env_source([("", ""); 0]).vault(approle(&server));
        let error = loader.load().await.unwrap_err();
        assert_eq!(logins(&server), sent, "{error}");
    }
}

#[tokio::test]
async fn a_load_that_is_dropped_does_not_cancel_the_login_of_others() {
    let server = answering(|request| match request.path() {
        path if path.ends_with("/login") => let_in().after(Duration::from_millis(300)),
        path => secret(path),
    })
    .await;
    let vault = approle(&server);
    let load =
        || Covered::loader().without_dotenv().env_source([("", ""); 0]).vault(vault.clone()).load();
    let hasty = tokio::time::timeout(Duration::from_millis(100), load());
    let (hasty, patient) = tokio::join!(hasty, load());
    assert!(hasty.is_err());
    patient.unwrap();
    assert_eq!(logins(&server), 1);
}

#[tokio::test]
async fn a_token_file_that_is_not_renewed_is_reported_as_an_invalid_token() {
    let server = answering(|_| errors(403, "permission denied")).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "dead-token").unwrap();
    let vault = Vault::builder()
        .address(server.address())
        .auth(TokenFile::new(file.path()))
        .build()
        .unwrap();
    let loader =
        || Covered::loader().without_dotenv().env_source([("", ""); 0]).vault(vault.clone());
    for error in [loader().load().await.unwrap_err(), loader().check().await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::TokenInvalid, "{error}");
        assert!(error.to_string().contains(file.path().to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn what_a_server_echoes_is_not_shown() {
    let server = answering(|request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        errors(400, &format!("cannot parse \u{1b}[31m body: {body}"))
    })
    .await;
    let login = AppRole::new("role-hunter2", SecretString::from("secret-hunter2"));
    let vault = Vault::builder().address(server.address()).auth(login).build().unwrap();
    let loader = Covered::loader().without_dotenv().env_source([("", ""); 0]).vault(vault);
    let error = loader.load().await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    assert!(!error.to_string().contains('\u{1b}'), "{error:?}");
}

#[test]
fn a_layer_that_cannot_be_read_is_not_quoted() {
    for layer in [
        Figment::from(Json::string(r#"{"default":{},"key":"layer-hunter2"}"#).nested()),
        Figment::from(Json::string(r#""layer-hunter2""#)),
        Figment::from(Toml::string("a = layer-hunter2")),
    ] {
        let loader = Covered::loader().mode(Mode::Local).without_dotenv().env_source([("", ""); 0]);
        let error = loader.figment(layer).load_blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Figment, "{error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error}");
    }
}

/// A type that puts the value into what it expected, and one whose map has secret keys.
#[tokio::test]
async fn the_message_of_a_type_about_a_secret_is_not_shown() {
    #[derive(Debug)]
    struct Chatty;
    impl<'de> Deserialize<'de> for Chatty {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            let text = String::deserialize(from)?;
            let expected = format!("a port, and {text} is none");
            Err(serde::de::Error::invalid_value(
                serde::de::Unexpected::Str(&text),
                &expected.as_str(),
            ))
        }
    }
    #[derive(Debug, VaultConfig)]
    struct Refused {
        #[vault(kv = "app", plain)]
        chatty: Option<Chatty>,
        #[vault(kv = "app")]
        map: HashMap<String, SecretString>,
    }
    let data = json!({ "chatty": "value-hunter2", "map": { "key-hunter2": [1] } });
    let answer = json!({ "data": { "data": data, "metadata": { "version": 1 } } });
    let server = answering(move |_| ScriptedAnswer::json(200, &answer)).await;
    let error = load::<Refused>(&server).await.unwrap_err();
    assert_eq!(error.problems().len(), 2, "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_wait_beyond_measure_is_no_panic() {
    let count = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&count);
    let server = answering(move |_| {
        seen.fetch_add(1, Ordering::SeqCst);
        errors(429, "rate limit quota exceeded").header("Retry-After", "18446744073709551615")
    })
    .await;
    assert_eq!(load::<Covered>(&server).await.unwrap_err().kind(), ErrorKind::RateLimited);
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let login = AppRole::new("role", "secret");
    let vault = Vault::builder().address(server.address()).auth(login).timeout(Duration::MAX);
    drop(vault.max_connections(usize::MAX).build().unwrap());
    let server = answering(|request| secret(request.path())).await;
    let variables = [("VAULT_ADDR", &*server.address()), ("VAULT_TOKEN", "t")];
    let loader = Covered::loader().without_dotenv().env_source(variables);
    loader.startup_deadline(Duration::MAX).load().await.unwrap();
}

#[test]
fn a_load_outside_of_a_runtime_is_an_error_and_no_panic() {
    let variables = [("VAULT_ADDR", "http://127.0.0.1:1"), ("VAULT_TOKEN", "t")];
    let load = Covered::loader().without_dotenv().env_source(variables).load();
    let mut load = std::pin::pin!(load);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(result) = load.as_mut().poll(&mut context) else {
        panic!("pending")
    };
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Runtime);
}

#[test]
fn keys_and_tables_inside_of_nested_structs_are_checked() {
    #[derive(Debug, VaultConfig)]
    struct Outer {
        #[vault(nested)]
        strict: Strict,
        #[vault(nested)]
        other: Option<Strict>,
    }
    #[derive(Debug, VaultConfig)]
    #[vault(deny_unknown)]
    struct Strict {
        #[vault(default = 1)]
        hosts: u8,
    }
    for (text, kind) in
        [("[strict]\nhots = 1", ErrorKind::UnknownKey), ("other = 'x://y'", ErrorKind::WrongType)]
    {
        let loader = Outer::loader().mode(Mode::Local).without_dotenv().env_source([("", ""); 0]);
        let error = loader.figment(Figment::from(Toml::string(text))).load_blocking().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[test]
fn a_pair_is_set_by_its_variables_even_where_its_role_is_not_known() {
    #[derive(Debug, VaultConfig)]
    struct Pair {
        #[vault(database = "{env}-ro")]
        database: DatabaseCredentials,
    }
    let variables = [("DATABASE_USERNAME", "u"), ("DATABASE_PASSWORD", "p")];
    for mode in [Mode::Local, Mode::Vault] {
        let loader = Pair::loader().mode(mode).without_dotenv().env_source(variables);
        assert_eq!(loader.load_blocking().unwrap().database.username(), "u");
    }
}

#[test]
fn debug_of_a_schema_and_of_a_builder_hides_values() {
    #[derive(VaultConfig)]
    struct Defaulted {
        #[vault(kv = "app", default = "default-hunter2")]
        secret: SecretString,
    }
    let builder = Vault::builder().address("http://user:hunter2@host");
    let shown = format!("{:?} {builder:?}", Defaulted::schema());
    let shown = format!("{shown} {:?}", builder.build().unwrap_err());
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn documents_keep_the_variables_of_paths() {
    #[derive(VaultConfig)]
    struct Varied {
        #[vault(kv = "{env}/app")]
        key: SecretString,
        #[vault(nested)]
        spare: Option<Spare>,
    }
    #[derive(VaultConfig)]
    struct Spare {
        #[vault(database = "{env}-ro")]
        database: DatabaseCredentials,
    }
    let schema = Varied::schema();
    assert!(schema.to_markdown().contains("`kv secret/{env}/app#key`"), "{}", schema.to_markdown());
    assert!(schema.policy().contains("path \"secret/data/+/app\""), "{}", schema.policy());
    assert!(schema.policy().contains("path \"database/creds/+\""), "{}", schema.policy());
    let template = schema.env_template();
    assert!(
        template.contains("# SecretString; from vault kv secret/{env}/app#key in Vault mode"),
        "{template}"
    );
    assert!(
        template.contains("# SPARE_DATABASE_USERNAME=\n# SPARE_DATABASE_PASSWORD=\n"),
        "{template}"
    );
    let json: serde_json::Value = serde_json::from_str(&schema.json_schema()).unwrap();
    assert_eq!(json["properties"]["key"]["writeOnly"], true);
    assert_eq!(json["properties"]["spare"]["properties"]["database"]["type"], "object");
}

#[tokio::test]
async fn one_secret_is_read_once_however_its_fields_declare_it() {
    #[derive(Debug, VaultConfig)]
    struct Twice {
        #[vault(kv = "app", key = "key")]
        learned: SecretString,
        #[vault(kv = "app", key = "key", kv_version = 2)]
        declared: SecretString,
    }
    let server = answering(|request| secret(request.path())).await;
    let config = load::<Twice>(&server).await.unwrap();
    assert_eq!(config.learned.expose_secret(), config.declared.expose_secret());
    assert_eq!(server.requests().len(), 1);
}

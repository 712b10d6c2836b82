//! Where a value comes from: the table of sources cell by cell, modes, path variables, the report.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Format as _, Json, Toml};
use serde_json::json;
use tempfile::TempPath;
use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use vault_config::auth::Token;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{
    DatabaseCredentials, Error, ErrorKind, Loader, Mode, Problem, Provenance, Vault, VaultConfig,
};
use vault_config_tests::{OpenBao, Postgres, ScriptedAnswer, ScriptedServer};

// ===== helpers, of the other modules too =====

/// The environment of a program that may read everything.
pub(crate) fn root(bao: &OpenBao) -> Vec<(String, String)> {
    pairs(&[
        ("VAULT_ADDR", bao.address()),
        ("VAULT_TOKEN", bao.root_token()),
        ("VAULT_MAX_RETRIES", "0"),
    ])
}

pub(crate) fn pairs(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) const NOTHING: [(&str, &str); 0] = [];

/// A `.env` file, removed when dropped.
pub(crate) fn dotenv(text: &str) -> TempPath {
    let mut file = tempfile::Builder::new().suffix(".env").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.into_temp_path()
}

pub(crate) fn toml(text: &str) -> Figment {
    Figment::from(Toml::string(text))
}

/// Each problem's field and kind.
pub(crate) fn told(error: &Error) -> Vec<(&str, ErrorKind)> {
    error
        .problems()
        .iter()
        .map(|problem| (problem.field().unwrap_or("-"), problem.kind()))
        .collect()
}

/// Later ones replace earlier ones of the same name.
pub(crate) fn with(
    variables: Vec<(String, String)>,
    more: &[(&str, &str)],
) -> Vec<(String, String)> {
    variables.into_iter().chain(pairs(more)).collect()
}

fn revealed(secret: &Option<SecretString>) -> Option<&str> {
    secret.as_ref().map(ExposeSecret::expose_secret)
}

// ===== the table =====

#[derive(Debug, VaultConfig)]
#[vault(env_prefix = "APP")]
struct Required {
    #[vault(kv = "{where}")]
    secret: SecretString,
    plain: String,
}

#[derive(Debug, VaultConfig)]
#[vault(env_prefix = "APP")]
struct Covered {
    #[vault(kv = "{where}", key = "secret")]
    secret: Option<SecretString>,
    #[vault(kv = "{where}", key = "secret", default = "default", env = "APP_SECRET_TOO")]
    secret_too: SecretString,
    plain: Option<String>,
    #[vault(default = "default", env = "APP_PLAIN_TOO")]
    plain_too: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Env,
    Dotenv,
    File,
    Vault,
}
use Source::{Env, File};

impl Source {
    const ALL: [Self; 4] = [Self::Env, Self::Dotenv, Self::File, Self::Vault];

    /// The value it gives to every field.
    fn value(self) -> &'static str {
        match self {
            Self::Env => "of env",
            Self::Dotenv => "of dotenv",
            Self::File => "of a file",
            Self::Vault => "of vault",
        }
    }

    fn is_provenance(self, provenance: &Provenance) -> bool {
        match self {
            Self::Env => matches!(provenance, Provenance::Env { .. }),
            Self::Dotenv => matches!(provenance, Provenance::Dotenv { .. }),
            Self::File => matches!(provenance, Provenance::Layer { .. }),
            Self::Vault => matches!(provenance, Provenance::Vault { version: Some(_), .. }),
        }
    }
}

/// Who is asked for a field, in order: the table of the design.
fn order(marked: bool, mode: Mode) -> &'static [Source] {
    match (marked, mode) {
        (true, Mode::Vault) => &[Env, Source::Vault],
        _ => &[Env, Source::Dotenv, File],
    }
}

const VARIABLES: [&str; 4] = ["APP_SECRET", "APP_SECRET_TOO", "APP_PLAIN", "APP_PLAIN_TOO"];
const KEYS: [&str; 4] = ["secret", "secret_too", "plain", "plain_too"];

/// A loader with a value for every field in each of `sources`.
fn loader_of<T: VaultConfig>(
    bao: &OpenBao,
    mode: Mode,
    sources: &[Source],
) -> (Loader<T>, Option<TempPath>) {
    let mut variables = root(bao);
    let mut loader = T::loader().mode(mode).without_dotenv().var("where", "nothing");
    let mut file = None;
    for source in sources {
        let value = source.value();
        match source {
            Env => variables.extend(pairs(&VARIABLES.map(|name| (name, value)))),
            Source::Dotenv => {
                let path = dotenv(&VARIABLES.map(|name| format!("{name}='{value}'\n")).concat());
                loader = loader.dotenv(path.to_path_buf());
                file = Some(path);
            }
            File => {
                loader =
                    loader.figment(toml(&KEYS.map(|key| format!("{key} = '{value}'\n")).concat()))
            }
            Source::Vault => loader = loader.var("where", "full"),
        }
    }
    (loader.env_source(variables), file)
}

#[tokio::test]
async fn every_cell_of_the_table() {
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "full", json!({"secret": Source::Vault.value()})).await;
    for mode in [Mode::Vault, Mode::Local] {
        for subset in 0..16_usize {
            let present: Vec<_> = Source::ALL
                .into_iter()
                .enumerate()
                .filter(|(bit, _)| subset >> bit & 1 == 1)
                .map(|(_, s)| s)
                .collect();
            let case = format!("{present:?} in {mode:?}");
            let winner = |marked| {
                order(marked, mode).iter().copied().find(|source| present.contains(source))
            };
            let [secret, plain] = [winner(true), winner(false)];

            let (loader, _file) = loader_of::<Covered>(&bao, mode, &present);
            let (read, report) =
                loader.load_with_report().await.unwrap_or_else(|e| panic!("{case}: {e}"));
            let value = |winner: Option<Source>| winner.map(Source::value);
            assert_eq!(revealed(&read.secret), value(secret), "{case}");
            assert_eq!(
                read.secret_too.expose_secret(),
                value(secret).unwrap_or("default"),
                "{case}"
            );
            assert_eq!(read.plain.as_deref(), value(plain), "{case}");
            assert_eq!(read.plain_too, value(plain).unwrap_or("default"), "{case}");
            for (field, winner, otherwise) in [
                ("secret", secret, Provenance::Absent),
                ("secret_too", secret, Provenance::Default),
                ("plain", plain, Provenance::Absent),
                ("plain_too", plain, Provenance::Default),
            ] {
                let found = report.provenance(field).unwrap();
                let right =
                    winner.map_or(*found == otherwise, |winner| winner.is_provenance(found));
                assert!(right, "{case}: {field} comes from {found:?}");
            }

            let (loader, _file) = loader_of::<Required>(&bao, mode, &present);
            let absent = match mode {
                Mode::Vault => ErrorKind::PathAbsent,
                _ => ErrorKind::Missing,
            };
            let missing = [("secret", secret, absent), ("plain", plain, ErrorKind::Missing)];
            let missing = missing.into_iter().filter(|(_, winner, _)| winner.is_none());
            let missing: Vec<_> = missing.map(|(field, _, kind)| (field, kind)).collect();
            match loader.load().await {
                Ok(read) => {
                    assert_eq!(Some(read.secret.expose_secret()), value(secret), "{case}");
                    assert_eq!(Some(read.plain.as_str()), value(plain), "{case}");
                    assert!(missing.is_empty(), "{case}");
                }
                Err(error) => assert_eq!(told(&error), missing, "{case}"),
            }
        }
    }
}

#[derive(Debug, VaultConfig)]
#[vault(kv = "{path}")]
struct Failing {
    #[vault(kv)]
    secret: SecretString,
    #[vault(kv, key = "secret", env = "OPTIONAL")]
    optional: Option<SecretString>,
    #[vault(kv, key = "secret", env = "DEFAULTED", default = "default")]
    defaulted: SecretString,
}

#[derive(Debug, VaultConfig)]
#[vault(kv = "{path}")]
struct FailingCovered {
    #[vault(kv, key = "secret")]
    optional: Option<SecretString>,
    #[vault(kv, key = "secret", default = "default")]
    defaulted: SecretString,
}

/// Every field has a value in `.env` and in a file, which nothing in Vault mode may ever fall back to.
async fn with_a_fallback_at_hand<T: VaultConfig>(
    path: &str,
    variables: Vec<(String, String)>,
) -> Result<T, Error> {
    let file = dotenv("SECRET=dotenv\nOPTIONAL=dotenv\nDEFAULTED=dotenv\n");
    let layer = toml("secret = 'file'\noptional = 'file'\ndefaulted = 'file'");
    let loader =
        T::loader().mode(Mode::Vault).var("path", path).dotenv(file.to_path_buf()).figment(layer);
    loader.startup_deadline(Duration::ZERO).env_source(variables).load().await
}

#[tokio::test]
async fn whatever_fails_no_local_value_takes_a_secrets_place() {
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "keyless", json!({"other": "x"})).await;
    bao.kv_put("secret", "there", json!({"secret": "of vault"})).await;
    for path in ["deleted", "destroyed"] {
        bao.kv_put("secret", path, json!({"secret": "gone"})).await;
    }
    bao.delete("secret/data/deleted").await;
    bao.write("secret/destroy/destroyed", json!({"versions": [1]})).await;
    let powerless = bao.token(&["default"], json!({})).await;
    let as_root = || root(&bao);
    let to = |address: &str| {
        pairs(&[("VAULT_ADDR", address), ("VAULT_TOKEN", "t"), ("VAULT_MAX_RETRIES", "0")])
    };

    for (path, kind) in [
        ("nothing", ErrorKind::PathAbsent),
        ("keyless", ErrorKind::KeyAbsent),
        ("deleted", ErrorKind::Deleted),
        ("destroyed", ErrorKind::Destroyed),
    ] {
        let error = with_a_fallback_at_hand::<Failing>(path, as_root()).await.unwrap_err();
        assert_eq!(told(&error), [("secret", kind)], "absence is covered: {path}");
        let read = with_a_fallback_at_hand::<FailingCovered>(path, as_root()).await.unwrap();
        assert!(read.optional.is_none(), "{path}");
        assert_eq!(read.defaulted.expose_secret(), "default", "{path}");
    }

    let html =
        ScriptedServer::start(|_| ScriptedAnswer::status(200).body("<html>hello</html>")).await;
    let dataless =
        ScriptedServer::start(|_| ScriptedAnswer::json(200, &json!({"lease_id": ""}))).await;
    let broken =
        ScriptedServer::start(|_| ScriptedAnswer::json(500, &json!({"errors": ["oh no"]}))).await;
    let cut = ScriptedServer::start(|_| {
        ScriptedAnswer::raw("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")
    })
    .await;
    let misshapen = ScriptedServer::start(|request| {
        let mount = json!({ "data": { "type": "kv", "options": { "version": "2" } } });
        let secret = json!({ "data": { "data": [], "metadata": { "version": 1 } } });
        let preflight = request.path().contains("/ui/mounts/");
        ScriptedAnswer::json(200, if preflight { &mount } else { &secret })
    })
    .await;
    let denied = with(to(bao.address()), &[("VAULT_TOKEN", &powerless)]);
    let mut failures = vec![
        ("denied", denied, Some(ErrorKind::Denied)),
        ("unknown token", to(bao.address()), Some(ErrorKind::TokenInvalid)),
        ("unreachable", to("http://127.0.0.1:1"), Some(ErrorKind::ConnectionRefused)),
        ("no address", pairs(&[("VAULT_TOKEN", "t")]), Some(ErrorKind::Setting)),
        ("no login", pairs(&[("VAULT_ADDR", bao.address())]), Some(ErrorKind::NoLogin)),
        ("html", to(&html.address()), Some(ErrorKind::NotVault)),
        ("misshapen", to(&misshapen.address()), Some(ErrorKind::Protocol)),
        ("no data", to(&dataless.address()), None),
        ("server error", to(&broken.address()), Some(ErrorKind::Server)),
        ("cut short", to(&cut.address()), None),
    ];
    check_failures(&failures).await;
    bao.seal().await;
    failures.truncate(0);
    failures.push(("sealed", as_root(), Some(ErrorKind::Sealed)));
    check_failures(&failures).await;
}

/// A name, an environment, and what kind of problem it makes where that is settled.
type Failure = (&'static str, Vec<(String, String)>, Option<ErrorKind>);

async fn check_failures(failures: &[Failure]) {
    for (name, variables, kind) in failures {
        let error =
            with_a_fallback_at_hand::<Failing>("there", variables.clone()).await.unwrap_err();
        let fields: Vec<_> = error.problems().iter().filter_map(Problem::field).collect();
        assert_eq!(fields, ["secret", "optional", "defaulted"], "{name}: {error}");
        for problem in error.problems() {
            assert!(!problem.kind().is_absence(), "{name}: {error}");
            assert_eq!(problem.kind(), kind.unwrap_or(problem.kind()), "{name}: {error}");
        }
        assert!(
            error.to_string().contains("Vault mode, because the program asks for it"),
            "{error}"
        );
    }
}

#[derive(Debug, VaultConfig)]
struct Overridden {
    #[vault(kv = "a")]
    a: SecretString,
    #[vault(kv = "b")]
    b: SecretString,
    #[vault(kv = "shared", key = "x")]
    shared_x: SecretString,
    #[vault(kv = "shared", key = "y")]
    shared_y: SecretString,
    #[vault(database = "readonly")]
    database: DatabaseCredentials,
    #[vault(read = "cubbyhole/c", key = "c")]
    read: SecretString,
}

const OVERRIDES: [(&str, &str); 7] = [
    ("B", "env"),
    ("SHARED_X", "env"),
    ("DATABASE_USERNAME", "user"),
    ("DATABASE_PASSWORD", "pass"),
    ("READ", "env"),
    ("A", "env"),
    ("SHARED_Y", "env"),
];

#[tokio::test]
async fn what_the_environment_overrides_is_not_fetched() {
    let (bao, postgres) = tokio::join!(OpenBao::dev(), Postgres::start());
    bao.connect_database(&postgres).await;
    bao.kv_put("secret", "a", json!({"a": "vault"})).await;
    bao.kv_put("secret", "b", json!({"b": "vault"})).await;
    bao.kv_put("secret", "shared", json!({"x": "vault", "y": "vault"})).await;
    bao.write("cubbyhole/c", json!({"c": "vault"})).await;
    let loader = || Overridden::loader().without_dotenv();
    let requested =
        || -> Vec<_> { bao.audit_requests().into_iter().map(|request| request.path).collect() };
    let leases = async || {
        let path = "sys/leases/lookup/database/creds/readonly";
        let (_, answer) = bao.try_request("LIST", path, None, bao.root_token()).await;
        answer["data"]["keys"].as_array().map_or(0, Vec::len)
    };
    bao.clear_audit();

    let read = loader().env_source(with(root(&bao), &OVERRIDES[..5])).load().await.unwrap();
    let values = [&read.a, &read.b, &read.shared_x, &read.shared_y, &read.read];
    assert_eq!(values.map(ExposeSecret::expose_secret), ["vault", "env", "env", "vault", "env"]);
    assert_eq!(
        (read.database.username(), read.database.password().expose_secret()),
        ("user", "pass")
    );
    let mut paths = requested();
    paths.sort();
    assert_eq!(paths, ["secret/data/a", "secret/data/shared"]);
    assert_eq!(leases().await, 0);

    // With nothing left to ask for, the server need not be there, nor a login.
    let unreachable = pairs(&[("VAULT_ADDR", "http://127.0.0.1:1")]);
    loader().env_source(with(unreachable, &OVERRIDES)).load().await.unwrap();

    // Where the environment may not override, it is not looked at.
    bao.clear_audit();
    let all = || with(root(&bao), &OVERRIDES);
    let read = loader().env_overrides(false).env_source(all()).load().await.unwrap();
    let values = [&read.a, &read.b, &read.shared_x, &read.shared_y, &read.read];
    assert!(values.into_iter().all(|value| value.expose_secret() == "vault"));
    assert_ne!(read.database.username(), "user");
    assert_eq!(requested().len(), 5);
    assert_eq!(leases().await, 1);
    bao.delete("secret/data/a").await;
    let error = loader().env_overrides(false).env_source(all()).load().await.unwrap_err();
    assert_eq!(told(&error), [("a", ErrorKind::Deleted)]);
    assert!(error.problems()[0].sources().is_empty(), "{error}");
    // In local mode the environment is all there is.
    let local =
        loader().env_overrides(false).mode(Mode::Local).env_source(OVERRIDES).load().await.unwrap();
    assert_eq!(local.a.expose_secret(), "env");
}

#[tokio::test]
async fn an_empty_variable_is_unset() {
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "full", json!({"secret": "of vault"})).await;
    let empty = VARIABLES.map(|name| (name, ""));
    let loader = || {
        Covered::loader().without_dotenv().var("where", "full").figment(toml("plain = 'of a file'"))
    };
    let read = loader().env_source(with(root(&bao), &empty)).load().await.unwrap();
    assert_eq!(revealed(&read.secret), Some("of vault"));
    assert_eq!(read.plain.as_deref(), Some("of a file"));
    assert_eq!(read.plain_too, "default");
    // `.env` is asked where the environment is empty, and a file where `.env` is.
    for line in ["APP_PLAIN=", "APP_PLAIN=''", "APP_PLAIN=\"\"", "APP_PLAIN"] {
        let file = dotenv(&format!(
            "{}\nAPP_PLAIN_TOO=dotenv\n",
            if line.contains('=') { line } else { "" }
        ));
        let loader = loader().mode(Mode::Local).dotenv(file.to_path_buf()).env_source(empty);
        let read = loader.load().await.unwrap();
        assert_eq!(read.plain.as_deref(), Some("of a file"), "{line}");
        assert_eq!(read.plain_too, "dotenv", "{line}");
    }
}

// ===== modes =====

#[derive(Debug, VaultConfig)]
struct Modal {
    #[vault(default = 1)]
    number: u8,
}

#[derive(Debug, VaultConfig)]
struct ModalFailing {
    number: u8,
}

#[tokio::test]
async fn the_mode_and_why() {
    const LOCAL: &str = "Local mode, because no Vault address is configured; set VAULT_ADDR to read secrets from Vault.";
    const ASKED_VAULT: &str = "Vault mode, because the program asks for it";
    const ASKED_LOCAL: &str = "Local mode, because the program asks for it";
    let addr = ("VAULT_ADDR", "http://127.0.0.1:1");
    let bao_addr = ("BAO_ADDR", "http://127.0.0.1:2");
    let agent = ("VAULT_AGENT_ADDR", "http://127.0.0.1:3");
    let mode = |value| ("VAULT_CONFIG_MODE", value);
    let because_of = |name: &str| format!("Vault mode, because {name} is");
    let said = |mode: &str| format!("{mode} mode, because VAULT_CONFIG_MODE says so");
    for (given, variables, sentence) in [
        (Mode::Auto, vec![], LOCAL.to_owned()),
        (Mode::Auto, vec![("VAULT_ADDR", "")], LOCAL.to_owned()),
        (Mode::Auto, vec![("VAULT_TOKEN", "t")], LOCAL.to_owned()),
        (Mode::Auto, vec![addr], because_of("VAULT_ADDR")),
        (Mode::Auto, vec![bao_addr], because_of("BAO_ADDR")),
        (Mode::Auto, vec![agent], because_of("VAULT_AGENT_ADDR")),
        (Mode::Auto, vec![addr, bao_addr], because_of("BAO_ADDR")),
        (Mode::Auto, vec![addr, bao_addr, agent], because_of("VAULT_AGENT_ADDR")),
        (Mode::Auto, vec![addr, mode("auto")], because_of("VAULT_ADDR")),
        (Mode::Auto, vec![addr, mode("")], because_of("VAULT_ADDR")),
        (Mode::Auto, vec![addr, mode("local")], said("Local")),
        (Mode::Auto, vec![mode("vault")], said("Vault")),
        (Mode::Vault, vec![mode("local")], ASKED_VAULT.to_owned()),
        (Mode::Local, vec![addr, mode("vault")], ASKED_LOCAL.to_owned()),
        (Mode::Vault, vec![], ASKED_VAULT.to_owned()),
        (Mode::Local, vec![addr], ASKED_LOCAL.to_owned()),
    ] {
        let case = format!("{given:?} with {variables:?}");
        let loader = Modal::loader().mode(given).without_dotenv().env_source(variables.clone());
        let (read, report) = loader.load_with_report().await.unwrap();
        assert_eq!(read.number, 1);
        assert!(report.mode().starts_with(&sentence), "{case}: {}", report.mode());
        assert!(report.to_string().starts_with(report.mode()), "{report}");
        let loader = ModalFailing::loader().mode(given).without_dotenv().env_source(variables);
        let error = loader.load().await.unwrap_err();
        assert!(error.to_string().trim_end().ends_with(report.mode()), "{case}: {error}");
    }
}

#[tokio::test]
async fn a_connection_of_the_programs_own_chooses_vault_mode() {
    let vault =
        Vault::builder().address("http://127.0.0.1:1").auth(Token::new("hunter2")).build().unwrap();
    let loader = || Modal::loader().without_dotenv().vault(vault.clone());
    let (_, report) = loader().env_source(NOTHING).load_with_report().await.unwrap();
    assert!(
        report.mode().starts_with("Vault mode, because Vault::builder().address(..)"),
        "{}",
        report.mode()
    );
    let local =
        loader().env_source([("VAULT_CONFIG_MODE", "local")]).load_with_report().await.unwrap();
    assert!(local.1.mode().starts_with("Local mode"), "{}", local.1.mode());
}

#[tokio::test]
async fn an_unknown_mode_fails_closed() {
    let file = dotenv("APP_SECRET=dotenv\nAPP_PLAIN=dotenv\n");
    for word in ["Vault", "hunter2", " local"] {
        let loader = Required::loader().dotenv(file.to_path_buf()).var("where", "x");
        let error = loader.env_source([("VAULT_CONFIG_MODE", word)]).load().await.unwrap_err();
        let problem = &error.problems()[0];
        assert_eq!(
            (problem.kind(), problem.source_name()),
            (ErrorKind::Setting, Some("env VAULT_CONFIG_MODE"))
        );
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

/// Every way to log in, by one variable or more that nothing else reads.
const LOGINS: [&[&str]; 24] = [
    &["VAULT_ROLE_ID", "VAULT_SECRET_ID"],
    &["VAULT_ROLE_ID_FILE", "VAULT_SECRET_ID_FILE"],
    &["BAO_ROLE_ID", "BAO_WRAPPED_SECRET_ID_FILE"],
    &["VAULT_TOKEN"],
    &["BAO_TOKEN"],
    &["VAULT_TOKEN_FILE"],
    &["VAULT_WRAPPED_TOKEN"],
    &["BAO_WRAPPED_TOKEN_FILE"],
    &["VAULT_WRAPPED_TOKEN_MADE_BY"],
    &["VAULT_AUTH_METHOD"],
    &["BAO_AUTH_ROLE"],
    &["VAULT_AUTH_MOUNT"],
    &["VAULT_AUTH_NAMESPACE"],
    &["VAULT_KUBERNETES_TOKEN_FILE"],
    &["VAULT_JWT"],
    &["BAO_JWT_FILE"],
    &["VAULT_USERNAME", "VAULT_PASSWORD"],
    &["VAULT_PASSWORD_FILE"],
    &["VAULT_AUTH_GITHUB_TOKEN"],
    &["BAO_AUTH_GITHUB_TOKEN_FILE"],
    &["VAULT_CLIENT_CERT", "VAULT_CLIENT_KEY"],
    &["BAO_CLIENT_CERT_BYTES"],
    &["VAULT_AWS_REGION", "VAULT_AWS_IAM_SERVER_ID"],
    &["VAULT_AZURE_RESOURCE"],
];

/// The secrets of development are at hand in `.env`, and would be served in production.
#[tokio::test]
async fn a_login_without_an_address_fails_closed() {
    let file = dotenv("APP_SECRET=dotenv\nAPP_PLAIN=dotenv\n");
    let loader = |login: &[&'static str], more: &[(&'static str, &'static str)]| {
        let login = login.iter().map(|name| (*name, "x"));
        let variables: Vec<_> = login.chain(more.iter().copied()).collect();
        Required::loader().dotenv(file.to_path_buf()).var("where", "app").env_source(variables)
    };
    for login in LOGINS {
        let error = loader(login, &[]).load().await.unwrap_err();
        assert_eq!(told(&error), [("-", ErrorKind::Setting)], "{login:?}: {error}");
        let problem = &error.problems()[0];
        assert_eq!(problem.source_name(), Some(&*format!("env {}", login[0])), "{login:?}");
        for name in login {
            assert!(problem.message().contains(name), "{name}: {problem}");
        }
        let help = "set VAULT_ADDR, or VAULT_CONFIG_MODE=local to use local sources";
        assert_eq!(problem.help(), help, "{login:?}");
        let error = loader(login, &[("VAULT_CONFIG_MODE", "auto")]).check().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Setting, "{login:?}");
        let error = loader(login, &[("BAO_ADDR", "")]).watch().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Setting, "{login:?}");

        let local = loader(login, &[]).mode(Mode::Local).load().await.unwrap();
        assert_eq!(local.secret.expose_secret(), "dotenv", "{login:?}");
        let local = loader(login, &[("VAULT_CONFIG_MODE", "local")]).load().await.unwrap();
        assert_eq!(local.secret.expose_secret(), "dotenv", "{login:?}");
    }
    // Hidden from the official client, and yet a login that was meant.
    let error = loader(&["VAULT_ROLE_ID"], &[("BAO_ROLE_ID", "")]).load().await.unwrap_err();
    assert_eq!(error.problems()[0].source_name(), Some("env VAULT_ROLE_ID"));
}

#[tokio::test]
async fn what_is_no_login_to_vault_leaves_local_mode_as_it_is() {
    let home = tempfile::TempDir::new().unwrap();
    std::fs::write(home.path().join(".vault-token"), "hunter2").unwrap();
    let home = home.path().to_str().unwrap();
    let file = dotenv("APP_SECRET=dotenv\nAPP_PLAIN=dotenv\nVAULT_ROLE_ID=x\n");
    for variable in [
        ("VAULT_ROLE_ID", ""),
        ("BAO_TOKEN", ""),
        ("HOME", home),
        ("AZURE_CLIENT_ID", "x"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_ROLE_ARN", "x"),
        ("AWS_REGION", "eu-central-1"),
        ("GCE_METADATA_HOST", "x"),
        ("IDENTITY_ENDPOINT", "x"),
        ("VAULT_NAMESPACE", "team"),
        ("VAULT_CLIENT_TIMEOUT", "5"),
        ("VAULT_CONFIG_VAR_ENV", "x"),
    ] {
        let loader = Required::loader().dotenv(file.to_path_buf()).env_source([variable]);
        let (read, report) = loader.load_with_report().await.unwrap();
        assert_eq!(read.secret.expose_secret(), "dotenv", "{variable:?}");
        assert!(report.mode().starts_with("Local mode, because no Vault address"), "{report}");
    }
    // Where nothing is marked for Vault, nothing is served in its place.
    let loader = Modal::loader().without_dotenv().env_source([("VAULT_TOKEN", "t")]);
    loader.load().await.unwrap();
}

#[tokio::test]
async fn a_login_whose_address_stands_in_the_env_file_says_so() {
    let file = dotenv("APP_SECRET=dotenv\nAPP_PLAIN=dotenv\nVAULT_ADDR=http://127.0.0.1:1\n");
    let loader = Required::loader().dotenv(file.to_path_buf()).env_source([("VAULT_TOKEN", "t")]);
    let error = loader.load().await.unwrap_err();
    let why = format!(
        "({} sets VAULT_ADDR, which is read from the process environment only)",
        file.display()
    );
    assert!(error.problems()[0].message().contains(&why), "{error}");
}

#[tokio::test]
async fn an_address_in_the_env_file_is_pointed_out() {
    let file = dotenv("VAULT_ADDR=http://127.0.0.1:1\nVAULT_CONFIG_MODE=vault\n");
    let loader = Modal::loader().dotenv(file.to_path_buf()).env_source(NOTHING);
    let (_, report) = loader.load_with_report().await.unwrap();
    let sentence = report.mode();
    assert!(
        sentence.starts_with("Local mode, because no Vault address is configured ("),
        "{sentence}"
    );
    let why = format!(
        "{} sets VAULT_ADDR, which is read from the process environment only",
        file.display()
    );
    assert!(sentence.contains(&why), "{sentence}");
}

// ===== names =====

#[derive(Debug, VaultConfig)]
#[vault(env_prefix = "APP")]
struct Names {
    port: u16,
    #[vault(env = "HOME_PAGE")]
    page: String,
    r#type: String,
    #[vault(kv = "x", env = "DB_LOGIN")]
    secret: SecretString,
    #[vault(database = "readonly", env = "PG")]
    database: DatabaseCredentials,
    #[vault(nested)]
    smtp: SmtpNames,
}

#[derive(Debug, VaultConfig)]
#[vault(env_prefix = "IGNORED_WHEN_NESTED")]
struct SmtpNames {
    pool_size: u16,
    #[vault(nested)]
    tls: TlsNames,
}

#[derive(Debug, VaultConfig)]
struct TlsNames {
    #[vault(database_static = "legacy")]
    login: DatabaseCredentials,
}

#[tokio::test]
async fn variables_are_named_by_the_schema() {
    let fixed = ["HOME_PAGE", "DB_LOGIN", "PG_USERNAME", "PG_PASSWORD"];
    let prefixed =
        ["PORT", "TYPE", "SMTP_POOL_SIZE", "SMTP_TLS_LOGIN_USERNAME", "SMTP_TLS_LOGIN_PASSWORD"];
    let loader = || Names::loader().mode(Mode::Local).without_dotenv();
    for (loader, prefix) in [
        (loader(), "APP_"),
        (loader().env_prefix("OTHER"), "OTHER_"),
        (loader().env_prefix("OTHER_"), "OTHER_"),
        (loader().env_prefix(""), ""),
    ] {
        let names = fixed
            .map(str::to_owned)
            .into_iter()
            .chain(prefixed.map(|name| format!("{prefix}{name}")));
        let variables: BTreeMap<String, &str> = names.map(|name| (name, "1")).collect();
        let (read, report) = loader.env_source(variables.clone()).load_with_report().await.unwrap();
        assert_eq!((read.port, read.smtp.pool_size), (1, 1));
        assert_eq!((read.page.as_str(), read.r#type.as_str()), ("1", "1"));
        assert_eq!(read.secret.expose_secret(), "1");
        assert_eq!((read.database.username(), read.smtp.tls.login.username()), ("1", "1"));
        let used: Vec<_> = report
            .fields()
            .flat_map(|(_, provenance)| match provenance {
                Provenance::Env { variable } => variable.split(", ").collect::<Vec<_>>(),
                other => panic!("{other}"),
            })
            .collect();
        assert_eq!(used.len(), variables.len(), "{report}");
        assert!(used.iter().all(|name| variables.contains_key(*name)), "{report}");
    }
    let error = loader().env_source(NOTHING).load().await.unwrap_err();
    let fields: Vec<_> = error.problems().iter().filter_map(Problem::field).collect();
    assert_eq!(
        fields,
        ["port", "page", "type", "secret", "database", "smtp.pool_size", "smtp.tls.login"]
    );
    assert!(error.to_string().contains("APP_SMTP_TLS_LOGIN_USERNAME"), "{error}");
}

// ===== a pair =====

#[derive(Debug, VaultConfig)]
struct Pair {
    #[vault(database = "readonly")]
    db: DatabaseCredentials,
}

#[tokio::test]
async fn a_pair_comes_from_one_source() {
    let full = "DB_USERNAME=file-user\nDB_PASSWORD='p#$1'\n";
    let half = "DB_PASSWORD=file-pass\n";
    let layer = "db = { username = 'toml-user', password = 'toml-pass' }";
    let both = [("DB_USERNAME", "env-user"), ("DB_PASSWORD", "env-pass")];
    for (variables, file, layer, wanted) in [
        (&both[..], full, layer, Ok(("env-user", "env-pass"))),
        (&[], full, layer, Ok(("file-user", "p#$1"))),
        (&[], "", layer, Ok(("toml-user", "toml-pass"))),
        (&[("DB_USERNAME", ""), ("DB_PASSWORD", "")], full, "", Ok(("file-user", "p#$1"))),
        // Half a pair is never made whole from somewhere else.
        (
            &both[..1],
            full,
            layer,
            Err((ErrorKind::Environment, "DB_USERNAME is set and DB_PASSWORD is not")),
        ),
        (
            &both[1..],
            full,
            "",
            Err((ErrorKind::Environment, "DB_PASSWORD is set and DB_USERNAME is not")),
        ),
        (
            &[],
            half,
            layer,
            Err((ErrorKind::Environment, "DB_PASSWORD is set and DB_USERNAME is not")),
        ),
        (
            &[],
            "",
            "db = { username = 'hunter2' }",
            Err((ErrorKind::WrongType, "missing field `password`")),
        ),
        (&[], "", "db = 'hunter2'", Err((ErrorKind::WrongType, "found a string"))),
        (&[], "", "", Err((ErrorKind::Missing, "no source has a value for it"))),
    ] {
        let path = dotenv(file);
        let loader =
            Pair::loader().mode(Mode::Local).dotenv(path.to_path_buf()).figment(toml(layer));
        let case = format!("{variables:?} {file:?} {layer:?}");
        match (loader.env_source(variables.iter().copied()).load().await, wanted) {
            (Ok(read), Ok(wanted)) => {
                assert_eq!(
                    (read.db.username(), read.db.password().expose_secret()),
                    wanted,
                    "{case}"
                );
            }
            (Err(error), Err((kind, message))) => {
                assert_eq!(told(&error), [("db", kind)], "{case}");
                assert!(error.problems()[0].message().contains(message), "{case}: {error}");
                assert!(!error.to_string().contains("hunter2"), "{error}");
            }
            (read, _) => panic!("{case}: {read:?}"),
        }
    }
}

// ===== variables in paths =====

#[derive(Debug, VaultConfig)]
struct Placed {
    #[vault(kv = "{env}/app")]
    at: SecretString,
    #[vault(kv = "{profile}/app", key = "at", env = "BY_PROFILE")]
    by_profile: SecretString,
}

#[tokio::test]
async fn variables_fill_paths() {
    let bao = OpenBao::dev().await;
    for path in ["given", "environment", "selected", "default", "a/b"] {
        bao.kv_put("secret", &format!("{path}/app"), json!({"at": path})).await;
    }
    let env = |name: &'static str| (name, "environment");
    for (given, variables, profile, wanted) in [
        (vec![("env", "given")], vec![], None, ["given", "default"]),
        (vec![], vec![env("VAULT_CONFIG_VAR_ENV")], None, ["environment", "default"]),
        (vec![("env", "given")], vec![env("VAULT_CONFIG_VAR_ENV")], None, ["given", "default"]),
        (vec![("env", "a/b")], vec![], Some("selected"), ["a/b", "selected"]),
        (
            vec![("env", "given")],
            vec![env("VAULT_CONFIG_VAR_PROFILE")],
            Some("selected"),
            ["given", "environment"],
        ),
        (
            vec![("env", "given"), ("profile", "given")],
            vec![env("VAULT_CONFIG_VAR_PROFILE")],
            Some("selected"),
            ["given", "given"],
        ),
        (
            vec![("env", "given")],
            vec![("VAULT_CONFIG_VAR_PROFILE", "")],
            Some("selected"),
            ["given", "selected"],
        ),
    ] {
        let figment = profile.map_or_else(Figment::new, |profile| Figment::new().select(profile));
        let mut loader = Placed::loader().without_dotenv().figment(figment);
        for (name, value) in &given {
            loader = loader.var(*name, *value);
        }
        let read = loader.env_source(with(root(&bao), &variables)).load().await.unwrap();
        let places = [read.at.expose_secret(), read.by_profile.expose_secret()];
        assert_eq!(places, wanted, "{given:?} {variables:?} {profile:?}");
    }
    bao.clear_audit();
    let error = Placed::loader().without_dotenv().env_source(root(&bao)).load().await.unwrap_err();
    let unset = [("at", ErrorKind::Variable), ("by_profile", ErrorKind::Variable)];
    assert_eq!(told(&error), unset, "without a figment nobody has chosen a profile");
    let loader = || Placed::loader().without_dotenv().figment(Figment::new());
    let error = loader().env_source(root(&bao)).load().await.unwrap_err();
    assert_eq!(told(&error), [("at", ErrorKind::Variable)]);
    assert!(error.to_string().contains("VAULT_CONFIG_VAR_ENV"), "{error}");
    let read = loader().env_source(with(root(&bao), &[("AT", "env")])).load().await.unwrap();
    assert_eq!(read.at.expose_secret(), "env", "an override needs no variable");
    let both = [("AT", "env"), ("BY_PROFILE", "env")];
    loader().mode(Mode::Local).env_source(both).load().await.unwrap();
    let paths: Vec<_> = bao.audit_requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["secret/data/default/app"; 2]);
}

#[derive(Debug, VaultConfig)]
struct Astray {
    #[vault(kv = "apps/{name}/own")]
    middle: Option<SecretString>,
    #[vault(kv = "{name}")]
    alone: Option<SecretString>,
    #[vault(kv = "app", mount = "kv/{name}")]
    mount: Option<SecretString>,
    #[vault(database = "{name}")]
    role: Option<DatabaseCredentials>,
    #[vault(read = "cubbyhole/{name}", key = "x")]
    read: Option<SecretString>,
}

#[tokio::test]
async fn a_variable_cannot_lead_a_path_elsewhere() {
    let bao = OpenBao::dev().await;
    for value in ["..", ".", "", "/", "/a", "a/", "a//b", "a/../../b", "../a", "a/..", ".\t.", "\n"]
    {
        let loader = Astray::loader().without_dotenv().var("name", value);
        let error = loader.env_source(root(&bao)).load().await.unwrap_err();
        let fields = ["middle", "alone", "mount", "role", "read"];
        assert_eq!(told(&error), fields.map(|field| (field, ErrorKind::Variable)), "{value:?}");
    }
    assert_eq!(bao.audit_requests(), []);
    // What a URL would take apart stays in its segment.
    for value in ["a?version=1", "a#b", "%2e%2e", "a%2fb", "a b"] {
        let loader = Astray::loader().without_dotenv().var("name", value);
        bao.clear_audit();
        drop(loader.env_source(root(&bao)).load().await);
        let paths: Vec<_> = bao.audit_requests().into_iter().map(|request| request.path).collect();
        let path = format!("secret/data/apps/{value}/own");
        assert!(paths.contains(&path), "{value:?}: {paths:?}");
    }
}

// ===== blocking, and futures that are Send =====

#[derive(Debug, VaultConfig)]
struct OneSecret {
    #[vault(kv = "app")]
    secret: SecretString,
}

#[test]
fn load_blocking_needs_no_runtime_and_a_vault_outlives_one() {
    let servers = tokio::runtime::Runtime::new().unwrap();
    for tls in [false, true] {
        let bao = servers
            .block_on(async { if tls { OpenBao::dev_tls().await } else { OpenBao::dev().await } });
        let put = |value| servers.block_on(bao.kv_put("secret", "app", json!({"secret": value})));
        let loader = || OneSecret::loader().without_dotenv();
        put("first");
        let ca = if tls { bao.ca_cert().to_str().unwrap() } else { "" };
        let variables = with(root(&bao), &[("VAULT_CACERT", ca)]);
        assert_eq!(
            loader().env_source(variables.clone()).load_blocking().unwrap().secret.expose_secret(),
            "first"
        );
        bao.clear_audit();
        let vault = Vault::from_env_source(variables).unwrap();
        let load = || loader().env_source(NOTHING).vault(vault.clone()).load_blocking();
        // Each load has a runtime of its own, and the connections of the one before died with it.
        for value in ["first", "second", "third"] {
            put(value);
            assert_eq!(load().unwrap().secret.expose_secret(), value, "tls: {tls}");
        }
        assert_eq!(bao.audit_requests().len(), 3);
        let error = servers.block_on(async { load().unwrap_err() });
        assert_eq!(error.kind(), ErrorKind::Runtime);
        assert!(error.to_string().contains(".load().await"), "{error}");
    }
}

/// That this compiles is the test, for any configuration whatever.
fn futures_are_send<T: VaultConfig + Send + 'static>(vault: &'static Vault) {
    fn send<F: Future + Send>(_: F) {}
    send(T::load());
    send(T::loader().load());
    send(T::loader().load_with_report());
    send(T::loader().check());
    send(T::loader().resolve());
    send(vault.resolve::<T>());
    fn spawned<F: Future<Output: Send + 'static> + Send + 'static>(_: F) {}
    spawned(T::load());
}

#[test]
fn every_future_is_send() {
    let _compiles: fn(&'static Vault) = futures_are_send::<OneSecret>;
}

// ===== .env files =====

#[tokio::test]
async fn a_named_env_file_must_exist() {
    for mode in [Mode::Local, Mode::Auto] {
        let loader = Modal::loader().mode(mode).dotenv("/no/such/file.env").env_source(NOTHING);
        let error = loader.load().await.unwrap_err();
        assert_eq!(told(&error), [("-", ErrorKind::Dotenv)]);
        assert_eq!(error.problems()[0].source_name(), Some("/no/such/file.env"));
    }
    // The usual one need not.
    Modal::loader().env_source(NOTHING).load().await.unwrap();
}

#[tokio::test]
async fn a_secret_in_an_env_file_is_never_expanded() {
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "full", json!({"secret": "of vault"})).await;
    let file = dotenv(
        "\nAPP_SECRET=hunter2$APP_PLAIN\nAPP_PLAIN=\"a\"\nAPP_PLAIN_TOO=\"b${APP_PLAIN}\"\n",
    );
    let loader = || Covered::loader().dotenv(file.to_path_buf()).var("where", "full");
    let local = || loader().mode(Mode::Local);
    let error = local().env_source(NOTHING).load().await.unwrap_err();
    assert_eq!(told(&error), [("secret", ErrorKind::Dotenv)]);
    assert_eq!(
        error.problems()[0].source_name(),
        Some(format!("{} line 2", file.display()).as_str())
    );
    assert!(
        error.to_string().contains("single quotes") && !error.to_string().contains("hunter2"),
        "{error}"
    );
    // Where it is not used, it does no harm.
    let read = local().env_source([("APP_SECRET", "env")]).load().await.unwrap();
    assert_eq!((revealed(&read.secret), read.plain_too.as_str()), (Some("env"), "ba"));
    let read = loader().env_source(root(&bao)).load().await.unwrap();
    assert_eq!((revealed(&read.secret), read.plain_too.as_str()), (Some("of vault"), "ba"));
}

// ===== log lines =====

/// Collects events of the library from `info` up.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Captured {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Line(String);
        impl Visit for Line {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                write!(self.0, " {}={value:?}", field.name()).unwrap();
            }
        }
        let metadata = event.metadata();
        if metadata.target().starts_with("vault_config") && *metadata.level() <= Level::INFO {
            let mut line = Line(metadata.level().to_string());
            event.record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }
    }
}

/// What a load logs on this thread.
pub(crate) async fn logged<F: Future>(load: F) -> Vec<String> {
    /// With a second one alive, tracing asks them all; with one, it may ask the thread that happens to be first.
    static OTHER: LazyLock<Dispatch> =
        LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));
    LazyLock::force(&OTHER);
    let captured = Captured::default();
    let guard =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(captured.clone()));
    load.await;
    drop(guard);
    std::mem::take(&mut captured.0.lock().unwrap())
}

/// Whatever was asked for, and however often.
#[tokio::test]
async fn a_warning_of_the_server_is_logged_once() {
    let server = ScriptedServer::start(|_| {
        let data = json!({ "data": { "secret": "s" }, "metadata": { "version": 1 } });
        ScriptedAnswer::json(200, &json!({ "data": data, "warnings": ["the mount is deprecated"] }))
    })
    .await;
    let vault = Vault::builder().address(server.address()).auth(Token::new("t")).build().unwrap();
    let load = || {
        let loader = Required::loader().without_dotenv().env_source([("APP_PLAIN", "p")]);
        loader.var("where", "app").vault(vault.clone()).load()
    };
    let lines = logged(async {
        load().await.unwrap();
        load().await.unwrap();
    })
    .await;
    assert_eq!(server.requests().len(), 2);
    let warned: Vec<_> = lines.iter().filter(|line| line.starts_with("WARN")).collect();
    assert_eq!(warned.len(), 1, "{lines:?}");
    assert!(warned[0].contains("warning=\"the mount is deprecated\""), "{warned:?}");
}

#[tokio::test]
async fn one_line_is_logged_a_load() {
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "full", json!({"secret": "hunter2"})).await;
    let file = dotenv("APP_SECRET=hunter2\nAPP_SECRET_TOO=hunter2\nAPP_PLAIN=hunter2\n");
    let loader = || Covered::loader().without_dotenv().var("where", "full");
    let local = || loader().mode(Mode::Local).env_source(NOTHING);
    let asked = "Local mode, because the program asks for it";
    let lines = logged(loader().env_source(root(&bao)).load()).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].starts_with("INFO") && lines[0].contains("Vault mode, because VAULT_ADDR"),
        "{lines:?}"
    );
    assert!(lines[0].contains("config=\"Covered\""), "{lines:?}");
    let lines = logged(local().load()).await;
    assert!(
        lines.len() == 1 && lines[0].starts_with("INFO") && lines[0].contains(asked),
        "{lines:?}"
    );
    let lines = logged(local().dotenv(file.to_path_buf()).load()).await;
    assert!(
        lines.len() == 1 && lines[0].starts_with("WARN") && lines[0].contains(asked),
        "{lines:?}"
    );
    assert!(
        lines[0].contains("secrets are served from .env") && lines[0].contains("served=2"),
        "{lines:?}"
    );
    // Plain fields of `.env` are nothing to warn of, nor is a secret that the environment has.
    let overridden = [("APP_SECRET", "hunter2"), ("APP_SECRET_TOO", "hunter2")];
    let lines = logged(local().dotenv(file.to_path_buf()).env_source(overridden).load()).await;
    assert!(lines.len() == 1 && lines[0].starts_with("INFO"), "{lines:?}");
    let in_vault_mode = loader().dotenv(file.to_path_buf()).env_source(root(&bao));
    let lines = logged(in_vault_mode.load()).await;
    assert!(lines.len() == 1 && lines[0].starts_with("INFO"), "{lines:?}");
    // A load that fails says why it was in its mode, too.
    let lines =
        logged(Required::loader().without_dotenv().env_source(NOTHING).var("where", "x").load())
            .await;
    assert!(lines.len() == 1 && lines[0].contains("Local mode"), "{lines:?}");
    assert!(!format!("{lines:?}").contains("hunter2"));
}

// ===== the report =====

#[derive(Debug, VaultConfig)]
#[vault(env_prefix = "APP")]
struct Reported {
    by_env: String,
    by_dotenv: String,
    #[vault(rename = "by-file")]
    by_file: String,
    #[serde(alias = "old_name", alias = "older_name")]
    aliased: u16,
    #[vault(default = 1)]
    by_default: u8,
    nowhere: Option<String>,
    #[vault(kv = "app", key = "v2")]
    versioned: SecretString,
    #[vault(kv = "app", mount = "kv1", key = "v1")]
    unversioned: SecretString,
    #[vault(kv = "whole", whole)]
    whole: BTreeMap<String, SecretString>,
    #[vault(read = "leased/creds", key = "password")]
    leased: SecretString,
    #[vault(database = "readonly")]
    pair: DatabaseCredentials,
    #[vault(nested)]
    nested: ReportedNested,
}

#[derive(Debug, VaultConfig)]
struct ReportedNested {
    #[vault(kv = "app", key = "nested", default = "x")]
    secret: SecretString,
    port: u16,
}

/// A server with everything, the leased too, which a real one needs a database for.
async fn scripted() -> ScriptedServer {
    ScriptedServer::start(|request| {
        let v2 = |data: serde_json::Value| json!({"data": {"data": data, "metadata": {"version": 7}}});
        let answer = match request.path() {
            "/v1/secret/data/app" => v2(json!({"v2": "hunter2", "spare": "hunter2", "nestled": "hunter2"})),
            "/v1/secret/data/whole" => v2(json!({"a": "hunter2", "b": "hunter2"})),
            "/v1/kv1/app" => json!({"data": {"v1": "hunter2", "old": 1}, "lease_duration": 2_764_800}),
            "/v1/leased/creds" => json!({"data": {"password": "hunter2", "username": "u"}, "lease_id": "l", "lease_duration": 3600}),
            "/v1/sys/internal/ui/mounts/kv1/app" => json!({"data": {"type": "kv", "options": {"version": "1"}}}),
            _ => return ScriptedAnswer::json(404, &json!({"errors": []})),
        };
        ScriptedAnswer::json(200, &answer)
    })
    .await
}

#[tokio::test]
async fn the_report_says_where_every_field_came_from() {
    let server = scripted().await;
    let env = dotenv("\n# a comment\nAPP_BY_DOTENV=hunter2\n");
    let address = server.address();
    let variables = [
        ("VAULT_ADDR", address.as_str()),
        ("VAULT_TOKEN", "hunter2"),
        ("APP_BY_ENV", "hunter2"),
        ("APP_PAIR_USERNAME", "hunter2"),
        ("APP_PAIR_PASSWORD", "hunter2"),
    ];
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::fs::write(
        file.path(),
        "by-file = 'hunter2'\nolder_name = 5\nstray = 'hunter2'\n[nested]\nport = '80'\nprot = 1\n",
    )
    .unwrap();
    let figment =
        Figment::from(Toml::file(file.path())).join(Json::string(r#"{"second": {"layer": 1}}"#));
    let loader =
        Reported::loader().dotenv(env.to_path_buf()).figment(figment).env_source(variables);
    let (read, report) = loader.load_with_report().await.unwrap();
    assert_eq!((read.aliased, read.nested.port, read.whole.len()), (5, 80, 2));
    let of = |field: &str| report.provenance(field).unwrap().clone();
    let env_of = |variable: &str| Provenance::Env { variable: variable.into() };
    assert_eq!(of("by_env"), env_of("APP_BY_ENV"));
    assert_eq!(of("pair"), env_of("APP_PAIR_USERNAME, APP_PAIR_PASSWORD"));
    let place = format!("{} line 3", env.display());
    assert_eq!(
        of("by_dotenv"),
        Provenance::Dotenv { variable: "APP_BY_DOTENV".into(), place: place.clone() }
    );
    for (field, key) in
        [("by_file", "by-file"), ("aliased", "older_name"), ("nested.port", "nested.port")]
    {
        let Provenance::Layer { name } = of(field) else { panic!("{field}: {:?}", of(field)) };
        assert!(name.contains(file.path().to_str().unwrap()), "{name}");
        assert!(name.ends_with(&format!(" key {key}")), "{name}");
    }
    assert_eq!((of("by_default"), of("nested.secret")), (Provenance::Default, Provenance::Default));
    assert_eq!(of("nowhere"), Provenance::Absent);
    let vault = |field: &str| match of(field) {
        Provenance::Vault { source, version, ttl_seconds, .. } => (source, version, ttl_seconds),
        other => panic!("{field}: {other}"),
    };
    assert_eq!(vault("versioned"), ("kv secret/app#v2".into(), Some(7), None));
    assert_eq!(vault("unversioned"), ("kv kv1/app#v1".into(), None, None));
    assert_eq!(vault("whole"), ("kv secret/whole".into(), Some(7), None));
    assert_eq!(vault("leased"), ("read leased/creds#password".into(), None, Some(3600)));

    let unused: Vec<_> = report.unused_keys().collect();
    let wanted = [
        ("kv kv1/app", "old"),
        ("kv secret/app", "nestled"),
        ("kv secret/app", "spare"),
        ("leased/creds", "username"),
    ];
    assert_eq!(unused, wanted);
    let unknown: Vec<_> = report.unknown_keys().map(|(key, _)| key).collect();
    assert_eq!(unknown, ["nested.prot", "second", "stray"]);
    let layers: Vec<_> = report.unknown_keys().map(|(_, layer)| layer.contains(".toml")).collect();
    assert_eq!(layers, [true, false, true]);

    let order: Vec<_> = report.fields().map(|(path, _)| path).collect();
    assert_eq!(order[..4], ["by_env", "by_dotenv", "by_file", "aliased"]);
    assert_eq!(order.len(), 13);
    let shown = report.to_string();
    let line = |field: &str| {
        shown.lines().find(|line| line.trim_start().starts_with(&format!("{field} "))).unwrap()
    };
    for (field, end) in [
        ("by_env", "  env APP_BY_ENV".to_owned()),
        ("by_dotenv", format!("  {place} APP_BY_DOTENV")),
        ("by_default", "  default".to_owned()),
        ("nowhere", "  nowhere (None)".to_owned()),
        ("versioned", "  vault kv secret/app#v2 (version 7)".to_owned()),
        ("leased", "  vault read leased/creds#password (good for 3600 s)".to_owned()),
    ] {
        assert!(line(field).ends_with(&end), "{shown}");
    }
    for end in ["unused: key spare of vault kv secret/app", "unknown: key nested.prot of"] {
        assert!(shown.contains(end), "{shown}");
    }
    let all = format!("{report}{report:?}{report:#?}");
    assert!(!all.contains("hunter2"), "{all}");
}

#[derive(Debug, VaultConfig)]
#[serde(rename_all = "kebab-case")]
struct Keys {
    two_words: Option<u16>,
    #[serde(alias = "nest")]
    #[vault(nested)]
    in_side: Inside,
}

#[derive(Debug, VaultConfig)]
#[vault(deny_unknown)]
struct Inside {
    #[serde(rename = "PORT", alias = "port")]
    number: Option<u16>,
}

#[tokio::test]
async fn keys_of_files_by_every_name_a_field_has() {
    for (text, wanted, unknown) in [
        ("two-words = 1\n[in-side]\nPORT = 2", (Some(1), Some(2)), &[][..]),
        ("[nest]\nport = 2", (None, Some(2)), &[]),
        ("two_words = 1\n[in_side]\nPORT = 2", (None, None), &["in_side", "two_words"]),
        // The field's own name comes before its aliases.
        ("[in-side]\nport = 3\nPORT = 2", (None, Some(2)), &[]),
    ] {
        let loader = Keys::loader()
            .mode(Mode::Local)
            .without_dotenv()
            .env_source(NOTHING)
            .figment(toml(text));
        let (read, report) = loader.load_with_report().await.unwrap();
        assert_eq!((read.two_words, read.in_side.number), wanted, "{text}");
        let keys: Vec<_> = report.unknown_keys().map(|(key, _)| key).collect();
        assert_eq!(keys, unknown, "{text}");
    }
    let loader = Inside::loader().mode(Mode::Local).without_dotenv().env_source(NOTHING);
    let error = loader.figment(toml("prot = 'hunter2'")).load().await.unwrap_err();
    assert_eq!(told(&error), [("-", ErrorKind::UnknownKey)]);
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_file_is_read_in_the_profile_selected() {
    let text = "[default]\nnumber = 1\n[production]\nnumber = 2\n[global]\n";
    for (profile, wanted) in [("default", 1), ("production", 2), ("staging", 1)] {
        let figment = Figment::from(Toml::string(text).nested()).select(profile);
        let loader =
            Modal::loader().mode(Mode::Local).without_dotenv().env_source(NOTHING).figment(figment);
        assert_eq!(loader.load().await.unwrap().number, wanted, "{profile}");
    }
}

//! Names and words that come from elsewhere: none of them colours a terminal, turns a line round, or forges another
//! problem, in errors, reports, statuses and logs alike; and however many there are, a message stays short.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Format as _, Json, Toml};
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use url::Url;
use vault_config::auth::{AuthMethod, LoginClient, LoginError, LoginFuture, Token};
use vault_config::secrecy::SecretString;
use vault_config::{Error, ErrorKind, Mode, Report, Vault, VaultConfig};
use vault_config_tests::{OpenBao, ScriptedAnswer, ScriptedServer};

use crate::kv::put_many;
use crate::support::{NOTHING, load_error, root, with};

/// It colours, goes back, breaks the line, forges a problem, turns the line round, and hides letters.
const EVIL: &str =
    "\u{1b}[31mred\r\n\n2. forged: String\n   help: run it\u{202e}\u{200b}\u{2028}\u{9b}1m";

#[track_caller]
fn assert_legible(text: &str) {
    for c in text.chars().filter(|c| *c != '\n') {
        let is_hidden = matches!(
            c,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe0f}'
        );
        assert!(!c.is_control() && !is_hidden, "{c:?} in {text:?}");
    }
    // On a line of its own it would be one of ours.
    assert!(!text.lines().any(|line| line.trim_start().starts_with("2. forged")), "{text}");
    assert!(!text.lines().any(|line| line.trim_start().starts_with("help: run it")), "{text}");
}

#[track_caller]
fn assert_error(error: &Error, kind: ErrorKind) {
    assert_eq!(error.kind(), kind, "{error}");
    assert_legible(&error.to_string());
    assert_legible(&format!("{error:?}"));
    for problem in error.problems() {
        let one_line = [problem.message(), problem.source_name().unwrap_or_default()];
        for text in one_line.into_iter().chain(problem.sources().iter().map(String::as_str)) {
            assert_legible(text);
            assert!(!text.contains('\n'), "{text}");
        }
        assert_legible(problem.help());
        assert_legible(&format!("{problem} {problem:?}"));
    }
}

#[track_caller]
fn assert_report(report: &Report) {
    let unused = report.unused_keys().chain(report.unknown_keys());
    let names = unused.flat_map(|(one, other)| [one.to_owned(), other.to_owned()]);
    let provenance = report.fields().map(|(path, from)| format!("{path} {from} {from:?}"));
    for text in names.chain(provenance) {
        assert_legible(&text);
        assert!(!text.contains('\n'), "{text}");
    }
    assert_legible(&format!("{report} {report:?} {}", report.mode()));
}

#[derive(Debug, VaultConfig)]
struct Config {
    #[vault(kv = "app/{team}")]
    password: SecretString,
    #[vault(kv = "app/{team}", default = "")]
    other: SecretString,
}

#[tokio::test]
async fn names_of_keys_are_shown_and_not_interpreted() {
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "app/a", json!({ EVIL: "x", format!("password{EVIL}"): "y" })).await;
    bao.kv_put("secret", "app/b", json!({ "password": "x", EVIL: "y", "pass\u{200b}word": "z" }))
        .await;
    bao.kv_put("secret", "app/c", json!({ "pass\u{202e}word": "z" })).await;
    let loader = || Config::loader().without_dotenv().env_source(root(&bao));
    assert_error(&load_error(loader().var("team", "a")).await, ErrorKind::KeyAbsent);
    let near = load_error(loader().var("team", "c")).await;
    assert_error(&near, ErrorKind::KeyAbsent);
    assert!(near.problems()[0].help().starts_with(r#"did you mean "pass\u{202e}word"?"#), "{near}");

    let (_, report) = loader().var("team", "b").load_with_report().await.unwrap();
    assert_eq!(report.unused_keys().count(), 2, "{report}");
    assert_report(&report);
    assert!(
        report.to_string().contains(r"unused: key pass\u{200b}word of vault kv secret/app/b"),
        "{report}"
    );
    assert_report(&loader().var("team", "b").check().await.unwrap());

    let vault =
        Vault::builder().address(bao.address()).auth(Token::new(bao.root_token())).build().unwrap();
    let secrets = vault.resolve::<Plain>().await.unwrap();
    assert_report(secrets.report());
}

#[derive(Debug, VaultConfig)]
struct Plain {
    #[vault(kv = "app/b")]
    password: SecretString,
}

/// What the server takes for a letter may still be drawn as nothing.
#[tokio::test]
async fn paths_and_roles_from_variables_are_shown_and_not_interpreted() {
    #[derive(Debug, VaultConfig)]
    struct Paths {
        #[vault(kv = "app/{evil}")]
        kv: SecretString,
        #[vault(read = "pki/{evil}/ca", key = "x")]
        read: SecretString,
        #[vault(database = "{evil}")]
        database: vault_config::DatabaseCredentials,
        #[vault(kv = "app", mount = "{evil}")]
        mount: SecretString,
    }
    let bao = OpenBao::dev().await;
    bao.mount("database", "database", json!({})).await;
    let loader = |token: &str, evil: &str| {
        let more = [("VAULT_TOKEN", token), ("VAULT_CONFIG_VAR_EVIL", evil)];
        Paths::loader().without_dotenv().env_source(with(root(&bao), &more))
    };
    let error = load_error(loader(bao.root_token(), "\u{202e}gpj.exe")).await;
    assert_error(&error, ErrorKind::Variable);
    assert_eq!(error.problems().len(), 4, "{error}");

    let hidden = "a\u{3164}b\u{fe0f}c";
    let error = load_error(loader(bao.root_token(), hidden)).await;
    assert_error(&error, ErrorKind::PathAbsent);
    assert!(error.to_string().contains(r"database/creds/a\u{3164}b\u{fe0f}c"), "{error}");
    let nothing_allowed = bao.token(&["default"], json!({})).await;
    assert_error(&load_error(loader(&nothing_allowed, hidden)).await, ErrorKind::Denied);

    bao.kv_put("secret", &format!("app/{hidden}"), json!({ "kv": "x", "unused": "y" })).await;
    #[derive(Debug, VaultConfig)]
    struct Kv {
        #[vault(kv = "app/{evil}")]
        kv: SecretString,
    }
    let loader = || Kv::loader().without_dotenv().env_source(root(&bao)).var("evil", hidden);
    assert_report(&loader().load_with_report().await.unwrap().1);
    let live = loader().watch().await.unwrap();
    let status = live.status();
    let [source] = &status.sources[..] else { panic!("{status:?}") };
    assert_eq!(source.source, r"kv secret/app/a\u{3164}b\u{fe0f}c");
    live.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_messages_of_the_server_are_shown_and_not_interpreted() {
    let words = |status, words: &str| {
        let answer = ScriptedAnswer::json(status, &json!({ "errors": [words] }));
        ScriptedServer::always(answer)
    };
    for (status, kind) in
        [(400, ErrorKind::Server), (403, ErrorKind::Denied), (500, ErrorKind::Server)]
    {
        let server = words(status, EVIL).await;
        let variables =
            [("VAULT_ADDR", &*server.address()), ("VAULT_TOKEN", "t"), ("VAULT_MAX_RETRIES", "0")];
        let loader = Plain::loader().without_dotenv().env_source(variables);
        let error = load_error(loader).await;
        assert_error(&error, kind);
        let variables = [
            ("VAULT_ADDR", &*server.address()),
            ("VAULT_ROLE_ID", "r"),
            ("VAULT_SECRET_ID", "s"),
            ("VAULT_MAX_RETRIES", "0"),
        ];
        let error = load_error(Plain::loader().without_dotenv().env_source(variables)).await;
        assert_legible(&error.to_string());
    }
    let content_type = "text/\u{202e}html".as_bytes();
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Type: ".to_vec();
    answer.extend_from_slice(content_type);
    answer.extend_from_slice(b"\r\n\r\n<");
    let server = ScriptedServer::always(ScriptedAnswer::raw(answer)).await;
    let variables = [("VAULT_ADDR", &*server.address()), ("VAULT_TOKEN", "t")];
    assert_error(
        &load_error(Plain::loader().without_dotenv().env_source(variables)).await,
        ErrorKind::NotVault,
    );
}

/// A word that is cut or escaped would no longer be found in what was sent, and would still be legible.
#[tokio::test]
async fn a_secret_that_the_server_repeats_is_withheld_however_it_is_shown() {
    let long = format!("{}\u{1b}it's \"hunter2\"", "hunter2".repeat(1000));
    for secret in ["it's \u{1b}\"hunter2\"", &long] {
        let answer =
            ScriptedAnswer::json(400, &json!({ "errors": [format!("no such id: {secret}")] }));
        let server = ScriptedServer::always(answer).await;
        let variables = [
            ("VAULT_ADDR", &*server.address()),
            ("VAULT_ROLE_ID", "r"),
            ("VAULT_SECRET_ID", secret),
        ];
        let error = load_error(Plain::loader().without_dotenv().env_source(variables)).await;
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(error.to_string().contains("withheld"), "{error}");
    }
}

#[derive(Debug)]
struct Own;

impl AuthMethod for Own {
    fn describe(&self) -> String {
        format!("own {EVIL}")
    }

    fn login<'a>(&'a self, _: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async {
            Err(LoginError::new(format!("no {EVIL}"), "say:\nfirst\nsecond\u{1b}[0m"))
        })
    }
}

#[tokio::test]
async fn the_text_of_a_custom_login_is_shown_and_not_interpreted() {
    let vault = Vault::builder().address("http://127.0.0.1:1").auth(Own).build().unwrap();
    let error =
        load_error(Plain::loader().without_dotenv().env_source(NOTHING).vault(vault.clone())).await;
    assert_error(&error, ErrorKind::LoginRefused);
    assert!(
        error.to_string().contains("help: say:\n     first\n     second\\u{1b}[0m\n"),
        "{error}"
    );
    assert_legible(&format!("{vault:?}"));
}

#[tokio::test]
async fn names_of_files_and_values_of_variables_are_shown_and_not_interpreted() {
    for (variables, kind) in [
        ([("VAULT_ROLE_ID", "r"), ("VAULT_SECRET_ID_FILE", EVIL)], ErrorKind::LoginRefused),
        (
            [("VAULT_AUTH_METHOD", "token_file"), ("VAULT_TOKEN_FILE", EVIL)],
            ErrorKind::LoginRefused,
        ),
        ([("VAULT_TOKEN", "t"), ("VAULT_CACERT", EVIL)], ErrorKind::Setting),
        ([("VAULT_TOKEN", "t"), ("VAULT_CAPATH", EVIL)], ErrorKind::Setting),
        ([("VAULT_TOKEN", EVIL), ("VAULT_NAMESPACE", EVIL)], ErrorKind::Setting),
        ([("VAULT_AUTH_METHOD", EVIL), ("VAULT_TOKEN", "t")], ErrorKind::Setting),
    ] {
        let address = [("VAULT_ADDR", "http://127.0.0.1:1")];
        let loader =
            Plain::loader().without_dotenv().env_source(address.into_iter().chain(variables));
        assert_error(&load_error(loader).await, kind);
    }
    let socket = format!("unix:///tmp/{EVIL}");
    let variables = [("VAULT_ADDR", &*socket), ("VAULT_TOKEN", "t")];
    assert_error(
        &load_error(Plain::loader().without_dotenv().env_source(variables)).await,
        ErrorKind::Connection,
    );

    let loader = Plain::loader().mode(Mode::Local).env_source(NOTHING).dotenv(EVIL);
    assert_error(&load_error(loader).await, ErrorKind::Dotenv);
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("\u{1b}[31m\n2. forged.env");
    std::fs::write(&file, "PASSWORD='x'\nhunter2").unwrap();
    let loader = || Plain::loader().mode(Mode::Local).env_source(NOTHING).dotenv(&file);
    assert_error(&load_error(loader()).await, ErrorKind::Dotenv);
    std::fs::write(&file, "PASSWORD='x'\nVAULT_ADDR=x").unwrap();
    assert_report(&loader().mode(Mode::Auto).load_with_report().await.unwrap().1);
}

fn quotes(host: &String) -> Result<(), String> {
    if host.len() > 10 { Err(format!("{host} is no host")) } else { Ok(()) }
}

#[derive(Debug, VaultConfig)]
#[vault(validate = never)]
struct Files {
    #[vault(default = "", validate = quotes)]
    host: String,
    url: Option<Url>,
    #[vault(default)]
    ports: std::collections::BTreeMap<String, u16>,
}

fn never(files: &Files) -> Result<(), String> {
    if files.ports.contains_key("never") { Err(format!("never {EVIL}")) } else { Ok(()) }
}

#[tokio::test]
async fn keys_and_values_of_files_and_what_types_and_validators_say_of_them() {
    let local =
        |layers: Figment| Files::loader().mode(Mode::Local).without_dotenv().figment(layers);
    let json = |value: serde_json::Value| Figment::from(Json::string(&value.to_string()));
    for (layers, kind) in [
        (json(json!({ "host": EVIL })), ErrorKind::Invalid),
        (json(json!({ "ports": { "never": 1 } })), ErrorKind::Invalid),
        (json(json!({ "url": EVIL })), ErrorKind::WrongType),
        (json(json!({ "ports": { EVIL: "x" } })), ErrorKind::WrongType),
        (Figment::from(Toml::file_exact(EVIL)), ErrorKind::Figment),
    ] {
        assert_error(&load_error(local(layers).env_source(NOTHING)).await, kind);
    }
    let variables = [("URL", EVIL), ("HOST", EVIL), ("PORTS", EVIL)];
    let error = load_error(local(Figment::new()).env_source(variables)).await;
    assert_error(&error, ErrorKind::Invalid);
    assert_eq!(error.problems().len(), 3, "{error}");

    let unknown = json(json!({ EVIL: 1, "\u{202e}hots": 2 }));
    let report = local(unknown.clone()).env_source(NOTHING).load_with_report().await.unwrap().1;
    assert_eq!(report.unknown_keys().count(), 2);
    assert_report(&report);

    #[derive(Debug, VaultConfig)]
    #[vault(deny_unknown)]
    struct Strict {
        #[vault(default = "")]
        host: String,
    }
    let loader = Strict::loader().mode(Mode::Local).without_dotenv().figment(unknown);
    assert_error(&load_error(loader.env_source(NOTHING)).await, ErrorKind::UnknownKey);
}

/// Every field of every event and span.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<String>>>);

struct Texts(String);

impl Visit for Texts {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, "{field}={value} ");
    }
}

impl<S: Subscriber> Layer<S> for Logged {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut texts = Texts(String::new());
        event.record(&mut texts);
        self.push(event.metadata().target(), texts);
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut texts = Texts(String::new());
        attributes.record(&mut texts);
        self.push(attributes.metadata().target(), texts);
    }
}

impl Logged {
    fn push(&self, target: &str, texts: Texts) {
        if target.starts_with("vault_config") {
            self.0.lock().unwrap().push(texts.0);
        }
    }
}

#[tokio::test]
async fn log_lines_are_shown_and_not_interpreted() {
    let logged = Logged::default();
    let _guard =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(logged.clone()));
    let answer = ScriptedAnswer::json(500, &json!({ "errors": [EVIL], "warnings": [EVIL] }));
    let server = ScriptedServer::always(answer).await;
    let path = "a\u{3164}b\u{fe0f}c";
    let loader = |variables: [(&'static str, String); 3]| {
        let loader = Config::loader().without_dotenv().env_source(variables);
        loader.var("team", path)
    };
    let token_file = format!("/tmp/{EVIL}");
    for login in [("VAULT_TOKEN_FILE", token_file.as_str()), ("VAULT_TOKEN", "t")] {
        let variables = [
            ("VAULT_ADDR", server.address()),
            (login.0, login.1.to_owned()),
            ("VAULT_MAX_RETRIES", "1".to_owned()),
        ];
        load_error(loader(variables)).await;
    }
    let vault = Vault::builder().address("http://127.0.0.1:1").auth(Own).build().unwrap();
    load_error(Plain::loader().without_dotenv().env_source(NOTHING).vault(vault)).await;
    let unread = [
        ("VAULT_ADDR", format!("unix:///tmp/{EVIL}")),
        ("VAULT_TOKEN", "t".to_owned()),
        ("VAULT_MAX_RETRIES", "1".to_owned()),
    ];
    load_error(loader(unread).startup_deadline(Duration::from_millis(10))).await;
    let lines = logged.0.lock().unwrap().clone();
    for what in ["warning=", "method=own ", "method=token file", "path=", "Vault mode, because"] {
        assert!(lines.iter().any(|line| line.contains(what)), "{what} in {lines:?}");
    }
    for line in lines {
        assert_legible(&line);
        assert!(!line.contains('\n'), "{line}");
    }
}

#[tokio::test]
async fn a_secret_with_ten_thousand_keys_is_a_short_message() {
    #[derive(Debug, VaultConfig)]
    struct Many {
        #[vault(kv = "many", key = "KEY-7777")]
        slip: SecretString,
        #[vault(kv = "many", key = "nothing_like_it")]
        absent: SecretString,
    }
    #[derive(Debug, VaultConfig)]
    struct One {
        #[vault(kv = "many", key = "key_1")]
        one: SecretString,
    }
    let bao = OpenBao::dev().await;
    put_many(&bao, 10_000).await;
    let error = load_error(Many::loader().without_dotenv().env_source(root(&bao))).await;
    let [slip, absent] = error.problems() else { panic!("{error}") };
    assert!(slip.message().contains("its keys are key_7777, "), "{slip}");
    assert!(slip.message().ends_with(" (the nearest of 10000)"), "{slip}");
    assert!(slip.help().starts_with("did you mean \"key_7777\"?"), "{slip}");
    assert!(absent.message().ends_with(" (the nearest of 10000)"), "{absent}");
    assert!(error.to_string().len() < 1500, "{error}");

    let loader = One::loader().without_dotenv().env_source(root(&bao));
    let (_, report) = loader.load_with_report().await.unwrap();
    assert_eq!(report.unused_keys().count(), 9_999);
    assert!(
        report.to_string().contains("  unused: 9987 more keys of vault kv secret/many\n"),
        "{report}"
    );
    assert!(format!("{report} {report:?}").len() < 4000, "{report}");
}

#[tokio::test]
async fn a_file_with_ten_thousand_unknown_keys_is_a_short_message() {
    #[derive(Debug, VaultConfig)]
    #[vault(deny_unknown)]
    struct Strict {
        #[vault(default = 1)]
        pool_size: u16,
    }
    let keys = (0..10_000).map(|n| (format!("key_{n}"), json!(n)));
    let keys: serde_json::Value = keys.chain([("zPOOL-SIZE".to_owned(), json!(1))]).collect();
    let layers = Figment::from(Json::string(&keys.to_string()));
    let loader = Strict::loader().mode(Mode::Local).without_dotenv().env_source(NOTHING);
    let error = load_error(loader.figment(layers)).await;
    assert!(error.to_string().len() < 4000, "{error}");
    assert!(error.problems()[0].help().contains("did you mean pool_size?"), "{error}");
    assert!(error.to_string().contains("no field takes 9989 more keys: key_"), "{error}");
}

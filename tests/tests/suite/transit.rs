//! Ciphertext in the environment, in `.env` and in files.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use figment::Figment;
use figment::providers::{Format as _, Toml};
use insta::assert_snapshot;
use serde_json::json;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{Error, ErrorKind, Loader, Mode, VaultConfig};
use vault_config_tests::{OpenBao, ScriptedAnswer, ScriptedServer};

use crate::support::problems;

#[derive(Debug, VaultConfig)]
#[vault(env_prefix = "APP")]
struct Config {
    #[vault(transit = "app")]
    from_env: SecretString,
    #[vault(transit = "app")]
    from_dotenv: SecretString,
    #[vault(transit = "app")]
    from_file: SecretString,
    #[vault(transit = "app", plain)]
    number: u16,
    #[vault(transit = "other", mount = "keys")]
    of_another_key: Option<SecretString>,
    #[vault(transit = "other", mount = "keys", default = "none")]
    defaulted: SecretString,
}

struct Server {
    bao: OpenBao,
    dotenv: tempfile::NamedTempFile,
}

impl Server {
    async fn start() -> Self {
        let bao = OpenBao::dev().await;
        bao.mount("transit", "transit", json!({})).await;
        bao.mount("keys", "transit", json!({})).await;
        bao.write("transit/keys/app", json!({})).await;
        bao.write("keys/keys/other", json!({})).await;
        Self { bao, dotenv: tempfile::NamedTempFile::new().unwrap() }
    }

    async fn encrypt(&self, plaintext: impl AsRef<[u8]>) -> String {
        let body = json!({ "plaintext": BASE64_STANDARD.encode(plaintext) });
        let answer = self.bao.write("transit/encrypt/app", body).await;
        answer["data"]["ciphertext"].as_str().unwrap().to_owned()
    }

    async fn variables(&self) -> Vec<(&'static str, String)> {
        self.bao.policy("app", &Config::schema().policy()).await;
        let ids = self.bao.approle("app", &["app"], json!({})).await;
        vec![
            ("VAULT_ADDR", self.bao.address().to_owned()),
            ("VAULT_ROLE_ID", ids.role_id),
            ("VAULT_SECRET_ID", ids.secret_id),
            ("APP_FROM_ENV", self.encrypt("of the environment").await),
        ]
    }

    async fn loader(&self, more: &[(&'static str, String)]) -> Loader<Config> {
        let text = format!("APP_FROM_DOTENV={}\n", self.encrypt("of dotenv: ü $ #").await);
        std::fs::write(&self.dotenv, text).unwrap();
        let (text, number) = (self.encrypt("of a file").await, self.encrypt("5432").await);
        let file = format!("from_file = '{text}'\nnumber = '{number}'");
        let variables = self.variables().await.into_iter().chain(more.iter().cloned());
        Config::loader()
            .startup_deadline(Duration::ZERO)
            .figment(Figment::from(Toml::string(&file)))
            .dotenv(self.dotenv.path())
            .env_source(variables)
    }
}

fn values(config: &Config) -> [&str; 4] {
    let Config { from_env, from_dotenv, from_file, defaulted, .. } = config;
    [from_env, from_dotenv, from_file, defaulted].map(|secret| secret.expose_secret())
}

#[tokio::test]
async fn all_fields_of_one_key_are_decrypted_by_one_request() {
    let server = Server::start().await;
    let loader = server.loader(&[]).await;
    server.bao.clear_audit();
    let (config, report) = loader.load_with_report().await.unwrap();
    assert_eq!(values(&config), ["of the environment", "of dotenv: ü $ #", "of a file", "none"]);
    assert_eq!((config.number, config.of_another_key.is_none()), (5432, true));
    let asked: Vec<_> = server.bao.audit_requests().into_iter().map(|asked| asked.path).collect();
    assert_eq!(asked, ["auth/approle/login", "transit/decrypt/app"]);
    let report = report.to_string();
    let report = report.replace(server.bao.address(), "ADDRESS");
    let report = report.replace(&server.dotenv.path().display().to_string(), "DOTENV");
    assert_snapshot!(report, @"
    Vault mode, because VAULT_ADDR is ADDRESS; VAULT_CONFIG_MODE=local reads .env and files instead.
      from_env        vault transit transit/app of env APP_FROM_ENV
      from_dotenv     vault transit transit/app of DOTENV line 1 APP_FROM_DOTENV
      from_file       vault transit transit/app of TOML source string key from_file
      number          vault transit transit/app of TOML source string key number
      of_another_key  absent (None)
      defaulted       default
    ");
}

#[tokio::test]
async fn a_key_that_was_rotated_still_decrypts() {
    let server = Server::start().await;
    let loader = server.loader(&[]).await;
    server.bao.write("transit/keys/app/rotate", json!({})).await;
    let newer = server.encrypt("by the second version").await;
    assert!(newer.starts_with("vault:v2:"), "{newer}");
    let variables = server.variables().await.into_iter().chain([("APP_FROM_ENV", newer)]);
    let config = loader.env_source(variables).load().await.unwrap();
    assert_eq!(values(&config)[..2], ["by the second version", "of dotenv: ü $ #"]);
}

async fn refused(server: &Server, more: &[(&'static str, String)], kind: ErrorKind) -> String {
    let error: Error = server.loader(more).await.load().await.unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    let path = server.dotenv.path().display().to_string();
    problems(&error, kind).replace(&path, "DOTENV")
}

#[tokio::test]
async fn what_is_not_encrypted_is_refused_and_never_quoted() {
    let server = Server::start().await;
    let plain = [("APP_FROM_ENV", "hunter2-hunter2".to_owned())];
    assert_snapshot!(refused(&server, &plain, ErrorKind::Invalid).await, @"
    env APP_FROM_ENV: the value is not encrypted: it does not begin with vault:v1: or another version
    help: encrypt it: printf %s .. | base64 | vault write -field=ciphertext transit/encrypt/app plaintext=-
    ");
}

/// The other fields are decrypted, and only this one is reported.
#[tokio::test]
async fn only_the_field_that_is_not_decrypted_is_reported() {
    let server = Server::start().await;
    let forged = [("APP_FROM_ENV", "vault:v1:aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg==".to_owned())];
    assert_snapshot!(refused(&server, &forged, ErrorKind::Invalid).await, @r#"
    vault transit transit/app of env APP_FROM_ENV: the ciphertext cannot be decrypted: cipher: message authentication failed
    help: encrypt the value again with the key "app"; a ciphertext of an older version than the key's min_decryption_version is no longer decrypted
    "#);
    let bytes = [("APP_FROM_ENV", server.encrypt([0xff, 0xfe]).await)];
    assert_snapshot!(refused(&server, &bytes, ErrorKind::WrongType).await, @"
    vault transit transit/app of env APP_FROM_ENV: the plaintext is not UTF-8 text
    help: encrypt the base64 of bytes as text, and decode it in your own type
    ");
    let wrong_key = [("APP_OF_ANOTHER_KEY", server.encrypt("x").await)];
    assert_snapshot!(refused(&server, &wrong_key, ErrorKind::Invalid).await, @r#"
    vault transit keys/other of env APP_OF_ANOTHER_KEY: the ciphertext cannot be decrypted: cipher: message authentication failed
    help: encrypt the value again with the key "other"; a ciphertext of an older version than the key's min_decryption_version is no longer decrypted
    "#);
}

#[tokio::test]
async fn a_key_that_is_missing_or_denied_is_reported() {
    #[derive(VaultConfig)]
    struct Wrong {
        #[vault(transit = "no-such-key", env = "A")]
        absent: SecretString,
        #[vault(transit = "app", mount = "nowhere", env = "B")]
        no_mount: SecretString,
    }
    let server = Server::start().await;
    let text = server.encrypt("x").await;
    let load = async |token: String| {
        let variables = [("VAULT_ADDR", server.bao.address().to_owned()), ("VAULT_TOKEN", token)];
        let more = [("A", text.clone()), ("B", text.clone())];
        let loader = Wrong::loader().without_dotenv().startup_deadline(Duration::ZERO);
        loader.env_source(variables.into_iter().chain(more)).load().await.err().unwrap()
    };
    let root = load(server.bao.root_token().to_owned()).await;
    assert_snapshot!(problems(&root, ErrorKind::RoleAbsent), @r#"
    absent: SecretString
    vault transit/decrypt/no-such-key: encryption key not found
    help: correct the name of the key: vault list transit/keys; or create it: vault write -f transit/keys/no-such-key

    no_mount: SecretString
    vault nowhere/decrypt/app: no handler for route "nowhere/decrypt/app". route entry not found. (HTTP 404)
    help: mount the engine, or correct the path
    "#);
    let denied = load(server.bao.token(&["default"], json!({})).await).await;
    assert_snapshot!(problems(&denied, ErrorKind::Denied), @r#"
    absent: SecretString
    vault transit/decrypt/no-such-key: permission denied (HTTP 403)
    help: add this to a policy of the token:
      path "transit/decrypt/no-such-key" {
        capabilities = ["update"]
      }
      or no engine is mounted there: the server answers 403 for that too

    no_mount: SecretString
    vault nowhere/decrypt/app: permission denied (HTTP 403)
    help: add this to a policy of the token:
      path "nowhere/decrypt/app" {
        capabilities = ["update"]
      }
      or no engine is mounted there: the server answers 403 for that too
    "#);
}

#[tokio::test]
async fn in_local_mode_plain_values_are_taken_and_ciphertext_is_not() {
    let variables = |text: &str| {
        ["APP_FROM_ENV", "APP_FROM_DOTENV", "APP_FROM_FILE"]
            .map(|name| (name, text.to_owned()))
            .into_iter()
            .chain([("APP_NUMBER", "5432".to_owned())])
    };
    let local = |text: &str| {
        Config::loader().mode(Mode::Local).without_dotenv().env_source(variables(text)).load()
    };
    let config = local("for development").await.unwrap();
    assert_eq!(config.from_env.expose_secret(), "for development");
    let error = local("vault:v1:aHVudGVyMg==").await.unwrap_err();
    assert_eq!(error.problems().len(), 3);
    assert_snapshot!(error.problems()[0].to_string(), @"
    1. from_env: SecretString
       env APP_FROM_ENV: the value is encrypted, and local mode does not decrypt
       help: set VAULT_ADDR and a login method; or set a plain value for development
    ");
}

/// The user's own figment would keep the ciphertext as if it were the value.
#[tokio::test]
async fn secrets_for_a_figment_are_decrypted_from_the_environment_alone() {
    #[derive(VaultConfig, serde::Deserialize)]
    struct Small {
        #[vault(transit = "app", env = "KEY")]
        key: SecretString,
    }
    let server = Server::start().await;
    let variables = server.variables().await;
    let with_key = variables.iter().cloned().chain([("KEY", server.encrypt("k").await)]);
    let resolved = Small::loader().env_source(with_key).resolve().await.unwrap();
    let small: Small = Figment::from(resolved).extract().unwrap();
    assert_eq!(small.key.expose_secret(), "k");
    let error = Small::loader().env_source(variables).resolve().await.err().unwrap();
    assert_snapshot!(problems(&error, ErrorKind::Schema), @"
    no ciphertext in the environment: secrets for a figment of your own are decrypted only from there
    help: set its variable; or pass your figment to the loader with .figment(..), and call .load()
    ");
}

#[tokio::test]
async fn a_watched_configuration_keeps_what_was_decrypted() {
    let server = Server::start().await;
    let live = server.loader(&[]).await.watch().await.unwrap();
    server.bao.clear_audit();
    live.refresh().await.unwrap();
    assert_eq!(values(&live.current())[0], "of the environment");
    assert_eq!(live.status().sources[0].source, "transit/decrypt/app");
    live.shutdown().await.unwrap();
}

#[tokio::test]
async fn in_local_mode_no_ciphertext_is_taken_in_a_list_or_between_spaces() {
    #[derive(Debug, VaultConfig)]
    struct Many {
        #[vault(transit = "app")]
        list: Vec<SecretString>,
        #[vault(transit = "app")]
        text: Vec<SecretString>,
        #[vault(transit = "app")]
        spaced: SecretString,
    }
    let file = "list = ['plain', 'vault:v1:aHVudGVyMg==']";
    let variables =
        [("TEXT", r#"["vault:v1:aHVudGVyMg=="]"#), ("SPACED", "vault:v1:aHVudGVyMg==\n")];
    let loader = Many::loader().mode(Mode::Local).without_dotenv().env_source(variables);
    let error = loader.figment(Figment::from(Toml::string(file))).load().await.unwrap_err();
    let fields: Vec<_> = error.problems().iter().filter_map(|problem| problem.field()).collect();
    assert_eq!(fields, ["list", "text", "spaced"], "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// An editor adds a line break, and a list is one ciphertext of its JSON text.
#[tokio::test]
async fn a_line_break_after_a_ciphertext_is_ignored() {
    #[derive(Debug, VaultConfig)]
    struct Many {
        #[vault(transit = "app")]
        list: Vec<SecretString>,
        #[vault(transit = "app")]
        spaced: SecretString,
    }
    let server = Server::start().await;
    let file = format!("list = \"\"\"\n{}\n\"\"\"", server.encrypt(r#"["a", "b"]"#).await);
    let spaced = format!(" {}\n", server.encrypt("s").await);
    let variables = server.variables().await.into_iter().chain([("SPACED", spaced)]);
    let loader = Many::loader().without_dotenv().startup_deadline(Duration::ZERO);
    let loader = loader.figment(Figment::from(Toml::string(&file))).env_source(variables);
    let many = loader.load().await.unwrap();
    assert_eq!(many.spaced.expose_secret(), "s");
    assert_eq!(many.list.len(), 2);
}

#[tokio::test]
async fn results_that_do_not_match_the_request_are_reported() {
    #[derive(VaultConfig)]
    struct One {
        #[vault(transit = "app")]
        one: SecretString,
    }
    for results in [json!([]), json!([{ "plaintext": "YQ==" }, { "plaintext": "YQ==" }])] {
        let answer = json!({ "request_id": "1", "data": { "batch_results": results } });
        let server = ScriptedServer::start(move |_| ScriptedAnswer::json(200, &answer)).await;
        let variables = [
            ("VAULT_ADDR", server.address()),
            ("VAULT_TOKEN", "t".to_owned()),
            ("ONE", "vault:v1:aHVudGVyMg==".to_owned()),
        ];
        let loader = One::loader().without_dotenv().startup_deadline(Duration::ZERO);
        let error = loader.env_source(variables).load().await.err().unwrap();
        insta::allow_duplicates!(assert_snapshot!(error.problems()[0].to_string(), @"
        1. one: SecretString
           vault transit/decrypt/app: the answer does not have one result for each ciphertext
           help: run `vault write` to see what the path returns for batch_input, and check that the address is Vault's own
        "));
    }
}

/// What to set is a ciphertext: a plain value would be refused next.
#[tokio::test]
async fn what_is_missing_is_a_ciphertext() {
    #[derive(VaultConfig)]
    struct One {
        #[vault(transit = "app")]
        one: SecretString,
        #[vault(transit = "app")]
        list: Option<Vec<SecretString>>,
    }
    let variables =
        [("VAULT_ADDR", "http://127.0.0.1:1"), ("VAULT_TOKEN", "t"), ("LIST", r#"["vault:v1:a"]"#)];
    let loader = One::loader().without_dotenv().env_source(variables);
    let error = loader.load().await.err().unwrap();
    assert_snapshot!(problems(&error, ErrorKind::Missing), @"
    one: SecretString
    no source has a ciphertext for it
    help: encrypt it: printf %s .. | base64 | vault write -field=ciphertext transit/encrypt/app plaintext=-; and set ONE in the environment or in .env, or one in a file, to the result

    list: Option<Vec<SecretString>>
    env LIST: the value is not encrypted: it does not begin with vault:v1: or another version
    help: encrypt it: printf %s .. | base64 | vault write -field=ciphertext transit/encrypt/app plaintext=-
      a list or a map is one ciphertext: encrypt its JSON text
    ");
}

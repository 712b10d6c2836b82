//! Vault as a provider for a figment of the user's own.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::net::IpAddr;
use std::time::Duration;

use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::{Figment, Profile};
use serde::Deserialize;
use serde_json::json;
use vault_config::auth::{AppRole, Token};
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{
    DatabaseCredentials, Error, ErrorKind, Mode, Provenance, Resolved, Secret, Vault, VaultConfig,
};
use vault_config_tests::{OpenBao, Postgres};

use crate::support::{NOTHING, field_kinds, root, with};

async fn resolve<T: VaultConfig>(bao: &OpenBao, more: &[(&str, &str)]) -> Result<Resolved, Error> {
    Vault::from_env_source(with(root(bao), more)).unwrap().resolve::<T>().await
}

// ===== among the user's own layers =====

#[derive(Debug, PartialEq, Deserialize, VaultConfig)]
#[vault(env_prefix = "APP")]
struct Db {
    #[vault(kv = "my-app/db", plain)]
    port: u16,
    #[vault(kv = "my-app/db", plain)]
    host: String,
    name: String,
    #[serde(default)]
    pool: Option<u16>,
}

const FILE: &str = r#"
[default]
name = "default"
port = 1
[production]
name = "production"
port = 2
host = "file"
pool = 9
[global]
pool = 5
"#;

#[tokio::test]
async fn secrets_merge_into_a_users_figment() {
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "my-app/db", json!({"port": "5432", "host": "db", "spare": 1})).await;
    let file = || Figment::from(Toml::string(FILE).nested());
    bao.clear_audit();
    let secrets = resolve::<Db>(&bao, &[]).await.unwrap();
    assert_eq!(bao.audit_requests().len(), 1);
    let db = |port, host: &str, name: &str| Db {
        port,
        host: host.into(),
        name: name.into(),
        pool: Some(5),
    };
    for profile in ["default", "production", "staging"] {
        let name = if profile == "production" { profile } else { "default" };
        // Neither the file's selected profile nor its position stands above a secret.
        let before = file().select(profile).merge(&secrets);
        assert_eq!(before.profile(), profile, "merging selects no profile");
        let after = file().select(profile).join(secrets.clone());
        let selected_later = file().merge(&secrets).select(profile);
        for figment in [before, selected_later] {
            assert_eq!(figment.extract::<Db>().unwrap(), db(5432, "db", name), "{profile}");
        }
        assert_eq!(after.extract::<Db>().unwrap().name, name);
    }
    // What the user merges above the secrets, in the same profile, is the user's own affair.
    let above = file().merge(&secrets).merge(("port", 7_u16, Profile::Global).global());
    assert_eq!(above.extract::<Db>().unwrap().port, 7);

    let report = secrets.report();
    assert_eq!(report.fields().map(|(path, _)| path).collect::<Vec<_>>(), ["port", "host"]);
    assert_eq!(report.unused_keys().collect::<Vec<_>>(), [("kv secret/my-app/db", "spare")]);

    // The environment overrides by the name that the schema gives, and then nothing is asked for.
    let env = [("APP_PORT", "6000"), ("APP_HOST", ""), ("PORT", "1"), ("APP_NAME", "x")];
    let secrets = resolve::<Db>(&bao, &env).await.unwrap();
    let extracted: Db = file().merge(&secrets).extract().unwrap();
    assert_eq!(extracted, db(6000, "db", "default"));
    assert!(
        matches!(secrets.report().provenance("port"), Some(Provenance::Env { variable }) if variable == "APP_PORT")
    );
    bao.clear_audit();
    resolve::<Db>(&bao, &[("APP_PORT", "6000"), ("APP_HOST", "h")]).await.unwrap();
    assert_eq!(bao.audit_requests(), []);

    // `loader()` says the rest: no override, another prefix, a connection of its own.
    let vault =
        Vault::builder().address(bao.address()).auth(Token::new(bao.root_token())).build().unwrap();
    let loader =
        || Db::loader().vault(vault.clone()).env_source([("APP_PORT", "6000"), ("X_PORT", "6001")]);
    for (loader, port) in
        [(loader(), 6000), (loader().env_overrides(false), 5432), (loader().env_prefix("X"), 6001)]
    {
        let secrets = loader.resolve().await.unwrap();
        assert_eq!(file().merge(secrets).extract::<Db>().unwrap().port, port);
    }
}

trait Global {
    fn global(self) -> Serialized<BTreeMap<String, u16>>;
}

impl Global for (&str, u16, Profile) {
    fn global(self) -> Serialized<BTreeMap<String, u16>> {
        Serialized::from(BTreeMap::from([(self.0.to_owned(), self.1)]), self.2)
    }
}

#[tokio::test]
async fn figments_own_environment_stands_where_the_user_puts_it() {
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "my-app/db", json!({"port": "5432", "host": "db"})).await;
    let secrets = resolve::<Db>(&bao, &[]).await.unwrap();
    // A variable that is not set: the process environment is never written by a test.
    let figment = Figment::from(Serialized::default("name", "n"))
        .merge(secrets)
        .merge(Env::prefixed("NO_SUCH_VARIABLE_"));
    assert_eq!(figment.extract::<Db>().unwrap().port, 5432);
}

// ===== the same values as a load =====

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Low,
    Exactly(u16),
    Between { from: u16, to: u16 },
}

#[derive(Debug, Deserialize)]
struct ApiKeys {
    internal: SecretString,
    count: u16,
}

impl Secret for ApiKeys {}

#[derive(Debug, Deserialize, VaultConfig)]
#[vault(kv = "shapes")]
struct Shapes {
    #[vault(kv, plain)]
    port: u16,
    #[vault(kv, plain)]
    ratio: f64,
    #[vault(kv, plain)]
    yes: bool,
    #[vault(kv, plain)]
    letter: char,
    #[vault(kv)]
    number: SecretString,
    #[vault(kv)]
    zeros: SecretString,
    #[vault(kv)]
    empty: SecretString,
    #[vault(kv)]
    list: Vec<SecretString>,
    #[vault(kv, plain)]
    holes: Vec<Option<u16>>,
    #[vault(kv, plain)]
    pair: (u16, String),
    #[vault(kv)]
    map: HashMap<String, SecretString>,
    #[vault(kv)]
    keys: ApiKeys,
    #[vault(kv = "whole", whole)]
    whole: BTreeMap<String, SecretString>,
    #[vault(kv, plain)]
    levels: Vec<Level>,
    #[vault(kv, plain)]
    address: IpAddr,
    #[vault(kv, plain)]
    wait: Duration,
    #[vault(kv)]
    present: Option<SecretString>,
    #[vault(kv)]
    absent: Option<SecretString>,
    #[vault(kv, default = "fallback")]
    #[serde(default = "fallback")]
    defaulted: SecretString,
    #[vault(nested)]
    nested: Nested,
    #[vault(database_static = "legacy")]
    database: DatabaseCredentials,
}

fn fallback() -> SecretString {
    "fallback".into()
}

#[derive(Debug, Deserialize, VaultConfig)]
#[vault(kv = "shapes")]
struct Nested {
    #[vault(kv, key = "zeros")]
    secret: SecretString,
    #[vault(nested)]
    deeper: Option<Deeper>,
}

#[derive(Debug, Deserialize, VaultConfig)]
struct Deeper {
    #[vault(kv = "shapes", plain)]
    port: u16,
}

impl Shapes {
    /// Everything it holds, secrets too.
    fn rendered(&self) -> Vec<String> {
        let secrets = |secrets: &[&SecretString]| -> Vec<String> {
            secrets.iter().map(|secret| secret.expose_secret().to_owned()).collect()
        };
        let sorted: BTreeMap<_, _> = self.map.iter().collect();
        let all = [
            vec![format!("{} {} {} {}", self.port, self.ratio, self.yes, self.letter)],
            secrets(&[
                &self.number,
                &self.zeros,
                &self.empty,
                &self.defaulted,
                &self.nested.secret,
            ]),
            secrets(&self.list.iter().collect::<Vec<_>>()),
            vec![format!(
                "{:?} {:?} {:?} {} {:?}",
                self.holes, self.pair, self.levels, self.address, self.wait
            )],
            sorted
                .into_iter()
                .map(|(key, value)| format!("{key}={}", value.expose_secret()))
                .collect(),
            self.whole
                .iter()
                .map(|(key, value)| format!("{key}={}", value.expose_secret()))
                .collect(),
            secrets(&[&self.keys.internal]),
            vec![self.keys.count.to_string(), format!("{:?}", self.absent.is_some())],
            secrets(&self.present.iter().collect::<Vec<_>>()),
            vec![format!("{:?}", self.nested.deeper.as_ref().map(|deeper| deeper.port))],
            vec![self.database.username().to_owned()],
            secrets(&[self.database.password()]),
        ];
        all.concat()
    }
}

#[tokio::test]
async fn extract_gives_what_load_gives() {
    let (bao, postgres) = tokio::join!(OpenBao::dev(), Postgres::start());
    bao.connect_database(&postgres).await;
    bao.kv_put("secret", "whole", json!({"a": 1.5, "b": "00123", "c": true})).await;
    let as_json = json!({
        "port": 5432, "ratio": 1.5, "yes": true, "letter": 7, "number": 1.5, "zeros": "00123", "empty": "",
        "list": ["00123", 1.5, "[x"], "holes": [1, null, 2], "pair": [1, "2"], "map": {"a": 1, "b": "{"},
        "keys": {"internal": 5, "count": "3"}, "levels": ["low", {"exactly": 7}, {"between": {"from": 1, "to": 2}}],
        "address": "::1", "wait": {"secs": 1, "nanos": 5}, "present": 5, "defaulted": "set",
    });
    let mut as_text = as_json.clone();
    for (key, value) in as_text.as_object_mut().unwrap() {
        // `vault kv put` stores nothing but strings.
        if !value.is_string() {
            *value = value.to_string().into();
        }
        if key == "defaulted" {
            *value = json!(null);
        }
    }
    as_text.as_object_mut().unwrap().remove("defaulted");
    for (secret, defaulted) in [(as_json, "set"), (as_text, "fallback")] {
        bao.kv_put("secret", "shapes", secret).await;
        let loaded = Shapes::loader().without_dotenv().env_source(root(&bao)).load().await.unwrap();
        let secrets = resolve::<Shapes>(&bao, &[]).await.unwrap();
        let extracted: Shapes = Figment::new().merge(secrets).extract().unwrap();
        assert_eq!(extracted.rendered(), loaded.rendered());
        assert_eq!(loaded.port, 5432);
        assert_eq!(loaded.holes, [Some(1), None, Some(2)]);
        assert_eq!(loaded.levels[1], Level::Exactly(7));
        assert_eq!(loaded.defaulted.expose_secret(), defaulted);
        assert_eq!(loaded.nested.deeper.unwrap().port, 5432);
    }
    // And from the environment, where all is text.
    let pair = [
        ("DATABASE_USERNAME", "u"),
        ("DATABASE_PASSWORD", "00123"),
        ("LIST", "[\"00123\", 7]"),
        ("PORT", "1"),
    ];
    let loaded =
        Shapes::loader().without_dotenv().env_source(with(root(&bao), &pair)).load().await.unwrap();
    let extracted: Shapes =
        Figment::new().merge(resolve::<Shapes>(&bao, &pair).await.unwrap()).extract().unwrap();
    assert_eq!(extracted.rendered(), loaded.rendered());
    assert_eq!(loaded.database.password().expose_secret(), "00123");
}

// ===== errors =====

#[derive(Debug, Deserialize, VaultConfig)]
struct Wrong {
    #[vault(kv = "my-app/db", plain)]
    port: u16,
    #[vault(kv = "my-app/db")]
    tokens: Vec<SecretString>,
    #[vault(nested)]
    inner: WrongInner,
    #[vault(kv = "my-app/db", plain)]
    right: u16,
}

#[derive(Debug, Deserialize, VaultConfig)]
struct WrongInner {
    #[vault(kv = "my-app/db", plain)]
    #[serde(rename = "ADDRESS")]
    address: IpAddr,
}

#[tokio::test]
async fn a_wrong_type_is_reported_by_key_and_source_and_never_quoted() {
    let bao = OpenBao::dev().await;
    let put = async |port, tokens, address| {
        bao.kv_put(
            "secret",
            "my-app/db",
            json!({"port": port, "tokens": tokens, "address": address, "right": 1}),
        )
        .await;
    };
    let extract = async |more: &[(&str, &str)]| {
        let secrets = resolve::<Wrong>(&bao, more).await.unwrap();
        let error = Figment::new().merge(secrets).extract::<Wrong>().unwrap_err();
        let shown = format!("{error}{error:?}{error:#?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        error.to_string()
    };
    let of_port = "invalid type: found a string, expected u16 for key \"default.port\" in vault kv secret/my-app/db#port";
    put("hunter2", json!(["x"]), "::1").await;
    assert_eq!(extract(&[]).await, of_port);
    put("hunter2", json!("hunter2"), "hunter2").await;
    let all = extract(&[]).await;
    let ends = [
        of_port,
        "for key \"default.tokens\" in vault kv secret/my-app/db#tokens",
        "for key \"default.inner.ADDRESS\" in vault kv secret/my-app/db#address",
    ];
    assert_eq!(all.lines().count(), ends.len(), "{all}");
    for (line, end) in all.lines().zip(ends) {
        assert!(line.ends_with(end), "{all}");
    }
    // An override is reported by its variable.
    put("1", json!(["x"]), "::1").await;
    let error = extract(&[("PORT", "hunter2")]).await;
    assert_eq!(
        error,
        "invalid type: found a string, expected u16 for key \"default.port\" in env PORT"
    );
}

#[derive(Debug, Deserialize, VaultConfig)]
struct Absent {
    #[vault(kv = "my-app/none")]
    one: SecretString,
    #[vault(kv = "my-app/db", key = "prot")]
    two: SecretString,
    #[vault(kv = "other")]
    three: Option<SecretString>,
    #[vault(kv = "{unset}")]
    four: SecretString,
    plain: String,
}

#[tokio::test]
async fn resolve_reports_everything_that_is_absent() {
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "my-app/db", json!({"port": "hunter2"})).await;
    let error = resolve::<Absent>(&bao, &[]).await.unwrap_err();
    let wanted = [
        ("one", ErrorKind::PathAbsent),
        ("two", ErrorKind::KeyAbsent),
        ("four", ErrorKind::Variable),
    ];
    assert_eq!(field_kinds(&error), wanted);
    assert!(!format!("{error:?}").contains("hunter2"), "{error}");
    let powerless = bao.token(&["default"], json!({})).await;
    let error =
        resolve::<Absent>(&bao, &[("VAULT_TOKEN", &powerless), ("VAULT_CONFIG_VAR_UNSET", "x")])
            .await;
    let denied = ["one", "two", "three", "four"].map(|field| (field, ErrorKind::Denied));
    assert_eq!(field_kinds(&error.unwrap_err()), denied);
    // A provider is Vault's whatever the mode: there is nothing local to fall back to.
    let loader = || Db::loader().env_source(NOTHING);
    for loader in [
        loader(),
        loader().mode(Mode::Local),
        loader().env_source([("VAULT_CONFIG_MODE", "local")]),
    ] {
        let error = loader.resolve().await.unwrap_err();
        let fields: Vec<_> =
            error.problems().iter().filter_map(vault_config::Problem::field).collect();
        assert_eq!(fields, ["port", "host"], "{error}");
    }
}

// ===== metadata and names =====

#[derive(Debug, Deserialize, VaultConfig)]
#[serde(rename_all = "kebab-case")]
struct Renamed {
    #[vault(kv = "named", key = "a")]
    api_key: SecretString,
    #[serde(rename = "TOKEN", alias = "old-token")]
    #[vault(kv = "named", key = "b")]
    token: SecretString,
    #[serde(alias = "mail")]
    #[vault(nested)]
    smtp_host: RenamedInner,
    plain_one: u16,
}

#[derive(Debug, Deserialize, VaultConfig)]
#[serde(rename_all = "UPPERCASE")]
struct RenamedInner {
    #[vault(kv = "named", mount = "kv1", key = "c")]
    password: SecretString,
    #[vault(kv = "named", key = "b")]
    user: Option<SecretString>,
}

#[tokio::test]
async fn each_value_has_a_record_and_serdes_name() {
    let bao = OpenBao::dev().await;
    bao.mount_kv_v1("kv1").await;
    bao.kv_put("secret", "named", json!({"a": "1", "b": "2"})).await;
    bao.write("kv1/named", json!({"c": "3"})).await;
    let secrets = resolve::<Renamed>(&bao, &[("TOKEN", "4")]).await.unwrap();
    let figment = Figment::from(Serialized::default("plain-one", 5)).merge(secrets);
    let read: Renamed = figment.extract().unwrap();
    let values = [
        &read.api_key,
        &read.token,
        &read.smtp_host.password,
        read.smtp_host.user.as_ref().unwrap(),
    ];
    assert_eq!(values.map(ExposeSecret::expose_secret), ["1", "4", "3", "2"]);
    assert_eq!(read.plain_one, 5);
    for (key, name) in [
        ("api-key", "vault kv secret/named#a"),
        ("TOKEN", "env TOKEN"),
        ("smtp-host.PASSWORD", "vault kv kv1/named#c"),
        ("smtp-host.USER", "vault kv secret/named#b"),
    ] {
        let metadata = figment.find_metadata(key).unwrap_or_else(|| panic!("{key} has no record"));
        assert_eq!(metadata.name, name, "{key}");
    }
}

// ===== nothing shows a value =====

fn hides(shown: &dyn Debug) {
    let text = format!("{shown:?}{shown:#?}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn debug_of_the_public_types_shows_no_value() {
    let bao = OpenBao::dev().await;
    bao.kv_put(
        "secret",
        "my-app/db",
        json!({"port": "5432", "host": "hunter2", "hunter": "hunter2"}),
    )
    .await;
    let secrets = resolve::<Db>(&bao, &[]).await.unwrap();
    hides(&secrets);
    hides(secrets.report());
    assert!(!secrets.report().to_string().contains("hunter2"));
    let variables =
        [("APP_PORT", "hunter2"), ("VAULT_TOKEN", "hunter2"), ("VAULT_ADDR", "http://127.0.0.1:1")];
    let vault = Vault::from_env_source(variables).unwrap();
    hides(&vault);
    let builder = || Vault::builder().address("http://127.0.0.1:1");
    hides(&builder().auth(Token::new("hunter2")));
    let approle = || AppRole::new("role", SecretString::from("hunter2"));
    hides(&builder().auth(approle()));
    hides(&builder().auth(approle()).build().unwrap());
    hides(&Token::new("hunter2"));
    hides(&approle());
    let loader = || Db::loader().env_source(variables).vault(vault.clone()).var("x", "y");
    hides(&loader());
    assert!(format!("{:?}", loader()).contains("APP_PORT"), "names are no secret");
    hides(&DatabaseCredentials::new("hunter2", "hunter2"));
    hides(&Db::schema());
    let error = loader().mode(Mode::Local).without_dotenv().load().await.unwrap_err();
    hides(&error);
    error.problems().iter().for_each(|problem| hides(problem));
    assert!(std::error::Error::source(&error).is_none());
}

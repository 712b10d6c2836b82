//! What the derive macro accepts, what it refuses, and what the generated code does.
//!
//! `TRYBUILD=overwrite cargo test -p vault-config --test derive` writes the `.stderr` files again.

#![allow(clippy::unwrap_used, dead_code, missing_docs)]

use std::collections::HashMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::json;
use vault_config::figment::Figment;
use vault_config::figment::providers::Serialized;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{Error, Loader, Mode, VaultConfig};

#[test]
fn ui() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
    if cfg!(all(feature = "pki", feature = "ssh")) {
        cases.pass("tests/ui/typed/pass.rs");
        cases.compile_fail("tests/ui/typed/fail.rs");
    }
}

#[derive(Debug, VaultConfig)]
struct Defaults {
    #[vault(default = 8080)]
    expression: u16,
    #[vault(default = "127.0.0.1")]
    text: IpAddr,
    #[vault(default)]
    bare: Vec<u8>,
    #[serde(default)]
    serde_default: bool,
    #[serde(default = "seven")]
    serde_function: u8,
    #[vault(default = 1)]
    #[serde(default = "seven")]
    vault_before_serde: u8,
    #[vault(kv = "app", default = "hunter2")]
    secret: SecretString,
    absent: Option<u8>,
    #[vault(nested)]
    struct_default: StructDefault,
    #[vault(nested)]
    struct_function: StructFunction,
}

#[derive(Debug, VaultConfig)]
#[serde(default)]
struct StructDefault {
    own: u8,
    #[vault(default = 2)]
    other: u8,
}

impl Default for StructDefault {
    fn default() -> Self {
        Self { own: 3, other: 4 }
    }
}

#[derive(Debug, VaultConfig)]
#[serde(default = "StructFunction::new")]
struct StructFunction {
    own: String,
}

impl StructFunction {
    fn new() -> Self {
        Self { own: "new".to_owned() }
    }
}

fn seven() -> u8 {
    7
}

#[test]
fn defaults() {
    let config: Defaults = load(json!({})).unwrap();
    assert_eq!(config.expression, 8080);
    assert_eq!(config.text, IpAddr::from([127, 0, 0, 1]));
    assert!(config.bare.is_empty());
    assert!(!config.serde_default);
    assert_eq!(config.serde_function, 7);
    assert_eq!(config.vault_before_serde, 1);
    assert_eq!(config.secret.expose_secret(), "hunter2");
    assert_eq!(config.absent, None);
    assert_eq!((config.struct_default.own, config.struct_default.other), (3, 2));
    assert_eq!(config.struct_function.own, "new");
}

#[derive(Debug, PartialEq, Deserialize, VaultConfig)]
#[serde(rename_all = "kebab-case")]
struct Keys {
    port_number: u16,
    #[serde(rename = "Listen")]
    host: String,
    #[serde(alias = "old", alias = "older")]
    new: u8,
    #[serde(deserialize_with = "length")]
    text_length: usize,
    #[serde(with = "doubled")]
    twice: u32,
    r#type: String,
    #[vault(nested)]
    #[serde(rename = "database")]
    inner: Inner,
}

#[derive(Debug, PartialEq, Deserialize, VaultConfig)]
#[serde(rename_all(deserialize = "SCREAMING_SNAKE_CASE"))]
struct Inner {
    pool_size: u32,
}

fn length<'de, D: serde::Deserializer<'de>>(input: D) -> Result<usize, D::Error> {
    String::deserialize(input).map(|text| text.len())
}

mod doubled {
    use serde::Deserialize;

    pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(input: D) -> Result<u32, D::Error> {
        u32::deserialize(input).map(|number| number * 2)
    }
}

#[test]
fn file_keys_and_functions_are_those_of_serde() {
    let file = json!({
        "port-number": 80, "Listen": "here", "older": 1, "text-length": "four", "twice": 4, "type": "raw",
        "database": { "POOL_SIZE": 9 }
    });
    let config: Keys = load(file.clone()).unwrap();
    assert_eq!(config, serde_json::from_value(file).unwrap());
    assert_eq!((config.text_length, config.twice, config.inner.pool_size), (4, 8, 9));
}

#[derive(Debug, VaultConfig)]
#[vault(validate = ordered)]
struct Range {
    low: u8,
    #[vault(validate = small)]
    high: u8,
}

#[derive(Debug, VaultConfig)]
struct Several {
    #[vault(nested)]
    range: Range,
    missing: HashMap<String, Option<(u8, [u8; 2])>>,
    #[vault(env = "THE_LIMIT")]
    limit: u8,
    // As in serde, a field with its own function is required, even if its type is an `Option`.
    #[serde(deserialize_with = "read_number")]
    also_missing: Option<u8>,
}

fn read_number<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u8>, D::Error> {
    Deserialize::deserialize(from)
}

fn small(high: &u8) -> Result<(), &'static str> {
    if *high > 9 { Err("must be one digit") } else { Ok(()) }
}

fn ordered(range: &Range) -> Result<(), String> {
    if range.low > range.high {
        return Err(format!("{} is above {}", range.low, range.high));
    }
    Ok(())
}

#[test]
fn every_problem_is_reported() {
    let error =
        load::<Several>(json!({ "range": { "low": 1, "high": 10 }, "limit": "x" })).unwrap_err();
    let problems: Vec<_> =
        error.problems().iter().map(|problem| (problem.field(), problem.type_name())).collect();
    assert_eq!(
        problems,
        [
            (Some("range.high"), Some("u8")),
            (Some("missing"), Some("HashMap<String, Option<(u8, [u8; 2])>>")),
            (Some("limit"), Some("u8")),
            (Some("also_missing"), Some("Option<u8>")),
        ]
    );
    assert_eq!(error.problems()[0].message(), "must be one digit");
}

#[test]
fn a_struct_is_validated_as_a_whole() {
    let error = load::<Range>(json!({ "low": 2, "high": 1 })).unwrap_err();
    assert_eq!(error.problems().len(), 1);
    assert_eq!(error.problems()[0].message(), "2 is above 1");
}

#[test]
fn environment_names() {
    #[derive(VaultConfig)]
    #[vault(env_prefix = "APP")]
    struct Config {
        #[vault(env = "THE_PORT")]
        port: u16,
        r#type: String,
        #[vault(kv)]
        key: Option<SecretString>,
    }

    let environment = [("THE_PORT", "1"), ("APP_TYPE", "a"), ("APP_KEY", "k")];
    let config: Config =
        loader(json!({ "port": 2, "type": "b" })).env_source(environment).load_blocking().unwrap();
    assert_eq!((config.port, config.r#type.as_str()), (1, "a"));
    assert_eq!(config.key.unwrap().expose_secret(), "k");
}

fn load<T: VaultConfig>(file: serde_json::Value) -> Result<T, Error> {
    loader(file).load_blocking()
}

/// A loader that reads `file` alone, so that the machine's environment cannot change a test.
fn loader<T: VaultConfig>(file: serde_json::Value) -> Loader<T> {
    T::loader()
        .figment(Figment::from(Serialized::defaults(file)))
        .env_source::<String, String>([])
        .without_dotenv()
        .mode(Mode::Local)
}

//! Text until the type asks: every value as Vault, the environment, `.env` and a file give it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use url::Url;
use vault_config::secrecy::{ExposeSecret, SecretBox, SecretString};
use vault_config::{Error, ErrorKind, Loader, Mode, Secret, VaultConfig};
use vault_config_tests::OpenBao;

use crate::support::{dotenv, root, toml};

/// A field marked for Vault, of whatever type.
#[derive(VaultConfig)]
struct Marked<T> {
    #[vault(kv = "coercion", plain)]
    value: T,
}

/// OpenBao 2.7's KV v2 keeps a number as a float: 1.10 comes back as 1.1. Other engines keep its text.
#[derive(VaultConfig)]
struct Exact<T> {
    #[vault(read = "cubbyhole/coercion", key = "value", plain)]
    value: T,
}

#[derive(VaultConfig)]
struct Plain<T> {
    value: T,
}

/// How a value is given.
#[derive(Debug, Clone, Copy)]
enum Given<'a> {
    /// JSON, as it stands in a KV v2 secret.
    Vault(&'a str),
    /// JSON, from an engine that keeps the text of a number.
    Exact(&'a str),
    Env(&'a str),
    /// In single quotes.
    Dotenv(&'a str),
    /// TOML, as it stands in a file.
    File(&'a str),
}
use Given::{Env, File, Vault};

async fn load<T: DeserializeOwned>(bao: &OpenBao, given: Given<'_>) -> Result<T, Error> {
    match given {
        Vault(json) => {
            put(bao, "secret/data/coercion", &format!(r#"{{"data":{{"value":{json}}}}}"#)).await;
            let loader = Marked::<T>::loader().without_dotenv().env_source(root(bao));
            loader.load().await.map(|marked| marked.value)
        }
        Given::Exact(json) => {
            put(bao, "cubbyhole/coercion", &format!(r#"{{"value":{json}}}"#)).await;
            let loader = Exact::<T>::loader().without_dotenv().env_source(root(bao));
            loader.load().await.map(|exact| exact.value)
        }
        _ => local(Marked::<T>::loader(), given).await.map(|marked| marked.value),
    }
}

async fn local<T: VaultConfig>(loader: Loader<T>, given: Given<'_>) -> Result<T, Error> {
    let loader = loader.mode(Mode::Local).without_dotenv();
    match given {
        Env(text) => loader.env_source([("VALUE", text)]).load().await,
        Given::Dotenv(text) => {
            let file = dotenv(&format!("VALUE='{text}'\n"));
            loader.dotenv(file.to_path_buf()).env_source([("", "")]).load().await
        }
        File(text) => {
            let layer = toml(&format!("value = {text}"));
            loader.figment(layer).env_source([("", "")]).load().await
        }
        Vault(_) | Given::Exact(_) => unreachable!("Vault mode has its own loader"),
    }
}

/// Writes JSON as it is: `serde_json` would make 1.1 of 1.10.
async fn put(bao: &OpenBao, path: &str, json: &str) {
    let answer = vault_config_tests::client_builder()
        .build()
        .unwrap()
        .post(format!("{}/v1/{path}", bao.address()))
        .header("X-Vault-Token", bao.root_token())
        .body(json.to_owned())
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success(), "{json} is not JSON");
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// The text as Vault, the environment and (where it can stand in single quotes) `.env` give it.
fn ways<'a>(text: &'a str, json: &'a str) -> Vec<Given<'a>> {
    let mut ways = vec![Vault(json)];
    if !text.is_empty() {
        ways.push(Env(text));
    }
    // dotenvy takes a backslash before the closing quote for an escape.
    if !text.is_empty() && !text.contains('\'') && !text.ends_with('\\') {
        ways.push(Given::Dotenv(text));
    }
    ways
}

/// The value out of text, as text from each source, and out of what only JSON and TOML can say.
async fn reads<T>(bao: &OpenBao, wanted: T, text: &str, others: &[Given<'_>])
where
    T: DeserializeOwned + PartialEq + Debug,
{
    let json = quoted(text);
    let all = ways(text, &json).into_iter().chain(others.iter().copied());
    for given in all {
        match load::<T>(bao, given).await {
            Ok(read) => assert_eq!(read, wanted, "{given:?}"),
            Err(error) => panic!("{given:?} as {}: {error}", std::any::type_name::<T>()),
        }
        if !matches!(given, Vault(_) | Given::Exact(_)) {
            let plain = local(Plain::<T>::loader(), given).await.unwrap();
            assert_eq!(plain.value, wanted, "plain {given:?}");
        }
    }
}

#[tokio::test]
async fn a_secret_is_read_byte_for_byte() {
    let bao = OpenBao::dev().await;
    let pem = "-----BEGIN KEY-----\nMIIB+/=\n  two blanks\n\nlast\n-----END KEY-----\n";
    let long = "0123456789abcdef".repeat(4096);
    let texts = [
        "00123",
        "1e5",
        "1.10",
        "true",
        "null",
        "[x",
        "[1,2]",
        r#"{"a":1"#,
        r#"{"a":1}"#,
        "'",
        "\"",
        "it's",
        "a#b",
        "a #b",
        "#",
        "$HOME",
        "a$b${c}$",
        "\\",
        "a\\nb",
        " leading and trailing ",
        "\ttab\t",
        " ",
        "a=b",
        pem,
        "\r\n",
        "",
        "🔑 ключ",
        "\u{feff}bom",
        long.as_str(),
    ];
    for text in texts {
        let json = quoted(text);
        for given in ways(text, &json) {
            let read = load::<SecretString>(&bao, given).await;
            let read = read.unwrap_or_else(|error| panic!("{given:?}: {error}"));
            assert_eq!(read.expose_secret(), text, "{given:?}");
        }
        let read = load::<SecretString>(&bao, File(&json)).await;
        // TOML has no such escape.
        if !text.contains('\u{feff}') {
            assert_eq!(read.unwrap().expose_secret(), text, "in a file");
        }
    }
}

#[tokio::test]
async fn json_in_a_secret_is_text_for_a_secret_string() {
    let bao = OpenBao::dev().await;
    let big = "123456789012345678901234567890";
    let of_any_engine = ["5432", "-7", "1.5", "0", "true", "false"];
    let of_other_engines = ["1.10", "1e5", big, "-0", "9007199254740993"];
    let all = of_any_engine.map(Vault).into_iter();
    for given in
        all.chain(of_any_engine.map(Given::Exact)).chain(of_other_engines.map(Given::Exact))
    {
        let (Vault(json) | Given::Exact(json)) = given else { unreachable!("all are JSON") };
        let read = load::<SecretString>(&bao, given).await.unwrap();
        assert_eq!(read.expose_secret(), json, "{given:?}");
        let read = load::<Option<SecretString>>(&bao, given).await.unwrap().unwrap();
        assert_eq!(read.expose_secret(), json, "{given:?}");
        assert_eq!(load::<String>(&bao, given).await.unwrap(), json, "{given:?}");
    }
    let list =
        load::<Vec<SecretString>>(&bao, Given::Exact(r#"["00123",1.10,true,"[x"]"#)).await.unwrap();
    assert_eq!(exposed(&list), ["00123", "1.10", "true", "[x"]);
    for json in ["[1]", r#"{"a":"b"}"#, "null"] {
        let error = load::<SecretString>(&bao, Vault(json)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WrongType, "{json}");
    }
}

fn exposed(secrets: &[SecretString]) -> Vec<&str> {
    secrets.iter().map(ExposeSecret::expose_secret).collect()
}

#[tokio::test]
async fn numbers_and_booleans_are_read_from_text_and_from_json() {
    let bao = &OpenBao::dev().await;
    reads(bao, 5432_u16, "5432", &[Vault("5432"), File("5432"), File("'5432'")]).await;
    reads(bao, 5432_u16, " 5432\n", &[]).await;
    reads(bao, -7_i8, "-7", &[Vault("-7"), File("-7")]).await;
    reads(bao, i64::MIN, &i64::MIN.to_string(), &[Given::Exact("-9223372036854775808")]).await;
    reads(bao, u64::MAX, &u64::MAX.to_string(), &[Given::Exact("18446744073709551615")]).await;
    reads(bao, u128::MAX, &u128::MAX.to_string(), &[Given::Exact(&u128::MAX.to_string())]).await;
    reads(bao, i128::MIN, &i128::MIN.to_string(), &[Given::Exact(&i128::MIN.to_string())]).await;
    reads(bao, 1.1_f64, "1.10", &[Vault("1.10"), File("1.10")]).await;
    reads(bao, 100_000.0_f64, "1e5", &[Vault("1e5"), Vault("100000"), File("100000")]).await;
    reads(bao, 0.5_f32, "0.5", &[Vault("0.5"), File("0.5")]).await;
    reads(bao, NonZeroU16::new(7).unwrap(), "7", &[Vault("7")]).await;
    reads(bao, Some(5432_u16), "5432", &[Vault("5432"), File("5432")]).await;
    for text in ["true", "TRUE", "1", "yes", "On"] {
        reads(bao, true, text, &[Vault("true"), Vault("1"), File("true")]).await;
    }
    for text in ["false", "False", "0", "no", "OFF"] {
        reads(bao, false, text, &[Vault("false"), Vault("0"), File("false")]).await;
    }
    assert_eq!(load::<Option<u16>>(bao, Vault("null")).await.unwrap(), None);
}

#[tokio::test]
async fn types_that_parse_text_are_given_text() {
    let bao = &OpenBao::dev().await;
    reads(bao, "::1".parse::<IpAddr>().unwrap(), "::1", &[]).await;
    reads(bao, "127.0.0.1:80".parse::<SocketAddr>().unwrap(), "127.0.0.1:80", &[]).await;
    reads(bao, Url::parse("https://a/b?c=1").unwrap(), "https://a/b?c=1", &[]).await;
    reads(bao, PathBuf::from("/var/lib/00123"), "/var/lib/00123", &[]).await;
    reads(bao, PathBuf::from("5"), "5", &[Vault("5")]).await;
    reads(bao, 'é', "é", &[]).await;
    reads(bao, '7', "7", &[Vault("7")]).await;
    reads(bao, "00123".to_owned(), "00123", &[File("'00123'")]).await;
    reads(bao, Seconds(90), "90", &[Vault("90"), File("90")]).await;
}

#[derive(Debug, PartialEq, Deserialize)]
struct Seconds(u64);

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Low,
    VeryHigh,
    Exactly(u16),
    Between { from: u16, to: Option<u16> },
    Pair(u8, String),
}

#[tokio::test]
async fn enums_are_names_or_json() {
    let bao = &OpenBao::dev().await;
    reads(bao, Level::Low, "low", &[File("'low'")]).await;
    reads(bao, Level::VeryHigh, "very_high", &[]).await;
    let exactly = r#"{"exactly": "7"}"#;
    reads(bao, Level::Exactly(7), exactly, &[Vault(exactly), File("{ exactly = 7 }")]).await;
    let between = r#" {"between": {"from": "1", "to": 2}}"#;
    let value = || Level::Between { from: 1, to: Some(2) };
    reads(bao, value(), between, &[Vault(between), File("{ between = { from = 1, to = '2' } }")])
        .await;
    let half = r#"{"between": {"from": 1}}"#;
    reads(bao, Level::Between { from: 1, to: None }, half, &[Vault(half)]).await;
    let pair = r#"{"pair": [1, "00123"]}"#;
    reads(
        bao,
        Level::Pair(1, "00123".into()),
        pair,
        &[Vault(pair), File("{ pair = [1, '00123'] }")],
    )
    .await;
}

#[derive(Debug, PartialEq, Deserialize)]
struct Endpoint {
    host: String,
    #[serde(default)]
    port: Option<u16>,
}

#[tokio::test]
async fn lists_and_maps_are_json() {
    let bao = &OpenBao::dev().await;
    let list = r#"["1", 2]"#;
    reads(bao, vec![1_u16, 2], list, &[Vault(list), File("['1', 2]")]).await;
    reads(bao, (1_u16, "2".to_owned()), list, &[Vault(list), File("[1, '2']")]).await;
    reads(bao, [1_u8, 2, 3], "[1, 2, 3]", &[Vault(r#"["1", 2, "3"]"#), File("[1, 2, 3]")]).await;
    reads(bao, vec![Some(1_u16), None], "[1, null]", &[Vault("[1, null]")]).await;
    reads(bao, Vec::<u16>::new(), "[]", &[Vault("[]"), File("[]")]).await;
    let map = r#"{"80": "00123", "443": 5}"#;
    let wanted = BTreeMap::from([(80_u16, "00123".to_owned()), (443, "5".to_owned())]);
    reads(bao, wanted, map, &[Vault(map), File("{ 80 = '00123', 443 = 5 }")]).await;
    for key in [i8::MIN, 7] {
        let map = format!(r#"{{"{key}": 1}}"#);
        reads(bao, BTreeMap::from([(key, 1_u8)]), &map, &[Vault(&map)]).await;
    }
    let map = r#"{"true": 1}"#;
    reads(bao, BTreeMap::from([(true, 1_u8)]), map, &[Vault(map)]).await;
    let duration = r#"{"secs": 1, "nanos": "5"}"#;
    reads(bao, Duration::new(1, 5), duration, &[Vault(duration), File("{ secs = 1, nanos = 5 }")])
        .await;
    let deep = r#"{"a": [{"host": "h", "port": "5432"}, {"host": "00123", "more": [true]}]}"#;
    let endpoint = |host: &str, port| Endpoint { host: host.into(), port };
    let wanted =
        HashMap::from([("a".to_owned(), vec![endpoint("h", Some(5432)), endpoint("00123", None)])]);
    reads(bao, wanted, deep, &[Vault(deep)]).await;
}

#[tokio::test]
async fn secrets_in_lists_maps_and_boxes() {
    let bao = &OpenBao::dev().await;
    let list = r#"["00123", "[x", ""]"#;
    let map = r#"{"a": "00123", "b": "{"}"#;
    for given in [Vault(list), Vault(&quoted(list)), Env(list), Given::Dotenv(list)] {
        let read = load::<Vec<SecretString>>(bao, given).await.unwrap();
        assert_eq!(exposed(&read), ["00123", "[x", ""], "{given:?}");
    }
    for given in [Vault(map), Vault(&quoted(map)), Env(map), Given::Dotenv(map)] {
        let read = load::<HashMap<String, SecretString>>(bao, given).await.unwrap();
        assert_eq!(
            (read["a"].expose_secret(), read["b"].expose_secret()),
            ("00123", "{"),
            "{given:?}"
        );
    }
    for given in
        [Vault("[1, 255]"), Vault("\"[1, 255]\""), Env("[1, 255]"), Given::Dotenv("[1, 255]")]
    {
        let read = load::<SecretBox<Vec<u8>>>(bao, given).await.unwrap();
        assert_eq!(read.expose_secret(), &[1, 255], "{given:?}");
    }
    for given in [Vault("5432"), Vault("\"5432\""), Env("5432"), Given::Dotenv("5432")] {
        let read = load::<SecretBox<u16>>(bao, given).await.unwrap();
        assert_eq!(*read.expose_secret(), 5432, "{given:?}");
    }
}

#[derive(Debug, Deserialize)]
struct ApiKeys {
    internal: SecretString,
    external: Option<SecretString>,
}

impl Secret for ApiKeys {}

#[derive(Debug, VaultConfig)]
struct Whole {
    #[vault(kv = "keys", whole)]
    map: HashMap<String, SecretString>,
    #[vault(kv = "keys", whole)]
    keys: ApiKeys,
    #[vault(kv = "none", whole)]
    none: Option<ApiKeys>,
}

#[tokio::test]
async fn a_whole_secret_is_a_map_or_a_struct() {
    let bao = OpenBao::dev().await;
    let keys = serde_json::json!({"internal": 1.5, "external": "00123"});
    bao.kv_put("secret", "keys", keys).await;
    let loader = || Whole::loader().without_dotenv().env_source(root(&bao));
    let whole = loader().load().await.unwrap();
    assert_eq!(whole.map.len(), 2);
    assert_eq!(whole.map["internal"].expose_secret(), "1.5");
    assert_eq!(whole.keys.internal.expose_secret(), "1.5");
    assert_eq!(whole.keys.external.unwrap().expose_secret(), "00123");
    assert!(whole.none.is_none());
    bao.kv_put("secret", "keys", serde_json::json!({"external": ["hunter2"]})).await;
    let error = loader().load().await.unwrap_err();
    let wrong_types: Vec<_> =
        error.problems().iter().map(|p| (p.field().unwrap(), p.message())).collect();
    let wrong = "invalid type: found a list, expected a string (at key \"external\")";
    // serde meets the wrong key before it can miss the other.
    assert_eq!(wrong_types, [("map", wrong), ("keys", wrong)]);
    bao.kv_put("secret", "keys", serde_json::json!({"external": "hunter2"})).await;
    let error = loader().load().await.unwrap_err();
    assert_eq!(error.problems()[0].message(), "missing field `internal`");
    assert!(!format!("{error}{error:?}").contains("hunter2"));
}

fn doubled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number = u32::deserialize(deserializer)?;
    number.checked_mul(2).ok_or_else(|| serde::de::Error::custom(format!("{number} is too much")))
}

mod commas {
    use serde::{Deserialize, Deserializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
        Ok(String::deserialize(from)?.split(',').map(str::to_owned).collect())
    }
}

#[derive(Debug, VaultConfig)]
struct OwnFunctions {
    #[vault(kv = "coercion", key = "value", plain)]
    #[serde(deserialize_with = "doubled")]
    marked: u32,
    #[serde(deserialize_with = "doubled")]
    number: u32,
    #[serde(with = "commas")]
    list: Vec<String>,
    #[serde(deserialize_with = "doubled", default)]
    absent: u32,
}

#[tokio::test]
async fn serdes_own_functions_read_the_same_text() {
    let bao = OpenBao::dev().await;
    let load = |number: &'static str| {
        let variables = [("NUMBER", number), ("LIST", "a,00123")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let all = root(&bao).into_iter().chain(variables);
        OwnFunctions::loader().without_dotenv().env_source(all).load()
    };
    for json in [serde_json::json!(21), "21".into()] {
        bao.kv_put("secret", "coercion", serde_json::json!({"value": json})).await;
        let read = load("21").await.unwrap();
        assert_eq!((read.marked, read.number, read.absent), (42, 42, 0));
        assert_eq!(read.list, ["a", "00123"]);
    }
    bao.kv_put("secret", "coercion", serde_json::json!({"value": 4_000_000_001_u64})).await;
    let error = load("4000000002").await.unwrap_err();
    let messages: Vec<_> = error.problems().iter().map(vault_config::Problem::message).collect();
    assert_eq!(messages[1..], ["4000000002 is too much"]);
    assert!(!format!("{error}{error:?}").contains("4000000001"), "{error}");
}

const CANARY: &str = "hunter2";

/// The value is refused from every source; as a secret without a trace of it, as a plain value in
/// the type's own words.
async fn refused<T: DeserializeOwned>(bao: &OpenBao, text: &str, json: Option<&str>, own: &str) {
    let secret = quoted(text);
    let all = ways(text, &secret).into_iter().chain(json.map(Vault));
    for given in all {
        let Err(error) = load::<T>(bao, given).await else {
            panic!("{given:?} reads as {}", std::any::type_name::<T>());
        };
        assert_eq!(error.problems().len(), 1, "{error}");
        assert_eq!(error.kind(), ErrorKind::WrongType, "{error}");
        let problem = &error.problems()[0];
        let shown = format!(
            "{error}{error:?}{error:#?}{problem}{problem:?}{}{}",
            problem.message(),
            problem.help()
        );
        assert!(!shown.contains(CANARY), "{given:?}: {error}");
        assert!(!shown.contains("987654"), "{given:?}: {error}");
        if let Env(_) = given {
            let error = local(Plain::<T>::loader(), given).await.err().unwrap();
            let message = error.problems()[0].message();
            assert!(message.contains(own), "{message} of {}", std::any::type_name::<T>());
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    name: u16,
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Quoting;

impl TryFrom<String> for Quoting {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Err(format!("cannot use {text}"))
    }
}

#[tokio::test]
async fn a_refused_secret_is_never_quoted() {
    let bao = &OpenBao::dev().await;
    refused::<u16>(bao, CANARY, None, "expected u16").await;
    refused::<u16>(bao, "9876543", Some("9876543"), "does not fit").await;
    refused::<i8>(bao, "-9876543", Some("-9876543"), "does not fit").await;
    refused::<u8>(bao, "9876543.5", Some("9876543.5"), "expected u8").await;
    refused::<u128>(bao, "-9876543", Some("-9876543"), "expected u128").await;
    refused::<f64>(bao, CANARY, Some("[9876543]"), "expected f64").await;
    refused::<bool>(bao, CANARY, Some("9876543"), "not one of true, false, yes, no").await;
    refused::<char>(bao, CANARY, Some("9876543"), "expected a character").await;
    refused::<()>(bao, CANARY, Some("9876543"), "expected unit").await;
    refused::<IpAddr>(bao, CANARY, Some("9876543"), "invalid IP address syntax").await;
    refused::<SocketAddr>(bao, CANARY, None, "invalid socket address syntax").await;
    refused::<Url>(
        bao,
        CANARY,
        Some("{\"hunter2\": 1}"),
        "relative URL without a base: \"hunter2\"",
    )
    .await;
    refused::<Url>(bao, "http://[hunter2", None, "invalid IPv6 address").await;
    refused::<Level>(bao, CANARY, Some("{\"hunter2\": 1}"), "unknown variant").await;
    refused::<Level>(bao, "{\"exactly\": \"hunter2\"}", None, "expected u16").await;
    refused::<Level>(bao, "{\"low\": \"hunter2\"}", None, "takes no data").await;
    refused::<Level>(bao, "exactly", Some("[\"hunter2\"]"), "needs data").await;
    refused::<Seconds>(bao, CANARY, Some("-9876543"), "expected u64").await;
    refused::<Duration>(bao, CANARY, Some("9876543"), "a map in text is JSON").await;
    refused::<Duration>(bao, "{\"secs\": \"hunter2\"}", None, "expected u64").await;
    refused::<Vec<u16>>(bao, CANARY, Some("[\"hunter2\"]"), "a list in text is JSON").await;
    refused::<Vec<u16>>(bao, "[1, \"hunter2\"]", Some("[9876543]"), "expected u16").await;
    refused::<[u8; 3]>(bao, "[1, 2]", Some("[\"hunter2\"]"), "an array of length 3").await;
    refused::<[u8; 3]>(bao, "[1, 2, 3, 4]", None, "4 items are too many").await;
    refused::<(u16, String)>(bao, "[\"hunter2\", 1]", None, "expected u16").await;
    refused::<Vec<SecretString>>(bao, "[[\"hunter2\"]]", Some("[[\"hunter2\"]]"), "a string").await;
    refused::<HashMap<String, SecretString>>(bao, CANARY, Some("[\"hunter2\"]"), "a map").await;
    refused::<HashMap<String, u16>>(bao, "{\"a\": \"hunter2\"}", None, "at key \"a\"").await;
    refused::<HashMap<String, u16>>(bao, "{\"hunter2\": \"a\"}", None, "at key \"hunter2\"").await;
    refused::<BTreeMap<u16, u16>>(bao, "{\"hunter2\": 1}", None, "expected u16").await;
    refused::<Strict>(bao, "{\"hunter2\": 1}", None, "expected `name`").await;
    refused::<Strict>(bao, "{\"name\": \"hunter2\"}", None, "at key \"name\"").await;
    refused::<Endpoint>(bao, "{\"port\": 9876543}", None, "does not fit").await;
    refused::<Endpoint>(bao, "{\"hunter2\": 9876543}", None, "missing field `host`").await;
    refused::<Quoting>(bao, CANARY, None, "cannot use hunter2").await;
    refused::<SecretBox<u16>>(bao, CANARY, None, "expected u16").await;
}

#[derive(Debug, VaultConfig)]
struct Empty {
    #[vault(kv = "coercion", key = "value")]
    required: SecretString,
    #[vault(kv = "coercion", key = "value")]
    optional: Option<SecretString>,
    #[vault(kv = "coercion", key = "value", default = "default")]
    defaulted: SecretString,
}

#[tokio::test]
async fn an_empty_string_is_a_value_in_vault_and_nothing_in_an_environment() {
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "coercion", serde_json::json!({"value": ""})).await;
    let read = Empty::loader().without_dotenv().env_source(root(&bao)).load().await.unwrap();
    assert_eq!(read.required.expose_secret(), "");
    assert_eq!(read.optional.unwrap().expose_secret(), "");
    assert_eq!(read.defaulted.expose_secret(), "");
    let empty = [("REQUIRED", "set"), ("OPTIONAL", ""), ("DEFAULTED", "")];
    let loader = || Empty::loader().mode(Mode::Local).without_dotenv();
    let in_file = dotenv("REQUIRED=set\nOPTIONAL=''\nDEFAULTED=\n");
    for loader in
        [loader().env_source(empty), loader().env_source([("", "")]).dotenv(in_file.to_path_buf())]
    {
        let read = loader.load().await.unwrap();
        assert!(read.optional.is_none());
        assert_eq!(read.defaulted.expose_secret(), "default");
    }
}

//! KV secrets of every shape: versions, whole secrets, odd keys and paths, and large ones.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use insta::assert_snapshot;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;
use vault_config::secrecy::zeroize::Zeroize;
use vault_config::secrecy::{ExposeSecret, SecretBox, SecretString};
use vault_config::{Error, ErrorKind, VaultConfig};
use vault_config_tests::{OpenBao, client_builder};

use crate::support::{problems, request_count, token_loader};

async fn as_root<T: VaultConfig>(bao: &OpenBao) -> Result<T, Error> {
    token_loader(bao.address(), bao.root_token()).load().await
}

/// With a token that may do what the structure's schema asks for.
async fn as_allowed<T: VaultConfig>(bao: &OpenBao) -> Result<T, Error> {
    bao.policy("own", &T::schema().policy()).await;
    token_loader(bao.address(), &bao.token(&["own"], json!({})).await).load().await
}

#[derive(Debug, VaultConfig)]
#[vault(kv = "app")]
struct Pinned {
    #[vault(kv = "app", version = 1, key = "password")]
    first: SecretString,
    #[vault(kv = "app", version = 2, key = "password")]
    second: SecretString,
    #[vault(kv, key = "password")]
    newest: SecretString,
}

#[derive(Debug, VaultConfig)]
struct Perhaps {
    #[vault(kv = "app", version = 1, key = "password")]
    first: Option<SecretString>,
    #[vault(kv = "app", version = 2, key = "password", default = "none")]
    second: SecretString,
    #[vault(kv = "app", key = "password")]
    newest: SecretString,
}

#[tokio::test]
async fn a_pinned_version_is_that_version_until_it_is_gone() {
    let bao = OpenBao::dev().await;
    for password in ["one", "two", "three"] {
        bao.kv_put("secret", "app", json!({ "password": password })).await;
    }
    let read = as_allowed::<Pinned>(&bao).await.unwrap();
    let passwords = [&read.first, &read.second, &read.newest].map(ExposeSecret::expose_secret);
    assert_eq!(passwords, ["one", "two", "three"]);
    assert_eq!(request_count(&bao, "secret/data/app"), 3);

    bao.write("secret/delete/app", json!({ "versions": [1] })).await;
    bao.write("secret/destroy/app", json!({ "versions": [2] })).await;
    let error = as_root::<Pinned>(&bao).await.unwrap_err();
    let problems: Vec<_> =
        error.problems().iter().map(|p| (p.field().unwrap(), p.kind())).collect();
    assert_eq!(problems, [("first", ErrorKind::Deleted), ("second", ErrorKind::Destroyed)]);
    let [deleted, destroyed] = [0, 1].map(|n| error.problems()[n].message());
    assert!(deleted.starts_with("version 1 of the secret was deleted at 2"), "{deleted}");
    assert_eq!(destroyed, "version 2 of the secret is destroyed");
    let read = as_root::<Perhaps>(&bao).await.unwrap();
    assert!(read.first.is_none());
    assert_eq!(read.second.expose_secret(), "none");
    assert_eq!(read.newest.expose_secret(), "three");

    bao.write("secret/undelete/app", json!({ "versions": [1] })).await;
    assert_eq!(as_root::<Perhaps>(&bao).await.unwrap().first.unwrap().expose_secret(), "one");
}

#[derive(Debug, VaultConfig)]
struct Watched {
    #[vault(kv = "pinned", version = 1, key = "key")]
    pinned: SecretString,
    #[vault(kv = "moving", key = "key")]
    moving: SecretString,
}

#[tokio::test]
async fn a_pinned_version_is_not_read_again() {
    let bao = OpenBao::dev().await;
    for path in ["pinned", "moving"] {
        bao.kv_put("secret", path, json!({ "key": "one" })).await;
    }
    let second = Duration::from_secs(1);
    let loader = token_loader::<Watched>(bao.address(), bao.root_token()).refresh_every(second);
    let live = loader.watch().await.unwrap();
    bao.clear_audit();
    for path in ["pinned", "moving"] {
        bao.kv_put("secret", path, json!({ "key": "two" })).await;
    }
    let mut subscription = live.subscribe();
    while live.current().moving.expose_secret() != "two" {
        tokio::time::timeout(30 * second, subscription.changed()).await.unwrap();
    }
    let end = Instant::now() + 30 * second;
    while request_count(&bao, "secret/metadata/moving") < 4 {
        assert!(Instant::now() < end, "{:#?}", live.status());
        tokio::time::sleep(second / 10).await;
    }
    assert_eq!(live.current().pinned.expose_secret(), "one");
    let of_pinned = |path: &str| path.ends_with("/pinned");
    let requests = bao.audit_requests();
    assert!(!requests.iter().any(|request| of_pinned(&request.path)), "{requests:#?}");
}

#[derive(Debug, Clone, Deserialize, PartialEq)]
struct Service {
    name: String,
    database: Database,
    replicas: Vec<Database>,
    weights: BTreeMap<String, f64>,
    note: Option<String>,
}

#[derive(Debug, Clone, Deserialize, PartialEq)]
struct Database {
    host: String,
    port: u16,
    #[serde(default)]
    verify: bool,
}

impl Zeroize for Service {
    fn zeroize(&mut self) {
        self.name.zeroize();
        self.database.zeroize();
        self.replicas.zeroize();
        self.weights.clear();
        self.note.zeroize();
    }
}

impl Zeroize for Database {
    fn zeroize(&mut self) {
        self.host.zeroize();
        self.port.zeroize();
    }
}

#[derive(Debug, VaultConfig)]
#[vault(mount = "{mount}")]
struct Shapes {
    #[vault(kv = "flat", whole)]
    by_hash: HashMap<String, SecretString>,
    #[vault(kv = "flat", whole)]
    by_order: BTreeMap<String, SecretString>,
    #[vault(kv = "flat", whole)]
    perhaps: BTreeMap<String, Option<SecretString>>,
    #[vault(kv = "deep", whole)]
    service: SecretBox<Service>,
    #[vault(kv = "deep", key = "database")]
    database: SecretBox<Database>,
    #[vault(kv = "deep", key = "replicas")]
    replicas: SecretBox<Vec<Database>>,
    #[vault(kv = "deep", key = "weights")]
    weights: BTreeMap<String, SecretString>,
    #[vault(kv = "empty", whole)]
    empty: HashMap<String, SecretString>,
    #[vault(kv = "empty", key = "key")]
    none: Option<SecretString>,
}

/// One engine of each version, with the same secrets.
async fn both_versions(secrets: &[(&str, Value)]) -> OpenBao {
    let bao = OpenBao::dev().await;
    bao.mount_kv_v1("kv1").await;
    for (path, secret) in secrets {
        bao.kv_put("secret", path, secret.clone()).await;
        bao.write(&format!("kv1/{path}"), secret.clone()).await;
    }
    bao
}

#[tokio::test]
async fn whole_and_nested_secrets_fill_maps_structs_and_boxes() {
    let flat = json!({ "b": "2", "a": "1" });
    let deep = json!({
        "name": "billing",
        "database": { "host": "db", "port": "5432", "verify": true },
        "replicas": [{ "host": "r1", "port": 1 }, { "host": "r2", "port": 2, "verify": "yes" }],
        "weights": { "r1": 0.25, "r2": "0.75" },
        "note": null,
    });
    let bao = both_versions(&[("flat", flat), ("deep", deep)]).await;
    bao.kv_put("secret", "empty", json!({})).await;
    // Version 1 stores no secret without a key.
    bao.write("kv1/empty", json!({ "spare": "" })).await;
    for mount in ["secret", "kv1"] {
        let loader = token_loader::<Shapes>(bao.address(), bao.root_token()).var("mount", mount);
        let read = loader.load().await.unwrap();
        assert_eq!(read.by_hash["a"].expose_secret(), "1");
        assert_eq!(read.by_order.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(read.perhaps["b"].as_ref().unwrap().expose_secret(), "2");
        let service = read.service.expose_secret();
        assert_eq!(service.database, Database { host: "db".into(), port: 5432, verify: true });
        assert_eq!(service.replicas, *read.replicas.expose_secret());
        assert!(service.replicas[1].verify && !service.replicas[0].verify);
        assert_eq!(service.weights, BTreeMap::from([("r1".into(), 0.25), ("r2".into(), 0.75)]));
        assert_eq!((service.name.as_str(), &service.note), ("billing", &None));
        assert_eq!(service.database, *read.database.expose_secret());
        assert_eq!(read.weights["r1"].expose_secret(), "0.25");
        assert_eq!(read.empty.len(), usize::from(mount == "kv1"));
        assert!(read.none.is_none());
        assert!(!format!("{read:?}").contains("5432"), "{read:?}");
    }
}

#[derive(Debug, VaultConfig)]
#[vault(kv = "odd", mount = "{mount}")]
struct OddKeys {
    #[vault(kv, key = "a.b")]
    dot: SecretString,
    #[vault(kv, key = "a-b")]
    dash: SecretString,
    #[vault(kv, key = "a b")]
    space: SecretString,
    #[vault(kv, key = "a/b")]
    slash: SecretString,
    #[vault(kv, key = "a#b")]
    hash: SecretString,
    #[vault(kv, key = "\"a\"")]
    quotes: SecretString,
    #[vault(kv, key = "{a}")]
    braces: SecretString,
    #[vault(kv, key = "schlüssel")]
    umlaut: SecretString,
    #[vault(kv, key = "鍵🔑")]
    beyond: SecretString,
    #[vault(kv, key = "0")]
    digit: SecretString,
    #[vault(kv, key = "A.B")]
    capitals: SecretString,
    #[vault(kv, key = "a.b.c")]
    absent: Option<SecretString>,
}

const ODD_KEYS: [&str; 11] =
    ["a.b", "a-b", "a b", "a/b", "a#b", "\"a\"", "{a}", "schlüssel", "鍵🔑", "0", "A.B"];

#[tokio::test]
async fn a_key_is_any_text() {
    let secret: Value = ODD_KEYS.iter().map(|key| (key.to_string(), Value::from(*key))).collect();
    let bao = both_versions(&[("odd", secret)]).await;
    for mount in ["secret", "kv1"] {
        let loader = token_loader::<OddKeys>(bao.address(), bao.root_token()).var("mount", mount);
        let read = loader.load().await.unwrap();
        let found = [
            &read.dot,
            &read.dash,
            &read.space,
            &read.slash,
            &read.hash,
            &read.quotes,
            &read.braces,
            &read.umlaut,
            &read.beyond,
            &read.digit,
            &read.capitals,
        ];
        assert_eq!(found.map(ExposeSecret::expose_secret), ODD_KEYS, "{mount}");
        assert!(read.absent.is_none());
    }
    assert_eq!(request_count(&bao, "secret/data/odd"), 1);
}

#[derive(Debug, VaultConfig)]
struct Anywhere {
    #[vault(kv = "team/{path}/app", mount = "{mount}", key = "here")]
    here: SecretString,
    #[vault(read = "cubbyhole/{path}", key = "here")]
    cubbyhole: SecretString,
}

#[derive(Debug, VaultConfig)]
struct Literal {
    #[vault(kv = "team/with space/app")]
    here: SecretString,
    #[vault(kv = "team/100%/app", key = "here")]
    percent: SecretString,
    #[vault(kv = "team/a+b/app", key = "here")]
    plus: SecretString,
    #[vault(kv = "team/größe/app", key = "here")]
    umlaut: SecretString,
    #[vault(kv = "team/a%2Fb/app", key = "here")]
    encoded: SecretString,
}

const ODD_SEGMENTS: [&str; 14] = [
    "with space",
    "100%",
    "a%20b",
    "a%2Fb",
    "%2e%2e",
    "a?b=c",
    "a#b",
    "a+b",
    "a&b=c;d",
    "größe",
    "秘密🔑",
    "a\\b",
    "a:b@c",
    "~a!$'()*,",
];

/// The path as it stands in an address.
fn encoded(path: &str) -> String {
    let mut url = Url::parse("http://host").unwrap();
    url.path_segments_mut().unwrap().extend(path.split('/'));
    url.path()[1..].to_owned()
}

#[tokio::test]
async fn a_path_is_sent_as_declared() {
    let bao = OpenBao::dev().await;
    bao.mount_kv_v1("kv1").await;
    bao.mount_kv_v2("groups/odd+kv").await;
    for segment in ODD_SEGMENTS {
        let secret = json!({ "here": segment });
        let path = format!("team/{}/app", encoded(segment));
        bao.kv_put("secret", &path, secret.clone()).await;
        bao.kv_put("groups/odd+kv", &path, secret.clone()).await;
        bao.write(&format!("kv1/{path}"), secret.clone()).await;
        bao.write(&format!("cubbyhole/{}", encoded(segment)), secret).await;
    }
    // The server itself distinguishes the segments.
    let listed = bao.try_request("LIST", "secret/metadata/team", None, bao.root_token()).await.1;
    assert_eq!(listed["data"]["keys"].as_array().unwrap().len(), ODD_SEGMENTS.len(), "{listed}");
    for segment in ODD_SEGMENTS {
        for mount in ["secret", "kv1", "groups/odd+kv"] {
            let loader = token_loader::<Anywhere>(bao.address(), bao.root_token());
            let read = loader.var("path", segment).var("mount", mount).load().await;
            let read = read.unwrap_or_else(|error| panic!("{mount} {segment}: {error}"));
            assert_eq!(read.here.expose_secret(), segment, "{mount}");
            assert_eq!(read.cubbyhole.expose_secret(), segment);
        }
    }
    let read = as_allowed::<Literal>(&bao).await.unwrap();
    let found = [&read.here, &read.percent, &read.plus, &read.umlaut, &read.encoded];
    let wanted = ["with space", "100%", "a+b", "größe", "a%2Fb"];
    assert_eq!(found.map(ExposeSecret::expose_secret), wanted);
}

#[derive(Debug, VaultConfig)]
struct Moving {
    #[vault(kv = "team/{path}/app", refresh = "1s")]
    here: SecretString,
}

#[tokio::test]
async fn what_changes_at_an_odd_path_is_seen() {
    let bao = OpenBao::dev().await;
    let odd = "100% a?b#c+d%20größe";
    let path = format!("team/{}/app", encoded(odd));
    bao.kv_put("secret", &path, json!({ "here": "one" })).await;
    let loader = token_loader::<Moving>(bao.address(), bao.root_token()).var("path", odd);
    let live = loader.watch().await.unwrap();
    let mut subscription = live.subscribe();
    bao.clear_audit();
    bao.kv_put("secret", &path, json!({ "here": "two" })).await;
    let changed = tokio::time::timeout(Duration::from_secs(30), subscription.changed()).await;
    assert_eq!(changed.unwrap().unwrap().here.expose_secret(), "two");
    assert!(request_count(&bao, &format!("secret/metadata/team/{odd}/app")) > 0);
}

#[derive(Debug, VaultConfig)]
#[vault(kv = "many")]
struct Many {
    #[vault(kv = "many", whole)]
    all: BTreeMap<String, SecretString>,
    #[vault(kv)]
    key_0: SecretString,
    #[vault(kv)]
    key_1: SecretString,
    #[vault(kv)]
    key_2: SecretString,
    #[vault(kv)]
    key_123: SecretString,
    #[vault(kv)]
    key_500: SecretString,
    #[vault(kv)]
    key_501: SecretString,
    #[vault(kv)]
    key_777: SecretString,
    #[vault(kv)]
    key_998: SecretString,
    #[vault(kv)]
    key_999: SecretString,
    #[vault(kv)]
    key_1000: Option<SecretString>,
}

/// The server takes no more than a thousand texts at once, so that a large secret is patched.
pub(crate) async fn put_many(bao: &OpenBao, count: usize) {
    bao.kv_put("secret", "many", json!({})).await;
    let client = client_builder().no_proxy().build().unwrap();
    for begin in (0..count).step_by(250) {
        let keys = begin..count.min(begin + 250);
        let part: Value =
            keys.map(|n| (format!("key_{n}"), Value::from(format!("value {n}")))).collect();
        let answer = client
            .patch(format!("{}/v1/secret/data/many", bao.address()))
            .header("X-Vault-Token", bao.root_token())
            .header("Content-Type", "application/merge-patch+json")
            .body(json!({ "data": part }).to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
    }
    bao.clear_audit();
}

#[tokio::test]
async fn a_thousand_keys_are_one_request() {
    let bao = OpenBao::dev().await;
    put_many(&bao, 1000).await;
    let read = as_allowed::<Many>(&bao).await.unwrap();
    assert_eq!(read.all.len(), 1000);
    for n in 0..1000 {
        assert_eq!(read.all[&format!("key_{n}")].expose_secret(), format!("value {n}"));
    }
    let single = [&read.key_0, &read.key_1, &read.key_2, &read.key_123, &read.key_500];
    let numbers = [0, 1, 2, 123, 500].map(|n| format!("value {n}"));
    assert_eq!(single.map(ExposeSecret::expose_secret), numbers);
    let single = [&read.key_501, &read.key_777, &read.key_998, &read.key_999];
    let numbers = [501, 777, 998, 999].map(|n| format!("value {n}"));
    assert_eq!(single.map(ExposeSecret::expose_secret), numbers);
    assert!(read.key_1000.is_none());
    assert_eq!(request_count(&bao, "secret/data/many"), 1);
}

#[derive(Debug, VaultConfig)]
struct Config {
    #[vault(kv = "app")]
    password: SecretString,
}

#[tokio::test]
async fn to_look_around_a_secret_is_not_to_read_it() {
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "app", json!({ "password": "hunter2" })).await;
    let by_its_metadata = after_a_look(&bao, "secret/metadata/app").await;
    let by_its_keys = after_a_look(&bao, "secret/subkeys/app").await;
    assert_eq!(by_its_metadata, by_its_keys);
    assert_snapshot!(by_its_keys, @r#"
    vault kv secret/app: permission denied (HTTP 403)
    help: add this to a policy of the token:
      path "secret/data/app" {
        capabilities = ["read"]
      }
    "#);
}

/// The error for a token that may read this and nothing else.
async fn after_a_look(bao: &OpenBao, path: &str) -> String {
    bao.policy("around", &format!(r#"path "{path}" {{ capabilities = ["read"] }}"#)).await;
    let token = bao.token(&["around"], json!({})).await;
    assert_eq!(bao.try_request("GET", path, None, &token).await.0, 200);
    let error = token_loader::<Config>(bao.address(), &token).load().await.unwrap_err();
    problems(&error, ErrorKind::Denied)
}

//! Structs in structs.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde_json::json;
use vault_config::figment::Figment;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{DatabaseCredentials, Error, ErrorKind, Loader, Mode, Problem, VaultConfig};
use vault_config_tests::OpenBao;

use crate::support::{NOTHING, dotenv, field_kinds, root, toml, with};

fn local<T: VaultConfig>() -> Loader<T> {
    T::loader().mode(Mode::Local).without_dotenv().env_source(NOTHING)
}

async fn from_vault<T: VaultConfig>(bao: &OpenBao) -> Result<T, Error> {
    T::loader().without_dotenv().env_source(root(bao)).load().await
}

/// The paths of the reads since the log was cleared, sorted.
fn paths(bao: &OpenBao) -> Vec<String> {
    let mut paths: Vec<_> = bao.audit_requests().into_iter().map(|request| request.path).collect();
    paths.sort();
    bao.clear_audit();
    paths
}

// ===== paths and mounts from the structs around =====

#[derive(Debug, VaultConfig)]
#[vault(kv = "outer")]
struct Outer {
    #[vault(kv)]
    own: SecretString,
    #[vault(nested, kv = "given")]
    given: NoPath,
    #[vault(nested)]
    keeps: OwnPath,
    #[vault(nested, kv = "over")]
    over: OwnPath,
    #[vault(nested)]
    through: Through,
}

#[derive(Debug, VaultConfig)]
struct NoPath {
    #[vault(kv, key = "own")]
    value: SecretString,
}

#[derive(Debug, VaultConfig)]
#[vault(kv = "inner")]
struct OwnPath {
    #[vault(kv, key = "own")]
    value: SecretString,
    #[vault(kv = "exact", key = "own")]
    exact: SecretString,
}

#[derive(Debug, VaultConfig)]
struct Through {
    #[vault(nested, kv = "deep")]
    a: NoPath,
}

/// A struct's path is for its own fields.
#[derive(Debug, VaultConfig)]
#[vault(kv = "outer")]
struct NotInherited {
    #[vault(kv)]
    own: SecretString,
    #[vault(nested)]
    pathless: NoPath,
}

#[tokio::test]
async fn a_bare_kv_takes_the_nearest_path() {
    let bao = OpenBao::dev().await;
    for path in ["outer", "given", "inner", "over", "exact", "deep"] {
        bao.kv_put("secret", path, json!({"own": path})).await;
    }
    bao.clear_audit();
    let read: Outer = from_vault(&bao).await.unwrap();
    let values = [
        (&read.own, "outer"),
        (&read.given.value, "given"),
        (&read.keeps.value, "inner"),
        (&read.keeps.exact, "exact"),
        (&read.over.value, "over"),
        (&read.over.exact, "exact"),
        (&read.through.a.value, "deep"),
    ];
    for (secret, path) in values {
        assert_eq!(secret.expose_secret(), path);
    }
    let distinct = ["deep", "exact", "given", "inner", "outer", "over"];
    assert_eq!(paths(&bao), distinct.map(|path| format!("secret/data/{path}")));
    let error = from_vault::<NotInherited>(&bao).await.unwrap_err();
    assert_eq!(field_kinds(&error), [("pathless.value", ErrorKind::Schema)]);
    bao.clear_audit();
    let both = [("OWN", "x"), ("PATHLESS_VALUE", "y")];
    let read = local::<NotInherited>().env_source(both).load().await.unwrap();
    assert_eq!((read.own.expose_secret(), read.pathless.value.expose_secret()), ("x", "y"));
    // On its own it has no path: a problem of Vault mode, and of no other.
    let error = from_vault::<NoPath>(&bao).await.unwrap_err();
    assert_eq!(field_kinds(&error), [("value", ErrorKind::Schema)]);
    assert_eq!(paths(&bao), [""; 0]);
    let read = local::<NoPath>().env_source([("VALUE", "x")]).load().await.unwrap();
    assert_eq!(read.value.expose_secret(), "x");
}

#[derive(Debug, VaultConfig)]
#[vault(mount = "team")]
struct Mounted {
    #[vault(kv = "app", key = "x")]
    of_struct: SecretString,
    #[vault(kv = "app", key = "x", mount = "secret")]
    own: SecretString,
    #[vault(nested)]
    nested: InMount,
    #[vault(nested, mount = "given/deep")]
    given: InMount,
    #[vault(nested, mount = "secret")]
    over: OwnMount,
    #[vault(nested)]
    keeps: OwnMount,
    /// Nothing of a KV mount concerns a database.
    #[vault(database = "role")]
    database: Option<DatabaseCredentials>,
}

#[derive(Debug, VaultConfig)]
struct InMount {
    #[vault(kv = "app", key = "x")]
    value: SecretString,
}

#[derive(Debug, VaultConfig)]
#[vault(mount = "own")]
struct OwnMount {
    #[vault(kv = "app", key = "x")]
    value: SecretString,
}

#[tokio::test]
async fn a_mount_is_the_fields_or_the_structs_own() {
    let bao = OpenBao::dev().await;
    for mount in ["team", "given/deep", "own"] {
        bao.mount_kv_v2(mount).await;
    }
    for mount in ["secret", "team", "given/deep", "own"] {
        bao.kv_put(mount, "app", json!({"x": mount})).await;
    }
    bao.mount_kv_v1("database").await;
    bao.clear_audit();
    let read: Mounted = from_vault(&bao).await.unwrap();
    let values = [
        (&read.of_struct, "team"),
        (&read.own, "secret"),
        (&read.nested.value, "secret"),
        (&read.given.value, "given/deep"),
        (&read.over.value, "secret"),
        (&read.keeps.value, "own"),
    ];
    for (secret, mount) in values {
        assert_eq!(secret.expose_secret(), mount);
    }
    assert!(read.database.is_none());
    let wanted = [
        "database/creds/role",
        "given/deep/data/app",
        "own/data/app",
        "secret/data/app",
        "team/data/app",
    ];
    assert_eq!(paths(&bao), wanted);
}

// ===== optional and boxed structs =====

#[derive(Debug, VaultConfig)]
struct WithOptional {
    #[vault(nested)]
    smtp: Option<Smtp>,
    #[vault(nested)]
    boxed: Option<Box<Boxed>>,
    after: u16,
}

#[derive(Debug, VaultConfig)]
#[vault(validate = known_host)]
struct Smtp {
    host: String,
    #[vault(default = 25)]
    port: u16,
    #[vault(kv = "smtp")]
    password: SecretString,
    user: Option<String>,
}

fn known_host(smtp: &Smtp) -> Result<(), String> {
    if smtp.host == "bad" { Err(format!("{} is no host", smtp.host)) } else { Ok(()) }
}

#[derive(Debug, VaultConfig)]
struct Boxed {
    name: String,
    #[vault(nested)]
    inner: Box<NoPath>,
}

#[tokio::test]
async fn an_optional_struct_is_none_when_nothing_of_it_is_set() {
    let both =
        "smtp = { host = 'h', password = 'p' }\nboxed = { name = 'n', inner = { value = 'v' } }";
    for (variables, layer, wanted) in [
        (&[][..], "", Ok((None, None))),
        (&[("SMTP_HOST", "")], "smtp = {}", Ok((None, None))),
        (&[], both, Ok((Some(25), Some("v")))),
        (&[("SMTP_HOST", "h"), ("SMTP_PASSWORD", "p")], "", Ok((Some(25), None))),
        (&[("SMTP_HOST", "h")], "", Err(vec![("smtp.password", ErrorKind::Missing)])),
        // A field that may be absent, once there, wants the others.
        (
            &[("SMTP_PORT", "26")],
            "",
            Err(vec![("smtp.host", ErrorKind::Missing), ("smtp.password", ErrorKind::Missing)]),
        ),
        (
            &[("SMTP_USER", "u")],
            "boxed = { name = 'n' }",
            Err(vec![
                ("smtp.host", ErrorKind::Missing),
                ("smtp.password", ErrorKind::Missing),
                ("boxed.inner.value", ErrorKind::Missing),
            ]),
        ),
        (
            &[("SMTP_PORT", "x"), ("SMTP_HOST", "h"), ("SMTP_PASSWORD", "p")],
            "",
            Err(vec![("smtp.port", ErrorKind::WrongType)]),
        ),
        (
            &[("SMTP_HOST", "bad"), ("SMTP_PASSWORD", "p")],
            "",
            Err(vec![("smtp", ErrorKind::Invalid)]),
        ),
    ] {
        let variables: Vec<_> = variables.iter().copied().chain([("AFTER", "7")]).collect();
        let loader = local::<WithOptional>().env_source(variables.clone()).figment(toml(layer));
        match (loader.load_with_report().await, wanted) {
            (Ok((read, report)), Ok((port, value))) => {
                // The fields after an absent struct are still their own.
                assert_eq!(read.after, 7);
                assert_eq!(read.smtp.as_ref().map(|smtp| smtp.port), port, "{variables:?} {layer}");
                assert!(read.smtp.is_none_or(|smtp| smtp.user.is_none()));
                let names = read.boxed.as_ref().map(|boxed| boxed.name.as_str());
                assert_eq!(names, value.map(|_| "n"));
                let inner = read.boxed.as_ref().map(|boxed| boxed.inner.value.expose_secret());
                assert_eq!(inner, value, "{variables:?} {layer}");
                assert_eq!(report.fields().count(), 7);
            }
            (Err(error), Err(wanted)) => {
                assert_eq!(field_kinds(&error), wanted, "{variables:?} {layer}")
            }
            (read, _) => panic!("{variables:?} {layer}: {read:?}"),
        }
    }
}

#[tokio::test]
async fn an_optional_struct_in_vault_mode() {
    let bao = OpenBao::dev().await;
    let load = async |variables: &[(&str, &str)], token: &str| {
        let all = with(with(root(&bao), &[("VAULT_TOKEN", token), ("AFTER", "7")]), variables);
        OptionalInVault::loader().without_dotenv().env_source(all).load().await
    };
    let powerless = bao.token(&["default"], json!({})).await;
    let token = bao.root_token();
    assert!(load(&[], token).await.unwrap().smtp.is_none());
    let error = load(&[("SMTP_HOST", "h")], token).await.unwrap_err();
    assert_eq!(field_kinds(&error), [("smtp.password", ErrorKind::PathAbsent)]);
    // What cannot be read is not known to be absent.
    let error = load(&[], &powerless).await.unwrap_err();
    assert_eq!(
        field_kinds(&error),
        [("smtp.password", ErrorKind::Denied)],
        "the host is not asked for"
    );
    bao.kv_put("secret", "smtp", json!({"password": "p"})).await;
    let error = load(&[], token).await.unwrap_err();
    assert_eq!(field_kinds(&error), [("smtp.host", ErrorKind::Missing)]);
    let read = load(&[("SMTP_HOST", "h")], token).await.unwrap();
    assert_eq!((read.smtp.unwrap().password.expose_secret(), read.after), ("p", 7));
}

#[derive(Debug, VaultConfig)]
struct OptionalInVault {
    #[vault(nested)]
    smtp: Option<Smtp>,
    after: u16,
}

// ===== depth and generics =====

#[derive(Debug, VaultConfig)]
#[vault(env_prefix = "APP")]
struct Generic<T, U>
where
    T: Debug,
{
    #[vault(nested)]
    one: T,
    #[vault(nested)]
    two: Option<T>,
    plain: Vec<U>,
}

#[derive(Debug, VaultConfig)]
struct Level<T> {
    #[vault(nested)]
    down: T,
    number: u16,
}

#[tokio::test]
async fn three_levels_and_generic_structs() {
    type Deep = Generic<Level<Level<NoPath>>, u8>;
    let variables = [
        ("APP_ONE_DOWN_DOWN_VALUE", "v"),
        ("APP_ONE_DOWN_NUMBER", "2"),
        ("APP_ONE_NUMBER", "1"),
        ("APP_PLAIN", "[1, 2]"),
    ];
    let read = local::<Deep>().env_source(variables).load().await.unwrap();
    assert_eq!((read.one.number, read.one.down.number), (1, 2));
    assert_eq!(read.one.down.down.value.expose_secret(), "v");
    assert!(read.two.is_none());
    assert_eq!(read.plain, [1, 2]);
    let file =
        "plain = [1]\n[one]\nnumber = 1\n[one.down]\nnumber = 2\n[one.down.down]\nvalue = 'file'\n";
    let read = local::<Deep>().figment(toml(file)).load().await.unwrap();
    assert_eq!(read.one.down.down.value.expose_secret(), "file");
    let error =
        local::<Deep>().env_source([("APP_TWO_DOWN_NUMBER", "2")]).load().await.unwrap_err();
    let fields: Vec<_> = error.problems().iter().filter_map(Problem::field).collect();
    let wanted = [
        "one.down.down.value",
        "one.down.number",
        "one.number",
        "two.down.down.value",
        "two.number",
        "plain",
    ];
    assert_eq!(fields, wanted);
}

// ===== validators =====

#[derive(Debug, VaultConfig)]
#[vault(validate = Self::check)]
struct Validated {
    #[vault(validate = odd)]
    number: u16,
    #[vault(kv = "x", validate = quotes)]
    secret: SecretString,
    #[vault(kv = "x", validate = quotes_all, default = Vec::new())]
    secrets: Vec<SecretString>,
    #[vault(nested)]
    inner: ValidatedInner,
    #[vault(default = false)]
    fails: bool,
}

impl Validated {
    fn check(&self) -> Result<(), String> {
        if self.fails {
            Err(format!("{} does not go with {}", self.secret.expose_secret(), self.number))
        } else {
            Ok(())
        }
    }
}

#[derive(Debug, VaultConfig)]
struct ValidatedInner {
    #[vault(nested)]
    range: Range,
    #[vault(nested)]
    after: Option<Range>,
}

#[derive(Debug, VaultConfig)]
#[vault(validate = ordered)]
struct Range {
    from: u16,
    to: u16,
}

fn odd(number: &u16) -> Result<(), String> {
    if number % 2 == 1 { Ok(()) } else { Err(format!("{number} is even")) }
}

fn quotes(secret: &SecretString) -> Result<(), String> {
    let text = secret.expose_secret();
    match text.trim() {
        "fine" => Ok(()),
        text if text.contains('\n') => Err(format!("{text:?} has several lines")),
        "unquoted" => Err("it is not fine".to_owned()),
        text => Err(format!("{text} is not fine")),
    }
}

fn quotes_all(secrets: &[SecretString]) -> Result<(), String> {
    let last = secrets.last().map(ExposeSecret::expose_secret);
    last.map_or(Ok(()), |last| Err(format!("{last} is one too many")))
}

fn ordered(range: &Range) -> Result<(), String> {
    if range.from <= range.to {
        Ok(())
    } else {
        Err(format!("{} is after {}", range.from, range.to))
    }
}

#[tokio::test]
async fn validators_speak_for_their_field_and_never_quote_a_secret() {
    const WITHHELD: &str =
        "the validator refused the value (its message is withheld: it repeats the value)";
    let good =
        [("NUMBER", "1"), ("SECRET", "fine"), ("INNER_RANGE_FROM", "1"), ("INNER_RANGE_TO", "2")];
    let load = |changes: &[(&'static str, &'static str)]| {
        let variables: BTreeMap<_, _> = good.into_iter().chain(changes.iter().copied()).collect();
        local::<Validated>().env_source(variables).load()
    };
    let read = load(&[]).await.unwrap();
    assert_eq!((read.number, read.inner.range.to, read.fails), (1, 2, false));
    assert!(read.secrets.is_empty() && read.inner.after.is_none());
    for (changes, wanted) in [
        (&[("NUMBER", "2")][..], &[("number", "2 is even")][..]),
        (&[("SECRET", "unquoted")], &[("secret", "it is not fine")]),
        (&[("SECRET", "hunter2")], &[("secret", WITHHELD)]),
        (&[("SECRET", " hunter2\n")], &[("secret", WITHHELD)]),
        (&[("SECRET", "hunter2\n\"hunter3")], &[("secret", WITHHELD)]),
        (&[("SECRETS", "[\"x-y-z\", \"hunter2\"]")], &[("secrets", WITHHELD)]),
        (&[("INNER_RANGE_FROM", "3")], &[("inner.range", "3 is after 2")]),
        (
            &[("INNER_AFTER_FROM", "9"), ("INNER_AFTER_TO", "8"), ("NUMBER", "4")],
            &[("number", "4 is even"), ("inner.after", "9 is after 8")],
        ),
        (&[("FAILS", "true")], &[("-", "fine does not go with 1")]),
    ] {
        let error = load(changes).await.unwrap_err();
        let messages: Vec<_> =
            error.problems().iter().map(|p| (p.field().unwrap_or("-"), p.message())).collect();
        // A struct's own validator may quote a secret just as well.
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(field, message)| {
                (*field, if message.starts_with("fine") { WITHHELD } else { *message })
            })
            .collect();
        assert_eq!(messages, wanted, "{changes:?}");
        assert!(
            error.problems().iter().all(|problem| problem.kind() == ErrorKind::Invalid),
            "{error}"
        );
        assert!(!format!("{error}{error:?}").contains("hunter2"), "{error}");
    }
    let error = load(&[("INNER_RANGE_FROM", "3")]).await.unwrap_err();
    assert_eq!(error.problems()[0].type_name(), Some("Range"));
}

// ===== defaults of the struct =====

#[derive(Debug, PartialEq, VaultConfig)]
#[serde(default)]
struct Defaulted {
    host: String,
    #[vault(default = 7)]
    port: u16,
    name: Option<String>,
}

impl Default for Defaulted {
    fn default() -> Self {
        Self { host: "from default".into(), port: 1, name: Some("default".into()) }
    }
}

#[derive(Debug, VaultConfig)]
#[serde(default = "Self::of_nothing")]
struct Made {
    #[vault(kv = "nothing")]
    secret: SecretString,
    number: u16,
}

impl Made {
    fn of_nothing() -> Self {
        Self { secret: "made".into(), number: 3 }
    }
}

#[tokio::test]
async fn a_structs_default_serves_its_fields() {
    let read = local::<Defaulted>().load().await.unwrap();
    assert_eq!(read, Defaulted { port: 7, ..Defaulted::default() });
    let read =
        local::<Defaulted>().env_source([("HOST", "env"), ("NAME", "env")]).load().await.unwrap();
    assert_eq!(read, Defaulted { host: "env".into(), port: 7, name: Some("env".into()) });
    let bao = OpenBao::dev().await;
    let read: Made = from_vault(&bao).await.unwrap();
    assert_eq!((read.secret.expose_secret(), read.number), ("made", 3));
}

// ===== many fields =====

macro_rules! many {
    ($($name:ident)*) => {
        #[derive(Debug, VaultConfig)]
        #[vault(kv = "many")]
        struct Many {
            $(#[vault(kv)] $name: SecretString,)*
        }

        impl Many {
            const NAMES: &[&str] = &[$(stringify!($name)),*];

            fn values(&self) -> Vec<&str> {
                vec![$(self.$name.expose_secret()),*]
            }
        }
    };
}

many! {
    a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 b0 b1 b2 b3 b4 b5 b6 b7 b8 b9 c0 c1 c2 c3 c4 c5 c6 c7 c8 c9
    d0 d1 d2 d3 d4 d5 d6 d7 d8 d9 e0 e1 e2 e3 e4 e5 e6 e7 e8 e9 f0 f1 f2 f3 f4 f5 f6 f7 f8 f9
    g0 g1 g2 g3 g4 g5 g6 g7 g8 g9 h0 h1 h2 h3 h4 h5 h6 h7 h8 h9 i0 i1 i2 i3 i4 i5 i6 i7 i8 i9
    j0 j1 j2 j3 j4 j5 j6 j7 j8 j9 k0 k1 k2 k3 k4 k5 k6 k7 k8 k9 l0 l1 l2 l3 l4 l5 l6 l7 l8 l9
}

#[tokio::test]
async fn a_hundred_and_twenty_fields() {
    assert_eq!(Many::NAMES.len(), 120);
    let bao = OpenBao::dev().await;
    let secret: BTreeMap<_, _> =
        Many::NAMES.iter().map(|name| (*name, format!("value of {name}"))).collect();
    bao.kv_put("secret", "many", json!(secret)).await;
    bao.clear_audit();
    let read: Many = from_vault(&bao).await.unwrap();
    assert_eq!(read.values(), secret.values().collect::<Vec<_>>());
    assert_eq!(paths(&bao), ["secret/data/many"]);
    bao.kv_put("secret", "many", json!({"a0": "x"})).await;
    let error = from_vault::<Many>(&bao).await.unwrap_err();
    assert_eq!(error.problems().len(), 119);
    let error = local::<Many>().figment(Figment::new()).load().await.unwrap_err();
    assert_eq!(error.problems().len(), 120);
    let file = dotenv(
        &Many::NAMES
            .iter()
            .map(|name| format!("{}={name}\n", name.to_uppercase()))
            .collect::<String>(),
    );
    let read = local::<Many>().dotenv(file.to_path_buf()).load().await.unwrap();
    assert_eq!(read.values(), Many::NAMES);
}

//! The report: where every field came from, and which keys no field takes.

use std::collections::BTreeMap;

use figment::Figment;
use figment::providers::{Format as _, Json, Toml};
use serde_json::json;
use vault_config::secrecy::SecretString;
use vault_config::{DatabaseCredentials, ErrorKind, Mode, Provenance, VaultConfig};
use vault_config_tests::{ScriptedAnswer, ScriptedServer};

use super::Modal;
use crate::support::{NOTHING, dotenv, field_kinds, toml};

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
        ("nowhere", "  absent (None)".to_owned()),
        ("versioned", "  vault kv secret/app#v2 (version 7)".to_owned()),
        ("leased", "  vault read leased/creds#password (valid for 3600 s)".to_owned()),
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
    assert_eq!(field_kinds(&error), [("-", ErrorKind::UnknownKey)]);
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

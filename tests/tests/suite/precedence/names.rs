//! The names of variables, pairs, and variables in paths.

use std::collections::BTreeMap;

use figment::Figment;
use serde_json::json;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{DatabaseCredentials, ErrorKind, Mode, Problem, Provenance, VaultConfig};
use vault_config_tests::OpenBao;

use crate::support::{NOTHING, dotenv, field_kinds, root, toml, with};

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
        // Half a pair is never completed from another source.
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
                assert_eq!(field_kinds(&error), [("db", kind)], "{case}");
                assert!(error.problems()[0].message().contains(message), "{case}: {error}");
                assert!(!error.to_string().contains("hunter2"), "{error}");
            }
            (read, _) => panic!("{case}: {read:?}"),
        }
    }
}

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
    assert_eq!(field_kinds(&error), unset, "without a figment no profile is chosen");
    let loader = || Placed::loader().without_dotenv().figment(Figment::new());
    let error = loader().env_source(root(&bao)).load().await.unwrap_err();
    assert_eq!(field_kinds(&error), [("at", ErrorKind::Variable)]);
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
        assert_eq!(
            field_kinds(&error),
            fields.map(|field| (field, ErrorKind::Variable)),
            "{value:?}"
        );
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

//! The table of sources, cell by cell, and that no local value takes the place of a secret.

use std::time::Duration;

use serde_json::json;
use tempfile::TempPath;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{Error, ErrorKind, Loader, Mode, Problem, Provenance, VaultConfig};
use vault_config_tests::{OpenBao, ScriptedAnswer, ScriptedServer};

use self::Source::{Env, File};
use super::{Covered, Required, VARIABLES, revealed};
use crate::support::{dotenv, field_kinds, pairs, root, toml, with};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Env,
    Dotenv,
    File,
    Vault,
}

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

/// The sources of a field, in order: the table of the design.
fn order(marked: bool, mode: Mode) -> &'static [Source] {
    match (marked, mode) {
        (true, Mode::Vault) => &[Env, Source::Vault],
        _ => &[Env, Source::Dotenv, File],
    }
}

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
                Err(error) => assert_eq!(field_kinds(&error), missing, "{case}"),
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

/// Every field has a value in `.env` and in a file. In Vault mode no field may fall back to them.
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
        assert_eq!(field_kinds(&error), [("secret", kind)], "absence is covered: {path}");
        let read = with_a_fallback_at_hand::<FailingCovered>(path, as_root()).await.unwrap();
        assert!(read.optional.is_none(), "{path}");
        assert_eq!(read.defaulted.expose_secret(), "default", "{path}");
    }

    let html = ScriptedAnswer::status(200).body("<html>hello</html>");
    let dataless = ScriptedAnswer::json(200, &json!({"lease_id": ""}));
    let broken = ScriptedAnswer::json(500, &json!({"errors": ["oh no"]}));
    let cut = ScriptedAnswer::raw("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{");
    let html = ScriptedServer::always(html).await;
    let dataless = ScriptedServer::always(dataless).await;
    let broken = ScriptedServer::always(broken).await;
    let cut = ScriptedServer::always(cut).await;
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

/// A name, an environment, and the kind of the problem where it is always the same.
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
        assert!(error.to_string().contains("Vault mode, because the program sets it"), "{error}");
    }
}

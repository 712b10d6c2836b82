//! What the environment overrides, and what an empty variable means.

use serde_json::json;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{DatabaseCredentials, ErrorKind, Mode, VaultConfig};
use vault_config_tests::{OpenBao, Postgres};

use super::{Covered, VARIABLES, revealed};
use crate::support::{dotenv, field_kinds, pairs, root, toml, with};

#[derive(Debug, VaultConfig)]
struct Overridden {
    #[vault(kv = "a")]
    a: SecretString,
    #[vault(kv = "b")]
    b: SecretString,
    #[vault(kv = "shared", key = "x")]
    shared_x: SecretString,
    #[vault(kv = "shared", key = "y")]
    shared_y: SecretString,
    #[vault(database = "readonly")]
    database: DatabaseCredentials,
    #[vault(read = "cubbyhole/c", key = "c")]
    read: SecretString,
}

const OVERRIDES: [(&str, &str); 7] = [
    ("B", "env"),
    ("SHARED_X", "env"),
    ("DATABASE_USERNAME", "user"),
    ("DATABASE_PASSWORD", "pass"),
    ("READ", "env"),
    ("A", "env"),
    ("SHARED_Y", "env"),
];

#[tokio::test]
async fn what_the_environment_overrides_is_not_fetched() {
    let (bao, postgres) = tokio::join!(OpenBao::dev(), Postgres::start());
    bao.connect_database(&postgres).await;
    bao.kv_put("secret", "a", json!({"a": "vault"})).await;
    bao.kv_put("secret", "b", json!({"b": "vault"})).await;
    bao.kv_put("secret", "shared", json!({"x": "vault", "y": "vault"})).await;
    bao.write("cubbyhole/c", json!({"c": "vault"})).await;
    let loader = || Overridden::loader().without_dotenv();
    let requested =
        || -> Vec<_> { bao.audit_requests().into_iter().map(|request| request.path).collect() };
    let leases = async || {
        let path = "sys/leases/lookup/database/creds/readonly";
        let (_, answer) = bao.try_request("LIST", path, None, bao.root_token()).await;
        answer["data"]["keys"].as_array().map_or(0, Vec::len)
    };
    bao.clear_audit();

    let read = loader().env_source(with(root(&bao), &OVERRIDES[..5])).load().await.unwrap();
    let values = [&read.a, &read.b, &read.shared_x, &read.shared_y, &read.read];
    assert_eq!(values.map(ExposeSecret::expose_secret), ["vault", "env", "env", "vault", "env"]);
    assert_eq!(
        (read.database.username(), read.database.password().expose_secret()),
        ("user", "pass")
    );
    let mut paths = requested();
    paths.sort();
    assert_eq!(paths, ["secret/data/a", "secret/data/shared"]);
    assert_eq!(leases().await, 0);

    // With nothing left to fetch, neither a server nor a login is needed.
    let unreachable = pairs(&[("VAULT_ADDR", "http://127.0.0.1:1")]);
    loader().env_source(with(unreachable, &OVERRIDES)).load().await.unwrap();

    // Where the environment may not override, it is not read.
    bao.clear_audit();
    let all = || with(root(&bao), &OVERRIDES);
    let read = loader().env_overrides(false).env_source(all()).load().await.unwrap();
    let values = [&read.a, &read.b, &read.shared_x, &read.shared_y, &read.read];
    assert!(values.into_iter().all(|value| value.expose_secret() == "vault"));
    assert_ne!(read.database.username(), "user");
    assert_eq!(requested().len(), 5);
    assert_eq!(leases().await, 1);
    bao.delete("secret/data/a").await;
    let error = loader().env_overrides(false).env_source(all()).load().await.unwrap_err();
    assert_eq!(field_kinds(&error), [("a", ErrorKind::Deleted)]);
    assert!(error.problems()[0].sources().is_empty(), "{error}");
    // In local mode the environment is all there is.
    let local =
        loader().env_overrides(false).mode(Mode::Local).env_source(OVERRIDES).load().await.unwrap();
    assert_eq!(local.a.expose_secret(), "env");
}

#[tokio::test]
async fn an_empty_variable_is_unset() {
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "full", json!({"secret": "of vault"})).await;
    let empty = VARIABLES.map(|name| (name, ""));
    let loader = || {
        Covered::loader().without_dotenv().var("where", "full").figment(toml("plain = 'of a file'"))
    };
    let read = loader().env_source(with(root(&bao), &empty)).load().await.unwrap();
    assert_eq!(revealed(&read.secret), Some("of vault"));
    assert_eq!(read.plain.as_deref(), Some("of a file"));
    assert_eq!(read.plain_too, "default");
    // `.env` is asked where the environment is empty, and a file where `.env` is.
    for line in ["APP_PLAIN=", "APP_PLAIN=''", "APP_PLAIN=\"\"", "APP_PLAIN"] {
        let file = dotenv(&format!(
            "{}\nAPP_PLAIN_TOO=dotenv\n",
            if line.contains('=') { line } else { "" }
        ));
        let loader = loader().mode(Mode::Local).dotenv(file.to_path_buf()).env_source(empty);
        let read = loader.load().await.unwrap();
        assert_eq!(read.plain.as_deref(), Some("of a file"), "{line}");
        assert_eq!(read.plain_too, "dotenv", "{line}");
    }
}

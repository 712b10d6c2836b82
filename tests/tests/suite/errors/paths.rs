//! Secrets, roles and mounts that are absent or denied.

use insta::assert_snapshot;
use serde_json::json;
use vault_config::secrecy::SecretString;
use vault_config::{DatabaseCredentials, ErrorKind, VaultConfig};
use vault_config_tests::{OpenBao, Postgres};

use super::{Config, failure, server, token_failure};
use crate::support::{field_kinds, problems};

#[tokio::test]
async fn an_absent_key_or_path_is_reported_with_what_exists() {
    let bao = server().await;
    let root = bao.root_token();

    #[derive(VaultConfig)]
    struct Key {
        #[vault(kv = "app", key = "pasword")]
        misspelt: SecretString,
        #[vault(kv = "app")]
        other: SecretString,
    }
    assert_snapshot!(problems(&token_failure::<Key>(bao.address(), root).await, ErrorKind::KeyAbsent), @r#"
    misspelt: SecretString
    vault kv secret/app#pasword: the secret (version 1) has no key "pasword"; its keys are password
    help: did you mean "password"? Write key = "password", or add the key "pasword"

    other: SecretString
    vault kv secret/app#other: the secret (version 1) has no key "other"; its keys are password
    help: add the key "other" to the secret, or name another with key = ".."
    "#);

    #[derive(VaultConfig)]
    struct Path {
        #[vault(kv = "no/such/path")]
        password: SecretString,
        #[vault(kv = "app", version = 9)]
        old: SecretString,
    }
    assert_snapshot!(problems(&token_failure::<Path>(bao.address(), root).await, ErrorKind::PathAbsent), @"
    password: SecretString
    vault kv secret/no/such/path: nothing is stored there; secret/ is KV version 2
    help: store it: vault kv put -mount=secret no/such/path ..; or correct the path

    old: SecretString
    vault kv secret/app?version=9: there is no version 9 of it, or nothing is stored there
    help: name an existing version: vault kv metadata get -mount=secret app; or remove `version` for the newest
    ");

    #[derive(VaultConfig)]
    struct Repeats {
        #[vault(kv = "secret/app")]
        mount: SecretString,
        #[vault(kv = "data/app")]
        data: SecretString,
        #[vault(kv = "secret/data/app")]
        both: SecretString,
    }
    assert_snapshot!(problems(&token_failure::<Repeats>(bao.address(), root).await, ErrorKind::PathAbsent), @r#"
    mount: SecretString
    vault kv secret/secret/app: nothing is stored there; secret/ is KV version 2
    help: the mount (and data/ in KV version 2) is added to the path: secret/data/secret/app was requested; did you mean kv = "app"?
      or store it: vault kv put -mount=secret secret/app ..; or correct the path

    data: SecretString
    vault kv secret/data/app: nothing is stored there; secret/ is KV version 2
    help: the mount (and data/ in KV version 2) is added to the path: secret/data/data/app was requested; did you mean kv = "app"?
      or store it: vault kv put -mount=secret data/app ..; or correct the path

    both: SecretString
    vault kv secret/secret/data/app: nothing is stored there; secret/ is KV version 2
    help: the mount (and data/ in KV version 2) is added to the path: secret/data/secret/data/app was requested; did you mean kv = "app"?
      or store it: vault kv put -mount=secret secret/data/app ..; or correct the path
    "#);
}

#[tokio::test]
async fn a_deleted_version_is_distinguished_from_a_path_that_never_existed() {
    let bao = server().await;
    for path in ["deleted", "destroyed"] {
        bao.kv_put("secret", path, json!({"password": "hunter2"})).await;
    }
    bao.delete("secret/data/deleted").await;
    bao.write("secret/destroy/destroyed", json!({"versions": [1]})).await;

    #[derive(VaultConfig)]
    struct Gone {
        #[vault(kv = "deleted", key = "password")]
        deleted: SecretString,
        #[vault(kv = "destroyed", key = "password")]
        destroyed: SecretString,
    }
    let error = token_failure::<Gone>(bao.address(), bao.root_token()).await;
    assert_eq!(error.problems()[1].kind(), ErrorKind::Destroyed);
    assert_snapshot!(problems(&error, ErrorKind::Deleted), @"
    deleted: SecretString
    vault kv secret/deleted: version 1 of the secret was deleted at TIME
    help: restore it: vault kv undelete -mount=secret -versions=1 deleted
      or write the secret again: vault kv put -mount=secret deleted ..

    destroyed: SecretString
    vault kv secret/destroyed: version 1 of the secret is destroyed
    help: write the secret again: vault kv put -mount=secret destroyed ..
    ");
}

#[tokio::test]
async fn kv_versions_and_mounts_are_not_confused() {
    let bao = server().await;
    bao.mount_kv_v1("kv1").await;
    bao.write("kv1/app", json!({"password": "hunter2"})).await;
    bao.mount("transit", "transit", json!({})).await;
    let root = bao.root_token();

    #[derive(VaultConfig)]
    struct Versions {
        #[vault(kv = "app", kv_version = 1)]
        one_for_two: SecretString,
        #[vault(kv = "app", mount = "kv1", kv_version = 2)]
        two_for_one: SecretString,
        #[vault(kv = "app", mount = "kv1", version = 3)]
        no_versions: SecretString,
    }
    assert_snapshot!(problems(&token_failure::<Versions>(bao.address(), root).await, ErrorKind::WrongKvVersion), @"
    one_for_two: SecretString
    vault kv secret/app: secret/ is KV version 2, but the field has kv_version = 1
    help: write kv_version = 2, or remove it: the version is then read from the server

    two_for_one: SecretString
    vault kv kv1/app: kv1/ is KV version 1, but the field has kv_version = 2
    help: write kv_version = 1, or remove it: the version is then read from the server

    no_versions: SecretString
    vault kv kv1/app?version=3: kv1/ is KV version 1, which keeps no versions of a secret
    help: remove `version`, or move the secret to a KV version 2 mount
    ");

    #[derive(VaultConfig)]
    struct Mounts {
        #[vault(kv = "app", mount = "nowhere")]
        absent: SecretString,
        #[vault(kv = "app", mount = "transit")]
        transit: SecretString,
        #[vault(database = "readonly")]
        database: DatabaseCredentials,
    }
    let error = token_failure::<Mounts>(bao.address(), root).await;
    assert_snapshot!(problems(&error, ErrorKind::WrongMount), @r#"
    absent: SecretString
    vault kv nowhere/app: no engine is mounted at nowhere/
    help: correct the mount with mount = "..", or enable an engine there: vault secrets enable -path=nowhere kv-v2

    transit: SecretString
    vault kv transit/app: transit/ is a transit engine, not KV
    help: name the KV engine's mount with mount = ".."

    database: DatabaseCredentials
    vault database/creds/readonly: no handler for route "database/creds/readonly". route entry not found. (HTTP 404)
    help: mount the engine, or correct the path
    "#);

    bao.policy("app", r#"path "secret/data/app" { capabilities = ["read"] }"#).await;
    let limited = bao.token(&["app"], json!({})).await;
    assert_snapshot!(problems(&token_failure::<Mounts>(bao.address(), &limited).await, ErrorKind::Denied), @r#"
    absent: SecretString
    vault kv nowhere/app: permission denied (HTTP 403)
    help: add this to a policy of the token:
      path "nowhere/data/app" {
        capabilities = ["read"]
      }
      or no engine is mounted at nowhere/: the server answers 403 for that too

    transit: SecretString
    vault kv transit/app: permission denied (HTTP 403)
    help: add this to a policy of the token:
      path "transit/data/app" {
        capabilities = ["read"]
      }
      or no engine is mounted at transit/: the server answers 403 for that too

    database: DatabaseCredentials
    vault database/creds/readonly: permission denied (HTTP 403)
    help: add this to a policy of the token:
      path "database/creds/readonly" {
        capabilities = ["read"]
      }
      or no engine is mounted there: the server answers 403 for that too
    "#);
}

#[tokio::test]
async fn a_denied_path_comes_with_the_policy_it_needs() {
    let bao = server().await;
    bao.policy("app", r#"path "secret/data/other" { capabilities = ["read"] }"#).await;
    let limited = bao.token(&["app"], json!({})).await;
    assert_snapshot!(problems(&token_failure::<Config>(bao.address(), &limited).await, ErrorKind::Denied), @r#"
    vault kv secret/app: permission denied (HTTP 403)
    help: add this to a policy of the token:
      path "secret/data/app" {
        capabilities = ["read"]
      }
    "#);

    // Denied is not absent: neither `Option` nor `default` covers it.
    #[derive(VaultConfig)]
    struct Covered {
        #[vault(kv = "app")]
        password: Option<SecretString>,
        #[vault(kv = "app", plain, default = "none")]
        user: String,
    }
    let error = token_failure::<Covered>(bao.address(), &limited).await;
    let denied = [("password", ErrorKind::Denied), ("user", ErrorKind::Denied)];
    assert_eq!(field_kinds(&error), denied);
    assert_snapshot!(problems(&error, ErrorKind::Denied), @r#"
    vault kv secret/app: permission denied (HTTP 403)
    help: add this to a policy of the token:
      path "secret/data/app" {
        capabilities = ["read"]
      }
    "#);
}

#[tokio::test]
async fn a_database_that_gives_no_credential_says_why() {
    let (bao, postgres) = tokio::join!(OpenBao::dev(), Postgres::start());
    bao.connect_database(&postgres).await;

    #[derive(VaultConfig)]
    struct Roles {
        #[vault(database = "readonyl")]
        dynamic: DatabaseCredentials,
        #[vault(database_static = "legaci")]
        fixed: DatabaseCredentials,
    }
    let error = token_failure::<Roles>(bao.address(), bao.root_token()).await;
    assert_snapshot!(problems(&error, ErrorKind::RoleAbsent), @"
    dynamic: DatabaseCredentials
    vault database/creds/readonyl: unknown role: readonyl
    help: create the role, or correct its name: vault list database/roles

    fixed: DatabaseCredentials
    vault database/static-creds/legaci: unknown role: legaci
    help: create the role, or correct its name: vault list database/static-roles
    ");

    #[derive(VaultConfig)]
    struct Right {
        #[vault(database = "readonly")]
        dynamic: DatabaseCredentials,
    }
    postgres.stop();
    let variables = [
        ("VAULT_ADDR", bao.address()),
        ("VAULT_TOKEN", bao.root_token()),
        ("VAULT_MAX_RETRIES", "0"),
    ];
    assert_snapshot!(problems(&failure::<Right>(&variables).await, ErrorKind::Server), @"
    vault database/creds/readonly: unable to start transaction: failed to connect to `user=postgres database=app`: 127.0.0.1:PORT (127.0.0.1): dial error: dial tcp 127.0.0.1:PORT: connect: connection refused (HTTP 500)
    help: see the server's log
    ");
}

#[tokio::test]
async fn an_unset_variable_of_a_path_is_reported() {
    #[derive(VaultConfig)]
    struct Paths {
        #[vault(kv = "{team}/app")]
        password: SecretString,
    }
    // Nothing listens: nothing is sent.
    let address = ("VAULT_ADDR", "http://127.0.0.1:1");
    let token = ("VAULT_TOKEN", "t");
    assert_snapshot!(problems(&failure::<Paths>(&[address, token]).await, ErrorKind::Variable), @r#"
    the path "{team}/app" needs the variable {team}, which is unset
    help: set VAULT_CONFIG_VAR_TEAM, or call .var("team", ..) on the loader
    "#);
    let climbs = [address, token, ("VAULT_CONFIG_VAR_TEAM", "../hunter2")];
    assert_snapshot!(problems(&failure::<Paths>(&climbs).await, ErrorKind::Variable), @r#"
    with its variables filled in, the path "{team}/app" has an empty, "." or ".." segment, or a character that is not printable
    help: set the variables to names, or to names joined by /
    "#);
}

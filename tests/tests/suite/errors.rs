//! The exact text of every error, and that none of them tells a secret.

use std::error::Error as _;
use std::fmt::{Debug, Write};
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use insta::assert_snapshot;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::yield_now;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use vault_config::figment::Figment;
use vault_config::figment::providers::{Format, Toml};
use vault_config::secrecy::SecretString;
use vault_config::{DatabaseCredentials, Error, ErrorKind, Loader, VaultConfig};
use vault_config_tests::{
    AppRoleIds, Authority, Fault, FaultProxy, OpenBao, Postgres, ScriptedAnswer, ScriptedServer,
};

#[derive(VaultConfig)]
#[vault(env_prefix = "APP")]
struct Config {
    #[vault(kv = "app")]
    password: SecretString,
}

fn loader<T: VaultConfig>(variables: &[(&str, &str)]) -> Loader<T> {
    T::loader()
        .startup_deadline(Duration::ZERO)
        .without_dotenv()
        .env_source(variables.iter().copied())
}

async fn failure<T: VaultConfig>(variables: &[(&str, &str)]) -> Error {
    loader::<T>(variables).load().await.err().expect("the load fails")
}

/// With a token.
async fn refused<T: VaultConfig>(address: &str, token: &str) -> Error {
    failure::<T>(&[("VAULT_ADDR", address), ("VAULT_TOKEN", token)]).await
}

/// With the ids of an AppRole.
async fn not_let_in(address: &str, role_id: &str, secret_id: &str) -> Error {
    failure::<Config>(&[
        ("VAULT_ADDR", address),
        ("VAULT_ROLE_ID", role_id),
        ("VAULT_SECRET_ID", secret_id),
    ])
    .await
}

/// From a `.env` file with this text, with no server.
async fn local<T: VaultConfig>(dotenv: &str) -> Error {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join(".env");
    fs::write(&file, dotenv).unwrap();
    let none: [(&str, &str); 0] = [];
    T::loader().dotenv(file).env_source(none).load().await.err().expect("the load fails")
}

/// The text of an error of this kind, without what differs from run to run.
pub(super) fn told(error: &Error, kind: ErrorKind) -> String {
    assert_eq!(error.kind(), kind, "{error}");
    plain(&error.to_string())
}

fn plain(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let words: Vec<_> = line.split(' ').map(plain_word).collect();
        words.join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn plain_word(word: &str) -> String {
    if let (true, Some((_, file))) = (word.contains("/.tmp"), word.rsplit_once('/')) {
        return format!("DIRECTORY/{file}");
    }
    if let Some((before, port)) = word.split_once("127.0.0.1:") {
        let after = port.trim_start_matches(|c: char| c.is_ascii_digit());
        return format!("{before}127.0.0.1:PORT{after}");
    }
    let is_time = word.starts_with("20") && word.contains('T') && word.ends_with('Z');
    if is_time { "TIME".to_owned() } else { word.to_owned() }
}

async fn scripted(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> ScriptedServer {
    let answer = ScriptedAnswer::status(status).header("Content-Type", content_type).body(body);
    ScriptedServer::start(move |_| answer.clone()).await
}

async fn with_app_secret(bao: OpenBao) -> OpenBao {
    bao.kv_put("secret", "app", json!({"password": "hunter2"})).await;
    bao
}

async fn server() -> OpenBao {
    with_app_secret(OpenBao::dev().await).await
}

#[tokio::test]
async fn what_is_missing_is_told_with_what_is_there() {
    let bao = server().await;
    let root = bao.root_token();

    #[derive(VaultConfig)]
    struct Key {
        #[vault(kv = "app", key = "pasword")]
        misspelt: SecretString,
        #[vault(kv = "app")]
        other: SecretString,
    }
    assert_snapshot!(told(&refused::<Key>(bao.address(), root).await, ErrorKind::KeyAbsent), @r#"
    cannot load Key: 2 problems

    1. misspelt: SecretString
       env MISSPELT: not set
       vault kv secret/app#pasword: the secret (version 1) has no key "pasword"; its keys are password
       help: did you mean "password"? Say key = "password", or add the key "pasword"

    2. other: SecretString
       env OTHER: not set
       vault kv secret/app#other: the secret (version 1) has no key "other"; its keys are password
       help: add the key "other" to the secret, or name another with key = ".."

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    "#);

    #[derive(VaultConfig)]
    struct Path {
        #[vault(kv = "no/such/path")]
        password: SecretString,
        #[vault(kv = "app", version = 9)]
        old: SecretString,
    }
    assert_snapshot!(told(&refused::<Path>(bao.address(), root).await, ErrorKind::PathAbsent), @"
    cannot load Path: 2 problems

    1. password: SecretString
       env PASSWORD: not set
       vault kv secret/no/such/path: nothing is stored there; secret/ is KV version 2
       help: store it: vault kv put -mount=secret no/such/path ..; or name the right path

    2. old: SecretString
       env OLD: not set
       vault kv secret/app?version=9: there is no version 9 of it, or nothing is stored there
       help: name a version that is there: vault kv metadata get -mount=secret app; or take `version` away for the newest

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
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
    assert_snapshot!(told(&refused::<Repeats>(bao.address(), root).await, ErrorKind::PathAbsent), @r#"
    cannot load Repeats: 3 problems

    1. mount: SecretString
       env MOUNT: not set
       vault kv secret/secret/app: nothing is stored there; secret/ is KV version 2
       help: the path repeats what is added to it: secret/data/secret/app was asked for; did you mean kv = "app"?
         or store it: vault kv put -mount=secret secret/app ..; or name the right path

    2. data: SecretString
       env DATA: not set
       vault kv secret/data/app: nothing is stored there; secret/ is KV version 2
       help: the path repeats what is added to it: secret/data/data/app was asked for; did you mean kv = "app"?
         or store it: vault kv put -mount=secret data/app ..; or name the right path

    3. both: SecretString
       env BOTH: not set
       vault kv secret/secret/data/app: nothing is stored there; secret/ is KV version 2
       help: the path repeats what is added to it: secret/data/secret/data/app was asked for; did you mean kv = "app"?
         or store it: vault kv put -mount=secret secret/data/app ..; or name the right path

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    "#);
}

#[tokio::test]
async fn a_version_that_is_gone_is_told_apart_from_a_path_that_never_was() {
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
    let error = refused::<Gone>(bao.address(), bao.root_token()).await;
    assert_eq!(error.problems()[1].kind(), ErrorKind::Destroyed);
    assert_snapshot!(told(&error, ErrorKind::Deleted), @"
    cannot load Gone: 2 problems

    1. deleted: SecretString
       env DELETED: not set
       vault kv secret/deleted: version 1 of the secret was deleted at TIME
       help: bring it back: vault kv undelete -mount=secret -versions=1 deleted
         or write the secret again: vault kv put -mount=secret deleted ..

    2. destroyed: SecretString
       env DESTROYED: not set
       vault kv secret/destroyed: version 1 of the secret is destroyed
       help: write the secret again: vault kv put -mount=secret destroyed ..

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
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
    assert_snapshot!(told(&refused::<Versions>(bao.address(), root).await, ErrorKind::WrongKvVersion), @"
    cannot load Versions: 3 problems

    1. one_for_two: SecretString
       env ONE_FOR_TWO: not set
       vault kv secret/app: secret/ is KV version 2, and the field says kv_version = 1
       help: say kv_version = 2, or leave it out: the version is then learned from the server

    2. two_for_one: SecretString
       env TWO_FOR_ONE: not set
       vault kv kv1/app: kv1/ is KV version 1, and the field says kv_version = 2
       help: say kv_version = 1, or leave it out: the version is then learned from the server

    3. no_versions: SecretString
       env NO_VERSIONS: not set
       vault kv kv1/app?version=3: kv1/ is KV version 1, which keeps no versions of a secret
       help: take `version` away, or move the secret to a KV version 2 mount

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
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
    let error = refused::<Mounts>(bao.address(), root).await;
    assert_snapshot!(told(&error, ErrorKind::WrongMount), @r#"
    cannot load Mounts: 3 problems

    1. absent: SecretString
       env ABSENT: not set
       vault kv nowhere/app: no engine is mounted at nowhere/
       help: name the right mount with mount = "..", or mount one: vault secrets enable -path=nowhere kv-v2

    2. transit: SecretString
       env TRANSIT: not set
       vault kv transit/app: transit/ is a transit engine, not KV
       help: name the KV engine's mount with mount = ".."

    3. database: DatabaseCredentials
       env DATABASE_USERNAME, DATABASE_PASSWORD: not set
       vault database/creds/readonly: no handler for route "database/creds/readonly". route entry not found. (HTTP 404)
       help: mount the engine, or name the right path

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    "#);

    bao.policy("app", r#"path "secret/data/app" { capabilities = ["read"] }"#).await;
    let limited = bao.token(&["app"], json!({})).await;
    assert_snapshot!(told(&refused::<Mounts>(bao.address(), &limited).await, ErrorKind::Denied), @r#"
    cannot load Mounts: 3 problems

    1. absent: SecretString
       env ABSENT: not set
       vault kv nowhere/app: permission denied (HTTP 403)
       help: let a policy of the token allow it:
         path "nowhere/data/app" {
           capabilities = ["read"]
         }
         or no engine is mounted at nowhere/: the server answers 403 for that too

    2. transit: SecretString
       env TRANSIT: not set
       vault kv transit/app: permission denied (HTTP 403)
       help: let a policy of the token allow it:
         path "transit/data/app" {
           capabilities = ["read"]
         }
         or no engine is mounted at transit/: the server answers 403 for that too

    3. database: DatabaseCredentials
       env DATABASE_USERNAME, DATABASE_PASSWORD: not set
       vault database/creds/readonly: permission denied (HTTP 403)
       help: let a policy of the token allow it:
         path "database/creds/readonly" {
           capabilities = ["read"]
         }
         or no engine is mounted there: the server answers 403 for that too

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    "#);
}

#[tokio::test]
async fn a_denied_path_comes_with_the_policy_it_needs() {
    let bao = server().await;
    bao.policy("app", r#"path "secret/data/other" { capabilities = ["read"] }"#).await;
    let limited = bao.token(&["app"], json!({})).await;
    assert_snapshot!(told(&refused::<Config>(bao.address(), &limited).await, ErrorKind::Denied), @r#"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault kv secret/app: permission denied (HTTP 403)
       help: let a policy of the token allow it:
         path "secret/data/app" {
           capabilities = ["read"]
         }

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    "#);

    // Denied is not absent: neither `Option` nor `default` covers it.
    #[derive(VaultConfig)]
    struct Covered {
        #[vault(kv = "app")]
        password: Option<SecretString>,
        #[vault(kv = "app", plain, default = "none")]
        user: String,
    }
    assert_snapshot!(told(&refused::<Covered>(bao.address(), &limited).await, ErrorKind::Denied), @r#"
    cannot load Covered: 1 problem

    1. password: Option<SecretString>, user: String
       env PASSWORD: not set
       env USER: not set
       vault kv secret/app: permission denied (HTTP 403)
       help: let a policy of the token allow it:
         path "secret/data/app" {
           capabilities = ["read"]
         }

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    "#);
}

#[tokio::test]
async fn a_login_that_is_refused_says_what_may_be_wrong() {
    let bao = server().await;
    let AppRoleIds { role_id, secret_id } = bao.approle("app", &[], json!({})).await;
    let kind = ErrorKind::LoginRefused;
    let wrong_role = not_let_in(bao.address(), "hunter2", &secret_id).await;
    assert_snapshot!(told(&wrong_role, kind), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://127.0.0.1:PORT, login by approle at auth/approle: invalid role or secret ID (HTTP 400)
       help: the server says the same for a wrong role_id, a wrong secret_id, and a secret_id that is used up or expired; make a new secret_id: vault write -f auth/approle/role/<role>/secret-id
         after several wrong tries the server locks the role for a while, so this one was not repeated

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");

    let wrong_secret = not_let_in(bao.address(), &role_id, "hunter2").await;
    assert_eq!(told(&wrong_secret, kind), told(&wrong_role, kind));

    let once = bao.new_secret_id("app", json!({"num_uses": 1})).await;
    let login = json!({"role_id": role_id, "secret_id": once});
    bao.write("auth/approle/login", login).await;
    let used_up = not_let_in(bao.address(), &role_id, &once).await;
    assert_eq!(told(&used_up, kind), told(&wrong_role, kind));

    let short = bao.new_secret_id("app", json!({"ttl": "1s"})).await;
    let lookup = "auth/approle/role/app/secret-id/lookup";
    until(async || {
        let body = Some(json!({"secret_id": short}));
        let (_, answer) = bao.try_request("POST", lookup, body, bao.root_token()).await;
        answer["data"].is_null()
    })
    .await;
    let expired = not_let_in(bao.address(), &role_id, &short).await;
    assert_eq!(told(&expired, kind), told(&wrong_role, kind));

    let without = [("VAULT_ADDR", bao.address()), ("VAULT_ROLE_ID", role_id.as_str())];
    assert_snapshot!(told(&failure::<Config>(&without).await, kind), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://127.0.0.1:PORT, login by approle at auth/approle: missing secret_id (HTTP 400)
       help: the role wants a secret_id: set VAULT_SECRET_ID, or VAULT_SECRET_ID_FILE

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
}

#[tokio::test]
async fn a_login_that_is_locked_or_not_mounted_says_so() {
    let bao = server().await;
    let not_mounted = not_let_in(bao.address(), "role", "hunter2").await;
    assert_snapshot!(told(&not_mounted, ErrorKind::LoginRefused), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://127.0.0.1:PORT, login by approle at auth/approle: permission denied (HTTP 403)
       help: check that the auth method is mounted at auth/approle (vault auth list) and that the namespace is right
         the server says the same while a login is locked after several wrong tries: vault read sys/locked-users

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");

    let AppRoleIds { role_id, secret_id } = bao.approle("app", &[], json!({})).await;
    for _ in 0..5 {
        not_let_in(bao.address(), &role_id, "hunter2").await;
    }
    let locked = not_let_in(bao.address(), &role_id, &secret_id).await;
    assert_snapshot!(told(&locked, ErrorKind::LoginRefused), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://127.0.0.1:PORT, login by approle at auth/approle: permission denied (HTTP 403)
       help: check that the auth method is mounted at auth/approle (vault auth list) and that the namespace is right
         the server says the same while a login is locked after several wrong tries: vault read sys/locked-users

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
}

#[tokio::test]
async fn a_dead_token_is_not_a_missing_permission() {
    let bao = server().await;
    let revoked = bao.token(&["default"], json!({})).await;
    bao.write("auth/token/revoke", json!({"token": revoked})).await;
    let error = refused::<Config>(bao.address(), &revoked).await;
    assert_snapshot!(told(&error, ErrorKind::TokenInvalid), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://127.0.0.1:PORT: the token is expired, revoked, used up or unknown to this server (HTTP 403)
       help: give a valid token; the refused one is the token from VAULT_TOKEN

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");

    let expired = bao.token(&["default"], json!({"ttl": "1s"})).await;
    until(async || bao.try_request("GET", "auth/token/lookup-self", None, &expired).await.0 == 403)
        .await;
    let expired = refused::<Config>(bao.address(), &expired).await;
    assert_eq!(told(&expired, ErrorKind::TokenInvalid), told(&error, ErrorKind::TokenInvalid));
    let garbage = refused::<Config>(bao.address(), "hunter2").await;
    assert_eq!(told(&garbage, ErrorKind::TokenInvalid), told(&error, ErrorKind::TokenInvalid));
}

#[tokio::test]
async fn a_server_that_is_not_ready_says_which_way() {
    let (sealed, uninitialised) = tokio::join!(OpenBao::sealed(), OpenBao::uninitialised());
    let quick = |address| async move {
        failure::<Config>(&[
            ("VAULT_ADDR", address),
            ("VAULT_TOKEN", "t"),
            ("VAULT_MAX_RETRIES", "0"),
        ])
        .await
    };
    assert_snapshot!(told(&quick(sealed.address()).await, ErrorKind::Sealed), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://127.0.0.1:PORT: Vault is sealed (HTTP 503)
       help: unseal it: vault operator unseal; every node of a cluster is unsealed by itself

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    assert_snapshot!(told(&quick(uninitialised.address()).await, ErrorKind::Uninitialised), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://127.0.0.1:PORT: the server is not initialised
       help: initialise it: vault operator init; then unseal it

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    // The login says the same.
    let login = not_let_in(sealed.address(), "role", "hunter2").await;
    assert_eq!(
        told(&login, ErrorKind::Sealed),
        told(&quick(sealed.address()).await, ErrorKind::Sealed)
    );
}

#[tokio::test]
async fn something_else_at_the_address_is_told() {
    let html = scripted(200, "text/html; charset=utf-8", "<html>hunter2</html>").await;
    assert_snapshot!(told(&refused::<Config>(&html.address(), "t").await, ErrorKind::NotVault), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://127.0.0.1:PORT: HTTP 200 with text/html instead of Vault's JSON
       help: something else answers at this address (a proxy, a login page, another service): check VAULT_ADDR

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    let login = not_let_in(&html.address(), "role", "hunter2").await;
    assert_snapshot!(told(&login, ErrorKind::NotVault), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://127.0.0.1:PORT: HTTP 200 with text/html instead of Vault's JSON
       help: something else answers at this address (a proxy, a login page, another service): check VAULT_ADDR

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");

    let answer = ScriptedAnswer::status(302)
        .header("Location", "https://sso.example/login?from=hunter2")
        .header("Content-Type", "text/html")
        .body("<html>");
    let page = ScriptedServer::start(move |_| answer.clone()).await;
    assert_snapshot!(told(&refused::<Config>(&page.address(), "t").await, ErrorKind::NotVault), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://127.0.0.1:PORT: HTTP 302 redirects to https://sso.example, as a login page or a proxy does
       help: let VAULT_ADDR name the server itself; a cluster's nodes redirect to their api_addr

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");

    let gateway = scripted(502, "text/plain", "bad gateway: hunter2").await;
    assert_snapshot!(told(&refused::<Config>(&gateway.address(), "t").await, ErrorKind::NotVault), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://127.0.0.1:PORT: HTTP 502 with text/plain instead of Vault's JSON
       help: something else answers at this address (a proxy, a login page, another service): check VAULT_ADDR

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_says_why() {
    let bao = server().await;
    let proxy = FaultProxy::in_front_of(bao.address()).await;
    let token = bao.root_token();
    let through = |timeout| {
        let address = proxy.address();
        async move {
            failure::<Config>(&[
                ("VAULT_ADDR", &address),
                ("VAULT_TOKEN", token),
                ("VAULT_CLIENT_TIMEOUT", timeout),
            ])
            .await
        }
    };
    proxy.set(Fault::Refuse).await;
    assert_snapshot!(told(&through("30s").await, ErrorKind::ConnectionRefused), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://127.0.0.1:PORT: connection refused
       help: nothing listens there: check the port in VAULT_ADDR, and that the server runs

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    proxy.set(Fault::Stall).await;
    assert_snapshot!(told(&through("500ms").await, ErrorKind::Timeout), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://127.0.0.1:PORT: no answer within 500ms
       help: check that the address is reachable from here; VAULT_CLIENT_TIMEOUT sets the limit

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    proxy.set(Fault::CutAfter(40)).await;
    assert_snapshot!(told(&through("30s").await, ErrorKind::Connection), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://127.0.0.1:PORT: connection closed before message completed
       help: the server may speak https here: say https:// in the address; else the connection was made and then lost, by a proxy or a restart of the server

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    proxy.set(Fault::CutAfter(0)).await;
    assert_snapshot!(told(&through("30s").await, ErrorKind::Connection), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://127.0.0.1:PORT: connection closed before message completed
       help: the server may speak https here: say https:// in the address; else the connection was made and then lost, by a proxy or a restart of the server

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    proxy.set(Fault::Garbage(b"SSH-2.0-OpenSSH_9.2 hunter2\r\n".to_vec())).await;
    assert_snapshot!(told(&through("30s").await, ErrorKind::Connection), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://127.0.0.1:PORT: invalid HTTP version parsed
       help: the server may speak https here: say https:// in the address; else the connection was made and then lost, by a proxy or a restart of the server

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");

    let nowhere = refused::<Config>("http://nowhere.invalid:8200", "t").await;
    assert_snapshot!(told(&nowhere, ErrorKind::Dns), @r#"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://nowhere.invalid:8200: the host name "nowhere.invalid" does not resolve
       help: check the host in VAULT_ADDR

    Vault mode, because VAULT_ADDR is http://nowhere.invalid:8200; VAULT_CONFIG_MODE=local reads .env and files instead.
    "#);
}

#[tokio::test]
async fn a_body_that_is_torn_says_so() {
    let bao = server().await;
    let proxy = FaultProxy::in_front_of(bao.address()).await;
    // Past the head: the length that it names never arrives.
    proxy.set(Fault::CutAfter(300)).await;
    let error = refused::<Config>(&proxy.address(), bao.root_token()).await;
    assert_snapshot!(told(&error, ErrorKind::Connection), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://127.0.0.1:PORT: end of file before message length reached
       help: the server may speak https here: say https:// in the address; else the connection was made and then lost, by a proxy or a restart of the server

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
}

#[tokio::test]
async fn each_bad_certificate_has_its_own_sentence() {
    let authority = Authority::new();
    let [good, expired, other] = [authority.server(), authority.expired(), authority.wrong_name()];
    let (good, expired, other) = tokio::join!(
        OpenBao::with_tls(&good),
        OpenBao::with_tls(&expired),
        OpenBao::with_tls(&other)
    );
    let ca = authority.ca_cert().to_str().unwrap();
    let stranger = Authority::new();
    let stranger = stranger.ca_cert().to_str().unwrap();
    let trusting = |address, ca| async move {
        failure::<Config>(&[("VAULT_ADDR", address), ("VAULT_TOKEN", "t"), ("VAULT_CACERT", ca)])
            .await
    };
    let kind = ErrorKind::Untrusted;
    assert_snapshot!(told(&trusting(good.address(), stranger).await, kind), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault https://127.0.0.1:PORT: the server's certificate is signed by an authority that is not trusted
       help: name the authority that signed it: VAULT_CACERT=/path/ca.pem (or VAULT_CACERT_BYTES, VAULT_CAPATH)

    Vault mode, because VAULT_ADDR is https://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    assert_snapshot!(told(&trusting(expired.address(), ca).await, kind), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault https://127.0.0.1:PORT: the server's certificate is expired, or not valid yet
       help: renew the server's certificate, and check the clocks of both machines

    Vault mode, because VAULT_ADDR is https://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    assert_snapshot!(told(&trusting(other.address(), ca).await, kind), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault https://127.0.0.1:PORT: the server's certificate is for another name
       help: use an address whose host is in the certificate, or name it: VAULT_TLS_SERVER_NAME

    Vault mode, because VAULT_ADDR is https://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    // The authorities of the system.
    let system = refused::<Config>(good.address(), "t").await;
    assert_eq!(told(&system, kind), told(&trusting(good.address(), stranger).await, kind));

    let plain = good.address().replace("https://", "http://");
    assert_snapshot!(told(&refused::<Config>(&plain, "t").await, ErrorKind::NotVault), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://127.0.0.1:PORT: HTTP 400 with no content type instead of Vault's JSON
       help: the server speaks https here: say https:// in the address
         or something else answers at this address (a proxy, a login page, another service): check VAULT_ADDR

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    let bao = OpenBao::dev().await;
    let tls = bao.address().replace("http://", "https://");
    assert_snapshot!(told(&refused::<Config>(&tls, "t").await, ErrorKind::Connection), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault https://127.0.0.1:PORT: this port does not speak https
       help: say http:// in the address, or name the port that speaks https

    Vault mode, because VAULT_ADDR is https://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
}

#[tokio::test]
async fn an_unknown_namespace_is_told() {
    let bao = server().await;
    let ids = bao.approle("app", &[], json!({})).await;
    let nowhere = |login: [(&'static str, String); 2]| {
        let variables =
            [("VAULT_ADDR", bao.address().to_owned()), ("VAULT_NAMESPACE", "nowhere".into())];
        let variables: Vec<_> = variables.into_iter().chain(login).collect();
        Config::loader()
            .startup_deadline(Duration::ZERO)
            .without_dotenv()
            .env_source(variables)
            .load()
    };
    let token = [("VAULT_TOKEN", bao.root_token().to_owned()), ("UNUSED", String::new())];
    let error = nowhere(token).await.err().unwrap();
    assert_snapshot!(told(&error, ErrorKind::NamespaceAbsent), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://127.0.0.1:PORT: namespace not found (HTTP 404)
       help: check VAULT_NAMESPACE (or BAO_NAMESPACE), or take it away for the root namespace

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    let login = [("VAULT_ROLE_ID", ids.role_id), ("VAULT_SECRET_ID", ids.secret_id)];
    let login = nowhere(login).await.err().unwrap();
    assert_eq!(told(&login, ErrorKind::NamespaceAbsent), told(&error, ErrorKind::NamespaceAbsent));
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
    let error = refused::<Roles>(bao.address(), bao.root_token()).await;
    assert_snapshot!(told(&error, ErrorKind::RoleAbsent), @"
    cannot load Roles: 2 problems

    1. dynamic: DatabaseCredentials
       env DYNAMIC_USERNAME, DYNAMIC_PASSWORD: not set
       vault database/creds/readonyl: unknown role: readonyl
       help: create the role, or name the right one: vault list database/roles

    2. fixed: DatabaseCredentials
       env FIXED_USERNAME, FIXED_PASSWORD: not set
       vault database/static-creds/legaci: unknown role: legaci
       help: create the role, or name the right one: vault list database/static-roles

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
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
    assert_snapshot!(told(&failure::<Right>(&variables).await, ErrorKind::Server), @"
    cannot load Right: 1 problem

    1. dynamic: DatabaseCredentials
       env DYNAMIC_USERNAME, DYNAMIC_PASSWORD: not set
       vault database/creds/readonly: unable to start transaction: failed to connect to `user=postgres database=app`: 127.0.0.1:PORT (127.0.0.1): dial error: dial tcp 127.0.0.1:PORT: connect: connection refused (HTTP 500)
       help: the server's own log says more

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
}

#[tokio::test]
async fn a_value_of_the_wrong_type_is_never_quoted() {
    let bao = OpenBao::dev().await;
    let secret = json!({"port": "hunter2", "retries": "", "hosts": {"hunter2": 1}, "url": "hunter2", "size": 70000});
    bao.kv_put("secret", "app", secret).await;

    #[derive(VaultConfig)]
    #[vault(kv = "app", env_prefix = "APP")]
    struct Types {
        #[vault(kv, plain)]
        port: u16,
        #[vault(kv, plain)]
        retries: u32,
        #[vault(kv, plain)]
        hosts: Vec<String>,
        #[vault(kv, plain)]
        url: url::Url,
        #[vault(kv, plain)]
        size: u16,
        #[vault(kv, plain)]
        from_env: bool,
    }
    let variables = [
        ("VAULT_ADDR", bao.address()),
        ("VAULT_TOKEN", bao.root_token()),
        ("APP_FROM_ENV", "hunter2"),
    ];
    assert_snapshot!(told(&failure::<Types>(&variables).await, ErrorKind::WrongType), @r#"
    cannot load Types: 6 problems

    1. port: u16
       env APP_PORT: not set
       vault kv secret/app#port (version 1): invalid type: found a string, expected u16
       help: give it a value that reads as u16

    2. retries: u32
       env APP_RETRIES: not set
       vault kv secret/app#retries (version 1): invalid type: found an empty string, expected u32
       help: give it a value that reads as u32

    3. hosts: Vec<String>
       env APP_HOSTS: not set
       vault kv secret/app#hosts (version 1): invalid type: found a map, expected a sequence; a list in text is JSON, such as ["a", "b"]
       help: give it a value that reads as Vec<String>

    4. url: url::Url
       env APP_URL: not set
       vault kv secret/app#url (version 1): the type refused the value (its own message is withheld: it might quote the value)
       help: give it a value that reads as url::Url

    5. size: u16
       env APP_SIZE: not set
       vault kv secret/app#size (version 1): invalid value: an integer that does not fit, expected u16
       help: give it a value that reads as u16

    6. from_env: bool
       env APP_FROM_ENV: it is none of true, false, yes, no, on, off, 1 and 0
       help: give it a value that reads as bool

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    "#);
}

#[tokio::test]
async fn every_problem_is_told_at_once() {
    let bao = server().await;
    bao.policy(
        "app",
        r#"path "secret/data/app" { capabilities = ["read"] }
        path "secret/data/absent" { capabilities = ["read"] }"#,
    )
    .await;
    let token = bao.token(&["app"], json!({})).await;

    #[derive(VaultConfig)]
    #[vault(env_prefix = "APP")]
    struct Several {
        port: u16,
        #[vault(kv = "app", plain, key = "password")]
        number: u8,
        #[vault(kv = "app")]
        paswords: SecretString,
        #[vault(kv = "absent")]
        absent: SecretString,
        #[vault(nested)]
        smtp: Smtp,
        #[vault(kv = "{env}/app")]
        variable: SecretString,
    }
    #[derive(VaultConfig)]
    struct Smtp {
        #[vault(kv = "denied")]
        user: SecretString,
        #[vault(kv = "denied")]
        password: SecretString,
    }
    let variables =
        [("VAULT_ADDR", bao.address()), ("VAULT_TOKEN", &token), ("APP_PORT", "eighty")];
    assert_snapshot!(told(&failure::<Several>(&variables).await, ErrorKind::WrongType), @r#"
    cannot load Several: 6 problems

    1. port: u16
       env APP_PORT: invalid type: found a string, expected u16
       help: give it a value that reads as u16

    2. number: u8
       env APP_NUMBER: not set
       vault kv secret/app#password (version 1): invalid type: found a string, expected u8
       help: give it a value that reads as u8

    3. paswords: SecretString
       env APP_PASWORDS: not set
       vault kv secret/app#paswords: the secret (version 1) has no key "paswords"; its keys are password
       help: did you mean "password"? Say key = "password", or add the key "paswords"

    4. absent: SecretString
       env APP_ABSENT: not set
       vault kv secret/absent: nothing is stored there; secret/ is KV version 2
       help: store it: vault kv put -mount=secret absent ..; or name the right path

    5. smtp.user: SecretString, smtp.password: SecretString
       env APP_SMTP_USER: not set
       env APP_SMTP_PASSWORD: not set
       vault kv secret/denied: permission denied (HTTP 403)
       help: let a policy of the token allow it:
         path "secret/data/denied" {
           capabilities = ["read"]
         }

    6. variable: SecretString
       env APP_VARIABLE: not set
       the path "{env}/app" needs the variable {env}, which is unset
       help: set VAULT_CONFIG_VAR_ENV, or call .var("env", ..) on the loader

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    "#);
}

/// Twenty fields.
macro_rules! twenty {
    ($($field:ident)*) => {
        #[derive(VaultConfig)]
        #[vault(kv = "app", env_prefix = "APP")]
        struct Twenty {
            $(#[vault(kv)] $field: SecretString,)*
        }
    };
}
twenty!(a b c d e f g h i j k l m n o p q r s t);

#[tokio::test]
async fn many_fields_that_fail_for_one_reason_are_told_once() {
    let proxy = FaultProxy::in_front_of("http://127.0.0.1:1").await;
    proxy.set(Fault::Refuse).await;
    let variables =
        [("VAULT_ADDR", &*proxy.address()), ("VAULT_TOKEN", "t"), ("VAULT_MAX_RETRIES", "0")];
    let error = failure::<Twenty>(&variables).await;
    assert_eq!(error.problems().len(), 20);
    assert_snapshot!(told(&error, ErrorKind::ConnectionRefused), @"
    cannot load Twenty: 1 problem

    1. a, b, c, d, e, f, g, h, i, j, k, l and 8 more
       vault http://127.0.0.1:PORT: connection refused
       help: nothing listens there: check the port in VAULT_ADDR, and that the server runs

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    assert_snapshot!(told(&failure::<Twenty>(&[("VAULT_ADDR", "http://127.0.0.1:1")]).await, ErrorKind::NoLogin), @"
    cannot load Twenty: 1 problem

    1. a, b, c, d, e, f, g, h, i, j, k, l and 8 more
       nothing to log in with was found; looked for VAULT_TOKEN or BAO_TOKEN, VAULT_WRAPPED_TOKEN or VAULT_WRAPPED_TOKEN_FILE, VAULT_ROLE_ID or VAULT_ROLE_ID_FILE, VAULT_AGENT_ADDR, VAULT_AUTH_ROLE with VAULT_KUBERNETES_TOKEN_FILE or the file /var/run/secrets/kubernetes.io/serviceaccount/token, VAULT_TOKEN_FILE, and the file ~/.vault-token
       help: set VAULT_ROLE_ID and VAULT_SECRET_ID, or one of the others; VAULT_AUTH_METHOD names any other login

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
}

#[tokio::test]
async fn local_mode_says_where_a_value_could_be() {
    #[derive(VaultConfig)]
    #[vault(env_prefix = "APP")]
    struct Local {
        port: u16,
        #[vault(nested)]
        smtp: Smtp,
        #[vault(database = "readonly")]
        database: DatabaseCredentials,
    }
    #[derive(VaultConfig)]
    struct Smtp {
        #[vault(kv = "smtp")]
        password: SecretString,
    }
    assert_snapshot!(told(&local::<Local>("OTHER=1\n").await, ErrorKind::Missing), @"
    cannot load Local: 3 problems

    1. port: u16
       env APP_PORT: not set
       DIRECTORY/.env: no APP_PORT
       no source has a value for it
       help: set APP_PORT in the environment or in .env, or port in a file, or give the field a default (or the type Option)

    2. smtp.password: SecretString
       env APP_SMTP_PASSWORD: not set
       DIRECTORY/.env: no APP_SMTP_PASSWORD
       no source has a value for it
       help: set APP_SMTP_PASSWORD in the environment or in .env, or smtp.password in a file, or give the field a default (or the type Option)

    3. database: DatabaseCredentials
       env APP_DATABASE_USERNAME, APP_DATABASE_PASSWORD: not set
       DIRECTORY/.env: no APP_DATABASE_USERNAME, APP_DATABASE_PASSWORD
       no source has a value for it
       help: set APP_DATABASE_USERNAME and APP_DATABASE_PASSWORD in the environment or in .env, or database in a file, or give the field a default (or the type Option)

    Local mode, because no Vault address is configured; set VAULT_ADDR to read secrets from Vault.
    ");
    assert_snapshot!(told(&failure::<Local>(&[]).await, ErrorKind::Missing), @"
    cannot load Local: 3 problems

    1. port: u16
       env APP_PORT: not set
       no source has a value for it
       help: set APP_PORT in the environment or in .env, or port in a file, or give the field a default (or the type Option)

    2. smtp.password: SecretString
       env APP_SMTP_PASSWORD: not set
       no source has a value for it
       help: set APP_SMTP_PASSWORD in the environment or in .env, or smtp.password in a file, or give the field a default (or the type Option)

    3. database: DatabaseCredentials
       env APP_DATABASE_USERNAME, APP_DATABASE_PASSWORD: not set
       no source has a value for it
       help: set APP_DATABASE_USERNAME and APP_DATABASE_PASSWORD in the environment or in .env, or database in a file, or give the field a default (or the type Option)

    Local mode, because no Vault address is configured; set VAULT_ADDR to read secrets from Vault.
    ");

    let half =
        local::<Local>("APP_PORT=1\nAPP_SMTP_PASSWORD=x\nAPP_DATABASE_USERNAME=hunter2\n").await;
    assert_snapshot!(told(&half, ErrorKind::Environment), @"
    cannot load Local: 1 problem

    1. database: DatabaseCredentials
       env APP_DATABASE_USERNAME, APP_DATABASE_PASSWORD: not set
       DIRECTORY/.env: APP_DATABASE_USERNAME is set and APP_DATABASE_PASSWORD is not: a pair comes from one source
       help: set both, or neither

    Local mode, because no Vault address is configured; set VAULT_ADDR to read secrets from Vault.
    ");
}

#[tokio::test]
async fn a_bad_dotenv_file_is_told_by_line_and_never_quoted() {
    let bad = "# secrets\n\nhunter2 hunter3\nAPP_PASSWORD='hunter2\n";
    assert_snapshot!(told(&local::<Config>(bad).await, ErrorKind::Dotenv), @r#"
    cannot load Config: 3 problems

    1. DIRECTORY/.env line 3: the line cannot be read
       help: write NAME=value, with single quotes around a value that has blanks or any of # $ \ "

    2. DIRECTORY/.env line 4: the line cannot be read
       help: it ends inside of a quote, or in a backslash; dotenvy takes a backslash before a closing quote for an escape, so put such a value in double quotes and double the backslash

    3. password: SecretString
       env APP_PASSWORD: not set
       DIRECTORY/.env: no APP_PASSWORD
       no source has a value for it
       help: set APP_PASSWORD in the environment or in .env, or password in a file, or give the field a default (or the type Option)

    Local mode, because no Vault address is configured; set VAULT_ADDR to read secrets from Vault.
    "#);
    assert_snapshot!(told(&local::<Config>("\nAPP_PASSWORD=hun$ter2\n").await, ErrorKind::Dotenv), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       DIRECTORY/.env line 2: the value holds an unescaped $, which would be replaced by the variable it names
       help: put the value in single quotes: NAME='..'

    Local mode, because no Vault address is configured; set VAULT_ADDR to read secrets from Vault.
    ");

    let directory = TempDir::new().unwrap();
    let missing =
        loader::<Config>(&[("APP_PASSWORD", "x")]).dotenv(directory.path().join("missing.env"));
    assert_snapshot!(told(&missing.load().await.err().unwrap(), ErrorKind::Dotenv), @"
    cannot load Config: 1 problem

    1. DIRECTORY/missing.env: No such file or directory (os error 2)
       help: name a file that can be read with `.dotenv(path)`, or say `.without_dotenv()`

    Local mode, because no Vault address is configured; set VAULT_ADDR to read secrets from Vault.
    ");
}

#[tokio::test]
async fn two_fields_with_one_variable_are_both_named() {
    #[derive(VaultConfig)]
    #[vault(env_prefix = "APP")]
    struct Twice {
        #[vault(env = "TOKEN", default = "x")]
        token: String,
        #[vault(default = "x")]
        smtp_password: String,
        #[vault(nested)]
        smtp: Smtp,
    }
    #[derive(VaultConfig)]
    struct Smtp {
        #[vault(default = "x")]
        password: String,
        #[vault(env = "TOKEN", default = "x")]
        token: String,
    }
    assert_snapshot!(told(&failure::<Twice>(&[]).await, ErrorKind::DuplicateEnv), @r#"
    cannot load Twice: 2 problems

    1. smtp_password: String, smtp.password: String
       env APP_SMTP_PASSWORD: one variable would set both fields
       help: give one of them a name of its own: #[vault(env = "..")]

    2. token: String, smtp.token: String
       env TOKEN: one variable would set both fields
       help: give one of them a name of its own: #[vault(env = "..")]

    Local mode, because no Vault address is configured; set VAULT_ADDR to read secrets from Vault.
    "#);
}

#[tokio::test]
async fn an_unset_variable_of_a_path_is_told() {
    #[derive(VaultConfig)]
    struct Paths {
        #[vault(kv = "{team}/app")]
        password: SecretString,
    }
    // Nothing listens: nothing is sent.
    let address = ("VAULT_ADDR", "http://127.0.0.1:1");
    let token = ("VAULT_TOKEN", "t");
    assert_snapshot!(told(&failure::<Paths>(&[address, token]).await, ErrorKind::Variable), @r#"
    cannot load Paths: 1 problem

    1. password: SecretString
       env PASSWORD: not set
       the path "{team}/app" needs the variable {team}, which is unset
       help: set VAULT_CONFIG_VAR_TEAM, or call .var("team", ..) on the loader

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    "#);
    let climbs = [address, token, ("VAULT_CONFIG_VAR_TEAM", "../hunter2")];
    assert_snapshot!(told(&failure::<Paths>(&climbs).await, ErrorKind::Variable), @r#"
    cannot load Paths: 1 problem

    1. password: SecretString
       env PASSWORD: not set
       with its variables filled in, the path "{team}/app" has an empty, "." or ".." segment, or a character that is not printable
       help: give the variables values that are names, or names joined by /

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    "#);
}

#[tokio::test]
async fn garbage_in_a_setting_names_the_variable_and_never_the_value() {
    let address = ("VAULT_ADDR", "http://127.0.0.1:1");
    let kind = ErrorKind::Setting;
    assert_snapshot!(told(&failure::<Config>(&[("VAULT_CONFIG_MODE", "hunter2")]).await, kind), @"
    cannot load Config: 1 problem

    1. env VAULT_CONFIG_MODE: names no mode
       help: use auto, vault or local
    ");
    let not_an_address = [("VAULT_ADDR", "hunter2"), ("VAULT_TOKEN", "t")];
    assert_snapshot!(told(&failure::<Config>(&not_an_address).await, kind), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       env VAULT_ADDR: the address must start with https://, http:// or unix://
       help: set VAULT_ADDR to an address such as https://vault.example.com:8200

    Vault mode, because VAULT_ADDR is set; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    let trailing = [address, ("VAULT_TOKEN", "hunter2\n")];
    assert_snapshot!(told(&failure::<Config>(&trailing).await, kind), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       env VAULT_TOKEN: the token holds a blank, a line break or another character that no token has
       help: take it away; a token file may end in a line break, a variable may not

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    let several = [
        address,
        ("VAULT_TOKEN", "t"),
        ("VAULT_SKIP_VERIFY", "hunter2"),
        ("VAULT_CLIENT_TIMEOUT", "hunter2"),
        ("VAULT_MAX_RETRIES", "hunter2"),
        ("VAULT_NAMESPACE", "hunter2 "),
    ];
    assert_snapshot!(told(&failure::<Config>(&several).await, kind), @"
    cannot load Config: 4 problems

    1. env VAULT_CLIENT_TIMEOUT: is not a duration: a number of seconds, or a number with ms, s, m or h
       help: correct VAULT_CLIENT_TIMEOUT, or unset it

    2. env VAULT_MAX_RETRIES: is not a whole number of retries
       help: correct VAULT_MAX_RETRIES, or unset it

    3. env VAULT_SKIP_VERIFY: is neither true nor false; certificates stay verified unless it is true
       help: correct VAULT_SKIP_VERIFY, or unset it

    4. password: SecretString
       env APP_PASSWORD: not set
       env VAULT_NAMESPACE: is not the path of a namespace, such as team-a/billing
       help: correct VAULT_NAMESPACE, or unset it

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    let both = [address, ("VAULT_ROLE_ID", "hunter2"), ("VAULT_ROLE_ID_FILE", "/hunter2")];
    assert_snapshot!(told(&failure::<Config>(&both).await, kind), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       env VAULT_ROLE_ID: VAULT_ROLE_ID and VAULT_ROLE_ID_FILE are both set
       help: unset one of them

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    let no_such = [address, ("VAULT_AUTH_METHOD", "hunter2")];
    assert_snapshot!(told(&failure::<Config>(&no_such).await, kind), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       env VAULT_AUTH_METHOD: names no login of vault-config
       help: use one of token, wrapped_token, approle, kubernetes, jwt, userpass, ldap, radius, cert, aws, gcp, azure, github, token_file, none

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    assert_snapshot!(told(&failure::<Config>(&[address]).await, ErrorKind::NoLogin), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       nothing to log in with was found; looked for VAULT_TOKEN or BAO_TOKEN, VAULT_WRAPPED_TOKEN or VAULT_WRAPPED_TOKEN_FILE, VAULT_ROLE_ID or VAULT_ROLE_ID_FILE, VAULT_AGENT_ADDR, VAULT_AUTH_ROLE with VAULT_KUBERNETES_TOKEN_FILE or the file /var/run/secrets/kubernetes.io/serviceaccount/token, VAULT_TOKEN_FILE, and the file ~/.vault-token
       help: set VAULT_ROLE_ID and VAULT_SECRET_ID, or one of the others; VAULT_AUTH_METHOD names any other login

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    let no_address = [("VAULT_CONFIG_MODE", "vault"), ("VAULT_TOKEN", "t")];
    assert_snapshot!(told(&failure::<Config>(&no_address).await, kind), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       no address of a Vault server is configured
       help: set VAULT_ADDR (or BAO_ADDR, or VAULT_AGENT_ADDR for a local agent)

    Vault mode, because VAULT_CONFIG_MODE says so; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
}

#[tokio::test]
async fn blocking_inside_a_runtime_is_refused() {
    let error = loader::<Config>(&[("APP_PASSWORD", "x")]).load_blocking().err().unwrap();
    assert_snapshot!(told(&error, ErrorKind::Runtime), @"
    cannot load Config: 1 problem

    1. load_blocking() was called inside an async runtime, which it would block
       help: call .load().await there
    ");
}

#[tokio::test]
async fn files_are_checked_and_never_quoted() {
    #[derive(VaultConfig)]
    #[vault(deny_unknown)]
    struct Strict {
        #[vault(default = 1)]
        pool_size: u16,
        #[vault(nested)]
        smtp: Smtp,
    }
    #[derive(VaultConfig)]
    struct Smtp {
        #[vault(default = "localhost")]
        host: String,
    }
    let with = |toml: &str| loader::<Strict>(&[]).figment(Figment::from(Toml::string(toml))).load();
    let unknown = with("pool-size = 3\nunrelated = 1\n[smtp]\nhots = \"x\"").await.err().unwrap();
    assert_snapshot!(told(&unknown, ErrorKind::UnknownKey), @"
    cannot load Strict: 3 problems

    1. TOML source string: no field takes the key pool-size
       help: did you mean pool_size?

    2. TOML source string: no field takes the key smtp.hots
       help: did you mean host?

    3. TOML source string: no field takes the key unrelated
       help: take it away; the keys here are pool_size, smtp

    Local mode, because no Vault address is configured; set VAULT_ADDR to read secrets from Vault.
    ");
    let syntax = with("pool_size = 3\npassword = hunter2 hunter2").await.err().unwrap();
    assert_snapshot!(told(&syntax, ErrorKind::Figment), @"
    cannot load Strict: 1 problem

    1. TOML source string: it cannot be read at line 2, column 12
       help: mend the file, or take the layer out

    Local mode, because no Vault address is configured; set VAULT_ADDR to read secrets from Vault.
    ");

    let directory = TempDir::new().unwrap();
    let file = directory.path().join("app.toml");
    fs::write(&file, "pool_size = \"hunter2").unwrap();
    let file = loader::<Strict>(&[]).figment(Figment::from(Toml::file(file))).load();
    assert_snapshot!(told(&file.await.err().unwrap(), ErrorKind::Figment), @"
    cannot load Strict: 1 problem

    1. DIRECTORY/app.toml (TOML file): it cannot be read at line 1, column 21
       help: mend the file, or take the layer out

    Local mode, because no Vault address is configured; set VAULT_ADDR to read secrets from Vault.
    ");
}

#[tokio::test]
async fn a_validators_own_words_are_told() {
    fn even(port: &u16) -> Result<(), String> {
        if port.is_multiple_of(2) {
            Ok(())
        } else {
            Err(format!("{port} is odd: use an even port"))
        }
    }
    fn in_order(range: &Range) -> Result<(), String> {
        if range.from < range.to { Ok(()) } else { Err("`from` must be below `to`".to_owned()) }
    }
    #[derive(VaultConfig)]
    #[vault(env_prefix = "APP")]
    struct Valid {
        #[vault(validate = even)]
        port: u16,
        #[vault(kv = "app", plain, validate = even)]
        secret: u16,
        #[vault(nested)]
        range: Range,
    }
    #[derive(VaultConfig)]
    #[vault(validate = in_order)]
    struct Range {
        #[vault(default = 3)]
        from: u16,
        #[vault(default = 2)]
        to: u16,
    }
    let error = failure::<Valid>(&[("APP_PORT", "81"), ("APP_SECRET", "83")]).await;
    assert_snapshot!(told(&error, ErrorKind::Invalid), @"
    cannot load Valid: 3 problems

    1. port: u16
       env APP_PORT: 81 is odd: use an even port

    2. secret: u16
       env APP_SECRET: the validator refuses the value (its message repeats the value and is withheld)

    3. range: Range
       `from` must be below `to`

    Local mode, because no Vault address is configured; set VAULT_ADDR to read secrets from Vault.
    ");
}

/// A login that is answered like this, then nothing else.
async fn logs_in_to(body: &Value) -> ScriptedServer {
    let answer = ScriptedAnswer::json(200, body);
    ScriptedServer::start(move |_| answer.clone()).await
}

#[tokio::test]
async fn a_login_without_a_usable_token_ends_there() {
    for (auth, kind) in [
        (json!(null), ErrorKind::Protocol),
        (json!({"client_token": ""}), ErrorKind::Protocol),
        (json!({"client_token": 7}), ErrorKind::Protocol),
        (json!({"client_token": "hunter2\r\nX-Evil: yes"}), ErrorKind::Protocol),
        (json!({"client_token": "hunter2\u{7f}"}), ErrorKind::Protocol),
    ] {
        let server = logs_in_to(&json!({"auth": auth, "data": null})).await;
        let error = not_let_in(&server.address(), "role", "secret").await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert_eq!(server.requests().len(), 1, "nothing is sent after {auth}");
    }
    let server = logs_in_to(&json!({"data": {}})).await;
    let error = not_let_in(&server.address(), "role", "secret").await;
    assert_snapshot!(told(&error, ErrorKind::Protocol), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://127.0.0.1:PORT, login by approle at auth/approle: the server accepted the login and gave no token
       help: see that the path is a login of an auth method

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    let server = logs_in_to(&json!({"auth": {"client_token": "a\nb"}})).await;
    let error = not_let_in(&server.address(), "role", "secret").await;
    assert_snapshot!(told(&error, ErrorKind::Protocol), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault http://127.0.0.1:PORT, login by approle at auth/approle: the server accepted the login and gave a token with characters that no token has
       help: something between here and the server may have changed the answer

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
}

#[tokio::test]
async fn an_answer_out_of_shape_is_told_with_its_path() {
    let json = "application/json";
    let answered = async |status, body: String| {
        let server = scripted(status, json, body).await;
        refused::<Config>(&server.address(), "t").await
    };
    let kind = ErrorKind::Protocol;
    assert_snapshot!(told(&answered(200, "{}".into()).await, kind), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault kv secret/app: the answer is not of the shape that KV version 2 gives: a map in data.data, a number in data.metadata.version
       help: something between here and the server may have changed it: try the address with curl

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    assert_snapshot!(told(&answered(200, r#"{"data": {"data": "#.into()).await, kind), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault kv secret/app: the answer (HTTP 200) is not JSON
       help: something between here and the server may have changed it: try the address with curl

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    let deep = format!(r#"{{"data": {}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_snapshot!(told(&answered(200, deep).await, kind), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault kv secret/app: the answer (HTTP 200) nests deeper than 128 levels
       help: something between here and the server may have changed it: try the address with curl

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    assert_snapshot!(told(&answered(200, String::new()).await, kind), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault kv secret/app: the answer is empty
       help: something between here and the server may have changed it: try the address with curl

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    assert_snapshot!(told(&answered(200, "[]".into()).await, kind), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault kv secret/app: the answer is not a JSON object
       help: something between here and the server may have changed it: try the address with curl

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");

    #[derive(VaultConfig)]
    struct Read {
        #[vault(read = "aws/creds/deploy", key = "access_key")]
        key: SecretString,
    }
    let server = scripted(200, json, r#"{"data": null}"#).await;
    assert_snapshot!(told(&refused::<Read>(&server.address(), "t").await, kind), @"
    cannot load Read: 1 problem

    1. key: SecretString
       env KEY: not set
       vault aws/creds/deploy: the answer has no `data`
       help: see with `vault read` what the path answers, and that the address is Vault's own

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_read_to_its_end() {
    let body = format!(r#"{{"data": "{}"}}"#, "x".repeat(33 * 1024 * 1024));
    let server = scripted(200, "application/json", body.clone()).await;
    let announced = refused::<Config>(&server.address(), "t").await;
    assert_snapshot!(told(&announced, ErrorKind::TooLarge), @"
    cannot load Config: 1 problem

    1. password: SecretString
       env APP_PASSWORD: not set
       vault kv secret/app: the answer is larger than 32 MiB
       help: split the secret

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");

    let unannounced =
        [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", body.as_bytes()].concat();
    let server = ScriptedServer::start(move |_| ScriptedAnswer::raw(unannounced.clone())).await;
    let error = refused::<Config>(&server.address(), "t").await;
    assert_eq!(told(&error, ErrorKind::TooLarge), told(&announced, ErrorKind::TooLarge));
}

/// Everything that any crate traces, at every level, fields included.
#[derive(Clone, Default)]
pub(super) struct Traced(Arc<Mutex<String>>);

impl Traced {
    /// Records what this thread traces, until the answer is dropped.
    pub(super) fn of_this_thread(&self) -> impl Sized + use<> {
        let subscriber = tracing_subscriber::registry().with(self.clone());
        // With one subscriber alone, whatever another test's thread reaches first would never be traced here.
        let another = tracing::Dispatch::new(tracing_subscriber::registry());
        (tracing::subscriber::set_default(subscriber), another)
    }

    /// How many lines hold this.
    pub(super) fn count(&self, text: &str) -> usize {
        self.0.lock().unwrap().lines().filter(|line| line.contains(text)).count()
    }
}

impl Visit for Traced {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0.lock().unwrap(), "{field}={value:?} ").unwrap();
    }
}

impl<S: tracing::Subscriber> Layer<S> for Traced {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        event.record(&mut self.clone());
        writeln!(self.0.lock().unwrap(), "in {}", event.metadata().target()).unwrap();
    }

    fn on_new_span(
        &self,
        span: &tracing::span::Attributes<'_>,
        _: &tracing::Id,
        _: Context<'_, S>,
    ) {
        span.record(&mut self.clone());
    }

    fn on_record(&self, _: &tracing::Id, values: &tracing::span::Record<'_>, _: Context<'_, S>) {
        values.record(&mut self.clone());
    }
}

/// What an error shows in any way.
pub(super) fn shown(error: &Error) -> String {
    let mut shown = format!("{error}\n{error:?}\n{error:#?}\n");
    let mut source = error.source();
    while let Some(inner) = source {
        writeln!(shown, "{inner}\n{inner:?}").unwrap();
        source = inner.source();
    }
    for problem in error.problems() {
        writeln!(shown, "{problem}\n{problem:?}\n{}{:?}", problem.message(), problem.sources())
            .unwrap();
    }
    shown
}

/// In every secret that a test can choose.
const CANARY: &str = "canary-7f3a";

#[derive(Debug, VaultConfig)]
#[vault(env_prefix = "APP", kv = "app")]
struct Canaries {
    #[vault(kv, plain)]
    number: u16,
    #[vault(kv, plain)]
    flag: bool,
    #[vault(kv, plain)]
    url: url::Url,
    #[vault(kv, plain)]
    address: std::net::IpAddr,
    #[vault(kv, plain)]
    list: Vec<u8>,
    #[vault(kv, plain)]
    choice: Choice,
    #[vault(kv, plain, validate = never)]
    text: String,
    #[vault(kv)]
    absent: SecretString,
    #[vault(kv)]
    good: SecretString,
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Choice {
    A,
    B { number: u8 },
}

fn never(text: &String) -> Result<(), String> {
    Err(format!("{text} is not good enough"))
}

fn canaries() -> Value {
    json!({
        "number": CANARY, "flag": CANARY, "url": CANARY, "address": CANARY, "list": [CANARY],
        "choice": {CANARY: 1}, "text": CANARY, "good": CANARY,
    })
}

#[tokio::test]
async fn no_secret_is_ever_told() {
    let traced = Traced::default();
    let _this_thread = traced.of_this_thread();
    let mut errors = Vec::new();
    // What the server makes up.
    let mut made: Vec<String> = Vec::new();

    let (bao, tls) = tokio::join!(OpenBao::dev(), OpenBao::dev_tls());
    for bao in [&bao, &tls] {
        let ca = bao.address().starts_with("https").then(|| bao.ca_cert().to_str().unwrap());
        let with = |variables: &[(&str, &str)]| {
            let common = [("VAULT_ADDR", bao.address()), ("VAULT_CACERT", ca.unwrap_or_default())];
            loader::<Canaries>(&[&common, variables].concat())
        };
        bao.kv_put("secret", "app", canaries()).await;
        bao.policy("app", r#"path "secret/*" { capabilities = ["read"] }"#).await;
        let AppRoleIds { role_id, secret_id } = bao.approle("app", &["app"], json!({})).await;
        let token = bao.token(&["app"], json!({})).await;
        let denied = bao.token(&["default"], json!({})).await;
        let ids = [("VAULT_ROLE_ID", &*role_id), ("VAULT_SECRET_ID", &*secret_id)];
        errors.push(with(&ids).load().await.unwrap_err());
        errors.push(with(&[("VAULT_TOKEN", &token)]).check().await.unwrap_err());
        errors.push(with(&[("VAULT_TOKEN", &denied)]).load().await.unwrap_err());
        errors.push(with(&[("VAULT_TOKEN", CANARY)]).load().await.unwrap_err());
        errors.push(with(&[ids[0], ("VAULT_SECRET_ID", CANARY)]).load().await.unwrap_err());
        errors.push(with(&[("VAULT_TOKEN", &token)]).resolve().await.unwrap_err());
        made.extend([role_id, secret_id, token, denied]);
    }

    let json = "application/json";
    let quoted = canaries().to_string();
    for server in [
        scripted(200, "text/html", CANARY).await,
        scripted(200, json, &quoted[..quoted.len() - 1]).await,
        scripted(200, json, quoted.clone()).await,
        scripted(200, json, format!(r#"{{"data": {quoted}}}"#)).await,
        scripted(200, json, format!(r#"{{"data": {{"data": [{quoted}]}}}}"#)).await,
        scripted(200, json, format!(r#"{{"auth": {{"client_token": "{CANARY}\u0000"}}}}"#)).await,
        scripted(502, "text/plain", CANARY).await,
        scripted(200, json, format!("\u{feff}{CANARY}")).await,
    ] {
        errors.push(not_let_in(&server.address(), CANARY, CANARY).await);
        errors.push(refused::<Canaries>(&server.address(), CANARY).await);
    }
    let proxy = FaultProxy::in_front_of(bao.address()).await;
    for fault in [
        Fault::Garbage(CANARY.into()),
        Fault::Garbage(format!("HTTP/1.1 200 OK\r\n{CANARY}\r\n\r\n").into()),
        Fault::CutAfter(700),
        Fault::Refuse,
    ] {
        proxy.set(fault).await;
        errors.push(not_let_in(&proxy.address(), CANARY, CANARY).await);
        errors.push(refused::<Canaries>(&proxy.address(), CANARY).await);
    }

    let garbage = format!("{CANARY} \n");
    for name in [
        "ADDR",
        "TOKEN",
        "NAMESPACE",
        "CLIENT_TIMEOUT",
        "MAX_RETRIES",
        "SKIP_VERIFY",
        "ROLE_ID",
        "SECRET_ID",
        "WRAPPED_SECRET_ID",
        "WRAPPED_TOKEN",
        "AUTH_ROLE",
        "AUTH_MOUNT",
        "CACERT_BYTES",
        "CLIENT_KEY_BYTES",
        "PROXY_ADDR",
        "HTTP_PROXY",
        "AUTH_METHOD",
        "CONFIG_MODE",
        "CONFIG_VAR_A",
    ] {
        let mut variables = vec![("VAULT_ADDR", "http://127.0.0.1:1"), ("VAULT_ROLE_ID", CANARY)];
        let name = format!("VAULT_{name}");
        variables.push((&name, &garbage));
        errors.push(failure::<Canaries>(&variables).await);
    }
    let user = format!("http://{CANARY}:{CANARY}@127.0.0.1:1/{CANARY}?{CANARY}");
    errors.push(refused::<Canaries>(&user, CANARY).await);

    let dotenv =
        "APP_GOOD=X\nAPP_NUMBER='X'\nAPP_TEXT=X$X\nX X\nAPP_LIST='[\"X\"]'\nAPP_ADDRESS='X";
    errors.push(local::<Canaries>(&dotenv.replace('X', CANARY)).await);
    let toml =
        "number = \"X\"\nchoice = { X = 1 }\ntext = \"X\"\nlist = [\"X\"]".replace('X', CANARY);
    for toml in [toml.clone(), format!("{toml}\n{CANARY} {CANARY}")] {
        let layers = Figment::from(Toml::string(&toml));
        errors.push(loader::<Canaries>(&[]).figment(layers).load().await.unwrap_err());
    }

    check(&errors, &traced, &made);
    // The trace is one: of ours, and of the crates below.
    let traced = traced.0.lock().unwrap();
    for part in ["logged in", "trying again", "in h2::", "in hyper_util::"] {
        assert!(traced.contains(part), "nothing traced {part}");
    }
}

pub(super) fn check(errors: &[Error], traced: &Traced, secrets: &[String]) {
    let traced = traced.0.lock().unwrap();
    for secret in secrets.iter().map(String::as_str).chain([CANARY]) {
        for error in errors {
            assert!(!shown(error).contains(secret), "{secret} in {error}");
        }
        let told = traced.lines().find(|line| line.contains(secret));
        assert_eq!(told, None, "{secret}");
    }
}

/// Asks until the answer is yes; the requests themselves take the time.
async fn until(reached: impl AsyncFn() -> bool) {
    let bound = std::time::Instant::now() + Duration::from_secs(60);
    while !reached().await {
        assert!(std::time::Instant::now() < bound, "it does not come to pass");
        yield_now().await;
    }
}

//! The frame of a report: its head, the numbers, the sources that had no value, the groups and the mode.
//! The other files hold the problems alone.

use insta::assert_snapshot;
use serde_json::json;
use vault_config::auth::Token;
use vault_config::secrecy::SecretString;
use vault_config::{DatabaseCredentials, Error, ErrorKind, Mode, Vault, VaultConfig};
use vault_config_tests::{Fault, FaultProxy};

use super::{Config, failure, local_failure, server};
use crate::support::{load_error, loader, report};

#[tokio::test]
async fn every_problem_is_reported_at_once() {
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
    assert_snapshot!(report(&failure::<Several>(&variables).await, ErrorKind::WrongType), @r#"
    cannot load Several: 6 problems

    1. port: u16
       env APP_PORT: invalid type: found a string, expected u16
       help: set a value that can be read as u16

    2. number: u8
       env APP_NUMBER: not set
       vault kv secret/app#password (version 1): invalid type: found a string, expected u8
       help: set a value that can be read as u8

    3. paswords: SecretString
       env APP_PASWORDS: not set
       vault kv secret/app#paswords: the secret (version 1) has no key "paswords"; its keys are password
       help: did you mean "password"? Write key = "password", or add the key "paswords"

    4. absent: SecretString
       env APP_ABSENT: not set
       vault kv secret/absent: nothing is stored there; secret/ is KV version 2
       help: store it: vault kv put -mount=secret absent ..; or correct the path

    5. smtp.user: SecretString, smtp.password: SecretString
       env APP_SMTP_USER: not set
       env APP_SMTP_PASSWORD: not set
       vault kv secret/denied: permission denied (HTTP 403)
       help: add this to a policy of the token:
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
async fn many_fields_that_fail_for_one_reason_are_reported_once() {
    let proxy = FaultProxy::in_front_of("http://127.0.0.1:1").await;
    proxy.set(Fault::Refuse).await;
    let variables =
        [("VAULT_ADDR", &*proxy.address()), ("VAULT_TOKEN", "t"), ("VAULT_MAX_RETRIES", "0")];
    let error = failure::<Twenty>(&variables).await;
    assert_eq!(error.problems().len(), 20);
    assert_snapshot!(report(&error, ErrorKind::ConnectionRefused), @"
    cannot load Twenty: 1 problem

    1. a, b, c, d, e, f, g, h, i, j, k, l and 8 more
       vault http://127.0.0.1:PORT: connection refused
       help: check that the server runs and listens on the port in VAULT_ADDR

    Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
    ");
    let error = failure::<Twenty>(&[("VAULT_ADDR", "http://127.0.0.1:1")]).await;
    assert_snapshot!(report(&error, ErrorKind::NoLogin), @"
    cannot load Twenty: 1 problem

    1. a, b, c, d, e, f, g, h, i, j, k, l and 8 more
       no login method was found; looked for VAULT_TOKEN or BAO_TOKEN, VAULT_WRAPPED_TOKEN or VAULT_WRAPPED_TOKEN_FILE, VAULT_ROLE_ID or VAULT_ROLE_ID_FILE, VAULT_AGENT_ADDR, VAULT_AUTH_ROLE with VAULT_KUBERNETES_TOKEN_FILE or the file /var/run/secrets/kubernetes.io/serviceaccount/token, VAULT_TOKEN_FILE, and the file ~/.vault-token
       help: set VAULT_ROLE_ID and VAULT_SECRET_ID, or another of these; VAULT_AUTH_METHOD selects any other login method

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
    assert_snapshot!(report(&local_failure::<Local>("OTHER=1\n").await, ErrorKind::Missing), @"
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
    assert_snapshot!(report(&failure::<Local>(&[]).await, ErrorKind::Missing), @"
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
        local_failure::<Local>("APP_PORT=1\nAPP_SMTP_PASSWORD=x\nAPP_DATABASE_USERNAME=hunter2\n")
            .await;
    assert_snapshot!(report(&half, ErrorKind::Environment), @"
    cannot load Local: 1 problem

    1. database: DatabaseCredentials
       env APP_DATABASE_USERNAME, APP_DATABASE_PASSWORD: not set
       DIRECTORY/.env: APP_DATABASE_USERNAME is set and APP_DATABASE_PASSWORD is not: both must come from one source
       help: set both, or neither

    Local mode, because no Vault address is configured; set VAULT_ADDR to read secrets from Vault.
    ");
}

/// The last paragraph.
fn foot(error: &Error) -> String {
    error.to_string().rsplit_once("\n\n").unwrap().1.to_owned()
}

#[tokio::test]
async fn the_foot_names_the_mode_and_its_reason() {
    let vault = |reason: &str| {
        format!(
            "Vault mode, because {reason}; VAULT_CONFIG_MODE=local reads .env and files instead."
        )
    };
    for (variables, reason) in [
        ([("VAULT_ADDR", "http://127.0.0.1:1")], "VAULT_ADDR is http://127.0.0.1:1"),
        ([("VAULT_ADDR", "https://127.0.0.1:1")], "VAULT_ADDR is https://127.0.0.1:1"),
        ([("VAULT_ADDR", "http://vault.invalid:8200")], "VAULT_ADDR is http://vault.invalid:8200"),
        ([("VAULT_ADDR", "hunter2")], "VAULT_ADDR is set"),
        ([("VAULT_CONFIG_MODE", "vault")], "VAULT_CONFIG_MODE sets it"),
    ] {
        assert_eq!(foot(&failure::<Config>(&variables).await), vault(reason));
    }
    for address in ["http://127.0.0.1:1", "https://127.0.0.1:1"] {
        let connection = Vault::builder().address(address).auth(Token::new("t")).build().unwrap();
        let error = load_error(loader::<Config>(&[]).vault(connection.clone())).await;
        assert_eq!(foot(&error), vault(&format!("Vault::builder().address(..) is {address}")));
        let error = loader::<Config>(&[]).vault(connection).resolve().await.unwrap_err();
        assert_eq!(foot(&error), "Secrets for a figment are read only from Vault.");
    }
    assert_eq!(
        foot(&failure::<Config>(&[]).await),
        "Local mode, because no Vault address is configured; set VAULT_ADDR to read secrets from Vault."
    );
    let local = load_error(loader::<Config>(&[]).mode(Mode::Local)).await;
    assert_eq!(
        foot(&local),
        "Local mode, because the program sets it with .mode(Mode::Local); .mode(Mode::Vault) reads secrets from Vault."
    );
}

#[tokio::test]
async fn what_fails_before_the_mode_is_decided_has_no_foot() {
    let error = failure::<Config>(&[("VAULT_CONFIG_MODE", "hunter2")]).await;
    assert_snapshot!(report(&error, ErrorKind::Setting), @"
    cannot load Config: 1 problem

    1. env VAULT_CONFIG_MODE: names no mode
       help: use auto, vault or local
    ");
}

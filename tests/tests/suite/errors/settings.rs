//! Settings of the connection that are wrong.

use insta::assert_snapshot;
use vault_config::auth::Token;
use vault_config::{ErrorKind, Vault};

use super::{Config, failure};
use crate::support::{loader, problems};

#[tokio::test]
async fn garbage_in_a_setting_names_the_variable_and_never_the_value() {
    let address = ("VAULT_ADDR", "http://127.0.0.1:1");
    let kind = ErrorKind::Setting;
    assert_snapshot!(problems(&failure::<Config>(&[("VAULT_CONFIG_MODE", "hunter2")]).await, kind), @"
    env VAULT_CONFIG_MODE: names no mode
    help: use auto, vault or local
    ");
    let not_an_address = [("VAULT_ADDR", "hunter2"), ("VAULT_TOKEN", "t")];
    assert_snapshot!(problems(&failure::<Config>(&not_an_address).await, kind), @"
    env VAULT_ADDR: the address must start with https://, http:// or unix://
    help: set VAULT_ADDR to an address such as https://vault.example.com:8200
    ");
    let trailing = [address, ("VAULT_TOKEN", "hunter2\n")];
    assert_snapshot!(problems(&failure::<Config>(&trailing).await, kind), @"
    env VAULT_TOKEN: the token holds a space, a line break or another invalid character
    help: remove it; a token file may end in a line break, a variable may not
    ");
    let several = [
        address,
        ("VAULT_TOKEN", "t"),
        ("VAULT_SKIP_VERIFY", "hunter2"),
        ("VAULT_CLIENT_TIMEOUT", "hunter2"),
        ("VAULT_MAX_RETRIES", "hunter2"),
        ("VAULT_NAMESPACE", "hunter2 "),
    ];
    assert_snapshot!(problems(&failure::<Config>(&several).await, kind), @"
    env VAULT_CLIENT_TIMEOUT: is not a duration: a number of seconds, or a number with ms, s, m or h
    help: correct VAULT_CLIENT_TIMEOUT, or unset it

    env VAULT_MAX_RETRIES: is not a whole number of retries
    help: correct VAULT_MAX_RETRIES, or unset it

    env VAULT_SKIP_VERIFY: is neither true nor false; certificates stay verified unless it is true
    help: correct VAULT_SKIP_VERIFY, or unset it

    password: SecretString
    env VAULT_NAMESPACE: is not the path of a namespace, such as team-a/billing
    help: correct VAULT_NAMESPACE, or unset it
    ");
    let both = [address, ("VAULT_ROLE_ID", "hunter2"), ("VAULT_ROLE_ID_FILE", "/hunter2")];
    assert_snapshot!(problems(&failure::<Config>(&both).await, kind), @"
    env VAULT_ROLE_ID: VAULT_ROLE_ID and VAULT_ROLE_ID_FILE are both set
    help: unset one of them
    ");
    let no_such = [address, ("VAULT_AUTH_METHOD", "hunter2")];
    assert_snapshot!(problems(&failure::<Config>(&no_such).await, kind), @"
    env VAULT_AUTH_METHOD: is not a login method of vault-config
    help: use one of token, wrapped_token, approle, kubernetes, jwt, userpass, ldap, radius, cert, aws, gcp, azure, github, token_file, none
    ");
    assert_snapshot!(problems(&failure::<Config>(&[address]).await, ErrorKind::NoLogin), @"
    no login method was found; looked for VAULT_TOKEN or BAO_TOKEN, VAULT_WRAPPED_TOKEN or VAULT_WRAPPED_TOKEN_FILE, VAULT_ROLE_ID or VAULT_ROLE_ID_FILE, VAULT_AGENT_ADDR, VAULT_AUTH_ROLE with VAULT_KUBERNETES_TOKEN_FILE or the file /var/run/secrets/kubernetes.io/serviceaccount/token, VAULT_TOKEN_FILE, and the file ~/.vault-token
    help: set VAULT_ROLE_ID and VAULT_SECRET_ID, or another of these; VAULT_AUTH_METHOD selects any other login method
    ");
    let no_address = [("VAULT_CONFIG_MODE", "vault"), ("VAULT_TOKEN", "t")];
    assert_snapshot!(problems(&failure::<Config>(&no_address).await, kind), @"
    no address of a Vault server is configured
    help: set VAULT_ADDR (or BAO_ADDR, or VAULT_AGENT_ADDR for a local agent)
    ");
}

#[test]
fn a_malformed_namespace_of_the_builder_names_its_call() {
    let vault = Vault::builder().address("http://127.0.0.1:1").auth(Token::new("t"));
    assert_snapshot!(problems(&vault.namespace("hunter2 ").build().unwrap_err(), ErrorKind::Setting), @"
    Vault::builder().namespace(..): is not the path of a namespace, such as team-a/billing
    help: correct the path, or remove this call
    ");
}

/// A builder reads no variable.
#[test]
fn a_builder_without_an_address_names_the_call_and_no_variable_to_set() {
    let error = Vault::builder().auth(Token::new("t")).build().unwrap_err();
    assert_snapshot!(problems(&error, ErrorKind::Setting), @"
    no address of a Vault server is configured
    help: call .address(..) on the builder, or use Vault::from_env(), which reads VAULT_ADDR
    ");
}

#[tokio::test]
async fn blocking_inside_a_runtime_is_refused() {
    let error = loader::<Config>(&[("APP_PASSWORD", "x")]).load_blocking().err().unwrap();
    assert_snapshot!(problems(&error, ErrorKind::Runtime), @"
    load_blocking() was called inside an async runtime, which it would block
    help: call .load().await there
    ");
}

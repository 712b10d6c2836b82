//! Responses that are not from Vault, or not of the expected shape.

use insta::assert_snapshot;
use vault_config::secrecy::SecretString;
use vault_config::{ErrorKind, VaultConfig};
use vault_config_tests::{Fault, FaultProxy, ScriptedAnswer, ScriptedServer};

use super::{Config, failure, login_failure, scripted, server, token_failure};
use crate::support::problems;

#[tokio::test]
async fn another_service_at_the_address_is_reported() {
    let kind = ErrorKind::NotVault;
    let html = scripted(200, "text/html; charset=utf-8", "<html>hunter2</html>").await;
    let error = token_failure::<Config>(&html.address(), "t").await;
    assert_snapshot!(problems(&error, kind), @"
    vault http://127.0.0.1:PORT: HTTP 200 with text/html instead of Vault's JSON
    help: a proxy, a load balancer, a login page or another service answered at this address: check that the server behind it runs, and check VAULT_ADDR
    ");
    let login = login_failure(&html.address(), "role", "hunter2").await;
    assert_eq!(problems(&login, kind), problems(&error, kind));

    let answer = ScriptedAnswer::status(302)
        .header("Location", "https://sso.example/login?from=hunter2")
        .header("Content-Type", "text/html")
        .body("<html>");
    let page = ScriptedServer::always(answer).await;
    let error = token_failure::<Config>(&page.address(), "t").await;
    assert_snapshot!(problems(&error, kind), @"
    vault http://127.0.0.1:PORT: HTTP 302 redirects to https://sso.example, as a login page or a proxy does
    help: set VAULT_ADDR to the address of the server itself; the nodes of a cluster redirect to their api_addr
    ");

    // The help names the setting that the address comes from.
    for (server, help) in
        [(&html, "and check BAO_ADDR"), (&page, "set BAO_ADDR to the address of the server itself")]
    {
        let variables = [("BAO_ADDR", &*server.address()), ("VAULT_TOKEN", "t")];
        let error = failure::<Config>(&variables).await;
        assert!(error.problems()[0].help().contains(help), "{error}");
    }

    let gateway = scripted(502, "text/plain", "bad gateway: hunter2").await;
    let error = token_failure::<Config>(&gateway.address(), "t").await;
    assert_snapshot!(problems(&error, kind), @"
    vault http://127.0.0.1:PORT: HTTP 502 with text/plain instead of Vault's JSON
    help: the server behind a proxy or a load balancer may not run, or may not answer: check that server
      or another service answered at this address: check VAULT_ADDR
    ");
}

#[tokio::test]
async fn a_response_of_the_wrong_shape_is_reported_with_its_path() {
    let json = "application/json";
    let answered = async |body: &str| {
        let server = scripted(200, json, body).await;
        token_failure::<Config>(&server.address(), "t").await
    };
    let kind = ErrorKind::Protocol;
    assert_snapshot!(problems(&answered("{}").await, kind), @"
    vault kv secret/app: the answer does not have the shape of KV version 2: a map in data.data, a number in data.metadata.version
    help: a proxy on the way may have changed it: try the address with curl
    ");
    assert_snapshot!(problems(&answered(r#"{"data": {"data": "#).await, kind), @"
    vault kv secret/app: the answer (HTTP 200) is not JSON
    help: a proxy on the way may have changed it: try the address with curl
    ");
    let deep = format!(r#"{{"data": {}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_snapshot!(problems(&answered(&deep).await, kind), @"
    vault kv secret/app: the answer (HTTP 200) nests deeper than 128 levels
    help: a proxy on the way may have changed it: try the address with curl
    ");
    assert_snapshot!(problems(&answered("").await, kind), @"
    vault kv secret/app: the answer is empty
    help: a proxy on the way may have changed it: try the address with curl
    ");
    assert_snapshot!(problems(&answered("[]").await, kind), @"
    vault kv secret/app: the answer is not a JSON object
    help: a proxy on the way may have changed it: try the address with curl
    ");

    #[derive(VaultConfig)]
    struct Read {
        #[vault(read = "aws/creds/deploy", key = "access_key")]
        key: SecretString,
    }
    let server = scripted(200, json, r#"{"data": null}"#).await;
    assert_snapshot!(problems(&token_failure::<Read>(&server.address(), "t").await, kind), @"
    vault aws/creds/deploy: the answer has no `data`
    help: run `vault read` to see what the path returns, and check that the address is Vault's own
    ");
}

#[tokio::test]
async fn a_response_that_is_too_large_is_not_read_to_its_end() {
    let body = format!(r#"{{"data": "{}"}}"#, "x".repeat(33 * 1024 * 1024));
    let server = scripted(200, "application/json", body.clone()).await;
    let announced = token_failure::<Config>(&server.address(), "t").await;
    assert_snapshot!(problems(&announced, ErrorKind::TooLarge), @"
    vault kv secret/app: the answer is larger than 32 MiB
    help: split the secret
    ");

    let unannounced =
        [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", body.as_bytes()].concat();
    let server = ScriptedServer::always(ScriptedAnswer::raw(unannounced)).await;
    let error = token_failure::<Config>(&server.address(), "t").await;
    assert_eq!(problems(&error, ErrorKind::TooLarge), problems(&announced, ErrorKind::TooLarge));
}

#[tokio::test]
async fn a_body_that_is_torn_says_so() {
    let bao = server().await;
    let proxy = FaultProxy::in_front_of(bao.address()).await;
    // Past the head: the length that it names never arrives.
    proxy.set(Fault::CutAfter(300)).await;
    let error = token_failure::<Config>(&proxy.address(), bao.root_token()).await;
    assert_snapshot!(problems(&error, ErrorKind::Connection), @"
    vault http://127.0.0.1:PORT: end of file before message length reached
    help: the server may speak https here: use https:// in the address; or a proxy or a restart of the server may have closed the connection
    ");
}

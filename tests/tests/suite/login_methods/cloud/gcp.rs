//! Google Cloud.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use insta::assert_snapshot;
use serde_json::{Value, json};
use vault_config::ErrorKind;
use vault_config::auth::Gcp;
use vault_config_tests::{ScriptedAnswer, ScriptedRequest, ScriptedServer};

use super::super::{assert_hides, assert_logs_in_by, assert_malformed, refused, refused_by};
use super::{JWT, metadata, vault};
use crate::logins::assert_logs_in;
use crate::support::problems;

const PATH: &str = "/v1/auth/gcp/login";

fn google(request: &ScriptedRequest) -> ScriptedAnswer {
    let path = "/computeMetadata/v1/instance/service-accounts/default/identity";
    let asked = format!("{path}?audience=vault%2Fbilling&format=full");
    let flavored = request.header("metadata-flavor") == Some("Google");
    match flavored && request.method == "GET" && request.target == asked {
        true => ScriptedAnswer::status(200).header("Metadata-Flavor", "Google").body(JWT),
        false => ScriptedAnswer::status(404),
    }
}

fn billing(metadata: &ScriptedServer) -> Gcp {
    Gcp::new("billing").metadata_address(metadata.address())
}

#[tokio::test]
async fn a_machine_logs_in_with_its_identity_token() {
    let fits = |body: &Value| *body == json!({ "role": "billing", "jwt": JWT });
    let (vault, metadata) = tokio::join!(vault(PATH, fits), metadata(google));
    assert_logs_in_by(&vault.address(), billing(&metadata)).await;
    let variables = [
        ("VAULT_ADDR", &*vault.address()),
        ("VAULT_AUTH_METHOD", "gcp"),
        ("VAULT_AUTH_ROLE", "billing"),
        ("GCE_METADATA_HOST", &metadata.address().replace("http://", "")),
    ];
    assert_logs_in(&variables).await;
    assert_eq!(metadata.requests().len(), 2);
}

#[tokio::test]
async fn a_metadata_server_that_is_late_is_asked_again() {
    let tries = Arc::new(AtomicUsize::new(0));
    let count = tries.clone();
    let late = move |request: &ScriptedRequest| match count.fetch_add(1, Ordering::SeqCst) {
        0 => ScriptedAnswer::status(503),
        1 => ScriptedAnswer::close(),
        _ => google(request),
    };
    let (vault, metadata) = tokio::join!(vault(PATH, |_| true), metadata(late));
    assert_logs_in_by(&vault.address(), billing(&metadata)).await;
    assert_eq!(tries.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn what_is_no_identity_token_is_never_sent() {
    let vault = vault(PATH, |_| true).await;
    let ok = || ScriptedAnswer::status(200).header("Metadata-Flavor", "Google");
    for (answer, kind) in [
        (ok().body("hunter2"), ErrorKind::Protocol),
        (ok(), ErrorKind::Protocol),
        (ok().body(format!("{JWT}\r\nX-Evil: hunter2")), ErrorKind::Protocol),
        (ok().body("hunter2".repeat(100_000)), ErrorKind::Protocol),
        // Another service at that address.
        (ScriptedAnswer::status(200).body(JWT), ErrorKind::Protocol),
        (ScriptedAnswer::status(404).body("hunter2"), ErrorKind::LoginRefused),
        (ScriptedAnswer::status(302).header("Location", "/hunter2"), ErrorKind::LoginRefused),
    ] {
        let metadata = ScriptedServer::always(answer).await;
        let error = refused_by(&vault.address(), billing(&metadata)).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert_hides(&error, &["hunter2", JWT]);
    }
    let unreachable = Gcp::new("billing").metadata_address("http://127.0.0.1:1");
    let error = refused_by(&vault.address(), unreachable).await;
    assert_snapshot!(problems(&error, ErrorKind::Connection), @r#"
    vault http://127.0.0.1:PORT, login by gcp at auth/gcp as "billing": the metadata server of Google Cloud cannot be reached (http://127.0.0.1:PORT)
    help: check that this machine or container offers it; GCE_METADATA_HOST names another address
    "#);
    let metadata = ScriptedServer::always(ScriptedAnswer::status(404)).await;
    let error = refused_by(&vault.address(), billing(&metadata)).await;
    assert_snapshot!(problems(&error, ErrorKind::LoginRefused), @r#"
    vault http://127.0.0.1:PORT, login by gcp at auth/gcp as "billing": the metadata server of Google Cloud answered HTTP 404
    help: check that this machine or container has an identity, and may request it
    "#);
    for address in ["hunter2", "ftp://127.0.0.1", "http://["] {
        let method = Gcp::new("billing").metadata_address(address);
        assert_malformed(&vault.address(), method).await;
    }
    let variables = [
        ("VAULT_ADDR", &*vault.address()),
        ("VAULT_AUTH_METHOD", "gcp"),
        ("VAULT_AUTH_ROLE", "billing"),
        ("GCE_METADATA_HOST", "http://127.0.0.1/"),
    ];
    assert_snapshot!(problems(&refused(&variables).await, ErrorKind::Setting), @"
    env GCE_METADATA_HOST: is not a host, such as 127.0.0.1:PORT
    help: correct GCE_METADATA_HOST, or unset it
    ");
    assert_eq!(vault.requests().len(), 0);
}

#[tokio::test]
async fn a_refusal_is_reported_without_the_token() {
    let body = json!({ "errors": [format!("cannot parse {JWT}")] });
    let vault = ScriptedServer::always(ScriptedAnswer::json(400, &body)).await;
    let metadata = metadata(google).await;
    let error = refused_by(&vault.address(), billing(&metadata)).await;
    assert_hides(&error, &[JWT]);
    assert_snapshot!(problems(&error, ErrorKind::LoginRefused), @r#"
    vault http://127.0.0.1:PORT, login by gcp at auth/gcp as "billing": the server refused the login (HTTP 400); its message is withheld, because it repeats what was sent
    help: see the server's log
    "#);
    assert_eq!(vault.requests().len(), 1);
}

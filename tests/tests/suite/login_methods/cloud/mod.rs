//! Identities of cloud platforms.
//!
//! OpenBao has no such methods: a scripted server takes the login and answers the read.

mod aws;
mod azure;
mod gcp;
mod github;

use serde_json::{Value, json};
use vault_config_tests::{ScriptedAnswer, ScriptedRequest, ScriptedServer};

/// Takes a login at `path` when `fits` says so.
async fn vault(
    path: &'static str,
    fits: impl Fn(&Value) -> bool + Send + Sync + 'static,
) -> ScriptedServer {
    ScriptedServer::start(move |request| {
        if request.path() == "/v1/secret/data/app" {
            assert_eq!(request.header("x-vault-token"), Some("s.token"));
            let data = json!({ "data": { "key": "k" }, "metadata": { "version": 1 } });
            return ScriptedAnswer::json(200, &json!({ "data": data }));
        }
        assert_eq!((request.method.as_str(), request.path()), ("POST", path));
        assert_eq!(request.header("x-vault-token"), None);
        match fits(&request.json()) {
            true => ScriptedAnswer::json(200, &json!({ "auth": { "client_token": "s.token" } })),
            false => ScriptedAnswer::json(400, &json!({ "errors": ["it does not fit"] })),
        }
    })
    .await
}

async fn metadata(
    answer: impl Fn(&ScriptedRequest) -> ScriptedAnswer + Send + Sync + 'static,
) -> ScriptedServer {
    ScriptedServer::start(move |request| answer(&request)).await
}

const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJodW50ZXIyIn0.c2lnbmF0dXJlLW9mLWh1bnRlcjI";

//! Logins and tokens that the server refuses.

use insta::assert_snapshot;
use serde_json::{Value, json};
use vault_config::ErrorKind;
use vault_config_tests::{AppRoleIds, ScriptedAnswer, ScriptedServer};

use super::{Config, failure, login_failure, server, token_failure};
use crate::support::{problems, until};

#[tokio::test]
async fn a_login_that_is_refused_says_what_may_be_wrong() {
    let bao = server().await;
    let AppRoleIds { role_id, secret_id } = bao.approle("app", &[], json!({})).await;
    let kind = ErrorKind::LoginRefused;
    let wrong_role = login_failure(bao.address(), "hunter2", &secret_id).await;
    assert_snapshot!(problems(&wrong_role, kind), @"
    vault http://127.0.0.1:PORT, login by approle at auth/approle: invalid role or secret ID (HTTP 400)
    help: the secret_id may be used up, expired or wrong, or the role_id wrong (the server answers the same for all); issue a new secret_id: vault write -f auth/approle/role/<role>/secret-id
      after several failed logins the server locks the role for a while, so this login was not retried
    ");

    let wrong_secret = login_failure(bao.address(), &role_id, "hunter2").await;
    assert_eq!(problems(&wrong_secret, kind), problems(&wrong_role, kind));

    let once = bao.new_secret_id("app", json!({"num_uses": 1})).await;
    let login = json!({"role_id": role_id, "secret_id": once});
    bao.write("auth/approle/login", login).await;
    let used_up = login_failure(bao.address(), &role_id, &once).await;
    assert_eq!(problems(&used_up, kind), problems(&wrong_role, kind));

    let short = bao.new_secret_id("app", json!({"ttl": "1s"})).await;
    let lookup = "auth/approle/role/app/secret-id/lookup";
    until("the secret_id expires", async || {
        let body = Some(json!({"secret_id": short}));
        let (_, answer) = bao.try_request("POST", lookup, body, bao.root_token()).await;
        answer["data"].is_null()
    })
    .await;
    let expired = login_failure(bao.address(), &role_id, &short).await;
    assert_eq!(problems(&expired, kind), problems(&wrong_role, kind));

    let without = [("VAULT_ADDR", bao.address()), ("VAULT_ROLE_ID", role_id.as_str())];
    assert_snapshot!(problems(&failure::<Config>(&without).await, kind), @"
    vault http://127.0.0.1:PORT, login by approle at auth/approle: missing secret_id (HTTP 400)
    help: the role requires a secret_id: set VAULT_SECRET_ID, or VAULT_SECRET_ID_FILE
    ");
    let unknown = [("VAULT_ADDR", bao.address()), ("VAULT_ROLE_ID", "hunter2")];
    assert_snapshot!(problems(&failure::<Config>(&unknown).await, kind), @"
    vault http://127.0.0.1:PORT, login by approle at auth/approle: invalid role or secret ID (HTTP 400)
    help: the role_id may be wrong, or its role deleted; read the role_id: vault read auth/approle/role/<role>/role-id
    ");
}

#[tokio::test]
async fn a_login_that_is_locked_or_not_mounted_says_so() {
    let bao = server().await;
    let not_mounted = login_failure(bao.address(), "role", "hunter2").await;
    assert_snapshot!(problems(&not_mounted, ErrorKind::LoginRefused), @"
    vault http://127.0.0.1:PORT, login by approle at auth/approle: permission denied (HTTP 403)
    help: check that the auth method is mounted at auth/approle (vault auth list) and that the namespace is right
      or the account may be locked after several failed logins: vault read sys/locked-users
    ");

    let AppRoleIds { role_id, secret_id } = bao.approle("app", &[], json!({})).await;
    for _ in 0..5 {
        login_failure(bao.address(), &role_id, "hunter2").await;
    }
    let locked = login_failure(bao.address(), &role_id, &secret_id).await;
    let kind = ErrorKind::LoginRefused;
    assert_eq!(problems(&locked, kind), problems(&not_mounted, kind));
}

#[tokio::test]
async fn a_dead_token_is_not_a_missing_permission() {
    let bao = server().await;
    let revoked = bao.token(&["default"], json!({})).await;
    bao.write("auth/token/revoke", json!({"token": revoked})).await;
    let error = token_failure::<Config>(bao.address(), &revoked).await;
    let kind = ErrorKind::TokenInvalid;
    assert_snapshot!(problems(&error, kind), @"
    vault http://127.0.0.1:PORT: the token is expired, revoked, used up or unknown to this server (HTTP 403)
    help: use a valid token; the refused one is the token from VAULT_TOKEN
    ");

    let expired = bao.token(&["default"], json!({"ttl": "1s"})).await;
    let lookup = async || bao.try_request("GET", "auth/token/lookup-self", None, &expired).await.0;
    until("the token expires", async || lookup().await == 403).await;
    let expired = token_failure::<Config>(bao.address(), &expired).await;
    assert_eq!(problems(&expired, kind), problems(&error, kind));
    let garbage = token_failure::<Config>(bao.address(), "hunter2").await;
    assert_eq!(problems(&garbage, kind), problems(&error, kind));
}

#[tokio::test]
async fn a_refused_token_of_a_login_is_reported_as_that() {
    let server = ScriptedServer::start(|request| match request.path() {
        "/v1/auth/approle/login" => {
            let auth = json!({"client_token": "s.t", "lease_duration": 60});
            ScriptedAnswer::json(200, &json!({"auth": auth}))
        }
        _ => ScriptedAnswer::json(403, &json!({"errors": ["permission denied"]})),
    })
    .await;
    let error = login_failure(&server.address(), "role", "secret").await;
    assert_snapshot!(problems(&error, ErrorKind::TokenInvalid), @"
    vault http://127.0.0.1:PORT: the token is expired, revoked, used up or unknown to this server (HTTP 403)
    help: it is the token of the login by approle at auth/approle: check whether it was revoked, and whether its lifetime and its number of uses are sufficient
    ");
}

#[tokio::test]
async fn a_login_without_a_usable_token_ends_there() {
    let answering = async |body: Value| {
        let server = ScriptedServer::always(ScriptedAnswer::json(200, &body)).await;
        (login_failure(&server.address(), "role", "secret").await, server)
    };
    for auth in [
        json!(null),
        json!({"client_token": ""}),
        json!({"client_token": 7}),
        json!({"client_token": "hunter2\r\nX-Evil: yes"}),
        json!({"client_token": "hunter2\u{7f}"}),
    ] {
        let (error, server) = answering(json!({"auth": auth, "data": null})).await;
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert_eq!(server.requests().len(), 1, "nothing is sent after {auth}");
    }
    let (error, _) = answering(json!({"data": {}})).await;
    assert_snapshot!(problems(&error, ErrorKind::Protocol), @"
    vault http://127.0.0.1:PORT, login by approle at auth/approle: the server accepted the login and returned no token
    help: check that the path is the login path of an auth method
    ");
    let (error, _) = answering(json!({"auth": {"client_token": "a\nb"}})).await;
    assert_snapshot!(problems(&error, ErrorKind::Protocol), @"
    vault http://127.0.0.1:PORT, login by approle at auth/approle: the server accepted the login and returned a token with invalid characters
    help: a proxy on the way may have changed the answer
    ");
}

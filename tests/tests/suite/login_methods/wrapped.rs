//! Secret ids and tokens that a wrapping token delivers.

use insta::assert_snapshot;
use serde_json::json;
use vault_config::ErrorKind;
use vault_config::auth::{AppRole, WrappedToken};
use vault_config_tests::{AppRoleIds, ScriptedAnswer, ScriptedServer};

use super::{
    assert_hides, assert_logs_in_by, connected, failed, load_from, logins, refused, refused_by,
};
use crate::logins::{assert_logs_in, file, server};
use crate::support::{problems, request_count};

const SECRET_ID: &str = "auth/approle/role/app/secret-id";

#[tokio::test]
async fn a_wrapped_secret_id_logs_in() {
    let (bao, AppRoleIds { role_id, .. }) = server().await;
    let wrap = async || bao.write_wrapped(SECRET_ID, json!({}), "60s").await;
    let given = AppRole::with_wrapped_secret_id(role_id.as_str(), wrap().await);
    assert_logs_in_by(bao.address(), given).await;
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "wrapped", &format!("{}\n", wrap().await));
    let in_file = AppRole::with_wrapped_secret_id_file(role_id.as_str(), &path).role("app");
    assert_logs_in_by(bao.address(), in_file).await;

    let (address, role_id) = (("VAULT_ADDR", bao.address()), ("VAULT_ROLE_ID", &*role_id));
    assert_logs_in(&[address, role_id, ("VAULT_WRAPPED_SECRET_ID", &wrap().await)]).await;
    let path = file(folder.path(), "wrapped", &wrap().await);
    let role = ("VAULT_AUTH_ROLE", "app");
    assert_logs_in(&[address, role_id, role, ("BAO_WRAPPED_SECRET_ID_FILE", &path)]).await;
    let both = [address, role_id, ("VAULT_SECRET_ID", "a"), ("VAULT_WRAPPED_SECRET_ID", "b")];
    assert_eq!(refused(&both).await.kind(), ErrorKind::Setting);
}

#[tokio::test]
async fn what_was_wrapped_serves_later_logins_until_the_file_has_another() {
    let (bao, AppRoleIds { role_id, .. }) = server().await;
    let folder = tempfile::tempdir().unwrap();
    let wrap = async || {
        let token = bao.write_wrapped(SECRET_ID, json!({ "num_uses": 2 }), "60s").await;
        file(folder.path(), "wrapped", &token)
    };
    let path = wrap().await;
    let method = AppRole::with_wrapped_secret_id_file(role_id.as_str(), &path);
    let vault = connected(bao.address(), method);
    let log_in_again = async || {
        bao.write("sys/leases/revoke-prefix/auth/approle/login", json!({})).await;
        load_from(&vault).await
    };
    log_in_again().await.unwrap();
    log_in_again().await.unwrap();
    assert_eq!(request_count(&bao, "sys/wrapping/unwrap"), 1);
    // Used up.
    assert_eq!(failed(log_in_again().await).kind(), ErrorKind::LoginRefused);
    wrap().await;
    log_in_again().await.unwrap();
    assert_eq!(request_count(&bao, "sys/wrapping/unwrap"), 2);
}

#[tokio::test]
async fn a_token_that_is_already_used_is_an_alarm_and_is_not_tried_again() {
    let (bao, AppRoleIds { role_id, .. }) = server().await;
    let token = bao.write_wrapped(SECRET_ID, json!({}), "60s").await;
    let (status, _) = bao.try_request("POST", "sys/wrapping/unwrap", None, &token).await;
    assert_eq!(status, 200);
    let method = AppRole::with_wrapped_secret_id(role_id.as_str(), token.as_str());
    let vault = connected(bao.address(), method);
    let error = failed(load_from(&vault).await);
    assert_hides(&error, &[&token]);
    assert_snapshot!(problems(&error, ErrorKind::Tampered), @"
    vault http://127.0.0.1:PORT, login by approle at auth/approle: the wrapping token is used, expired or unknown to the server (HTTP 400): if it has not expired and none of your processes unwrapped it, a third party may have the secret_id
    help: a process that restarts needs a new wrapping token: vault write -wrap-ttl=60s -f auth/approle/role/<role>/secret-id
      if none of your processes used this one, find out which client did (the server's audit log) and revoke the secret_id
      this wrapping token is not retried
    ");
    assert_eq!(
        problems(&failed(load_from(&vault).await), ErrorKind::Tampered),
        problems(&error, ErrorKind::Tampered)
    );
    assert_eq!(request_count(&bao, "sys/wrapping/lookup"), 1);
    assert_eq!(logins(&bao), 0);

    let brief = bao.write_wrapped(SECRET_ID, json!({}), "1s").await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let over = AppRole::with_wrapped_secret_id(role_id.as_str(), brief);
    let over = refused_by(bao.address(), over).await;
    assert_eq!(problems(&over, ErrorKind::Tampered), problems(&error, ErrorKind::Tampered));
}

#[tokio::test]
async fn a_token_that_was_made_elsewhere_is_an_alarm_and_is_not_used() {
    let (bao, AppRoleIds { role_id, secret_id }) = server().await;
    // A token that is unwrapped and wrapped again by hand has another creation path.
    let forged = bao.wrap(json!({ "secret_id": secret_id }), "60s").await;
    let method = AppRole::with_wrapped_secret_id(role_id.as_str(), forged.as_str());
    let error = refused_by(bao.address(), method).await;
    assert_hides(&error, &[&forged, &secret_id]);
    assert_snapshot!(problems(&error, ErrorKind::Tampered), @"
    vault http://127.0.0.1:PORT, login by approle at auth/approle: the wrapping token was created by sys/wrapping/wrap and not by auth/approle/role/<role>/secret-id: a third party may have read the secret_id and wrapped another one
    help: find out which client created it (the server's audit log), revoke the secret_id, and create another: vault write -wrap-ttl=60s -f auth/approle/role/<role>/secret-id
      this wrapping token is not retried
    ");
    bao.approle("other", &["app"], json!({})).await;
    let path = "auth/approle/role/other/secret-id";
    let other = bao.write_wrapped(path, json!({}), "60s").await;
    let method = AppRole::with_wrapped_secret_id(role_id.as_str(), other.as_str()).role("app");
    let error = refused_by(bao.address(), method).await;
    assert_snapshot!(problems(&error, ErrorKind::Tampered), @"
    vault http://127.0.0.1:PORT, login by approle at auth/approle: the wrapping token was created by auth/approle/role/other/secret-id and not by auth/approle/role/app/secret-id: a third party may have read the secret_id and wrapped another one
    help: find out which client created it (the server's audit log), revoke the secret_id, and create another: vault write -wrap-ttl=60s -f auth/approle/role/app/secret-id
      this wrapping token is not retried
    ");
    assert_eq!((request_count(&bao, "sys/wrapping/unwrap"), logins(&bao)), (0, 0));
    // Both can still be opened.
    for token in [forged, other] {
        let (status, _) = bao.try_request("POST", "sys/wrapping/unwrap", None, &token).await;
        assert_eq!(status, 200);
    }
}

#[tokio::test]
async fn in_a_namespace_the_path_is_the_same() {
    let (bao, _) = server().await;
    let team = bao.namespace("team").await;
    team.kv_put("secret", "app", json!({ "key": "k" })).await;
    team.policy("app", r#"path "secret/data/app" { capabilities = ["read"] }"#).await;
    let ids = team.approle("app", &["app"], json!({})).await;
    let token = team.write_wrapped(SECRET_ID, json!({}), "60s").await;
    let variables = [
        ("VAULT_ADDR", bao.address()),
        ("VAULT_NAMESPACE", "team"),
        ("VAULT_ROLE_ID", &ids.role_id),
        ("VAULT_WRAPPED_SECRET_ID", &token),
    ];
    assert_logs_in(&variables).await;
}

#[tokio::test]
async fn a_wrapped_token_is_unwrapped() {
    let (bao, ids) = server().await;
    let wrap =
        async |path: &str| bao.write_wrapped(path, json!({ "policies": ["app"] }), "60s").await;
    for path in ["auth/token/create", "auth/token/create-orphan"] {
        assert_logs_in_by(bao.address(), WrappedToken::new(wrap(path).await)).await;
    }
    bao.write("auth/token/roles/app", json!({ "allowed_policies": "app" })).await;
    let token = wrap("auth/token/create/app").await;
    let address = ("VAULT_ADDR", bao.address());
    assert_logs_in(&[address, ("VAULT_WRAPPED_TOKEN", &token)]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "token", &wrap("auth/token/create").await);
    let method = ("VAULT_AUTH_METHOD", "wrapped_token");
    assert_logs_in(&[address, method, ("VAULT_WRAPPED_TOKEN_FILE", &path)]).await;
    let both = [address, ("VAULT_TOKEN", "t"), ("VAULT_WRAPPED_TOKEN", &token)];
    assert_snapshot!(problems(&refused(&both).await, ErrorKind::Setting), @"
    env VAULT_TOKEN: VAULT_TOKEN and VAULT_WRAPPED_TOKEN are both set
    help: unset one of them
    ");

    // A wrapped login is accepted if the program expects one.
    let login = json!({ "role_id": ids.role_id, "secret_id": ids.secret_id });
    let wrap = async || bao.write_wrapped("auth/approle/login", login.clone(), "60s").await;
    let made_by = ("VAULT_WRAPPED_TOKEN_MADE_BY", "auth/approle/login");
    assert_logs_in(&[address, made_by, ("VAULT_WRAPPED_TOKEN", &wrap().await)]).await;
    let error = refused_by(bao.address(), WrappedToken::new(wrap().await)).await;
    assert_snapshot!(problems(&error, ErrorKind::Tampered), @"
    vault http://127.0.0.1:PORT, login by wrapped token: the wrapping token was created by auth/approle/login and not by auth/token/create: a third party may have read the token and wrapped another one
    help: find out which client created it (the server's audit log), revoke the token, and create another: vault token create -wrap-ttl=60s -policy=..
      if another path is meant to create it, set VAULT_WRAPPED_TOKEN_MADE_BY to that path
      this wrapping token is not retried
    ");
    let error = refused_by(bao.address(), WrappedToken::new("hunter2")).await;
    assert_hides(&error, &["hunter2"]);
    assert_snapshot!(problems(&error, ErrorKind::Tampered), @"
    vault http://127.0.0.1:PORT, login by wrapped token: the wrapping token is used, expired or unknown to the server (HTTP 400): if it has not expired and none of your processes unwrapped it, a third party may have the token
    help: a process that restarts needs a new wrapping token: vault token create -wrap-ttl=60s -policy=..
      if none of your processes used this one, find out which client did (the server's audit log) and revoke the token
      this wrapping token is not retried
    ");
}

#[tokio::test]
async fn a_dead_token_is_not_unwrapped_again() {
    let (bao, _) = server().await;
    let folder = tempfile::tempdir().unwrap();
    let wrap = async || {
        let body = json!({ "policies": ["app"], "no_parent": true });
        let token = bao.write_wrapped("auth/token/create", body, "60s").await;
        file(folder.path(), "token", &token)
    };
    let vault = connected(bao.address(), WrappedToken::from_file(wrap().await));
    load_from(&vault).await.unwrap();
    let accessors = "auth/token/accessors?list=true";
    let accessors = bao.read(accessors).await["data"]["keys"].as_array().unwrap().clone();
    for accessor in accessors {
        let about = bao.write("auth/token/lookup-accessor", json!({ "accessor": accessor })).await;
        if about["data"]["policies"].as_array().unwrap().contains(&json!("app")) {
            bao.write("auth/token/revoke-accessor", json!({ "accessor": accessor })).await;
        }
    }
    assert_eq!(failed(load_from(&vault).await).kind(), ErrorKind::TokenInvalid);
    wrap().await;
    load_from(&vault).await.unwrap();
    assert_eq!(request_count(&bao, "sys/wrapping/unwrap"), 2);
}

#[tokio::test]
async fn a_forged_answer_is_no_login() {
    for (data, unwrapped) in [
        (json!({ "creation_path": SECRET_ID }), json!({ "data": { "secret_id": "" } })),
        (json!({ "creation_path": SECRET_ID }), json!({ "data": { "token": "hunter2" } })),
        (json!({ "creation_path": format!("{SECRET_ID}\n\u{1b}[31m") }), json!({})),
        (json!({ "creation_path": "auth/approle/role/a/b/secret-id" }), json!({})),
        (json!({}), json!({})),
    ] {
        let server = ScriptedServer::start(move |request| match request.path() {
            "/v1/sys/wrapping/lookup" => ScriptedAnswer::json(200, &json!({ "data": data })),
            "/v1/sys/wrapping/unwrap" => ScriptedAnswer::json(200, &unwrapped),
            path => panic!("{path} is asked for"),
        })
        .await;
        let method = AppRole::with_wrapped_secret_id("r", "hunter2");
        let error = refused_by(&server.address(), method).await;
        assert_eq!(error.kind(), ErrorKind::Tampered, "{error}");
        assert_hides(&error, &["hunter2", "\u{1b}"]);
    }
}

#[tokio::test]
async fn what_is_malformed_is_never_sent() {
    let (bao, _) = server().await;
    for token in ["", "hunter 2", "hunter2\n", "hunter2\u{7f}", "hünter2"] {
        let approle = AppRole::with_wrapped_secret_id("r", token);
        for error in [
            refused_by(bao.address(), approle).await,
            refused_by(bao.address(), WrappedToken::new(token)).await,
        ] {
            assert_eq!(error.kind(), ErrorKind::Setting, "{error}");
            assert_hides(&error, &["nter2", "hunter"]);
        }
    }
    let error = refused_by(bao.address(), WrappedToken::new("hunter2\n")).await;
    assert_snapshot!(problems(&error, ErrorKind::Setting), @"
    vault http://127.0.0.1:PORT, login by wrapped token: the value is no wrapping token: it is empty, or contains a space or a control character
    help: pass the wrapping token exactly as it was created
    ");
    assert_eq!((request_count(&bao, "sys/wrapping/lookup"), logins(&bao)), (0, 0));
}

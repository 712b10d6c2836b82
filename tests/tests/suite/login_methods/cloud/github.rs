//! GitHub.

use insta::assert_snapshot;
use serde_json::json;
use vault_config::ErrorKind;
use vault_config::auth::GitHub;

use super::super::{assert_hides, assert_logs_in_by, assert_malformed, refused, refused_by};
use super::vault;
use crate::logins::{assert_logs_in, file};
use crate::support::problems;

const PATH: &str = "/v1/auth/github/login";

#[tokio::test]
async fn a_person_logs_in_with_an_access_token() {
    let vault = vault(PATH, |body| *body == json!({ "token": "ghp_hunter2" })).await;
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "token", "ghp_hunter2\n");
    assert_logs_in_by(&vault.address(), GitHub::new("ghp_hunter2")).await;
    assert_logs_in_by(&vault.address(), GitHub::from_file(&path)).await;
    let address = vault.address();
    let (address, method) = (("VAULT_ADDR", &*address), ("VAULT_AUTH_METHOD", "github"));
    let token = ("VAULT_AUTH_GITHUB_TOKEN", "ghp_hunter2");
    assert_logs_in(&[address, method, token]).await;
    assert_logs_in(&[address, method, ("VAULT_AUTH_GITHUB_TOKEN_FILE", &path)]).await;

    let error = refused_by(&vault.address(), GitHub::new("ghp_other_hunter2")).await;
    assert_hides(&error, &["hunter2"]);
    assert_snapshot!(problems(&error, ErrorKind::LoginRefused), @"
    vault http://127.0.0.1:PORT, login by github at auth/github: it does not fit (HTTP 400)
    help: see the server's log
    ");
    let sent = vault.requests().len();
    for token in ["", "hunter 2", "hunter2\n"] {
        assert_malformed(&vault.address(), GitHub::new(token)).await;
    }
    let token = ("VAULT_AUTH_GITHUB_TOKEN", "ghp hunter2");
    let error = refused(&[address, method, token]).await;
    assert_hides(&error, &["hunter2"]);
    assert_snapshot!(problems(&error, ErrorKind::Setting), @"
    env VAULT_AUTH_GITHUB_TOKEN: the token holds a space, a line break or another invalid character
    help: pass the access token exactly as GitHub issued it
    ");
    assert_eq!(vault.requests().len(), sent);
}

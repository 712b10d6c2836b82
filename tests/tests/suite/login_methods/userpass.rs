//! Users of the server itself.

use insta::assert_snapshot;
use serde_json::json;
use vault_config::ErrorKind;
use vault_config::auth::UserPass;
use vault_config_tests::OpenBao;

use super::{assert_hides, assert_logs_in_by, assert_malformed, logins, refused, refused_by};
use crate::logins::{assert_logs_in, file, server};
use crate::support::problems;

async fn users() -> OpenBao {
    let (bao, _) = server().await;
    bao.enable_auth("userpass").await;
    for name in ["alice", "bob", "carol.o-neil"] {
        let user = json!({ "password": " hunter2 ", "token_policies": "app" });
        bao.write(&format!("auth/userpass/users/{name}"), user).await;
    }
    bao
}

#[tokio::test]
async fn a_user_logs_in_with_a_password() {
    let bao = users().await;
    let folder = tempfile::tempdir().unwrap();
    let password = file(folder.path(), "password", " hunter2 \r\n");
    assert_logs_in_by(bao.address(), UserPass::new("alice", " hunter2 ")).await;
    assert_logs_in_by(bao.address(), UserPass::with_password_file("alice", &password)).await;
    let (address, method) = (("VAULT_ADDR", bao.address()), ("VAULT_AUTH_METHOD", "userpass"));
    for user in ["alice", "carol.o-neil"] {
        let user = ("VAULT_USERNAME", user);
        assert_logs_in(&[address, method, user, ("VAULT_PASSWORD", " hunter2 ")]).await;
        assert_logs_in(&[address, method, user, ("VAULT_PASSWORD_FILE", &password)]).await;
    }
}

#[tokio::test]
async fn a_wrong_password_is_sent_once_and_locks_in_the_end() {
    let bao = users().await;
    let wrong = UserPass::new("bob", "hunter2-wrong");
    let error = refused_by(bao.address(), wrong.clone()).await;
    assert_eq!(logins(&bao), 1);
    assert_hides(&error, &["hunter2"]);
    assert_snapshot!(problems(&error, ErrorKind::LoginRefused), @r#"
    vault http://127.0.0.1:PORT, login by userpass at auth/userpass as "bob": invalid username or password (HTTP 400)
    help: the user may be unknown or the password wrong: the server does not reveal which
      after several failed logins the server locks the user for a while, so this login was not retried
    "#);
    let unknown = refused_by(bao.address(), UserPass::new("mallory", "hunter2")).await;
    let (error, unknown) = (error.to_string(), unknown.to_string());
    assert_eq!(unknown.replace("mallory", "bob"), error);

    for _ in 1..5 {
        refused_by(bao.address(), wrong.clone()).await;
    }
    let locked = refused_by(bao.address(), UserPass::new("bob", " hunter2 ")).await;
    assert_snapshot!(problems(&locked, ErrorKind::LoginRefused), @r#"
    vault http://127.0.0.1:PORT, login by userpass at auth/userpass as "bob": permission denied (HTTP 403)
    help: check that the auth method is mounted at auth/userpass (vault auth list) and that the namespace is right
      or the account may be locked after several failed logins: vault read sys/locked-users
    "#);
}

#[tokio::test]
async fn what_is_malformed_is_never_sent() {
    let bao = users().await;
    for (name, password) in [
        ("", "hunter2"),
        ("a/../bob", "hunter2"),
        ("..", "hunter2"),
        ("bob\r\n", "hunter2"),
        ("bob", ""),
        ("bob", "hunter2\n"),
        ("bob", "hunter2\0"),
    ] {
        assert_malformed(bao.address(), UserPass::new(name, password)).await;
    }
    let (address, method) = (("VAULT_ADDR", bao.address()), ("VAULT_AUTH_METHOD", "userpass"));
    let user = ("VAULT_USERNAME", "bob");
    let error = refused(&[address, method, user, ("VAULT_PASSWORD", "hunter2\n")]).await;
    assert_snapshot!(problems(&error, ErrorKind::Setting), @"
    env VAULT_PASSWORD: the password contains a line break or another control character
    help: remove it
    ");
    assert_snapshot!(problems(&refused(&[address, method, user]).await, ErrorKind::NoLogin), @"
    env VAULT_AUTH_METHOD: this login method requires VAULT_USERNAME, and VAULT_PASSWORD or VAULT_PASSWORD_FILE
    help: set VAULT_USERNAME, and VAULT_PASSWORD or VAULT_PASSWORD_FILE
    ");
    let both = [address, method, user, ("VAULT_PASSWORD", "a"), ("BAO_PASSWORD_FILE", "b")];
    assert_snapshot!(problems(&refused(&both).await, ErrorKind::Setting), @"
    env VAULT_PASSWORD: VAULT_PASSWORD and BAO_PASSWORD_FILE are both set
    help: unset one of them
    ");
    assert_eq!(logins(&bao), 0);
}

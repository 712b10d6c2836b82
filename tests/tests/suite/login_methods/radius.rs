//! Users of a RADIUS server.

use insta::assert_snapshot;
use vault_config::ErrorKind;
use vault_config::auth::Radius;
use vault_config_tests::{OpenBao, Radius as Server};

use super::{
    MALFORMED_USERS, allow_users, assert_hides, assert_logs_in_by, assert_malformed, logins,
    refused_by,
};
use crate::logins::{assert_logs_in, file, set_up};
use crate::support::problems;

async fn radius() -> (OpenBao, Server) {
    let users = [("alice", "hunter2-radius"), ("bob", "hunter2 radius")];
    let (bao, radius) = tokio::join!(OpenBao::dev_with_ldap(), Server::start(&users));
    let bao = set_up(bao).await;
    radius.connect(&bao).await;
    allow_users(&bao, "radius", &users).await;
    bao.clear_audit();
    (bao, radius)
}

#[tokio::test]
async fn a_user_of_the_radius_server_logs_in() {
    let (bao, _radius) = radius().await;
    assert_logs_in_by(bao.address(), Radius::new("alice", "hunter2-radius")).await;
    let folder = tempfile::tempdir().unwrap();
    let password = file(folder.path(), "password", "hunter2 radius\n");
    assert_logs_in_by(bao.address(), Radius::with_password_file("bob", &password)).await;
    let (address, method) = (("VAULT_ADDR", bao.address()), ("VAULT_AUTH_METHOD", "radius"));
    let alice = ("VAULT_USERNAME", "alice");
    assert_logs_in(&[address, method, alice, ("VAULT_PASSWORD", "hunter2-radius")]).await;
    let bob = ("VAULT_USERNAME", "bob");
    assert_logs_in(&[address, method, bob, ("VAULT_PASSWORD_FILE", &password)]).await;
}

#[tokio::test]
async fn a_wrong_password_is_sent_once() {
    let (bao, _radius) = radius().await;
    let error = refused_by(bao.address(), Radius::new("alice", "hunter2-wrong")).await;
    assert_hides(&error, &["hunter2"]);
    assert_snapshot!(problems(&error, ErrorKind::LoginRefused), @r#"
    vault http://127.0.0.1:PORT, login by radius at auth/radius as "alice": access denied by the authentication server (HTTP 400)
    help: the user may be unknown or the password wrong: the server does not reveal which
      after several failed logins the server locks the user for a while, so this login was not retried
    "#);
    assert_eq!(logins(&bao), 1);
    for (name, password) in MALFORMED_USERS {
        assert_malformed(bao.address(), Radius::new(name, password)).await;
    }
    assert_eq!(logins(&bao), 1);
}

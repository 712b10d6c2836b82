//! Users of a directory.

use insta::assert_snapshot;
use vault_config::ErrorKind;
use vault_config::auth::Ldap;
use vault_config_tests::{Ldap as Directory, OpenBao};

use super::{
    MALFORMED_USERS, allow_users, assert_hides, assert_logs_in_by, assert_malformed, logins,
    refused_by,
};
use crate::logins::{assert_logs_in, file, set_up};
use crate::support::problems;

async fn directory() -> (OpenBao, Directory) {
    let users = [("alice", "hunter2-ldap"), ("bob.o'neil", "hunter2 ldap")];
    let (bao, directory) = tokio::join!(OpenBao::dev_with_ldap(), Directory::start(&users));
    let bao = set_up(bao).await;
    directory.connect(&bao).await;
    allow_users(&bao, "ldap", &users).await;
    bao.clear_audit();
    (bao, directory)
}

#[tokio::test]
async fn a_user_of_the_directory_logs_in() {
    let (bao, _directory) = directory().await;
    assert_logs_in_by(bao.address(), Ldap::new("alice", "hunter2-ldap")).await;
    let folder = tempfile::tempdir().unwrap();
    let password = file(folder.path(), "password", "hunter2 ldap\n");
    assert_logs_in_by(bao.address(), Ldap::with_password_file("bob.o'neil", &password)).await;
    let (address, method) = (("VAULT_ADDR", bao.address()), ("VAULT_AUTH_METHOD", "ldap"));
    let alice = ("VAULT_USERNAME", "alice");
    assert_logs_in(&[address, method, alice, ("VAULT_PASSWORD", "hunter2-ldap")]).await;
    let bob = ("BAO_USERNAME", "bob.o'neil");
    assert_logs_in(&[address, method, bob, ("BAO_PASSWORD_FILE", &password)]).await;
}

#[tokio::test]
async fn a_wrong_password_is_sent_once() {
    let (bao, directory) = directory().await;
    let error = refused_by(bao.address(), Ldap::new("alice", "hunter2-wrong")).await;
    assert_hides(&error, &["hunter2"]);
    assert_snapshot!(problems(&error, ErrorKind::LoginRefused), @r#"
    vault http://127.0.0.1:PORT, login by ldap at auth/ldap as "alice": ldap operation failed: failed to bind as user (HTTP 400)
    help: the user may be unknown or the password wrong: the server does not reveal which
      after several failed logins the server locks the user for a while, so this login was not retried
    "#);
    assert_eq!(logins(&bao), 1);
    drop(directory);
    let error = refused_by(bao.address(), Ldap::new("alice", "hunter2-ldap")).await;
    assert_hides(&error, &["hunter2"]);
    assert_snapshot!(problems(&error, ErrorKind::LoginRefused), @r#"
    vault http://127.0.0.1:PORT, login by ldap at auth/ldap as "alice": error connecting to host "ldap://127.0.0.1:PORT": LDAP Result Code 200 "Network Error": dial tcp 127.0.0.1:PORT: connect: connection refused (HTTP 400)
    help: the server cannot reach the directory; check its address: vault read auth/ldap/config
    "#);
    for (name, password) in MALFORMED_USERS {
        assert_malformed(bao.address(), Ldap::new(name, password)).await;
    }
    assert_eq!(logins(&bao), 2);
}

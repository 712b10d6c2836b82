//! Service accounts of Kubernetes.

use insta::assert_snapshot;
use serde_json::json;
use vault_config::ErrorKind;
use vault_config::auth::Kubernetes;
use vault_config_tests::{Kubernetes as Cluster, OpenBao};

use super::{
    assert_hides, assert_logs_in_by, assert_malformed, connected, load_from, logins, refused,
    refused_by,
};
use crate::logins::{assert_logs_in, file, server};
use crate::support::problems;

async fn cluster() -> (OpenBao, Cluster) {
    let ((bao, _), cluster) = tokio::join!(server(), Cluster::start());
    cluster.connect(&bao).await;
    let role = json!({
        "bound_service_account_names": "billing",
        "bound_service_account_namespaces": "prod",
        "token_policies": "app",
    });
    bao.write("auth/kubernetes/role/billing", role).await;
    (bao, cluster)
}

#[tokio::test]
async fn a_pod_logs_in_with_its_service_account() {
    let (bao, cluster) = cluster().await;
    let folder = tempfile::tempdir().unwrap();
    let token = file(folder.path(), "token", &cluster.token("prod", "billing", 3600));
    assert_logs_in_by(bao.address(), Kubernetes::new("billing").token_file(&token)).await;
    let (address, file) =
        (("VAULT_ADDR", bao.address()), ("VAULT_KUBERNETES_TOKEN_FILE", token.as_str()));
    let role = ("VAULT_AUTH_ROLE", "billing");
    assert_logs_in(&[address, file, role, ("VAULT_AUTH_METHOD", "kubernetes")]).await;
    // Detected without VAULT_AUTH_METHOD, before a token file and after a role_id.
    assert_logs_in(&[address, file, role, ("VAULT_TOKEN_FILE", "/none")]).await;
    let wrong = ("VAULT_AUTH_ROLE", "wrong");
    assert_logs_in(&[address, file, wrong, ("BAO_AUTH_ROLE", "billing")]).await;
    assert_eq!(cluster.reviews(), 4);

    bao.write("sys/auth/team/cluster", json!({ "type": "kubernetes" })).await;
    let elsewhere = [address, file, role, ("VAULT_AUTH_MOUNT", "auth/team/cluster/")];
    let error = refused(&elsewhere).await.to_string();
    assert!(error.contains("vault write auth/team/cluster/role/billing"), "{error}");
}

#[tokio::test]
async fn its_file_is_read_at_every_login() {
    let (bao, cluster) = cluster().await;
    let folder = tempfile::tempdir().unwrap();
    let first = cluster.token("prod", "billing", 3600);
    let path = file(folder.path(), "token", &first);
    let vault = connected(bao.address(), Kubernetes::new("billing").token_file(&path));
    load_from(&vault).await.unwrap();
    cluster.invalidate(&first);
    bao.write("sys/leases/revoke-prefix/auth/kubernetes/login", json!({})).await;
    // The next login sends the current content of the file.
    file(folder.path(), "token", &format!("{}\n", cluster.token("prod", "billing", 3599)));
    load_from(&vault).await.unwrap();
    assert_eq!(logins(&bao), 2);
}

#[tokio::test]
async fn a_refusal_says_what_may_be_wrong() {
    let (bao, cluster) = cluster().await;
    let folder = tempfile::tempdir().unwrap();
    let log_in = async |role: &str, token: &str| {
        let path = file(folder.path(), "token", token);
        let error = refused_by(bao.address(), Kubernetes::new(role).token_file(&path)).await;
        assert_hides(&error, &[token]);
        error
    };
    let kind = ErrorKind::LoginRefused;
    let good = cluster.token("prod", "billing", 3600);
    assert_snapshot!(problems(&log_in("no-such-role", &good).await, kind), @r#"
    vault http://127.0.0.1:PORT, login by kubernetes at auth/kubernetes as "no-such-role": invalid role name "no-such-role" (HTTP 400)
    help: create the role: vault write auth/kubernetes/role/no-such-role bound_service_account_names=.. bound_service_account_namespaces=.. token_policies=..
    "#);
    let other = cluster.token("prod", "other", 3600);
    assert_snapshot!(problems(&log_in("billing", &other).await, kind), @r#"
    vault http://127.0.0.1:PORT, login by kubernetes at auth/kubernetes as "billing": service account name not authorized (HTTP 403)
    help: the role must allow this pod's service account and namespace; see what it allows: vault read auth/kubernetes/role/billing
    "#);
    cluster.invalidate(&good);
    assert_snapshot!(problems(&log_in("billing", &good).await, kind), @r#"
    vault http://127.0.0.1:PORT, login by kubernetes at auth/kubernetes as "billing": permission denied (HTTP 403)
    help: see the server's log: Kubernetes may not accept the token any more, or the server may fail to reach Kubernetes, or lack the permission for a TokenReview (vault read auth/kubernetes/config)
      or check that the auth method is mounted at auth/kubernetes (vault auth list) and that the namespace is right
    "#);
    let expired = cluster.token("prod", "billing", -600);
    assert_snapshot!(problems(&log_in("billing", &expired).await, kind), @r#"
    vault http://127.0.0.1:PORT, login by kubernetes at auth/kubernetes as "billing": invalid expiration time (exp) claim: token is expired (HTTP 403)
    help: Kubernetes renews the file of a running pod: check that it is mounted, and check the clocks of both machines
    "#);
}

#[tokio::test]
async fn what_is_malformed_is_never_sent() {
    let (bao, _) = cluster().await;
    let folder = tempfile::tempdir().unwrap();
    for text in ["hunter2", "hunter2.hunter2", "a.b.hunter2\u{7}", "a.hunter2\r\nX: y.c"] {
        let path = file(folder.path(), "token", text);
        assert_malformed(bao.address(), Kubernetes::new("app").token_file(&path)).await;
    }
    let path = file(folder.path(), "token", "");
    let error = refused_by(bao.address(), Kubernetes::new("app").token_file(&path)).await;
    assert_snapshot!(problems(&error, ErrorKind::LoginRefused), @r#"
    vault http://127.0.0.1:PORT, login by kubernetes at auth/kubernetes as "app": DIRECTORY/token is empty or not text
    help: write only the token, id or password into it
    "#);
    for role in ["", "a\nb", "a/b", " a"] {
        assert_malformed(bao.address(), Kubernetes::new(role).token_file(&path)).await;
    }
    assert_eq!(logins(&bao), 0);

    let method = ("VAULT_AUTH_METHOD", "kubernetes");
    let role = ("VAULT_AUTH_ROLE", "app");
    let address = ("VAULT_ADDR", bao.address());
    assert_snapshot!(problems(&refused(&[address, method]).await, ErrorKind::NoLogin), @"
    env VAULT_AUTH_METHOD: this login method requires VAULT_AUTH_ROLE
    help: set VAULT_AUTH_ROLE
    ");
    let error = refused(&[address, method, ("VAULT_AUTH_ROLE", "a/b")]).await;
    assert_snapshot!(problems(&error, ErrorKind::Setting), @"
    env VAULT_AUTH_ROLE: is empty, begins or ends with a space, or contains a slash or a control character
    help: correct VAULT_AUTH_ROLE, or unset it
    ");
    let error = refused(&[address, method, role, ("VAULT_AUTH_MOUNT", "a//b")]).await;
    assert_snapshot!(problems(&error, ErrorKind::Setting), @"
    env VAULT_AUTH_MOUNT: is not a valid mount path, such as team-a/kubernetes
    help: correct VAULT_AUTH_MOUNT, or unset it
    ");
    // These tests do not run in a pod.
    let error = refused(&[address, method, role]).await;
    assert_snapshot!(problems(&error, ErrorKind::LoginRefused), @r#"
    vault http://127.0.0.1:PORT, login by kubernetes at auth/kubernetes as "app": /var/run/secrets/kubernetes.io/serviceaccount/token cannot be read: No such file or directory (os error 2)
    help: check the path, and that this process may read the file
      a pod has this file unless its service account or its own spec sets automountServiceAccountToken: false
    "#);
}

//! The connection's client certificate.

use std::path::Path;

use insta::assert_snapshot;
use serde_json::json;
use vault_config::auth::Cert;
use vault_config::{ErrorKind, Vault};
use vault_config_tests::{Authority, OpenBao};

use super::{failed, load_from, logins, refused, refused_by};
use crate::logins::{assert_logs_in, server, set_up};
use crate::support::problems;

/// A server that asks for a certificate, and one role that trusts this authority's.
async fn trusting(authority: &Authority) -> OpenBao {
    let bao = set_up(OpenBao::with_mutual_tls(authority).await).await;
    bao.enable_auth("cert").await;
    let ca = std::fs::read_to_string(authority.ca_cert()).unwrap();
    let role = json!({
        "certificate": ca, "allowed_common_names": "billing", "token_policies": "app",
    });
    bao.write("auth/cert/certs/billing", role).await;
    bao.clear_audit();
    bao
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn the_connections_certificate_logs_in() {
    let authority = Authority::new();
    let bao = trusting(&authority).await;
    let client = authority.client("billing");
    let common = [
        ("VAULT_ADDR", bao.address()),
        ("VAULT_CACERT", text(bao.ca_cert())),
        ("VAULT_CLIENT_CERT", text(&client.cert)),
        ("VAULT_CLIENT_KEY", text(&client.key)),
        ("VAULT_AUTH_METHOD", "cert"),
    ];
    assert_logs_in(&common).await;
    assert_logs_in(&[&common[..], &[("VAULT_AUTH_ROLE", "billing")]].concat()).await;
    let error = refused(&[&common[..], &[("VAULT_AUTH_ROLE", "other")]].concat()).await;
    assert_snapshot!(problems(&error, ErrorKind::LoginRefused), @"
    vault https://127.0.0.1:PORT, login by cert at auth/cert: invalid certificate or no client certificate supplied (HTTP 400)
    help: a role must trust the certificate's authority and its names; see what the roles trust: vault list auth/cert/certs; vault read auth/cert/certs/other
      or no certificate may have arrived: set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY, and let no proxy on the way terminate TLS
    ");

    let stranger = authority.client("stranger");
    let mut shown = common;
    shown[2].1 = text(&stranger.cert);
    shown[3].1 = text(&stranger.key);
    assert_snapshot!(problems(&refused(&shown).await, ErrorKind::LoginRefused), @"
    vault https://127.0.0.1:PORT, login by cert at auth/cert: no chain matching all constraints could be found for this login certificate (HTTP 400)
    help: a role must trust the certificate's authority and its names; see what the roles trust: vault list auth/cert/certs; vault read auth/cert/certs/<role>
    ");
}

#[tokio::test]
async fn the_builders_certificate_and_that_of_a_client_of_ones_own_log_in() {
    let authority = Authority::new();
    let bao = trusting(&authority).await;
    let client = authority.client("billing");
    let vault = Vault::builder()
        .address(bao.address())
        .auth(Cert::new())
        .ca_certificate_file(bao.ca_cert())
        .client_certificate_files(&client.cert, &client.key);
    load_from(&vault.build().unwrap()).await.unwrap();

    let [cert, key, ca] =
        [&client.cert, &client.key, bao.ca_cert()].map(|path: &Path| std::fs::read(path).unwrap());
    let own = vault_config_tests::client_builder()
        .redirect(reqwest::redirect::Policy::none())
        .identity(reqwest::Identity::from_pem(&[cert, key].concat()).unwrap())
        .tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()])
        .build()
        .unwrap();
    let auth = Cert::new().role("billing");
    let vault = Vault::builder().address(bao.address()).auth(auth).http_client(own);
    load_from(&vault.build().unwrap()).await.unwrap();
}

#[tokio::test]
async fn without_a_certificate_there_is_no_login() {
    let (bao, _) = server().await;
    assert_snapshot!(problems(&refused_by(bao.address(), Cert::new()).await, ErrorKind::Setting), @"
    vault http://127.0.0.1:PORT, login by cert at auth/cert: the client certificate cannot be presented: the address is not https
    help: set Vault::builder().address(..) to the server's https address
    ");
    let method = ("VAULT_AUTH_METHOD", "cert");
    let error = refused(&[("VAULT_ADDR", bao.address()), method]).await;
    assert_snapshot!(problems(&error, ErrorKind::NoLogin), @"
    env VAULT_AUTH_METHOD: this login method requires VAULT_CLIENT_CERT and VAULT_CLIENT_KEY
    help: set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY
    ");
    assert_eq!(logins(&bao), 0);

    // The server accepts a certificate and receives none.
    let bao = OpenBao::dev_tls().await;
    bao.enable_auth("cert").await;
    let ca = std::fs::read(bao.ca_cert()).unwrap();
    let vault = Vault::builder().address(bao.address()).auth(Cert::new()).ca_certificate(ca);
    let error = failed(load_from(&vault.build().unwrap()).await);
    assert_snapshot!(problems(&error, ErrorKind::LoginRefused), @"
    vault https://127.0.0.1:PORT, login by cert at auth/cert: no client certificate found (HTTP 400)
    help: the server received no certificate: set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY, and let no proxy on the way terminate TLS
    ");
}

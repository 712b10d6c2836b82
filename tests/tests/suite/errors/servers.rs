//! Servers that cannot be reached, are not trusted or are not ready.

use insta::assert_snapshot;
use serde_json::json;
use vault_config::ErrorKind;
use vault_config_tests::{Authority, Fault, FaultProxy, OpenBao};

use super::{Config, failure, login_failure, server, token_failure};
use crate::support::problems;

#[tokio::test]
async fn a_server_that_is_not_ready_says_which_way() {
    let (sealed, uninitialised) = tokio::join!(OpenBao::sealed(), OpenBao::uninitialised());
    let quick = async |address: &str| {
        let token = ("VAULT_TOKEN", "t");
        failure::<Config>(&[("VAULT_ADDR", address), token, ("VAULT_MAX_RETRIES", "0")]).await
    };
    assert_snapshot!(problems(&quick(sealed.address()).await, ErrorKind::Sealed), @"
    vault http://127.0.0.1:PORT: Vault is sealed (HTTP 503)
    help: unseal it: vault operator unseal (each node of a cluster separately); with auto-unseal, see the server's log
    ");
    assert_snapshot!(problems(&quick(uninitialised.address()).await, ErrorKind::Uninitialised), @"
    vault http://127.0.0.1:PORT: the server is not initialised
    help: check the address and the server's storage; if the server is new: vault operator init, then unseal it
    ");
    // The login says the same.
    let login = login_failure(sealed.address(), "role", "hunter2").await;
    assert_eq!(
        problems(&login, ErrorKind::Sealed),
        problems(&quick(sealed.address()).await, ErrorKind::Sealed)
    );
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_says_why() {
    let bao = server().await;
    let proxy = FaultProxy::in_front_of(bao.address()).await;
    let token = bao.root_token();
    let address = proxy.address();
    let through = async |timeout: &str| {
        let timeout = ("VAULT_CLIENT_TIMEOUT", timeout);
        failure::<Config>(&[("VAULT_ADDR", &address), ("VAULT_TOKEN", token), timeout]).await
    };
    proxy.set(Fault::Refuse).await;
    assert_snapshot!(problems(&through("30s").await, ErrorKind::ConnectionRefused), @"
    vault http://127.0.0.1:PORT: connection refused
    help: check that the server runs and listens on the port in VAULT_ADDR
    ");
    proxy.set(Fault::Stall).await;
    assert_snapshot!(problems(&through("500ms").await, ErrorKind::Timeout), @"
    vault http://127.0.0.1:PORT: no answer within 500ms
    help: the server seems to accept connections and not to answer: check its load and its storage
      or the network loses packets; VAULT_CLIENT_TIMEOUT sets the limit
    ");
    proxy.set(Fault::CutAfter(40)).await;
    let cut = problems(&through("30s").await, ErrorKind::Connection);
    assert_snapshot!(cut, @"
    vault http://127.0.0.1:PORT: connection closed before message completed
    help: the server may speak https here: use https:// in the address; or a proxy or a restart of the server may have closed the connection
    ");
    proxy.set(Fault::CutAfter(0)).await;
    assert_eq!(problems(&through("30s").await, ErrorKind::Connection), cut);
    proxy.set(Fault::Garbage(b"SSH-2.0-OpenSSH_9.2 hunter2\r\n".to_vec())).await;
    assert_snapshot!(problems(&through("30s").await, ErrorKind::Connection), @"
    vault http://127.0.0.1:PORT: invalid HTTP version parsed
    help: the server may speak https here: use https:// in the address; or a proxy or a restart of the server may have closed the connection
    ");

    let nowhere = token_failure::<Config>("http://nowhere.invalid:8200", "t").await;
    assert_snapshot!(problems(&nowhere, ErrorKind::Dns), @r#"
    vault http://nowhere.invalid:8200: the host name "nowhere.invalid" does not resolve
    help: check the DNS of this machine, and the host in VAULT_ADDR
    "#);
}

#[tokio::test]
async fn each_bad_certificate_has_its_own_sentence() {
    let authority = Authority::new();
    let [good, expired, other] = [authority.server(), authority.expired(), authority.wrong_name()];
    let (good, expired, other) = tokio::join!(
        OpenBao::with_tls(&good),
        OpenBao::with_tls(&expired),
        OpenBao::with_tls(&other)
    );
    let ca = authority.ca_cert().to_str().unwrap();
    let stranger = Authority::new();
    let stranger = stranger.ca_cert().to_str().unwrap();
    let trusting = async |address: &str, ca: &str| {
        let ca = ("VAULT_CACERT", ca);
        failure::<Config>(&[("VAULT_ADDR", address), ("VAULT_TOKEN", "t"), ca]).await
    };
    let kind = ErrorKind::Untrusted;
    assert_snapshot!(problems(&trusting(good.address(), stranger).await, kind), @"
    vault https://127.0.0.1:PORT: the server's certificate is signed by an authority that is not trusted
    help: name the authority that signed it: VAULT_CACERT=/path/ca.pem (or VAULT_CACERT_BYTES, VAULT_CAPATH)
    ");
    assert_snapshot!(problems(&trusting(expired.address(), ca).await, kind), @"
    vault https://127.0.0.1:PORT: the server's certificate is expired, or not valid yet
    help: renew the server's certificate, and check the clocks of both machines
    ");
    assert_snapshot!(problems(&trusting(other.address(), ca).await, kind), @"
    vault https://127.0.0.1:PORT: the server's certificate is for another name
    help: use an address whose host is in the certificate, or set VAULT_TLS_SERVER_NAME to a name in it
    ");
    // The authorities of the system.
    let system = token_failure::<Config>(good.address(), "t").await;
    assert_eq!(problems(&system, kind), problems(&trusting(good.address(), stranger).await, kind));

    let plain = good.address().replace("https://", "http://");
    assert_snapshot!(problems(&token_failure::<Config>(&plain, "t").await, ErrorKind::NotVault), @"
    vault http://127.0.0.1:PORT: HTTP 400 with no content type instead of Vault's JSON
    help: the server may speak https here: use https:// in the address
      or a proxy, a load balancer, a login page or another service answered at this address: check that the server behind it runs, and check VAULT_ADDR
    ");
    let bao = OpenBao::dev().await;
    let tls = bao.address().replace("http://", "https://");
    assert_snapshot!(problems(&token_failure::<Config>(&tls, "t").await, ErrorKind::Connection), @"
    vault https://127.0.0.1:PORT: this port does not speak https
    help: use http:// in the address, or use the port that speaks https
    ");
}

#[tokio::test]
async fn an_unknown_namespace_is_reported() {
    let bao = server().await;
    let ids = bao.approle("app", &[], json!({})).await;
    let nowhere = async |login: &[(&str, &str)]| {
        let common = [("VAULT_ADDR", bao.address()), ("VAULT_NAMESPACE", "nowhere")];
        failure::<Config>(&[&common, login].concat()).await
    };
    let kind = ErrorKind::NamespaceAbsent;
    let error = nowhere(&[("VAULT_TOKEN", bao.root_token())]).await;
    assert_snapshot!(problems(&error, kind), @"
    vault http://127.0.0.1:PORT: namespace not found (HTTP 404)
    help: check VAULT_NAMESPACE (or BAO_NAMESPACE), or unset it for the root namespace
    ");
    let login = [("VAULT_ROLE_ID", &*ids.role_id), ("VAULT_SECRET_ID", &*ids.secret_id)];
    assert_eq!(problems(&nowhere(&login).await, kind), problems(&error, kind));
}

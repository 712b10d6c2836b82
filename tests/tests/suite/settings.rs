//! The official client's variables, each seen at work.

use std::time::Duration;

use serde_json::json;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{Error, ErrorKind, Vault, VaultConfig};
use vault_config_tests::{Authority, OpenBao, ScriptedAnswer, ScriptedServer};

#[derive(Debug, VaultConfig)]
struct Config {
    #[vault(kv = "app")]
    key: SecretString,
}

async fn load(variables: &[(&str, &str)]) -> Result<String, Error> {
    let loader = Config::loader().without_dotenv().env_source(variables.iter().copied());
    loader.load().await.map(|config| config.key.expose_secret().to_owned())
}

fn secret() -> ScriptedAnswer {
    let secret = json!({ "data": { "key": "k" }, "metadata": { "version": 1 } });
    ScriptedAnswer::json(200, &json!({ "data": secret }))
}

#[tokio::test]
async fn certificates_by_file_folder_text_and_name() {
    let authority = Authority::new();
    let (right, other) = (authority.server(), authority.wrong_name());
    let (bao, misnamed) = tokio::join!(OpenBao::with_tls(&right), OpenBao::with_tls(&other));
    for server in [&bao, &misnamed] {
        server.kv_put("secret", "app", json!({ "key": "k" })).await;
    }
    let file = authority.ca_cert().to_str().unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(file, folder.path().join("ca.pem")).unwrap();
    let folder = folder.path().to_str().unwrap();
    let at = |server: &OpenBao, more: &[(&'static str, &str)]| {
        let mut variables = vec![
            ("VAULT_ADDR".to_owned(), server.address().to_owned()),
            ("VAULT_TOKEN".to_owned(), server.root_token().to_owned()),
        ];
        variables
            .extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        async move {
            let loader = Config::loader().without_dotenv().env_source(variables);
            loader.load().await.map(|config| config.key.expose_secret().to_owned())
        }
    };
    for trusted in [
        [("VAULT_CACERT", file)].as_slice(),
        &[("VAULT_CACERT_BYTES", &text)],
        &[("VAULT_CAPATH", folder)],
        &[("BAO_CACERT", file), ("VAULT_CACERT", "/nowhere")],
        &[("VAULT_SKIP_VERIFY", "true")],
    ] {
        assert_eq!(at(&bao, trusted).await.unwrap(), "k", "{trusted:?}");
    }
    for (untrusted, kind) in [
        ([].as_slice(), ErrorKind::Untrusted),
        (&[("VAULT_SKIP_VERIFY", "")], ErrorKind::Untrusted),
        (&[("VAULT_SKIP_VERIFY", "false")], ErrorKind::Untrusted),
        (
            &[("VAULT_CACERT", file), ("VAULT_TLS_SERVER_NAME", "other.example")],
            ErrorKind::Untrusted,
        ),
        (&[("VAULT_CACERT", "/nowhere")], ErrorKind::Setting),
    ] {
        assert_eq!(at(&bao, untrusted).await.unwrap_err().kind(), kind, "{untrusted:?}");
    }
    let named = [("VAULT_CACERT", file)];
    assert_eq!(at(&misnamed, &named).await.unwrap_err().kind(), ErrorKind::Untrusted);
}

#[tokio::test]
async fn a_client_certificate_where_the_server_demands_one() {
    let authority = Authority::new();
    let bao = OpenBao::with_mutual_tls(&authority).await;
    bao.kv_put("secret", "app", json!({ "key": "k" })).await;
    let client = authority.client("app");
    let [ca, cert, key] =
        [authority.ca_cert(), &client.cert, &client.key].map(|path| path.to_str().unwrap());
    let pem = |path: &str| std::fs::read_to_string(path).unwrap();
    let (cert_text, key_text) = (pem(cert), pem(key));
    let base = [
        ("VAULT_ADDR", bao.address()),
        ("VAULT_TOKEN", bao.root_token()),
        ("VAULT_CACERT", ca),
        ("VAULT_MAX_RETRIES", "0"),
    ];
    let with = |more: &[(&'static str, &'static str)]| [base.as_slice(), more].concat();
    assert!(load(&with(&[])).await.is_err());
    for pair in [
        [("VAULT_CLIENT_CERT", cert), ("VAULT_CLIENT_KEY", key)],
        [("BAO_CLIENT_CERT_BYTES", &cert_text), ("BAO_CLIENT_KEY_BYTES", &key_text)],
    ] {
        assert_eq!(load(&[base.as_slice(), &pair].concat()).await.unwrap(), "k");
    }
    let half = load(&[base.as_slice(), &[("VAULT_CLIENT_CERT", cert)]].concat()).await.unwrap_err();
    assert_eq!(half.kind(), ErrorKind::Setting);
    assert!(half.to_string().contains("VAULT_CLIENT_KEY"), "{half}");
}

/// Certificates are renewed in place while a service runs for months.
#[tokio::test]
async fn certificates_are_read_again_when_they_change_on_disk() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let bao = OpenBao::with_mutual_tls(&authority).await;
    bao.kv_put("secret", "app", json!({ "key": "k" })).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (old, new) = (stranger.client("app"), authority.client("app"));
    let put = |from: &std::path::Path, to: &str| std::fs::copy(from, path(to)).unwrap();
    put(stranger.ca_cert(), "ca.pem");
    put(&old.cert, "cert.pem");
    put(&old.key, "key.pem");
    let vault = Vault::builder()
        .address(bao.address())
        .auth(vault_config::auth::Token::new(bao.root_token()))
        .ca_certificate_file(path("ca.pem"))
        .client_certificate_files(path("cert.pem"), path("key.pem"))
        .max_retries(0)
        .build()
        .unwrap();
    let load = || Config::loader().without_dotenv().vault(vault.clone()).load();
    assert_eq!(load().await.unwrap_err().kind(), ErrorKind::Untrusted);
    put(authority.ca_cert(), "ca.pem");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    // The server is trusted now, and does not trust the client yet.
    assert_ne!(load().await.unwrap_err().kind(), ErrorKind::Untrusted);
    std::fs::write(path("cert.pem"), "half written").unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    load().await.unwrap_err();
    put(&new.cert, "cert.pem");
    put(&new.key, "key.pem");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(load().await.unwrap().key.expose_secret(), "k");
}

#[tokio::test]
async fn a_namespace_is_in_every_request() {
    let bao = OpenBao::dev().await;
    let team = bao.namespace("team-a").await;
    team.kv_put("secret", "app", json!({ "key": "of the team" })).await;
    bao.kv_put("secret", "app", json!({ "key": "of the root" })).await;
    team.policy("app", r#"path "secret/data/app" { capabilities = ["read"] }"#).await;
    let ids = team.approle("app", &["app"], json!({})).await;
    let variables = [
        ("VAULT_ADDR", bao.address()),
        ("VAULT_NAMESPACE", "/team-a/"),
        ("VAULT_ROLE_ID", &ids.role_id),
        ("VAULT_SECRET_ID", &ids.secret_id),
    ];
    assert_eq!(load(&variables).await.unwrap(), "of the team");
}

#[tokio::test]
async fn headers_of_the_users_own_go_with_every_request() {
    let server = ScriptedServer::start(|_| secret()).await;
    let headers = r#"{"X-Team": "billing", "X-Access": "s3cr3t"}"#;
    let variables =
        [("VAULT_ADDR", &*server.address()), ("VAULT_TOKEN", "t"), ("VAULT_HEADERS", headers)];
    load(&variables).await.unwrap();
    for request in server.requests() {
        assert_eq!(request.header("x-team"), Some("billing"));
        assert_eq!(request.header("x-access"), Some("s3cr3t"));
        assert_eq!(request.header("x-vault-request"), Some("true"));
    }
}

#[tokio::test]
async fn a_proxy_gets_the_requests() {
    let proxy = ScriptedServer::start(|_| secret()).await;
    for name in ["VAULT_PROXY_ADDR", "VAULT_HTTP_PROXY"] {
        let variables = [
            ("VAULT_ADDR", "http://vault.invalid:8200"),
            ("VAULT_TOKEN", "t"),
            (name, &*proxy.address()),
        ];
        assert_eq!(load(&variables).await.unwrap(), "k");
    }
    let targets: Vec<_> = proxy.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["http://vault.invalid:8200/v1/secret/data/app"; 2]);
}

#[tokio::test]
async fn redirects_are_followed_unless_that_is_forbidden() {
    let server = ScriptedServer::start(|request| match request.path() {
        "/v1/secret/data/app" => ScriptedAnswer::status(307).header("Location", "/v1/moved"),
        _ => secret(),
    })
    .await;
    let variables = |forbidden: &'static str| {
        [
            ("VAULT_ADDR", server.address().to_owned()),
            ("VAULT_TOKEN", "t".to_owned()),
            ("VAULT_DISABLE_REDIRECTS", forbidden.to_owned()),
        ]
    };
    let load =
        |forbidden| Config::loader().without_dotenv().env_source(variables(forbidden)).load();
    assert_eq!(load("").await.unwrap().key.expose_secret(), "k");
    let error = load("true").await.unwrap_err();
    assert!(error.to_string().contains("VAULT_DISABLE_REDIRECTS"), "{error}");
}

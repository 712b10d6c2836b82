//! Certificates: issued, used, and issued again while they serve.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use insta::assert_snapshot;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use vault_config::auth::Token;
use vault_config::live::{Clock, Health, Reading, SystemClock};
use vault_config::secrecy::ExposeSecret;
use vault_config::{Certificate, ErrorKind, Live, Loader, Mode, Vault, VaultConfig};
use vault_config_tests::{OpenBao, client_builder};

use crate::support::problems;
use crate::support::until;

#[derive(Debug, VaultConfig)]
struct Config {
    #[vault(
        pki = "web",
        common_name = "{host}",
        alt_names = "api.example.com",
        ip_sans = "127.0.0.1"
    )]
    server: Certificate,
    #[vault(pki = "web", common_name = "client.example.com", ttl = "30m")]
    client: Option<Certificate>,
}

struct Server {
    bao: OpenBao,
    authority: String,
}

impl Server {
    /// With a root authority and an intermediate one, whose role `web` issues for this long.
    async fn start(ttl: &str) -> Self {
        let bao = OpenBao::dev().await;
        bao.mount("root", "pki", json!({ "config": { "max_lease_ttl": "87600h" } })).await;
        bao.mount("pki", "pki", json!({ "config": { "max_lease_ttl": "43800h" } })).await;
        let root = json!({ "common_name": "root", "ttl": "87600h", "key_type": "ec" });
        let root = bao.write("root/root/generate/internal", root).await;
        let request = json!({ "common_name": "intermediate", "key_type": "ec" });
        let request = bao.write("pki/intermediate/generate/internal", request).await;
        let request =
            json!({ "csr": request["data"]["csr"], "ttl": "43800h", "format": "pem_bundle" });
        let signed = bao.write("root/root/sign-intermediate", request).await;
        let certificate = json!({ "certificate": signed["data"]["certificate"] });
        bao.write("pki/intermediate/set-signed", certificate).await;
        let role = json!({
            "allowed_domains": "example.com", "allow_subdomains": true, "key_type": "ec",
            "ttl": ttl, "max_ttl": "1h", "no_store": true,
        });
        bao.write("pki/roles/web", role).await;
        let authority = root["data"]["certificate"].as_str().unwrap().to_owned();
        Self { bao, authority }
    }

    async fn loader<T: VaultConfig>(&self) -> Loader<T> {
        self.bao.policy("app", &T::schema().policy()).await;
        let ids = self.bao.approle("app", &["app"], json!({})).await;
        T::loader().without_dotenv().startup_deadline(Duration::ZERO).env_source([
            ("VAULT_ADDR", self.bao.address().to_owned()),
            ("VAULT_ROLE_ID", ids.role_id),
            ("VAULT_SECRET_ID", ids.secret_id),
            ("VAULT_CONFIG_VAR_HOST", "www.example.com".to_owned()),
        ])
    }

    fn client(&self) -> reqwest::ClientBuilder {
        let authority = reqwest::Certificate::from_pem(self.authority.as_bytes()).unwrap();
        client_builder().no_proxy().tls_certs_only([authority])
    }
}

/// Presents the newest certificate to every client.
#[derive(Debug)]
struct Newest(Live<Config>);

impl ResolvesServerCert for Newest {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let config = self.0.current();
        let provider = rustls::crypto::ring::default_provider();
        let (chain, key) = (config.server.certificate_ders(), config.server.private_key_der());
        CertifiedKey::from_der(chain, key, &provider).ok().map(Arc::new)
    }
}

fn config_builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap()
}

/// An HTTPS server that answers every connection once; its address.
async fn serve(config: ServerConfig) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    format!("https://{address}/")
}

#[tokio::test]
async fn a_certificate_serves_https_and_logs_a_client_in() {
    let server = Server::start("10m").await;
    let (config, report) = server.loader::<Config>().await.load_with_report().await.unwrap();
    let certificate = &config.server;
    assert!(certificate.certificate_pem().starts_with("-----BEGIN CERTIFICATE-----\n"));
    assert!(certificate.private_key().expose_secret().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert_eq!(certificate.certificate_ders().len(), 1 + certificate.chain().len());
    assert!(!certificate.chain().is_empty());
    let now = SystemTime::now();
    assert!(certificate.not_before() <= now);
    let left = certificate.not_after().duration_since(now).unwrap();
    assert!(left > Duration::from_secs(9 * 60) && left <= Duration::from_secs(10 * 60), "{left:?}");
    let serial = certificate.serial();
    assert!(serial.len() > 20 && serial.split(':').all(|byte| byte.len() == 2), "{serial}");
    let shown = format!("{config:?}");
    assert!(shown.contains(serial) && !shown.contains("PRIVATE KEY"), "{shown}");
    let line = report.provenance("server").unwrap().to_string();
    assert!(line.starts_with("vault pki pki/issue/web (valid for "), "{line}");

    // The client is asked for a certificate of the same authority.
    let client = config.client.as_ref().unwrap();
    let mut roots = RootCertStore::empty();
    let pem = server.authority.as_bytes();
    use rustls::pki_types::pem::PemObject as _;
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let https = config_builder()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(certificate.certificate_ders(), certificate.private_key_der())
        .unwrap();
    let url = serve(https).await;
    let identity = client.identity_pem();
    let identity = reqwest::Identity::from_pem(identity.expose_secret().as_bytes()).unwrap();
    let named = server.client().identity(identity).build().unwrap();
    assert_eq!(named.get(&url).send().await.unwrap().text().await.unwrap(), "ok");
    let without_certificate = server.client().build().unwrap();
    assert!(without_certificate.get(&url).send().await.is_err());
}

#[tokio::test]
async fn certificates_are_replaced_under_load_and_no_handshake_fails() {
    let server = Server::start("6s").await;
    let live = server.loader::<Config>().await.watch().await.unwrap();
    let url = serve(
        config_builder().with_no_client_auth().with_cert_resolver(Arc::new(Newest(live.clone()))),
    )
    .await;
    let (stop, shaken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let client = server.client().pool_max_idle_per_host(0).build().unwrap();
            let (url, stop, shaken) = (url.clone(), Arc::clone(&stop), Arc::clone(&shaken));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    client.get(&url).send().await.unwrap().error_for_status().unwrap();
                    shaken.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut serials = BTreeSet::new();
    let mut certificate = live.select(|config| &config.server);
    let mut before = live.current().server.clone();
    for _ in 0..3 {
        let new = certificate.changed().await.unwrap();
        // A certificate that a reader still holds works.
        assert!(before.not_after() > SystemTime::now());
        assert!(new.not_after() >= before.not_after());
        serials.insert(new.serial().to_owned());
        before = (*new).clone();
    }
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.expect("no handshake fails");
    }
    eprintln!("{} handshakes over {} certificates", shaken.load(Ordering::Relaxed), serials.len());
    assert_eq!(serials.len(), 3);
    let status = live.status();
    assert_eq!(status.counters.failures, 0, "{status:#?}");
    let source = status.sources.iter().find(|it| it.fields == ["server"]).unwrap();
    assert_eq!(source.source, "pki/issue/web");
    assert!(source.state.expires_at.is_some() && source.state.next_action_at.is_some());
    live.shutdown().await.unwrap();
}

/// A certificate stays valid when the token that it was issued under expires, so that a login issues no other.
#[tokio::test]
async fn a_certificate_outlives_its_token() {
    let server = Server::start("1h").await;
    let settings = json!({ "token_ttl": "3s", "token_max_ttl": "6s" });
    let loader = server.loader::<Config>().await;
    server.bao.approle("app", &["app"], settings).await;
    let live = loader.watch().await.unwrap();
    let before = live.current();
    until("another token", async || live.status().counters.logins >= 2).await;
    assert_eq!(live.current().server.serial(), before.server.serial());
    live.shutdown().await.unwrap();
}

#[derive(Debug, VaultConfig)]
struct Wrong {
    #[vault(pki = "web", common_name = "www.example.org")]
    not_allowed: Certificate,
    #[vault(pki = "no-such-role", common_name = "www.example.com")]
    no_role: Certificate,
    #[vault(pki = "web", mount = "nowhere", common_name = "www.example.com")]
    no_mount: Certificate,
}

#[tokio::test]
async fn what_is_refused_is_reported() {
    let server = Server::start("10m").await;
    let load = async |token: &str| {
        let variables = [("VAULT_ADDR", server.bao.address()), ("VAULT_TOKEN", token)];
        let loader = Wrong::loader().without_dotenv().startup_deadline(Duration::ZERO);
        loader.env_source(variables).load().await.unwrap_err()
    };
    let root = load(server.bao.root_token()).await;
    assert_snapshot!(problems(&root, ErrorKind::Server), @r#"
    not_allowed: Certificate
    vault pki/issue/web: common name www.example.org not allowed by this role (HTTP 400)
    help: compare the field with what the role allows: vault read pki/roles/web

    no_role: Certificate
    vault pki/issue/no-such-role: unknown role: no-such-role
    help: create the role, or correct its name: vault list pki/roles

    no_mount: Certificate
    vault nowhere/issue/web: no handler for route "nowhere/issue/web". route entry not found. (HTTP 404)
    help: mount the engine, or correct the path
    "#);
    let denied = load(&server.bao.token(&["default"], json!({})).await).await;
    let first = denied.problems()[0].to_string();
    assert_snapshot!(first, @r#"
    1. not_allowed: Certificate
       env NOT_ALLOWED_CERTIFICATE, NOT_ALLOWED_PRIVATE_KEY: not set
       vault pki/issue/web: permission denied (HTTP 403)
       help: add this to a policy of the token:
         path "pki/issue/web" {
           capabilities = ["update"]
         }
         or no engine is mounted there: the server answers 403 for that too
    "#);
}

#[tokio::test]
async fn a_check_issues_nothing() {
    let server = Server::start("10m").await;
    let loader = server.loader::<Config>().await;
    server.bao.clear_audit();
    let report = loader.check().await.unwrap();
    assert!(server.bao.audit_requests().iter().all(|it| !it.path.starts_with("pki/")));
    assert_snapshot!(report.provenance("server").unwrap().to_string(), @"vault pki pki/issue/web (not issued; the token may request it)");
}

#[tokio::test]
async fn in_local_mode_it_is_two_texts() {
    let server = Server::start("10m").await;
    let issued = server.loader::<Config>().await.load().await.unwrap().server;
    let chain: String = std::iter::once(issued.certificate_pem())
        .chain(issued.chain().iter().map(String::as_str))
        .map(|pem| format!("{pem}\n"))
        .collect();
    let key = issued.private_key().expose_secret().to_owned();
    let local = |certificate: &str, key: &str| {
        let variables = [
            ("SERVER_CERTIFICATE", certificate.to_owned()),
            ("SERVER_PRIVATE_KEY", key.to_owned()),
            ("VAULT_CONFIG_VAR_HOST", "www.example.com".to_owned()),
        ];
        Config::loader().mode(Mode::Local).without_dotenv().env_source(variables).load()
    };
    let config = local(&chain, &key).await.unwrap();
    assert_eq!(config.server.serial(), issued.serial());
    assert_eq!(config.server.chain(), issued.chain());
    assert!(config.client.is_none());
    let error = local("no certificate", &key).await.unwrap_err();
    assert_snapshot!(problems(&error, ErrorKind::WrongType), @"
    env SERVER_CERTIFICATE, SERVER_PRIVATE_KEY: invalid value: a value that does not fit, expected a certificate in PEM
    help: set a value that can be read as Certificate
    ");
    let error = local(&chain, "hunter2-hunter2").await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
}

/// Many programs write the key and the certificates into one file.
#[tokio::test]
async fn a_key_beside_the_certificates_is_not_taken_for_one() {
    let server = Server::start("10m").await;
    let issued = server.loader::<Config>().await.load().await.unwrap().server;
    let key = issued.private_key().expose_secret().to_owned();
    let all = issued.identity_pem().expose_secret().to_owned();
    let variables = [
        ("SERVER_CERTIFICATE", all),
        ("SERVER_PRIVATE_KEY", key),
        ("VAULT_CONFIG_VAR_HOST", "www.example.com".to_owned()),
    ];
    let loader = Config::loader().mode(Mode::Local).without_dotenv().env_source(variables);
    let config = loader.load().await.unwrap();
    assert!(!config.server.certificate_pem().contains("PRIVATE KEY"));
    assert_eq!(config.server.certificate_pem(), issued.certificate_pem());
    assert_eq!(config.server.chain(), issued.chain());
}

/// The role names the moment of its end, or the authority is about to end.
#[tokio::test]
async fn a_certificate_that_is_expired_when_issued_is_refused_and_reported() {
    #[derive(Debug, VaultConfig)]
    struct One {
        #[vault(pki = "web", common_name = "{host}")]
        server: Certificate,
    }
    let server = Server::start("10m").await;
    let end = SystemTime::now() + Duration::from_secs(8);
    let role = json!({
        "allowed_domains": "example.com", "allow_subdomains": true, "key_type": "ec",
        "not_after": rfc3339(end), "no_store": true,
    });
    server.bao.write("pki/roles/web", role).await;
    let loader = server.loader::<One>().await;
    server.bao.clear_audit();
    let live = loader.watch().await.unwrap();
    until("it is reported", async || live.status().sources[0].state.failing_since.is_some()).await;
    let message = live.status().sources[0].state.error.clone().unwrap();
    assert!(message.contains("the credential issued just now expired at "), "{message}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let status = live.status();
    assert_eq!(status.health, Health::Failing, "{status:#?}");
    assert!(status.good_until.unwrap() <= SystemTime::now());
    let asked = server.bao.audit_requests();
    let issued = asked.iter().filter(|it| it.path.starts_with("pki/issue")).count();
    assert!(issued < 40, "{issued}");
    live.shutdown().await.unwrap();
    let error = server.loader::<One>().await.load().await.unwrap_err();
    assert_snapshot!(error.problems()[0].to_string().replace(&rfc3339(end), "END"), @"
    1. server: Certificate
       env SERVER_CERTIFICATE, SERVER_PRIVATE_KEY: not set
       vault pki/issue/web: the credential issued just now expired at END already
       help: check the role's not_after (vault read), when the authority's own certificate expires, and the server's clock
    ");
}

fn rfc3339(moment: SystemTime) -> String {
    humantime::format_rfc3339_seconds(moment).to_string()
}

/// A role may issue its certificates with leases. Such a lease can be neither renewed nor cut short.
#[tokio::test]
async fn a_certificate_with_a_lease_ends_with_its_token() {
    #[derive(Debug, VaultConfig)]
    struct Leased {
        #[vault(pki = "web", common_name = "www.example.com")]
        certificate: vault_config::Leased<Certificate>,
    }
    let server = Server::start("30m").await;
    let role =
        json!({ "allow_any_name": true, "key_type": "ec", "ttl": "30m", "generate_lease": true });
    server.bao.write("pki/roles/web", role).await;
    let live = server.loader::<Leased>().await.watch().await.unwrap();
    let serial = live.current().certificate.serial().to_owned();
    assert!(!live.current().certificate.is_renewable());
    let end = live.status().sources[0].state.expires_at.unwrap();
    assert!(end <= live.current().certificate.not_after() + Duration::from_secs(1));
    live.shutdown().await.unwrap();
    let revoked = async || {
        let certificate = server.bao.read(&format!("pki/cert/{serial}")).await;
        certificate["data"]["revocation_time"].as_u64() != Some(0)
    };
    until("it is revoked", revoked).await;

    // A token that was given is not revoked, and that the lease stays valid until it expires is no failure.
    let variables =
        [("VAULT_ADDR", server.bao.address()), ("VAULT_TOKEN", server.bao.root_token())];
    let live = Leased::loader().without_dotenv().env_source(variables).watch().await.unwrap();
    live.shutdown().await.unwrap();
}

/// A machine whose clock is ahead of the server's by a minute.
#[derive(Debug, Default)]
struct Ahead(SystemClock);

impl Clock for Ahead {
    fn now(&self) -> Reading {
        let now = self.0.now();
        Reading { wall: now.wall + Duration::from_secs(60), ..now }
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.0.sleep(duration)
    }
}

/// By its clock the certificate lives longer than RFC 3339 can write.
#[tokio::test]
async fn a_certificate_without_an_end_is_watched_and_reported() {
    const LAST: &str = "9999-12-31T23:59:59Z";
    #[derive(Debug, VaultConfig)]
    struct Endless {
        #[vault(pki = "device", common_name = "device.example.com")]
        device: Certificate,
    }
    let bao = OpenBao::dev().await;
    bao.mount("pki", "pki", json!({})).await;
    let root = json!({ "common_name": "root", "key_type": "ec", "not_after": LAST });
    bao.write("pki/root/generate/internal", root).await;
    let role = json!({
        "allowed_domains": "example.com", "allow_subdomains": true, "key_type": "ec", "not_after": LAST,
    });
    bao.write("pki/roles/device", role).await;
    let builder = Vault::builder().address(bao.address()).auth(Token::new(bao.root_token()));
    let vault = builder.clock(Ahead::default()).build().unwrap();
    let live = Endless::loader().without_dotenv().vault(vault).watch().await.unwrap();
    let status = serde_json::to_value(live.status()).unwrap();
    assert_eq!(status["sources"][0]["expires_at"], LAST, "{status}");
    assert!(format!("{:?}", live.current()).contains(LAST), "{:?}", live.current());
    live.shutdown().await.unwrap();
}

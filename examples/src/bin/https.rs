//! HTTPS with axum and rustls: every handshake uses the newest certificate, which is issued again before it expires. A
//! client connects again and again meanwhile, and no request fails.
//! `cargo run -p vault-config-examples --bin https`

use std::{collections::BTreeMap, error::Error, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, routing::get, serve::Listener};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::{ServerConfig, crypto::ring, sign::CertifiedKey};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use vault_config::{Certificate, Live, VaultConfig};
use vault_config_tests::{OpenBao, client_builder};

#[derive(Debug, VaultConfig)]
struct AppConfig {
    #[vault(pki = "web", common_name = "www.example.com", ip_sans = "127.0.0.1")]
    tls: Certificate,
}

#[derive(Debug)]
struct Newest(Live<AppConfig>);

impl ResolvesServerCert for Newest {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let tls = &self.0.current().tls;
        let (chain, key) = (tls.certificate_ders(), tls.private_key_der());
        CertifiedKey::from_der(chain, key, &ring::default_provider()).ok().map(Arc::new)
    }
}

/// Accepts connections after their TLS handshake. Handshakes run concurrently: a slow client does not delay the others.
struct Https(SocketAddr, Receiver<(TlsStream<TcpStream>, SocketAddr)>);

impl Https {
    async fn bind(config: ServerConfig) -> Result<Self, Box<dyn Error>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, acceptor) = (listener.local_addr()?, TlsAcceptor::from(Arc::new(config)));
        let (sender, receiver) = channel(64);
        tokio::spawn(async move {
            while let Ok((stream, from)) = listener.accept().await {
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    let handshake = acceptor.accept(stream);
                    if let Ok(Ok(stream)) = timeout(Duration::from_secs(10), handshake).await {
                        let _ = sender.send((stream, from)).await;
                    }
                });
            }
        });
        Ok(Self(address, receiver))
    }
}

impl Listener for Https {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let Some(accepted) = self.1.recv().await else { return std::future::pending().await };
        accepted
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.0)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The administrator's part, done once: an authority, and a role whose certificates are valid for 4 s.
    let bao = OpenBao::dev().await;
    let authority = bao.certificate_authority("4s").await;
    let variables = [("VAULT_ADDR", bao.address()), ("VAULT_TOKEN", bao.root_token())];
    let live = AppConfig::loader().without_dotenv().env_source(variables).watch().await?;

    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions()?.with_no_client_auth();
    let https = Https::bind(config.with_cert_resolver(Arc::new(Newest(live.clone())))).await?;
    let url = format!("https://{}/", https.0);
    let router = Router::new().route("/", get(|| async { "hello" }));
    tokio::spawn(async move { axum::serve(https, router).await });

    let authority = reqwest::Certificate::from_pem(authority.as_bytes())?;
    let client = client_builder().no_proxy().tls_certs_only([authority]).pool_max_idle_per_host(0);
    let (client, mut seen, began) = (client.build()?, BTreeMap::new(), Instant::now());
    while began.elapsed() < Duration::from_secs(10) {
        client.get(&url).send().await?.error_for_status()?; // each request with a new handshake
        *seen.entry(live.current().tls.not_after()).or_insert(0) += 1;
        sleep(Duration::from_millis(5)).await;
    }
    let handshakes: i32 = seen.values().sum();
    println!("{handshakes} handshakes over {} certificates, none failed", seen.len());
    live.shutdown().await?;
    if seen.len() > 2 { Ok(()) } else { Err("the certificate was not replaced".into()) }
}

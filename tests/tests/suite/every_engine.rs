//! What holds for all engines alike: errors, provenance, status, shutdown, and that nothing is
//! shown.

use std::collections::HashMap;
use std::time::Duration;

use figment::Figment;
use figment::providers::{Format as _, Toml};
use serde_json::json;
use vault_config::live::Health;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{Certificate, DatabaseCredentials, Leased, SignedSshKey, VaultConfig};
use vault_config_tests::{Fault, FaultProxy, OpenBao, Postgres};

use crate::support::{NOTHING, TraceRecorder, every_rendering, until};

#[derive(Debug, VaultConfig)]
struct Config {
    #[vault(kv = "app")]
    stored: SecretString,
    #[vault(kv = "app", whole)]
    whole: HashMap<String, SecretString>,
    #[vault(database = "readonly")]
    database: Leased<DatabaseCredentials>,
    #[vault(database_static = "legacy")]
    legacy: DatabaseCredentials,
    #[vault(pki = "web", common_name = "www.example.com")]
    certificate: Certificate,
    #[vault(ssh = "deploy")]
    ssh: SignedSshKey,
    #[vault(transit = "app")]
    decrypted: SecretString,
    #[vault(write = "transit/random/32", key = "random_bytes")]
    written: SecretString,
    #[vault(read = "totp/code/bank")]
    code: HashMap<String, SecretString>,
}

const SOURCES: [&str; 8] = [
    "database/creds/readonly",
    "database/static-creds/legacy",
    "kv secret/app",
    "pki/issue/web",
    "ssh/sign/deploy",
    "totp/code/bank",
    "transit/decrypt/app",
    "transit/random/32",
];

impl Config {
    /// Every secret value.
    fn secrets(&self) -> Vec<String> {
        let texts = [
            &self.stored,
            self.whole.get("stored").unwrap(),
            self.database.password(),
            self.legacy.password(),
            self.certificate.private_key(),
            self.ssh.private_key().unwrap(),
            &self.decrypted,
            &self.written,
            self.code.get("code").unwrap(),
        ];
        // Of a key in PEM, each line.
        let lines = texts.into_iter().flat_map(|text| text.expose_secret().lines());
        let lines = lines.filter(|line| !line.starts_with("-----"));
        lines.map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn no_secret_of_any_engine_is_shown_and_every_source_is_reported() {
    let traces = TraceRecorder::default();
    let _recording = traces.of_this_thread();
    let (bao, postgres) = tokio::join!(OpenBao::dev(), Postgres::start());
    bao.connect_database(&postgres).await;
    bao.kv_put("secret", "app", json!({ "stored": "canary-7f3a-stored" })).await;
    bao.certificate_authority("1h").await;
    bao.ssh_authority().await;
    bao.mount("totp", "totp", json!({})).await;
    let key = json!({ "generate": true, "issuer": "bank", "account_name": "app", "digits": 8 });
    bao.write("totp/keys/bank", key).await;
    let [decrypted] = bao.encrypt("app", ["canary-7f3a-decrypted"]).await;
    bao.policy("app", &Config::schema().policy()).await;
    let ids = bao.approle("app", &["app"], json!({ "token_ttl": "1h" })).await;
    let proxy = FaultProxy::in_front_of(bao.address()).await;
    let vault = vault_config::Vault::builder()
        .address(proxy.address())
        .auth(vault_config::auth::AppRole::new(ids.role_id, ids.secret_id))
        .max_retries(0)
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap();
    let file = format!("decrypted = '{decrypted}'");
    let loader = || {
        let figment = Figment::from(Toml::string(&file));
        let loader = Config::loader().without_dotenv().figment(figment).vault(vault.clone());
        loader.env_source(NOTHING).startup_deadline(Duration::ZERO)
    };

    let live = loader().watch().await.unwrap();
    let first = live.current();
    let mut secrets = first.secrets();
    let (config, report) = loader().load_with_report().await.unwrap();
    secrets.extend(config.secrets());
    let mut said = format!("{report} {report:?} {config:?} {config:#?} {live:?} {vault:?}");
    live.refresh().await.unwrap();
    let renewed = live.current();
    secrets.extend(renewed.secrets());
    assert_ne!(
        first.certificate.serial(),
        renewed.certificate.serial(),
        "what is not renewed is new"
    );
    assert_eq!(first.database.username(), renewed.database.username(), "its lease is renewed");

    let status = live.status();
    let mut sources: Vec<_> = status.sources.iter().map(|source| &*source.source).collect();
    sources.sort_unstable();
    assert_eq!(sources, SOURCES);
    assert_eq!(status.health, Health::Healthy, "{status:#?}");
    said += &serde_json::to_string(&status).unwrap();

    // Broken in every way that a connection breaks.
    let mut errors = Vec::new();
    for fault in [
        Fault::CutAfter(20),
        Fault::CutAfter(300),
        Fault::Garbage(b"HTTP/1.1 500 No\r\n\r\n".to_vec()),
        Fault::Refuse,
    ] {
        proxy.set(fault).await;
        errors.extend(loader().load().await.err());
        errors.extend(live.refresh().await.err());
        said += &serde_json::to_string(&live.status()).unwrap();
    }
    assert!(errors.len() >= 6, "{errors:?}");
    proxy.set(Fault::None).await;
    until("healthy", async || {
        live.refresh().await.ok();
        live.status().health == Health::Healthy
    })
    .await;
    secrets.extend(live.current().secrets());
    live.shutdown().await.unwrap();
    let users = "select usename from pg_user where usename like 'v-%'";
    until("no user is left", async || postgres.psql(users).await.is_empty()).await;

    said.extend(errors.iter().map(every_rendering));
    for secret in &secrets {
        assert!(secret.len() >= 8, "it would be in any sentence");
        assert!(!said.contains(secret.as_str()), "said: {secret}");
        assert_eq!(traces.count(secret), 0, "traced: {secret}");
    }
    assert!(traces.count("pki/issue/web") > 0, "what is traced is seen here");
}

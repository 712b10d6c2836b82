//! One struct with fields of every engine. A load takes two round trips for any number of fields: the login, then one
//! request for each distinct path, all at the same time.
//!
//! ```sh
//! cargo run -p vault-config-examples --bin everything
//! ```

use std::{collections::HashMap, error::Error};

use figment::Figment;
use figment::providers::{Format, Toml};
use serde_json::json;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{Certificate, DatabaseCredentials, Leased, SignedSshKey, VaultConfig};
use vault_config_tests::{OpenBao, Postgres, postgres};

#[expect(dead_code, reason = "a service would read them all")]
#[derive(Debug, VaultConfig)]
struct AppConfig {
    #[vault(default = 8080)]
    port: u16,
    #[vault(kv = "billing/{env}", key = "payment.key")]
    payment_key: SecretString,
    #[vault(kv = "billing/{env}", plain)] // the same secret, the same request
    timeout_ms: u32,
    #[vault(kv = "billing/partners", whole)]
    partners: HashMap<String, SecretString>,
    #[vault(kv = "ledger", mount = "old-secrets", kv_version = 1)]
    ledger_password: SecretString,
    #[vault(kv = "shared", namespace = "team-a")]
    of_the_team: SecretString,
    #[vault(database = "readonly")]
    database: Leased<DatabaseCredentials>,
    #[vault(database_static = "legacy")]
    legacy: DatabaseCredentials,
    #[vault(pki = "web", common_name = "{env}.example.com")]
    tls: Certificate,
    #[vault(ssh = "deploy")]
    deploy: SignedSshKey,
    #[vault(transit = "app")]
    license: SecretString, // the file has it and the next one, encrypted
    #[vault(transit = "app")]
    recovery_code: SecretString,
    #[vault(write = "transit/random/32", data(format = "hex"), key = "random_bytes")]
    seed: SecretString,
    #[vault(read = "totp/code/bank", key = "code")]
    code: SecretString,
    #[vault(read = "cubbyhole/nothing")]
    absent: Option<HashMap<String, SecretString>>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (bao, postgres) = tokio::join!(OpenBao::dev(), Postgres::start());
    let file = prepare(&bao, &postgres).await;
    bao.policy("billing", &AppConfig::schema().policy()).await;
    let ids = bao.approle("billing", &["billing"], json!({ "token_ttl": "1h" })).await;
    bao.clear_audit();

    let loader = AppConfig::loader().without_dotenv().figment(Figment::from(Toml::string(&file)));
    let loader = loader.var("env", "prod").env_source([
        ("VAULT_ADDR", bao.address().to_owned()),
        ("VAULT_ROLE_ID", ids.role_id),
        ("VAULT_SECRET_ID", ids.secret_id),
    ]);
    // Once, because this program ends before its credentials expire. A service uses `.watch()`.
    let (config, report) = loader.load_with_report().await?;
    println!("{report}\n{config:#?}\n");

    let (user, password) = (config.database.username(), config.database.password());
    postgres.connect(user, password.expose_secret()).await?;
    println!("connected to {} as {user}, for {:?}", postgres::DATABASE, config.database.ttl());
    assert_eq!(config.license.expose_secret(), "the license");
    assert_eq!(config.partners.len(), 2);

    let mut asked: Vec<_> = bao.audit_requests().into_iter().map(|asked| asked.path).collect();
    println!("{} requests, {asked:#?}", asked.len());
    asked.sort_unstable();
    asked.dedup();
    // A login, and twelve paths for fifteen fields.
    if asked.len() == 13 { Ok(()) } else { Err("a path was asked for twice, or not at all".into()) }
}

/// The administrator's part, done once. Returns the file with encrypted values, which may be kept in the repository.
async fn prepare(bao: &OpenBao, postgres: &Postgres) -> String {
    bao.kv_put("secret", "billing/prod", json!({ "payment.key": "p", "timeout_ms": 500 })).await;
    bao.kv_put("secret", "billing/partners", json!({ "acme": "a", "globex": "g" })).await;
    bao.mount_kv_v1("old-secrets").await;
    bao.write("old-secrets/ledger", json!({ "ledger_password": "l" })).await;
    bao.namespace("team-a").await.kv_put("secret", "shared", json!({ "of_the_team": "t" })).await;
    bao.connect_database(postgres).await;
    bao.certificate_authority("24h").await;
    bao.ssh_authority().await;
    bao.mount("totp", "totp", json!({})).await;
    let key = json!({ "generate": true, "issuer": "bank", "account_name": "billing" });
    bao.write("totp/keys/bank", key).await;
    let [license, code] = bao.encrypt("app", ["the license", "the code"]).await;
    format!("license = '{license}'\nrecovery_code = '{code}'")
}

//! The same configuration through a figment that the program already has: a TOML file with
//! profiles, the environment, and the secrets of a real OpenBao as one more layer.
//!
//! ```sh
//! cargo run -p vault-config-examples --bin bring_your_own_figment
//! ```

use std::error::Error;

use figment::Figment;
use figment::providers::{Env, Format, Toml};
use serde_json::json;
use vault_config::auth::AppRole;
use vault_config::{Vault, VaultConfig};
use vault_config_examples::AppConfig;
use vault_config_tests::{AppRoleIds, OpenBao, Postgres};

const FILE: &str = r#"
    [default]
    port = 8080
    database_host = "127.0.0.1"

    [production]
    port = 80
    payment_key = "a file never replaces a secret"
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (bao, postgres) = tokio::join!(OpenBao::dev(), Postgres::start());
    let ids = set_up(&bao, &postgres).await;

    let vault = Vault::builder()
        .address(bao.address())
        .auth(AppRole::new(ids.role_id, ids.secret_id))
        .build()?;
    // Once, because this program ends before its database user expires. A service uses `AppConfig::loader().watch()`.
    let secrets = vault.resolve::<AppConfig>().await?;
    println!("{}", secrets.report());

    let config: AppConfig = Figment::new()
        .merge(Toml::string(FILE).nested())
        .merge(Env::prefixed("APP_"))
        .select("production")
        .merge(secrets)
        .extract()?;
    println!("{config:#?}");
    Ok(())
}

/// The administrator's part, done once.
async fn set_up(bao: &OpenBao, postgres: &Postgres) -> AppRoleIds {
    bao.connect_database(postgres).await;
    bao.mount_kv_v1("old-secrets").await;
    bao.write("old-secrets/mainframe", json!({ "mainframe_password": "00123" })).await;
    bao.kv_put("secret", "billing/api-keys", json!({ "payment_key": "sk_live_1" })).await;
    bao.kv_put("secret", "billing/smtp", json!({ "password": "s3cr3t" })).await;
    bao.policy("billing", &AppConfig::schema().policy()).await;
    bao.approle("billing", &["billing"], json!({})).await
}

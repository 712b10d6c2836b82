//! A service that gets its secrets from a real OpenBao, and its database user from a real
//! PostgreSQL.
//!
//! First the program does the administrator's part: it starts both servers, stores secrets, and creates a role. Then
//! it starts itself again as the service. The environment of the service has only the address and the two ids of an
//! AppRole.
//!
//! ```sh
//! cargo run -p vault-config-examples --bin production
//! ```

use std::error::Error;
use std::process::ExitCode;

use serde_json::json;
use tokio::process::Command;
use vault_config::secrecy::ExposeSecret;
use vault_config::{Mode, VaultConfig};
use vault_config_examples::AppConfig;
use vault_config_tests::{OpenBao, Postgres, postgres};

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        Some("service") => service().await.map(|()| ExitCode::SUCCESS),
        _ => administrator().await,
    }
}

/// The whole service: one line loads the configuration and keeps it fresh, then it works.
async fn service() -> Result<(), Box<dyn Error>> {
    // Without Vault the service does not start, even if there is an `.env` file.
    let live = AppConfig::loader().mode(Mode::Vault).watch().await?;
    let config = live.current();
    println!("{config:#?}");

    let (client, connection) = vault_config_tests::tokio_postgres::Config::new()
        .host(&config.database_host)
        .port(std::env::var("APP_DATABASE_PORT")?.parse()?)
        .dbname(postgres::DATABASE)
        .user(config.database.username())
        .password(config.database.password().expose_secret())
        .connect(vault_config_tests::tokio_postgres::NoTls)
        .await?;
    tokio::spawn(connection);
    let row = client.query_one("select session_user::text", &[]).await?;
    println!("PostgreSQL says the session user is {}", row.get::<_, String>(0));
    live.shutdown().await?; // revokes the token, and the database user with it
    Ok(())
}

/// The administrator's part, usually done once with Vault's command line or with Terraform.
async fn administrator() -> Result<ExitCode, Box<dyn Error>> {
    let (bao, postgres) = tokio::join!(OpenBao::dev(), Postgres::start());
    bao.connect_database(&postgres).await; // the role `readonly`, among others
    bao.mount_kv_v1("old-secrets").await;
    bao.write("old-secrets/mainframe", json!({ "mainframe_password": "00123" })).await;
    bao.kv_put("secret", "billing/api-keys", json!({ "payment_key": "sk_live_1", "rates": "r-2" }))
        .await;
    bao.kv_put("secret", "billing/smtp", json!({ "password": "s3cr3t" })).await;
    let policy = AppConfig::schema().policy(); // derived from the struct
    println!("the policy of the service:\n\n{policy}");
    bao.policy("billing", &policy).await;
    let ids = bao.approle("billing", &["billing"], json!({ "token_ttl": "1h" })).await;

    let status = Command::new(std::env::current_exe()?)
        .arg("service")
        .env_clear()
        .env("VAULT_ADDR", bao.address())
        .env("VAULT_ROLE_ID", &ids.role_id)
        .env("VAULT_SECRET_ID", &ids.secret_id)
        .env("APP_DATABASE_HOST", "127.0.0.1")
        .env("APP_DATABASE_PORT", postgres.port().to_string())
        .status()
        .await?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

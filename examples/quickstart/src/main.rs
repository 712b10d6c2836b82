//! Loads a configuration from a `.env` file and prints where every field came from. No server is
//! needed.
//!
//! ```sh
//! cargo run -p quickstart
//! APP_PORT=9000 cargo run -p quickstart
//! ```

use vault_config::{DatabaseCredentials, Error, Mode, VaultConfig, secrecy::SecretString};

/// Configuration of the billing service.
#[derive(Debug, VaultConfig)]
#[vault(env_prefix = "APP")]
#[expect(dead_code, reason = "this program only prints its configuration")]
struct AppConfig {
    /// Port to listen on.
    #[vault(default = 8080)]
    port: u16,

    /// Key of the payment provider.
    #[vault(kv = "my-app/api-keys")]
    external_api_key: SecretString,

    /// Key of the internal services; a stored secret without this key is `None`.
    #[vault(kv = "my-app/api-keys", key = "internal")]
    internal_api_key: Option<SecretString>,

    /// User name and password, which Vault issues to each process with a lease.
    #[vault(database = "readonly")]
    database: DatabaseCredentials,

    /// Outgoing mail.
    #[vault(nested)]
    smtp: Smtp,
}

/// Outgoing mail.
#[derive(Debug, VaultConfig)]
#[expect(dead_code, reason = "this program only prints its configuration")]
struct Smtp {
    /// Host of the mail server.
    host: String,

    /// Password of the mail account.
    #[vault(kv = "my-app/smtp")]
    password: SecretString,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (config, report) = AppConfig::loader()
        // Without this line, VAULT_ADDR decides: if it is set, secrets come from Vault.
        .mode(Mode::Local)
        .dotenv(concat!(env!("CARGO_MANIFEST_DIR"), "/quickstart.env"))
        .load_with_report()
        .await?;
    println!("{config:#?}\n");
    println!("{report}");
    Ok(())
}

//! The configuration of one service, as every example loads it.

use serde::Deserialize;
use vault_config::secrecy::SecretString;
use vault_config::{DatabaseCredentials, VaultConfig};

/// Configuration of the billing service.
///
/// `Deserialize` is only for `bring_your_own_figment`; the derive of `VaultConfig` does not need
/// it.
#[derive(Debug, Deserialize, VaultConfig)]
#[vault(env_prefix = "APP")]
pub struct AppConfig {
    /// Port to listen on.
    #[vault(default = 8080)]
    pub port: u16,
    /// Host of the database.
    pub database_host: String,
    /// Key of the payment provider.
    #[vault(kv = "billing/api-keys")]
    pub payment_key: SecretString,
    /// Key of the currency rates' provider, if there is a contract.
    #[vault(kv = "billing/api-keys", key = "rates")]
    pub rates_key: Option<SecretString>,
    /// Password that is still stored in KV version 1.
    #[vault(kv = "mainframe", mount = "old-secrets", kv_version = 1)]
    pub mainframe_password: SecretString,
    /// User name and password, which Vault issues to each process with a lease.
    #[vault(database = "readonly")]
    pub database: DatabaseCredentials,
    /// Outgoing mail.
    #[vault(nested)]
    pub smtp: Smtp,
}

/// Outgoing mail.
#[derive(Debug, Deserialize, VaultConfig)]
pub struct Smtp {
    /// Host of the mail server.
    #[vault(default = "localhost")]
    #[serde(default = "localhost")]
    pub host: String,
    /// Password of the mail account.
    #[vault(kv = "billing/smtp")]
    pub password: SecretString,
}

fn localhost() -> String {
    "localhost".to_owned()
}

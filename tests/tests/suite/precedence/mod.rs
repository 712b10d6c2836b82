//! Where a value comes from: sources, modes, names, `.env` files, log lines and the report.

mod blocking;
mod dotenv;
mod logs;
mod modes;
mod names;
mod overrides;
mod provenance;
mod table;

use vault_config::VaultConfig;
use vault_config::secrecy::{ExposeSecret, SecretString};

#[derive(Debug, VaultConfig)]
#[vault(env_prefix = "APP")]
struct Required {
    #[vault(kv = "{where}")]
    secret: SecretString,
    plain: String,
}

#[derive(Debug, VaultConfig)]
#[vault(env_prefix = "APP")]
struct Covered {
    #[vault(kv = "{where}", key = "secret")]
    secret: Option<SecretString>,
    #[vault(kv = "{where}", key = "secret", default = "default", env = "APP_SECRET_TOO")]
    secret_too: SecretString,
    plain: Option<String>,
    #[vault(default = "default", env = "APP_PLAIN_TOO")]
    plain_too: String,
}

#[derive(Debug, VaultConfig)]
struct Modal {
    #[vault(default = 1)]
    number: u8,
}

const VARIABLES: [&str; 4] = ["APP_SECRET", "APP_SECRET_TOO", "APP_PLAIN", "APP_PLAIN_TOO"];

fn revealed(secret: &Option<SecretString>) -> Option<&str> {
    secret.as_ref().map(ExposeSecret::expose_secret)
}

//! The type of a nested field is a configuration.

use vault_config::VaultConfig;

struct Plain;

#[derive(VaultConfig)]
struct Config {
    #[vault(nested)]
    nested: Plain,
}

fn main() {}

/// Without `nested` its `kv` would never be asked.
#[derive(VaultConfig)]
struct Forgotten {
    smtp: Smtp,
    spare: Option<Smtp>,
}

#[derive(serde::Deserialize, VaultConfig)]
struct Smtp {
    #[vault(kv = "smtp")]
    password: vault_config::secrecy::SecretString,
}

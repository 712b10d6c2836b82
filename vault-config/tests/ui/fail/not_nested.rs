//! A nested field must have a configuration as its type, and a configuration must be in a nested field.

use vault_config::VaultConfig;

struct Plain;

#[derive(VaultConfig)]
struct Config {
    #[vault(nested)]
    nested: Plain,
}

fn main() {}

/// Without `nested`, the `kv` inside `Smtp` would be ignored.
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

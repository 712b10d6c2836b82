//! The type of a nested field is a configuration.

use vault_config::VaultConfig;

struct Plain;

#[derive(VaultConfig)]
struct Config {
    #[vault(nested)]
    nested: Plain,
}

fn main() {}

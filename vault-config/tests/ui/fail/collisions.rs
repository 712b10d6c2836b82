//! Fields of one struct must not share a name.

use vault_config::VaultConfig;

#[derive(VaultConfig)]
#[vault(rename_all = "camelCase")]
struct Config {
    #[vault(env = "PORT")]
    port: u16,
    #[vault(env = "PORT")]
    metrics_port: u16,
    #[vault(rename = "port")]
    admin_port: u16,
    #[serde(alias = "metricsPort")]
    other_port: u16,
    a_b: u16,
    a__b: u16,
    #[serde(alias = "own", alias = "own", rename = "own")]
    own: u16,
}

fn main() {}

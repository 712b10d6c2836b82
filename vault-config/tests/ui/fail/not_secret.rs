//! A type that shows what it holds, in a field that comes from Vault.
//!
//! No `String` here: whether rustc writes it with its path depends on every name in the crate graph.

use vault_config::VaultConfig;

#[derive(Debug, serde::Deserialize)]
struct ApiKeys {
    internal: String,
}

#[derive(VaultConfig)]
struct Config {
    #[vault(kv = "my-app/api-keys")]
    port: Option<u16>,
    #[vault(kv = "my-app/api-keys", whole)]
    own: ApiKeys,
}

#[derive(VaultConfig)]
struct Generic<T> {
    #[vault(kv = "my-app/api-keys")]
    secret: T,
}

fn configuration<T: VaultConfig>() {}

fn main() {
    configuration::<Generic<u16>>();
}

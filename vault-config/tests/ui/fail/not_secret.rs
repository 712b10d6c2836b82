//! A field that comes from Vault must have a type that hides its value.
//!
//! The types here avoid `String`: whether rustc writes its path depends on every name in the crate graph.

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

//! A nested field refuses the attributes of a single value. They belong to the fields of the nested struct.

use vault_config::VaultConfig;

#[derive(VaultConfig)]
struct Config {
    #[vault(nested, default, env = "INNER", plain, validate = check)]
    general: Inner,
    #[vault(nested, kv, key = "k", version = 1, whole)]
    kv: Inner,
    #[vault(nested, database = "readonly", read = "app")]
    sources: Inner,
    #[vault(nested, kv = "app", refresh = "5m")]
    refreshed: Inner,
    #[vault(nested)]
    #[serde(default, deserialize_with = "read")]
    serde: Inner,
}

#[derive(VaultConfig)]
struct Recursive {
    #[vault(nested)]
    by_name: Option<Box<Recursive>>,
    #[vault(nested)]
    by_self: Option<Box<Self>>,
    #[vault(nested)]
    another: other::Recursive,
}

mod other {
    #[derive(vault_config::VaultConfig)]
    pub struct Recursive {}
}

#[derive(VaultConfig)]
struct Inner {}

fn main() {}

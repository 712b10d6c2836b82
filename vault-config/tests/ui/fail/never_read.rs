//! The derive does not hide the warning about a field that the program never reads.

#![deny(dead_code)]

use vault_config::VaultConfig;
use vault_config::secrecy::SecretString;

#[derive(VaultConfig)]
struct Config<T> {
    read: u16,
    plain: T,
    #[vault(kv = "app")]
    secret: SecretString,
    #[vault(nested)]
    nested: Inner,
}

#[derive(VaultConfig)]
struct Inner {
    inside: bool,
}

fn main() {
    let config = Config::<u8>::loader().load_blocking();
    let _ = config.map(|config| config.read);
}

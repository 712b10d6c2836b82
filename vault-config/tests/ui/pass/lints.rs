//! The generated code causes no warning, however strict the user's lints are.

#![deny(
    warnings,
    elided_lifetimes_in_paths,
    let_underscore_drop,
    missing_docs,
    rust_2018_idioms,
    single_use_lifetimes,
    trivial_casts,
    unreachable_pub,
    unused,
    unused_lifetimes,
    unused_qualifications,
    unused_results,
    variant_size_differences
)]
#![forbid(unsafe_code)]

use vault_config::secrecy::SecretString;
use vault_config::{DatabaseCredentials, VaultConfig};

/// A configuration.
#[derive(VaultConfig)]
#[vault(env_prefix = "APP", validate = anything)]
pub struct Config {
    /// A port.
    #[vault(default = 8080)]
    pub port: u16,
    /// An old name.
    #[deprecated]
    pub old: Option<String>,
    /// A key.
    #[vault(kv = "app")]
    pub key: SecretString,
    /// A login.
    #[vault(database = "readonly")]
    pub database: DatabaseCredentials,
    /// The rest.
    #[vault(nested)]
    pub inner: Option<Inner>,
}

/// Inner.
#[derive(VaultConfig)]
pub struct Inner {}

/// A type of its own visibility in a generic configuration.
#[derive(VaultConfig)]
pub struct Generic<T> {
    value: Wrapper<T>,
    #[vault(nested)]
    inner: Nested<T>,
}

#[derive(serde::Deserialize)]
struct Wrapper<T>(T);

#[derive(VaultConfig)]
struct Nested<T> {
    value: T,
}

fn anything(_: &Config) -> Result<(), String> {
    Ok(())
}

fn main() {
    drop(Config::schema());
    drop(Generic::<u8>::schema());
    let _: fn(&Generic<u8>) -> (&u8, &u8) = |generic| (&generic.value.0, &generic.inner.value);
}

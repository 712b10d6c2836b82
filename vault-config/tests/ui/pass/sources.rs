//! Every attribute, in every form it has.

#![allow(dead_code)]

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;
use vault_config::secrecy::{SecretBox, SecretString};
use vault_config::{DatabaseCredentials, Leased, Secret, VaultConfig};

/// Keys of partners.
#[derive(Deserialize)]
struct ApiKeys {
    internal: SecretString,
}

impl Secret for ApiKeys {}

#[derive(VaultConfig)]
#[vault(env_prefix = "APP", kv = "{env}/app", mount = "team/kv", rename_all = "camelCase")]
#[vault(crate = "vault_config", validate = Config::check, deny_unknown)]
struct Config {
    #[vault(kv)]
    bare: SecretString,
    #[vault(kv, key = "other", mount = "kv2", version = 3, kv_version = 2)]
    bare_with_options: Option<SecretString>,
    #[vault(kv = "data/secret", kv_version = 1)]
    with_path: Vec<SecretString>,
    #[vault(kv = "{profile}/all", whole)]
    all: HashMap<String, SecretString>,
    #[vault(kv = "{profile}/all", whole)]
    keys: ApiKeys,
    #[vault(kv = "app", plain, default = "localhost", env = "DB_HOST", rename = "db")]
    host: String,
    #[vault(kv = "app", plain, validate = port)]
    port: u16,
    #[vault(kv = "app")]
    pin: SecretBox<u32>,
    #[vault(database = "readonly")]
    reader: DatabaseCredentials,
    #[vault(database = "{env}-readwrite", mount = "pg")]
    writer: Option<DatabaseCredentials>,
    #[vault(database_static = "batch", mount = "pg")]
    batch: DatabaseCredentials,
    #[vault(read = "aws/creds/deploy", key = "secret_key")]
    aws: SecretString,
    #[vault(kv = "app", refresh = "1h 30m", version = 3)]
    often: SecretString,
    #[vault(kv, refresh = "never")]
    once: SecretString,
    #[vault(read = "cubbyhole/app", key = "k", refresh = "1500ms")]
    refreshed_key: SecretString,
    #[vault(read = "cubbyhole/app", refresh = "24h")]
    refreshed_map: HashMap<String, SecretString>,
    #[vault(read = "gcp/token/ci")]
    gcp: HashMap<String, SecretString>,
    #[vault(transit = "app")]
    encrypted: SecretString,
    #[vault(transit = "{env}-app", mount = "keys")]
    encrypted_elsewhere: Option<Leased<SecretString>>,
    #[vault(write = "transit/random/16", data(format = "hex", r#type = "{env}", empty = ""), key = "k")]
    written: SecretString,
    #[vault(write = "aws/sts/deploy", refresh = "30m")]
    written_map: Leased<HashMap<String, SecretString>>,
    #[vault(default)]
    switch: bool,
    #[vault(default = "127.0.0.1")]
    address: IpAddr,
    #[vault(default = HashMap::<String, u8>::new())]
    map: HashMap<String, u8>,
    #[vault(default = Duration::from_secs({ let minutes = 2; minutes * 60 }))]
    #[serde(with = "seconds")]
    timeout: Duration,
    #[vault(default = ["a", "b"].iter().map(|text| (*text).to_owned()).collect())]
    list: Vec<String>,
    #[vault(kv, namespace = "team-{env}/inner")]
    elsewhere: SecretString,
    #[vault(nested)]
    inner: Inner,
    #[vault(nested, kv = "inner", mount = "kv2", namespace = "root", rename = "second")]
    other: Option<Inner>,
}

impl Config {
    fn check(&self) -> Result<(), std::num::ParseIntError> {
        Ok(())
    }
}

fn port(port: &u16) -> Result<(), std::fmt::Error> {
    if *port == 0 { Err(std::fmt::Error) } else { Ok(()) }
}

mod seconds {
    use serde::Deserialize;

    pub fn deserialize<'de, D>(input: D) -> Result<std::time::Duration, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        u64::deserialize(input).map(std::time::Duration::from_secs)
    }
}

#[derive(VaultConfig)]
#[vault(namespace = "team-b")]
struct Inner {
    #[vault(kv)]
    password: Option<SecretString>,
}

fn main() {
    let _ = Config::schema();
}

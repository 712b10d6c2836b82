//! One set of attributes serves `VaultConfig` and the derives of serde.

#![allow(dead_code)]

use serde::{Deserialize, Serialize};
use vault_config::VaultConfig;

#[derive(Debug, Deserialize, Serialize, VaultConfig)]
#[serde(
    rename_all = "kebab-case",
    default,
    deny_unknown_fields,
    rename = "config",
    expecting = "a map"
)]
#[vault(env_prefix = "APP", rename_all = "kebab-case")]
struct Config {
    #[serde(rename = "listen", alias = "address", alias = "addr")]
    host: String,
    #[serde(rename(serialize = "p", deserialize = "port"), default = "Config::port")]
    port_number: u16,
    #[serde(
        deserialize_with = "lenient",
        serialize_with = "strict",
        skip_serializing_if = "is_zero"
    )]
    level: u8,
    #[serde(with = "module", skip_serializing)]
    #[vault(rename = "ratio", default = 0.5)]
    #[serde(rename = "ratio", bound = "")]
    share: f64,
    #[vault(nested)]
    inner: Inner,
}

#[derive(Debug, Default, Deserialize, Serialize, VaultConfig)]
#[serde(default = "Inner::new", rename_all(deserialize = "camelCase", serialize = "UPPERCASE"))]
struct Inner {
    pool_size: u32,
}

impl Inner {
    fn new() -> Self {
        Self { pool_size: 7 }
    }
}

impl Config {
    fn port() -> u16 {
        80
    }
}

impl Default for Config {
    fn default() -> Self {
        Self { host: String::new(), port_number: 1, level: 2, share: 0.1, inner: Inner::new() }
    }
}

fn lenient<'de, D: serde::Deserializer<'de>>(input: D) -> Result<u8, D::Error> {
    String::deserialize(input).map(|text| text.len() as u8)
}

fn strict<S: serde::Serializer>(level: &u8, output: S) -> Result<S::Ok, S::Error> {
    output.serialize_u8(*level)
}

fn is_zero(level: &u8) -> bool {
    *level == 0
}

mod module {
    pub fn deserialize<'de, D: serde::Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
        serde::Deserialize::deserialize(input)
    }
}

fn main() {
    let _ = Config::schema();
}

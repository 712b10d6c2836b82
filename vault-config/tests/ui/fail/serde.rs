//! An attribute of serde that a configuration does not support is refused by name.

use serde::Deserialize;
use vault_config::VaultConfig;

#[derive(VaultConfig)]
#[serde(tag = "kind", content = "c", untagged, transparent, from = "Other", try_from = "Other")]
#[serde(remote = "Other", rename_all_fields = "lowercase", rename_all = "Kebab", deny_unknown_field)]
#[serde(variant_identifier, field_identifier)]
struct Config {
    #[serde(flatten)]
    flattened: Other,
    #[serde(skip)]
    skipped: u8,
    #[serde(skip_deserializing)]
    half_skipped: u8,
    #[serde(getter = "get")]
    got: u8,
    #[serde(borrow)]
    borrowed: u8,
    #[serde(other)]
    other: u8,
    #[serde(defualt)]
    near: u8,
    #[serde(rename, alias = 5, default = "not a path", deserialize_with = "", with)]
    kinds: u8,
    #[serde(rename = "a", rename = "b", default, default, with = "a", deserialize_with = "b")]
    repeated: u8,
    #[vault(rename = "ours")]
    #[serde(rename(serialize = "any", deserialize = "theirs"))]
    two_names: u8,
}

#[derive(VaultConfig)]
#[vault(rename_all = "camelCase")]
#[serde(rename_all(deserialize = "kebab-case"))]
struct TwoCases {}

#[derive(Deserialize)]
struct Other {}

fn main() {}

//! Strings that can never be valid.

use std::collections::HashMap;

use vault_config::VaultConfig;
use vault_config::secrecy::SecretString;

#[derive(VaultConfig)]
#[vault(env_prefix = "", kv = "/app", mount = "", namespace = "team-a/", rename_all = "Camel_Case")]
struct Config {
    #[vault(kv = "")]
    empty: SecretString,
    #[vault(kv = "my-app//api-keys")]
    empty_segment: SecretString,
    #[vault(kv = "my-app/../api-keys", mount = "./kv")]
    dots: SecretString,
    #[vault(kv = "/my-app")]
    leading: SecretString,
    #[vault(read = "aws/creds/", key = "")]
    trailing: SecretString,
    #[vault(kv = "my-app#password")]
    key: SecretString,
    #[vault(kv = "my-app?version=3")]
    query: SecretString,
    #[vault(kv = "my-app\n")]
    control: SecretString,
    #[vault(kv = "{env/app")]
    unclosed: SecretString,
    #[vault(kv = "env}/app")]
    unopened: SecretString,
    #[vault(kv = "{}/app")]
    unnamed: SecretString,
    #[vault(kv = "{a{b}}/app")]
    doubled: SecretString,
    #[vault(kv = "{my env}/app")]
    badly_named: SecretString,
    #[vault(kv = "app", refresh = "")]
    no_duration: SecretString,
    #[vault(kv = "app", refresh = "5")]
    no_unit: SecretString,
    #[vault(kv = "app", refresh = "sometimes")]
    no_number: SecretString,
    #[vault(kv = "app", refresh = "Never")]
    never_in_capitals: SecretString,
    #[vault(kv = "app", refresh = "0s")]
    without_pause: SecretString,
    #[vault(read = "app", refresh = "999ms")]
    too_often: HashMap<String, SecretString>,
    #[vault(read = "app", refresh = "24h 1s")]
    too_rarely: HashMap<String, SecretString>,
    #[vault(write = "a/../b", data(first = 1, second = "{", first = "x", first = "y", third))]
    written: SecretString,
    #[vault(write = "a", data = "b")]
    data: SecretString,
    #[vault(pki = "web/", common_name = "", ttl = "soon", alt_names = "{")]
    pki: SecretString,
    #[vault(ssh = "deploy", ttl = "1h 30m", public_key = "a\nb")]
    ssh: SecretString,
    #[vault(transit = "/app")]
    transit: SecretString,
    #[vault(database = "", mount = "pg/")]
    role: SecretString,
    #[vault(database_static = "")]
    static_role: SecretString,
    #[vault(env = "")]
    env_empty: String,
    #[vault(env = "A=B")]
    env_equals: String,
    #[vault(env = "A B")]
    env_blank: String,
    #[vault(env = "A\0")]
    env_nul: String,
    #[vault(rename = "")]
    #[serde(alias = "")]
    renamed: String,
}

fn main() {}

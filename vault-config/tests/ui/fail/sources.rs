//! Attributes that exclude each other.

use vault_config::VaultConfig;
use vault_config::secrecy::SecretString;

#[derive(VaultConfig)]
struct Config {
    #[vault(kv = "app", database = "readonly", read = "app")]
    three_sources: SecretString,
    #[vault(key = "k", mount = "m", version = 1, kv_version = 1, whole)]
    no_source: String,
    #[vault(database = "readonly", key = "username", version = 1, whole)]
    database: SecretString,
    #[vault(database_static = "readonly", kv_version = 2)]
    database_static: SecretString,
    #[vault(read = "app", mount = "aws")]
    read: SecretString,
    #[vault(kv = "app", whole, key = "k")]
    whole_and_key: SecretString,
    #[vault(kv = "app", version = 3, kv_version = 1)]
    version_of_v1: SecretString,
    #[vault(kv = "app", version = 0)]
    before_the_first: SecretString,
    #[vault(kv = "app", kv_version = 3)]
    kv_version: SecretString,
    #[vault(database = "readonly", refresh = "5m")]
    refreshed_database: SecretString,
    #[vault(database_static = "readonly", refresh = "never")]
    refreshed_static: SecretString,
    #[vault(refresh = "5m")]
    refreshed_plain: String,
    #[vault(transit = "app", key = "k", refresh = "5m", ttl = "1h")]
    transit: SecretString,
    #[vault(write = "aws/sts/deploy", version = 1, mount = "aws")]
    write: SecretString,
    #[vault(kv = "app", data(a = "b"), common_name = "www.example.com")]
    data_of_kv: SecretString,
    #[vault(pki = "web", public_key = "ssh-ed25519 AAAA", key = "k")]
    pki: SecretString,
    #[vault(ssh = "deploy", public_key = "ssh-ed25519 AAAA", public_key_file = "id.pub", ip_sans = "127.0.0.1")]
    ssh: SecretString,
    #[vault(namespace = "team-a")]
    namespace_of_nothing: String,
    #[vault(plain, default = 1)]
    plain: u16,
}

fn main() {}

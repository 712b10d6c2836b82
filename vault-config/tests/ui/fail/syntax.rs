//! Unknown, repeated and malformed attributes are all reported in one compilation.

use vault_config::VaultConfig;

#[derive(VaultConfig)]
#[vault(env_prefx = "APP", default = 1, kv, validate = "check", crate = 5, deny_unknown = true)]
#[vault]
struct Config {
    #[vault(defualt = 1)]
    near: u16,
    #[vault(transit = "key")]
    far: String,
    #[vault(env_prefix = "APP", env_prefix)]
    misplaced: String,
    #[vault(kv = "app", plain, kv = "app")]
    #[vault(plain)]
    repeated: String,
    #[vault(kv = 5, key, version = "3", kv_version = -1, whole = true)]
    kinds: String,
    #[vault(kv = "app", refresh, refresh = "5m")]
    repeated_interval: String,
    #[vault(kv = "app", refresh = 300)]
    number_for_interval: String,
    #[vault(kv = "app", refresh("5m"))]
    list_for_interval: String,
    #[vault(database, env(NAME), rename = concat!("a", "b"), validate = |_| Ok(()), nested())]
    more_kinds: String,
    #[vault("text", default = , plain = "x" "y", kv::path, enviroment = "Z")]
    not_words: String,
    #[vault = "kv"]
    no_list: String,
    #[vault(default = 99999999999999999999999, version = 99999999999999999999999)]
    large: u16,
}

fn main() {
    // The fallback impl exists, so this call adds no error.
    let _ = Config::schema();
}

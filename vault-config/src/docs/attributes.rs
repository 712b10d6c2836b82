//! Every attribute, with an example of each.
//!
//! Attributes stand in `#[vault(..)]`. Several stand in one, separated by commas, or in several. A
//! misspelt, unknown, repeated or contradictory attribute does not compile, and all mistakes of a
//! struct are told in one run.
//!
//! # Sources
//!
//! A field without a source is *plain*: it comes from the process environment, `.env`, the figment
//! layers, or its default.
//!
//! A field with a source is *marked for Vault*. Its type has to hide its value: see
//! [`Secret`](crate::Secret). For a value that is no secret, such as a host or a port, add `plain`.
//!
//! ## `kv`: one key of a KV secret
//!
//! ```
//! # use vault_config::{VaultConfig, secrecy::SecretString};
//! #[derive(VaultConfig)]
//! struct AppConfig {
//!     // The key is the field's name: vault kv get -mount=secret -field=api_key my-app
//!     #[vault(kv = "my-app")]
//!     api_key: SecretString,
//!
//!     // Another key.
//!     #[vault(kv = "my-app", key = "internal-key")]
//!     internal: SecretString,
//!
//!     // Another mount than `secret`.
//!     #[vault(kv = "billing/db", mount = "team-a/kv")]
//!     password: SecretString,
//!
//!     // `None` when the secret, its key or its version is not there.
//!     #[vault(kv = "my-app")]
//!     beta_key: Option<SecretString>,
//!
//!     // One version of a KV v2 secret, whatever is written later.
//!     #[vault(kv = "my-app", version = 3)]
//!     pinned: SecretString,
//!
//!     // Not a secret: any type may hold it.
//!     #[vault(kv = "my-app", plain)]
//!     database_port: u16,
//! }
//! ```
//!
//! The path is the one of `vault kv get`: without `data/` and without the mount. Version 2 of the
//! engine is tried first, and the mount's real version is learned on the first miss, so version 1
//! works with nothing declared. `kv_version = 1` saves the two requests that learning takes, and
//! lets [`Schema::policy`](crate::Schema::policy) write the right path:
//!
//! ```
//! # use vault_config::{VaultConfig, secrecy::SecretString};
//! #[derive(VaultConfig)]
//! struct AppConfig {
//!     #[vault(kv = "mainframe", mount = "old-secrets", kv_version = 1)]
//!     password: SecretString,
//! }
//! assert_eq!(
//!     AppConfig::schema().policy(),
//!     "# password\npath \"old-secrets/mainframe\" {\n  capabilities = [\"read\"]\n}\n"
//! );
//! ```
//!
//! ## `kv` without a path
//!
//! The struct's own path, or that of the field that nests it. The field's path goes before the
//! struct's own:
//!
//! ```
//! # use vault_config::{VaultConfig, secrecy::SecretString};
//! #[derive(VaultConfig)]
//! #[vault(kv = "my-app/main")]
//! struct AppConfig {
//!     #[vault(kv)]
//!     api_key: SecretString,
//!     #[vault(nested, kv = "my-app/primary")]
//!     primary: Database,
//!     #[vault(nested, kv = "my-app/replica", mount = "team-a")]
//!     replica: Database,
//! }
//!
//! #[derive(VaultConfig)]
//! struct Database {
//!     #[vault(kv)]
//!     password: SecretString,
//! }
//! ```
//!
//! ## `whole`: all keys of a secret
//!
//! ```
//! # use std::collections::HashMap;
//! # use vault_config::{VaultConfig, secrecy::SecretString};
//! #[derive(VaultConfig)]
//! struct AppConfig {
//!     #[vault(kv = "my-app/partners", whole)]
//!     partner_keys: HashMap<String, SecretString>,
//! }
//! ```
//!
//! ## `refresh`: how often it is read again
//!
//! For a configuration that is watched: how often this secret is read again, whatever the
//! configuration says of all others. `never` keeps what the first read gave. It goes with `kv`, and
//! with `read` and `write` where the answer has no lease; a lease says itself when it has to be
//! renewed, and a token that says how long it is good for is made again before that is over.
//!
//! ```
//! # use vault_config::{VaultConfig, secrecy::SecretString};
//! #[derive(VaultConfig)]
//! struct AppConfig {
//!     #[vault(kv = "my-app/flags", refresh = "10s", plain)]
//!     read_only: bool,
//!     #[vault(kv = "my-app", refresh = "1h 30m")]
//!     api_key: SecretString,
//!     #[vault(kv = "my-app/seed", refresh = "never")]
//!     seed: SecretString,
//!     #[vault(read = "cubbyhole/ticket", key = "ticket", refresh = "30m")]
//!     ticket: SecretString,
//! }
//! ```
//!
//! A duration is written as in `90s`, `5m`, `1h 30m` or `1500ms`, from `1s` to `24h`; any other
//! does not compile. A configuration that is loaded once ignores it.
//!
//! ## `namespace`: another one than the connection's
//!
//! For every source, where the server has namespaces: the whole path of one, or `root`. A nested
//! field hands it to the fields of its struct, and `#[vault(namespace = "..")]` on a struct is the
//! default of its own fields.
//!
//! ```
//! # use vault_config::{DatabaseCredentials, VaultConfig, secrecy::SecretString};
//! #[derive(VaultConfig)]
//! struct AppConfig {
//!     #[vault(kv = "my-app", namespace = "team-a/billing")]
//!     api_key: SecretString,
//!     #[vault(database = "readonly", namespace = "{env}")]
//!     database: DatabaseCredentials,
//! }
//! ```
//!
//! A token reaches its own namespace and those below it, as far as its policies say. Where the
//! service logs in to another namespace than it reads from, `VAULT_AUTH_NAMESPACE` names it. The
//! `default` policy is of its own namespace: to renew leases of another one takes a line more, which
//! [`Schema::policy`](crate::Schema::policy) writes.
//!
//! ## `database` and `database_static`: a user of a database
//!
//! A dynamic role makes a user for this process, with a lease; a static role gives a user whose
//! password the server rotates. Both are one [`DatabaseCredentials`](crate::DatabaseCredentials).
//! `mount` names another mount than `database`. In the environment they are two variables:
//! `DATABASE_USERNAME` and `DATABASE_PASSWORD` for a field `database`.
//! [`connection_url`](crate::DatabaseCredentials::connection_url) puts them into the URL that a
//! driver takes.
//!
//! ```
//! # use vault_config::{VaultConfig, DatabaseCredentials};
//! #[derive(VaultConfig)]
//! struct AppConfig {
//!     #[vault(database = "readonly")]
//!     database: DatabaseCredentials,
//!     #[vault(database_static = "reports", mount = "postgres")]
//!     reports: DatabaseCredentials,
//! }
//! ```
//!
//! ## `read`: any other engine
//!
//! A read of a path as it is, with `key` for one key of the answer and without for all of it:
//!
//! ```
//! # use std::collections::HashMap;
//! # use vault_config::{VaultConfig, secrecy::SecretString};
//! #[derive(VaultConfig)]
//! struct AppConfig {
//!     #[vault(read = "rabbitmq/creds/publisher")]
//!     broker: HashMap<String, SecretString>,
//!     #[vault(read = "totp/code/deploy", key = "code")]
//!     code: SecretString,
//! }
//! ```
//!
//! Fields that read one path share one answer and one lease. `write` with `data(..)` is for engines
//! that answer a write:
//!
//! ```
//! # use vault_config::{VaultConfig, secrecy::SecretString};
//! #[derive(VaultConfig)]
//! struct AppConfig {
//!     #[vault(write = "transit/random/32", data(format = "hex"), key = "random_bytes")]
//!     seed: SecretString,
//! }
//! ```
//!
//! ## `pki`, `ssh` and `transit`
//!
//! A certificate, a signed SSH key, a value that is decrypted: see [`engines`](super::engines).
//!
//! ```
//! # use vault_config::{VaultConfig, secrecy::SecretString};
//! #[derive(VaultConfig)]
//! struct AppConfig {
//!     // vault:v1:.. in the environment, in .env or in a file
//!     #[vault(transit = "app")]
//!     license: SecretString,
//! }
//! ```
//!
//! ## `nested`: a struct inside the struct
//!
//! The type is itself a `VaultConfig`. Its fields' variables and error paths are prefixed by the
//! field's name; its own `env_prefix` is not used. An `Option` of it is `None` when no source has
//! any of its fields; as soon as one has, the others have to be there, and an error says which one it was.
//!
//! A struct that is nested in itself does not compile, and one that comes round by others (`A` nests `B`, which nests
//! an `Option<Box<A>>`) is refused when it is loaded, by the names of the fields that lead around.
//!
//! ```
//! # use vault_config::{VaultConfig, secrecy::SecretString};
//! #[derive(VaultConfig)]
//! #[vault(env_prefix = "APP")]
//! struct AppConfig {
//!     #[vault(nested)]
//!     smtp: Smtp,              // APP_SMTP_HOST, APP_SMTP_PASSWORD
//!     #[vault(nested)]
//!     backup_smtp: Option<Smtp>,
//! }
//!
//! #[derive(VaultConfig)]
//! struct Smtp {
//!     host: String,
//!     #[vault(kv = "my-app/smtp")]
//!     password: SecretString,
//! }
//! ```
//!
//! ## `{name}` in paths
//!
//! Filled by [`Loader::var`](crate::Loader::var), else by the variable `VAULT_CONFIG_VAR_NAME`, and
//! `{profile}` else by the profile that the loader's figment has selected.
//!
//! ```
//! # use vault_config::{VaultConfig, secrecy::SecretString};
//! #[derive(VaultConfig)]
//! struct AppConfig {
//!     #[vault(kv = "{env}/my-app")]
//!     api_key: SecretString,
//! }
//! let loader = AppConfig::loader().var("env", "prod");
//! ```
//!
//! # Other attributes of fields
//!
//! ```
//! # use std::net::IpAddr;
//! # use vault_config::{VaultConfig, secrecy::{ExposeSecret, SecretString}};
//! #[derive(VaultConfig)]
//! struct AppConfig {
//!     // Used when no source has the field: `Default::default()`, an expression, or text that is read as any other.
//!     #[vault(default)]
//!     verbose: bool,
//!     #[vault(default = 4 * 1024)]
//!     buffer: usize,
//!     #[vault(default = "127.0.0.1")]
//!     listen: IpAddr,
//!
//!     // Exactly this variable, without the prefix. For a pair it is the prefix of both.
//!     #[vault(env = "PORT")]
//!     port: u16,
//!
//!     // The key in files.
//!     #[vault(rename = "log-level")]
//!     log_level: String,
//!
//!     // Told with all other problems.
//!     #[vault(kv = "my-app", validate = long_enough)]
//!     signing_key: SecretString,
//! }
//!
//! fn long_enough(key: &SecretString) -> Result<(), &'static str> {
//!     if key.expose_secret().len() < 32 { return Err("a signing key has at least 32 characters") }
//!     Ok(())
//! }
//! ```
//!
//! A validator of a field marked for Vault should not put the value into its message; if it does,
//! the message is withheld.
//!
//! # Attributes of the struct
//!
//! ```
//! # use vault_config::{VaultConfig, secrecy::SecretString};
//! #[derive(VaultConfig)]
//! #[vault(
//!     env_prefix = "APP",          // APP_MIN_SIZE
//!     rename_all = "kebab-case",   // min-size in files
//!     kv = "my-app",               // for fields that say `kv` alone
//!     mount = "team-a",            // for all `kv` fields that name no mount
//!     namespace = "billing",       // for all fields from Vault that name no namespace
//!     validate = consistent,       // fn(&Pool) -> Result<(), impl Display>
//!     deny_unknown,                // a key in the files that no field takes is a problem
//! )]
//! struct Pool {
//!     min_size: u32,
//!     max_size: u32,
//!     #[vault(kv)]
//!     password: SecretString,
//! }
//!
//! fn consistent(pool: &Pool) -> Result<(), String> {
//!     if pool.min_size > pool.max_size { return Err("min_size is more than max_size".into()) }
//!     Ok(())
//! }
//! ```
//!
//! `deny_unknown` covers nested structs too. `crate = "path"` names this crate where it is renamed
//! or re-exported:
//!
//! ```
//! mod framework { pub extern crate vault_config; }
//!
//! #[derive(framework::vault_config::VaultConfig)]
//! #[vault(crate = "framework::vault_config")]
//! struct AppConfig { port: u16 }
//! ```
//!
//! # serde's attributes
//!
//! They work with and without `derive(Deserialize)`. A `Duration`, for one, is written `30s` with
//! `#[serde(with = "humantime_serde")]`; without it serde wants `{"secs": 30, "nanos": 0}`.
//!
//! A struct that also derives `Deserialize` says nothing twice: `rename`, `rename_all`, `default`,
//! `alias`, `deserialize_with` and `with` are honoured as they are. One that cannot be honoured
//! (`flatten`, `skip`, ..) does not compile.
//!
//! ```
//! # use serde::Deserialize;
//! # use vault_config::{VaultConfig, secrecy::SecretString};
//! #[derive(Deserialize, VaultConfig)]
//! #[serde(rename_all = "camelCase")]
//! struct AppConfig {
//!     #[serde(default, alias = "debug")]
//!     verbose_output: bool,
//!     #[serde(default)]
//!     #[vault(kv = "my-app")]
//!     api_key: Option<SecretString>,
//! }
//! ```

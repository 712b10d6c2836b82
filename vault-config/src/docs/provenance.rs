//! Which source wins, and how to see where a value came from.
//!
//! | | Vault mode | local mode |
//! |---|---|---|
//! | field marked for Vault | process environment → Vault → default / `None` | process environment → `.env` → figment layers → default / `None` |
//! | plain field | process environment → `.env` → figment layers → default | the same |
//!
//! # The mode
//!
//! [`Mode::Auto`](crate::Mode::Auto), the default, is Vault mode as soon as an address is
//! configured: `VAULT_ADDR`, `BAO_ADDR`, `VAULT_AGENT_ADDR` or `BAO_AGENT_ADDR` in the process
//! environment, or a [`Vault`](crate::Vault) given to the loader. A shell often has `VAULT_ADDR`
//! set for the command line, so every error says why its mode was chosen and how to have the other.
//! `VAULT_CONFIG_MODE` (`auto`, `vault`, `local`) decides for a program that leaves the mode to
//! `Auto`. The connection's variables are never read from `.env`.
//!
//! A login that is configured without an address is an error in `Auto`, for a configuration with a field that is
//! marked for Vault: who sets `VAULT_ROLE_ID` and forgets `VAULT_ADDR` wants no local secrets. Every variable counts that only a
//! login to Vault reads, as `BAO_..` too, and with `_FILE`: those of the table in [`auth`](crate::auth), `VAULT_TOKEN` and
//! `VAULT_CLIENT_CERT` among them. Those of a platform (`AWS_..`, `AZURE_..`) and `~/.vault-token` do not. A deployment
//! fixes the mode all the same, by `VAULT_CONFIG_MODE=vault` or [`Loader::mode`](crate::Loader::mode): it may forget the
//! login as well.
//!
//! # It fails closed
//!
//! In Vault mode an error of Vault is never answered with a value from `.env` or from a file.
//! `Option` and `default` cover *absence*: no such secret, no such key, a deleted version. A path
//! that is denied, a sealed or unreachable server, or an answer of the wrong shape is a problem for
//! every field.
//!
//! A field that the environment overrides is not asked for, so no credential is made for it. An
//! operator may override a secret that way in an emergency;
//! [`Loader::env_overrides(false)`](crate::Loader::env_overrides) forbids it.
//!
//! # Names of variables
//!
//! The prefix and the field's path in upper case, joined by `_`: `smtp.pool_size` below `env_prefix
//! = "APP"` is `APP_SMTP_POOL_SIZE`. Names come from the struct and are never split, so an
//! underscore is never ambiguous; two fields with one name are an error that names both. An empty
//! variable counts as unset.
//!
//! # `.env`
//!
//! The file is parsed by dotenvy into a map; the process environment is never written. A bad line
//! is told by its number and never quoted. If a name stands twice, the last one counts.
//!
//! dotenvy replaces `$NAME` in values that are not in single quotes. For a field marked for Vault
//! that would alter a secret in silence, so it is an error there: write secrets in single quotes.
//!
//! ```sh
//! APP_API_KEY='pa$$word # with "anything" in it'
//! APP_HOSTS='["a.example", "b.example"]'
//! ```
//!
//! At most 1 MiB is read of it, and as much may its `$NAME`s be replaced by. It is a regular file, or a pipe: a
//! shell's `<(..)`, or one that a password manager answers, which has 5 s to be written to its end. A pipe is opened
//! when a field is looked for in it, and left alone otherwise. A directory, a device or a socket is a problem. Of a
//! file with many bad lines the first 12 are named, and how many more there are.
//!
//! The same goes for a `#` after a blank in a value without quotes, which would cut the value off.
//! Plain fields are read as dotenvy reads them, whatever their type: mark a secret for Vault.
//!
//! # Text until the type asks
//!
//! `vault kv put` and environments hold text. `"5432"` is a number for a `u16`, and `"00123"`,
//! `"true"`, `"1e5"` or `"[x"` stay as they are for a `SecretString` or a `String`. Lists and maps
//! are read from JSON text. JSON numbers, lists and objects in KV work as they are, and a number
//! read as text keeps its digits: `1.10` stays `1.10`. OpenBao's KV v2 itself keeps numbers as
//! floats and gives `1.1` for `1.10`: store what has to stay exact as a string. A `bool` is `true`,
//! `false`, `yes`, `no`, `on`, `off`, `1` or `0`.
//!
//! One limit is serde's own: inside `#[serde(flatten)]` and untagged enums *of a field's type*
//! serde reads without saying which type it wants, so text stays text there.
//!
//! # Seeing it
//!
//! ```
//! use vault_config::{Mode, Provenance, VaultConfig, secrecy::SecretString};
//!
//! #[derive(VaultConfig)]
//! struct AppConfig {
//!     #[vault(default = 8080)]
//!     port: u16,
//!     #[vault(kv = "my-app")]
//!     api_key: SecretString,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), vault_config::Error> {
//! let (config, report) = AppConfig::loader()
//!     .mode(Mode::Local)
//!     .without_dotenv()
//!     .env_source([("API_KEY", "for-a-test")])
//!     .load_with_report()
//!     .await?;
//! assert_eq!(report.provenance("port"), Some(&Provenance::Default));
//! assert_eq!(
//!     report.to_string(),
//!     "Local mode, because the program asks for it with .mode(Mode::Local); .mode(Mode::Vault) reads secrets from Vault.\n  port     default\n  api_key  env API_KEY\n"
//! );
//! # Ok(()) }
//! ```
//!
//! [`Report`](crate::Report) also lists keys of the secrets that no field uses, and keys of the
//! figment layers that no field takes. Which mode was chosen, and why, is logged once per load at
//! `info`, or at `warn` when secrets came from `.env`.

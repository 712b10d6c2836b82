//! Your own tests, with and without a Vault.
//!
//! # Without one
//!
//! A test names all its sources, so that neither the machine's environment nor a `.env` file of the
//! developer's gets in:
//!
//! ```
//! use vault_config::{DatabaseCredentials, Mode, VaultConfig, secrecy::{ExposeSecret, SecretString}};
//!
//! #[derive(Debug, VaultConfig)]
//! #[vault(env_prefix = "APP")]
//! struct AppConfig {
//!     port: u16,
//!     #[vault(kv = "my-app")]
//!     api_key: SecretString,
//!     #[vault(database = "readonly")]
//!     database: DatabaseCredentials,
//! }
//!
//! # fn main() -> Result<(), vault_config::Error> {
//! let variables = [
//!     ("APP_PORT", "80"),
//!     ("APP_API_KEY", "k"),
//!     ("APP_DATABASE_USERNAME", "u"),
//!     ("APP_DATABASE_PASSWORD", "p"),
//! ];
//! let loader = AppConfig::loader().mode(Mode::Local).without_dotenv().env_source(variables);
//! let config = loader.load_blocking()?;
//! assert_eq!(config.api_key.expose_secret(), "k");
//! assert_eq!(config.database.username(), "u");
//! # Ok(()) }
//! ```
//!
//! `AppConfig { .. }` with [`DatabaseCredentials::new`](crate::DatabaseCredentials::new) and
//! [`Leased::new`](crate::Leased::new) needs no loader at all. In local mode `watch()` gives a
//! [`Live`](crate::Live) that stays as it is, so that code which takes one can be tested too.
//!
//! # What the configuration needs
//!
//! That the documents of a repository are up to date is a test as well:
//!
//! ```
//! # use vault_config::{VaultConfig, secrecy::SecretString};
//! # #[derive(VaultConfig)]
//! # struct AppConfig {
//! #     #[vault(kv = "my-app")]
//! #     api_key: SecretString,
//! # }
//! # let in_the_repository = AppConfig::schema().policy();
//! assert_eq!(AppConfig::schema().policy(), in_the_repository);
//! ```
//!
//! # Before a deployment
//!
//! [`Loader::check`](crate::Loader::check) logs in, reads every secret, and asks whether the token
//! may ask for what would make a credential, without making any. It leaves no token behind:
//!
//! ```no_run
//! # use vault_config::VaultConfig;
//! # #[derive(VaultConfig)]
//! # struct AppConfig {}
//! # async fn check() -> Result<(), vault_config::Error> {
//! println!("{}", AppConfig::loader().check().await?);
//! # Ok(()) }
//! ```
//!
//! # With a real server
//!
//! `bao server -dev` or `vault server -dev` starts one in a second, with KV version 2 at `secret/`:
//!
//! ```sh
//! bao server -dev -dev-root-token-id=root -dev-no-store-token &
//! VAULT_ADDR=http://127.0.0.1:8200 VAULT_TOKEN=root cargo test
//! ```
//!
//! # Time
//!
//! [`VaultBuilder::clock`](crate::VaultBuilder::clock) takes a [`Clock`](crate::live::Clock) of your
//! own: a day of renewals passes in a second.

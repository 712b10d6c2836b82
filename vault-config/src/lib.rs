//! Typed configuration for services whose secrets live in HashiCorp Vault or OpenBao.
//!
//! One struct declares the whole configuration. Its derive macro knows where every field comes
//! from; one call loads it and reports every problem at once.
//!
//! ```no_run
//! use vault_config::{DatabaseCredentials, VaultConfig, secrecy::SecretString};
//!
//! /// Configuration of the billing service.
//! #[derive(Debug, VaultConfig)]
//! #[vault(env_prefix = "APP")]
//! struct AppConfig {
//!     /// Port to listen on.
//!     #[vault(default = 8080)]
//!     port: u16,                                   // plain: env, .env, files, default
//!
//!     #[vault(kv = "my-app/api-keys")]             // key = the field's name
//!     external_api_key: SecretString,
//!
//!     #[vault(kv = "my-app/api-keys", key = "internal")]
//!     internal_api_key: Option<SecretString>,      // absent in Vault is None
//!
//!     #[vault(database = "readonly")]              // dynamic role: name, password, lease
//!     database: DatabaseCredentials,
//!
//!     #[vault(nested)]
//!     smtp: Smtp,                                  // another VaultConfig struct
//! }
//!
//! #[derive(Debug, VaultConfig)]
//! struct Smtp {
//!     host: String,
//!     #[vault(kv = "my-app/smtp")]
//!     password: SecretString,
//! }
//!
//! # async fn run() -> Result<(), vault_config::Error> {
//! let live = AppConfig::loader().watch().await?; // loaded, and kept fresh from now on
//! let config = live.current();                   // an Arc<AppConfig>, always the newest
//! # Ok(()) }
//! ```
//!
//! [`AppConfig::load()`](VaultConfig::load) returns the bare struct, once. It is for a program that ends before its
//! credentials expire, or that has none: nothing renews them. [`Loader::watch`] keeps the configuration fresh: see
//! [`docs::rotation`]. The [`tutorial`](docs::tutorial) builds a service in steps.
//!
//! # In production
//!
//! The official client's variables set the server's address and the login. Fix the mode as well, here or by
//! [`Loader::mode`]: without it, a deployment that has none of these variables would start from local sources.
//!
//! ```sh
//! VAULT_CONFIG_MODE=vault VAULT_ADDR=https://vault.example.com:8200 \
//!     VAULT_ROLE_ID=.. VAULT_SECRET_ID=.. ./billing
//! ```
//!
//! A load waits for a server that is sealed, a standby or not up yet, 30 s by default: see
//! [`Loader::startup_deadline`]. [`auth`] lists the ways to log in, and [`docs::connecting`] what
//! each needs and trusts; [`Vault::builder`] describes a connection in code.
//!
//! | variable (each also as `BAO_..`, which has priority) | meaning |
//! |---|---|
//! | `VAULT_ADDR` | `https://host:8200`, `http://..` or `unix:///path`; several nodes of one cluster are joined by commas |
//! | `VAULT_AGENT_ADDR` | a local agent's address; has priority over `VAULT_ADDR` |
//! | `VAULT_NAMESPACE` | the namespace of every request; a field's own `namespace` has priority |
//! | `VAULT_AUTH_NAMESPACE` | the namespace to log in to, if it is another one; `root` for the root namespace |
//! | `VAULT_CACERT`, `VAULT_CACERT_BYTES`, `VAULT_CAPATH` | trust these authorities and no others: a PEM file of at most 16 MiB, PEM text, a folder |
//! | `VAULT_CLIENT_CERT`, `VAULT_CLIENT_KEY` (each also `_BYTES`) | the client's certificate and key |
//! | `VAULT_TLS_SERVER_NAME` | the name that the server's certificate must have |
//! | `VAULT_SKIP_VERIFY` | `true` turns verification off; empty or `false` keeps it on; anything else is an error |
//! | `VAULT_CLIENT_TIMEOUT` | limit for one request with all its retries, such as `30` or `500ms`; default 60 s |
//! | `VAULT_MAX_RETRIES` | how often a failed request is retried; default 2 |
//! | `VAULT_RATE_LIMIT` | the most requests a second, and how many of them may be sent at once: `10` or `10:20` |
//! | `VAULT_PROXY_ADDR`, `VAULT_HTTP_PROXY` | a proxy for all requests |
//! | `VAULT_HEADERS` | headers of your own, as a JSON object; none that starts with `X-Vault-` |
//! | `VAULT_DISABLE_REDIRECTS` | `true` refuses a standby's redirect; by default it is followed once |
//!
//! # In development
//!
//! Without `VAULT_ADDR` the same struct is filled from the environment, `.env` and files: see
//! [`docs::provenance`]. [`VaultConfig::schema`] prints an empty `.env` to fill in, a table of all fields, and the
//! policy that the service needs.
//!
//! # In tests
//!
//! ```
//! use vault_config::{Mode, VaultConfig};
//!
//! #[derive(VaultConfig)]
//! struct AppConfig { port: u16 }
//!
//! # fn main() -> Result<(), vault_config::Error> {
//! let loader = AppConfig::loader().mode(Mode::Local).without_dotenv();
//! let config = loader.env_source([("PORT", "80")]).load_blocking()?;
//! assert_eq!(config.port, 80);
//! # Ok(()) }
//! ```
//!
//! # With a figment of your own
//!
//! [`Vault::resolve`] returns the fetched values as a [`figment::Provider`]: see [`Resolved`].
//!
//! # Features
//!
//! * `rustls` (default): TLS by rustls with ring, or with the crypto provider that the process has
//!   installed. reqwest itself is built without a provider. If your program builds a `reqwest::Client` of its own and
//!   enables none of reqwest's TLS features, install a provider first:
//!   `rustls::crypto::ring::default_provider().install_default()`.
//! * `aws-lc-rs`: rustls with aws-lc-rs instead. It starts more slowly: see [`docs::performance`].
//! * `native-tls`: the system's TLS library; choose it with `default-features = false`.
//! * `aws`: the login by AWS IAM (`auth::AwsIam`).
//! * `pki`: certificates (`Certificate`), as rustls and reqwest take them.
//! * `ssh`: signed SSH keys (`SignedSshKey`).
//! * no TLS feature: plain http and Unix sockets, or a [`reqwest::Client`](VaultBuilder::http_client)
//!   of your own.
//!
//! # Logs
//!
//! Warnings, renewals and failures are events of the crate [`tracing`](https://docs.rs/tracing). A program without a
//! subscriber, such as `tracing_subscriber::fmt::init()`, does not show them.
//!
//! [`figment::Provider`]: https://docs.rs/figment/0.10/figment/trait.Provider.html
//!
//! # What is wiped
//!
//! This crate wipes the values that it reads when they are dropped, and so does every `SecretString`. The buffers of
//! the HTTP and TLS libraries are not wiped, and neither is a copy that your code makes with `expose_secret`.

// docs.rs sets `docsrs`, and shows beside each item the feature that it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

use std::future::Future;

pub mod auth;
pub mod docs;
mod engine;
mod error;
mod http;
mod leased;
pub mod live;
mod load;
mod loader;
mod report;
mod schema;
mod secret;
mod source;
mod text;
mod time;
mod value;
mod vault;

pub use engine::database::{ConnectionUrlError, DatabaseCredentials};
#[cfg(feature = "pki")]
pub use engine::pki::Certificate;
#[cfg(feature = "ssh")]
pub use engine::ssh::SignedSshKey;
pub use error::{Error, ErrorKind, Problem};
pub use figment;
pub use leased::Leased;
pub use live::Live;
pub use load::mode::Mode;
pub use load::provider::Resolved;
pub use loader::Loader;
pub use report::{Provenance, Report};
pub use schema::Schema;
pub use secrecy;
pub use secret::Secret;
pub use vault::{Vault, VaultBuilder};
pub use vault_config_derive::VaultConfig;

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;

/// A configuration struct; implemented by `#[derive(VaultConfig)]`, whose attributes are in
/// [`docs::attributes`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a configuration struct",
    label = "`VaultConfig` is not implemented for this type",
    note = "add `#[derive(VaultConfig)]` to the struct"
)]
pub trait VaultConfig: Sized {
    /// Returns the compile-time plan: every field and its sources. Reads nothing.
    fn schema() -> Schema;

    /// Returns a builder, to choose the sources before loading.
    fn loader() -> Loader<Self> {
        Loader::new()
    }

    /// Loads once from the process environment, `.env` in the working directory, and the Vault that
    /// the environment describes.
    ///
    /// Nothing renews the credentials: a database user works until its lease expires, at the latest with the token.
    /// [`Loader::watch`] keeps a configuration fresh; see [`Loader::load`].
    ///
    /// # Errors
    /// Every problem at once; see [`Error`].
    fn load() -> impl Future<Output = Result<Self, Error>> + Send {
        Self::loader().load()
    }

    /// The plan of this struct as a part of others.
    #[doc(hidden)]
    fn __schema(nesting: &__private::Nesting<'_>) -> Schema;

    #[doc(hidden)]
    fn __read(reader: &mut __private::Reader<'_>) -> Option<Self>;
}

/// The items that generated code uses. Not part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use core;
    pub use serde;
    pub use std;

    pub use crate::engine::declaration::*;
    #[cfg(feature = "pki")]
    pub use crate::engine::pki::HoldsCertificate;
    pub use crate::engine::refresh::Refresh;
    #[cfg(feature = "ssh")]
    pub use crate::engine::ssh::HoldsSignedSshKey;
    pub use crate::load::read::{Fallback, PlainField, Reader};
    pub use crate::schema::{Field, Nesting};
    pub use crate::value::coerce::{Fault, FieldDeserializer, accepts_absence};
}

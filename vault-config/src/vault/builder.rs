use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{CONNECTION, Vault, no_address};
use crate::auth::AuthMethod;
use crate::error::{Cause, Error, ErrorKind};
use crate::http::settings::{self, Addresses, Settings};
use crate::http::tls;
use crate::source::env::Environment;
use crate::time::Timing;
use crate::time::clock::Clock;

/// Describes a [`Vault`] connection in code. [`address`](Self::address) and [`auth`](Self::auth) are required; call
/// [`build`](Self::build) at the end.
#[derive(Default)]
pub struct VaultBuilder {
    address: Option<String>,
    namespace: Option<String>,
    login_namespace: Option<String>,
    auth: Option<Arc<dyn AuthMethod>>,
    timeout: Option<Duration>,
    max_retries: Option<u32>,
    max_connections: Option<usize>,
    authorities: Vec<tls::Pem>,
    files: tls::Files,
    identity: Option<(tls::Pem, tls::Pem)>,
    client: Option<reqwest::Client>,
    clock: Option<Arc<dyn Clock>>,
}

/// Written by hand and without the address: an address is checked only by `build`, and may contain a password.
impl fmt::Debug for VaultBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultBuilder")
            .field("namespace", &self.namespace)
            .field("auth", &self.auth.as_ref().map(|auth| auth.describe()))
            .finish_non_exhaustive()
    }
}

impl VaultBuilder {
    /// The address of the server: `https://host:8200`, `http://127.0.0.1:8200` or
    /// `unix:///run/agent.sock`. Several nodes of one cluster are separated by commas: the first healthy one
    /// is used, and another one if it fails.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// The namespace of every request, such as `team-a/billing`. The
    /// [`namespace`](crate::docs::attributes) of a field replaces it for that field.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// The namespace to log in to, if it differs from the one that secrets are read from: `root`, or a
    /// path such as `team-a`. The token's policies name paths as seen from this namespace.
    #[must_use]
    pub fn login_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.login_namespace = Some(namespace.into());
        self
    }

    /// The way to log in, such as [`AppRole`](crate::auth::AppRole). See [`auth`](crate::auth) for all of them.
    #[must_use]
    pub fn auth(mut self, method: impl AuthMethod) -> Self {
        self.auth = Some(Arc::new(method));
        self
    }

    /// The time limit for one request with all its retries. Default: 60 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How often a request is retried after a temporary failure. Default: 2.
    #[must_use]
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = Some(retries);
        self
    }

    /// The limit on concurrent connections over HTTP/1.1. Default: 64. Over TLS one HTTP/2
    /// connection is used, with up to 84 requests at the same time.
    ///
    /// Renewals and issues may open up to 8 connections each beyond the limit, so that reads without a response
    /// never prevent the renewal or replacement of a credential. A request that waits longer for a connection than
    /// its [`timeout`](Self::timeout) fails without being sent.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = Some(connections);
        self
    }

    /// Trusts the certificate authorities in this PEM text, and no others.
    #[must_use]
    pub fn ca_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities.push(tls::Pem::given(pem.into(), "ca_certificate(..)".to_owned()));
        self
    }

    /// Trusts the certificate authorities in this PEM file, and no others. The file is read when the connection is
    /// built, and again when it changes.
    #[must_use]
    pub fn ca_certificate_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.authorities.push(path.into());
        self
    }

    /// Presents this certificate chain to a server that requests a client certificate. The chain and its private key
    /// are PEM text.
    #[must_use]
    pub fn client_certificate(
        mut self,
        chain: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        let origin = || "client_certificate(..)".to_owned();
        self.identity =
            Some((tls::Pem::given(chain.into(), origin()), tls::Pem::given(key.into(), origin())));
        self
    }

    /// Like [`client_certificate`](Self::client_certificate), from PEM files. They are read when the connection is
    /// built, and again when they change, so that a certificate may be renewed in place.
    #[must_use]
    pub fn client_certificate_files(
        mut self,
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.files.identity = Some((chain.into(), key.into()));
        self
    }

    /// Uses a client of your own, with its TLS, proxy and resolver settings. Disable its redirects:
    /// those of reqwest would send the token to the other host.
    ///
    /// The connection cannot build this client again. An HTTP/2 connection that is broken without a notice is
    /// therefore left only if the client notices it: set `http2_keep_alive_interval` and
    /// `http2_keep_alive_timeout` to 5 s, and `http2_keep_alive_while_idle`, as this library does.
    ///
    /// This crate builds reqwest without a crypto provider. Unless another crate enables a TLS feature of
    /// reqwest, install a provider before you build a client, or it panics:
    /// `rustls::crypto::ring::default_provider().install_default()`.
    #[must_use]
    pub fn http_client(mut self, client: reqwest::Client) -> Self {
        self.client = Some(client);
        self
    }

    /// Replaces the clock of the background refresh, for tests. Default: the clocks of the machine.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Checks the settings and creates the connection. Nothing is sent.
    ///
    /// # Errors
    /// The first malformed or missing setting.
    pub fn build(self) -> Result<Vault, Error> {
        self.check_and_open().map_err(|cause| Error::single(CONNECTION, cause))
    }

    fn check_and_open(self) -> Result<Vault, Cause> {
        let text = self.address.ok_or_else(|| no_address().with_help(NO_ADDRESS_HELP))?;
        let addresses = Addresses::parse(&text, "Vault::builder().address(..)")
            .map_err(|cause| cause.at("Vault::builder().address(..)"))?;
        let mut settings = Settings::new(addresses);
        settings.namespace = check_namespace(self.namespace, "Vault::builder().namespace(..)")?;
        settings.login_namespace =
            check_namespace(self.login_namespace, "Vault::builder().login_namespace(..)")?;
        settings.timeout = self.timeout.unwrap_or(settings.timeout).min(settings::LONGEST_TIMEOUT);
        settings.max_retries = self.max_retries.unwrap_or(settings.max_retries);
        settings.max_connections = self.max_connections.unwrap_or(settings.max_connections);
        let tls = tls::from_builder(self.authorities, self.identity, &self.files)?;
        if self.client.is_some() && !tls.is_default() {
            return Err(tls_of_own_client());
        }
        settings.tls = tls;
        let auth = self.auth.ok_or_else(no_login)?;
        let timing = self.clock.map_or_else(Timing::default, Timing::by);
        Vault::open(settings, auth, Environment::Process, self.client, timing)
    }
}

/// A builder reads no variable.
const NO_ADDRESS_HELP: &str =
    "call .address(..) on the builder, or use Vault::from_env(), which reads VAULT_ADDR";

fn check_namespace(namespace: Option<String>, origin: &str) -> Result<Option<String>, Cause> {
    let checked = namespace.map(|namespace| settings::namespace(&namespace)).transpose();
    checked.map_err(|what| {
        let help = "correct the path, or remove this call";
        Cause::new(ErrorKind::Setting, what, help).at(origin)
    })
}

fn tls_of_own_client() -> Cause {
    Cause::new(
        ErrorKind::Setting,
        "your own HTTP client has its own authorities and certificate",
        "set them on the client, or remove .http_client(..)",
    )
    .at("Vault::builder().http_client(..)")
}

fn no_login() -> Cause {
    Cause::new(
        ErrorKind::NoLogin,
        "the connection has no login method",
        "call .auth(..) with one of vault_config::auth",
    )
}

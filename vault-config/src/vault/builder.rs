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

/// Builds a [`Vault`].
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

/// Never derived: an address that is refused later may hold a password.
impl fmt::Debug for VaultBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultBuilder")
            .field("namespace", &self.namespace)
            .field("auth", &self.auth.as_ref().map(|auth| auth.describe()))
            .finish_non_exhaustive()
    }
}

impl VaultBuilder {
    /// Where the server is: `https://host:8200`, `http://127.0.0.1:8200` or
    /// `unix:///run/agent.sock`. Several nodes of one cluster are joined by commas: the first that
    /// is healthy is used, and another one when it fails.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// The namespace of every request, such as `team-a/billing`. A field's own
    /// [`namespace`](crate::docs::attributes) takes its place for that field.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// The namespace to log in to, when it is another than the one that is read from: `root`, or a
    /// path such as `team-a`. Its policies name the paths of the namespaces below it.
    #[must_use]
    pub fn login_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.login_namespace = Some(namespace.into());
        self
    }

    /// How to log in.
    #[must_use]
    pub fn auth(mut self, method: impl AuthMethod) -> Self {
        self.auth = Some(Arc::new(method));
        self
    }

    /// The limit for one request with all its retries. Default: 60 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How often a request is tried again after a failure that may pass. Default: 2.
    #[must_use]
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = Some(retries);
        self
    }

    /// The limit on concurrent connections over HTTP/1.1. Default: 64. Over TLS one HTTP/2
    /// connection is used, with up to 84 requests at once.
    ///
    /// Beyond it, renewals and issues may open up to 8 each, so that requests which the server
    /// does not answer never keep a credential from being renewed or replaced. What waits for a
    /// connection for longer than its own [`timeout`](Self::timeout) fails without being sent.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = Some(connections);
        self
    }

    /// Trusts the authorities in this PEM text, and no others.
    #[must_use]
    pub fn ca_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities.push(tls::Pem::given(pem.into(), "ca_certificate(..)".to_owned()));
        self
    }

    /// Trusts the authorities in this PEM file, and no others. It is read when the connection is
    /// built, and again when it changes.
    #[must_use]
    pub fn ca_certificate_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.authorities.push(path.into());
        self
    }

    /// Shows this certificate chain, with its key, to a server that asks for one. Both are PEM
    /// text.
    #[must_use]
    pub fn client_certificate(
        mut self,
        chain: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        let said_by = || "client_certificate(..)".to_owned();
        self.identity = Some((
            tls::Pem::given(chain.into(), said_by()),
            tls::Pem::given(key.into(), said_by()),
        ));
        self
    }

    /// The same from PEM files, which are read when the connection is built, and again when they
    /// change: a certificate that is renewed in place is shown from then on.
    #[must_use]
    pub fn client_certificate_files(
        mut self,
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.files.identity = Some((chain.into(), key.into()));
        self
    }

    /// A client of your own: its TLS, proxy and resolver settings are used as they are. Let it
    /// follow no redirects: reqwest's own would carry the token along.
    ///
    /// It cannot be built again, so that a connection over HTTP/2 which died without a word is left
    /// only if the client itself finds out: set `http2_keep_alive_interval`,
    /// `http2_keep_alive_timeout` and `http2_keep_alive_while_idle`, to 5 s as here.
    ///
    /// reqwest is built without a crypto provider here; where nothing else turns on a TLS feature
    /// of it, install one before you build a client, or it panics:
    /// `rustls::crypto::ring::default_provider().install_default()`.
    #[must_use]
    pub fn http_client(mut self, client: reqwest::Client) -> Self {
        self.client = Some(client);
        self
    }

    /// Tells the time to what keeps a configuration fresh, for tests. Default: the machine's clocks.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Checks the settings. Nothing is sent.
    ///
    /// # Errors
    /// A malformed or missing setting.
    pub fn build(self) -> Result<Vault, Error> {
        self.checked().map_err(|cause| Error::single(CONNECTION, cause))
    }

    fn checked(self) -> Result<Vault, Cause> {
        let text =
            self.address.ok_or_else(|| no_address().hint("or call .address(..) on the builder"))?;
        let addresses = Addresses::parse(&text, "Vault::builder().address(..)");
        let mut settings =
            Settings::new(addresses.map_err(|cause| cause.at("Vault::builder().address(..)"))?);
        let namespace = |given: Option<String>, said_by: &str| {
            let checked = given.map(|namespace| settings::namespace(&namespace)).transpose();
            checked.map_err(|what| Cause::new(ErrorKind::Setting, what, "").at(said_by))
        };
        settings.namespace = namespace(self.namespace, "Vault::builder().namespace(..)")?;
        settings.login_namespace =
            namespace(self.login_namespace, "Vault::builder().login_namespace(..)")?;
        settings.timeout = self.timeout.unwrap_or(settings.timeout).min(settings::LONGEST_TIMEOUT);
        settings.max_retries = self.max_retries.unwrap_or(settings.max_retries);
        settings.max_connections = self.max_connections.unwrap_or(settings.max_connections);
        let tls = tls::from_builder(self.authorities, self.identity, &self.files)?;
        if self.client.is_some() && !tls.is_default() {
            return Err(Cause::new(
                ErrorKind::Setting,
                "a client of your own brings its own authorities and certificate",
                "give them to the client, or leave out .http_client(..)",
            )
            .at("Vault::builder().http_client(..)"));
        }
        settings.tls = tls;
        let auth = self.auth.ok_or_else(|| {
            Cause::new(
                ErrorKind::NoLogin,
                "the connection has no way to log in",
                "call .auth(..) with one of vault_config::auth",
            )
        })?;
        let timing = self.clock.map_or_else(Timing::default, Timing::by);
        Vault::open(settings, auth, Environment::Process, self.client, timing)
    }
}

//! The HTTP client, made anew when a certificate on disk changes.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Client;

use super::settings::Settings;
use super::tls::{self, Stamps};
use crate::error::{Cause, ErrorKind};

#[derive(Debug)]
pub(crate) struct Clients(Mutex<Current>);

#[derive(Debug)]
struct Current {
    client: Client,
    stamps: Stamps,
    looked: Instant,
}

/// How often the files are looked at.
const PAUSE: Duration = Duration::from_secs(1);

impl Clients {
    pub(super) fn new(settings: &Settings) -> Result<Self, Cause> {
        let client = client_for(settings, &settings.tls)?;
        let current = Current { client, stamps: settings.tls.stamps(), looked: Instant::now() };
        Ok(Self(Mutex::new(current)))
    }

    /// The user's own, which is used as it is.
    pub(super) fn given(client: Client) -> Self {
        let current = Current { client, stamps: Stamps::default(), looked: Instant::now() };
        Self(Mutex::new(current))
    }

    /// Files that are half written are read again at the next look.
    pub(super) fn current(&self, settings: &Settings) -> Client {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if current.stamps.is_empty() || current.looked.elapsed() < PAUSE {
            return current.client.clone();
        }
        current.looked = Instant::now();
        let stamps = settings.tls.stamps();
        if stamps != current.stamps {
            match settings.tls.read_again().and_then(|tls| client_for(settings, &tls)) {
                Ok(client) => {
                    tracing::info!("a certificate on disk has changed and is used from now on");
                    *current = Current { client, stamps, looked: Instant::now() };
                }
                Err(cause) => tracing::warn!(
                    "a certificate on disk has changed and cannot be used: {}",
                    cause.what
                ),
            }
        }
        current.client.clone()
    }
}

fn client_for(settings: &Settings, tls: &tls::Tls) -> Result<Client, Cause> {
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(settings.connect_timeout())
        .retry(reqwest::retry::never())
        .tcp_nodelay(true);
    builder = match settings.addresses.are_https() {
        true => tls::apply(tls, builder)?,
        false => tls::without(builder),
    };
    let failed = |error: reqwest::Error| {
        Cause::new(ErrorKind::Setting, format!("the HTTP client cannot be made: {error}"), "")
    };
    builder = match &settings.proxy {
        Some(proxy) => builder.proxy(reqwest::Proxy::all(proxy.clone()).map_err(failed)?),
        None => builder.no_proxy(),
    };
    #[cfg(unix)]
    if let Some(socket) = &settings.addresses.first.socket {
        builder = builder.unix_socket(socket.as_path());
    }
    #[cfg(not(unix))]
    if settings.addresses.first.socket.is_some() {
        return Err(Cause::new(ErrorKind::Setting, "unix:// addresses need a Unix system", ""));
    }
    builder.build().map_err(failed)
}

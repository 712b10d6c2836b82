//! The metadata services of cloud platforms, which state the identity of a machine or a container.
//! Most are reached over plain http, at an address that only this machine reaches. The settings of
//! the connection to Vault, such as its proxy and its certificates, do not apply to them.

use std::time::Duration;

use reqwest::{Client, Method, Url};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;

use super::LoginError;
use crate::error::{Cause, ErrorKind};
use crate::http::retry::{self, AttemptOutcome, Idempotency};
use crate::time::Timing;

/// The service is on the same machine, or does not exist.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// For all attempts: a container may start earlier than the service.
const DEADLINE: Duration = Duration::from_secs(20);
const RETRIES: u32 = 3;
const MAX_BYTES: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct MetadataRequest<'a> {
    /// Its name in messages, such as "the metadata server of Google Cloud".
    pub(super) service: &'a str,
    /// The variable that names another address, for messages.
    pub(super) variable: &'a str,
    pub(super) method: Method,
    pub(super) url: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) headers: &'a [(&'static str, &'a SecretString)],
    pub(super) body: Option<Zeroizing<String>>,
}

pub(super) struct MetadataResponse {
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl MetadataResponse {
    pub(super) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.body).ok().map(str::trim).filter(|text| !text.is_empty())
    }

    /// The error does not quote the body: it may hold a secret.
    pub(super) fn json<T: DeserializeOwned>(&self, service: &str) -> Result<T, LoginError> {
        serde_json::from_slice(&self.body).map_err(|_| {
            let message = format!("{service} returned something other than documented");
            unexpected_answer(message).into()
        })
    }
}

pub(super) fn unexpected_answer(message: String) -> Cause {
    Cause::new(
        ErrorKind::Protocol,
        message,
        "another service may answer at that address: query it with curl from this machine",
    )
}

impl<'a> MetadataRequest<'a> {
    pub(super) fn get(
        service: &'a str,
        variable: &'a str,
        url: &'a str,
        headers: &'a [(&'static str, &'a SecretString)],
    ) -> Self {
        Self { service, variable, method: Method::GET, url, query: &[], headers, body: None }
    }

    /// Repeats the request until its status is 200, or no time or retry is left.
    pub(super) async fn send(&self, timing: &Timing) -> Result<MetadataResponse, LoginError> {
        let url = self.address()?;
        let client = client(&url)?;
        let clock = &timing.network;
        let (end, mut tries) = (clock.now() + DEADLINE, 0);
        loop {
            tries += 1;
            let (outcome, cause) = match self.try_once(&client, &url).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let left = end.since(clock.now());
            let (random, no_pause) = (timing.chance.fraction(), Duration::ZERO);
            let wait =
                retry::wait(outcome, Idempotency::Safe, tries, RETRIES, random, left, no_pause);
            let Some(wait) = wait else { return Err(cause.into()) };
            tracing::debug!(of = self.service, ?outcome, ?wait, "retrying");
            clock.sleep(wait).await;
        }
    }

    fn address(&self) -> Result<Url, LoginError> {
        let invalid = || {
            Cause::new(
                ErrorKind::Setting,
                format!("the address of {} is not an http address", self.service),
                format!("correct {}", self.variable),
            )
        };
        let mut url = Url::parse(self.url).map_err(|_| invalid())?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(invalid().into());
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(self.query);
        }
        Ok(url)
    }

    async fn try_once(
        &self,
        client: &Client,
        url: &Url,
    ) -> Result<MetadataResponse, (AttemptOutcome, Cause)> {
        let mut request = client.request(self.method.clone(), url.clone()).timeout(ATTEMPT_TIMEOUT);
        for (name, value) in self.headers {
            let value = reqwest::header::HeaderValue::from_str(value.expose_secret());
            let mut value = value.map_err(|_| (AttemptOutcome::Hopeless, self.no_header(name)))?;
            value.set_sensitive(true);
            request = request.header(*name, value);
        }
        if let Some(body) = &self.body {
            let form = "application/x-www-form-urlencoded";
            request = request.header("content-type", form).body(body.as_bytes().to_vec());
        }
        let mut response = request.send().await.map_err(|error| self.unreachable(url, &error))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Zeroizing::new(Vec::with_capacity(MAX_BYTES));
        while let Some(chunk) =
            response.chunk().await.map_err(|error| self.unreachable(url, &error))?
        {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err((
                    AttemptOutcome::Hopeless,
                    unexpected_answer(format!("{} returned too much data", self.service)),
                ));
            }
            body.extend_from_slice(&chunk);
        }
        match status {
            200 => Ok(MetadataResponse { headers, body }),
            _ => Err(self.refused(status)),
        }
    }

    fn no_header(&self, name: &str) -> Cause {
        Cause::new(
            ErrorKind::Setting,
            format!("the header {name} for {} would contain a control character", self.service),
            "correct the variable or file that it is read from",
        )
    }

    fn unreachable(&self, url: &Url, error: &reqwest::Error) -> (AttemptOutcome, Cause) {
        let outcome =
            if error.is_connect() { AttemptOutcome::NotSent } else { AttemptOutcome::Broken };
        let why = if error.is_timeout() { "does not answer" } else { "cannot be reached" };
        let origin = url.origin().ascii_serialization();
        let cause = Cause::new(
            ErrorKind::Connection,
            format!("{} {why} ({origin})", self.service),
            format!(
                "check that this machine or container offers it; {} names another address",
                self.variable
            ),
        );
        (outcome, cause)
    }

    fn refused(&self, status: u16) -> (AttemptOutcome, Cause) {
        let cause = Cause::new(
            ErrorKind::LoginRefused,
            format!("{} answered HTTP {status}", self.service),
            "check that this machine or container has an identity, and may request it",
        );
        (AttemptOutcome::Status { code: status, not_processed: false }, cause)
    }
}

/// Without a proxy and redirects: a request with an identity goes to this address only. Without idle
/// connections: the next login follows many minutes later.
fn client(url: &Url) -> Result<Client, LoginError> {
    let builder = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .retry(reqwest::retry::never())
        .pool_max_idle_per_host(0);
    let builder = match url.scheme() {
        "https" => crate::http::tls::apply(&crate::http::tls::Tls::default(), builder)?,
        _ => crate::http::tls::without(builder),
    };
    builder.build().map_err(|error| {
        Cause::new(
            ErrorKind::Setting,
            format!("the HTTP client cannot be built: {error}"),
            "check the certificate authorities of this machine",
        )
        .into()
    })
}

//! What the platform tells a machine or a container of itself: over plain http, at an address that
//! only it reaches. Nothing of the connection to Vault is used for it.

use std::time::{Duration, Instant};

use reqwest::{Client, Method, Url};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;

use super::LoginError;
use crate::error::{Cause, ErrorKind};
use crate::http::retry::{self, Ended, Repeat};

/// It is in the same machine, or not there at all.
const CONNECT: Duration = Duration::from_secs(2);
/// One try.
const ONE_TRY: Duration = Duration::from_secs(5);
/// All tries: a container may be quicker than what serves it.
const ALL_TRIES: Duration = Duration::from_secs(20);
const RETRIES: u32 = 3;
const MAX_BYTES: usize = 256 * 1024;

/// One request, and what to call the one who answers it.
#[derive(Debug)]
pub(super) struct Question<'a> {
    /// As in "the metadata server of Google Cloud".
    pub(super) of: &'a str,
    /// What is set to reach another address.
    pub(super) set: &'a str,
    pub(super) method: Method,
    pub(super) url: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) headers: &'a [(&'static str, &'a SecretString)],
    pub(super) body: Option<Zeroizing<String>>,
}

pub(super) struct Answer {
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Answer {
    pub(super) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.body).ok().map(str::trim).filter(|text| !text.is_empty())
    }

    /// Its JSON in this shape; an answer in another is never quoted.
    pub(super) fn json<T: DeserializeOwned>(&self, of: &str) -> Result<T, LoginError> {
        serde_json::from_slice(&self.body)
            .map_err(|_| protocol(format!("{of} answers something else than is documented")).into())
    }
}

pub(super) fn protocol(what: String) -> Cause {
    Cause::new(
        ErrorKind::Protocol,
        what,
        "something else may answer at that address: try it with curl from here",
    )
}

impl Question<'_> {
    /// Asks until there is an answer of status 200.
    pub(super) async fn ask(&self) -> Result<Answer, LoginError> {
        let url = self.address()?;
        let client = client(&url)?;
        let (end, mut tries) = (Instant::now() + ALL_TRIES, 0);
        loop {
            tries += 1;
            let (ended, cause) = match self.try_once(&client, &url).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let left = end.saturating_duration_since(Instant::now());
            let (random, none) = (fastrand::f64(), Duration::ZERO);
            let wait = retry::wait(ended, Repeat::Always, tries, RETRIES, random, left, none);
            let Some(wait) = wait else { return Err(cause.into()) };
            tracing::debug!(of = self.of, ?ended, ?wait, "asking again");
            tokio::time::sleep(wait).await;
        }
    }

    fn address(&self) -> Result<Url, LoginError> {
        let wrong = || {
            Cause::new(
                ErrorKind::Setting,
                format!("the address of {} is no http address", self.of),
                format!("correct {}", self.set),
            )
        };
        let mut url = Url::parse(self.url).map_err(|_| wrong())?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong().into());
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(self.query);
        }
        Ok(url)
    }

    async fn try_once(&self, client: &Client, url: &Url) -> Result<Answer, (Ended, Cause)> {
        let mut request = client.request(self.method.clone(), url.clone()).timeout(ONE_TRY);
        for (name, value) in self.headers {
            let value = reqwest::header::HeaderValue::from_str(value.expose_secret());
            let mut value = value.map_err(|_| (Ended::Hopeless, self.no_header(name)))?;
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
                return Err((Ended::Hopeless, protocol(format!("{} answers too much", self.of))));
            }
            body.extend_from_slice(&chunk);
        }
        match status {
            200 => Ok(Answer { headers, body }),
            _ => Err(self.refused(status)),
        }
    }

    fn no_header(&self, name: &str) -> Cause {
        Cause::new(
            ErrorKind::Setting,
            format!("the header {name} for {} would hold a control character", self.of),
            "correct the variable or file that it is read from",
        )
    }

    fn unreachable(&self, url: &Url, error: &reqwest::Error) -> (Ended, Cause) {
        let ended = if error.is_connect() { Ended::NotSent } else { Ended::Broken };
        let why = if error.is_timeout() { "does not answer" } else { "cannot be reached" };
        let origin = url.origin().ascii_serialization();
        let cause = Cause::new(
            ErrorKind::Connection,
            format!("{} {why} ({origin})", self.of),
            format!("see that this machine has it; {} names another address", self.set),
        );
        (ended, cause)
    }

    fn refused(&self, status: u16) -> (Ended, Cause) {
        let cause = Cause::new(
            ErrorKind::LoginRefused,
            format!("{} answers HTTP {status}", self.of),
            "see that this machine or container has an identity, and may ask for it",
        );
        (Ended::Status { code: status, unread: false }, cause)
    }
}

/// Without a proxy, redirects and idle connections; a question comes once in many minutes.
fn client(url: &Url) -> Result<Client, LoginError> {
    let builder = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .retry(reqwest::retry::never())
        .pool_max_idle_per_host(0);
    let builder = match url.scheme() {
        "https" => crate::http::tls::apply(&crate::http::tls::Tls::default(), builder)?,
        _ => crate::http::tls::without(builder),
    };
    builder.build().map_err(|error| {
        Cause::new(ErrorKind::Setting, format!("the HTTP client cannot be made: {error}"), "")
            .into()
    })
}

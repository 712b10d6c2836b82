//! One attempt at one node: the pause it asked for, the rate limit, the headers, one redirect.

use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, Url};
use secrecy::{ExposeSecret, SecretString};

use super::written_index::{INCONSISTENT, INDEX};
use super::{Call, Limits, ROOT, Transport, redirect};
use crate::error::{Cause, Delivery, ErrorKind};
use crate::http::lanes::Lane;
use crate::http::network::{WireBody, WireError, WireRequest, WireResponse};
use crate::http::reply::{Body, Reply};
use crate::http::retry::{self, AttemptOutcome};
use crate::value::Value;

pub(in crate::http) struct HttpResponse {
    pub(in crate::http) reply: Reply,
    pub(super) location: Option<String>,
    pub(super) written: Option<HeaderValue>,
}

impl HttpResponse {
    /// Another cluster answered than the one that gave the index.
    pub(super) fn refuses_index(&self) -> bool {
        self.reply.status == 400 && self.reply.words().to_lowercase().contains(INDEX)
    }

    pub(super) fn outcome(&self) -> AttemptOutcome {
        if self.reply.upgrading() {
            return AttemptOutcome::Upgrading;
        }
        AttemptOutcome::Status {
            code: self.reply.status,
            not_processed: self.reply.was_not_processed(),
        }
    }
}

pub(in crate::http) struct AttemptError {
    pub(super) outcome: AttemptOutcome,
    pub(super) cause: Cause,
}

impl AttemptError {
    pub(super) fn hopeless(cause: Cause) -> Self {
        Self { outcome: AttemptOutcome::Hopeless, cause }
    }

    /// The request cannot be sent at all.
    pub(super) fn unsendable(cause: Cause) -> Self {
        Self::hopeless(cause.delivered(Delivery::NotSent))
    }
}

impl Transport {
    /// One attempt, and one redirect if the node answers with one.
    pub(super) async fn follow(
        &self,
        call: &Call<'_>,
        node: usize,
        limits: Limits<'_>,
        patience: Duration,
    ) -> Result<HttpResponse, AttemptError> {
        let url = self.url(node, call.path, &call.query).map_err(AttemptError::unsendable)?;
        let answered = self.attempt(call, node, url.clone(), limits, patience).await?;
        let Some(location) = answered.location.as_deref() else { return Ok(answered) };
        if !self.settings.follow_redirects {
            return Err(AttemptError::hopeless(
                redirect::not_followed(answered.reply.status).at(self.here(node)),
            ));
        }
        let target =
            redirect::redirect(&url, location, answered.reply.status, &self.nodes.origin())
                .map_err(AttemptError::hopeless)?;
        let again = self.attempt(call, node, target, limits, patience).await?;
        if again.location.is_some() {
            return Err(AttemptError {
                outcome: AttemptOutcome::Status { code: 503, not_processed: true },
                cause: Cause::new(
                    ErrorKind::Standby,
                    "the server redirected twice",
                    "the cluster may be choosing its leader: see vault operator raft list-peers",
                )
                .at(self.here(node)),
            });
        }
        Ok(again)
    }

    /// One request. `patience` is counted from when it is sent, and not from when it begins to wait its turn.
    pub(in crate::http) async fn attempt(
        &self,
        call: &Call<'_>,
        node: usize,
        url: Url,
        limits: Limits<'_>,
        patience: Duration,
    ) -> Result<HttpResponse, AttemptError> {
        self.respect_pause(call, node)?;
        self.wait_for_rate(call.lane, node, limits).await?;
        self.respect_pause(call, node)?;
        let headers = self.headers(call).map_err(AttemptError::unsendable)?;
        let may_be_multiplexed = || self.may_be_multiplexed();
        let request = WireRequest {
            node,
            method: call.method.clone(),
            url,
            headers,
            body: call.body.as_ref(),
            limits,
            patience,
            may_be_multiplexed: &may_be_multiplexed,
        };
        let response =
            self.network.send(request).await.map_err(|error| self.broken(node, error))?;
        let answered = self.answered(node, response).await?;
        if call.method != Method::GET && answered.reply.ok() {
            self.written.remember(answered.written.clone(), self.timing.network.now());
        }
        Ok(answered)
    }

    fn respect_pause(&self, call: &Call<'_>, node: usize) -> Result<(), AttemptError> {
        let now = self.timing.clock.now();
        let left = self.nodes.remaining_pause(node, now).filter(|_| !call.during_pauses);
        let Some(left) = left else { return Ok(()) };
        let until = now.wall.checked_add(left).map(crate::time::rfc3339::shown);
        let until = until.map_or_else(|| format!("{left:?} from now"), |until| until.to_string());
        let cause = Cause::new(
            ErrorKind::RateLimited,
            format!("the server asked to wait until {until} (Retry-After)"),
            "no request is sent before then: find what limits requests there, a quota or a gateway",
        );
        let cause = cause.at(self.here(node)).delivered(Delivery::NotSent);
        Err(AttemptError { outcome: AttemptOutcome::Deferred, cause })
    }

    /// `VAULT_RATE_LIMIT`.
    async fn wait_for_rate(
        &self,
        lane: Lane,
        node: usize,
        limits: Limits<'_>,
    ) -> Result<(), AttemptError> {
        let Some(gate) = &self.rate_gate else { return Ok(()) };
        limits.within(gate.pass(lane)).await.ok_or_else(|| {
            let what = format!("VAULT_RATE_LIMIT allowed no request within {:?}", limits.in_all);
            let help = "raise it: more requests wait than it allows";
            AttemptError::unsendable(Cause::new(ErrorKind::Timeout, what, help).at(self.here(node)))
        })
    }

    fn headers(&self, call: &Call<'_>) -> Result<HeaderMap, Cause> {
        let mut headers = self.settings.headers.clone();
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        if let Some(token) = call.token {
            headers.insert("x-vault-token", token_header(token)?);
        }
        if let Some(written) = self.written.recent(self.timing.network.now()) {
            headers.insert(INDEX, written);
            // A node that lags behind then forwards the request to the active one, in place of refusing it.
            headers.insert(INCONSISTENT, HeaderValue::from_static("forward-active-node"));
        }
        if let Some(namespace) = call.namespace.filter(|namespace| *namespace != ROOT) {
            let value = HeaderValue::from_str(namespace).map_err(|_| {
                Cause::new(
                    ErrorKind::Setting,
                    "the namespace cannot be sent as a header",
                    "remove control characters from the namespace",
                )
            })?;
            headers.insert("x-vault-namespace", value);
        }
        Ok(headers)
    }

    pub(in crate::http) fn url(
        &self,
        node: usize,
        path: &str,
        query: &Option<(&'static str, String)>,
    ) -> Result<Url, Cause> {
        // A URL drops control characters and resolves dots: the path would lead elsewhere than written.
        if path.split('/').any(|segment| matches!(segment, "." | ".."))
            || path.contains(char::is_control)
        {
            return Err(Cause::new(
                ErrorKind::Setting,
                "a path has a \".\" or \"..\" segment or a control character, and would lead elsewhere",
                "correct the path or mount",
            ));
        }
        let mut url = self.nodes.url(node);
        url.path_segments_mut()
            .map_err(|()| {
                let help = format!(
                    "set {} to an address such as https://vault.example.com:8200",
                    self.nodes.origin()
                );
                Cause::new(ErrorKind::Setting, "the address cannot hold a path", help)
            })?
            .pop_if_empty()
            .push("v1")
            .extend(path.split('/'));
        if let Some((name, value)) = query {
            url.query_pairs_mut().append_pair(name, value);
        }
        Ok(url)
    }

    /// Over HTTP/1.1 a connection is closed together with the request that got no answer.
    fn may_be_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Relaxed) || self.wants_one_first()
    }

    /// Everything that the headers state is recorded before the body is waited for: it binds the other requests, and
    /// the caller may stop waiting.
    async fn answered(
        &self,
        node: usize,
        response: WireResponse<'_>,
    ) -> Result<HttpResponse, AttemptError> {
        let WireResponse { status, headers, is_multiplexed, body } = response;
        self.connected.store(true, Ordering::Relaxed);
        if is_multiplexed {
            self.multiplexed.store(true, Ordering::Relaxed);
        }
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let date = header(DATE).and_then(|text| httpdate::parse_http_date(text).ok());
        let now = self.timing.clock.now();
        // `Retry-After` as a date is by the server's clock.
        let today = date.unwrap_or(now.wall);
        if let Some(asked) = header(RETRY_AFTER).and_then(|text| retry::retry_after(text, today)) {
            self.nodes.record_pause(node, now, asked);
        }
        let location = header(LOCATION).filter(|_| (300..400).contains(&status)).map(str::to_owned);
        let content_type = header(CONTENT_TYPE)
            .map(|text| text.split(';').next().unwrap_or(text).to_owned())
            .unwrap_or_else(|| "no content type".to_owned());
        let written = headers.get(INDEX).cloned();
        let body = match body.await.map_err(|error| self.broken(node, error))? {
            WireBody::TooLarge => Body::TooLarge,
            WireBody::Whole(bytes) => parse(&bytes, content_type),
        };
        let (address, origin) = (self.nodes.shown(node), self.nodes.origin());
        let reply = Reply { status, body, address, origin, date, lost: false };
        Ok(HttpResponse { reply, location, written })
    }

    fn here(&self, node: usize) -> String {
        format!("vault {}", self.nodes.shown(node))
    }

    fn broken(&self, node: usize, error: WireError) -> AttemptError {
        let WireError { outcome, cause } = error;
        let delivery = match outcome {
            AttemptOutcome::Broken => Delivery::Unanswered,
            _ => Delivery::NotSent,
        };
        AttemptError { outcome, cause: cause.at(self.here(node)).delivered(delivery) }
    }
}

fn parse(bytes: &[u8], content_type: String) -> Body {
    if bytes.is_empty() {
        return Body::Empty;
    }
    match std::str::from_utf8(bytes).map(Value::from_json) {
        Ok(Ok(value)) => Body::Json(value),
        Ok(Err(malformed)) if content_type == "application/json" => Body::Malformed(malformed),
        _ => Body::Other(content_type),
    }
}

pub(crate) fn token_header(token: &SecretString) -> Result<HeaderValue, Cause> {
    let mut value = HeaderValue::from_str(token.expose_secret()).map_err(|_| {
        Cause::new(
            ErrorKind::Setting,
            "the token holds invalid characters",
            "pass the token exactly as it was issued",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

//! One request: sent, tried again, redirected once, and read to its end.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, Url};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::SemaphorePermit;

use super::lanes::{Lane, Lanes};
use super::network::{self, Network, WireBody, WireError, WireRequest, WireResponse};
use super::nodes::Nodes;
use super::rate_limit::RateGate;
use super::reply::{Body, Reply, printable};
use super::retry::{self, Attempts, Ended, Repeat};
use super::settings::Settings;
use crate::error::{Cause, Delivery, ErrorKind};
use crate::time::clock::Reading;
use crate::time::{Moment, NetworkClock, Timing};
use crate::value::Value;

/// What the official client calls the namespace of all namespaces; no header names it.
pub(crate) const ROOT: &str = "root";
const INDEX: &str = "x-vault-index";
const INCONSISTENT: &str = "x-vault-inconsistent";

/// What is sent. Bodies are kept until the last try and wiped then.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) query: Option<(&'static str, String)>,
    pub(crate) body: Option<Zeroizing<Vec<u8>>>,
    pub(crate) token: Option<&'a SecretString>,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) repeat: Repeat,
    /// The limit on all tries, when it is shorter than the connection's own.
    pub(crate) patience: Option<Duration>,
    pub(crate) attempts: Attempts,
    pub(crate) lane: Lane,
    /// Sent although the server asked to wait: a revocation is one request, and the process may end.
    pub(crate) during_pauses: bool,
}

impl<'a> Call<'a> {
    pub(crate) fn get(path: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            query: None,
            body: None,
            token: None,
            namespace: None,
            repeat: Repeat::Always,
            patience: None,
            attempts: Attempts::Configured,
            lane: Lane::Read,
            during_pauses: false,
        }
    }

    pub(crate) fn post(path: &'a str, body: Zeroizing<Vec<u8>>, repeat: Repeat) -> Self {
        Self { method: Method::POST, body: Some(body), repeat, ..Self::get(path) }
    }
}

/// How long a call may take with all its tries, and until when that is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits<'a> {
    pub(crate) in_all: Duration,
    clock: &'a NetworkClock,
    deadline: Moment,
}

impl<'a> Limits<'a> {
    pub(super) fn new(clock: &'a NetworkClock, in_all: Duration) -> Self {
        Self { in_all, clock, deadline: clock.now() + in_all }
    }

    pub(crate) fn left(self) -> Duration {
        self.deadline.since(self.clock.now())
    }

    /// For one try that may not use up the time of all.
    fn for_one_try(self, patience: Duration) -> Self {
        Self { deadline: self.deadline.min(self.clock.now() + patience), ..self }
    }

    /// `None` when the time is over first.
    pub(super) async fn within<T>(self, waiting: impl Future<Output = T>) -> Option<T> {
        self.clock.within(self.left(), waiting).await
    }
}

#[derive(Debug)]
pub(crate) struct Http {
    network: Box<dyn Network>,
    timing: Timing,
    settings: Settings,
    lanes: Lanes,
    multiplexed: AtomicBool,
    connected: AtomicBool,
    pub(super) nodes: Nodes,
    rate_gate: Option<RateGate>,
    /// What the last write reached, for those that read from another node.
    written: Mutex<Option<(Moment, HeaderValue)>>,
    warned: Mutex<BTreeSet<String>>,
}

impl Http {
    pub(crate) fn new(network: Box<dyn Network>, settings: Settings, timing: Timing) -> Self {
        Self {
            network,
            lanes: Lanes::new(settings.max_connections),
            multiplexed: AtomicBool::new(false),
            connected: AtomicBool::new(false),
            nodes: Nodes::new(&settings.addresses),
            rate_gate: settings
                .rate_limit
                .map(|limit| RateGate::new(limit, timing.network.clone())),
            timing,
            written: Mutex::default(),
            warned: Mutex::default(),
            settings,
        }
    }

    pub(crate) fn timing(&self) -> &Timing {
        &self.timing
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The next request should go alone: over TLS the first connection may carry all the others.
    pub(crate) fn wants_one_first(&self) -> bool {
        self.settings.addresses.are_https() && !self.connected.load(Ordering::Relaxed)
    }

    /// Nothing in it outlasts the call's limit.
    pub(crate) async fn send(&self, call: &Call<'_>) -> Result<Reply, Cause> {
        let in_all = call.patience.unwrap_or(Duration::MAX).min(self.settings.timeout);
        let limits = Limits::new(&self.timing.network, in_all);
        let mut lost = false;
        match self.try_within(call, limits, &mut lost).await {
            Ok(reply) => Ok(self.finished(call, limits, Reply { lost, ..reply }).await),
            Err(cause) if lost => Err(cause.delivered(Delivery::Unanswered)),
            Err(cause) => Err(cause),
        }
    }

    /// `lost` is set when one of the tries may have arrived without an answer.
    async fn try_within(
        &self,
        call: &Call<'_>,
        limits: Limits<'_>,
        lost: &mut bool,
    ) -> Result<Reply, Cause> {
        let mut tries = 0;
        // Every node once, whatever the limit on retries.
        let mut unasked = self.nodes.len() - 1;
        let mut place = self.place(call.lane, limits).await?;
        let mut node = self.healthy_node(call, limits).await?;
        loop {
            let patience = if unasked > 0 { call.repeat.patience() } else { Duration::MAX };
            let outcome = self.follow(call, node, limits, patience).await;
            *lost |= is_lost(&outcome);
            let ended = outcome.as_ref().map_or_else(|failure| failure.ended, Answered::ended);
            if let Some(other) = self.node_after(node, ended, unasked, call, limits).await {
                (unasked, node) = (unasked - 1, other);
                continue;
            }
            if outcome.as_ref().is_ok_and(Answered::refuses_index) && self.forget_written() {
                continue;
            }
            let pause = self.retry_after(self.timing.clock.now()).unwrap_or_default();
            tries += u32::from(ended != Ended::Deferred);
            let Some(wait) = self.wait(ended, call, tries, limits, pause) else {
                return outcome.map(|answered| answered.reply).map_err(|failure| failure.cause);
            };
            tracing::debug!(path = printable(call.path), ?ended, ?wait, "trying again");
            drop(place);
            self.sleep(pause, wait, limits).await;
            place = self.place(call.lane, limits).await?;
            node = self.nodes.askable(self.timing.clock.now());
        }
    }

    fn wait(
        &self,
        ended: Ended,
        call: &Call<'_>,
        tries: u32,
        limits: Limits<'_>,
        pause: Duration,
    ) -> Option<Duration> {
        let max = match call.attempts {
            Attempts::Configured => self.settings.max_retries,
            Attempts::Single => return None,
        };
        retry::wait(
            ended,
            call.repeat,
            tries,
            max,
            self.timing.chance.fraction(),
            limits.left(),
            pause,
        )
    }

    /// The server's pause passes by the connection's clock.
    async fn sleep(&self, pause: Duration, wait: Duration, limits: Limits<'_>) {
        if !pause.is_zero() {
            limits.within(self.timing.clock.sleep(pause)).await;
        }
        self.timing.network.sleep(wait.saturating_sub(pause)).await;
    }

    /// For how long the server asked not to be asked, by `Retry-After`; of a cluster, every node.
    /// An hour at most.
    pub(crate) fn retry_after(&self, now: Reading) -> Option<Duration> {
        self.nodes.all_paused(now)
    }

    /// Leave to send, for as long as it is held.
    async fn place(
        &self,
        lane: Lane,
        limits: Limits<'_>,
    ) -> Result<Option<SemaphorePermit<'_>>, Cause> {
        let multiplexed = self.multiplexed.load(Ordering::Relaxed);
        let place = limits.within(self.lanes.enter(lane, multiplexed)).await;
        place.ok_or_else(|| {
            network::no_connection(&self.settings.addresses.shown(), limits.in_all).cause
        })
    }

    async fn finished(&self, call: &Call<'_>, limits: Limits<'_>, mut reply: Reply) -> Reply {
        for warning in reply.warnings() {
            self.warn_once(warning);
        }
        // "Vault is sealed" is also what an uninitialised server says; its health tells them apart.
        if reply.status == 503
            && call.attempts == Attempts::Configured
            && self.health(self.nodes.current(), call, limits).await == Some(501)
        {
            reply.status = 501;
        }
        reply
    }

    fn warn_once(&self, warning: &str) {
        // More different warnings than that are one each time anew.
        const REMEMBERED: usize = 256;
        let shown = printable(warning);
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.len() < REMEMBERED && warned.insert(shown.clone()) {
            tracing::warn!(warning = shown, "the server warns");
        }
    }

    /// One try, and one redirect.
    async fn follow(
        &self,
        call: &Call<'_>,
        node: usize,
        limits: Limits<'_>,
        patience: Duration,
    ) -> Result<Answered, Failure> {
        let url = self.url(node, call.path, &call.query).map_err(Failure::unsendable)?;
        let answered = self.attempt(call, node, url.clone(), limits, patience).await?;
        let Some(location) = answered.location.as_deref() else { return Ok(answered) };
        if !self.settings.follow_redirects {
            return Err(Failure::hopeless(not_followed(answered.reply.status).at(self.here(node))));
        }
        let target = redirect(&url, location, answered.reply.status).map_err(Failure::hopeless)?;
        let again = self.attempt(call, node, target, limits, patience).await?;
        if again.location.is_some() {
            return Err(Failure {
                ended: Ended::Status { code: 503, unread: true },
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

    /// One request. Its `patience` begins when it is sent.
    pub(super) async fn attempt(
        &self,
        call: &Call<'_>,
        node: usize,
        url: Url,
        limits: Limits<'_>,
        patience: Duration,
    ) -> Result<Answered, Failure> {
        self.heed_pause(call, node)?;
        self.wait_for_rate(call.lane, node, limits).await?;
        self.heed_pause(call, node)?;
        let headers = self.headers(call).map_err(Failure::unsendable)?;
        let request = WireRequest {
            node,
            method: call.method.clone(),
            url,
            headers,
            body: call.body.as_ref(),
            limits: limits.for_one_try(patience),
            may_be_multiplexed: self.may_be_multiplexed(),
        };
        let response =
            self.network.send(request).await.map_err(|error| self.broken(node, error))?;
        let answered = self.answered(node, response)?;
        if call.method != Method::GET && answered.reply.ok() {
            self.remember_written(answered.written.clone());
        }
        Ok(answered)
    }

    fn heed_pause(&self, call: &Call<'_>, node: usize) -> Result<(), Failure> {
        let now = self.timing.clock.now();
        let left = self.nodes.paused(node, now).filter(|_| !call.during_pauses);
        let Some(left) = left else { return Ok(()) };
        let until = now.wall.checked_add(left).map(crate::time::rfc3339::shown);
        let until = until.map_or_else(|| format!("{left:?} from now"), |until| until.to_string());
        let cause = Cause::new(
            ErrorKind::RateLimited,
            format!("the server asked to wait until {until} (Retry-After)"),
            "nothing is sent before: see what limits requests there, a quota or a gateway",
        );
        let cause = cause.at(self.here(node)).delivered(Delivery::NotSent);
        Err(Failure { ended: Ended::Deferred, cause })
    }

    /// `RATE_LIMIT`.
    async fn wait_for_rate(
        &self,
        lane: Lane,
        node: usize,
        limits: Limits<'_>,
    ) -> Result<(), Failure> {
        let Some(gate) = &self.rate_gate else { return Ok(()) };
        limits.within(gate.pass(lane)).await.ok_or_else(|| {
            let what = format!("VAULT_RATE_LIMIT leaves no room within {:?}", limits.in_all);
            let help = "raise it: more requests wait than it lets go";
            Failure::unsendable(Cause::new(ErrorKind::Timeout, what, help).at(self.here(node)))
        })
    }

    /// <https://developer.hashicorp.com/vault/docs/enterprise/consistency>: what is read must be no
    /// older than what was written, a token that was just made above all.
    fn remember_written(&self, index: Option<HeaderValue>) {
        if let Some(index) = index {
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            *written = Some((self.timing.network.now(), index));
        }
    }

    /// Nodes lag for moments. A cluster that was restored from a backup may never come so far.
    fn recently_written(&self) -> Option<HeaderValue> {
        const REMEMBERED: Duration = Duration::from_secs(30);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.timing.network.now();
        written.take_if(|(when, _)| now.since(*when) > REMEMBERED);
        written.as_ref().map(|(_, index)| index.clone())
    }

    /// Whether there was something to forget.
    fn forget_written(&self) -> bool {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.take().is_some()
    }

    fn headers(&self, call: &Call<'_>) -> Result<HeaderMap, Cause> {
        let mut headers = self.settings.headers.clone();
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        if let Some(token) = call.token {
            headers.insert("x-vault-token", token_header(token)?);
        }
        if let Some(written) = self.recently_written() {
            headers.insert(INDEX, written);
            // A node that lags behind asks the active one instead of refusing.
            headers.insert(INCONSISTENT, HeaderValue::from_static("forward-active-node"));
        }
        if let Some(namespace) = call.namespace.filter(|namespace| *namespace != ROOT) {
            let value = HeaderValue::from_str(namespace).map_err(|_| {
                Cause::new(ErrorKind::Setting, "the namespace cannot be sent as a header", "")
            })?;
            headers.insert("x-vault-namespace", value);
        }
        Ok(headers)
    }

    pub(super) fn url(
        &self,
        node: usize,
        path: &str,
        query: &Option<(&'static str, String)>,
    ) -> Result<Url, Cause> {
        // An address loses control characters and walks along dots: what is asked for must be what was meant.
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
            .map_err(|()| Cause::new(ErrorKind::Setting, "the address cannot hold a path", ""))?
            .pop_if_empty()
            .push("v1")
            .extend(path.split('/'));
        if let Some((name, value)) = query {
            url.query_pairs_mut().append_pair(name, value);
        }
        Ok(url)
    }

    /// Over HTTP/1.1 a connection ends with the request that gets no answer.
    fn may_be_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Relaxed) || self.wants_one_first()
    }

    fn answered(&self, node: usize, response: WireResponse) -> Result<Answered, Failure> {
        self.connected.store(true, Ordering::Relaxed);
        if response.is_multiplexed {
            self.multiplexed.store(true, Ordering::Relaxed);
        }
        let status = response.status;
        let header = |name| response.headers.get(name).and_then(|value| value.to_str().ok());
        let date = header(DATE).and_then(|text| httpdate::parse_http_date(text).ok());
        let now = self.timing.clock.now();
        // A date is the server's.
        let today = date.unwrap_or(now.wall);
        if let Some(asked) = header(RETRY_AFTER).and_then(|text| retry::retry_after(text, today)) {
            self.nodes.pauses(node, now, asked);
        }
        let location = header(LOCATION).filter(|_| (300..400).contains(&status)).map(str::to_owned);
        let content_type = header(CONTENT_TYPE)
            .map(|text| text.split(';').next().unwrap_or(text).to_owned())
            .unwrap_or_else(|| "no content type".to_owned());
        let written = response.headers.get(INDEX).cloned();
        let body = match response.body.map_err(|error| self.broken(node, error))? {
            WireBody::TooLarge => Body::TooLarge,
            WireBody::Whole(bytes) => parse(&bytes, content_type),
        };
        let reply = Reply { status, body, address: self.nodes.shown(node), date, lost: false };
        Ok(Answered { reply, location, written })
    }

    fn here(&self, node: usize) -> String {
        format!("vault {}", self.nodes.shown(node))
    }

    fn broken(&self, node: usize, error: WireError) -> Failure {
        let WireError { ended, cause } = error;
        let delivery = match ended {
            Ended::Broken => Delivery::Unanswered,
            _ => Delivery::NotSent,
        };
        Failure { ended, cause: cause.at(self.here(node)).delivered(delivery) }
    }
}

fn is_lost(outcome: &Result<Answered, Failure>) -> bool {
    let delivery = match outcome {
        Ok(answered) => answered.reply.delivery(),
        Err(failure) => failure.cause.delivery,
    };
    delivery == Delivery::Unanswered
}

pub(super) struct Answered {
    pub(super) reply: Reply,
    location: Option<String>,
    written: Option<HeaderValue>,
}

impl Answered {
    /// Another cluster answers than the one that was written to.
    fn refuses_index(&self) -> bool {
        self.reply.status == 400 && self.reply.words().to_lowercase().contains(INDEX)
    }

    fn ended(&self) -> Ended {
        if self.reply.upgrading() {
            return Ended::Upgrading;
        }
        Ended::Status { code: self.reply.status, unread: self.reply.refused_unread() }
    }
}

pub(super) struct Failure {
    ended: Ended,
    cause: Cause,
}

impl Failure {
    fn hopeless(cause: Cause) -> Self {
        Self { ended: Ended::Hopeless, cause }
    }

    /// No request can be made of it.
    fn unsendable(cause: Cause) -> Self {
        Self::hopeless(cause.delivered(Delivery::NotSent))
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
        Cause::new(ErrorKind::Setting, "the token holds characters that no token has", "")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn not_followed(status: u16) -> Cause {
    Cause::new(
        ErrorKind::Setting,
        format!(
            "the server redirects (HTTP {status}), and VAULT_DISABLE_REDIRECTS forbids to follow"
        ),
        "let the address lead to the active node, or unset VAULT_DISABLE_REDIRECTS",
    )
}

/// Where a redirect may lead: the cluster's own 307 over the same scheme, and over plain http to
/// the same host only.
fn redirect(from: &Url, location: &str, status: u16) -> Result<Url, Cause> {
    let target = from.join(location);
    // Another port of the same host, which is for https.
    let to_https = target.as_ref().is_ok_and(|target| {
        let schemes = (from.scheme(), target.scheme());
        schemes == ("http", "https") && target.host_str() == from.host_str()
    });
    let refused = |why: String| {
        let help = match to_https {
            true => "the server wants https: say that address in VAULT_ADDR",
            false => {
                "let VAULT_ADDR name the server itself; a cluster's nodes redirect to their api_addr"
            }
        };
        Cause::new(ErrorKind::NotVault, why, help)
            .at(format!("vault {}", super::settings::origin(from)))
    };
    let target = target
        .map_err(|_| refused(format!("HTTP {status} redirects to an address that is not valid")))?;
    let there = super::settings::origin(&target);
    if !matches!(status, 307 | 308) {
        return Err(refused(format!(
            "HTTP {status} redirects to {there}, as a login page or a proxy does"
        )));
    }
    if target.scheme() != from.scheme() {
        return Err(refused(format!(
            "the redirect to {there} changes the scheme; the token does not follow"
        )));
    }
    let loopback = super::settings::is_loopback(from) && super::settings::is_loopback(&target);
    if target.scheme() == "http" && target.host_str() != from.host_str() && !loopback {
        return Err(refused(format!(
            "the redirect leads to another host over plain http ({there}); the token does not follow"
        )));
    }
    Ok(target)
}

#[cfg(test)]
mod tests;

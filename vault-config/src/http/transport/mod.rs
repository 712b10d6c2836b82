//! One request: sent, tried again, redirected once, and read to its end.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, Url, Version};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::SemaphorePermit;

use super::client::{Clients, PING};
use super::lanes::{Lane, Lanes};
use super::nodes::Nodes;
use super::rate_limit::RateGate;
use super::reply::{Body, MAX_BYTES, Reply, printable};
use super::retry::{self, Attempts, Ended, Repeat};
use super::settings::Settings;
use super::tls;
use crate::error::{Cause, Delivery, ErrorKind};
use crate::time::clock::{Clock, Reading};
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
pub(super) struct Limits {
    pub(super) in_all: Duration,
    deadline: Instant,
}

impl Limits {
    pub(super) fn new(in_all: Duration) -> Self {
        Self { in_all, deadline: Instant::now() + in_all }
    }

    fn left(self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// `None` when the time is over first.
    pub(super) async fn within<T>(self, waiting: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.deadline.into(), waiting).await.ok()
    }
}

#[derive(Debug)]
pub(crate) struct Http {
    clients: Clients,
    pub(super) clock: Arc<dyn Clock>,
    settings: Settings,
    lanes: Lanes,
    multiplexed: AtomicBool,
    connected: AtomicBool,
    pub(super) nodes: Nodes,
    rate_gate: Option<RateGate>,
    /// What the last write reached, for those that read from another node.
    written: Mutex<Option<(Instant, HeaderValue)>>,
    warned: Mutex<BTreeSet<String>>,
}

impl Http {
    pub(crate) fn new(clients: Clients, settings: Settings, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            clients,
            lanes: Lanes::new(settings.max_connections),
            multiplexed: AtomicBool::new(false),
            connected: AtomicBool::new(false),
            nodes: Nodes::new(&settings.addresses),
            rate_gate: settings.rate_limit.map(RateGate::new),
            written: Mutex::default(),
            warned: Mutex::default(),
            settings,
        }
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
        let limits = Limits::new(in_all);
        let mut lost = false;
        match self.try_within(call, limits, &mut lost).await {
            Ok(reply) => Ok(self.finished(call, limits, Reply { lost, ..reply }).await),
            Err(cause) => {
                let cause = cause_within(cause, in_all);
                Err(if lost { cause.delivered(Delivery::Unanswered) } else { cause })
            }
        }
    }

    /// `lost` is set when one of the tries may have arrived without an answer.
    async fn try_within(
        &self,
        call: &Call<'_>,
        limits: Limits,
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
            let pause = self.retry_after(self.clock.now()).unwrap_or_default();
            tries += u32::from(ended != Ended::Deferred);
            let Some(wait) = self.wait(ended, call, tries, limits, pause) else {
                return outcome.map(|answered| answered.reply).map_err(|failure| failure.cause);
            };
            tracing::debug!(path = printable(call.path), ?ended, ?wait, "trying again");
            drop(place);
            self.sleep(pause, wait, limits).await;
            place = self.place(call.lane, limits).await?;
            node = self.nodes.askable(self.clock.now());
        }
    }

    fn wait(
        &self,
        ended: Ended,
        call: &Call<'_>,
        tries: u32,
        limits: Limits,
        pause: Duration,
    ) -> Option<Duration> {
        let max = match call.attempts {
            Attempts::Configured => self.settings.max_retries,
            Attempts::Single => return None,
        };
        retry::wait(ended, call.repeat, tries, max, fastrand::f64(), limits.left(), pause)
    }

    /// The server's pause passes by the connection's clock.
    async fn sleep(&self, pause: Duration, wait: Duration, limits: Limits) {
        if !pause.is_zero() {
            limits.within(self.clock.sleep(pause)).await;
        }
        tokio::time::sleep(wait.saturating_sub(pause)).await;
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
        limits: Limits,
    ) -> Result<Option<SemaphorePermit<'_>>, Cause> {
        let multiplexed = self.multiplexed.load(Ordering::Relaxed);
        let place = limits.within(self.lanes.enter(lane, multiplexed)).await;
        place.ok_or_else(|| self.no_connection(limits))
    }

    fn no_connection(&self, limits: Limits) -> Cause {
        Cause::new(
            ErrorKind::Timeout,
            format!("no free connection within {:?}", limits.in_all),
            "other requests hold all connections and are not answered: see what the server waits \
             for, or raise Vault::builder().max_connections(..)",
        )
        .at(format!("vault {}", self.settings.addresses.shown()))
        .delivered(Delivery::NotSent)
    }

    async fn finished(&self, call: &Call<'_>, limits: Limits, mut reply: Reply) -> Reply {
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
        limits: Limits,
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
        limits: Limits,
        patience: Duration,
    ) -> Result<Answered, Failure> {
        self.heed_pause(call, node)?;
        self.wait_for_rate(call.lane, node, limits).await?;
        self.heed_pause(call, node)?;
        let connection = self.clients.current(limits).await;
        let left = limits.left().min(patience);
        let Some(connection) = connection.filter(|_| !left.is_zero()) else {
            return Err(Failure::unsendable(self.no_connection(limits)));
        };
        let mut request = connection
            .client
            .request(call.method.clone(), url)
            .headers(self.headers(call).map_err(Failure::unsendable)?)
            .timeout(left);
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_vec());
        }
        let sent = Instant::now();
        let answered = match self.receive(node, request).await {
            Ok(answered) => answered,
            Err(error) => {
                if error.is_timeout() && !error.is_connect() && self.may_be_multiplexed() {
                    self.clients.leave(&connection, node, sent);
                }
                return Err(self.broken(node, &error));
            }
        };
        self.clients.answered(node);
        if call.method != Method::GET && answered.reply.ok() {
            self.remember_written(answered.written.clone());
        }
        Ok(answered)
    }

    fn heed_pause(&self, call: &Call<'_>, node: usize) -> Result<(), Failure> {
        let now = self.clock.now();
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
    async fn wait_for_rate(&self, lane: Lane, node: usize, limits: Limits) -> Result<(), Failure> {
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
            *written = Some((Instant::now(), index));
        }
    }

    /// Nodes lag for moments. A cluster that was restored from a backup may never come so far.
    fn recently_written(&self) -> Option<HeaderValue> {
        const REMEMBERED: Duration = Duration::from_secs(30);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.take_if(|(when, _)| when.elapsed() > REMEMBERED);
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

    async fn receive(
        &self,
        node: usize,
        request: RequestBuilder,
    ) -> Result<Answered, reqwest::Error> {
        let mut response = request.send().await?;
        self.connected.store(true, Ordering::Relaxed);
        if response.version() == Version::HTTP_2 {
            self.multiplexed.store(true, Ordering::Relaxed);
        }
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let date = header(DATE).and_then(|text| httpdate::parse_http_date(text).ok());
        let now = self.clock.now();
        // A date is the server's.
        let today = date.unwrap_or(now.wall);
        if let Some(asked) = header(RETRY_AFTER).and_then(|text| retry::retry_after(text, today)) {
            self.nodes.pauses(node, now, asked);
        }
        let location = header(LOCATION).filter(|_| (300..400).contains(&status)).map(str::to_owned);
        let content_type = header(CONTENT_TYPE)
            .map(|text| text.split(';').next().unwrap_or(text).to_owned())
            .unwrap_or_else(|| "no content type".to_owned());
        let written = response.headers().get(INDEX).cloned();
        let body = read(&mut response, content_type).await?;
        let address = self.nodes.shown(node);
        let reply = Reply { status, body, address, date, lost: false };
        Ok(Answered { reply, location, written })
    }

    fn here(&self, node: usize) -> String {
        format!("vault {}", self.nodes.shown(node))
    }

    fn broken(&self, node: usize, error: &reqwest::Error) -> Failure {
        let (ended, cause) = match causes(error).any(|inner| inner.to_string() == PING_UNANSWERED) {
            true => (Ended::Broken, dead()),
            false => diagnose(error, &self.settings, &self.nodes.url(node)),
        };
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

async fn read(response: &mut Response, content_type: String) -> Result<Body, reqwest::Error> {
    let announced = response.content_length().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    if announced > MAX_BYTES {
        return Ok(Body::TooLarge);
    }
    // Just what is announced: all of it is wiped again, byte by byte.
    let mut bytes = Zeroizing::new(Vec::with_capacity(announced));
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > MAX_BYTES {
            return Ok(Body::TooLarge);
        }
        append(&mut bytes, &chunk);
    }
    Ok(parse(&bytes, content_type))
}

/// Grows by copying into a new buffer and wiping the old one, so that no unwiped copy stays behind.
fn append(bytes: &mut Zeroizing<Vec<u8>>, chunk: &[u8]) {
    if bytes.capacity() - bytes.len() < chunk.len() {
        let mut grown = Zeroizing::new(Vec::with_capacity((bytes.len() + chunk.len()) * 2));
        grown.extend_from_slice(bytes);
        *bytes = grown;
    }
    bytes.extend_from_slice(chunk);
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

/// What hyper says, and counts as a time-out of the request.
const PING_UNANSWERED: &str = "keep-alive timed out";

fn dead() -> Cause {
    Cause::new(
        ErrorKind::Connection,
        format!("the connection died: a ping over HTTP/2 got no answer within {PING:?}"),
        "something on the way forgot the connection, or the server stands still",
    )
}

/// A request of the background waits less long than the connection's own limit.
fn cause_within(mut cause: Cause, limit: Duration) -> Cause {
    if cause.kind == ErrorKind::Timeout && cause.message.starts_with(NO_ANSWER) {
        cause.message = format!("{NO_ANSWER} {limit:?}");
    }
    cause
}

const NO_ANSWER: &str = "no answer within";

fn diagnose(error: &reqwest::Error, settings: &Settings, url: &Url) -> (Ended, Cause) {
    if let Some(cause) = tls::untrusted(error) {
        return (Ended::Hopeless, cause);
    }
    let chain = || causes(error);
    if error.is_timeout() {
        let ended = if error.is_connect() { Ended::NotSent } else { Ended::Broken };
        let what = match ended {
            Ended::NotSent => format!("no connection within {:?}", settings.connect_timeout()),
            _ => format!("{NO_ANSWER} {:?}", settings.timeout),
        };
        let help =
            "check that the address is reachable from here; VAULT_CLIENT_TIMEOUT sets the limit";
        return (ended, Cause::new(ErrorKind::Timeout, what, help));
    }
    if chain().any(|inner| inner.to_string().starts_with("dns error")) {
        let host = url.host_str().unwrap_or_default();
        let what = format!("the host name \"{host}\" does not resolve");
        return (
            Ended::NotSent,
            Cause::new(
                ErrorKind::Dns,
                what,
                format!("check the host in {}", settings.addresses.first.said_by),
            ),
        );
    }
    let io = chain().find_map(|inner| inner.downcast_ref::<std::io::Error>());
    if io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused) {
        let said_by = &settings.addresses.first.said_by;
        let help =
            format!("nothing listens there: check the port in {said_by}, and that the server runs");
        return (
            Ended::NotSent,
            Cause::new(ErrorKind::ConnectionRefused, "connection refused", help),
        );
    }
    let ended = if error.is_connect() { Ended::NotSent } else { Ended::Broken };
    let detail =
        chain().last().map_or_else(|| "the connection broke".to_owned(), ToString::to_string);
    // The first bytes of a plain HTTP answer, read as a TLS record.
    if detail.contains("InvalidContentType") {
        let help = "say http:// in the address, or name the port that speaks https";
        return (ended, Cause::new(ErrorKind::Connection, "this port does not speak https", help));
    }
    (ended, Cause::new(ErrorKind::Connection, detail, lost(url)))
}

/// What to do about a connection that ended, or that does not speak HTTP, as one for TLS does not.
fn lost(url: &Url) -> &'static str {
    match url.scheme() {
        "http" => {
            "the server may speak https here: say https:// in the address; else the connection was made and \
             then lost, by a proxy or a restart of the server"
        }
        _ => "the connection was made and then lost: a proxy, or a restart of the server",
    }
}

fn causes<'a>(
    error: &'a reqwest::Error,
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    let mut next = error.source();
    std::iter::from_fn(move || {
        let inner = next?;
        next = inner.source();
        Some(inner)
    })
}

#[cfg(test)]
mod tests;

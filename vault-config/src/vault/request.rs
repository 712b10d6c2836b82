//! One request: sent, tried again, redirected once, and read to its end.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, Response, Url, Version};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use super::client::Clients;
use super::limit::Taken;
use super::nodes::Nodes;
use super::reply::{Body, MAX_BYTES, Reply, printable};
use super::retry::{self, Ended, Repeat};
use super::settings::Settings;
use super::tls;
use crate::error::{Cause, ErrorKind};
use crate::value::Value;

/// What the official client calls the namespace of all namespaces; no header names it.
pub(super) const ROOT: &str = "root";
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
        }
    }

    pub(crate) fn post(path: &'a str, body: Zeroizing<Vec<u8>>, repeat: Repeat) -> Self {
        Self { method: Method::POST, body: Some(body), repeat, ..Self::get(path) }
    }
}

#[derive(Debug)]
pub(crate) struct Http {
    clients: Clients,
    settings: Settings,
    /// HTTP/1.1 has one request a connection; HTTP/2 has its own limit on streams.
    connections: Semaphore,
    multiplexed: AtomicBool,
    connected: AtomicBool,
    made: Instant,
    nodes: Nodes,
    taken: Mutex<Taken>,
    /// What the last write reached, for those that read from another node.
    written: Mutex<Option<(Instant, HeaderValue)>>,
    warned: Mutex<BTreeSet<String>>,
}

impl Http {
    pub(crate) fn new(clients: Clients, settings: Settings) -> Self {
        Self {
            clients,
            connections: Semaphore::new(settings.max_connections.clamp(1, Semaphore::MAX_PERMITS)),
            multiplexed: AtomicBool::new(false),
            connected: AtomicBool::new(false),
            made: Instant::now(),
            nodes: Nodes::new(&settings.addresses),
            taken: Mutex::default(),
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

    pub(crate) async fn send(&self, call: &Call<'_>) -> Result<Reply, Cause> {
        let in_all = call.patience.unwrap_or(Duration::MAX).min(self.settings.timeout);
        let deadline = Instant::now() + in_all;
        let mut tries = 0;
        // Every node once, whatever the limit on retries.
        let mut unasked = self.nodes.len() - 1;
        let mut node = self.healthy_node(call.repeat).await;
        loop {
            tries += 1;
            let patience = if unasked > 0 { call.repeat.patience() } else { Duration::MAX };
            let now = Instant::now();
            let limit = deadline.min(now.checked_add(patience).unwrap_or(deadline));
            let outcome = self.follow(call, node, limit).await;
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = outcome.as_ref().map_or_else(|failure| failure.ended, Answered::ended);
            let max = self.settings.max_retries;
            if ended.is_of_the_node() && self.nodes.len() > 1 {
                self.nodes.failed(node);
                if unasked > 0 && retry::worth_another(ended, call.repeat) && !left.is_zero() {
                    unasked -= 1;
                    node = self.another_node(node).await;
                    continue;
                }
            }
            node = self.nodes.current();
            if outcome.as_ref().is_ok_and(Answered::refuses_index) && self.forget_written() {
                continue;
            }
            match retry::wait(ended, call.repeat, tries, max, fastrand::f64(), left) {
                Some(wait) => {
                    tracing::debug!(path = printable(call.path), ?ended, ?wait, "trying again");
                    tokio::time::sleep(wait).await;
                }
                None => {
                    return self.finish(outcome).await.map_err(|cause| cause_within(cause, in_all));
                }
            }
        }
    }

    async fn finish(&self, outcome: Result<Answered, Failure>) -> Result<Reply, Cause> {
        let mut reply = outcome.map_err(|failure| failure.cause)?.reply;
        for warning in reply.warnings() {
            self.warn_once(warning);
        }
        // "Vault is sealed" is also what an uninitialised server says; its health tells them apart.
        if reply.status == 503 {
            let health = self.health(self.nodes.current()).await;
            if health == Some(501) {
                reply.status = 501;
            }
        }
        Ok(reply)
    }

    /// The server's health, as a status.
    async fn health(&self, node: usize) -> Option<u16> {
        let end = Instant::now() + Duration::from_secs(2);
        let url = self.url(node, "sys/health", &None).ok()?;
        let asked = self.attempt(&Call::get("sys/health"), node, url, end).await;
        asked.ok().map(|answered| answered.reply.status)
    }

    /// The node that was good last. Which one is good is asked before the first request, and before
    /// one that cannot be sent again when the answer stays away.
    async fn healthy_node(&self, repeat: Repeat) -> usize {
        let node = self.nodes.current();
        if self.nodes.len() == 1 || self.nodes.is_known() && repeat == Repeat::Always {
            return node;
        }
        match self.health(node).await.is_some_and(serves) {
            true => {
                self.nodes.succeeded(node);
                node
            }
            false => self.another_node(node).await,
        }
    }

    /// The healthiest of the others. Who else finds this one failing waits for the answer.
    async fn another_node(&self, failing: usize) -> usize {
        let _turn = self.nodes.choosing.lock().await;
        let current = self.nodes.current();
        if current != failing {
            return current;
        }
        let mut healthy = None;
        for node in self.nodes.after(failing) {
            if self.health(node).await.is_some_and(serves) {
                healthy = Some(node);
                break;
            }
        }
        // Each in its turn when none is healthy.
        let next = healthy.or_else(|| self.nodes.after(failing).next()).unwrap_or(failing);
        self.nodes.moved(next, healthy.is_some());
        if healthy.is_some() {
            let (from, to) = (self.nodes.shown(failing), self.nodes.shown(next));
            tracing::info!(%from, %to, "another node is asked from now on");
        }
        next
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
        deadline: Instant,
    ) -> Result<Answered, Failure> {
        let url = self.url(node, call.path, &call.query).map_err(Failure::hopeless)?;
        let answered = self.attempt(call, node, url.clone(), deadline).await?;
        let Some(location) = answered.location.as_deref() else { return Ok(answered) };
        if !self.settings.follow_redirects {
            return Err(Failure::hopeless(not_followed(answered.reply.status).at(self.here(node))));
        }
        let target = redirect(&url, location, answered.reply.status).map_err(Failure::hopeless)?;
        let again = self.attempt(call, node, target, deadline).await?;
        if again.location.is_some() {
            return Err(Failure {
                ended: Ended::Status { code: 503, retry_after: None, unread: true },
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

    async fn attempt(
        &self,
        call: &Call<'_>,
        node: usize,
        url: Url,
        deadline: Instant,
    ) -> Result<Answered, Failure> {
        let _turn = match self.multiplexed.load(Ordering::Relaxed) {
            true => None,
            false => self.connections.acquire().await.ok(),
        };
        self.wait_for_rate(deadline).await;
        let left = deadline.saturating_duration_since(Instant::now());
        let mut request = self
            .clients
            .current(&self.settings)
            .request(call.method.clone(), url)
            .headers(self.headers(call).map_err(Failure::hopeless)?)
            .timeout(left);
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_vec());
        }
        let response = request.send().await.map_err(|error| self.broken(node, &error))?;
        self.connected.store(true, Ordering::Relaxed);
        if response.version() == Version::HTTP_2 {
            self.multiplexed.store(true, Ordering::Relaxed);
        }
        let answered = self.receive(node, response).await?;
        if call.method != Method::GET && answered.reply.ok() {
            self.remember_written(answered.written.clone());
        }
        Ok(answered)
    }

    /// `RATE_LIMIT`. Past the deadline it does not wait: the request then times out by itself.
    async fn wait_for_rate(&self, deadline: Instant) {
        let Some(limit) = self.settings.rate_limit else { return };
        let wait = {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            taken.take(limit, self.made.elapsed())
        };
        tokio::time::sleep(wait.min(deadline.saturating_duration_since(Instant::now()))).await;
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

    fn url(
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

    async fn receive(&self, node: usize, mut response: Response) -> Result<Answered, Failure> {
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after =
            header(RETRY_AFTER).and_then(|text| retry::retry_after(text, SystemTime::now()));
        let date = header(DATE).and_then(|text| httpdate::parse_http_date(text).ok());
        let location = header(LOCATION).filter(|_| (300..400).contains(&status)).map(str::to_owned);
        let content_type = header(CONTENT_TYPE)
            .map(|text| text.split(';').next().unwrap_or(text).to_owned())
            .unwrap_or_else(|| "no content type".to_owned());
        let written = response.headers().get(INDEX).cloned();
        let body = self.read(node, &mut response, content_type).await?;
        let address = self.nodes.shown(node);
        let reply = Reply { status, body, address, date, made: None, elsewhere: None };
        Ok(Answered { reply, retry_after, location, written })
    }

    async fn read(
        &self,
        node: usize,
        response: &mut Response,
        content_type: String,
    ) -> Result<Body, Failure> {
        let announced =
            response.content_length().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        if announced > MAX_BYTES {
            return Ok(Body::TooLarge);
        }
        // Just what is announced: all of it is wiped again, byte by byte.
        let mut bytes = Zeroizing::new(Vec::with_capacity(announced));
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(node, &error))? {
            if bytes.len() + chunk.len() > MAX_BYTES {
                return Ok(Body::TooLarge);
            }
            append(&mut bytes, &chunk);
        }
        Ok(parse(&bytes, content_type))
    }

    fn here(&self, node: usize) -> String {
        format!("vault {}", self.nodes.shown(node))
    }

    fn broken(&self, node: usize, error: &reqwest::Error) -> Failure {
        let (ended, cause) = diagnose(error, &self.settings, &self.nodes.url(node));
        Failure { ended, cause: cause.at(self.here(node)) }
    }
}

/// The active node, or a standby that reads itself and passes on the rest:
/// <https://openbao.org/api-docs/system/health/>.
fn serves(health: u16) -> bool {
    matches!(health, 200 | 429 | 473)
}

struct Answered {
    reply: Reply,
    retry_after: Option<Duration>,
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
        Ended::Status {
            code: self.reply.status,
            retry_after: self.retry_after,
            unread: self.reply.refused_unread(),
        }
    }
}

struct Failure {
    ended: Ended,
    cause: Cause,
}

impl Failure {
    fn hopeless(cause: Cause) -> Self {
        Self { ended: Ended::Hopeless, cause }
    }
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

/// A request of the background waits less long than the connection's own limit.
fn cause_within(mut cause: Cause, limit: Duration) -> Cause {
    if cause.kind == ErrorKind::Timeout && cause.what.starts_with(NO_ANSWER) {
        cause.what = format!("{NO_ANSWER} {limit:?}");
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

use std::error::Error as _;
use std::time::Duration;

use reqwest::Url;

use super::WireError;
use super::client::PING;
use crate::error::{Cause, ErrorKind};
use crate::http::retry::AttemptOutcome;
use crate::http::tls;

/// What the message says about the request that failed.
pub(super) struct Sent<'a> {
    pub(super) url: &'a Url,
    /// The call's limit.
    pub(super) limit: Duration,
    pub(super) connect_timeout: Duration,
    /// The setting that the address comes from.
    pub(super) origin: &'a str,
}

/// hyper's own message; reqwest reports it as a time-out of the request.
const PING_UNANSWERED: &str = "keep-alive timed out";

fn connection_died() -> Cause {
    Cause::new(
        ErrorKind::Connection,
        format!("the connection was lost: an HTTP/2 ping got no answer within {PING:?}"),
        "a firewall or a load balancer may have dropped the connection, or the server hangs",
    )
}

/// Decides from reqwest's error whether the request may have arrived, and what helps.
pub(super) fn diagnose(error: &reqwest::Error, request: &Sent<'_>) -> WireError {
    let (outcome, cause) = match causes(error).any(|inner| inner.to_string() == PING_UNANSWERED) {
        true => (AttemptOutcome::Broken, connection_died()),
        false => explain(error, request),
    };
    WireError { outcome, cause }
}

fn explain(error: &reqwest::Error, request: &Sent<'_>) -> (AttemptOutcome, Cause) {
    if let Some(cause) = tls::untrusted(error) {
        return (AttemptOutcome::Hopeless, cause);
    }
    let chain = || causes(error);
    if error.is_timeout() {
        let outcome =
            if error.is_connect() { AttemptOutcome::NotSent } else { AttemptOutcome::Broken };
        return (outcome, timed_out(outcome, request));
    }
    if chain().any(|inner| inner.to_string().starts_with("dns error")) {
        let host = request.url.host_str().unwrap_or_default();
        let what = format!("the host name \"{host}\" does not resolve");
        return (
            AttemptOutcome::NotSent,
            Cause::new(
                ErrorKind::Dns,
                what,
                format!("check the DNS of this machine, and the host in {}", request.origin),
            ),
        );
    }
    let io = chain().find_map(|inner| inner.downcast_ref::<std::io::Error>());
    if io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused) {
        let origin = request.origin;
        let help = format!("check that the server runs and listens on the port in {origin}");
        return (
            AttemptOutcome::NotSent,
            Cause::new(ErrorKind::ConnectionRefused, "connection refused", help),
        );
    }
    let outcome = if error.is_connect() { AttemptOutcome::NotSent } else { AttemptOutcome::Broken };
    let detail =
        chain().last().map_or_else(|| "the connection broke".to_owned(), ToString::to_string);
    // rustls reports this for a plain HTTP answer, whose first bytes are no TLS record.
    if detail.contains("InvalidContentType") {
        let help = "use http:// in the address, or use the port that speaks https";
        return (
            outcome,
            Cause::new(ErrorKind::Connection, "this port does not speak https", help),
        );
    }
    (outcome, Cause::new(ErrorKind::Connection, detail, connection_lost(request.url)))
}

/// reqwest's limit for the whole request may also end while it connects, so that an accepted
/// connection is likely and not certain.
fn timed_out(outcome: AttemptOutcome, request: &Sent<'_>) -> Cause {
    let (what, help) = match outcome {
        AttemptOutcome::NotSent => (
            format!("no connection within {:?}", request.connect_timeout),
            format!(
                "check that the address in {} is reachable from this machine: a firewall may drop its packets",
                request.origin
            ),
        ),
        _ => (
            format!("no answer within {:?}", request.limit),
            "the server seems to accept connections and not to answer: check its load and its storage\n\
             or the network loses packets; VAULT_CLIENT_TIMEOUT sets the limit"
                .to_owned(),
        ),
    };
    Cause::new(ErrorKind::Timeout, what, help)
}

/// A port for TLS closes a plain connection in the same way as a restart of the server does.
fn connection_lost(url: &Url) -> &'static str {
    match url.scheme() {
        "http" => {
            "the server may speak https here: use https:// in the address; or a proxy or a restart of the server may have closed the connection"
        }
        _ => "a proxy or a restart of the server may have closed the connection",
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
mod tests {
    use super::*;

    #[test]
    fn a_server_that_hangs_and_one_that_is_not_reached_need_different_help() {
        let sent = Sent {
            url: &Url::parse("http://127.0.0.1:1").unwrap(),
            limit: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            origin: "BAO_ADDR",
        };
        let hangs = timed_out(AttemptOutcome::Broken, &sent);
        assert_eq!(hangs.message, "no answer within 60s");
        assert!(hangs.help.lines().next().unwrap().ends_with("check its load and its storage"));
        let not_reached = timed_out(AttemptOutcome::NotSent, &sent);
        assert_eq!(not_reached.message, "no connection within 10s");
        assert!(not_reached.help.starts_with("check that the address in BAO_ADDR is reachable"));
    }
}

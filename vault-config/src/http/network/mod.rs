//! The seam for the network: one request in; a status, headers and a body out.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, Url};
use secrecy::zeroize::Zeroizing;

use super::retry::AttemptOutcome;
use super::transport::Limits;
use crate::error::Cause;

mod client;
mod failure;
mod reqwest_network;

pub(crate) use reqwest_network::ReqwestNetwork;
pub(super) use reqwest_network::no_connection;

/// Carries single requests. It repeats none, follows no redirect and knows nothing of Vault, so that the whole
/// client can run without sockets.
pub(crate) trait Network: fmt::Debug + Send + Sync {
    /// Completes with the headers, before the body is there.
    fn send<'a>(&'a self, request: WireRequest<'a>) -> WireFuture<'a>;
}

pub(crate) type WireFuture<'a> =
    Pin<Box<dyn Future<Output = Result<WireResponse<'a>, WireError>> + Send + 'a>>;

pub(crate) type WireBodyFuture<'a> =
    Pin<Box<dyn Future<Output = Result<WireBody, WireError>> + Send + 'a>>;

pub(crate) struct WireRequest<'a> {
    /// Which of the configured addresses it goes to.
    pub(crate) node: usize,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<&'a Zeroizing<Vec<u8>>>,
    /// The call's own.
    pub(crate) limits: Limits<'a>,
    /// The limit on this attempt alone, while other nodes are left to try. It is counted from when the request is
    /// sent.
    pub(crate) patience: Duration,
    /// Whether other requests may share its connection. It is asked when the request fails, because the responses of
    /// others show it.
    pub(crate) may_be_multiplexed: &'a (dyn Fn() -> bool + Send + Sync),
}

pub(crate) struct WireResponse<'a> {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Whether the connection carries several requests at once, as HTTP/2 does.
    pub(crate) is_multiplexed: bool,
    /// The headers are valid even if the body never arrives.
    pub(crate) body: WireBodyFuture<'a>,
}

pub(crate) enum WireBody {
    Whole(Zeroizing<Vec<u8>>),
    /// More than [`MAX_BYTES`](super::reply::MAX_BYTES); it was not read to its end.
    TooLarge,
}

/// Why there is no answer. The address is added by the caller, who knows the node's name.
#[derive(Debug)]
pub(crate) struct WireError {
    pub(crate) outcome: AttemptOutcome,
    pub(crate) cause: Cause,
}

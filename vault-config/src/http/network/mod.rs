//! The seam for the network: one request in; a status, headers and a body out.

use std::fmt;
use std::pin::Pin;

use reqwest::header::HeaderMap;
use reqwest::{Method, Url};
use secrecy::zeroize::Zeroizing;

use super::retry::Ended;
use super::transport::Limits;
use crate::error::Cause;

mod client;
mod failure;
mod own_client;

pub(crate) use own_client::ReqwestNetwork;
pub(super) use own_client::no_connection;

/// Carries single requests. It repeats none, follows no redirect and knows nothing of Vault, so that the whole
/// client can be run against something else than sockets.
pub(crate) trait Network: fmt::Debug + Send + Sync {
    fn send<'a>(&'a self, request: WireRequest<'a>) -> WireFuture<'a>;
}

pub(crate) type WireFuture<'a> =
    Pin<Box<dyn Future<Output = Result<WireResponse, WireError>> + Send + 'a>>;

pub(crate) struct WireRequest<'a> {
    /// Which of the configured addresses it goes to.
    pub(crate) node: usize,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<&'a Zeroizing<Vec<u8>>>,
    /// Ends this request: the call's own limits, or less while there are other nodes to ask.
    pub(crate) limits: Limits<'a>,
    /// Other requests may share its connection.
    pub(crate) may_be_multiplexed: bool,
}

pub(crate) struct WireResponse {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// The connection carries several requests at once.
    pub(crate) is_multiplexed: bool,
    /// The headers are valid also if the body never arrives.
    pub(crate) body: Result<WireBody, WireError>,
}

pub(crate) enum WireBody {
    Whole(Zeroizing<Vec<u8>>),
    /// More than [`MAX_BYTES`](super::reply::MAX_BYTES); it was not read to its end.
    TooLarge,
}

/// Why there is no answer, without the address, which the caller knows.
#[derive(Debug)]
pub(crate) struct WireError {
    pub(crate) ended: Ended,
    pub(crate) cause: Cause,
}

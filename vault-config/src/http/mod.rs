//! The transport: one request to one cluster. It knows no token's life, no engine and no lease.

mod choosing;
mod lanes;
mod network;
mod nodes;
mod pause;
mod rate_limit;
pub(crate) mod reply;
pub(crate) mod retry;
pub(crate) mod settings;
pub(crate) mod tls;
mod transport;

pub(crate) use lanes::Lane;
pub(crate) use network::ReqwestNetwork;
pub(crate) use reply::{Reply, seconds};
pub(crate) use retry::{Attempts, Repeat};
pub(crate) use settings::{Address, Addresses, Settings};
pub(crate) use transport::{Call, Http, ROOT};

//! The transport: settings, TLS, nodes, requests, retries, limits, replies. It knows no token's life, no engine and
//! no lease.

mod lanes;
mod network;
mod node_choice;
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
pub(crate) use retry::{Attempts, Idempotency};
pub(crate) use settings::{Address, Addresses, Settings};
pub(crate) use transport::{Call, ROOT, Transport};

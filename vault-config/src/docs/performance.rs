//! How many requests a load makes, and what it costs.
//!
//! **Requests.** One login, then every distinct path once, all at the same time: two round trips,
//! whatever the number of fields. A token that is given needs no login. A KV mount whose version is
//! neither declared nor 2 costs one request for each path and one more for the mount, the first
//! time. Configurations that share a [`Vault`](crate::Vault) share its login, its connections and
//! what it has learned.
//!
//! **Connections.** Over TLS all requests share one HTTP/2 connection: with a token that is given,
//! the first read goes alone so that the others find it. Over plain HTTP/1.1 a connection carries
//! one request at a time; at most [`max_connections`](crate::VaultBuilder::max_connections) are
//! open, 64 by default.

//! Free ports.

use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;

/// Below the ephemeral range, so that no client's socket uses these ports.
const FIRST: u16 = 20_000;
const PAIRS: u64 = 6_000;

/// Returns a port P such that P and P+1 are free on 127.0.0.1.
///
/// Another process may take them before they are used; then the caller has to try again.
///
/// # Panics
///
/// If no such port is free.
#[must_use]
pub fn free_pair() -> u16 {
    for _ in 0..500 {
        let pair = RandomState::new().hash_one(0) % PAIRS;
        let port = FIRST + 2 * u16::try_from(pair).unwrap_or(0);
        if is_free(port) && is_free(port + 1) {
            return port;
        }
    }
    panic!("no two adjacent ports are free from {FIRST} up on 127.0.0.1: end whatever holds them")
}

/// Starts a server on a free port, or on another one if the port was taken meanwhile.
pub(crate) async fn on_free_port<T>(
    name: &str,
    start: impl AsyncFn(u16) -> Result<T, String>,
) -> T {
    let mut last = String::new();
    for _ in 0..10 {
        match start(free_pair()).await {
            Ok(server) => return server,
            Err(why) if why.contains("in use") || why.contains("eaddrinuse") => last = why,
            Err(why) => panic!("{name} did not start: {why}"),
        }
    }
    panic!("{name} found its port taken ten times in a row; the last time: {last}")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

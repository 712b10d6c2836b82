use std::time::Duration;

use reqwest::Method;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use crate::http::{Attempts, Idempotency, Lane};

/// A request with all its attempts. Its body is kept for the last attempt, and wiped on drop.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) query: Option<(&'static str, String)>,
    pub(crate) body: Option<Zeroizing<Vec<u8>>>,
    pub(crate) token: Option<&'a SecretString>,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) idempotency: Idempotency,
    /// The limit on all attempts together, if it is shorter than the connection's own.
    pub(crate) patience: Option<Duration>,
    pub(crate) attempts: Attempts,
    pub(crate) lane: Lane,
    /// Sent although the server asked to wait: a revocation is one request, and the process may end next.
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
            idempotency: Idempotency::Safe,
            patience: None,
            attempts: Attempts::Configured,
            lane: Lane::Read,
            during_pauses: false,
        }
    }

    pub(crate) fn post(path: &'a str, body: Zeroizing<Vec<u8>>, idempotency: Idempotency) -> Self {
        Self { method: Method::POST, body: Some(body), idempotency, ..Self::get(path) }
    }
}

//! Built without TLS: plain http and Unix sockets only.

use reqwest::ClientBuilder;

use super::{Cause, ErrorKind, Tls, Verdict};

pub(super) fn apply(_: &Tls, _: ClientBuilder) -> Result<ClientBuilder, Cause> {
    Err(Cause::new(
        ErrorKind::Setting,
        "an https address needs TLS, and vault-config was built without it",
        "enable its feature `rustls` or `native-tls`, or pass your own reqwest client to the builder",
    ))
}

pub(super) fn without(builder: ClientBuilder) -> ClientBuilder {
    builder
}

pub(super) fn verdict(_: &reqwest::Error) -> Option<Verdict> {
    None
}

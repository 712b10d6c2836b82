//! TLS by the system's library.

use std::error::Error as _;

use reqwest::{Certificate, ClientBuilder, Identity};

use super::{Cause, ErrorKind, Tls, Verdict, not_pem};

pub(super) fn apply(tls: &Tls, mut builder: ClientBuilder) -> Result<ClientBuilder, Cause> {
    builder = builder.tls_backend_native();
    if tls.server_name.is_some() {
        return Err(Cause::new(
            ErrorKind::Setting,
            "the `native-tls` feature cannot verify for another name",
            "unset it, or build with the `rustls` feature",
        )
        .at("env VAULT_TLS_SERVER_NAME"));
    }
    let mut roots = Vec::new();
    for pem in &tls.authorities {
        let found =
            Certificate::from_pem_bundle(&pem.bytes).map_err(|_| not_pem(pem.origin.clone()))?;
        roots.extend(found);
    }
    if !roots.is_empty() {
        builder = builder.tls_certs_only(roots);
    }
    if let Some((certificate, key)) = &tls.identity {
        let identity = Identity::from_pkcs8_pem(&certificate.bytes, &key.bytes).map_err(|_| {
            not_pem(certificate.origin.clone())
                .hint("the `native-tls` feature requires a PKCS #8 key")
        })?;
        builder = builder.identity(identity);
    }
    Ok(builder.tls_danger_accept_invalid_certs(tls.skip_verify))
}

pub(super) fn without(builder: ClientBuilder) -> ClientBuilder {
    builder
}

pub(super) fn verdict(error: &reqwest::Error) -> Option<Verdict> {
    let mut source = error.source();
    while let Some(inner) = source {
        let text = inner.to_string();
        if text.contains("certificate verify failed") || text.contains("certificate") {
            return Some(Verdict::Other(text));
        }
        source = inner.source();
    }
    None
}

//! TLS by rustls, with ring or the crypto provider of the process.

use std::error::Error as _;
use std::sync::Arc;

use reqwest::ClientBuilder;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::{Cause, ErrorKind, Pem, Tls, Verdict, not_pem};

pub(super) fn apply(tls: &Tls, builder: ClientBuilder) -> Result<ClientBuilder, Cause> {
    Ok(builder.tls_backend_preconfigured(config(tls)?))
}

pub(super) fn without(builder: ClientBuilder) -> ClientBuilder {
    let config =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map(
            |builder| builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth(),
        );
    match config {
        Ok(config) => builder.tls_backend_preconfigured(config),
        Err(_) => builder,
    }
}

/// The provider that the process has installed, if any: an application decides for all its crates at once.
fn provider() -> Arc<CryptoProvider> {
    if let Some(provider) = CryptoProvider::get_default() {
        return Arc::clone(provider);
    }
    #[cfg(feature = "aws-lc-rs")]
    return Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    #[cfg(not(feature = "aws-lc-rs"))]
    Arc::new(rustls::crypto::ring::default_provider())
}

fn config(tls: &Tls) -> Result<ClientConfig, Cause> {
    let refused = |error: Error| Cause::new(ErrorKind::Setting, error.to_string(), "");
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .dangerous()
        .with_custom_certificate_verifier(verifier(tls, provider)?);
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let private = PrivateKeyDer::from_pem_slice(&key.bytes)
                .map_err(|_| not_pem(key.origin.clone()))?;
            builder.with_client_auth_cert(chain, private).map_err(|error| {
                refused(error)
                    .hint("the key has to belong to the certificate")
                    .at(certificate.origin.clone())
            })?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, Cause> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem.bytes).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| not_pem(pem.origin.clone()))
}

fn verifier(
    tls: &Tls,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Cause> {
    if tls.skip_verify {
        return Ok(Arc::new(Unverified(provider)));
    }
    let inner: Arc<dyn ServerCertVerifier> = match tls.authorities.is_empty() {
        true => Arc::new(rustls_platform_verifier::Verifier::new(provider).map_err(|error| {
            Cause::new(
                ErrorKind::Setting,
                format!("the system's trusted certificates cannot be read: {error}"),
                "install them (ca-certificates), or name an authority with VAULT_CACERT",
            )
        })?),
        false => chosen(&tls.authorities, provider)?,
    };
    let Some(name) = &tls.server_name else { return Ok(inner) };
    let name = ServerName::try_from(name.clone()).map_err(|_| {
        Cause::new(ErrorKind::Setting, "is not a host name", "correct it, or unset it")
            .at("env VAULT_TLS_SERVER_NAME")
    })?;
    Ok(Arc::new(Renamed { name, inner }))
}

fn chosen(
    authorities: &[Pem],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, Cause> {
    let mut roots = RootCertStore::empty();
    for pem in authorities {
        for certificate in certificates(pem)? {
            roots.add(certificate).map_err(|_| not_pem(pem.origin.clone()))?;
        }
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| Cause::new(ErrorKind::Setting, error.to_string(), ""))
}

pub(super) fn verdict(error: &reqwest::Error) -> Option<Verdict> {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(Error::InvalidCertificate(why)) = unwrapped(inner).downcast_ref() {
            return Some(match why {
                // webpki reports a bad signature if a trusted authority has the name of the one that signed, and another key.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    Verdict::Unknown
                }
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Verdict::Expired,
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Verdict::WrongName,
                other => Verdict::Other(other.to_string()),
            });
        }
        source = inner.source();
    }
    None
}

/// The error inside an I/O error, at any depth: `source()` of an I/O error skips it.
fn unwrapped<'a>(
    mut error: &'a (dyn std::error::Error + 'static),
) -> &'a (dyn std::error::Error + 'static) {
    while let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)
    {
        error = inner;
    }
    error
}

/// Verifies the certificate for the configured name in place of the host in the address.
#[derive(Debug)]
struct Renamed {
    name: ServerName<'static>,
    inner: Arc<dyn ServerCertVerifier>,
}

impl ServerCertVerifier for Renamed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.inner.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Used only if `VAULT_SKIP_VERIFY` asks for it.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

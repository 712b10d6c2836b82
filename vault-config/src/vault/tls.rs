//! Certificates: which to trust, which to show, and what went wrong with one.

use std::path::{Path, PathBuf};

use reqwest::ClientBuilder;

use super::settings::{Official, truth};
use crate::error::{Cause, ErrorKind};

/// PEM text, and who named it.
#[derive(Clone)]
pub(crate) struct Pem {
    pub(crate) bytes: Vec<u8>,
    pub(crate) said_by: String,
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.said_by)
    }
}

#[derive(Debug, Clone, Default)]
#[cfg_attr(not(any(feature = "rustls", feature = "native-tls")), allow(dead_code))]
pub(crate) struct Tls {
    /// These authorities and no others; the system's when empty.
    pub(crate) authorities: Vec<Pem>,
    /// The client's certificate chain and its key.
    pub(crate) identity: Option<(Pem, Pem)>,
    pub(crate) server_name: Option<String>,
    pub(crate) skip_verify: bool,
}

/// Authorities: `CACERT`, else `CACERT_BYTES`, else `CAPATH`, as the official client chooses.
pub(crate) fn from_environment(env: &Official<'_>) -> Result<Tls, Cause> {
    let skip_verify = env.parse("SKIP_VERIFY", |text| {
        let kept = "certificates stay verified unless it is true";
        truth(text).map_err(|what| format!("{what}; {kept}"))
    })?;
    Ok(Tls {
        authorities: authorities(env)?,
        identity: identity(env)?,
        server_name: env.parse("TLS_SERVER_NAME", |name| Ok(name.to_owned()))?,
        skip_verify: skip_verify.unwrap_or(false),
    })
}

fn authorities(env: &Official<'_>) -> Result<Vec<Pem>, Cause> {
    if let Some((variable, path)) = env.get("CACERT")? {
        return Ok(vec![read(Path::new(path.as_str()), &variable)?]);
    }
    if let Some((variable, bytes)) = env.get("CACERT_BYTES")? {
        return Ok(vec![checked(bytes.as_bytes().to_vec(), format!("env {variable}"))?]);
    }
    match env.get("CAPATH")? {
        Some((variable, path)) => read_folder(Path::new(path.as_str()), &variable),
        None => Ok(Vec::new()),
    }
}

fn identity(env: &Official<'_>) -> Result<Option<(Pem, Pem)>, Cause> {
    let either = |file: &str, bytes: &str| -> Result<Option<(String, Pem)>, Cause> {
        if let Some((variable, path)) = env.get(file)? {
            let pem = read(Path::new(path.as_str()), &variable)?;
            return Ok(Some((variable, pem)));
        }
        let Some((variable, bytes)) = env.get(bytes)? else { return Ok(None) };
        let pem = checked(bytes.as_bytes().to_vec(), format!("env {variable}"))?;
        Ok(Some((variable, pem)))
    };
    match (either("CLIENT_CERT", "CLIENT_CERT_BYTES")?, either("CLIENT_KEY", "CLIENT_KEY_BYTES")?) {
        (None, None) => Ok(None),
        (Some((_, certificate)), Some((_, key))) => Ok(Some((certificate, key))),
        (Some((variable, _)), None) => Err(half(&variable, "key", "VAULT_CLIENT_KEY")),
        (None, Some((variable, _))) => Err(half(&variable, "certificate", "VAULT_CLIENT_CERT")),
    }
}

fn half(variable: &str, other: &str, name: &str) -> Cause {
    Cause::new(
        ErrorKind::Setting,
        format!("a client certificate needs its {other} too"),
        format!("set {name}, or unset {variable}"),
    )
    .at(format!("env {variable}"))
}

pub(crate) fn read(path: &Path, variable: &str) -> Result<Pem, Cause> {
    let said_by = format!("env {variable}");
    match std::fs::read(path) {
        Ok(bytes) => checked(bytes, said_by),
        Err(error) => Err(unreadable(path, &error, said_by)),
    }
}

fn read_folder(path: &Path, variable: &str) -> Result<Vec<Pem>, Cause> {
    let said_by = format!("env {variable}");
    let entries =
        std::fs::read_dir(path).map_err(|error| unreadable(path, &error, said_by.clone()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(Cause::new(
            ErrorKind::Setting,
            "the folder holds no file",
            "put the authorities' PEM files there",
        )
        .at(said_by));
    }
    files.iter().map(|file| read(file, variable)).collect()
}

fn unreadable(path: &Path, error: &std::io::Error, said_by: String) -> Cause {
    Cause::new(
        ErrorKind::Setting,
        format!("{} cannot be read: {error}", path.display()),
        "name a PEM file that this process may read",
    )
    .at(said_by)
}

fn checked(bytes: Vec<u8>, said_by: String) -> Result<Pem, Cause> {
    let marked = bytes.windows(11).any(|window| window == b"-----BEGIN ");
    match marked {
        true => Ok(Pem { bytes, said_by }),
        false => Err(not_pem(said_by)),
    }
}

fn not_pem(said_by: String) -> Cause {
    Cause::new(
        ErrorKind::Setting,
        "holds no PEM certificate or key",
        "PEM starts with a line such as -----BEGIN CERTIFICATE-----",
    )
    .at(said_by)
}

/// What a certificate failure is, when `error` is one: its own sentence each.
pub(crate) fn untrusted(error: &reqwest::Error) -> Option<Cause> {
    let what = backend::verdict(error)?;
    let help = match what {
        Verdict::Unknown => {
            "name the authority that signed it: VAULT_CACERT=/path/ca.pem (or VAULT_CACERT_BYTES, VAULT_CAPATH)"
        }
        Verdict::Expired => "renew the server's certificate, and check the clocks of both machines",
        Verdict::WrongName => {
            "use an address whose host is in the certificate, or name it: VAULT_TLS_SERVER_NAME"
        }
        Verdict::Other(_) => "the server's certificate has to be mended",
    };
    Some(Cause::new(ErrorKind::Untrusted, what.sentence(), help))
}

#[cfg_attr(not(feature = "rustls"), allow(dead_code))]
enum Verdict {
    Unknown,
    Expired,
    WrongName,
    Other(String),
}

impl Verdict {
    fn sentence(&self) -> String {
        match self {
            Self::Unknown => {
                "the server's certificate is signed by an authority that is not trusted".to_owned()
            }
            Self::Expired => "the server's certificate is expired, or not valid yet".to_owned(),
            Self::WrongName => "the server's certificate is for another name".to_owned(),
            Self::Other(text) => format!("the server's certificate is refused: {text}"),
        }
    }
}

/// Adds the settings to a client; only called when the address is `https`.
pub(crate) fn apply(tls: &Tls, builder: ClientBuilder) -> Result<ClientBuilder, Cause> {
    backend::apply(tls, builder)
}

/// Keeps the TLS library out of a client that only speaks plain http.
pub(crate) fn without(builder: ClientBuilder) -> ClientBuilder {
    backend::without(builder)
}

#[cfg(feature = "rustls")]
mod backend {
    use std::error::Error as _;
    use std::sync::Arc;

    use reqwest::ClientBuilder;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::CryptoProvider;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
    use rustls::{
        CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore,
        SignatureScheme,
    };

    use super::{Cause, ErrorKind, Pem, Tls, Verdict, not_pem};

    pub(super) fn apply(tls: &Tls, builder: ClientBuilder) -> Result<ClientBuilder, Cause> {
        Ok(builder.tls_backend_preconfigured(config(tls)?))
    }

    pub(super) fn without(builder: ClientBuilder) -> ClientBuilder {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map(|builder| {
                builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
            });
        match config {
            Ok(config) => builder.tls_backend_preconfigured(config),
            Err(_) => builder,
        }
    }

    /// The process's own choice first, so that an application decides for all its crates at once.
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
                    .map_err(|_| not_pem(key.said_by.clone()))?;
                builder.with_client_auth_cert(chain, private).map_err(|error| {
                    refused(error)
                        .hint("the key has to belong to the certificate")
                        .at(certificate.said_by.clone())
                })?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, Cause> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem.bytes).collect();
        found.ok().filter(|found| !found.is_empty()).ok_or_else(|| not_pem(pem.said_by.clone()))
    }

    fn verifier(
        tls: &Tls,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, Cause> {
        if tls.skip_verify {
            return Ok(Arc::new(Unverified(provider)));
        }
        let inner: Arc<dyn ServerCertVerifier> = match tls.authorities.is_empty() {
            true => {
                Arc::new(rustls_platform_verifier::Verifier::new(provider).map_err(|error| {
                    Cause::new(
                        ErrorKind::Setting,
                        format!("the system's trusted certificates cannot be read: {error}"),
                        "install them (ca-certificates), or name an authority with VAULT_CACERT",
                    )
                })?)
            }
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
                roots.add(certificate).map_err(|_| not_pem(pem.said_by.clone()))?;
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
                    // A bad signature: a trusted authority has the same name as the one that signed.
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

    /// What an I/O error holds, at any depth: its `source()` passes over it.
    fn unwrapped<'a>(
        mut error: &'a (dyn std::error::Error + 'static),
    ) -> &'a (dyn std::error::Error + 'static) {
        while let Some(inner) =
            error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)
        {
            error = inner;
        }
        error
    }

    /// Verifies for the name the user gave instead of the address's host.
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

    /// Only when the user says in so many words that certificates are not to be verified.
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
}

#[cfg(all(feature = "native-tls", not(feature = "rustls")))]
mod backend {
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
            let found = Certificate::from_pem_bundle(&pem.bytes)
                .map_err(|_| not_pem(pem.said_by.clone()))?;
            roots.extend(found);
        }
        if !roots.is_empty() {
            builder = builder.tls_certs_only(roots);
        }
        if let Some((certificate, key)) = &tls.identity {
            let identity =
                Identity::from_pkcs8_pem(&certificate.bytes, &key.bytes).map_err(|_| {
                    not_pem(certificate.said_by.clone())
                        .hint("the `native-tls` feature takes a PKCS #8 key")
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
}

#[cfg(not(any(feature = "rustls", feature = "native-tls")))]
mod backend {
    use reqwest::ClientBuilder;

    use super::{Cause, ErrorKind, Tls, Verdict};

    pub(super) fn apply(_: &Tls, _: ClientBuilder) -> Result<ClientBuilder, Cause> {
        Err(Cause::new(
            ErrorKind::Setting,
            "an https address needs TLS, and vault-config was built without it",
            "turn on its feature `rustls` or `native-tls`, or give the builder a reqwest client of your own",
        ))
    }

    pub(super) fn without(builder: ClientBuilder) -> ClientBuilder {
        builder
    }

    pub(super) fn verdict(_: &reqwest::Error) -> Option<Verdict> {
        None
    }
}

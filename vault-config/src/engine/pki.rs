//! Certificates: <https://openbao.org/api-docs/secret/pki/#generate-certificate-and-key>.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::zeroize::{Zeroize as _, Zeroizing};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de};
use serde_json::json;
use x509_cert::der::Decode as _;

use super::declaration::LocalShape;
use super::role::RoleWrite;
use super::{EngineResponse, FieldScope, Operation, OperationFuture, Part, VaultSource};
use crate::error::{Cause, ErrorKind};
use crate::time::rfc3339;
use crate::value::Value;
use crate::vault::Session;

/// A certificate, its chain and its private key: one value, issued together and replaced together.
///
/// In local mode it is read from two environment variables, `.._CERTIFICATE` (PEM: the certificate,
/// then its chain) and `.._PRIVATE_KEY` (PEM), or from a map with the keys `certificate` and
/// `private_key`. `Debug` shows the serial number and the end of its validity.
///
/// For rustls:
///
/// ```
/// # type Server = (Vec<rustls_pki_types::CertificateDer<'static>>, rustls_pki_types::PrivateKeyDer<'static>);
/// use vault_config::Certificate;
///
/// fn server(certificate: &Certificate) -> Server {
///     // rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(..)
///     (certificate.certificate_ders(), certificate.private_key_der())
/// }
/// ```
///
/// For reqwest, `reqwest::Identity::from_pem(certificate.identity_pem().expose_secret().as_bytes())`.
#[derive(Clone)]
pub struct Certificate {
    certificate_pem: String,
    chain: Vec<String>,
    private_key: SecretString,
    ders: Vec<CertificateDer<'static>>,
    key: Arc<WipedKey>,
    serial: String,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl Certificate {
    /// The certificate in PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The certificates between it and the root, its issuer first, each in PEM. The engine may add
    /// the root.
    #[must_use]
    pub fn chain(&self) -> &[String] {
        &self.chain
    }

    /// The private key in PEM; in PKCS #8 if it comes from the engine.
    #[must_use]
    pub fn private_key(&self) -> &SecretString {
        &self.private_key
    }

    /// The serial number as the engine writes it, such as `39:dd:2e:90`.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The start of its validity.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// The end of its validity.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The certificate and its chain, as rustls takes them.
    #[must_use]
    pub fn certificate_ders(&self) -> Vec<CertificateDer<'static>> {
        self.ders.clone()
    }

    /// The private key, as rustls takes it. It is not wiped when it is dropped: the caller may wipe it.
    #[must_use]
    pub fn private_key_der(&self) -> PrivateKeyDer<'static> {
        self.key.0.clone_key()
    }

    /// Key, certificate and chain in one PEM text, as `reqwest::Identity::from_pem` takes them.
    #[must_use]
    pub fn identity_pem(&self) -> SecretString {
        let mut pieces = vec![self.private_key.expose_secret(), "\n", &self.certificate_pem];
        for certificate in &self.chain {
            pieces.extend(["\n", certificate]);
        }
        Zeroizing::new(pieces.concat()).as_str().into()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("serial", &self.serial)
            .field("not_after", &rfc3339::shown(self.not_after))
            .finish_non_exhaustive()
    }
}

#[diagnostic::do_not_recommend]
impl crate::Secret for Certificate {}

/// The types that a field of this engine may have.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`pki` returns a `Certificate`, which `{Self}` cannot hold",
    label = "the engine's answer does not fit this type",
    note = "use `Certificate`, `Option<Certificate>` or `Leased<Certificate>`"
)]
pub trait HoldsCertificate {}

impl HoldsCertificate for Certificate {}
#[diagnostic::do_not_recommend]
impl<T: HoldsCertificate> HoldsCertificate for Option<T> {}
#[diagnostic::do_not_recommend]
impl<T: HoldsCertificate> HoldsCertificate for Box<T> {}
#[diagnostic::do_not_recommend]
impl<T: HoldsCertificate> HoldsCertificate for crate::Leased<T> {}

/// A key that is wiped when it is dropped.
struct WipedKey(PrivateKeyDer<'static>);

impl Drop for WipedKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The two texts that the engine and the local sources have.
#[derive(Deserialize)]
struct CertificatePem {
    certificate: String,
    private_key: SecretString,
}

impl<'de> Deserialize<'de> for Certificate {
    fn deserialize<S: Deserializer<'de>>(deserializer: S) -> Result<Self, S::Error> {
        let pem = CertificatePem::deserialize(deserializer)?;
        Self::try_from(pem)
            .map_err(|expected| de::Error::invalid_value(de::Unexpected::Other("text"), &expected))
    }
}

impl TryFrom<CertificatePem> for Certificate {
    /// What was expected instead of these texts.
    type Error = &'static str;

    fn try_from(pem: CertificatePem) -> Result<Self, Self::Error> {
        let key = PrivateKeyDer::from_pem_slice(pem.private_key.expose_secret().as_bytes())
            .map_err(|_| "a private key in PEM")?;
        let ders: Vec<_> = CertificateDer::pem_slice_iter(pem.certificate.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| "a certificate in PEM")?;
        let first = ders.first().ok_or("a certificate in PEM")?;
        let parsed =
            x509_cert::Certificate::from_der(first).map_err(|_| "a certificate of X.509")?;
        let parsed = parsed.tbs_certificate();
        let validity = parsed.validity();
        let (not_before, not_after) =
            (validity.not_before.to_system_time(), validity.not_after.to_system_time());
        let serial = serial(parsed.serial_number().as_bytes());
        let mut pems = certificate_blocks(&pem.certificate);
        let certificate_pem = pems.next().unwrap_or_default();
        Ok(Self {
            certificate_pem,
            chain: pems.collect(),
            private_key: pem.private_key,
            key: Arc::new(WipedKey(key)),
            serial,
            not_before,
            not_after,
            ders,
        })
    }
}

fn serial(bytes: &[u8]) -> String {
    let bytes: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

/// Each certificate by itself. A PEM file may hold other blocks as well, even the private key.
fn certificate_blocks(pem: &str) -> impl Iterator<Item = String> + '_ {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    pem.split_inclusive(END)
        .filter(|block| block.ends_with(END))
        .filter_map(|block| block.rfind(BEGIN).and_then(|at| block.get(at..)))
        .map(str::to_owned)
}

/// `pki = "role"` and its options, as written.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Pki {
    pub role: &'static str,
    pub mount: Option<&'static str>,
    pub common_name: Option<&'static str>,
    pub alt_names: Option<&'static str>,
    pub ip_sans: Option<&'static str>,
    pub ttl: Option<&'static str>,
}

impl Pki {
    pub(super) fn bind(&self, scope: &FieldScope<'_>) -> Result<VaultSource, Cause> {
        let parameters = [
            ("common_name", self.common_name),
            ("alt_names", self.alt_names),
            ("ip_sans", self.ip_sans),
            ("ttl", self.ttl),
        ];
        let mount = self.mount.unwrap_or("pki");
        let role = RoleWrite::bind(scope, mount, "issue", self.role, &parameters)?;
        let (label, grant) = (format!("pki {}", role.path()), role.grant());
        Ok(VaultSource::new(label, CertificateIssue { role }, Part::Whole, grant))
    }

    pub(super) fn shape(&self) -> LocalShape {
        LocalShape::Parts(&["certificate", "private_key"])
    }
}

#[derive(Debug)]
struct CertificateIssue {
    role: RoleWrite,
}

impl Operation for CertificateIssue {
    fn id(&self) -> String {
        format!("pki {self:?}")
    }

    fn name(&self) -> String {
        self.role.path()
    }

    fn send<'a>(
        &'a self,
        session: &'a Session<'a>,
        _: &'a BTreeSet<String>,
    ) -> OperationFuture<'a, EngineResponse> {
        Box::pin(self.issue(session))
    }
}

impl CertificateIssue {
    async fn issue(&self, session: &Session<'_>) -> Result<EngineResponse, Cause> {
        let body = json!({ "format": "pem", "private_key_format": "pkcs8" });
        let mut reply = self.role.send(session, body).await?;
        let (data, certificate) =
            reply.take_data().and_then(in_local_shape).ok_or_else(misshapen)?;
        let date = reply.date;
        let response = EngineResponse::new(data, reply);
        response.valid_between(certificate.not_before, certificate.not_after, date)
    }
}

/// The response's data with the keys of a local source.
fn in_local_shape(mut data: Value) -> Option<(Value, Certificate)> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let mut certificates = vec![text(data.get("certificate"))?];
    match data.get("ca_chain") {
        Some(Value::List(chain)) if !chain.is_empty() => {
            certificates.extend(chain.iter().filter_map(|it| text(Some(it))));
        }
        _ => certificates.extend(text(data.get("issuing_ca"))),
    }
    let private_key = data.remove("private_key")?;
    let certificate = certificates.join("\n");
    let pem = CertificatePem {
        certificate: certificate.clone(),
        private_key: private_key.as_str()?.into(),
    };
    let parsed = Certificate::try_from(pem).ok()?;
    let data = [
        ("certificate".to_owned(), Value::text(certificate)),
        ("private_key".to_owned(), private_key),
    ];
    Some((Value::Map(data.into()), parsed))
}

fn misshapen() -> Cause {
    Cause::new(
        ErrorKind::Protocol,
        "the answer holds no certificate with a private key in PEM",
        "run `vault write` to see what the role issues; a role of key_type=any issues no key",
    )
}

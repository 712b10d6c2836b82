//! Signed SSH keys: <https://openbao.org/api-docs/secret/ssh/#sign-ssh-key>.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de};
use serde_json::json;
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, LineEnding, PrivateKey, PublicKey};

use super::declaration::LocalShape;
use super::role::RoleWrite;
use super::{EngineResponse, FieldScope, Operation, OperationFuture, Part, VaultSource};
use crate::error::{Cause, ErrorKind};
use crate::source::file;
use crate::time::rfc3339;
use crate::value::Value;
use crate::vault::Session;

/// A public SSH key that an authority has signed, with its private key if this process generated it.
///
/// In local mode it is read from the environment variable `.._SIGNED_KEY` (the text of a
/// `-cert.pub` file), and `.._PRIVATE_KEY` if the field names no public key; or from a map with the
/// keys `signed_key` and `private_key`. `Debug` shows the serial number and the end of its validity.
///
/// `ssh` and `ssh2`-like libraries take the two texts; OpenSSH's programs take two files, `id` with
/// the private key (mode 0600) and `id-cert.pub` with the signed key.
#[derive(Clone)]
pub struct SignedSshKey {
    signed_key: String,
    private_key: Option<SecretString>,
    serial: u64,
    principals: Vec<String>,
    valid_after: SystemTime,
    valid_before: SystemTime,
}

impl SignedSshKey {
    /// The certificate as OpenSSH writes it, such as `ssh-ed25519-cert-v01@openssh.com AAAA..`.
    #[must_use]
    pub fn signed_key(&self) -> &str {
        &self.signed_key
    }

    /// The private key in OpenSSH's format, generated in this process; `None` if the field names a
    /// public key.
    #[must_use]
    pub fn private_key(&self) -> Option<&SecretString> {
        self.private_key.as_ref()
    }

    /// The certificate's serial number.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// The users, or hosts, that it is valid for; an empty list means all.
    #[must_use]
    pub fn valid_principals(&self) -> &[String] {
        &self.principals
    }

    /// The start of its validity.
    #[must_use]
    pub fn valid_after(&self) -> SystemTime {
        self.valid_after
    }

    /// The end of its validity.
    #[must_use]
    pub fn valid_before(&self) -> SystemTime {
        self.valid_before
    }
}

impl fmt::Debug for SignedSshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedSshKey")
            .field("serial", &self.serial)
            .field("valid_before", &rfc3339::shown(self.valid_before))
            .finish_non_exhaustive()
    }
}

#[diagnostic::do_not_recommend]
impl crate::Secret for SignedSshKey {}

/// The types that a field of this engine may have.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`ssh` returns a `SignedSshKey`, which `{Self}` cannot hold",
    label = "the engine's answer does not fit this type",
    note = "use `SignedSshKey`, `Option<SignedSshKey>` or `Leased<SignedSshKey>`"
)]
pub trait HoldsSignedSshKey {}

impl HoldsSignedSshKey for SignedSshKey {}
#[diagnostic::do_not_recommend]
impl<T: HoldsSignedSshKey> HoldsSignedSshKey for Option<T> {}
#[diagnostic::do_not_recommend]
impl<T: HoldsSignedSshKey> HoldsSignedSshKey for Box<T> {}
#[diagnostic::do_not_recommend]
impl<T: HoldsSignedSshKey> HoldsSignedSshKey for crate::Leased<T> {}

/// The two texts that the engine and the local sources have.
#[derive(Deserialize)]
struct SignedKeyTexts {
    signed_key: String,
    private_key: Option<SecretString>,
}

impl<'de> Deserialize<'de> for SignedSshKey {
    fn deserialize<S: Deserializer<'de>>(deserializer: S) -> Result<Self, S::Error> {
        let texts = SignedKeyTexts::deserialize(deserializer)?;
        Self::try_from(texts)
            .map_err(|expected| de::Error::invalid_value(de::Unexpected::Other("text"), &expected))
    }
}

impl TryFrom<SignedKeyTexts> for SignedSshKey {
    /// What was expected instead of these texts.
    type Error = &'static str;

    fn try_from(texts: SignedKeyTexts) -> Result<Self, Self::Error> {
        let certificate = ssh_key::Certificate::from_openssh(texts.signed_key.trim())
            .map_err(|_| "a signed key as in OpenSSH's -cert.pub")?;
        Ok(Self {
            signed_key: texts.signed_key.trim().to_owned(),
            private_key: texts.private_key,
            serial: certificate.serial(),
            principals: certificate.valid_principals().to_vec(),
            valid_after: time_of(certificate.valid_after()),
            valid_before: time_of(certificate.valid_before()),
        })
    }
}

/// A certificate that never expires has the largest number as its end, which no date can show.
fn time_of(seconds: u64) -> SystemTime {
    const YEAR_9999: u64 = 253_402_300_799;
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(YEAR_9999))
}

/// `ssh = "role"` and its options, as written.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Ssh {
    pub role: &'static str,
    pub mount: Option<&'static str>,
    pub public_key: Option<&'static str>,
    pub public_key_file: Option<&'static str>,
    pub valid_principals: Option<&'static str>,
    pub ttl: Option<&'static str>,
}

impl Ssh {
    pub(super) fn bind(&self, scope: &FieldScope<'_>) -> Result<VaultSource, Cause> {
        let key = match (self.public_key, self.public_key_file) {
            (Some(text), _) => KeyOrigin::Text(scope.fill_text(text)?),
            (None, Some(file)) => KeyOrigin::File(scope.fill_text(file)?),
            (None, None) => KeyOrigin::Generated,
        };
        let parameters = [("valid_principals", self.valid_principals), ("ttl", self.ttl)];
        let mount = self.mount.unwrap_or("ssh");
        let role = RoleWrite::bind(scope, mount, "sign", self.role, &parameters)?;
        let (label, grant) = (format!("ssh {}", role.path()), role.grant());
        Ok(VaultSource::new(label, KeySigning { role, key }, Part::Whole, grant))
    }

    pub(super) fn shape(&self) -> LocalShape {
        LocalShape::Parts(match (self.public_key, self.public_key_file) {
            (None, None) => &["signed_key", "private_key"],
            _ => &["signed_key"],
        })
    }
}

#[derive(Debug)]
struct KeySigning {
    role: RoleWrite,
    key: KeyOrigin,
}

/// Where the public key comes from.
#[derive(Debug)]
enum KeyOrigin {
    Text(String),
    File(String),
    /// A new pair is generated for each request.
    Generated,
}

impl Operation for KeySigning {
    fn id(&self) -> String {
        format!("ssh {self:?}")
    }

    fn name(&self) -> String {
        self.role.path()
    }

    fn send<'a>(
        &'a self,
        session: &'a Session<'a>,
        _: &'a BTreeSet<String>,
    ) -> OperationFuture<'a, EngineResponse> {
        Box::pin(self.sign(session))
    }
}

impl KeySigning {
    async fn sign(&self, session: &Session<'_>) -> Result<EngineResponse, Cause> {
        let (public_key, private_key) = self.key.pair().await?;
        let mut reply = self.role.send(session, json!({ "public_key": public_key })).await?;
        let signed_key = reply.take_data().and_then(|data| Some(data.get("signed_key")?.clone()));
        let signed_key = signed_key.as_ref().and_then(Value::as_str).ok_or_else(misshapen)?.trim();
        let texts = SignedKeyTexts { signed_key: signed_key.to_owned(), private_key: None };
        let signed = SignedSshKey::try_from(texts).map_err(|_| misshapen())?;
        let mut data = vec![("signed_key".to_owned(), Value::text(signed_key))];
        data.extend(
            private_key.map(|key| ("private_key".to_owned(), Value::text(key.expose_secret()))),
        );
        let date = reply.date;
        let response = EngineResponse::new(Value::Map(data.into_iter().collect()), reply);
        response.valid_between(signed.valid_after, signed.valid_before, date)
    }
}

impl KeyOrigin {
    async fn pair(&self) -> Result<(String, Option<SecretString>), Cause> {
        match self {
            Self::Text(text) => Ok((text.clone(), None)),
            Self::File(path) => Ok((public_key_of_file(path).await?, None)),
            Self::Generated => {
                let pair = PrivateKey::random(&mut OsRng, Algorithm::Ed25519);
                let pair = pair.map_err(|_| not_generated())?;
                let public = pair.public_key().to_openssh().map_err(|_| not_generated())?;
                let private = pair.to_openssh(LineEnding::LF).map_err(|_| not_generated())?;
                Ok((public, Some(private.as_str().into())))
            }
        }
    }
}

/// The text is checked before it is sent: a path without `.pub` names the private key.
async fn public_key_of_file(path: &str) -> Result<String, Cause> {
    let bytes = file::read(Path::new(path), file::MOST_OF_TEXT).await.map_err(|error| {
        Cause::new(
            ErrorKind::Setting,
            format!("the public key {path} cannot be read: {error}"),
            "check the path in public_key_file = \"..\", and that this process may read the file",
        )
    })?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default().trim();
    match PublicKey::from_openssh(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(Cause::new(
            ErrorKind::Setting,
            format!("{path} contains no OpenSSH public key, and is not sent"),
            "name the file of the public half, such as id_ed25519.pub, with public_key_file = \"..\"",
        )),
    }
}

fn not_generated() -> Cause {
    Cause::new(
        ErrorKind::Schema,
        "an SSH key pair could not be generated",
        "this is a defect of vault-config: please report it",
    )
}

fn misshapen() -> Cause {
    Cause::new(
        ErrorKind::Protocol,
        "the answer has no signed OpenSSH key",
        "run `vault write` to see what the role signs",
    )
}

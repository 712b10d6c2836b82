//! Ciphertext that is decrypted: <https://openbao.org/api-docs/secret/transit/#decrypt-data>.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use secrecy::zeroize::Zeroizing;
use serde_json::json;

use super::declaration::LocalShape;
use super::{EngineResponse, FieldScope, Operation, OperationFuture, Part, VaultSource, refusal};
use crate::error::{Cause, ErrorKind};
use crate::http::reply::printable;
use crate::value::Value;
use crate::vault::{Grant, Response, Session};

/// `transit = "key"` and its option, as written.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Transit {
    pub key: &'static str,
    pub mount: Option<&'static str>,
}

impl Transit {
    pub(super) fn bind(&self, scope: &FieldScope<'_>) -> Result<VaultSource, Cause> {
        let mount = scope.fill(self.mount.unwrap_or("transit"))?;
        let key = scope.fill(self.key)?;
        let label = format!("transit {mount}/{key}");
        let part = Part::Ciphertext(Ciphertext { key: key.clone(), found: None });
        let decryption = Decryption { mount, key };
        let grant = Grant::update(decryption.path());
        Ok(VaultSource::new(label, decryption, part, grant))
    }

    pub(super) fn shape(&self) -> LocalShape {
        LocalShape::OfType
    }
}

/// A field's ciphertext, which is stored outside of Vault.
#[derive(Debug, Clone)]
pub(super) struct Ciphertext {
    /// The name of the key that decrypts it.
    key: String,
    /// `None` until the field's sources are read.
    pub(super) found: Option<FoundCiphertext>,
}

#[derive(Debug, Clone)]
pub(super) struct FoundCiphertext {
    pub(super) text: String,
    pub(super) place: String,
}

impl Ciphertext {
    pub(super) fn found_at(&self, text: &str, place: &str) -> Self {
        let found = FoundCiphertext { text: text.to_owned(), place: place.to_owned() };
        Self { key: self.key.clone(), found: Some(found) }
    }

    pub(super) fn plaintext(&self, response: &EngineResponse) -> Result<Value, Cause> {
        let result = self.found.as_ref().and_then(|found| response.data.get(&found.text));
        let text = |name| result.and_then(|result| result.get(name)).and_then(Value::as_str);
        // A result with an error has an empty plaintext as well.
        let (None, Some(encoded)) = (text("error"), text("plaintext")) else {
            return Err(not_decrypted(text("error"), &self.key));
        };
        let bytes = BASE64_STANDARD.decode(encoded).map(Zeroizing::new);
        match bytes.as_ref().map(|bytes| std::str::from_utf8(bytes)) {
            Ok(Ok(text)) => Ok(Value::text(text)),
            _ => Err(Cause::new(
                ErrorKind::WrongType,
                "the plaintext is not UTF-8 text",
                "encrypt the base64 of bytes as text, and decode it in your own type",
            )),
        }
    }
}

/// Decrypts all ciphertexts of one key with one request.
#[derive(Debug)]
struct Decryption {
    mount: String,
    key: String,
}

impl Operation for Decryption {
    fn id(&self) -> String {
        format!("transit {:?}", (&self.mount, &self.key))
    }

    fn name(&self) -> String {
        self.path()
    }

    fn send<'a>(
        &'a self,
        session: &'a Session<'a>,
        ciphertexts: &'a BTreeSet<String>,
    ) -> OperationFuture<'a, EngineResponse> {
        Box::pin(self.decrypt(session, ciphertexts))
    }

    /// The ciphertexts are not stored in Vault.
    fn can_change(&self) -> bool {
        false
    }

    fn issues_credential(&self) -> bool {
        false
    }
}

impl Decryption {
    fn path(&self) -> String {
        format!("{}/decrypt/{}", self.mount, self.key)
    }

    async fn decrypt(
        &self,
        session: &Session<'_>,
        ciphertexts: &BTreeSet<String>,
    ) -> Result<EngineResponse, Cause> {
        let input: Vec<_> = ciphertexts.iter().map(|text| json!({ "ciphertext": text })).collect();
        let body = json!({ "batch_input": input });
        let mut reply =
            session.post(&self.path(), &body, session.request_policy.idempotency).await?;
        // If one ciphertext cannot be decrypted, the server answers 400 with all the results.
        let Some(results) = results(&mut reply).filter(|it| it.len() == ciphertexts.len()) else {
            return Err(self.refused(reply));
        };
        let data = ciphertexts.iter().cloned().zip(results).collect();
        Ok(EngineResponse::new(Value::Map(data), reply))
    }

    fn refused(&self, reply: Response) -> Cause {
        if reply.ok() {
            return other_results();
        }
        let (mount, key) = (&self.mount, &self.key);
        if reply.status == 400 && reply.says(&UNKNOWN_KEY) {
            let help = format!(
                "correct the name of the key: vault list {mount}/keys; or create it: vault write -f {mount}/keys/{key}"
            );
            return Cause::new(ErrorKind::RoleAbsent, reply.words(), help);
        }
        refusal::explain(reply, &Grant::update(self.path()), &format!("{mount}/keys"))
    }
}

/// How the engine says that a key does not exist.
const UNKNOWN_KEY: [&str; 1] = ["encryption key not found"];

fn results(reply: &mut Response) -> Option<Vec<Value>> {
    match reply.take_data()?.remove("batch_results")? {
        Value::List(results) => Some(results),
        _ => None,
    }
}

/// The value as a ciphertext, without the white space that an editor may add.
pub(crate) fn ciphertext(value: &Value) -> Option<&str> {
    value.as_str().map(str::trim).filter(|text| is_ciphertext(text))
}

/// Whether a ciphertext stands anywhere in the value, so that the field's type could read it from there.
pub(crate) fn holds_ciphertext(value: &Value) -> bool {
    match value {
        Value::List(items) => items.iter().any(holds_ciphertext),
        Value::Map(entries) => entries.values().any(holds_ciphertext),
        Value::Text(text) => {
            ciphertext(value).is_some()
                || matches!(Value::from_json(text), Ok(json @ (Value::List(_) | Value::Map(_))) if holds_ciphertext(&json))
        }
        _ => false,
    }
}

/// Whether it is of the engine's format: `vault:v1:..`.
fn is_ciphertext(text: &str) -> bool {
    let rest = text.strip_prefix("vault:v").and_then(|rest| rest.split_once(':'));
    rest.is_some_and(|(version, text)| version.parse::<u32>().is_ok() && !text.is_empty())
}

fn other_results() -> Cause {
    Cause::new(
        ErrorKind::Protocol,
        "the answer does not have one result for each ciphertext",
        "run `vault write` to see what the path returns for batch_input, and check that the address is Vault's own",
    )
}

fn not_decrypted(error: Option<&str>, key: &str) -> Cause {
    let error = printable(error.unwrap_or("the answer has no plaintext"));
    Cause::new(
        ErrorKind::Invalid,
        format!("the ciphertext cannot be decrypted: {error}"),
        format!(
            "encrypt the value again with the key \"{key}\"; a ciphertext of an older version than the key's \
             min_decryption_version is no longer decrypted"
        ),
    )
}

/// In Vault mode, for a value that is not encrypted.
pub(crate) fn not_encrypted(source: &VaultSource, value: &Value) -> Cause {
    let cause = Cause::new(
        ErrorKind::Invalid,
        "the value is not encrypted: it does not begin with vault:v1: or another version",
        format!("encrypt it: {}", encryption_command(source)),
    );
    match holds_ciphertext(value) {
        true => cause.hint("a list or a map is one ciphertext: encrypt its JSON text"),
        false => cause,
    }
}

fn encryption_command(source: &VaultSource) -> String {
    let path = source.grant().path.replacen("/decrypt/", "/encrypt/", 1);
    format!("printf %s .. | base64 | vault write -field=ciphertext {path} plaintext=-")
}

/// In Vault mode, where no source has a ciphertext.
pub(crate) fn missing(source: &VaultSource, variables: &str, key: &str) -> Cause {
    let command = encryption_command(source);
    Cause::new(
        ErrorKind::Missing,
        "no source has a ciphertext for it",
        format!(
            "encrypt it: {command}; and set {variables} in the environment or in .env, or {key} in a \
             file, to the result"
        ),
    )
}

/// For a ciphertext that may be in the user's own figment, which is not read.
pub(crate) fn not_seen() -> Cause {
    Cause::new(
        ErrorKind::Schema,
        "no ciphertext in the environment: secrets for a figment of your own are decrypted only from there",
        "set its variable; or pass your figment to the loader with .figment(..), and call .load()",
    )
}

/// In local mode, for a ciphertext.
pub(crate) fn not_decryptable() -> Cause {
    Cause::new(
        ErrorKind::Invalid,
        "the value is encrypted, and local mode does not decrypt",
        "set VAULT_ADDR and a login method; or set a plain value for development",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ciphertext_is_of_the_engines_format() {
        for (text, is) in [
            ("vault:v1:8SDd3WHDOjf7mq69CyCqYjBXAiQQAVZRkFM13ok481zoCmHnSeDX9vyf7w==", true),
            ("vault:v12:x", true),
            ("vault:v1:", false),
            ("vault:vx:abc", false),
            ("vault:abc", false),
            ("hunter2", false),
            (" vault:v1:abc", false),
            ("", false),
        ] {
            assert_eq!(is_ciphertext(text), is, "{text}");
        }
    }
}

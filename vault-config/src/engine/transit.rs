//! Ciphertext that is decrypted: <https://openbao.org/api-docs/secret/transit/#decrypt-data>.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use secrecy::zeroize::Zeroizing;
use serde_json::json;

use super::{Answer, Ask, Asked, Declare, Engine, Request, Scope, refused};
use crate::error::{Cause, ErrorKind};
use crate::value::Value;
use crate::vault::{Grant, Response, Session};

/// `transit = "key"`, as written.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Transit {
    pub key: &'static str,
    pub mount: Option<&'static str>,
}

#[derive(Debug, Clone)]
struct Field {
    mount: String,
    key: String,
    /// What is decrypted, and where it was found.
    found: Option<(String, String)>,
}

impl Declare for Transit {
    fn bind(&self, scope: &Scope<'_>) -> Result<Arc<dyn Engine>, Cause> {
        let mount = scope.fill(self.mount.unwrap_or("transit"))?;
        Ok(Arc::new(Field { mount, key: scope.fill(self.key)?, found: None }))
    }
}

impl Engine for Field {
    fn source(&self) -> String {
        let of = self.found.as_ref().map_or_else(String::new, |(_, place)| format!(" of {place}"));
        format!("transit {}/{}{of}", self.mount, self.key)
    }

    fn request(&self) -> Request {
        let batch = self.found.iter().map(|(ciphertext, _)| ciphertext.clone()).collect();
        Request::new(Batch { mount: self.mount.clone(), key: self.key.clone(), batch })
    }

    fn pick(&self, answer: &Answer) -> Result<Value, Cause> {
        let result = self.found.as_ref().and_then(|(text, _)| answer.data.get(text));
        let text = |name| result.and_then(|result| result.get(name)).and_then(Value::as_str);
        // Beside an error there is an empty plaintext.
        let (None, Some(encoded)) = (text("error"), text("plaintext")) else {
            return Err(not_decrypted(text("error"), &self.key));
        };
        let bytes = BASE64_STANDARD.decode(encoded).map(Zeroizing::new);
        match bytes.as_ref().map(|bytes| std::str::from_utf8(bytes)) {
            Ok(Ok(text)) => Ok(Value::text(text)),
            _ => Err(Cause::new(
                ErrorKind::WrongType,
                "what it decrypts to is not text in UTF-8",
                "encrypt the base64 of bytes as text, and decode it in your own type",
            )),
        }
    }

    fn key(&self) -> Option<&str> {
        self.found.as_ref().map(|(ciphertext, _)| ciphertext.as_str())
    }

    fn decrypts(&self) -> bool {
        true
    }

    fn of(&self, ciphertext: &str, place: &str) -> Option<Arc<dyn Engine>> {
        let found = Some((ciphertext.to_owned(), place.to_owned()));
        Some(Arc::new(Self { found, ..self.clone() }))
    }

    fn grant(&self) -> Grant {
        Grant::update(format!("{}/decrypt/{}", self.mount, self.key))
    }
}

/// The ciphertext that a value is, without what an editor put around it.
pub(crate) fn ciphertext(value: &Value) -> Option<&str> {
    value.as_str().map(str::trim).filter(|text| is_ciphertext(text))
}

/// Whether a type could read a ciphertext out of it.
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

/// Whether it is what the engine makes: `vault:v1:..`.
fn is_ciphertext(text: &str) -> bool {
    let rest = text.strip_prefix("vault:v").and_then(|rest| rest.split_once(':'));
    rest.is_some_and(|(version, text)| version.parse::<u32>().is_ok() && !text.is_empty())
}

/// All that one key decrypts.
#[derive(Debug, Clone)]
struct Batch {
    mount: String,
    key: String,
    batch: Vec<String>,
}

impl Ask for Batch {
    fn id(&self) -> String {
        format!("transit {:?}", (&self.mount, &self.key))
    }

    fn name(&self) -> String {
        format!("{}/decrypt/{}", self.mount, self.key)
    }

    fn send<'a>(&'a self, session: &'a Session<'a>) -> Asked<'a, Answer> {
        Box::pin(self.decrypt(session))
    }

    /// What is decrypted lies here and not there.
    fn can_change(&self) -> bool {
        false
    }

    fn mints(&self) -> bool {
        false
    }

    fn batch(&self) -> &[String] {
        &self.batch
    }

    fn of(&self, batch: Vec<String>) -> Option<Arc<dyn Ask>> {
        Some(Arc::new(Self { batch, ..self.clone() }))
    }
}

impl Batch {
    async fn decrypt(&self, session: &Session<'_>) -> Result<Answer, Cause> {
        let input: Vec<_> = self.batch.iter().map(|text| json!({ "ciphertext": text })).collect();
        let path = format!("{}/decrypt/{}", self.mount, self.key);
        let body = json!({ "batch_input": input });
        let mut reply = session.post(&path, &body, session.request_policy.repeat).await?;
        // Where one of them cannot be decrypted, the answer is a 400 with all the results.
        let Some(results) = results(&mut reply).filter(|it| it.len() == self.batch.len()) else {
            return Err(self.refused(reply, &path));
        };
        let data = self.batch.iter().cloned().zip(results).collect();
        Ok(Answer::new(Value::Map(data), None, reply))
    }

    fn refused(&self, reply: Response, path: &str) -> Cause {
        if reply.ok() {
            return other_results();
        }
        let words = reply.words();
        let (mount, key) = (&self.mount, &self.key);
        if reply.status == 400 && words.contains("encryption key not found") {
            let help = format!(
                "name the right key: vault list {mount}/keys; or make it: vault write -f {mount}/keys/{key}"
            );
            return Cause::new(ErrorKind::RoleAbsent, words, help);
        }
        refused(reply, &Grant::update(path), &format!("{mount}/keys"))
    }
}

fn results(reply: &mut Response) -> Option<Vec<Value>> {
    match reply.take_data()?.remove("batch_results")? {
        Value::List(results) => Some(results),
        _ => None,
    }
}

fn other_results() -> Cause {
    Cause::new(
        ErrorKind::Protocol,
        "the answer has not one result for each ciphertext",
        "see with `vault write` what the path answers to batch_input, and that the address is Vault's own",
    )
}

fn not_decrypted(error: Option<&str>, key: &str) -> Cause {
    let error = crate::http::reply::printable(error.unwrap_or("the answer has no plaintext"));
    Cause::new(
        ErrorKind::Invalid,
        format!("it is not decrypted: {error}"),
        format!(
            "encrypt it anew with the key \"{key}\"; a ciphertext of an older version than the key's \
             min_decryption_version is not decrypted any more"
        ),
    )
}

/// A value that is not encrypted, where Vault is in use.
pub(crate) fn not_encrypted(engine: &dyn Engine, value: &Value) -> Cause {
    let cause = Cause::new(
        ErrorKind::Invalid,
        "the value is not encrypted: it does not begin with vault:v1: or the like",
        format!("encrypt it: {}", encryption(engine)),
    );
    match holds_ciphertext(value) {
        true => cause.hint("a list or a map is one ciphertext: encrypt its JSON text"),
        false => cause,
    }
}

/// The command that encrypts.
fn encryption(engine: &dyn Engine) -> String {
    let path = engine.grant().path.replacen("/decrypt/", "/encrypt/", 1);
    format!("printf %s .. | base64 | vault write -field=ciphertext {path} plaintext=-")
}

/// No source has a ciphertext, and a plain value would be refused.
pub(crate) fn missing(engine: &dyn Engine, variables: &str, key: &str) -> Cause {
    let command = encryption(engine);
    Cause::new(
        ErrorKind::Missing,
        "no source has a ciphertext for it",
        format!(
            "encrypt it: {command}; and set {variables} in the environment or in .env, or {key} in a \
             file, to that"
        ),
    )
}

/// The ciphertext may be in a figment that is not looked into.
pub(crate) fn not_seen() -> Cause {
    Cause::new(
        ErrorKind::Schema,
        "what is to be decrypted is looked for in the environment alone when secrets are resolved \
         for a figment of your own, and is not there",
        "set its variable; or give your figment to the loader, .figment(..), and call .load()",
    )
}

/// A ciphertext, where there is no Vault.
pub(crate) fn not_decryptable() -> Cause {
    Cause::new(
        ErrorKind::Invalid,
        "the value is encrypted, and in local mode nothing decrypts it",
        "set VAULT_ADDR and a way to log in; or give it a plain value for development",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_makes_is_told_from_all_else() {
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

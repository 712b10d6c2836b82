//! One field's source in Vault.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::transit::Ciphertext;
use super::{EngineResponse, Operation, Refresh, VaultRequest};
use crate::error::{Cause, ErrorKind};
use crate::value::Value;
use crate::vault::Grant;

/// What is requested for a field, and which part of the response is the field's.
#[derive(Debug, Clone)]
pub(crate) struct VaultSource {
    /// Names the engine and the path, such as `kv secret/my-app`.
    label: String,
    /// The field's own namespace, if it has one.
    namespace: Option<String>,
    operation: Arc<dyn Operation>,
    part: Part,
    refresh: Option<Refresh>,
    grant: Grant,
}

/// The part of a response that one field uses.
#[derive(Debug, Clone)]
pub(super) enum Part {
    Whole,
    Key(String),
    /// The parts of one credential, without whatever else the response holds.
    Keys(&'static [&'static str]),
    /// The plaintext of this ciphertext.
    Ciphertext(Ciphertext),
}

impl Part {
    pub(super) fn of_key(key: Option<&str>) -> Self {
        key.map_or(Self::Whole, |key| Self::Key(key.to_owned()))
    }
}

impl VaultSource {
    pub(super) fn new(
        label: String,
        operation: impl Operation + 'static,
        part: Part,
        grant: Grant,
    ) -> Self {
        let operation = Arc::new(operation);
        Self { label, namespace: None, operation, part, refresh: None, grant }
    }

    pub(super) fn with_refresh(self, refresh: Option<Refresh>) -> Self {
        Self { refresh, ..self }
    }

    pub(super) fn with_namespace(self, namespace: Option<String>) -> Self {
        Self { namespace, ..self }
    }

    /// The name in errors and reports, such as `kv secret/my-app#port`.
    pub(crate) fn name(&self) -> String {
        let Self { label, part, .. } = self;
        let name = match part {
            Part::Key(key) => format!("{label}#{key}"),
            Part::Ciphertext(Ciphertext { found: Some(found), .. }) => {
                format!("{label} of {}", found.place)
            }
            _ => label.clone(),
        };
        in_namespace(name, self.namespace.as_deref())
    }

    /// Fields with equal requests share one response.
    pub(crate) fn request(&self) -> VaultRequest {
        let ciphertexts = match &self.part {
            Part::Ciphertext(Ciphertext { found: Some(found), .. }) => {
                BTreeSet::from([found.text.clone()])
            }
            _ => BTreeSet::new(),
        };
        VaultRequest::new(self.namespace.clone(), Arc::clone(&self.operation), ciphertexts)
    }

    /// This field's part of the response.
    pub(crate) fn pick(&self, response: &EngineResponse) -> Result<Value, Cause> {
        match &self.part {
            Part::Whole => Ok(response.data.clone()),
            Part::Key(key) => response.key(key),
            Part::Keys(keys) => pick_all(keys, response),
            Part::Ciphertext(ciphertext) => ciphertext.plaintext(response),
        }
    }

    /// The key of the response that this field uses; `None` if it uses all keys.
    pub(crate) fn key(&self) -> Option<&str> {
        match &self.part {
            Part::Whole | Part::Keys(_) => None,
            Part::Key(key) => Some(key),
            Part::Ciphertext(Ciphertext { found, .. }) => {
                found.as_ref().map(|found| found.text.as_str())
            }
        }
    }

    /// How often the source is read again, where the field sets it.
    pub(crate) fn refresh(&self) -> Option<Refresh> {
        self.refresh
    }

    /// Whether the sources outside of Vault hold a ciphertext for it.
    pub(crate) fn decrypts(&self) -> bool {
        matches!(self.part, Part::Ciphertext(_))
    }

    /// The same source for a ciphertext that was found at `place`; `None` if it does not decrypt.
    pub(crate) fn for_ciphertext(&self, ciphertext: &str, place: &str) -> Option<Arc<Self>> {
        let Part::Ciphertext(part) = &self.part else { return None };
        let part = Part::Ciphertext(part.found_at(ciphertext, place));
        Some(Arc::new(Self { part, ..self.clone() }))
    }

    /// What a policy of the token has to allow.
    pub(crate) fn grant(&self) -> Grant {
        Grant { namespace: self.namespace.clone(), ..self.grant.clone() }
    }
}

/// One part that is absent makes the response invalid: the credential itself is there.
fn pick_all(keys: &[&str], response: &EngineResponse) -> Result<Value, Cause> {
    let pick =
        |key: &str| response.key(key).map_err(|cause| Cause { kind: ErrorKind::Protocol, ..cause });
    let parts = keys.iter().map(|key| Ok(((*key).to_owned(), pick(key)?)));
    parts.collect::<Result<_, _>>().map(Value::Map)
}

pub(super) fn in_namespace(name: String, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("{name} in namespace {namespace}"),
        None => name,
    }
}

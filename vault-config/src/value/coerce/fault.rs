//! Why a value cannot be read as a type.

use std::fmt;

use secrecy::zeroize::Zeroizing;
use serde::de::{self, Expected, Unexpected};

use crate::text::listed;

/// Why a value cannot be read. `Display` and `Debug` never quote the value.
#[doc(hidden)]
#[derive(thiserror::Error)]
#[error("{safe}")]
pub struct Fault {
    safe: String,
    /// The type's own message. It may quote the value, as that of `Url` does, so that only plain fields
    /// show it.
    own: Option<Zeroizing<String>>,
    /// Whether the type is read from JSON if the value is text.
    wants_json: bool,
}

impl Fault {
    pub(super) fn safe(message: impl Into<String>) -> Self {
        Self { safe: message.into(), own: None, wants_json: false }
    }

    pub(super) fn not_json(message: impl Into<String>) -> Self {
        Self { wants_json: true, ..Self::safe(message) }
    }

    /// The message for a plain field: the type's own, if it has one.
    pub(crate) fn open(&self) -> &str {
        self.own.as_deref().map_or(&self.safe, |own| own)
    }

    pub(crate) fn wants_json(&self) -> bool {
        self.wants_json
    }

    /// The message for a field marked for Vault.
    pub(crate) fn guarded(&self) -> &str {
        &self.safe
    }

    /// Adds the key to the messages. Within a JSON text, the key is a part of the secret, so only the message for plain
    /// fields names it.
    pub(super) fn under(mut self, key: &str, in_text: bool) -> Self {
        let at = format!(" (at key \"{key}\")");
        self.own = Some(Zeroizing::new(format!("{}{at}", self.open())));
        if !in_text {
            self.safe.push_str(&at);
        }
        self
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fault").field(&self.safe).finish()
    }
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            safe:
                "the type refused the value (its own message is withheld: it may quote the value)"
                    .to_owned(),
            own: Some(Zeroizing::new(message.to_string())),
            wants_json: false,
        }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::safe(format!("invalid type: found {}, expected {expected}", kind(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::safe(format!("invalid value: {} that does not fit, expected {expected}", kind(found)))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::safe(format!("invalid length {length}, expected {expected}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::safe(format!("missing field `{field}`"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::safe(format!("duplicate field `{field}`"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::safe(format!("unknown variant, expected {}", one_of(expected)))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::safe(format!("a key the type does not know, expected {}", one_of(expected)))
    }
}

fn kind(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
        Unexpected::Float(_) => "a number",
        Unexpected::Char(_) | Unexpected::Str("") => "an empty string",
        Unexpected::Str(_) => "a string",
        Unexpected::Bytes(_) => "bytes",
        Unexpected::Unit => "null",
        Unexpected::Option => "an optional value",
        Unexpected::NewtypeStruct => "a newtype",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a map",
        Unexpected::Enum | Unexpected::UnitVariant => "a variant",
        Unexpected::NewtypeVariant | Unexpected::TupleVariant | Unexpected::StructVariant => {
            "a variant with data"
        }
        Unexpected::Other(_) => "a value",
    }
}

fn one_of(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        [name] => format!("`{name}`"),
        names => format!("one of {}", listed(names.iter().map(|name| format!("`{name}`")))),
    }
}

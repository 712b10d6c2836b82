//! One raw value of a source: text until a type asks for more, and wiped on drop.

pub(crate) mod coerce;

use std::collections::BTreeMap;

use secrecy::zeroize::Zeroizing;
use serde_json::value::RawValue;

/// JSON nests no deeper than this: `serde_json`'s own limit for typed parsing.
const MAX_DEPTH: usize = 128;

/// A number keeps its text, so that `1.10` in KV is still `1.10` for a `SecretString`.
#[derive(Clone, Default, PartialEq)]
pub(crate) enum Value {
    #[default]
    Null,
    Bool(bool),
    Number(Zeroizing<String>),
    Text(Zeroizing<String>),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
}

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(Zeroizing::new(text.into()))
    }

    /// Parses JSON without ever building an error that quotes it.
    pub(crate) fn from_json(json: &str) -> Result<Self, Malformed> {
        parse(serde_json::from_str(json).map_err(|_| Malformed::Syntax)?, 0)
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_map(&self) -> Option<&BTreeMap<String, Value>> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.as_map()?.get(key)
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Value> {
        match self {
            Self::Map(map) => map.remove(key),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether `message` repeats a text or a number of the value, or a line of one, that has at least
    /// `shortest` characters. Found are also texts that a type has trimmed, that `Debug` has escaped, and the
    /// parts of JSON in text.
    pub(crate) fn appears_in(&self, message: &str, shortest: usize) -> bool {
        match self {
            Self::Text(text) | Self::Number(text) => {
                text.lines().map(str::trim).any(|line| repeats(message, line, shortest))
                    || Self::from_json(text).is_ok_and(|json| match json {
                        Self::List(_) | Self::Map(_) => json.appears_in(message, shortest),
                        _ => false,
                    })
            }
            Self::List(items) => items.iter().any(|item| item.appears_in(message, shortest)),
            Self::Map(entries) => entries.values().any(|entry| entry.appears_in(message, shortest)),
            Self::Null | Self::Bool(_) => false,
        }
    }

    /// The same for the keys of maps: inside a secret value, they are secret too.
    pub(crate) fn has_key_in(&self, message: &str, shortest: usize) -> bool {
        match self {
            Self::List(items) => items.iter().any(|item| item.has_key_in(message, shortest)),
            Self::Map(entries) => entries.iter().any(|(key, entry)| {
                repeats(message, key, shortest) || entry.has_key_in(message, shortest)
            }),
            _ => false,
        }
    }

    /// The kind of the value, for errors, which never show the value itself.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(text) if text.is_empty() => "an empty string",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// Not derived: a value may be a secret.
impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}]", self.kind())
    }
}

fn repeats(message: &str, line: &str, shortest: usize) -> bool {
    if line.len() < shortest.max(1) {
        return false;
    }
    let escaped = Zeroizing::new(line.escape_debug().to_string());
    message.contains(line) || message.contains(escaped.as_str())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("is not JSON")]
    Syntax,
    #[error("nests deeper than {MAX_DEPTH} levels")]
    Depth,
}

fn parse(raw: &RawValue, depth: usize) -> Result<Value, Malformed> {
    if depth > MAX_DEPTH {
        return Err(Malformed::Depth);
    }
    let json = raw.get();
    Ok(match json.as_bytes().first() {
        Some(b'"') => Value::Text(Zeroizing::new(typed(json)?)),
        Some(b'{') => Value::Map(
            typed::<BTreeMap<String, &RawValue>>(json)?
                .into_iter()
                .map(|(key, raw)| Ok((key, parse(raw, depth + 1)?)))
                .collect::<Result<_, _>>()?,
        ),
        Some(b'[') => Value::List(
            typed::<Vec<&RawValue>>(json)?
                .into_iter()
                .map(|raw| parse(raw, depth + 1))
                .collect::<Result<_, _>>()?,
        ),
        Some(b't' | b'f') => Value::Bool(typed(json)?),
        Some(b'n') => Value::Null,
        _ => Value::Number(Zeroizing::new(json.to_owned())),
    })
}

fn typed<'a, T: serde::Deserialize<'a>>(json: &'a str) -> Result<T, Malformed> {
    serde_json::from_str(json).map_err(|_| Malformed::Syntax)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_text() {
        let value =
            Value::from_json(r#"{"a":1.10,"b":123456789012345678901234567890,"c":-0}"#).unwrap();
        for (key, text) in [("a", "1.10"), ("b", "123456789012345678901234567890"), ("c", "-0")] {
            assert!(
                matches!(value.get(key), Some(Value::Number(n)) if n.as_str() == text),
                "{key}"
            );
        }
    }

    #[test]
    fn too_deep_is_an_error_and_not_a_stack_overflow() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Value::from_json(&deep).unwrap_err(), Malformed::Depth);
    }

    #[test]
    fn debug_shows_the_kind_only() {
        assert_eq!(format!("{:?}", Value::text("hunter2")), "[a string]");
    }
}

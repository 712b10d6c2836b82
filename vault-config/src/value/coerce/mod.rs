//! Reads one raw value as the type of a field. Text becomes what the type asks for, and no error quotes the value.

use std::cell::RefCell;

pub use self::fault::Fault;
use crate::leased::LeaseInfo;
use crate::value::Value;

mod collections;
mod deserializer;
mod fault;
mod lease;
mod scalars;
mod variants;

/// Reads one field. Without a value it shows whether the type accepts absence, as `Option` does.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct FieldDeserializer<'a> {
    value: Option<&'a Value>,
    /// Where to write the value in the shape of the type: see [`shaped`](Self::shaped).
    shape: Option<&'a RefCell<Value>>,
    /// Whether the value is part of a JSON text. Such a text is a secret as a whole, with its keys.
    in_text: bool,
    lease: Option<LeaseInfo>,
}

impl<'a> FieldDeserializer<'a> {
    pub(crate) fn new(value: &'a Value) -> Self {
        Self { value: Some(value), shape: None, in_text: false, lease: None }
    }

    pub(crate) fn absent() -> Self {
        Self { value: None, shape: None, in_text: false, lease: None }
    }

    /// Also writes the value to `shape` in the shape that the type asks for: `"5432"` read as a `u16` is the
    /// number 5432.
    pub(crate) fn shaped(value: &'a Value, shape: &'a RefCell<Value>) -> Self {
        Self { value: Some(value), shape: Some(shape), in_text: false, lease: None }
    }

    /// Adds the lease, for a type that asks for it.
    pub(crate) fn with_lease(self, lease: Option<LeaseInfo>) -> Self {
        Self { lease, ..self }
    }

    /// The value; a fault if the field is absent.
    fn present(&self) -> Result<&'a Value, Fault> {
        self.value.ok_or_else(|| Fault::safe("there is no value"))
    }

    /// Writes to `shape`, if the caller wants it.
    fn keep(&self, shape: impl FnOnce() -> Value) {
        if let Some(slot) = self.shape {
            *slot.borrow_mut() = shape();
        }
    }

    /// Parses JSON in text, as which the environment and `vault kv put` hold lists, maps and enums.
    fn structured(&self, opening: &[char]) -> Result<StructuredInput<'a>, Fault> {
        let value = self.present()?;
        if let Value::Text(text) = value
            && text.trim_start().starts_with(opening)
            && let Ok(parsed) = Value::from_json(text)
        {
            return Ok(StructuredInput::Parsed(parsed));
        }
        Ok(StructuredInput::AsIs(value))
    }

    /// Marks the value as part of a JSON text if `input` was parsed from one.
    fn within(self, input: &StructuredInput<'_>) -> Self {
        Self { in_text: self.in_text || matches!(input, StructuredInput::Parsed(_)), ..self }
    }
}

/// Whether a field's type accepts absence.
#[doc(hidden)]
pub fn accepts_absence<T>(
    read: impl for<'d> FnOnce(FieldDeserializer<'d>) -> Result<T, Fault>,
) -> bool {
    read(FieldDeserializer::absent()).is_ok()
}

/// The value of a list, a map or an enum: the value itself, or the JSON in its text.
enum StructuredInput<'a> {
    AsIs(&'a Value),
    Parsed(Value),
}

impl StructuredInput<'_> {
    fn value(&self) -> &Value {
        match self {
            Self::AsIs(value) => value,
            Self::Parsed(value) => value,
        }
    }
}

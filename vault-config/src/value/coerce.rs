//! Reads one raw value as the type of a field. Text becomes what the type asks for, and no error quotes the value.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use secrecy::zeroize::Zeroizing;
use serde::de::value::StringDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};

use crate::leased::{self, LeaseInfo};
use crate::text::listed;
use crate::value::Value;

/// Reads one field. Without a value it shows whether the type accepts absence, as `Option` does.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct FieldDeserializer<'a> {
    value: Option<&'a Value>,
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

    /// Also writes the value to `shape` in the shape that the type asks for: `"5432"` read as a `u16`
    /// is the number 5432.
    pub(crate) fn shaped(value: &'a Value, shape: &'a RefCell<Value>) -> Self {
        Self { value: Some(value), shape: Some(shape), in_text: false, lease: None }
    }

    /// Adds the lease, for a type that asks for it.
    pub(crate) fn with_lease(self, lease: Option<LeaseInfo>) -> Self {
        Self { lease, ..self }
    }

    fn present(&self) -> Result<&'a Value, Fault> {
        self.value.ok_or_else(|| Fault::safe("there is no value"))
    }

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

    fn within(self, input: &StructuredInput<'_>) -> Self {
        Self { in_text: self.in_text || matches!(input, StructuredInput::Parsed(_)), ..self }
    }
}

/// A value, then its lease.
struct ValueAndLease<'a> {
    value: Option<FieldDeserializer<'a>>,
    lease: Option<LeaseInfo>,
}

impl<'de> SeqAccess<'de> for ValueAndLease<'_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        if let Some(value) = self.value.take() {
            return seed.deserialize(value).map(Some);
        }
        let Some(lease) = self.lease.take() else { return Ok(None) };
        let number = |seconds: Option<u64>| match seconds {
            Some(seconds) => Value::Number(Zeroizing::new(seconds.to_string())),
            None => Value::Null,
        };
        let since_epoch = |moment: SystemTime| moment.duration_since(SystemTime::UNIX_EPOCH).ok();
        let lease = Value::List(vec![
            number(lease.ttl.map(|ttl| ttl.as_secs())),
            number(lease.expires_at.and_then(since_epoch).map(|since| since.as_secs())),
            Value::Bool(lease.renewable),
        ]);
        seed.deserialize(FieldDeserializer::new(&lease)).map(Some)
    }
}

/// Whether a field's type accepts absence.
#[doc(hidden)]
pub fn accepts_absence<T>(
    read: impl for<'d> FnOnce(FieldDeserializer<'d>) -> Result<T, Fault>,
) -> bool {
    read(FieldDeserializer::absent()).is_ok()
}

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
    fn safe(message: impl Into<String>) -> Self {
        Self { safe: message.into(), own: None, wants_json: false }
    }

    fn not_json(message: impl Into<String>) -> Self {
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

macro_rules! numbers {
    ($($method:ident => $($parse:ty : $visit:ident),+;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            let value = self.present()?;
            if let Value::Number(text) | Value::Text(text) = value {
                $(if let Ok(number) = text.trim().parse::<$parse>() {
                    self.keep(|| Value::Number(Zeroizing::new(number.to_string())));
                    return visitor.$visit(number);
                })+
            }
            self.deserialize_any(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for FieldDeserializer<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.present()? {
            Value::Null => {
                self.keep(|| Value::Null);
                visitor.visit_unit()
            }
            Value::Bool(value) => {
                self.keep(|| Value::Bool(*value));
                visitor.visit_bool(*value)
            }
            Value::Number(text) => {
                self.keep(|| Value::Number(text.clone()));
                visit_number(text, visitor)
            }
            Value::Text(text) => {
                self.keep(|| Value::Text(text.clone()));
                visitor.visit_str(text)
            }
            Value::List(items) => visit_list(self, items, visitor),
            Value::Map(entries) => visit_map(self, entries, visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let (Value::Number(text) | Value::Text(text)) = self.present()? else {
            return self.deserialize_any(visitor);
        };
        let Some(value) = switch(text) else {
            return Err(Fault::safe("it is not one of true, false, yes, no, on, off, 1 and 0"));
        };
        self.keep(|| Value::Bool(value));
        visitor.visit_bool(value)
    }

    numbers! {
        deserialize_u8 => u64: visit_u64, i64: visit_i64;
        deserialize_u16 => u64: visit_u64, i64: visit_i64;
        deserialize_u32 => u64: visit_u64, i64: visit_i64;
        deserialize_u64 => u64: visit_u64, i64: visit_i64;
        deserialize_i8 => i64: visit_i64, u64: visit_u64;
        deserialize_i16 => i64: visit_i64, u64: visit_u64;
        deserialize_i32 => i64: visit_i64, u64: visit_u64;
        deserialize_i64 => i64: visit_i64, u64: visit_u64;
        deserialize_u128 => u128: visit_u128;
        deserialize_i128 => i128: visit_i128;
        deserialize_f32 => f64: visit_f64;
        deserialize_f64 => f64: visit_f64;
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let text = match self.present()? {
            Value::Number(text) => text.as_str(),
            Value::Bool(true) => "true",
            Value::Bool(false) => "false",
            _ => return self.deserialize_any(visitor),
        };
        self.keep(|| Value::text(text));
        visitor.visit_str(text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.present()? {
            Value::Text(text) => {
                self.keep(|| Value::Text(text.clone()));
                visitor.visit_bytes(text.as_bytes())
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            None => visitor.visit_none(),
            Some(Value::Null) => {
                self.keep(|| Value::Null);
                visitor.visit_none()
            }
            Some(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        // `Leased` passes an absence on to its type. Any other newtype needs a value.
        if name != leased::NAME {
            self.present()?;
        }
        match self.lease.filter(|_| name == leased::NAME) {
            Some(lease) => {
                visitor.visit_seq(ValueAndLease { value: Some(self), lease: Some(lease) })
            }
            None => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let input = self.structured(&['['])?;
        match input.value() {
            Value::List(items) => visit_list(self.within(&input), items, visitor),
            other => Err(Fault::not_json(format!(
                "invalid type: found {}, expected {}; a list in text is JSON, such as [\"a\", \"b\"]",
                other.kind(),
                &visitor as &dyn Expected
            ))),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let input = self.structured(&['{', '['])?;
        match input.value() {
            Value::Map(entries) => visit_map(self.within(&input), entries, visitor),
            // serde reads a struct from a list of its fields, too.
            Value::List(items) => visit_list(self.within(&input), items, visitor),
            other => Err(Fault::not_json(format!(
                "invalid type: found {}, expected {}; a map in text is JSON, such as {{\"key\": \"value\"}}",
                other.kind(),
                &visitor as &dyn Expected
            ))),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let input = self.structured(&['{'])?;
        match input.value() {
            Value::Map(entries) => match entries.iter().next() {
                Some((name, value)) if entries.len() == 1 => {
                    let shape = RefCell::default();
                    let built = visitor.visit_enum(EnumVariant {
                        name,
                        inner: Some(FieldDeserializer {
                            value: Some(value),
                            shape: self.shape.map(|_| &shape),
                            ..self.within(&input)
                        }),
                    })?;
                    self.keep(|| Value::Map([(name.clone(), shape.take())].into()));
                    Ok(built)
                }
                _ => Err(Fault::safe("a variant with data is a map with exactly one key")),
            },
            Value::Text(name) | Value::Number(name) => {
                self.keep(|| Value::Text(name.clone()));
                visitor.visit_enum(EnumVariant { name, inner: None })
            }
            other => Err(Fault::safe(format!(
                "invalid type: found {}, expected a variant",
                other.kind()
            ))),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let value = self.present()?;
        self.keep(|| value.clone());
        visitor.visit_unit()
    }
}

fn switch(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| text.trim().eq_ignore_ascii_case(word));
    if is(&["true", "1", "yes", "on"]) {
        return Some(true);
    }
    is(&["false", "0", "no", "off"]).then_some(false)
}

fn visit_number<'de, V: Visitor<'de>>(text: &str, visitor: V) -> Result<V::Value, Fault> {
    if let Ok(number) = text.parse::<u64>() {
        return visitor.visit_u64(number);
    }
    if let Ok(number) = text.parse::<i64>() {
        return visitor.visit_i64(number);
    }
    match text.parse::<f64>() {
        Ok(number) => visitor.visit_f64(number),
        Err(_) => visitor.visit_str(text),
    }
}

fn visit_list<'de, V: Visitor<'de>>(
    field: FieldDeserializer<'_>,
    items: &[Value],
    visitor: V,
) -> Result<V::Value, Fault> {
    let kept = field.shape.map(|_| RefCell::default());
    let mut left = items.iter();
    let built = visitor.visit_seq(ListItems {
        left: left.by_ref(),
        kept: kept.as_ref(),
        in_text: field.in_text,
    })?;
    if left.len() > 0 {
        return Err(Fault::safe(format!("invalid length: {} items are too many", items.len())));
    }
    field.keep(|| Value::List(kept.map(RefCell::into_inner).unwrap_or_default()));
    Ok(built)
}

fn visit_map<'de, V: Visitor<'de>>(
    field: FieldDeserializer<'_>,
    entries: &BTreeMap<String, Value>,
    visitor: V,
) -> Result<V::Value, Fault> {
    let kept = field.shape.map(|_| RefCell::default());
    let built = visitor.visit_map(MapEntries {
        left: entries.iter(),
        current: None,
        kept: kept.as_ref(),
        in_text: field.in_text,
    })?;
    field.keep(|| Value::Map(kept.map(RefCell::into_inner).unwrap_or_default()));
    Ok(built)
}

struct ListItems<'a, 'v> {
    left: &'a mut std::slice::Iter<'v, Value>,
    kept: Option<&'a RefCell<Vec<Value>>>,
    in_text: bool,
}

impl<'de> SeqAccess<'de> for ListItems<'_, '_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        let Some(value) = self.left.next() else {
            return Ok(None);
        };
        let shape = RefCell::default();
        let shape_of = self.kept.map(|_| &shape);
        let field = FieldDeserializer {
            value: Some(value),
            shape: shape_of,
            in_text: self.in_text,
            lease: None,
        };
        let item = seed.deserialize(field)?;
        if let Some(kept) = self.kept {
            kept.borrow_mut().push(shape.take());
        }
        Ok(Some(item))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.len())
    }
}

struct MapEntries<'a, 'v> {
    left: std::collections::btree_map::Iter<'v, String, Value>,
    current: Option<(&'v String, &'v Value)>,
    kept: Option<&'a RefCell<BTreeMap<String, Value>>>,
    in_text: bool,
}

impl<'de> MapAccess<'de> for MapEntries<'_, '_> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        self.current = self.left.next();
        match self.current {
            // Keys are coerced as values are: some maps have numbers or unit variants as keys.
            Some((key, _)) => seed.deserialize(FieldDeserializer::new(&Value::text(key))).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let Some((key, value)) = self.current.take() else {
            return Err(Fault::safe("a value was asked for before its key"));
        };
        let shape = RefCell::default();
        let shape_of = self.kept.map(|_| &shape);
        let field = FieldDeserializer {
            value: Some(value),
            shape: shape_of,
            in_text: self.in_text,
            lease: None,
        };
        let item = seed.deserialize(field).map_err(|fault| fault.under(key, self.in_text))?;
        if let Some(kept) = self.kept {
            kept.borrow_mut().insert(key.clone(), shape.take());
        }
        Ok(item)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.len())
    }
}

impl Fault {
    fn under(mut self, key: &str, in_text: bool) -> Self {
        let at = format!(" (at key \"{key}\")");
        self.own = Some(Zeroizing::new(format!("{}{at}", self.open())));
        if !in_text {
            self.safe.push_str(&at);
        }
        self
    }
}

struct EnumVariant<'a> {
    name: &'a str,
    inner: Option<FieldDeserializer<'a>>,
}

impl<'de> EnumAccess<'de> for EnumVariant<'_> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Fault> {
        let name: StringDeserializer<Fault> = self.name.to_owned().into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for EnumVariant<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match self.inner {
            None => Ok(()),
            Some(_) => Err(Fault::safe("this variant takes no data")),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(self.data()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.data()?.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.data()?.deserialize_map(visitor)
    }
}

impl<'a> EnumVariant<'a> {
    fn data(self) -> Result<FieldDeserializer<'a>, Fault> {
        self.inner.ok_or_else(|| Fault::safe("this variant needs data"))
    }
}

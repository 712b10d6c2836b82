//! The deserializer of one field: each method coerces the value to the kind of type that asks for it.

use std::cell::RefCell;

use secrecy::zeroize::Zeroizing;
use serde::de::{Deserializer, Expected, Visitor};

use super::collections::{visit_list, visit_map};
use super::lease::ValueAndLease;
use super::scalars::{numbers, switch, visit_number};
use super::variants::EnumVariant;
use super::{Fault, FieldDeserializer};
use crate::leased;
use crate::value::Value;

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

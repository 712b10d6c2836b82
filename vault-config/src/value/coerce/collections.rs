//! Lists and maps.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::{Fault, FieldDeserializer};
use crate::value::Value;

pub(super) fn visit_list<'de, V: Visitor<'de>>(
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

pub(super) fn visit_map<'de, V: Visitor<'de>>(
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

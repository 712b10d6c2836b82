//! Variants of an enum.

use serde::de::value::StringDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, VariantAccess, Visitor,
};

use super::{Fault, FieldDeserializer};

pub(super) struct EnumVariant<'a> {
    pub(super) name: &'a str,
    /// The data of the variant; `None` for a unit variant.
    pub(super) inner: Option<FieldDeserializer<'a>>,
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

//! The lease of a value, as `Leased` reads it.

use std::time::SystemTime;

use secrecy::zeroize::Zeroizing;
use serde::de::{DeserializeSeed, SeqAccess};

use super::{Fault, FieldDeserializer};
use crate::leased::LeaseInfo;
use crate::value::Value;

/// A value, then its lease.
pub(super) struct ValueAndLease<'a> {
    pub(super) value: Option<FieldDeserializer<'a>>,
    pub(super) lease: Option<LeaseInfo>,
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

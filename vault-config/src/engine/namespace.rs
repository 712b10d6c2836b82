//! A field's own namespace, whatever its engine.

use std::sync::Arc;

use super::{Answer, Engine, Refresh, Request};
use crate::error::Cause;
use crate::value::Value;
use crate::vault::Grant;

/// What `inner` asks for, in another namespace than the connection's.
#[derive(Debug)]
pub(crate) struct Within {
    pub(crate) namespace: String,
    pub(crate) inner: Arc<dyn Engine>,
}

impl Engine for Within {
    fn source(&self) -> String {
        named(self.inner.source(), Some(&self.namespace))
    }

    fn request(&self) -> Request {
        self.inner.request().within(&self.namespace)
    }

    fn pick(&self, answer: &Answer) -> Result<Value, Cause> {
        self.inner.pick(answer)
    }

    fn key(&self) -> Option<&str> {
        self.inner.key()
    }

    fn refresh(&self) -> Option<Refresh> {
        self.inner.refresh()
    }

    fn decrypts(&self) -> bool {
        self.inner.decrypts()
    }

    fn of(&self, ciphertext: &str, place: &str) -> Option<Arc<dyn Engine>> {
        let inner = self.inner.of(ciphertext, place)?;
        Some(Arc::new(Self { namespace: self.namespace.clone(), inner }))
    }

    fn grant(&self) -> Grant {
        Grant { namespace: Some(self.namespace.clone()), ..self.inner.grant() }
    }
}

/// What errors and reports call it.
pub(super) fn named(source: String, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("{source} in namespace {namespace}"),
        None => source,
    }
}

//! Any engine that answers a write.

use std::collections::{BTreeMap, BTreeSet};

use super::declaration::LocalShape;
use super::read::{roles, with_stated_life};
use super::{
    EngineResponse, FieldScope, Operation, OperationFuture, Part, Refresh, VaultSource, refusal,
};
use crate::error::{Cause, ErrorKind};
use crate::http::Idempotency;
use crate::vault::{Grant, Session};

/// `write = "path"` with `data(name = "value")`, as written.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Write {
    pub path: &'static str,
    pub data: &'static [(&'static str, &'static str)],
    pub key: Option<&'static str>,
    pub refresh: Option<Refresh>,
}

impl Write {
    pub(super) fn bind(&self, scope: &FieldScope<'_>) -> Result<VaultSource, Cause> {
        let path = scope.fill(self.path)?;
        let data = self.data.iter().map(|(name, value)| Ok((*name, scope.fill_text(value)?)));
        let data = data.collect::<Result<_, _>>()?;
        let (label, grant) = (format!("write {path}"), Grant::update(path.clone()));
        let write = PathWrite { path, data };
        let source = VaultSource::new(label, write, Part::of_key(self.key), grant);
        // A write repeats only if the field sets `refresh`.
        Ok(source.with_refresh(self.refresh.or(Some(Refresh::Never))))
    }

    pub(super) fn shape(&self) -> LocalShape {
        LocalShape::of_key(self.key)
    }
}

#[derive(Debug)]
struct PathWrite {
    path: String,
    data: BTreeMap<&'static str, String>,
}

impl Operation for PathWrite {
    fn id(&self) -> String {
        format!("write {:?}", (&self.path, &self.data))
    }

    fn name(&self) -> String {
        self.path.clone()
    }

    fn send<'a>(
        &'a self,
        session: &'a Session<'a>,
        _: &'a BTreeSet<String>,
    ) -> OperationFuture<'a, EngineResponse> {
        Box::pin(self.write(session))
    }
}

impl PathWrite {
    async fn write(&self, session: &Session<'_>) -> Result<EngineResponse, Cause> {
        let body = serde_json::json!(self.data);
        let mut reply = session.post(&self.path, &body, Idempotency::AtMostOnce).await?;
        if reply.status == 400 && !refusal::is_unknown_role(&reply) {
            let help = format!("correct the path or its data: vault path-help {}", self.path);
            return Err(reply.into_cause().with_help(help));
        }
        if reply.says_nothing() {
            return Err(without_body(reply.status));
        }
        if !reply.ok() {
            return Err(refusal::explain(reply, &Grant::update(&self.path), &roles(&self.path)));
        }
        match reply.take_data() {
            Some(data) if !data.is_null() => Ok(with_stated_life(EngineResponse::new(data, reply))),
            _ => Err(refusal::without_data("write")),
        }
    }
}

fn without_body(status: u16) -> Cause {
    Cause::new(
        ErrorKind::Protocol,
        format!("the path accepted the write and returned nothing (HTTP {status})"),
        "use a path that returns data; `read` and `kv` read stored data",
    )
}

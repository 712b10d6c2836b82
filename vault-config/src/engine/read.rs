//! Any engine by its logical path: a read, with the lease of the response.

use std::collections::BTreeSet;

use super::declaration::LocalShape;
use super::{
    EngineResponse, FieldScope, Operation, OperationFuture, Part, Refresh, VaultSource, refusal,
};
use crate::error::Cause;
use crate::http::reply::seconds;
use crate::vault::{Grant, Session};

/// `read = "path"` and its options, as written.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Read {
    pub path: &'static str,
    pub key: Option<&'static str>,
    pub refresh: Option<Refresh>,
}

impl Read {
    pub(super) fn bind(&self, scope: &FieldScope<'_>) -> Result<VaultSource, Cause> {
        let path = scope.fill(self.path)?;
        let (label, grant) = (format!("read {path}"), Grant::read(path.clone()));
        let source = VaultSource::new(label, PathRead { path }, Part::of_key(self.key), grant);
        Ok(source.with_refresh(self.refresh))
    }

    pub(super) fn shape(&self) -> LocalShape {
        LocalShape::of_key(self.key)
    }
}

/// Reads a path without any change to it.
#[derive(Debug)]
pub(super) struct PathRead {
    pub(super) path: String,
}

impl Operation for PathRead {
    fn id(&self) -> String {
        format!("read {}", self.path)
    }

    fn name(&self) -> String {
        self.path.clone()
    }

    fn send<'a>(
        &'a self,
        session: &'a Session<'a>,
        _: &'a BTreeSet<String>,
    ) -> OperationFuture<'a, EngineResponse> {
        Box::pin(read(session, &self.path))
    }
}

async fn read(session: &Session<'_>, path: &str) -> Result<EngineResponse, Cause> {
    let mut reply = session.get(path, None).await?;
    if !reply.ok() {
        return Err(refusal::explain(reply, &Grant::read(path), &roles(path)));
    }
    match reply.take_data() {
        Some(data) if !data.is_null() => Ok(with_stated_life(EngineResponse::new(data, reply))),
        _ => Err(refusal::without_data("read")),
    }
}

/// Tokens of Google Cloud and of OpenID Connect have no lease. Their data states how long they are
/// valid.
pub(super) fn with_stated_life(response: EngineResponse) -> EngineResponse {
    let is_token = response.data.get("token").is_some();
    let stated = |key| response.data.get(key).filter(|_| is_token);
    let life = seconds(stated("token_ttl").or_else(|| stated("ttl")));
    let life = (response.lease.is_none() && !life.is_zero()).then_some(life);
    EngineResponse { life, ..response }
}

/// The path that lists the roles of an engine, for `mount/creds/role` and the like.
pub(super) fn roles(path: &str) -> String {
    let mount = path.rsplitn(3, '/').last().unwrap_or_default();
    let kind = match path {
        path if path.contains("/static-creds/") => "static-roles",
        // The LDAP engine uses the singular.
        path if path.contains("/static-cred/") => "static-role",
        _ => "roles",
    };
    format!("{mount}/{kind}")
}

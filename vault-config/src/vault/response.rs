//! The answer to a request with a token: a finished reply, the lease in it, and the token it was given to.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::Held;
use super::policy::Grant;
use crate::error::{Cause, ErrorKind};
use crate::http::{Reply, seconds};
use crate::time::clock::Reading;
use crate::value::Value;

#[derive(Debug)]
pub(crate) struct Response {
    reply: Reply,
    pub(crate) issued: Issued,
    foreign_namespace: Option<ForeignNamespace>,
}

/// When an answer was requested, and with which token: both decide how long it is valid.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) at: Reading,
    pub(crate) token: Arc<Held>,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("at", &self.at).finish_non_exhaustive()
    }
}

/// The namespace of a request that goes to another namespace than the token's own.
#[derive(Debug)]
pub(crate) struct ForeignNamespace {
    pub(crate) name: String,
    /// How the paths of that namespace begin for the token's policies.
    pub(crate) policy_prefix: String,
}

/// Possession of the id is enough to renew the lease.
#[derive(Debug, Clone)]
pub(crate) struct LeaseId {
    pub(crate) id: SecretString,
    pub(crate) namespace: Option<String>,
}

/// A credential's lease.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) id: LeaseId,
    /// Zero: it never expires.
    pub(crate) ttl: Duration,
    pub(crate) renewable: bool,
}

impl Response {
    pub(super) fn new(
        reply: Reply,
        issued: Issued,
        foreign_namespace: Option<ForeignNamespace>,
    ) -> Self {
        Self { reply, issued, foreign_namespace }
    }

    /// KV v1 and tokens give a `lease_duration` without a lease: only an id makes it one.
    pub(crate) fn lease(&self) -> Option<Lease> {
        let json = self.json();
        let id = json.get("lease_id").and_then(Value::as_str).filter(|id| !id.is_empty())?;
        Some(Lease {
            id: LeaseId {
                id: id.into(),
                namespace: self.foreign_namespace.as_ref().map(|it| it.name.clone()),
            },
            ttl: seconds(json.get("lease_duration")),
            renewable: json.get("renewable").and_then(Value::as_bool).unwrap_or(false),
        })
    }

    /// Moves the data out, so that a secret is not held twice.
    pub(crate) fn take_data(&mut self) -> Option<Value> {
        self.reply.take_data()
    }

    pub(crate) fn denied(&self, grant: &Grant) -> Cause {
        let prefix = self.foreign_namespace.as_ref().map_or("", |it| it.policy_prefix.as_str());
        Cause::new(
            ErrorKind::Denied,
            self.said(),
            format!("let a policy of the token allow it:\n{}", grant.hcl(prefix)),
        )
    }

    pub(crate) fn into_cause(self) -> Cause {
        explained(self.reply.into_cause(), self.foreign_namespace)
    }

    /// See [`Reply::into_refusal`].
    pub(crate) fn into_refusal(self) -> Cause {
        explained(self.reply.into_refusal(), self.foreign_namespace)
    }
}

/// A namespace of the field's own is not the one that the settings name.
fn explained(cause: Cause, foreign_namespace: Option<ForeignNamespace>) -> Cause {
    match foreign_namespace {
        Some(ForeignNamespace { name, .. }) if cause.kind == ErrorKind::NamespaceAbsent => cause
            .with_help(format!("correct the namespace, or make it: vault namespace create {name}")),
        _ => cause,
    }
}

impl Deref for Response {
    type Target = Reply;

    fn deref(&self) -> &Reply {
        &self.reply
    }
}

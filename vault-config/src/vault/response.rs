//! The response to a request with a token: the HTTP reply, the lease in it, and the token that was used.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::TrackedToken;
use super::policy::Grant;
use crate::error::{Cause, ErrorKind};
use crate::http::{Reply, seconds};
use crate::time::clock::Reading;
use crate::value::Value;

/// A finished HTTP reply that was requested with a token. It dereferences to the reply.
#[derive(Debug)]
pub(crate) struct Response {
    reply: Reply,
    pub(crate) issued: Issued,
    foreign_namespace: Option<ForeignNamespace>,
}

/// When something was requested and with which token. Both limit how long it is valid: its lifetime counts
/// from the request, and it is revoked together with its token.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) at: Reading,
    pub(crate) token: Arc<TrackedToken>,
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
    /// The prefix of the namespace's paths in the token's policies.
    pub(crate) policy_prefix: String,
}

/// Names a lease. Possession of the id is enough to renew the lease, so it is kept like a secret.
#[derive(Debug, Clone)]
pub(crate) struct LeaseId {
    pub(crate) id: SecretString,
    pub(crate) namespace: Option<String>,
}

/// How long the server keeps a credential valid, as the response states it.
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

    /// `None` without a lease id: KV version 1 and tokens have a `lease_duration` but no lease.
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

    /// Moves the data out, so that a secret is not in memory twice.
    pub(crate) fn take_data(&mut self) -> Option<Value> {
        self.reply.take_data()
    }

    /// The error of a 403: its help is the policy stanza that would allow the request.
    pub(crate) fn denied(&self, grant: &Grant) -> Cause {
        let prefix = self.foreign_namespace.as_ref().map_or("", |it| it.policy_prefix.as_str());
        Cause::new(
            ErrorKind::Denied,
            self.said(),
            format!("add this to a policy of the token:\n{}", grant.hcl(prefix)),
        )
    }

    pub(crate) fn into_cause(self) -> Cause {
        with_namespace_help(self.reply.into_cause(), self.foreign_namespace)
    }

    /// See [`Reply::into_refusal`].
    pub(crate) fn into_refusal(self) -> Cause {
        with_namespace_help(self.reply.into_refusal(), self.foreign_namespace)
    }
}

/// The help of the HTTP layer names the namespace of the settings. A field with a namespace of its own needs
/// that name instead.
fn with_namespace_help(cause: Cause, foreign_namespace: Option<ForeignNamespace>) -> Cause {
    match foreign_namespace {
        Some(ForeignNamespace { name, .. }) if cause.kind == ErrorKind::NamespaceAbsent => cause
            .with_help(format!(
                "correct the namespace, or create it: vault namespace create {name}"
            )),
        _ => cause,
    }
}

impl Deref for Response {
    type Target = Reply;

    fn deref(&self) -> &Reply {
        &self.reply
    }
}

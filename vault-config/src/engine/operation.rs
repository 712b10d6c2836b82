//! How a request is sent, and which fields share it.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use super::vault_source::in_namespace;
use super::{EngineResponse, SecretVersion};
use crate::error::Cause;
use crate::text::sentence;
use crate::vault::{Session, Vault};

/// One kind of request to an engine, with all that it sends.
pub(super) trait Operation: Debug + Send + Sync {
    /// Equal for operations that get the same response.
    fn id(&self) -> String;

    /// Names the request in errors that belong to no single field.
    fn name(&self) -> String;

    /// `ciphertexts` are those of all fields that share the request. Only transit has any.
    fn send<'a>(
        &'a self,
        session: &'a Session<'a>,
        ciphertexts: &'a BTreeSet<String>,
    ) -> OperationFuture<'a, EngineResponse>;

    /// Whether the server holds another version by now; `None` if the token may not see that, or
    /// there are no versions.
    fn has_changed<'a>(
        &'a self,
        _: &'a Session<'a>,
        _version: &'a SecretVersion,
    ) -> OperationFuture<'a, Option<bool>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Whether the same request may get another response later.
    fn can_change(&self) -> bool {
        true
    }

    /// Whether each request issues a credential, which has to be revoked after use.
    fn issues_credential(&self) -> bool {
        true
    }
}

pub(super) type OperationFuture<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, Cause>> + Send + 'a>>;

/// An operation in a namespace. Fields with equal requests share one response.
#[derive(Debug, Clone)]
pub(crate) struct VaultRequest {
    /// `None` for the connection's own namespace.
    namespace: Option<String>,
    operation: Arc<dyn Operation>,
    ciphertexts: BTreeSet<String>,
}

impl VaultRequest {
    pub(super) fn new(
        namespace: Option<String>,
        operation: Arc<dyn Operation>,
        ciphertexts: BTreeSet<String>,
    ) -> Self {
        Self { namespace, operation, ciphertexts }
    }

    /// Drops a namespace that is the connection's own, so that the request is equal to those of fields
    /// without a namespace.
    pub(crate) fn relative_to(mut self, vault: &Vault) -> Self {
        self.namespace = self.namespace.filter(|own| own != vault.namespace().unwrap_or("root"));
        self
    }

    /// One request in place of two equal ones.
    pub(crate) fn join(mut self, other: &Self) -> Self {
        self.ciphertexts.extend(other.ciphertexts.iter().cloned());
        self
    }

    pub(crate) async fn send(&self, session: &Session<'_>) -> Result<EngineResponse, Cause> {
        let session = session.in_namespace(self.namespace.as_deref());
        self.operation.send(&session, &self.ciphertexts).await
    }

    /// See [`Operation::has_changed`].
    pub(crate) async fn has_changed(
        &self,
        session: &Session<'_>,
        version: &SecretVersion,
    ) -> Result<Option<bool>, Cause> {
        let session = session.in_namespace(self.namespace.as_deref());
        self.operation.has_changed(&session, version).await
    }

    pub(crate) fn can_change(&self) -> bool {
        self.operation.can_change()
    }

    pub(crate) fn name(&self) -> String {
        sentence(in_namespace(self.operation.name(), self.namespace.as_deref()))
    }

    pub(crate) fn issues_credential(&self) -> bool {
        self.operation.issues_credential()
    }

    /// Without the ciphertexts: one request decrypts them all.
    fn id(&self) -> (Option<&str>, String) {
        (self.namespace.as_deref(), self.operation.id())
    }
}

impl Ord for VaultRequest {
    fn cmp(&self, other: &Self) -> Ordering {
        self.id().cmp(&other.id())
    }
}

impl PartialOrd for VaultRequest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for VaultRequest {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for VaultRequest {}

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use super::{Answer, SecretVersion, namespace};
use crate::error::Cause;
use crate::text::sentence;
use crate::vault::{Session, Vault};

/// What is asked of the server, and in which namespace. Requests with one id share one answer.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct Request {
    namespace: Option<String>,
    ask: Arc<dyn Ask>,
}

/// How one kind of request is made.
pub(crate) trait Ask: Debug + Send + Sync {
    /// The same for what gives the same answer.
    fn id(&self) -> String;

    /// What errors call it when no one field is meant.
    fn name(&self) -> String;

    fn send<'a>(&'a self, session: &'a Session<'a>) -> Asked<'a, Answer>;

    /// Whether what is stored is no longer of this version; `None` when the token may not look, or
    /// there is nothing to look at.
    fn has_changed<'a>(
        &'a self,
        _: &'a Session<'a>,
        _version: &'a SecretVersion,
    ) -> Asked<'a, Option<bool>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// What is stored there can change.
    fn can_change(&self) -> bool {
        true
    }

    /// Whether asking makes a credential that somebody has to let go of.
    fn mints(&self) -> bool {
        true
    }

    /// What is decrypted by this one request.
    fn batch(&self) -> &[String] {
        &[]
    }

    /// The same for all of these.
    fn of(&self, _batch: Vec<String>) -> Option<Arc<dyn Ask>> {
        None
    }
}

pub(crate) type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, Cause>> + Send + 'a>>;

impl Request {
    pub(crate) fn new(ask: impl Ask + 'static) -> Self {
        Self { namespace: None, ask: Arc::new(ask) }
    }

    pub(super) fn within(self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self }
    }

    /// A namespace of its own that is the connection's is none.
    pub(crate) fn over(mut self, vault: &Vault) -> Self {
        self.namespace = self.namespace.filter(|own| own != vault.namespace().unwrap_or("root"));
        self
    }

    /// One request for what both ask for; they have one id.
    pub(crate) fn join(self, other: &Self) -> Self {
        let batch: BTreeSet<_> = self.ask.batch().iter().chain(other.ask.batch()).collect();
        match self.ask.of(batch.into_iter().cloned().collect()) {
            Some(ask) => Self { ask, ..self },
            None => self,
        }
    }

    pub(crate) async fn send(&self, session: &Session<'_>) -> Result<Answer, Cause> {
        let session = session.in_namespace(self.namespace.as_deref());
        self.ask.send(&session).await
    }

    pub(crate) async fn has_changed(
        &self,
        session: &Session<'_>,
        version: &SecretVersion,
    ) -> Result<Option<bool>, Cause> {
        let session = session.in_namespace(self.namespace.as_deref());
        self.ask.has_changed(&session, version).await
    }

    pub(crate) fn can_change(&self) -> bool {
        self.ask.can_change()
    }

    pub(crate) fn name(&self) -> String {
        sentence(namespace::named(self.ask.name(), self.namespace.as_deref()))
    }

    pub(crate) fn mints(&self) -> bool {
        self.ask.mints()
    }

    fn id(&self) -> (Option<&str>, String) {
        (self.namespace.as_deref(), self.ask.id())
    }
}

impl Ord for Request {
    fn cmp(&self, other: &Self) -> Ordering {
        self.id().cmp(&other.id())
    }
}

impl PartialOrd for Request {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Request {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Request {}

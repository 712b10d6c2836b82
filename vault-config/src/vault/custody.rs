//! What a load obtains is in its custody until the caller has it: a load that fails, panics or is
//! dropped half way leaves neither a token nor a credential behind.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tracing::Instrument as _;

use super::renewal::Revocation;
use super::{Held, LeaseId, Response, Session, Vault};
use crate::error::{Cause, ErrorKind};

/// How long a load that failed waits until what it obtained is ended. That goes on afterwards, as
/// long as a request may take: nothing waits for it then.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one load obtained, shared with its requests that issue credentials.
pub(crate) struct Custody {
    vault: Vault,
    /// The load made the connection itself, so that nothing else uses its token.
    is_own: bool,
    /// Known before anything is obtained.
    runtime: OnceLock<Handle>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    phase: Phase,
    leases: Vec<IssuedLease>,
    /// How many requests that issue credentials are under way.
    issuing: usize,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Loading,
    /// The caller has it all.
    HandedOver,
    /// Nothing will ever use it.
    GivenUp,
}

#[derive(Clone)]
struct IssuedLease {
    id: LeaseId,
    renewable: bool,
    source: String,
}

/// The load's hold on its custody. When it is dropped, everything in custody is ended.
pub(crate) struct CustodyGuard(Option<Arc<Custody>>);

impl CustodyGuard {
    /// Without a connection nothing can be obtained.
    pub(crate) fn new(vault: Option<&Vault>, is_own: bool) -> Self {
        Self(vault.map(|vault| {
            Arc::new(Custody {
                vault: vault.clone(),
                is_own,
                runtime: OnceLock::new(),
                state: Mutex::default(),
            })
        }))
    }

    pub(crate) fn custody(&self) -> Option<Arc<Custody>> {
        self.0.clone()
    }

    /// Runs a load. When it succeeds, what it obtained is the caller's.
    pub(crate) async fn hand_over<R, E>(
        mut self,
        load: impl Future<Output = Result<R, E>>,
    ) -> Result<R, E> {
        // What was loaded need not be `Send`: it is not held while anything is waited for.
        let failure = match caught(load).await {
            Ok(Ok(loaded)) => {
                if let Some(custody) = self.0.take() {
                    custody.state().phase = Phase::HandedOver;
                }
                return Ok(loaded);
            }
            Ok(Err(error)) => Ok(error),
            Err(panic) => Err(panic),
        };
        self.end().await;
        match failure {
            Ok(error) => Err(error),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Runs a load of which nothing is kept.
    pub(crate) async fn end_after<R>(mut self, load: impl Future<Output = R>) -> R {
        let outcome = caught(load).await;
        self.end().await;
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// A program may end right after its load did, and its runtime with it: this is waited for.
    async fn end(&mut self) {
        let ending = self.0.take().and_then(|custody| custody.give_up());
        if let Some(ending) = ending {
            let _ = timeout(PATIENCE, ending).await;
        }
    }
}

impl Drop for CustodyGuard {
    fn drop(&mut self) {
        if let Some(custody) = self.0.take() {
            custody.give_up();
        }
    }
}

/// A validator or a type of the user's may panic.
async fn caught<R>(load: impl Future<Output = R>) -> Result<R, Box<dyn Any + Send>> {
    let mut load = pin!(load);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| load.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

impl Custody {
    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }

    /// For one request that may issue a credential. It has to be sent on a task of its own, with a
    /// session that has the ticket: when the load is dropped half way, the request still ends, and
    /// what it issued is ended then.
    pub(crate) fn ticket(self: &Arc<Self>, source: String) -> IssueTicket {
        self.state().issuing += 1;
        IssueTicket { custody: Arc::clone(self), source }
    }

    /// The load runs in a runtime from here on. A guard may be dropped outside of it.
    pub(crate) fn enter(&self, runtime: Handle) {
        let _ = self.runtime.set(runtime);
    }

    /// Ends a lease whose credential no field holds.
    pub(crate) async fn discard(&self, lease: &LeaseId) {
        let is_it = |issued: &IssuedLease| {
            issued.id.id.expose_secret() == lease.id.expose_secret()
                && issued.id.namespace == lease.namespace
        };
        let found = self.state().leases.iter().find(|issued| is_it(issued)).cloned();
        let Some(issued) = found else { return };
        // While that lasts, it stays in custody.
        let _ = timeout(PATIENCE, end_lease(&self.vault, issued, false)).await;
        self.state().leases.retain(|issued| !is_it(issued));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_up(self: &Arc<Self>) -> Option<JoinHandle<()>> {
        self.state().phase = Phase::GivenUp;
        if self.is_own {
            self.vault.abandon();
        }
        self.end_what_is_due()
    }

    /// A token is revoked once no request that issues a credential is under way any more: what is
    /// issued while its token is being revoked outlives the token, and nothing could end it.
    fn end_what_is_due(self: &Arc<Self>) -> Option<JoinHandle<()>> {
        let mut state = self.state();
        if state.phase != Phase::GivenUp {
            return None;
        }
        let leases = std::mem::take(&mut state.leases);
        let revokes = self.is_own && state.issuing == 0;
        drop(state);
        let runtime = self.runtime.get()?;
        let custody = Arc::clone(self);
        match (revokes, leases.is_empty()) {
            (true, _) => Some(runtime.spawn(async move { custody.revoke(leases).await })),
            (false, false) => Some(runtime.spawn(async move { custody.end_leases(leases).await })),
            (false, true) => None,
        }
    }

    /// Revokes what the connection logged in for. A token that was given is not ours to revoke, and
    /// some are never revoked: then the leases are ended one by one.
    async fn revoke(&self, leases: Vec<IssuedLease>) {
        let mut tokens = self.vault.retired().clone();
        tokens.extend(self.vault.held().filter(|held| held.is_ours()));
        let mut is_over = !tokens.is_empty();
        for held in &tokens {
            is_over &= self.vault.revoke_abandoned(held).await;
        }
        if !is_over {
            self.end_leases(leases).await;
        }
    }

    async fn end_leases(&self, leases: Vec<IssuedLease>) {
        let mut ending = JoinSet::new();
        for issued in leases {
            let (vault, is_own) = (self.vault.clone(), self.is_own);
            ending.spawn(async move { end_lease(&vault, issued, is_own).await });
        }
        while ending.join_next().await.is_some() {}
    }
}

/// Of a connection of the load's own no other token is made.
async fn end_lease(vault: &Vault, issued: IssuedLease, is_own: bool) {
    let IssuedLease { id, renewable, source } = issued;
    let held = vault.held();
    // What only lacks a use is no reason to leave a lease behind: any token may end it.
    let may_log_in = !is_own && held.as_ref().is_some_and(|held| held.is_used_up());
    let ended = match renewable {
        false => Err(not_renewable(&source)),
        true if may_log_in => Session::now(vault).end_lease(&id, &source).await,
        true => super::end_lease(vault, held, &id, &source).await,
    };
    if let Err(cause) = ended {
        tracing::warn!("a load leaves a credential behind: {}", cause.message);
    }
}

fn not_renewable(source: &str) -> Cause {
    let what = format!(
        "a lease of {source} is left to its end: it cannot be renewed, and so not be cut short"
    );
    Cause::new(ErrorKind::LeaseLost, what, "")
}

impl Vault {
    /// Whether it is dead with all that was issued under it.
    pub(super) async fn revoke_abandoned(&self, held: &Arc<Held>) -> bool {
        let span = tracing::info_span!("revoke", source = "token");
        let cause = match self.revocation(held).instrument(span).await {
            Ok(Revocation::Done) => return true,
            Ok(Revocation::Impossible(_)) => return false,
            Ok(Revocation::Refused(cause)) | Err(cause) => cause,
        };
        tracing::warn!("the token of a load that is over lives until its end: {}", cause.message);
        false
    }
}

/// Held by a request that may issue a credential.
pub(crate) struct IssueTicket {
    custody: Arc<Custody>,
    source: String,
}

impl IssueTicket {
    pub(crate) fn vault(&self) -> &Vault {
        &self.custody.vault
    }

    /// Whatever the answer turns out to be good for, its lease is in custody.
    pub(super) fn keep(&self, reply: &Response) {
        if let Some(lease) = reply.lease() {
            let (id, renewable, source) = (lease.id, lease.renewable, self.source.clone());
            self.custody.state().leases.push(IssuedLease { id, renewable, source });
        }
    }
}

impl Drop for IssueTicket {
    fn drop(&mut self) {
        self.custody.state().issuing -= 1;
        self.custody.end_what_is_due();
    }
}

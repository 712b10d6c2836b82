//! What a load has been issued is revoked unless the load succeeds: a load that fails, panics or is dropped
//! before it completes leaves neither a token nor a credential behind.

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
use tracing::Instrument as _;

use super::renewal::RevocationOutcome;
use super::{LeaseId, Response, Session, TrackedToken, Vault};
use crate::error::{Cause, ErrorKind};

/// How long a failed load waits for its rollback. After that the rollback continues in the background.
const ROLLBACK_WAIT: Duration = Duration::from_secs(5);

/// The leases that one load has been issued, and how to revoke them. Shared with the load's requests.
pub(crate) struct LoadRollback {
    vault: Vault,
    /// The load created the connection, so nothing else uses its token.
    owns_connection: bool,
    /// Where the rollback runs. It is set before anything is requested.
    runtime: OnceLock<Handle>,
    state: Mutex<RollbackState>,
}

#[derive(Default)]
struct RollbackState {
    phase: LoadPhase,
    leases: Vec<IssuedLease>,
    /// The number of requests under way that may issue a credential.
    issuing: usize,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum LoadPhase {
    #[default]
    Loading,
    /// The load succeeded, and its caller has the credentials.
    Committed,
    /// The load failed or was dropped, and nothing uses its credentials.
    RolledBack,
}

#[derive(Clone)]
struct IssuedLease {
    id: LeaseId,
    renewable: bool,
    source: String,
}

/// Rolls the load back when it is dropped, unless the load was committed.
pub(crate) struct RollbackGuard(Option<Arc<LoadRollback>>);

impl RollbackGuard {
    /// Without a connection nothing can be issued, and so there is nothing to roll back.
    pub(crate) fn new(vault: Option<&Vault>, owns_connection: bool) -> Self {
        Self(vault.map(|vault| {
            Arc::new(LoadRollback {
                vault: vault.clone(),
                owns_connection,
                runtime: OnceLock::new(),
                state: Mutex::default(),
            })
        }))
    }

    pub(crate) fn rollback(&self) -> Option<Arc<LoadRollback>> {
        self.0.clone()
    }

    /// Runs a load. If it succeeds, its credentials belong to the caller; if not, they are revoked.
    pub(crate) async fn commit_on_success<R, E>(
        mut self,
        load: impl Future<Output = Result<R, E>>,
    ) -> Result<R, E> {
        // The loaded value is returned before the next `await`, because it need not be `Send`.
        let failure = match catch_load_panic(load).await {
            Ok(Ok(loaded)) => {
                if let Some(rollback) = self.0.take() {
                    rollback.state().phase = LoadPhase::Committed;
                }
                return Ok(loaded);
            }
            Ok(Err(error)) => Ok(error),
            Err(panic) => Err(panic),
        };
        self.roll_back().await;
        match failure {
            Ok(error) => Err(error),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Runs a load whose credentials are not kept, such as that of a check.
    pub(crate) async fn roll_back_after<R>(mut self, load: impl Future<Output = R>) -> R {
        let outcome = catch_load_panic(load).await;
        self.roll_back().await;
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Waits for the rollback, because a program often ends right after a failed load, and its runtime with
    /// it.
    async fn roll_back(&mut self) {
        let Some(rollback) = self.0.take() else { return };
        if let Some(revocations) = rollback.start() {
            rollback.vault.timing().network.within(ROLLBACK_WAIT, revocations).await;
        }
    }
}

impl Drop for RollbackGuard {
    fn drop(&mut self) {
        if let Some(rollback) = self.0.take() {
            rollback.start();
        }
    }
}

/// A validator or a type of the user may panic, and the rollback has to run all the same. The panic is resumed
/// after it.
async fn catch_load_panic<R>(load: impl Future<Output = R>) -> Result<R, Box<dyn Any + Send>> {
    let mut load = pin!(load);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| load.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

impl LoadRollback {
    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }

    /// For one request that may issue a credential. Send it on a task of its own, with a session that has the
    /// ticket: then the request completes even if the load is dropped, and its credential is revoked.
    pub(crate) fn issue_ticket(self: &Arc<Self>, source: String) -> IssueTicket {
        self.state().issuing += 1;
        IssueTicket { rollback: Arc::clone(self), source }
    }

    /// The guard may be dropped outside of the runtime that the load runs in, so the runtime is kept.
    pub(crate) fn set_runtime(&self, runtime: Handle) {
        let _ = self.runtime.set(runtime);
    }

    /// Ends a lease whose credential no field can take.
    pub(crate) async fn end_unused_lease(&self, lease: &LeaseId) {
        let is_it = |issued: &IssuedLease| {
            issued.id.id.expose_secret() == lease.id.expose_secret()
                && issued.id.namespace == lease.namespace
        };
        let found = self.state().leases.iter().find(|issued| is_it(issued)).cloned();
        let Some(issued) = found else { return };
        // The record stays until the lease is ended: the load may be dropped while this waits.
        let ending = end_issued_lease(&self.vault, issued, false);
        self.vault.timing().network.within(ROLLBACK_WAIT, ending).await;
        self.state().leases.retain(|issued| !is_it(issued));
    }

    fn state(&self) -> MutexGuard<'_, RollbackState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rolls the load back, in the background.
    fn start(self: &Arc<Self>) -> Option<JoinHandle<()>> {
        self.state().phase = LoadPhase::RolledBack;
        if self.owns_connection {
            self.vault.abandon();
        }
        self.revoke_if_rolled_back()
    }

    /// Called at the start of a rollback, and again after each request that may have issued a credential.
    ///
    /// The token is revoked only when no such request is under way any more: a credential that is issued
    /// while its token is being revoked outlives the token, and nothing could end its lease.
    fn revoke_if_rolled_back(self: &Arc<Self>) -> Option<JoinHandle<()>> {
        let mut state = self.state();
        if state.phase != LoadPhase::RolledBack {
            return None;
        }
        let leases = std::mem::take(&mut state.leases);
        let revokes_token = self.owns_connection && state.issuing == 0;
        drop(state);
        let runtime = self.runtime.get()?;
        let rollback = Arc::clone(self);
        match (revokes_token, leases.is_empty()) {
            (true, _) => Some(runtime.spawn(async move { rollback.revoke_tokens(leases).await })),
            (false, false) => Some(runtime.spawn(async move { rollback.end_leases(leases).await })),
            (false, true) => None,
        }
    }

    /// Revokes the tokens that the connection logged in for. A token that was supplied to the process may not
    /// be revoked, and batch tokens cannot be: then the leases are ended one by one.
    async fn revoke_tokens(&self, leases: Vec<IssuedLease>) {
        let mut tokens = self.vault.retired_tokens().clone();
        tokens.extend(self.vault.active_token().filter(|token| token.is_from_login()));
        let mut all_revoked = !tokens.is_empty();
        for token in &tokens {
            all_revoked &= self.vault.revoke_token_of_failed_load(token).await;
        }
        if !all_revoked {
            self.end_leases(leases).await;
        }
    }

    async fn end_leases(&self, leases: Vec<IssuedLease>) {
        let mut tasks = JoinSet::new();
        for issued in leases {
            let (vault, owns_connection) = (self.vault.clone(), self.owns_connection);
            tasks.spawn(async move { end_issued_lease(&vault, issued, owns_connection).await });
        }
        while tasks.join_next().await.is_some() {}
    }
}

/// On a connection that the load created, this does not log in: that token would have to be revoked, too.
async fn end_issued_lease(vault: &Vault, issued: IssuedLease, owns_connection: bool) {
    let IssuedLease { id, renewable, source } = issued;
    let token = vault.active_token();
    // A token without remaining uses is replaced by a login, since any token may end the lease.
    let may_log_in = !owns_connection && token.as_ref().is_some_and(|token| token.is_used_up());
    let ended = match renewable {
        false => Err(not_renewable(&source)),
        true if may_log_in => Session::new(vault).end_lease(&id, &source).await,
        true => super::end_lease(vault, token, &id, &source).await,
    };
    if let Err(cause) = ended {
        tracing::warn!("a load could not revoke a credential: {}", cause.log_line());
    }
}

fn not_renewable(source: &str) -> Cause {
    let what = format!(
        "a lease of {source} stays valid until it expires: it is not renewable, and so cannot be shortened"
    );
    let help = "an administrator can revoke it earlier: vault lease revoke <lease_id>";
    Cause::new(ErrorKind::LeaseLost, what, help)
}

impl Vault {
    /// Returns whether the token is revoked, and with it all that was issued under it.
    pub(super) async fn revoke_token_of_failed_load(&self, token: &Arc<TrackedToken>) -> bool {
        let span = tracing::info_span!("revoke", source = "token");
        let cause = match self.try_revoke_token(token).instrument(span).await {
            Ok(RevocationOutcome::Revoked) => return true,
            // Expected for a batch token: its leases are ended one by one instead.
            Ok(RevocationOutcome::Impossible(_)) => return false,
            Ok(RevocationOutcome::Denied(cause)) | Err(cause) => cause,
        };
        tracing::warn!(
            "the token of a finished load stays valid until it expires: {}",
            cause.message
        );
        false
    }
}

/// Accompanies a request that may issue a credential, and records the lease for the rollback.
pub(crate) struct IssueTicket {
    rollback: Arc<LoadRollback>,
    source: String,
}

impl IssueTicket {
    pub(crate) fn vault(&self) -> &Vault {
        &self.rollback.vault
    }

    /// Records the lease before the response is examined, because an unusable response has a lease, too.
    pub(super) fn record(&self, response: &Response) {
        if let Some(lease) = response.lease() {
            let (id, renewable, source) = (lease.id, lease.renewable, self.source.clone());
            self.rollback.state().leases.push(IssuedLease { id, renewable, source });
        }
    }
}

impl Drop for IssueTicket {
    fn drop(&mut self) {
        self.rollback.state().issuing -= 1;
        self.rollback.revoke_if_rolled_back();
    }
}

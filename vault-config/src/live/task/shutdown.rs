//! Revokes everything at the end, within a bound.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::action::ActionOutcome;
use super::{FinishedRequest, RefreshTask};
use crate::VaultConfig;
use crate::error::{Cause, ErrorKind};
use crate::live::LiveState;
use crate::live::watched::{Holding, LeaseState};
use crate::vault::{LeaseId, TrackedToken, Vault, end_lease};

/// Orchestrators kill a process some seconds after they asked it to stop; a shutdown must not need all of them.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// Notifies all readers that no configuration follows, however the task ends.
pub(super) struct StopOnDrop<T>(pub(super) Arc<LiveState<T>>);

impl<T> Drop for StopOnDrop<T> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// The leases that are being ended.
#[derive(Default)]
struct EndingLeases {
    tasks: JoinSet<Result<(), Cause>>,
    /// A lease that cannot be ended.
    unended: Option<Cause>,
}

impl<T: VaultConfig + Send + Sync + 'static> RefreshTask<T> {
    pub(super) async fn shut_down(mut self, reply: oneshot::Sender<Result<(), Cause>>) {
        // A login that is under way continues on its own task. Nothing waits for it any more, so its token is revoked
        // when it arrives.
        self.token_actions.abort_all();
        while self.token_actions.join_next().await.is_some() {}
        let clock = self.vault.timing().network.clone();
        let result = clock.within(SHUTDOWN_LIMIT, self.revoke_everything()).await;
        let result = result.unwrap_or_else(|| Err(shutdown_timed_out()));
        // Readers are notified before the caller of the shutdown.
        drop(self);
        let _ = reply.send(result);
    }

    /// Revoking the token also revokes its leases. The leases are ended one by one if the token was supplied to the
    /// process, if another configuration still uses it, or if it cannot be revoked.
    async fn revoke_everything(&mut self) -> Result<(), Cause> {
        let is_last = self.registration.remove();
        let may_revoke = self.vault.active_token().is_none_or(|token| token.is_from_login());
        if !(is_last && may_revoke) {
            return self.end_leases(|_| true).await;
        }
        let unrevoked = self.vault.revoke_all_tokens().await;
        if unrevoked.is_empty() {
            return Ok(());
        }
        let is_unrevoked = |token: &Option<Arc<TrackedToken>>| {
            token.as_ref().is_some_and(|token| {
                unrevoked.iter().any(|(unrevoked, _)| Arc::ptr_eq(unrevoked, token))
            })
        };
        self.end_leases(is_unrevoked).await?;
        // No lease is left under these tokens. A token that can never be revoked is no error then: it gives no more
        // than its own policies until it expires.
        match unrevoked.into_iter().find(|(_, cause)| !is_permanent(cause.kind)) {
            Some((_, cause)) => Err(cause),
            None => Ok(()),
        }
    }

    /// Ends every lease under the tokens that `selects` selects.
    async fn end_leases(
        &mut self,
        selects: impl Fn(&Option<Arc<TrackedToken>>) -> bool,
    ) -> Result<(), Cause> {
        let mut ending = EndingLeases::default();
        for (lease, source) in self.take_all_leases() {
            if selects(&lease.token) {
                ending.end(&self.vault, lease, source);
            }
        }
        self.end_leases_being_issued(&mut ending).await;
        let ended: Result<(), Cause> = ending.tasks.join_all().await.into_iter().collect();
        ended.and(ending.unended.map_or(Ok(()), Err))
    }

    fn take_all_leases(&mut self) -> Vec<(LeaseState, String)> {
        let retired = self.retired.drain(..).map(|retired| (retired.lease, retired.source));
        let held = self.sources.iter_mut().filter_map(|source| {
            match std::mem::replace(&mut source.holding, Holding::absent()) {
                Holding::Leased(lease) => Some((lease, source.request.name())),
                _ => None,
            }
        });
        retired.chain(held).collect()
    }

    /// Waits for the requests under way that issue credentials: if they were dropped, their leases would be left
    /// behind.
    async fn end_leases_being_issued(&mut self, ending: &mut EndingLeases) {
        while !self.issuing.is_empty()
            && let Some(joined) = self.running.join_next().await
        {
            let Ok(FinishedRequest::Source { index, outcome, .. }) = joined else { continue };
            self.issuing.remove(&index);
            if let ActionOutcome::Issued(Ok(answer)) = outcome
                && let (Some(lease), Some(source)) = (answer.lease, self.sources.get(index))
            {
                let token = Some(answer.issued.token);
                let id = lease.renewable.then_some(lease.id);
                ending.end_by_id(&self.vault, id, token, source.request.name());
            }
        }
    }
}

impl EndingLeases {
    fn end(&mut self, vault: &Vault, lease: LeaseState, source: String) {
        // A certificate without a lease, or one that outlives its lease, has nothing to end.
        if lease.id.is_some() || lease.is_valid_as_long_as_its_lease() {
            self.end_by_id(vault, lease.id, lease.token, source);
        }
    }

    /// With the active token, or if there is none any more, with the one that the lease was issued under.
    fn end_by_id(
        &mut self,
        vault: &Vault,
        id: Option<LeaseId>,
        issued_under: Option<Arc<TrackedToken>>,
        source: String,
    ) {
        let Some(id) = id else {
            self.unended = Some(not_renewable(&source));
            return;
        };
        let (vault, token) = (vault.clone(), vault.active_token().or(issued_under));
        self.tasks.spawn(async move { end_lease(&vault, token, &id, &source).await });
    }
}

/// Whether the token cannot be revoked later either.
fn is_permanent(kind: ErrorKind) -> bool {
    kind == ErrorKind::Denied
}

fn not_renewable(source: &str) -> Cause {
    Cause::new(
        ErrorKind::LeaseLost,
        format!(
            "a lease of {source} stays valid until it expires: it is not renewable, and so cannot be shortened"
        ),
        "let the token's policies allow update on auth/token/revoke-self, as `default` does, and use a token that can be revoked, which a batch token cannot",
    )
}

fn shutdown_timed_out() -> Cause {
    Cause::new(
        ErrorKind::Timeout,
        format!("the token and its leases could not be revoked within {SHUTDOWN_LIMIT:?}"),
        "they expire by themselves at the end of their time to live",
    )
}

//! What is released: one by one while the configuration is watched, and all of it at the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::action::Outcome;
use super::{Done, Task};
use crate::VaultConfig;
use crate::error::{Cause, ErrorKind};
use crate::live::Shared;
use crate::live::watched::{Holding, LeaseState};
use crate::time::clock::Reading;
use crate::vault::{LeaseId, TrackedToken, Vault, catch_panic, end_lease};

/// How long a shutdown may take.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// However the task ends, all that follow the configuration learn of it.
pub(super) struct StopOnDrop<T>(pub(super) Arc<Shared<T>>);

impl<T> Drop for StopOnDrop<T> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A lease whose credential was replaced, and when.
pub(super) struct RetiredLease {
    pub(super) lease: LeaseState,
    pub(super) source: String,
    pub(super) index: usize,
    pub(super) at: Reading,
    pub(super) replacement: Replacement,
}

/// What readers have instead of a retired credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replacement {
    /// The retired credential is still published: its replacement was refused.
    Refused,
    /// The retired credential was never published.
    Unpublished,
    /// This edition has another.
    Published { edition: u64 },
}

impl<T: VaultConfig + Send + Sync + 'static> Task<T> {
    /// Readers that have not taken the new credential yet are looked for again in a while.
    pub(super) fn releases_in(
        &self,
        retired: &RetiredLease,
        overlap: Duration,
        now: Reading,
    ) -> Duration {
        let wait = overlap.saturating_sub(now.since(retired.at));
        match wait.is_zero() && !self.is_replaced(retired) {
            true => Duration::from_secs(1),
            false => wait,
        }
    }

    /// No reader uses it any more.
    fn is_replaced(&self, retired: &RetiredLease) -> bool {
        match retired.replacement {
            Replacement::Refused => false,
            Replacement::Unpublished => true,
            Replacement::Published { edition } => self.shared.published.is_taken(edition),
        }
    }

    /// What was refused is published now.
    pub(super) fn replacement_is_published(&mut self, index: usize, now: Reading) {
        let edition = self.edition;
        let waiting = self.retired.iter_mut().filter(|retired| retired.index == index);
        for retired in waiting.filter(|retired| retired.replacement == Replacement::Refused) {
            retired.replacement = Replacement::Published { edition };
            retired.at = now;
        }
    }

    pub(super) fn release(&mut self, now: Reading) {
        self.retired.retain(|retired| retired.lease.remaining(now) != Some(Duration::ZERO));
        let Some(overlap) = self.overlap else { return self.forget_ended_tokens(now) };
        let (released, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.retired)
            .into_iter()
            .partition(|retired| now.since(retired.at) >= overlap && self.is_replaced(retired));
        self.retired = kept;
        for RetiredLease { lease, source, .. } in released {
            if let Some(lease) = lease.id {
                self.end_in_background(lease, source);
            }
        }
        for held in self.abandoned_tokens() {
            let vault = self.vault.clone();
            self.running.spawn(async move {
                let span = tracing::info_span!("revoke", source = "token");
                let _ = catch_panic(vault.revoke_token(&held).instrument(span)).await;
                Done::Released
            });
        }
        self.forget_ended_tokens(now);
    }

    pub(super) fn end_in_background(&mut self, lease: LeaseId, source: String) {
        let (vault, held) = (self.vault.clone(), self.vault.active_token());
        self.running.spawn(async move {
            let _ = catch_panic(end_lease(&vault, held, &lease, &source)).await;
            Done::Released
        });
    }

    /// Tokens that nothing depends on any more.
    fn abandoned_tokens(&self) -> Vec<Arc<TrackedToken>> {
        let is_abandoned =
            |held: &mut Arc<TrackedToken>| held.is_from_login() && Arc::strong_count(held) == 1;
        self.vault.retired_tokens().extract_if(.., is_abandoned).collect()
    }

    fn forget_ended_tokens(&self, now: Reading) {
        self.vault.retired_tokens().retain(|held| !held.has_expired(now));
    }

    pub(super) async fn shut_down(mut self, asked: oneshot::Sender<Result<(), Cause>>) {
        // A login that is under way is revoked when it is done, since nothing waits for it any more.
        self.token_actions.abort_all();
        while self.token_actions.join_next().await.is_some() {}
        let all = self.release_all();
        let result = tokio::time::timeout(SHUTDOWN, all).await.unwrap_or_else(|_| Err(too_slow()));
        // Whoever follows the configuration learns of the end before the one who asked for it.
        drop(self);
        let _ = asked.send(result);
    }

    /// Revoking the token takes its leases along. What is not ours to revoke is left, as is what cannot be
    /// revoked, and what was issued under it is cut short, lease by lease.
    async fn release_all(&mut self) -> Result<(), Cause> {
        let is_last = self.watcher.remove();
        let is_ours = self.vault.active_token().is_none_or(|held| held.is_from_login());
        if !(is_last && is_ours) {
            return self.end_leases(|_| true).await;
        }
        let unrevoked = self.vault.revoke_all_tokens().await;
        if unrevoked.is_empty() {
            return Ok(());
        }
        let dies_with = |token: &Option<Arc<TrackedToken>>| {
            let is_under = |(held, _): &(Arc<TrackedToken>, Cause)| {
                token.as_ref().is_some_and(|token| Arc::ptr_eq(token, held))
            };
            unrevoked.iter().any(is_under)
        };
        self.end_leases(dies_with).await?;
        // No lease is left, and so the token alone: one that cannot be revoked is good for nothing more
        // than what is in its policies, until it ends.
        match unrevoked.into_iter().find(|(_, cause)| !is_permanent(cause.kind)) {
            Some((_, cause)) => Err(cause),
            None => Ok(()),
        }
    }

    /// Ends every lease under the tokens that `under` selects.
    async fn end_leases(
        &mut self,
        under: impl Fn(&Option<Arc<TrackedToken>>) -> bool,
    ) -> Result<(), Cause> {
        let mut ending = JoinSet::new();
        let mut unended = None;
        let retired = self.retired.drain(..).map(|retired| (retired.lease, retired.source));
        let held = self.sources.iter_mut().filter_map(|source| {
            match std::mem::replace(&mut source.holding, Holding::absent()) {
                Holding::Leased(lease) => Some((lease, source.request.name())),
                _ => None,
            }
        });
        let leases: Vec<_> = retired.chain(held).filter(|(lease, _)| under(&lease.under)).collect();
        for (lease, source) in leases {
            match lease.id {
                Some(id) => end_apart(&mut ending, &self.vault, lease.under, id, source),
                // What dies with a token, and cannot be cut short.
                None if lease.is_secret_at_server() => unended = Some(not_renewable(&source)),
                None => {}
            }
        }
        // What is being issued at this moment would be left behind.
        while !self.issuing.is_empty()
            && let Some(done) = self.running.join_next().await
        {
            if let Ok(Done::Source { index, .. }) = &done {
                self.issuing.remove(index);
            }
            if let Ok(Done::Source { index, outcome: Outcome::Issued(Ok(answer)), .. }) = done
                && let (Some(lease), Some(source)) = (answer.lease, self.sources.get(index))
            {
                let (under, source) =
                    (answer.issued.map(|issued| issued.token), source.request.name());
                match lease.renewable {
                    true => end_apart(&mut ending, &self.vault, under, lease.id, source),
                    false => unended = Some(not_renewable(&source)),
                }
            }
        }
        let ended: Result<(), Cause> = ending.join_all().await.into_iter().collect();
        ended.and(unended.map_or(Ok(()), Err))
    }
}

/// By the current token, or where there is none any more by the one that the lease was issued under.
fn end_apart(
    ending: &mut JoinSet<Result<(), Cause>>,
    vault: &Vault,
    under: Option<Arc<TrackedToken>>,
    id: LeaseId,
    source: String,
) {
    let (vault, held) = (vault.clone(), vault.active_token().or(under));
    ending.spawn(async move { end_lease(&vault, held, &id, &source).await });
}

/// It will not be revoked later either.
fn is_permanent(kind: ErrorKind) -> bool {
    kind == ErrorKind::Denied
}

fn not_renewable(source: &str) -> Cause {
    Cause::new(
        ErrorKind::LeaseLost,
        format!(
            "a lease of {source} is left to its end: it cannot be renewed, and so not be cut short"
        ),
        "let the token's policies allow update on auth/token/revoke-self, as `default` does, and give the \
         service a token that can be revoked, which batch tokens cannot",
    )
}

fn too_slow() -> Cause {
    Cause::new(
        ErrorKind::Timeout,
        format!("what was made could not be revoked within {SHUTDOWN:?}"),
        "it ends by itself, the token and its leases at the end of their lives",
    )
}

//! What is let go: one by one while the configuration is watched, and all of it at the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::request::Outcome;
use super::{Done, Task};
use crate::VaultConfig;
use crate::error::{Cause, ErrorKind};
use crate::live::Shared;
use crate::live::clock::Reading;
use crate::live::source::{Leased, Stand};
use crate::vault::{Held, LeaseId, Renewal, Session, Vault};

/// How long a shutdown may take.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// However the task ends, whoever follows the configuration is told.
pub(super) struct End<T>(pub(super) Arc<Shared<T>>);

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A lease whose credential was replaced, and when.
pub(super) struct Replaced {
    pub(super) lease: Leased,
    pub(super) source: String,
    pub(super) at: Reading,
    /// The edition that has another in its place.
    pub(super) edition: u64,
}

impl<T: VaultConfig + Send + Sync + 'static> Task<T> {
    /// Who has not taken the new credential yet is looked for again in a while.
    pub(super) fn lets_go_in(
        &self,
        replaced: &Replaced,
        overlap: Duration,
        now: Reading,
    ) -> Duration {
        let wait = overlap.saturating_sub(now.since(replaced.at));
        match wait.is_zero() && !self.shared.published.is_taken(replaced.edition) {
            true => Duration::from_secs(1),
            false => wait,
        }
    }

    pub(super) fn let_go(&mut self, now: Reading) {
        self.replaced.retain(|replaced| replaced.lease.left(now) != Some(Duration::ZERO));
        let Some(overlap) = self.overlap else { return self.forget_ended_tokens(now) };
        let (gone, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.replaced).into_iter().partition(|replaced| {
                now.since(replaced.at) >= overlap
                    && self.shared.published.is_taken(replaced.edition)
            });
        self.replaced = kept;
        for Replaced { lease, source, .. } in gone {
            let Some(lease) = lease.id else { continue };
            let vault = self.vault.clone();
            self.running.spawn(async move {
                let _ = end_lease(&vault, &lease, &source).await;
                Done::LetGo
            });
        }
        for held in self.abandoned_tokens() {
            let vault = self.vault.clone();
            self.running.spawn(async move {
                let span = tracing::info_span!("revoke", source = "token");
                let _ = vault.revoke_token(&held).instrument(span).await;
                Done::LetGo
            });
        }
        self.forget_ended_tokens(now);
    }

    /// Tokens that nothing in hand depends on any more.
    fn abandoned_tokens(&self) -> Vec<Arc<Held>> {
        let is_abandoned = |held: &mut Arc<Held>| held.is_ours() && Arc::strong_count(held) == 1;
        self.vault.retired().extract_if(.., is_abandoned).collect()
    }

    fn forget_ended_tokens(&self, now: Reading) {
        self.vault.retired().retain(|held| !held.has_ended(now));
    }

    /// Revoking the token takes its leases along. What is not ours to revoke is left, and what
    /// was made under it is cut short, lease by lease.
    pub(super) async fn shut_down(mut self) -> Result<(), Cause> {
        let is_last = self.vault.watch_ends();
        let is_ours = self.vault.held().is_none_or(|held| held.is_ours());
        let all = async {
            match is_last && is_ours {
                true => self.vault.revoke_all().await,
                false => self.end_leases().await,
            }
        };
        tokio::time::timeout(SHUTDOWN, all).await.unwrap_or_else(|_| Err(too_slow()))
    }

    async fn end_leases(&mut self) -> Result<(), Cause> {
        let mut ending = JoinSet::new();
        let mut end = |lease: Option<LeaseId>, source: String| {
            let Some(lease) = lease else { return };
            let vault = self.vault.clone();
            ending.spawn(async move { end_lease(&vault, &lease, &source).await });
        };
        for Replaced { lease, source, .. } in self.replaced.drain(..) {
            end(lease.id, source);
        }
        for source in &self.sources {
            if let Stand::Leased(leased) = &source.stand {
                end(leased.id.clone(), source.request.name());
            }
        }
        // What is being made at this moment would be left behind.
        while let Some(done) = self.running.join_next().await {
            if let Ok(Done::Source(index, Outcome::Minted(Ok(answer)))) = done
                && let (Some(lease), Some(source)) = (answer.lease, self.sources.get(index))
            {
                end(lease.renewable.then_some(lease.id), source.request.name());
            }
        }
        ending.join_all().await.into_iter().collect()
    }
}

fn too_slow() -> Cause {
    Cause::new(
        ErrorKind::Timeout,
        format!("what was made could not be revoked within {SHUTDOWN:?}"),
        "it ends by itself, the token and its leases at the end of their lives",
    )
}

pub(super) async fn end_lease(vault: &Vault, lease: &LeaseId, source: &str) -> Result<(), Cause> {
    let mut session = Session::now(vault);
    session.manner.logs_in = false;
    let span = tracing::info_span!("revoke", source = "lease");
    let renewal = session.end_lease(lease).instrument(span).await;
    let cause = match renewal {
        Renewal::Granted { .. } | Renewal::Gone(_) => return Ok(()),
        // It died with the token.
        Renewal::Failed(cause) if cause.kind == ErrorKind::TokenInvalid => return Ok(()),
        Renewal::Never(cause) | Renewal::Failed(cause) => cause,
    };
    tracing::debug!("a lease of {source} is left to its end: {}", cause.what);
    let what = format!("a lease of {source} is left to its end: {}", cause.what);
    Err(Cause { what, ..cause })
}

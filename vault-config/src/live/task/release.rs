//! Ends replaced leases, and revokes replaced tokens, as soon as nothing uses them any more.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use super::{FinishedRequest, RefreshTask};
use crate::VaultConfig;
use crate::live::watched::LeaseState;
use crate::time::clock::Reading;
use crate::vault::{LeaseId, TrackedToken, catch_panic, end_lease};

/// How often it is checked again whether all subscribers have taken the new credential.
const SUBSCRIBER_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A lease whose credential was replaced.
pub(super) struct RetiredLease {
    pub(super) lease: LeaseState,
    pub(super) source: String,
    /// The index of the source.
    pub(super) index: usize,
    /// When its replacement was published, or was rejected.
    pub(super) retired_at: Reading,
    pub(super) replacement: Replacement,
}

/// Which credential the readers have instead of a retired one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replacement {
    /// The retired credential itself: it is still published, because its replacement was rejected.
    Rejected,
    /// The retired credential was never published, so no reader has it.
    NeverPublished,
    /// The new credential, which this edition published.
    Published { edition: u64 },
}

impl<T: VaultConfig + Send + Sync + 'static> RefreshTask<T> {
    /// The wait until the retired lease may be ended, or until that is checked again.
    pub(super) fn release_in(
        &self,
        retired: &RetiredLease,
        overlap: Duration,
        now: Reading,
    ) -> Duration {
        let wait = overlap.saturating_sub(now.since(retired.retired_at));
        match wait.is_zero() && !self.is_unused(retired) {
            true => SUBSCRIBER_CHECK_INTERVAL,
            false => wait,
        }
    }

    /// Whether no subscriber can be using the credential any more.
    fn is_unused(&self, retired: &RetiredLease) -> bool {
        match retired.replacement {
            Replacement::Rejected => false,
            Replacement::NeverPublished => true,
            Replacement::Published { edition } => self.shared.published.is_taken_by_all(edition),
        }
    }

    /// A credential that was rejected before is published now, so the overlap of the one before begins.
    pub(super) fn start_overlap(&mut self, index: usize, now: Reading) {
        let edition = self.edition;
        let of_source = self.retired.iter_mut().filter(|retired| retired.index == index);
        for retired in of_source.filter(|retired| retired.replacement == Replacement::Rejected) {
            retired.replacement = Replacement::Published { edition };
            retired.retired_at = now;
        }
    }

    pub(super) fn release_retired_leases(&mut self, now: Reading) {
        self.retired.retain(|retired| retired.lease.remaining(now) != Some(Duration::ZERO));
        // Without an overlap, retired leases are left to their expiry.
        let Some(overlap) = self.overlap else { return self.forget_expired_tokens(now) };
        let (released, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.retired).into_iter().partition(|retired| {
                now.since(retired.retired_at) >= overlap && self.is_unused(retired)
            });
        self.retired = kept;
        for RetiredLease { lease, source, .. } in released {
            if let Some(lease) = lease.id {
                self.end_lease_in_background(lease, source);
            }
        }
        for token in self.take_unused_tokens() {
            let vault = self.vault.clone();
            self.running.spawn(async move {
                let span = tracing::info_span!("revoke", source = "token");
                let _ = catch_panic(vault.revoke_token(&token).instrument(span)).await;
                FinishedRequest::Released
            });
        }
        self.forget_expired_tokens(now);
    }

    pub(super) fn end_lease_in_background(&mut self, lease: LeaseId, source: String) {
        let (vault, token) = (self.vault.clone(), self.vault.active_token());
        self.running.spawn(async move {
            let _ = catch_panic(end_lease(&vault, token, &lease, &source)).await;
            FinishedRequest::Released
        });
    }

    /// Retired tokens that no lease depends on any more: the list itself has the last reference.
    fn take_unused_tokens(&self) -> Vec<Arc<TrackedToken>> {
        let is_unused =
            |token: &mut Arc<TrackedToken>| token.is_from_login() && Arc::strong_count(token) == 1;
        self.vault.retired_tokens().extract_if(.., is_unused).collect()
    }

    fn forget_expired_tokens(&self, now: Reading) {
        self.vault.retired_tokens().retain(|token| !token.has_expired(now));
    }
}

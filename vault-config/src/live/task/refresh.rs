//! Refreshes that `Live::refresh` requested and waits for.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::RefreshTask;
use crate::VaultConfig;
use crate::error::Problem;
use crate::live::watched::WatchedSecret;
use crate::time::clock::Reading;
use crate::vault::Failure;

pub(super) struct PendingRefresh {
    /// The sources that are not refreshed yet.
    sources: BTreeSet<usize>,
    reply: oneshot::Sender<Vec<Problem>>,
}

impl<T: VaultConfig + Send + Sync + 'static> RefreshTask<T> {
    pub(super) fn start_refresh(&mut self, now: Reading, reply: oneshot::Sender<Vec<Problem>>) {
        for source in &mut self.sources {
            source.request_refresh(now);
        }
        self.vault.make_token_due_now();
        self.refresh_awaits_probe = self.vault.outage_cause().is_some();
        let sources: BTreeSet<usize> = (0..self.sources.len()).collect();
        match sources.is_empty() {
            true => drop(reply.send(Vec::new())),
            false => self.pending_refreshes.push(PendingRefresh { sources, reply }),
        }
    }

    /// After an outage a pending refresh starts at once: its sources do not wait for their next regular read.
    pub(super) fn resume_pending_refreshes(&mut self, now: Reading) {
        let sources: BTreeSet<usize> =
            self.pending_refreshes.iter().flat_map(|pending| &pending.sources).copied().collect();
        for index in sources {
            self.update_source(index, |source| source.request_refresh(now));
        }
    }

    /// Called when nothing is due for the source: its part of every pending refresh is complete. A renewal that led
    /// to a replacement is complete only after the replacement, which is due at once. A refresh whose last source
    /// this is completes with the problems of all sources.
    pub(super) fn complete_refreshes_of(&mut self, index: usize, now: Reading) {
        if self.pending_refreshes.is_empty() {
            return;
        }
        // While the token is being replaced, a due action starts with the new token, and the refresh waits for it.
        let token_is_being_replaced = self.vault.token_is_being_replaced();
        let is_due = |source: &WatchedSecret| source.is_due(now, token_is_being_replaced);
        if token_is_being_replaced && self.sources.get(index).is_some_and(is_due) {
            return;
        }
        for pending in &mut self.pending_refreshes {
            pending.sources.remove(&index);
        }
        let problems: Vec<Problem> = self
            .sources
            .iter()
            .filter_map(|source| {
                let cause = Arc::clone(&source.current_failure()?.cause);
                Some(Problem::of_field(&source.field_paths.join(", "), "", Vec::new(), cause))
            })
            .collect();
        for done in self.pending_refreshes.extract_if(.., |pending| pending.sources.is_empty()) {
            let _ = done.reply.send(problems.clone());
        }
    }

    /// Without a usable token no source can be refreshed, so every pending refresh fails for that reason.
    pub(super) fn fail_pending_refreshes(&mut self, failure: &Failure) {
        for pending in std::mem::take(&mut self.pending_refreshes) {
            let problem = Problem::general_of(Arc::clone(&failure.cause));
            let _ = pending.reply.send(vec![problem]);
        }
    }
}

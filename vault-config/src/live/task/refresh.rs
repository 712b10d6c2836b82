//! A refresh that was asked for, and is waited for.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::Task;
use crate::VaultConfig;
use crate::error::Problem;
use crate::live::watched::WatchedSecret;
use crate::time::clock::Reading;
use crate::vault::Failure;

pub(super) struct Awaited {
    /// The sources that are not refreshed yet.
    sources: BTreeSet<usize>,
    asked: oneshot::Sender<Vec<Problem>>,
}

impl<T: VaultConfig + Send + Sync + 'static> Task<T> {
    pub(super) fn refresh(&mut self, now: Reading, asked: oneshot::Sender<Vec<Problem>>) {
        for source in &mut self.sources {
            source.refresh(now);
        }
        self.vault.make_token_due_now();
        self.probe_is_awaited = self.vault.outage_cause().is_some();
        let sources: BTreeSet<usize> = (0..self.sources.len()).collect();
        match sources.is_empty() {
            true => drop(asked.send(Vec::new())),
            false => self.awaited.push(Awaited { sources, asked }),
        }
    }

    /// What is waited for goes first after an outage, and not in its turn.
    pub(super) fn refresh_awaited(&mut self, now: Reading) {
        let awaited: BTreeSet<usize> =
            self.awaited.iter().flat_map(|awaited| &awaited.sources).copied().collect();
        for index in awaited {
            self.with(index, |source| source.refresh(now));
        }
    }

    /// There is nothing to do for this source at the moment: what was asked for is done. A renewal that
    /// led to a rotation was waited for.
    pub(super) fn report_to_waiting(&mut self, index: usize, now: Reading) {
        if self.awaited.is_empty() {
            return;
        }
        let leaving = self.vault.token_is_being_replaced();
        let is_due = |source: &WatchedSecret| source.is_due(now, leaving);
        if leaving && self.sources.get(index).is_some_and(is_due) {
            return;
        }
        for awaited in &mut self.awaited {
            awaited.sources.remove(&index);
        }
        let problems: Vec<Problem> = self
            .sources
            .iter()
            .filter_map(|source| {
                let cause = Arc::clone(&source.current_failure()?.cause);
                Some(Problem::of_field(&source.names.join(", "), "", Vec::new(), cause))
            })
            .collect();
        for done in self.awaited.extract_if(.., |awaited| awaited.sources.is_empty()) {
            let _ = done.asked.send(problems.clone());
        }
    }

    pub(super) fn report_to_all_that_wait(&mut self, failure: &Failure) {
        for awaited in std::mem::take(&mut self.awaited) {
            let problem = Problem::general_of(Arc::clone(&failure.cause));
            let _ = awaited.asked.send(vec![problem]);
        }
    }
}

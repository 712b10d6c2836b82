//! What a request led to.

use std::sync::Arc;

use super::action::Outcome;
use super::{Done, Task};
use crate::VaultConfig;
use crate::error::{Cause, Delivery};
use crate::live::events::Event;
use crate::live::watched::{Holding, WatchedSecret};
use crate::time::clock::Reading;
use crate::vault::{RenewalOutcome, TrackedToken};

impl<T: VaultConfig + Send + Sync + 'static> Task<T> {
    pub(super) fn finish(&mut self, done: Done, now: Reading) {
        let Done::Source { index, outcome, token } = done else { return };
        self.issuing.remove(&index);
        let held = Arc::clone(token.token());
        // What was set aside for it and not used is given back first.
        drop(token);
        self.note_reachability(index, &outcome, now);
        self.source_is_done(index, outcome, &held, now);
        self.with(index, |source| source.action_finished(now));
    }

    fn note_reachability(&mut self, index: usize, outcome: &Outcome, now: Reading) {
        let Some(source) = self.sources.get(index) else { return };
        let source = source.request.name();
        match outcome.failure() {
            None => self.vault.record_response(&source),
            Some(cause) => self.vault.record_failure(&source, cause, now),
        }
    }

    fn source_is_done(
        &mut self,
        index: usize,
        outcome: Outcome,
        held: &Arc<TrackedToken>,
        now: Reading,
    ) {
        match outcome {
            Outcome::Read { answer, may_look } => {
                self.with(index, |source| source.metadata.was_read(may_look));
                match answer {
                    Ok(None) => {
                        self.counters.reads += 1;
                        self.with(index, |source| source.unchanged(now));
                        self.recovered(index);
                    }
                    Ok(Some(answer)) => {
                        self.counters.reads += 1;
                        self.take(index, *answer, now);
                    }
                    Err(cause) => self.not_read(index, cause, held, now),
                }
            }
            Outcome::Issued(Ok(answer)) => self.take(index, *answer, now),
            Outcome::Issued(Err(cause)) => {
                self.with(index, |source| source.budget.failed());
                if cause.delivery == Delivery::Unanswered {
                    self.with(index, |source| source.budget.unanswered(now));
                }
                self.failed(index, cause, held, now, WatchedSecret::failed);
            }
            Outcome::Renewed(renewal) => self.renewed(index, renewal, held, now),
        }
    }

    fn renewed(
        &mut self,
        index: usize,
        renewal: RenewalOutcome,
        held: &Arc<TrackedToken>,
        now: Reading,
    ) {
        let Some(source) = self.sources.get_mut(index) else { return };
        match renewal {
            RenewalOutcome::Granted { requested_at, ttl } => {
                let Holding::Leased(lease) = &mut source.holding else { return };
                lease.renewed(requested_at, ttl);
                source.succeeded(now);
                let source = source.request.name();
                self.counters.renewals += 1;
                self.recovered(index);
                self.shared.report(Event::Renewed { source });
            }
            // A replacement follows at once, and it is what may fail.
            RenewalOutcome::Refused(ref cause) | RenewalOutcome::Gone(ref cause) => {
                tracing::info!(source = source.request.name(), "{}", cause.message);
                let is_gone = matches!(renewal, RenewalOutcome::Gone(_));
                source.renewal_refused(cause.clone(), is_gone, now);
            }
            RenewalOutcome::Failed(cause) => {
                self.failed(index, cause, held, now, WatchedSecret::renewal_failed);
            }
        }
    }

    /// What was there and is not any more stays what it was, and that is reported.
    fn not_read(&mut self, index: usize, cause: Cause, held: &Arc<TrackedToken>, now: Reading) {
        let was_there = self.sources.get(index).is_some_and(WatchedSecret::was_there);
        if cause.is_absence() && !was_there {
            self.with(index, |source| source.absent(now, false));
            return self.recovered(index);
        }
        self.failed(index, cause, held, now, WatchedSecret::failed);
    }
}

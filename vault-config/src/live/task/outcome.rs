//! Records how an action for a source ended.

use std::sync::Arc;

use super::action::ActionOutcome;
use super::{FinishedRequest, RefreshTask};
use crate::VaultConfig;
use crate::error::{Cause, Delivery};
use crate::live::events::Event;
use crate::live::watched::{Holding, WatchedSecret};
use crate::time::clock::Reading;
use crate::vault::{RenewalOutcome, TrackedToken};

impl<T: VaultConfig + Send + Sync + 'static> RefreshTask<T> {
    pub(super) fn finish_request(&mut self, finished: FinishedRequest, now: Reading) {
        let FinishedRequest::Source { index, outcome, token: reserved } = finished else { return };
        self.issuing.remove(&index);
        let token = Arc::clone(reserved.token());
        // Returns the unneeded uses first: the next steps ask whether the token is used up.
        drop(reserved);
        self.record_reachability(index, &outcome, now);
        self.apply_outcome(index, outcome, &token, now);
        self.update_source(index, |source| source.action_finished(now));
    }

    fn record_reachability(&mut self, index: usize, outcome: &ActionOutcome, now: Reading) {
        let Some(source) = self.sources.get(index) else { return };
        let source = source.request.name();
        match outcome.failure() {
            None => self.vault.record_response(&source),
            Some(cause) => self.vault.record_failure(&source, cause, now),
        }
    }

    fn apply_outcome(
        &mut self,
        index: usize,
        outcome: ActionOutcome,
        token: &Arc<TrackedToken>,
        now: Reading,
    ) {
        match outcome {
            ActionOutcome::Read { answer, metadata_is_allowed } => {
                self.update_source(index, |source| {
                    source.metadata_probe.record_read(metadata_is_allowed);
                });
                match answer {
                    Ok(None) => {
                        self.counters.reads += 1;
                        self.update_source(index, |source| source.record_unchanged(now));
                        self.clear_failure(index);
                    }
                    Ok(Some(answer)) => {
                        self.counters.reads += 1;
                        self.apply_answer(index, *answer, now);
                    }
                    Err(cause) => self.handle_failed_read(index, cause, token, now),
                }
            }
            ActionOutcome::Issued(Ok(answer)) => self.apply_answer(index, *answer, now),
            ActionOutcome::Issued(Err(cause)) => {
                self.update_source(index, |source| source.issue_budget.refund());
                if cause.delivery == Delivery::Unanswered {
                    self.update_source(index, |source| {
                        source.issue_budget.record_lost_response(now);
                    });
                }
                self.handle_failed_action(index, cause, token, now, WatchedSecret::record_failure);
            }
            ActionOutcome::Renewed(renewal) => self.apply_renewal(index, renewal, token, now),
        }
    }

    fn apply_renewal(
        &mut self,
        index: usize,
        renewal: RenewalOutcome,
        token: &Arc<TrackedToken>,
        now: Reading,
    ) {
        let Some(source) = self.sources.get_mut(index) else { return };
        match renewal {
            RenewalOutcome::Granted { requested_at, ttl } => {
                let Holding::Leased(lease) = &mut source.holding else { return };
                lease.renewed(requested_at, ttl, self.vault.random());
                source.record_success(now);
                let source = source.request.name();
                self.counters.renewals += 1;
                self.clear_failure(index);
                self.shared.publish_event(Event::Renewed { source });
            }
            // Not reported as a failure: a replacement follows at once, and if that fails, it is reported.
            RenewalOutcome::Refused(ref cause) | RenewalOutcome::Gone(ref cause) => {
                tracing::info!(source = source.request.name(), "{}", cause.message);
                let is_gone = matches!(renewal, RenewalOutcome::Gone(_));
                source.record_renewal_refusal(cause.clone(), is_gone, now);
            }
            RenewalOutcome::Failed(cause) => {
                let plan_retry = WatchedSecret::record_renewal_failure;
                self.handle_failed_action(index, cause, token, now, plan_retry);
            }
        }
    }

    /// If a secret never existed, its absence is no failure. If it was deleted, the last value stays published and
    /// the absence is reported.
    fn handle_failed_read(
        &mut self,
        index: usize,
        cause: Cause,
        token: &Arc<TrackedToken>,
        now: Reading,
    ) {
        let had_value = self.sources.get(index).is_some_and(WatchedSecret::has_value);
        if cause.is_absence() && !had_value {
            self.update_source(index, |source| source.hold_absence(now, false));
            return self.clear_failure(index);
        }
        self.handle_failed_action(index, cause, token, now, WatchedSecret::record_failure);
    }
}

//! What happens while the server is unreachable: one probe is sent at a time, and everything else that is due is
//! held back and reported.

use std::sync::Arc;
use std::time::Duration;

use super::RefreshTask;
use crate::VaultConfig;
use crate::error::Cause;
use crate::live::watched::{DueAction, WatchedSecret};
use crate::time::backoff::Urgency;
use crate::time::clock::Reading;
use crate::vault::{PlannedRequest, Recovery, token_urgency};

impl<T: VaultConfig + Send + Sync + 'static> RefreshTask<T> {
    /// Sends a probe if one is due, and reports the sources that wait for the server.
    pub(super) fn probe_server(&mut self, now: Reading) {
        if self.is_affected_by_outage(now) {
            self.start_probe(now);
        }
        if let Some(failure) = self.vault.blocking_token_failure(now) {
            self.fail_pending_refreshes(&failure);
        }
        // A pending refresh waits for the result of its probe before its sources are reported.
        if self.refresh_awaits_probe && !self.pending_refreshes.is_empty() {
            return;
        }
        let token_is_being_replaced = self.vault.token_is_being_replaced();
        for index in 0..self.sources.len() {
            let Some(source) = self.sources.get(index).filter(|source| !source.is_busy) else {
                continue;
            };
            let is_due = source.is_due(now, token_is_being_replaced);
            if let Some(cause) = self.vault.outage_cause().filter(|_| is_due) {
                self.hold_back(index, &cause, now);
            }
            self.complete_refreshes_of(index, now);
        }
    }

    /// Reading the metadata first costs one more of the token's uses, so it is not done if they are limited.
    pub(super) fn may_read_metadata(&self) -> bool {
        self.vault.active_token().is_none_or(|token| !token.is_use_limited())
    }

    /// Whether this configuration sends probes: only if something is due or failing. Otherwise the outage may pass
    /// unnoticed.
    fn is_affected_by_outage(&self, now: Reading) -> bool {
        let token_is_being_replaced = self.vault.token_is_being_replaced();
        let is_affected = |source: &WatchedSecret| {
            source.failure.is_some() || source.is_due(now, token_is_being_replaced)
        };
        self.vault.has_due_token_action(now) || self.sources.iter().any(is_affected)
    }

    /// The urgency of a request is that of everything that expires here: any response ends the outage for all.
    pub(super) fn planned_request<'a>(
        &self,
        source: &'a str,
        is_retry: bool,
        now: Reading,
    ) -> PlannedRequest<'a> {
        let of_sources = self.sources.iter().map(|source| source.urgency(now));
        let urgency = of_sources.fold(token_urgency(&self.vault, now), Urgency::max);
        PlannedRequest { source, is_retry, is_only_probe: false, urgency }
    }

    /// Probes that leave nothing at the server go first, because the response may be lost: a lost credential or login
    /// cannot be revoked. Each source is probed once before any is probed again, so that a source with a problem of
    /// its own does not hide a server that is reachable.
    fn start_probe(&mut self, now: Reading) {
        let has_usable_token = self.vault.has_usable_token();
        let is_inferred = self.vault.outage_is_inferred();
        for repeat in [false, true] {
            if has_usable_token && let Some((index, action)) = self.next_safe_probe(repeat, now) {
                return self.start_action(index, action, now);
            }
            if repeat || !self.vault.token_was_probed() {
                let action = self.vault.claim_safe_token_action(now);
                if action.is_some() {
                    return self.start_token_action(action);
                }
            }
            if has_usable_token
                && (repeat || is_inferred)
                && let Some((index, action)) = self.next_due_probe(repeat, now)
            {
                return self.start_action(index, action, now);
            }
        }
        self.start_token_action(self.vault.claim_token_action(now));
    }

    /// A read that leaves nothing at the server, due or not.
    fn next_safe_probe(&self, repeat: bool, now: Reading) -> Option<(usize, DueAction)> {
        let may_read_metadata = self.may_read_metadata();
        let is_safe = |source: &WatchedSecret| source.safe_probe(may_read_metadata).is_some();
        let index = self.next_admitted_source(is_safe, repeat, now)?;
        Some((index, self.sources.get(index)?.safe_probe(may_read_metadata)?))
    }

    /// Any action that is due, such as the renewal or replacement of a lease.
    fn next_due_probe(&mut self, repeat: bool, now: Reading) -> Option<(usize, DueAction)> {
        let token_is_being_replaced = self.vault.token_is_being_replaced();
        let is_due = |source: &WatchedSecret| source.is_due(now, token_is_being_replaced);
        let index = self.next_admitted_source(is_due, repeat, now)?;
        let source = self.sources.get_mut(index)?;
        Some((index, source.due_action(now, token_is_being_replaced, false).ok()??))
    }

    /// The source whose last action is longest ago, of those that `may_probe` and that are admitted now. Without
    /// `repeat`, sources that were probes in this outage are left out.
    fn next_admitted_source(
        &self,
        may_probe: impl Fn(&WatchedSecret) -> bool,
        repeat: bool,
        now: Reading,
    ) -> Option<usize> {
        let candidates = self.sources.iter().enumerate().filter(|(_, source)| {
            !source.is_busy
                && may_probe(source)
                && (repeat || !self.vault.was_probed(&source.request.name()))
        });
        let mut candidates: Vec<_> = candidates.collect();
        candidates.sort_by_key(|(_, source)| {
            let started = source.last_started();
            (started.monotonic, started.wall)
        });
        let is_admitted = |source: &WatchedSecret| {
            let name = source.request.name();
            self.vault.admit(self.planned_probe(source, &name, now), now).is_ok()
        };
        candidates.into_iter().find(|(_, source)| is_admitted(source)).map(|(index, _)| index)
    }

    fn planned_probe<'a>(
        &self,
        source: &WatchedSecret,
        name: &'a str,
        now: Reading,
    ) -> PlannedRequest<'a> {
        let is_only_probe = !source.is_due(now, self.vault.token_is_being_replaced());
        PlannedRequest { is_only_probe, ..self.planned_request(name, true, now) }
    }

    /// The wait until a probe may be sent, or until something is due and has to be reported as held back.
    pub(super) fn next_probe_in(&self, now: Reading) -> Option<Duration> {
        let token_is_being_replaced = self.vault.token_is_being_replaced();
        let is_affected = self.is_affected_by_outage(now);
        let waits = self.sources.iter().filter_map(|source| {
            let name = source.request.name();
            let admitted_in = || self.vault.admits_in(self.planned_probe(source, &name, now), now);
            let may_probe_early = is_affected && source.safe_probe(false).is_some();
            let own = source.due_in(now, token_is_being_replaced).map(|wait| {
                // Before the report, the source is waited for; after it, only the next probe.
                let is_reported = source.failure.is_some() || self.refresh_awaits_probe;
                if is_reported { wait.max(admitted_in()) } else { wait }
            });
            own.into_iter().chain(may_probe_early.then(admitted_in)).min()
        });
        waits.min()
    }

    fn hold_back(&mut self, index: usize, cause: &Arc<Cause>, now: Reading) {
        self.update_source(index, |source| source.skip_turn(now));
        if self.sources.get(index).is_some_and(|source| source.failure.is_none()) {
            self.set_failing_for_outage(index, cause, now);
        }
    }

    /// The server responds again. Sources that failed only because of the outage have recovered, and their next
    /// actions are spread.
    pub(super) fn finish_outage(&mut self, recovery: Recovery, now: Reading) {
        self.refresh_awaits_probe = false;
        for index in 0..self.sources.len() {
            let Some(source) = self.sources.get_mut(index) else { return };
            if source.failure.as_ref().is_some_and(|failure| failure.ends_with_outage(recovery)) {
                source.resume_after_outage(now);
                self.clear_failure(index);
            }
        }
        self.resume_pending_refreshes(now);
    }
}

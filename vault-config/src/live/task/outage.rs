//! While the server is away: one probe for all that is due, and what is said of the rest.

use std::sync::Arc;
use std::time::Duration;

use super::Task;
use crate::VaultConfig;
use crate::error::Cause;
use crate::live::watched::{DueAction, WatchedSecret};
use crate::time::backoff::Urgency;
use crate::time::clock::Reading;
use crate::vault::{PlannedRequest, Recovery, token_urgency};

impl<T: VaultConfig + Send + Sync + 'static> Task<T> {
    /// Sends the one request that may be sent now, if any, and reports what is held back.
    pub(super) fn probe(&mut self, now: Reading) {
        if self.wants_something(now) {
            self.start_probe(now);
        }
        if let Some(failure) = self.vault.blocking_token_failure(now) {
            self.report_to_all_that_wait(&failure);
        }
        // What is waited for is not held back before the probe has failed.
        if self.probe_is_awaited && !self.awaited.is_empty() {
            return;
        }
        let leaving = self.vault.token_is_being_replaced();
        for index in 0..self.sources.len() {
            let Some(source) = self.sources.get(index).filter(|source| !source.busy) else {
                continue;
            };
            let is_due = source.is_due(now, leaving);
            if let Some(cause) = self.vault.outage_cause().filter(|_| is_due) {
                self.hold_back(index, &cause, now);
            }
            self.report_to_waiting(index, now);
        }
    }

    /// To look at metadata first costs one more of a token's uses, where they are limited.
    pub(super) fn may_peek(&self) -> bool {
        self.vault.active_token().is_none_or(|held| !held.is_use_limited())
    }

    /// An outage in which nothing is due is none of this configuration's business.
    fn wants_something(&self, now: Reading) -> bool {
        let leaving = self.vault.token_is_being_replaced();
        let wants =
            |source: &WatchedSecret| source.failure.is_some() || source.is_due(now, leaving);
        self.vault.has_due_token_action(now) || self.sources.iter().any(wants)
    }

    /// The server is asked more often while anything here ends soon.
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

    /// What leaves nothing behind at the server goes first: the answer to what issues a credential, or
    /// logs in, may be lost.
    fn start_probe(&mut self, now: Reading) {
        let is_usable = self.vault.has_usable_token();
        let inferred = self.vault.outage_is_inferred();
        // Each in its turn: what is broken for itself must not stand for a server that is there.
        for again in [false, true] {
            if is_usable && let Some((index, action)) = self.harmless_probe(again, now) {
                return self.start(index, action, now);
            }
            if again || !self.vault.token_was_probed() {
                let action = self.vault.claim_safe_token_action(now);
                if action.is_some() {
                    return self.start_token_action(action);
                }
            }
            if is_usable
                && (again || inferred)
                && let Some((index, action)) = self.any_probe(again, now)
            {
                return self.start(index, action, now);
            }
        }
        self.start_token_action(self.vault.claim_token_action(now));
    }

    /// In turn, since one path may hang while the server is there.
    fn harmless_probe(&mut self, again: bool, now: Reading) -> Option<(usize, DueAction)> {
        let may_peek = self.may_peek();
        let is_harmless = |source: &WatchedSecret| source.harmless_action(may_peek).is_some();
        let index = self.admitted(is_harmless, again, now)?;
        Some((index, self.sources.get(index)?.harmless_action(may_peek)?))
    }

    /// A lease that is due.
    fn any_probe(&mut self, again: bool, now: Reading) -> Option<(usize, DueAction)> {
        let leaving = self.vault.token_is_being_replaced();
        let index = self.admitted(|source| source.is_due(now, leaving), again, now)?;
        Some((index, self.sources.get_mut(index)?.due(now, leaving, false).ok()??))
    }

    /// Of the sources that `may_probe`, the one that was asked for the longest time ago and may be now.
    fn admitted(
        &self,
        may_probe: impl Fn(&WatchedSecret) -> bool,
        again: bool,
        now: Reading,
    ) -> Option<usize> {
        let candidates = self.sources.iter().enumerate().filter(|(_, source)| {
            !source.busy
                && may_probe(source)
                && (again || !self.vault.was_probed(&source.request.name()))
        });
        let mut candidates: Vec<_> = candidates.collect();
        candidates.sort_by_key(|(_, source)| {
            let asked = source.last_asked();
            (asked.monotonic, asked.wall)
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

    /// The wait until a probe may be sent, or something has to be reported as held back.
    pub(super) fn wait_in_outage(&self, now: Reading) -> Option<Duration> {
        let (leaving, wants) = (self.vault.token_is_being_replaced(), self.wants_something(now));
        let waits = self.sources.iter().filter_map(|source| {
            let name = source.request.name();
            let admitted = || self.vault.admits_in(self.planned_probe(source, &name, now), now);
            let early = wants && source.harmless_action(false).is_some();
            let own = source.wait(now, leaving).map(|wait| {
                // That it is due and held back is reported once; from then on a probe is waited for.
                let is_reported = source.failure.is_some() || self.probe_is_awaited;
                if is_reported { wait.max(admitted()) } else { wait }
            });
            own.into_iter().chain(early.then(admitted)).min()
        });
        waits.min()
    }

    fn hold_back(&mut self, index: usize, cause: &Arc<Cause>, now: Reading) {
        self.with(index, |source| source.held_back(now));
        if self.sources.get(index).is_some_and(|source| source.failure.is_none()) {
            self.fails_for_outage(index, cause, now);
        }
    }

    /// The server answers again. What failed for its absence alone works, and comes back in its turn.
    pub(super) fn outage_ended(&mut self, recovery: Recovery, now: Reading) {
        self.probe_is_awaited = false;
        for index in 0..self.sources.len() {
            let Some(source) = self.sources.get_mut(index) else { return };
            if source.failure.as_ref().is_some_and(|failure| failure.ends_with_outage(recovery)) {
                source.outage_ended(now);
                self.recovered(index);
            }
        }
        self.refresh_awaited(now);
    }
}

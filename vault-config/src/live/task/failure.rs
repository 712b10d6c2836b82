//! The failure of a source: when it begins, when it ends, and what is logged and published about it.

use std::sync::Arc;

use super::RefreshTask;
use crate::VaultConfig;
use crate::error::{Cause, ErrorKind, Problem};
use crate::live::events::Event;
use crate::live::watched::WatchedSecret;
use crate::time::clock::Reading;
use crate::vault::{Failure, TrackedToken};

impl<T: VaultConfig + Send + Sync + 'static> RefreshTask<T> {
    /// An action with this token failed. `plan_retry` decides when it is tried again.
    pub(super) fn handle_failed_action(
        &mut self,
        index: usize,
        cause: Cause,
        token: &Arc<TrackedToken>,
        now: Reading,
        plan_retry: impl FnOnce(&mut WatchedSecret, Reading),
    ) {
        if cause.kind == ErrorKind::TokenInvalid {
            // A token that is used up is not dead: its leases stay valid.
            if !token.is_used_up() {
                self.vault.record_token_death(token, now);
            }
            // The source itself does not fail. Its action starts again as soon as there is another token.
            return self.update_source(index, |source| source.make_due_now(now));
        }
        self.counters.failures += 1;
        self.update_source(index, |source| plan_retry(source, now));
        self.set_failing(index, cause, now);
    }

    pub(super) fn set_failing(&mut self, index: usize, cause: Cause, now: Reading) {
        let Some(source) = self.sources.get(index) else { return };
        let cause = Arc::new(cause.at(format!("vault {}", source.request.name())));
        self.report_failure(index, cause, false, now);
    }

    /// The source is due, but no request is sent for it during the outage.
    pub(super) fn set_failing_for_outage(
        &mut self,
        index: usize,
        cause: &Arc<Cause>,
        now: Reading,
    ) {
        self.report_failure(index, Arc::clone(cause), true, now);
    }

    /// Logs and publishes a failure when it begins, and when its kind changes.
    fn report_failure(
        &mut self,
        index: usize,
        cause: Arc<Cause>,
        is_held_back: bool,
        now: Reading,
    ) {
        let Some(source) = self.sources.get_mut(index) else { return };
        let name = source.request.name();
        let before = source.failure.take();
        let is_new = before.as_ref().is_none_or(|failure| failure.cause.kind != cause.kind);
        let since = before.map_or(now.wall, |failure| failure.since);
        source.failure = Some(Failure { since, cause: Arc::clone(&cause), is_held_back });
        if !is_new {
            return;
        }
        let good_until = source.status(now).state.expires_at;
        let fields = source.field_paths.join(", ");
        tracing::warn!(source = name, fields, "failing: {}", cause.log_line());
        let problem = Problem::of_field(&fields, "", Vec::new(), cause);
        self.shared.publish_event(Event::Failing { source: name, problem, good_until });
    }

    /// The actions of the source succeed again.
    pub(super) fn clear_failure(&mut self, index: usize) {
        self.report_recovery_after(index, |source| source.failure.take().is_some());
    }

    /// The value that was rejected is published now.
    pub(super) fn clear_rejection(&mut self, index: usize) {
        self.report_recovery_after(index, |source| source.rejection.take().is_some());
    }

    /// Reports a recovery if `clear` cleared something and the source has no other failure left.
    fn report_recovery_after(
        &mut self,
        index: usize,
        clear: impl FnOnce(&mut WatchedSecret) -> bool,
    ) {
        let Some(source) = self.sources.get_mut(index) else { return };
        if !clear(source) || source.current_failure().is_some() {
            return;
        }
        let source = source.request.name();
        tracing::info!(source, "works again");
        self.shared.publish_event(Event::Recovered { source });
    }
}

//! What fails, and works again.

use std::sync::Arc;

use super::Task;
use crate::VaultConfig;
use crate::error::{Cause, ErrorKind, Problem};
use crate::live::events::Event;
use crate::live::watched::WatchedSecret;
use crate::time::clock::Reading;
use crate::vault::{Failure, TrackedToken};

impl<T: VaultConfig + Send + Sync + 'static> Task<T> {
    /// An action with the token `held` failed, and is tried again as `plan_retry` says.
    pub(super) fn failed(
        &mut self,
        index: usize,
        cause: Cause,
        held: &Arc<TrackedToken>,
        now: Reading,
        plan_retry: impl FnOnce(&mut WatchedSecret, Reading),
    ) {
        if cause.kind == ErrorKind::TokenInvalid {
            // Used up is not dead: it lives on, and so does what was issued under it.
            if !held.is_used_up() {
                self.vault.record_token_death(held, now);
            }
            // Again as soon as there is another token.
            return self.with(index, |source| source.make_due_now(now));
        }
        self.counters.failures += 1;
        self.with(index, |source| plan_retry(source, now));
        self.fails(index, cause, now);
    }

    pub(super) fn fails(&mut self, index: usize, cause: Cause, now: Reading) {
        let Some(source) = self.sources.get(index) else { return };
        let cause = Arc::new(cause.at(format!("vault {}", source.request.name())));
        self.report_failure(index, cause, false, now);
    }

    /// Nothing was asked for, because the server is away for everything.
    pub(super) fn fails_for_outage(&mut self, index: usize, cause: &Arc<Cause>, now: Reading) {
        self.report_failure(index, Arc::clone(cause), true, now);
    }

    /// Logged and reported when it begins, and when it fails for something else than before.
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
        let is_news = before.as_ref().is_none_or(|failure| failure.cause.kind != cause.kind);
        let since = before.map_or(now.wall, |failure| failure.since);
        source.failure = Some(Failure { since, cause: Arc::clone(&cause), is_held_back });
        if !is_news {
            return;
        }
        let good_until = source.status(now).state.expires_at;
        let names = source.names.join(", ");
        tracing::warn!(source = name, fields = names, "failing: {}", cause.log_line());
        let problem = Problem::of_field(&names, "", Vec::new(), cause);
        self.shared.report(Event::Failing { source: name, problem, good_until });
    }

    /// What is done for it works again.
    pub(super) fn recovered(&mut self, index: usize) {
        self.healthy_again(index, |source| source.failure.take().is_some());
    }

    /// What was read of it is published.
    pub(super) fn accepted(&mut self, index: usize) {
        self.healthy_again(index, |source| source.rejected.take().is_some());
    }

    fn healthy_again(&mut self, index: usize, works: impl FnOnce(&mut WatchedSecret) -> bool) {
        let Some(source) = self.sources.get_mut(index) else { return };
        if !works(source) || source.current_failure().is_some() {
            return;
        }
        let source = source.request.name();
        tracing::info!(source, "works again");
        self.shared.report(Event::Recovered { source });
    }
}

//! What fails, and works again.

use std::sync::Arc;

use super::Task;
use crate::VaultConfig;
use crate::error::{Cause, ErrorKind, Problem};
use crate::live::clock::Reading;
use crate::live::events::Event;
use crate::live::source::{Source, Trouble};
use crate::live::told;

impl<T: VaultConfig + Send + Sync + 'static> Task<T> {
    /// An action failed, and is tried again.
    pub(super) fn failed(&mut self, index: usize, cause: Cause, now: Reading) {
        if cause.kind == ErrorKind::TokenInvalid {
            // Again as soon as there is another token.
            self.token.died(&self.vault, now);
            return self.with(index, |source| source.hurry(now));
        }
        self.counters.failures += 1;
        self.with(index, |source| source.failed(now));
        self.fails(index, cause, now);
    }

    /// Logged and told when it begins, and when it fails for something else than before.
    pub(super) fn fails(&mut self, index: usize, cause: Cause, now: Reading) {
        let Some(source) = self.sources.get_mut(index) else { return };
        let name = source.request.name();
        let cause = Arc::new(cause.at(format!("vault {name}")));
        let before = source.trouble.take();
        let is_news = before.as_ref().is_none_or(|trouble| trouble.cause.kind != cause.kind);
        let since = before.map_or(now.wall, |trouble| trouble.since);
        source.trouble = Some(Trouble { since, cause: Arc::clone(&cause) });
        if !is_news {
            return;
        }
        let good_until = source.status(now).state.expires_at;
        let names = source.names.join(", ");
        tracing::warn!(source = name, fields = names, "failing: {}", told(&cause));
        let problem = Problem::of_field(&names, "", Vec::new(), cause);
        self.shared.tell(Event::Failing { source: name, problem, good_until });
    }

    /// What is done for it works again.
    pub(super) fn recovered(&mut self, index: usize) {
        self.well_again(index, |source| source.trouble.take().is_some());
    }

    /// What was read of it is published.
    pub(super) fn accepted(&mut self, index: usize) {
        self.well_again(index, |source| source.rejected.take().is_some());
    }

    fn well_again(&mut self, index: usize, mended: impl FnOnce(&mut Source) -> bool) {
        let Some(source) = self.sources.get_mut(index) else { return };
        if !mended(source) || source.wrong().is_some() {
            return;
        }
        let source = source.request.name();
        tracing::info!(source, "works again");
        self.shared.tell(Event::Recovered { source });
    }
}

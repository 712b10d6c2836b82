//! Whether the server is reachable, for all tasks that watch over one connection.

use std::sync::Arc;
use std::time::Duration;

use super::{ConnectionEvent, TOKEN};
use crate::error::Cause;
use crate::time::clock::Reading;
use crate::vault::Vault;
use crate::vault::reachability::{PlannedRequest, Recovery};

impl Vault {
    /// The cause of the outage, if there is one. During an outage nothing but probes is sent.
    pub(crate) fn outage_cause(&self) -> Option<Arc<Cause>> {
        self.upkeep().state().reachability.outage_cause()
    }

    /// Whether the outage is concluded from failures and was not stated by the server.
    pub(crate) fn outage_is_inferred(&self) -> bool {
        self.upkeep().state().reachability.is_inferred()
    }

    /// Whether a request of `source` was a probe in this outage.
    pub(crate) fn was_probed(&self, source: &str) -> bool {
        self.upkeep().state().reachability.was_probed(source)
    }

    pub(crate) fn token_was_probed(&self) -> bool {
        self.was_probed(TOKEN)
    }

    /// Whether the request may be sent now. The error is how long to wait.
    pub(crate) fn admit(&self, request: PlannedRequest<'_>, now: Reading) -> Result<(), Duration> {
        let pause = self.retry_after(now);
        if !pause.is_zero() {
            return Err(pause);
        }
        self.upkeep().state().reachability.admit(request, now, self.random())
    }

    /// The wait before [`admit`](Self::admit) can admit the request.
    pub(crate) fn admits_in(&self, request: PlannedRequest<'_>, now: Reading) -> Duration {
        let wait = self.upkeep().state().reachability.admits_in(request, now);
        wait.max(self.retry_after(now))
    }

    /// The server responded to a background request of `source`.
    pub(crate) fn record_response(&self, source: &str) {
        let recovery = self.upkeep().state().reachability.record_response(source);
        if let Some(recovery) = recovery {
            self.finish_outage(recovery);
        }
    }

    /// A background request of `source` failed.
    pub(crate) fn record_failure(&self, source: &str, cause: &Cause, now: Reading) {
        let pause = self.retry_after(now);
        let mut state = self.upkeep().state();
        let recovery = state.reachability.record_failure(source, cause, pause, now, self.random());
        let is_outage = state.reachability.outage_cause().is_some();
        drop(state);
        match recovery {
            Some(recovery) => self.finish_outage(recovery),
            None if is_outage => self.upkeep().publish(ConnectionEvent::OutageContinues),
            None => {}
        }
    }

    fn finish_outage(&self, recovery: Recovery) {
        let now = self.clock().now();
        if let Some(token) = self.active_token()
            && let Some(lifetime) = token.lifetime().as_mut()
        {
            lifetime.resume_after_outage(now, self.random());
        }
        let mut state = self.upkeep().state();
        let has_recovered =
            state.failure.take_if(|failure| failure.ends_with_outage(recovery)).is_some();
        if has_recovered {
            state.login_budget.outage_ended();
        }
        drop(state);
        self.upkeep().publish(ConnectionEvent::OutageEnded(recovery));
        if has_recovered {
            self.report_token_recovery();
        }
    }
}

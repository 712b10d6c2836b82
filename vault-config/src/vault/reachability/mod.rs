//! Decides whether the server is reachable, for everything that runs in the background over one connection.
//! While it is not, one request is sent as a probe instead of one for each path. Pure: no clock, no I/O.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Cause, ErrorKind, Evidence};
use crate::time::Deadline;
use crate::time::backoff::{self, Urgency};
use crate::time::clock::Reading;

#[derive(Debug, Default)]
pub(crate) struct Reachability {
    outage: Option<Outage>,
    /// Sources that failed since the last response from the server, in a way that does not show whether the
    /// server is reachable. Two of them are taken for an outage.
    doubtful: BTreeSet<String>,
    last_retry: Option<Reading>,
}

/// A request that a watched configuration would send now, if it is admitted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlannedRequest<'a> {
    pub(crate) source: &'a str,
    /// The last request for the source failed.
    pub(crate) is_retry: bool,
    /// The source is not due: the request would only find out whether the server is reachable.
    pub(crate) is_only_probe: bool,
    pub(crate) urgency: Urgency,
}

#[derive(Debug)]
struct Outage {
    cause: Arc<Cause>,
    failures: u32,
    last_probe: Reading,
    /// In `0.0..1.0`. It spreads the probes of instances that lost the server at the same moment.
    random: f64,
    /// The end of the pause that the server requested with `Retry-After`.
    pause: Option<Deadline>,
    /// A refresh was requested: the next probe is due at once.
    probe_is_requested: bool,
    /// The outage is concluded from several failures and was not stated by the server. A source that was not
    /// tried yet may still reach it.
    is_inferred: bool,
    /// The sources whose requests were probes in this outage.
    probed: BTreeSet<String>,
    /// The source whose request is the current probe.
    probing: Option<String>,
}

/// What the end of an outage shows about the failures during it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// The server was unreachable and has returned: all failures that may have had this reason end.
    ServerReturned,
    /// The server was reachable all the time: sources with a problem of their own still fail.
    ServerWasReachable,
}

impl Recovery {
    /// Whether a failure of this kind is assumed to end with the outage.
    pub(crate) fn covers(self, kind: ErrorKind) -> bool {
        match kind.evidence() {
            Evidence::Away => true,
            Evidence::Doubtful => self == Self::ServerReturned,
            Evidence::Answers | Evidence::Nothing => false,
        }
    }
}

impl Reachability {
    /// Whether the request may be sent now. The error is how long to wait.
    pub(crate) fn admit(
        &mut self,
        request: PlannedRequest<'_>,
        now: Reading,
        random: f64,
    ) -> Result<(), Duration> {
        let wait = self.admits_in(request, now);
        if !wait.is_zero() {
            return Err(wait);
        }
        match &mut self.outage {
            Some(outage) => outage.begin_probe(request.source, now, random),
            None if request.is_retry => self.last_retry = Some(now),
            None => {}
        }
        Ok(())
    }

    /// The wait before [`admit`](Self::admit) can admit the request.
    pub(crate) fn admits_in(&self, request: PlannedRequest<'_>, now: Reading) -> Duration {
        match &self.outage {
            Some(outage) => outage.admits_in(request, now),
            None if request.is_retry => self.retry_in(request.urgency.spacing, now),
            None => Duration::ZERO,
        }
    }

    fn retry_in(&self, spacing: Duration, now: Reading) -> Duration {
        let last = self.last_retry.map(|last| spacing.saturating_sub(now.since(last)));
        last.unwrap_or_default()
    }

    /// The server responded to a request of `source`. Returns `Some` if that ends an outage.
    pub(crate) fn record_response(&mut self, source: &str) -> Option<Recovery> {
        let was_doubtful = self.doubtful.contains(source);
        self.doubtful.clear();
        let outage = self.outage.take()?;
        match !outage.is_inferred || was_doubtful {
            true => Some(Recovery::ServerReturned),
            false => Some(Recovery::ServerWasReachable),
        }
    }

    /// A request of `source` failed. `pause` is the rest of the pause that the server requested with
    /// `Retry-After`. Returns `Some` if the failure is a response of the server and ends an outage.
    pub(crate) fn record_failure(
        &mut self,
        source: &str,
        cause: &Cause,
        pause: Duration,
        now: Reading,
        random: f64,
    ) -> Option<Recovery> {
        let is_inferred = match cause.kind.evidence() {
            _ if !pause.is_zero() => false,
            Evidence::Answers => return self.record_response(source),
            Evidence::Nothing => return None,
            Evidence::Away => false,
            Evidence::Doubtful => {
                self.doubtful.insert(source.to_owned());
                true
            }
        };
        match &mut self.outage {
            Some(outage) => outage.record_failure(source, cause, is_inferred, now),
            None if is_inferred && self.doubtful.len() < 2 => {}
            None => self.outage = Some(Outage::begin(cause, is_inferred, now, random)),
        }
        if let Some(outage) = &mut self.outage
            && !pause.is_zero()
        {
            // The jitter separates instances that were paused at the same moment.
            outage.pause = Some(Deadline::new(now, pause.mul_f64(1.0 + random / 10.0)));
        }
        None
    }

    /// Whether the outage is concluded from failures and was not stated by the server.
    pub(crate) fn is_inferred(&self) -> bool {
        self.outage.as_ref().is_some_and(|outage| outage.is_inferred)
    }

    /// Whether a request of `source` was a probe in this outage.
    pub(crate) fn was_probed(&self, source: &str) -> bool {
        self.outage.as_ref().is_some_and(|outage| outage.probed.contains(source))
    }

    /// The cause of the outage, if there is one. During an outage nothing but probes is admitted.
    pub(crate) fn outage_cause(&self) -> Option<Arc<Cause>> {
        self.outage.as_ref().map(|outage| Arc::clone(&outage.cause))
    }

    /// Makes the next probe due at once.
    pub(crate) fn request_probe(&mut self) {
        if let Some(outage) = &mut self.outage {
            outage.probe_is_requested = true;
        }
    }
}

impl Outage {
    fn begin(cause: &Cause, is_inferred: bool, now: Reading, random: f64) -> Self {
        Self {
            cause: Arc::new(cause.clone()),
            failures: 1,
            last_probe: now,
            random,
            pause: None,
            probe_is_requested: false,
            is_inferred,
            probed: BTreeSet::new(),
            probing: None,
        }
    }

    fn admits_in(&self, request: PlannedRequest<'_>, now: Reading) -> Duration {
        let is_untried = !request.is_only_probe && !self.probed.contains(request.source);
        let interval = match self.is_inferred && is_untried {
            _ if self.probe_is_requested => Duration::ZERO,
            true => request.urgency.spacing,
            false => backoff::probe(self.failures, request.urgency, self.random),
        };
        let wait = interval.saturating_sub(now.since(self.last_probe));
        self.pause.map_or(wait, |pause| wait.max(pause.remaining(now)))
    }

    /// The failure is counted in advance: a probe that never gets a response must not stop the probing.
    fn begin_probe(&mut self, source: &str, now: Reading, random: f64) {
        self.last_probe = now;
        self.random = random;
        self.probe_is_requested = false;
        self.failures = self.failures.saturating_add(1);
        self.probed.insert(source.to_owned());
        self.probing = Some(source.to_owned());
    }

    fn record_failure(&mut self, source: &str, cause: &Cause, is_inferred: bool, now: Reading) {
        // Requests that were under way when the outage began are not probes, and do not extend it.
        if self.probing.as_deref() == Some(source) {
            // A server that stops stating that it is unavailable may be reachable for other paths.
            self.is_inferred = is_inferred;
            self.probing = None;
            self.cause = Arc::new(cause.clone());
            self.last_probe = now;
        }
    }
}

#[cfg(test)]
mod tests;

//! Whether the server can be reached, for everything that runs in the background over one connection: one
//! probe while it is away instead of one a path. No clock, no I/O.

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
    /// Sources that failed in a way that leaves it open whether the server is there, since the last
    /// answer to anything.
    doubtful: BTreeSet<String>,
    last_retry: Option<Reading>,
}

/// What wants to be asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) source: &'a str,
    /// Its last request failed.
    pub(crate) repeats: bool,
    /// Nothing of its own is due: it would be asked to find out whether the server is there.
    pub(crate) is_early: bool,
    pub(crate) urgency: Urgency,
}

#[derive(Debug)]
struct Outage {
    cause: Arc<Cause>,
    failures: u32,
    last_probe: Reading,
    /// In `0.0..1.0`: instances that lost the server together do not come back together.
    random: f64,
    /// Until when the server has asked not to be asked.
    bound: Option<Deadline>,
    /// It was asked for: the next probe comes at once.
    is_hurried: bool,
    /// Concluded from several failures, and never said by the server: a source that was not tried yet
    /// may still find it there.
    is_inferred: bool,
    tried: BTreeSet<String>,
    /// The source whose request is the probe.
    probing: Option<String>,
}

/// What works again at the end of an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// The server, and with it all that failed for its absence, or may have.
    OfAll,
    /// The server was there: what failed for itself still fails.
    OfOthers,
}

impl Recovery {
    /// Whether what failed with this kind is presumed to work again.
    pub(crate) fn covers(self, kind: ErrorKind) -> bool {
        match kind.evidence() {
            Evidence::Away => true,
            Evidence::Doubtful => self == Self::OfAll,
            Evidence::Answers | Evidence::Nothing => false,
        }
    }
}

impl Reachability {
    /// Whether this may be asked now; otherwise how long to wait.
    pub(crate) fn admit(
        &mut self,
        asker: Asker<'_>,
        now: Reading,
        random: f64,
    ) -> Result<(), Duration> {
        let wait = self.admits_in(asker, now);
        if !wait.is_zero() {
            return Err(wait);
        }
        match &mut self.outage {
            Some(outage) => outage.begin_probe(asker.source, now, random),
            None if asker.repeats => self.last_retry = Some(now),
            None => {}
        }
        Ok(())
    }

    /// The wait before [`admit`](Self::admit) can admit it.
    pub(crate) fn admits_in(&self, asker: Asker<'_>, now: Reading) -> Duration {
        match &self.outage {
            Some(outage) => outage.admits_in(asker, now),
            None if asker.repeats => self.retry_in(asker.urgency.spacing, now),
            None => Duration::ZERO,
        }
    }

    fn retry_in(&self, spacing: Duration, now: Reading) -> Duration {
        let last = self.last_retry.map(|last| spacing.saturating_sub(now.since(last)));
        last.unwrap_or_default()
    }

    /// The server answered `source`. The outage that this ends, if there was one.
    pub(crate) fn answered(&mut self, source: &str) -> Option<Recovery> {
        let was_doubtful = self.doubtful.contains(source);
        self.doubtful.clear();
        let outage = self.outage.take()?;
        match !outage.is_inferred || was_doubtful {
            true => Some(Recovery::OfAll),
            false => Some(Recovery::OfOthers),
        }
    }

    /// A request of `source` failed. `bound` is for how long the server has asked not to be asked, by
    /// `Retry-After`. The outage that the failure ends, if it was answered.
    pub(crate) fn failed(
        &mut self,
        source: &str,
        cause: &Cause,
        bound: Duration,
        now: Reading,
        random: f64,
    ) -> Option<Recovery> {
        let is_inferred = match cause.kind.evidence() {
            _ if !bound.is_zero() => false,
            Evidence::Answers => return self.answered(source),
            Evidence::Nothing => return None,
            Evidence::Away => false,
            Evidence::Doubtful => {
                self.doubtful.insert(source.to_owned());
                true
            }
        };
        match &mut self.outage {
            Some(outage) => outage.request_failed(source, cause, is_inferred, now),
            None if is_inferred && self.doubtful.len() < 2 => {}
            None => self.outage = Some(Outage::begin(cause, is_inferred, now, random)),
        }
        if let Some(outage) = &mut self.outage
            && !bound.is_zero()
        {
            // Instances that were bound together separate here.
            outage.bound = Some(Deadline::new(now, bound.mul_f64(1.0 + random / 10.0)));
        }
        None
    }

    pub(crate) fn is_inferred(&self) -> bool {
        self.outage.as_ref().is_some_and(|outage| outage.is_inferred)
    }

    pub(crate) fn was_probe(&self, source: &str) -> bool {
        self.outage.as_ref().is_some_and(|outage| outage.tried.contains(source))
    }

    /// Why nothing is asked for at the moment.
    pub(crate) fn outage(&self) -> Option<Arc<Cause>> {
        self.outage.as_ref().map(|outage| Arc::clone(&outage.cause))
    }

    /// The next probe is made as soon as possible.
    pub(crate) fn hurry(&mut self) {
        if let Some(outage) = &mut self.outage {
            outage.is_hurried = true;
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
            bound: None,
            is_hurried: false,
            is_inferred,
            tried: BTreeSet::new(),
            probing: None,
        }
    }

    fn admits_in(&self, asker: Asker<'_>, now: Reading) -> Duration {
        let is_untried = !asker.is_early && !self.tried.contains(asker.source);
        let pace = match self.is_inferred && is_untried {
            _ if self.is_hurried => Duration::ZERO,
            true => asker.urgency.spacing,
            false => backoff::probe(self.failures, asker.urgency, self.random),
        };
        let wait = pace.saturating_sub(now.since(self.last_probe));
        self.bound.map_or(wait, |bound| wait.max(bound.remaining(now)))
    }

    /// A probe that is never answered is followed by another all the same.
    fn begin_probe(&mut self, source: &str, now: Reading, random: f64) {
        self.last_probe = now;
        self.random = random;
        self.is_hurried = false;
        self.failures = self.failures.saturating_add(1);
        self.tried.insert(source.to_owned());
        self.probing = Some(source.to_owned());
    }

    fn request_failed(&mut self, source: &str, cause: &Cause, is_inferred: bool, now: Reading) {
        // Requests that were under way when the outage began are no probes.
        if self.probing.as_deref() == Some(source) {
            // A server that no longer says that it is away may be there for other paths.
            self.is_inferred = is_inferred;
            self.probing = None;
            self.cause = Arc::new(cause.clone());
            self.last_probe = now;
        }
    }
}

#[cfg(test)]
mod tests;

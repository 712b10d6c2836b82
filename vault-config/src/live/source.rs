//! One secret or credential that is kept fresh: what is in hand, and what is due.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::clock::Reading;
use super::schedule::{self, Budget, Rotation, Step, Term};
use super::status::{Action, SourceStatus, State};
use crate::engine::{Facts, Refresh, Request};
use crate::error::Cause;
use crate::resolve::{Given, Pending};
use crate::vault::{Held, LeaseId, Leaving};

pub(super) struct Source {
    pub(super) request: Request,
    pub(super) fields: Pending,
    /// The fields' paths.
    pub(super) names: Vec<String>,
    /// How often it is read again; `None` for never.
    every: Option<Duration>,
    pub(super) stand: Stand,
    pub(super) busy: bool,
    /// Somebody asked for it while it was busy.
    again: bool,
    pub(super) budget: Budget,
    failures: u32,
    pub(super) trouble: Option<Trouble>,
    last_success: SystemTime,
    /// The token may look at the secret's metadata, as far as anybody knows.
    pub(super) has_metadata: bool,
}

/// What is in hand.
pub(super) enum Stand {
    Leased(Leased),
    /// A static role's password, and how often its rotation was waited for.
    Rotating {
        rotation: Rotation,
        read: Reading,
        polls: u32,
        next: Next,
    },
    /// What is stored; nothing when it was absent from the start.
    Stored {
        version: Option<u64>,
        is_there: bool,
        next: Option<Next>,
    },
}

pub(super) struct Leased {
    /// Nothing for what simply ends, such as a certificate.
    pub(super) id: Option<LeaseId>,
    pub(super) term: Term,
    /// The token that it dies with.
    pub(super) under: Option<Arc<Held>>,
    is_orphan: bool,
}

/// A moment by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    since: Reading,
    after: Duration,
}

/// Why the last action failed, and since when they do.
pub(super) struct Trouble {
    pub(super) since: SystemTime,
    pub(super) cause: Arc<Cause>,
}

/// What is to be done for a source.
pub(super) enum Due {
    /// Read, or look first whether this version is still the newest.
    Read {
        unless: Option<u64>,
    },
    Mint,
    Renew {
        id: LeaseId,
        full: Duration,
    },
}

impl Next {
    pub(super) fn new(since: Reading, after: Duration) -> Self {
        Self { since, after }
    }

    pub(super) fn wait(self, now: Reading) -> Duration {
        self.after.saturating_sub(now.since(self.since))
    }
}

impl Leased {
    /// The sooner of its own end and its token's.
    pub(super) fn left(&self, now: Reading) -> Option<Duration> {
        let token = self.under.as_ref().map(|held| held.term());
        let token = token.as_ref().and_then(|term| term.as_ref()?.left(now));
        self.term.left(now).into_iter().chain(token).min()
    }

    /// It was replaced late: renewed once more, it leaves everybody the time to change over.
    pub(super) fn deserves_grace(&self, now: Reading) -> bool {
        !self.is_orphan && self.term.could_last(now)
    }

    /// How long it was to live when it was made.
    fn life(&self) -> Option<Duration> {
        let own = (!self.term.full().is_zero()).then(|| self.term.full());
        let term = self.under.as_ref().map(|held| held.term());
        let token = term.as_ref().and_then(|term| term.as_ref()).map(Term::full);
        own.into_iter().chain(token.filter(|full| !full.is_zero())).min()
    }

    /// In how long nothing can wait for anything any more; nothing when it never ends.
    fn urgent_in(&self, now: Reading) -> Option<Duration> {
        Some(self.left(now)?.saturating_sub(self.life().unwrap_or_default() / 6))
    }

    fn is_urgent(&self, now: Reading) -> bool {
        self.urgent_in(now).is_some_and(|wait| wait.is_zero())
    }

    /// Its token is leaving: nothing renews it any more, and this dies with it.
    fn loses_its_token(&self, now: Reading) -> bool {
        let Some(held) = self.under.as_ref().filter(|_| !self.is_orphan) else { return false };
        match held.left() {
            None => false,
            Some(Leaving::Ended) => true,
            Some(Leaving::UsedUp) => {
                held.term().as_ref().is_some_and(|term| term.due(now).is_some())
            }
        }
    }
}

impl Source {
    pub(super) fn new(given: Given, names: Vec<String>, every: Duration, now: Reading) -> Self {
        let asked = given.fields.iter().filter_map(|(_, engine)| engine.refresh());
        let every =
            interval(asked, given.fields.len(), every).filter(|_| given.request.can_change());
        let mut source = Self {
            request: given.request,
            fields: given.fields,
            names,
            every,
            stand: Stand::Stored { version: None, is_there: false, next: None },
            busy: false,
            again: false,
            budget: Budget::default(),
            failures: 0,
            trouble: None,
            last_success: now.wall,
            has_metadata: true,
        };
        match given.facts {
            Some(facts) => drop(source.settle(facts, now, true)),
            None => source.absent(now, true),
        }
        source
    }

    /// Takes what was read or made; the lease before is returned.
    pub(super) fn settle(&mut self, facts: Facts, now: Reading, first: bool) -> Option<Leased> {
        self.succeeded(now);
        let (asked, under) = match facts.made {
            Some(made) => (made.asked, Some(made.under)),
            None => (now, None),
        };
        let random = fastrand::f64();
        let stand = if let Some(lease) = facts.lease {
            let term = Term::new(asked, lease.ttl, lease.ttl, lease.renewable, random);
            Stand::Leased(Leased { id: Some(lease.id), term, under, is_orphan: false })
        } else if let Some(life) = facts.life {
            // It does not die with its token.
            let term = Term::of_fixed_life(asked, life, random);
            Stand::Leased(Leased { id: None, term, under: None, is_orphan: false })
        } else if let Some(rotation) = facts.rotation {
            self.rotating(rotation, asked, random)
        } else {
            let next =
                self.every.map(|every| Next::new(asked, schedule::reread(every, first, random)));
            Stand::Stored { version: facts.version, is_there: true, next }
        };
        match std::mem::replace(&mut self.stand, stand) {
            Stand::Leased(before) => Some(before),
            _ => None,
        }
    }

    fn rotating(&self, rotation: Rotation, read: Reading, random: f64) -> Stand {
        let (before, polls) = match &self.stand {
            Stand::Rotating { rotation, read, polls, .. } => (Some((rotation, *read)), *polls),
            _ => (None, 0),
        };
        let compared = before.map(|(rotation, earlier)| (rotation, read.since(earlier)));
        let (after, under_way) = rotation.next(compared, polls, random);
        // Somebody may rotate it by hand.
        let after = self.every.map_or(after, |every| after.min(every));
        let next = Next::new(read, after);
        match before {
            // While a rotation is waited for, what was read before the wait is compared with.
            Some((before, earlier)) if under_way && polls > 0 && before.last == rotation.last => {
                Stand::Rotating { rotation: before.clone(), read: earlier, polls: polls + 1, next }
            }
            _ => Stand::Rotating { rotation, read, polls: u32::from(under_way), next },
        }
    }

    /// Nothing is there, as nothing was before.
    pub(super) fn absent(&mut self, now: Reading, first: bool) {
        self.succeeded(now);
        let after = self.every.map(|every| schedule::reread(every, first, fastrand::f64()));
        let next = after.map(|after| Next::new(now, after));
        self.stand = Stand::Stored { version: None, is_there: false, next };
    }

    /// What is in hand is still what is stored.
    pub(super) fn unchanged(&mut self, now: Reading) {
        self.succeeded(now);
        if let Stand::Stored { next: Some(next), .. } = &mut self.stand
            && let Some(every) = self.every
        {
            *next = Next::new(now, schedule::reread(every, false, fastrand::f64()));
        }
    }

    pub(super) fn succeeded(&mut self, now: Reading) {
        self.failures = 0;
        self.last_success = now.wall;
    }

    /// The action failed for something that may pass.
    pub(super) fn failed(&mut self, now: Reading) {
        self.failures = self.failures.saturating_add(1);
        let random = fastrand::f64();
        let again =
            |every: Duration| Next::new(now, schedule::retry_read(self.failures, every, random));
        match &mut self.stand {
            Stand::Leased(leased) => leased.term.failed(now, random),
            Stand::Rotating { next, .. } => *next = again(self.every.unwrap_or(Duration::MAX)),
            Stand::Stored { next, .. } => {
                *next = Some(again(self.every.unwrap_or(Duration::MAX)));
            }
        }
    }

    /// Whether something was there at the last reading.
    pub(super) fn was_there(&self) -> bool {
        !matches!(self.stand, Stand::Stored { is_there: false, .. })
    }

    /// Its action has ended.
    pub(super) fn rests(&mut self, now: Reading) {
        self.busy = false;
        if std::mem::take(&mut self.again) {
            self.hurry(now);
        }
    }

    /// Somebody asked for it now.
    pub(super) fn hurry(&mut self, now: Reading) {
        self.again = self.busy;
        match &mut self.stand {
            Stand::Leased(leased) => leased.term.hurry(),
            Stand::Rotating { next, .. } => *next = Next::new(now, Duration::ZERO),
            Stand::Stored { next, .. } => *next = Some(Next::new(now, Duration::ZERO)),
        }
    }

    /// What has to be done now, if anything. Nothing is made while the token is `leaving`, unless
    /// what is in hand ends sooner.
    pub(super) fn due(&mut self, now: Reading, leaving: bool) -> Option<Due> {
        if self.busy {
            return None;
        }
        match &mut self.stand {
            Stand::Leased(leased) => {
                if leased.loses_its_token(now) {
                    leased.is_orphan = true;
                    leased.term.lost();
                }
                match leased.term.due(now)? {
                    Step::Renew => {
                        Some(Due::Renew { id: leased.id.clone()?, full: leased.term.full() })
                    }
                    Step::Replace if leaving && !leased.is_urgent(now) => None,
                    Step::Replace => {
                        let age = leased.term.age(now);
                        if let Err(wait) = self.budget.allows(now, age, leased.life()) {
                            leased.term.postpone(now, wait);
                            return None;
                        }
                        Some(Due::Mint)
                    }
                }
            }
            Stand::Rotating { next, .. } => {
                next.wait(now).is_zero().then_some(Due::Read { unless: None })
            }
            Stand::Stored { version, next, .. } => {
                let unless = version.filter(|_| self.has_metadata && self.trouble.is_none());
                (*next)?.wait(now).is_zero().then_some(Due::Read { unless })
            }
        }
    }

    /// How long there is nothing to do.
    pub(super) fn wait(&self, now: Reading, leaving: bool) -> Option<Duration> {
        match &self.stand {
            _ if self.busy => None,
            Stand::Leased(leased) => {
                let (step, wait) = match leased.loses_its_token(now) {
                    true => (Step::Replace, Duration::ZERO),
                    false => leased.term.next(now)?,
                };
                match step {
                    Step::Replace if leaving => leased.urgent_in(now).map(|in_| in_.max(wait)),
                    _ => Some(wait),
                }
            }
            Stand::Rotating { next, .. } => Some(next.wait(now)),
            Stand::Stored { next, .. } => next.map(|next| next.wait(now)),
        }
    }

    /// How long one request may take.
    pub(super) fn patience(&self, longest: Duration) -> Duration {
        let life = match &self.stand {
            Stand::Leased(leased) => leased.life(),
            _ => None,
        };
        schedule::patience(life, self.failures, longest)
    }

    pub(super) fn status(&self, now: Reading) -> SourceStatus {
        let mut state = State::well();
        state.last_success = Some(self.last_success);
        match &self.stand {
            Stand::Leased(leased) => {
                let life = leased.life().unwrap_or_default();
                state.ends(now.wall, leased.left(now), life);
                if let Some((step, wait)) = leased.term.next(now) {
                    let action = match step {
                        Step::Renew => Action::Renew,
                        Step::Replace => Action::Rotate,
                    };
                    state.plan(now.wall, action, wait);
                }
            }
            Stand::Rotating { next, .. } => state.plan(now.wall, Action::Read, next.wait(now)),
            Stand::Stored { next: Some(next), .. } => {
                state.plan(now.wall, Action::Read, next.wait(now));
            }
            Stand::Stored { next: None, .. } => {}
        }
        if let Some(trouble) = &self.trouble {
            state.failing_since = Some(trouble.since);
            state.error = Some(super::told(&trouble.cause));
        }
        SourceStatus { source: self.request.name(), fields: self.names.clone(), state }
    }
}

/// The shortest that any field asks for; never only when all of them say so.
fn interval(
    asked: impl Iterator<Item = Refresh>,
    fields: usize,
    default: Duration,
) -> Option<Duration> {
    let asked: Vec<_> = asked.collect();
    let unsaid = (asked.len() < fields).then_some(default);
    let said = asked.into_iter().filter_map(|refresh| match refresh {
        Refresh::Never => None,
        Refresh::Every(milliseconds) => Some(Duration::from_millis(milliseconds)),
    });
    said.chain(unsaid).min()
}

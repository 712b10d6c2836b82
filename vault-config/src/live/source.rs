//! One secret or credential that is kept fresh: what is in hand, and what is due.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::clock::Reading;
use super::schedule::{self, Budget, Looking, Rotation, Step, Term};
use super::status::{Action, SourceStatus, State};
use crate::engine::{Facts, Refresh, Request};
use crate::error::{Cause, ErrorKind};
use crate::resolve::{Given, Pending};
use crate::vault::{Held, LeaseId, Leaving};

/// However often a static role is rotated, and however little was left when it was first read.
const SHORTEST_PERIOD: Duration = Duration::from_secs(30);

pub(super) struct Source {
    pub(super) request: Request,
    pub(super) fields: Pending,
    /// The fields' paths.
    pub(super) names: Vec<String>,
    /// How often it is read again; `None` for never.
    every: Option<Duration>,
    /// A field says how often.
    is_paced: bool,
    pub(super) stand: Stand,
    pub(super) busy: bool,
    /// Somebody asked for it while it was busy.
    again: bool,
    pub(super) budget: Budget,
    failures: u32,
    /// What is done for it fails.
    pub(super) trouble: Option<Trouble>,
    /// What was read last does not make a valid configuration.
    pub(super) rejected: Option<Rejected>,
    last_success: SystemTime,
    pub(super) looking: Looking,
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
        /// When the password is another one, if it is not read again before.
        stale: Next,
        /// The longest that was ever left until the next rotation.
        period: Duration,
    },
    /// What is stored; nothing when it was absent from the start.
    Stored {
        version: Option<u64>,
        is_there: bool,
        next: Option<Next>,
    },
}

pub(super) struct Leased {
    /// Nothing for what nobody can renew, and so not cut short either: a certificate, or a lease that
    /// says so.
    pub(super) id: Option<LeaseId>,
    pub(super) term: Term,
    /// The token that it dies with.
    pub(super) under: Option<Arc<Held>>,
    is_orphan: bool,
    /// Why it will never be renewed.
    refusal: Option<Cause>,
    /// Since when the server does not know it any more: the credential is dead.
    gone: Option<Reading>,
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

/// Why what was read is not published, and since when.
pub(super) struct Rejected {
    pub(super) trouble: Trouble,
    /// When the credential that is published still, and was replaced, ends.
    ends: Option<Next>,
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

    fn over(self, now: Reading) -> Duration {
        now.since(self.since).saturating_sub(self.after)
    }
}

impl Leased {
    fn new(id: Option<LeaseId>, term: Term, under: Option<Arc<Held>>) -> Self {
        Self { id, term, under, is_orphan: false, refusal: None, gone: None }
    }

    pub(super) fn renewed(&mut self, asked: Reading, ttl: Duration) {
        self.term.renewed(asked, ttl, fastrand::f64());
        self.gone = None;
    }

    /// It is replaced at once; `is_gone` is whether it is dead by now.
    pub(super) fn refused(&mut self, cause: Cause, is_gone: bool, now: Reading) {
        self.term.refused();
        self.refusal = Some(cause);
        self.gone = self.gone.or(is_gone.then_some(now));
    }

    /// The sooner of its own end and its token's.
    pub(super) fn left(&self, now: Reading) -> Option<Duration> {
        if self.gone.is_some() {
            return Some(Duration::ZERO);
        }
        let token = self.under.as_ref().map(|held| held.term());
        let token = token.as_ref().and_then(|term| term.as_ref()?.left(now));
        self.term.left(now).into_iter().chain(token).min()
    }

    /// For how long it has been over, by itself or with its token.
    fn over(&self, now: Reading) -> Duration {
        let token = self.under.as_ref().map(|held| held.term());
        let token = token.as_ref().and_then(|term| Some(term.as_ref()?.over(now)));
        self.term.over(now).max(token.unwrap_or_default())
    }

    /// It was replaced late: renewed once more, it leaves everybody the time to change over.
    pub(super) fn deserves_grace(&self, now: Reading) -> bool {
        !self.is_orphan && self.gone.is_none() && self.term.could_last(now)
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

    /// What is wrong when no other is made before `wait` has passed; nothing when this one lasts
    /// until then, and is replaced in its turn.
    fn held_up(&self, now: Reading, wait: Duration, trouble: Option<&Trouble>) -> Option<Cause> {
        let ends_before = self.left(now).is_some_and(|left| left <= wait);
        if self.refusal.is_none() && !ends_before {
            return None;
        }
        // Why none was made is what has to be mended.
        let failed = trouble.map(|trouble| &*trouble.cause);
        let failed = failed.filter(|cause| cause.kind != ErrorKind::LeaseLost);
        let why = match (&self.refusal, self.gone, failed) {
            (_, _, Some(cause)) => cause.what.as_str(),
            (Some(refusal), _, None) => refusal.what.as_str(),
            (None, Some(_), None) => "the lease died with its token",
            (None, None, None) => "what is in hand is about to end",
        };
        let next = now.wall.checked_add(wait).map(crate::time::rfc3339::shown);
        let next = next.map_or_else(String::new, |next| format!(" before {next}"));
        let what = format!(
            "{why}; in the last ten minutes so many credentials were asked for that no other is \
             made{next}"
        );
        let help = "see in the server's audit log who revokes the leases or their token, and let \
                    the token's policies allow update on sys/leases/renew, as `default` does";
        let help = failed.map_or(help, |cause| cause.help.as_str());
        Some(Cause::new(ErrorKind::LeaseLost, what, help))
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
        let asked: Vec<_> =
            given.fields.iter().filter_map(|(_, engine)| engine.refresh()).collect();
        let is_paced = asked.iter().any(|refresh| matches!(refresh, Refresh::Every(_)));
        let every = interval(&asked, given.fields.len(), every);
        let every = every.filter(|_| given.request.can_change());
        let mut source = Self {
            request: given.request,
            fields: given.fields,
            names,
            every,
            is_paced,
            stand: Stand::Stored { version: None, is_there: false, next: None },
            busy: false,
            again: false,
            budget: Budget::default(),
            failures: 0,
            trouble: None,
            rejected: None,
            last_success: now.wall,
            looking: Looking::default(),
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
            // A certificate may end before its lease does.
            let lives = [lease.ttl, facts.life.unwrap_or_default()];
            let ttl = lives.into_iter().filter(|life| !life.is_zero()).min().unwrap_or_default();
            let term = Term::new(asked, ttl, ttl, lease.renewable, random);
            Stand::Leased(Leased::new(lease.renewable.then_some(lease.id), term, under))
        } else if let Some(life) = facts.life.filter(|life| !self.is_read_within(*life)) {
            // It does not die with its token.
            Stand::Leased(Leased::new(None, Term::of_fixed_life(asked, life, random), None))
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

    /// A field says how often, and that is often enough for what ends after `life`.
    fn is_read_within(&self, life: Duration) -> bool {
        self.is_paced && self.every.is_some_and(|every| every <= life / 2)
    }

    fn rotating(&self, rotation: Rotation, read: Reading, random: f64) -> Stand {
        let (before, polls, longest) = match &self.stand {
            Stand::Rotating { rotation, read, polls, period, .. } => {
                (Some((rotation, *read)), *polls, *period)
            }
            _ => (None, 0, Duration::ZERO),
        };
        let compared = before.map(|(rotation, earlier)| (rotation, read.since(earlier)));
        let (after, under_way) = rotation.next(compared, polls, random);
        // Somebody may rotate it by hand.
        let after = self.every.map_or(after, |every| after.min(every));
        let next = Next::new(read, after);
        let stale = Next::new(read, rotation.stale_in(under_way));
        let period = longest.max(rotation.ttl);
        match before {
            // While a rotation is waited for, what was read before the wait is compared with.
            Some((before, earlier)) if under_way && polls > 0 && before.last == rotation.last => {
                let (rotation, read, polls) = (before.clone(), earlier, polls + 1);
                Stand::Rotating { rotation, read, polls, next, stale, period }
            }
            _ => {
                let polls = u32::from(under_way);
                Stand::Rotating { rotation, read, polls, next, stale, period }
            }
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

    /// What is wrong with it now.
    pub(super) fn wrong(&self) -> Option<&Trouble> {
        self.trouble.as_ref().or(self.rejected.as_ref().map(|rejected| &rejected.trouble))
    }

    /// What was read is not published for this reason.
    pub(super) fn rejects(&mut self, cause: Cause, now: Reading) {
        let (since, ends) = match self.rejected.take() {
            Some(before) => (before.trouble.since, before.ends),
            None => (now.wall, None),
        };
        let trouble = Trouble { since, cause: Arc::new(cause) };
        self.rejected = Some(Rejected { trouble, ends });
    }

    /// Another credential was made or read, and the one before is published still when this one is
    /// not; it ends in `left`.
    pub(super) fn keeps(&mut self, left: Option<Duration>, now: Reading) {
        if let Some(rejected) = &mut self.rejected {
            rejected.ends = rejected.ends.or(left.map(|left| Next::new(now, left)));
        }
    }

    /// Whether something was there at the last reading.
    pub(super) fn was_there(&self) -> bool {
        !matches!(self.stand, Stand::Stored { is_there: false, .. })
    }

    /// The server does not take this token any more: what was made under it is dead too.
    pub(super) fn dies_with(&mut self, token: &Arc<Held>, now: Reading) {
        let Stand::Leased(leased) = &mut self.stand else { return };
        if leased.under.as_ref().is_some_and(|held| Arc::ptr_eq(held, token)) {
            leased.gone = leased.gone.or(Some(now));
        }
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
    ///
    /// # Errors
    /// No other credential may be made for a while, and the one in hand is lost.
    pub(super) fn due(&mut self, now: Reading, leaving: bool) -> Result<Option<Due>, Cause> {
        if self.busy {
            return Ok(None);
        }
        match &mut self.stand {
            Stand::Leased(leased) => {
                if leased.loses_its_token(now) {
                    leased.is_orphan = true;
                    leased.term.lost();
                }
                let Some(step) = leased.term.due(now) else { return Ok(None) };
                match step {
                    Step::Renew => {
                        let full = leased.term.full();
                        Ok(leased.id.clone().map(|id| Due::Renew { id, full }))
                    }
                    Step::Replace if leaving && !leased.is_urgent(now) => Ok(None),
                    Step::Replace => {
                        let age = leased.term.age(now);
                        let Err(wait) = self.budget.allows(now, age, leased.life()) else {
                            return Ok(Some(Due::Mint));
                        };
                        leased.term.postpone(now, wait);
                        leased.held_up(now, wait, self.trouble.as_ref()).map_or(Ok(None), Err)
                    }
                }
            }
            Stand::Rotating { next, .. } => {
                Ok(next.wait(now).is_zero().then_some(Due::Read { unless: None }))
            }
            Stand::Stored { version, next, .. } => {
                let is_due = next.is_some_and(|next| next.wait(now).is_zero());
                let unless =
                    version.filter(|_| self.looking.is_worth_it() && self.trouble.is_none());
                Ok(is_due.then_some(Due::Read { unless }))
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
            Stand::Rotating { period, .. } => Some((*period).max(SHORTEST_PERIOD)),
            Stand::Stored { .. } => None,
        };
        schedule::patience(life, self.failures, longest)
    }

    pub(super) fn status(&self, now: Reading) -> SourceStatus {
        let mut state = State::well();
        state.last_success = Some(self.last_success);
        match &self.stand {
            Stand::Leased(leased) => {
                let life = leased.life().unwrap_or_default();
                state.ends(now.wall, leased.left(now), leased.over(now), life);
                if let Some(gone) = leased.gone {
                    state.expires_at = Some(gone.wall);
                    state.error = leased.refusal.as_ref().map(super::told);
                }
                if let Some((step, wait)) = leased.term.next(now) {
                    let action = match step {
                        Step::Renew => Action::Renew,
                        Step::Replace => Action::Rotate,
                    };
                    state.plan(now.wall, action, wait);
                }
            }
            Stand::Rotating { next, stale, .. } => {
                // It is as good as any until then.
                state.ends(now.wall, Some(stale.wait(now)), stale.over(now), Duration::ZERO);
                state.plan(now.wall, Action::Read, next.wait(now));
            }
            Stand::Stored { next: Some(next), .. } => {
                state.plan(now.wall, Action::Read, next.wait(now));
            }
            Stand::Stored { next: None, .. } => {}
        }
        if let Some(ends) = self.rejected.as_ref().and_then(|rejected| rejected.ends) {
            state.ends(now.wall, Some(ends.wait(now)), ends.over(now), Duration::ZERO);
        }
        if let Some(trouble) = self.wrong() {
            state.failing_since = Some(trouble.since);
            state.error = Some(super::told(&trouble.cause));
        }
        SourceStatus { source: self.request.name(), fields: self.names.clone(), state }
    }
}

/// The shortest that any field asks for; never only when all of them say so.
fn interval(asked: &[Refresh], fields: usize, default: Duration) -> Option<Duration> {
    let unsaid = (asked.len() < fields).then_some(default);
    let said = asked.iter().filter_map(|refresh| match refresh {
        Refresh::Never => None,
        Refresh::Every(milliseconds) => Some(Duration::from_millis(*milliseconds)),
    });
    said.chain(unsaid).min()
}

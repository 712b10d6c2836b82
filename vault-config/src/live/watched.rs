//! One secret or credential that is kept fresh: what is held, and what is due.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::schedule::{self, IssueBudget, MetadataProbe};
use super::status::{Action, SourceStatus, State};
use crate::engine::{Facts, Refresh, Request, SecretVersion};
use crate::error::{Cause, ErrorKind};
use crate::load::resolve::{Given, Pending};
use crate::time::backoff::Urgency;
use crate::time::clock::Reading;
use crate::time::{Deadline, Lifetime, LifetimeStep, RotationSchedule, backoff};
use crate::vault::{Failure, LeaseId, Retirement, TrackedToken};

/// However often a static role is rotated, and however little was left when it was first read.
const SHORTEST_PERIOD: Duration = Duration::from_secs(30);

pub(super) struct WatchedSecret {
    pub(super) request: Request,
    pub(super) fields: Pending,
    /// The fields' paths.
    pub(super) names: Vec<String>,
    /// How often it is read again; `None` for never.
    every: Option<Duration>,
    /// A field says how often.
    is_paced: bool,
    pub(super) holding: Holding,
    pub(super) busy: bool,
    /// It was asked for while it was busy.
    again: bool,
    /// The next reading reads the secret itself, whatever its metadata say.
    reads_whole: bool,
    /// It was asked for, and so does not wait for its turn among retries.
    is_requested: bool,
    pub(super) budget: IssueBudget,
    failures: u32,
    /// What is done for it fails.
    pub(super) failure: Option<Failure>,
    /// What was read last does not make a valid configuration.
    pub(super) rejected: Option<Rejected>,
    last_success: SystemTime,
    /// When it was asked for last.
    last_asked: Reading,
    pub(super) metadata: MetadataProbe,
    /// Since when the policies are known not to allow the renewal of its leases.
    may_not_renew: Option<Reading>,
}

/// What is held.
pub(super) enum Holding {
    Leased(LeaseState),
    /// A static role's password.
    Rotating {
        schedule: RotationSchedule,
        read: Reading,
        /// Since when a rotation that is under way is waited for.
        waiting_since: Option<Reading>,
        next: Deadline,
        /// When the password is another one, if it is not read again before.
        stale: Deadline,
        /// The longest that ever remained until the next rotation.
        period: Duration,
    },
    /// What is stored; nothing when it was absent from the start.
    Stored {
        version: Option<SecretVersion>,
        is_there: bool,
        /// When it is read in its turn. What happens to others does not move it: instances that failed
        /// together do not come back together.
        turn: Option<Deadline>,
        /// When it is read before that, since the last reading failed or it was asked for.
        sooner: Option<Deadline>,
    },
}

pub(super) struct LeaseState {
    /// `None` for what cannot be renewed, and so not cut short either: a certificate, or a lease that says
    /// so.
    pub(super) id: Option<LeaseId>,
    pub(super) lifetime: Lifetime,
    /// The token that it dies with.
    pub(super) under: Option<Arc<TrackedToken>>,
    is_orphan: bool,
    /// It ends by itself, as a certificate does, whatever becomes of its lease.
    has_own_end: bool,
    /// Why it will never be renewed.
    refusal: Option<Cause>,
    /// Since when the server does not know it any more: the credential is dead.
    gone: Option<Reading>,
}

/// Why what was read is not published, and since when.
pub(super) struct Rejected {
    pub(super) failure: Failure,
    /// When the credential that is still published, and was replaced, ends.
    ends: Option<Deadline>,
}

/// What is to be done for a source.
pub(super) enum DueAction {
    /// Read, or look first whether this version is still the newest.
    Read {
        unless: Option<SecretVersion>,
    },
    Issue,
    Renew {
        id: LeaseId,
        full: Duration,
    },
}

impl DueAction {
    /// How many requests it makes at most, as a rule.
    pub(super) fn requests(&self) -> u64 {
        match self {
            Self::Read { unless: Some(_) } => 2,
            Self::Read { unless: None } | Self::Issue | Self::Renew { .. } => 1,
        }
    }
}

impl LeaseState {
    fn new(id: Option<LeaseId>, lifetime: Lifetime, under: Option<Arc<TrackedToken>>) -> Self {
        Self {
            id,
            lifetime,
            under,
            is_orphan: false,
            has_own_end: false,
            refusal: None,
            gone: None,
        }
    }

    /// The server, or what stands behind it, knows the credential until its lease ends.
    pub(super) fn is_secret_at_server(&self) -> bool {
        self.under.is_some() && !self.has_own_end
    }

    pub(super) fn renewed(&mut self, asked: Reading, ttl: Duration) {
        self.lifetime.renewed(asked, ttl, fastrand::f64());
        self.gone = None;
    }

    /// It is replaced at once; `is_gone` is whether it is dead by now.
    pub(super) fn refused(&mut self, cause: Cause, is_gone: bool, now: Reading) {
        self.lifetime.renewal_refused();
        self.refusal = Some(cause);
        self.gone = self.gone.or(is_gone.then_some(now));
    }

    /// Since when it is dead: the server does not know it any more, or refuses its token.
    fn gone_since(&self) -> Option<Reading> {
        let of_token = || self.under.as_ref().and_then(|held| held.dead_since());
        self.gone.or_else(of_token)
    }

    /// The sooner of its own end and its token's.
    pub(super) fn remaining(&self, now: Reading) -> Option<Duration> {
        if self.gone_since().is_some() {
            return Some(Duration::ZERO);
        }
        let token = self.under.as_ref().map(|held| held.lifetime());
        let token = token.as_ref().and_then(|term| term.as_ref()?.remaining(now));
        self.lifetime.remaining(now).into_iter().chain(token).min()
    }

    /// Time since its end, its own or its token's.
    fn overdue_by(&self, now: Reading) -> Duration {
        let token = self.under.as_ref().map(|held| held.lifetime());
        let token = token.as_ref().and_then(|term| Some(term.as_ref()?.overdue_by(now)));
        self.lifetime.overdue_by(now).max(token.unwrap_or_default())
    }

    /// It was replaced late: renewed once more, it leaves all readers the time to change over.
    pub(super) fn deserves_grace(&self, now: Reading) -> bool {
        !self.is_orphan && self.gone_since().is_none() && self.lifetime.can_be_extended(now)
    }

    /// How long it was to live when it was issued.
    fn life(&self) -> Option<Duration> {
        let own = (!self.lifetime.full_ttl().is_zero()).then(|| self.lifetime.full_ttl());
        let term = self.under.as_ref().map(|held| held.lifetime());
        let token = term.as_ref().and_then(|term| term.as_ref()).map(Lifetime::full_ttl);
        own.into_iter().chain(token.filter(|full| !full.is_zero())).min()
    }

    /// Time until renewal can no longer be postponed; `None` if it never expires.
    fn urgent_in(&self, now: Reading) -> Option<Duration> {
        Some(self.remaining(now)?.saturating_sub(self.life().unwrap_or_default() / 6))
    }

    fn is_urgent(&self, now: Reading) -> bool {
        self.urgent_in(now).is_some_and(|wait| wait.is_zero())
    }

    /// What is wrong when no other is issued before `wait` has passed; `None` when this one lasts until
    /// then, and is replaced in its turn.
    fn blocked_cause(
        &self,
        now: Reading,
        wait: Duration,
        failure: Option<&Failure>,
    ) -> Option<Cause> {
        let ends_before = self.remaining(now).is_some_and(|remaining| remaining <= wait);
        if self.refusal.is_none() && !ends_before {
            return None;
        }
        // Why none was issued is what has to be corrected.
        let failed = failure.map(|failure| &*failure.cause);
        let failed = failed.filter(|cause| cause.kind != ErrorKind::LeaseLost);
        let why = match (&self.refusal, self.gone_since(), failed) {
            (_, _, Some(cause)) => cause.message.as_str(),
            (Some(refusal), _, None) => refusal.message.as_str(),
            (None, Some(_), None) => "the lease died with its token",
            (None, None, None) => "the lease is about to end",
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

    /// Its token is being retired: nothing renews that any more, and this dies with it.
    fn token_is_retiring(&self, now: Reading) -> bool {
        let Some(held) = self.under.as_ref().filter(|_| !self.is_orphan) else { return false };
        match held.retirement() {
            None => false,
            Some(Retirement::Ending) => true,
            Some(Retirement::OutOfUses) => {
                held.lifetime().as_ref().is_some_and(|term| term.due_step(now).is_some())
            }
        }
    }
}

impl WatchedSecret {
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
            holding: Holding::absent(),
            busy: false,
            again: false,
            reads_whole: false,
            is_requested: false,
            budget: IssueBudget::default(),
            failures: 0,
            failure: None,
            rejected: None,
            last_success: now.wall,
            last_asked: now,
            metadata: MetadataProbe::default(),
            may_not_renew: None,
        };
        match given.facts {
            Some(facts) => drop(source.settle(facts, now, true)),
            None => source.absent(now, true),
        }
        source
    }

    /// Takes what was read or issued; the lease before is returned.
    pub(super) fn settle(&mut self, facts: Facts, now: Reading, first: bool) -> Option<LeaseState> {
        self.succeeded(now);
        let (asked, under) = match facts.issued {
            Some(issued) => (issued.at, Some(issued.token)),
            None => (now, None),
        };
        let random = fastrand::f64();
        let holding = if let Some(lease) = facts.lease {
            // A certificate may end before its lease does.
            let lives = [lease.ttl, facts.life.unwrap_or_default()];
            let ttl = lives.into_iter().filter(|life| !life.is_zero()).min().unwrap_or_default();
            let renewable = lease.renewable && self.may_renew(asked);
            let lifetime = Lifetime::new(asked, ttl, ttl, renewable, random);
            let id = lease.renewable.then_some(lease.id);
            let has_own_end = facts.life.is_some();
            Holding::Leased(LeaseState { has_own_end, ..LeaseState::new(id, lifetime, under) })
        } else if let Some(life) = facts.life.filter(|life| !self.is_read_within(*life)) {
            // It does not die with its token.
            let lifetime = Lifetime::of_fixed_length(asked, life, random);
            Holding::Leased(LeaseState::new(None, lifetime, None))
        } else if let Some(rotation) = facts.rotation {
            self.rotating(rotation, asked, random)
        } else {
            let turn = self.next_turn(asked, first);
            Holding::Stored { version: facts.version, is_there: true, turn, sooner: None }
        };
        match std::mem::replace(&mut self.holding, holding) {
            Holding::Leased(before) => Some(before),
            _ => None,
        }
    }

    /// A field says how often, and that is often enough for what ends after `life`.
    fn is_read_within(&self, life: Duration) -> bool {
        self.is_paced && self.every.is_some_and(|every| every <= life / 2)
    }

    /// Leases of a role whose renewal the policies do not allow are not renewed, and so not replaced
    /// before they have to be.
    fn may_renew(&mut self, now: Reading) -> bool {
        const REMEMBERED: Duration = Duration::from_secs(3600);
        self.may_not_renew.take_if(|since| now.since(*since) > REMEMBERED);
        self.may_not_renew.is_none()
    }

    /// A renewal was refused for good.
    pub(super) fn renewal_refused(&mut self, cause: Cause, is_gone: bool, now: Reading) {
        if cause.kind == ErrorKind::Denied {
            self.may_not_renew = Some(now);
        }
        if let Holding::Leased(lease) = &mut self.holding {
            lease.refused(cause, is_gone, now);
        }
    }

    fn rotating(&self, schedule: RotationSchedule, read: Reading, random: f64) -> Holding {
        let (before, waiting_since, longest) = match &self.holding {
            Holding::Rotating { schedule, read, waiting_since, period, .. } => {
                (Some((schedule, *read)), *waiting_since, *period)
            }
            _ => (None, None, Duration::ZERO),
        };
        let compared = before.map(|(schedule, earlier)| (schedule, read.since(earlier)));
        let waited = waiting_since.map(|since| read.since(since));
        let is_under_way = schedule.is_under_way(compared, waited);
        let waiting_since = is_under_way.then(|| waiting_since.unwrap_or(read));
        let waited = waiting_since.map(|since| read.since(since));
        let after = schedule.next_read_in(waited, random);
        // It may be rotated by hand.
        let after = self.every.map_or(after, |every| after.min(every));
        let next = Deadline::new(read, after);
        let stale = Deadline::new(read, schedule.stale_in(waited));
        let period = longest.max(schedule.ttl);
        Holding::Rotating { schedule, read, waiting_since, next, stale, period }
    }

    /// For how long a rotation is late that the server has announced.
    pub(super) fn rotation_is_late_by(&self) -> Option<Duration> {
        let Holding::Rotating { read, waiting_since: Some(since), .. } = &self.holding else {
            return None;
        };
        let waited = read.since(*since);
        RotationSchedule::is_late(waited).then_some(waited)
    }

    /// Nothing is there, as nothing was before.
    pub(super) fn absent(&mut self, now: Reading, first: bool) {
        self.succeeded(now);
        let turn = self.next_turn(now, first);
        self.holding = Holding::Stored { version: None, is_there: false, turn, sooner: None };
    }

    /// What is held is still what is stored.
    pub(super) fn unchanged(&mut self, now: Reading) {
        self.succeeded(now);
        let next = self.next_turn(now, false);
        if let Holding::Stored { turn, sooner, .. } = &mut self.holding {
            (*turn, *sooner) = (next, None);
        }
    }

    fn next_turn(&self, now: Reading, first: bool) -> Option<Deadline> {
        let every = self.every?;
        let planned = match &self.holding {
            Holding::Stored { turn, .. } => turn.map_or(Duration::ZERO, |at| at.remaining(now)),
            _ => Duration::ZERO,
        };
        let wait = match first {
            true => schedule::reread(every, true, fastrand::f64()),
            false => schedule::after_reading(every, planned, fastrand::f64()),
        };
        Some(Deadline::new(now, wait))
    }

    /// What was due and is not asked for now is asked for in the next turn.
    fn plan_next_turn(&mut self, now: Reading) {
        let Some(every) = self.every else { return };
        let Holding::Stored { turn, sooner, .. } = &mut self.holding else { return };
        *sooner = None;
        if turn.is_none_or(|turn| turn.has_passed(now)) {
            *turn = Some(Deadline::new(now, schedule::reread(every, false, fastrand::f64())));
        }
    }

    pub(super) fn urgency(&self, now: Reading) -> Urgency {
        match &self.holding {
            Holding::Leased(lease) => {
                let life = lease.life().zip(lease.remaining(now));
                life.map_or(Urgency::NONE, |(life, remaining)| {
                    Urgency::from_remaining(remaining, life)
                })
            }
            Holding::Rotating { stale, .. } if stale.has_passed(now) => Urgency::EXPIRED,
            Holding::Rotating { .. } | Holding::Stored { .. } => Urgency::NONE,
        }
    }

    pub(super) fn succeeded(&mut self, now: Reading) {
        self.failures = 0;
        self.reads_whole = false;
        self.last_success = now.wall;
    }

    /// The action failed for something that may pass.
    pub(super) fn failed(&mut self, now: Reading) {
        self.failures = self.failures.saturating_add(1);
        let random = fastrand::f64();
        let every = self.every.unwrap_or(Duration::MAX);
        let again = Deadline::new(now, backoff::read_retry(self.failures, every, random));
        self.plan_next_turn(now);
        match &mut self.holding {
            Holding::Leased(lease) => lease.lifetime.replacement_failed(now, random),
            Holding::Rotating { next, .. } => *next = again,
            Holding::Stored { sooner, .. } => *sooner = Some(again),
        }
    }

    /// A renewal failed for something that may pass.
    pub(super) fn renewal_failed(&mut self, now: Reading) {
        if let Holding::Leased(lease) = &mut self.holding {
            lease.lifetime.renewal_failed(now, fastrand::f64());
        }
    }

    /// It is due, and nothing is asked for because the server is away. What is stored is read in its next
    /// turn: it does not come back together with all others.
    pub(super) fn held_back(&mut self, now: Reading) {
        self.plan_next_turn(now);
    }

    /// The server is back.
    pub(super) fn outage_ended(&mut self, now: Reading) {
        self.failures = 0;
        let random = fastrand::f64();
        match &mut self.holding {
            Holding::Leased(lease)
                if lease.gone_since().is_none() && !lease.token_is_retiring(now) =>
            {
                lease.lifetime.resume_after_outage(now, random);
            }
            Holding::Stored { turn, sooner, .. } => {
                let wait = self.every.map(|every| schedule::after_outage(every, random));
                (*turn, *sooner) = (wait.map(|wait| Deadline::new(now, wait)), None);
            }
            Holding::Leased(_) | Holding::Rotating { .. } => {}
        }
    }

    /// What is wrong with it now.
    pub(super) fn current_failure(&self) -> Option<&Failure> {
        self.failure.as_ref().or(self.rejected.as_ref().map(|rejected| &rejected.failure))
    }

    /// What was read is not published for this reason.
    pub(super) fn reject(&mut self, cause: Cause, now: Reading) {
        let (since, ends) = match self.rejected.take() {
            Some(before) => (before.failure.since, before.ends),
            None => (now.wall, None),
        };
        let failure = Failure { since, cause: Arc::new(cause), is_held_back: false };
        self.rejected = Some(Rejected { failure, ends });
    }

    /// Another credential was issued or read, and the one before stays published when this one is not; it
    /// ends in `remaining`.
    pub(super) fn keep_published_until(&mut self, remaining: Option<Duration>, now: Reading) {
        if let Some(rejected) = &mut self.rejected {
            let ends = remaining.map(|remaining| Deadline::new(now, remaining));
            rejected.ends = rejected.ends.or(ends);
        }
    }

    /// Whether something was there at the last reading.
    pub(super) fn was_there(&self) -> bool {
        !matches!(self.holding, Holding::Stored { is_there: false, .. })
    }

    /// Its action has ended.
    pub(super) fn action_finished(&mut self, now: Reading) {
        self.busy = false;
        if std::mem::take(&mut self.again) {
            self.make_due_now(now);
        }
    }

    /// It was asked for: what is stored is then read as a whole.
    pub(super) fn refresh(&mut self, now: Reading) {
        (self.reads_whole, self.is_requested) = (true, true);
        self.may_not_renew = None;
        self.make_due_now(now);
    }

    pub(super) fn make_due_now(&mut self, now: Reading) {
        self.again = self.busy;
        match &mut self.holding {
            Holding::Leased(lease) => lease.lifetime.make_due_now(),
            Holding::Rotating { next, .. } => *next = Deadline::new(now, Duration::ZERO),
            Holding::Stored { sooner, .. } => *sooner = Some(Deadline::new(now, Duration::ZERO)),
        }
    }

    pub(super) fn is_due(&self, now: Reading, leaving: bool) -> bool {
        self.wait(now, leaving).is_some_and(|wait| wait.is_zero())
    }

    /// What has to be done now, if anything. Nothing is issued while the token is `leaving`, unless what
    /// is held ends sooner. `may_peek` is whether a request for metadata alone costs nothing.
    ///
    /// # Errors
    /// No other credential may be issued for a while, and the one that is held is lost.
    pub(super) fn due(
        &mut self,
        now: Reading,
        leaving: bool,
        may_peek: bool,
    ) -> Result<Option<DueAction>, Cause> {
        if self.busy {
            return Ok(None);
        }
        match &mut self.holding {
            Holding::Leased(lease) => {
                if lease.token_is_retiring(now) {
                    lease.is_orphan = true;
                    lease.lifetime.replace_now();
                }
                match lease.lifetime.due_step(now) {
                    None => Ok(None),
                    Some(LifetimeStep::Renew) => {
                        let full = lease.lifetime.full_ttl();
                        Ok(lease.id.clone().map(|id| DueAction::Renew { id, full }))
                    }
                    Some(LifetimeStep::Replace) if leaving && !lease.is_urgent(now) => Ok(None),
                    Some(LifetimeStep::Replace) => self.issue(now),
                }
            }
            Holding::Rotating { next, .. } => {
                Ok(next.has_passed(now).then_some(DueAction::Read { unless: None }))
            }
            Holding::Stored { .. } => {
                let is_due = self.is_due(now, leaving);
                Ok(is_due.then(|| self.reading(may_peek)))
            }
        }
    }

    fn issue(&mut self, now: Reading) -> Result<Option<DueAction>, Cause> {
        let Holding::Leased(lease) = &mut self.holding else { return Ok(None) };
        let age = lease.lifetime.age(now);
        let Err(wait) = self.budget.allows(now, age, lease.life()) else {
            return Ok(Some(DueAction::Issue));
        };
        lease.lifetime.postpone_replacement(now, wait);
        lease.blocked_cause(now, wait, self.failure.as_ref()).map_or(Ok(None), Err)
    }

    fn reading(&self, may_peek: bool) -> DueAction {
        let Holding::Stored { version, .. } = &self.holding else {
            return DueAction::Read { unless: None };
        };
        let peeks = may_peek
            && !self.reads_whole
            && self.metadata.is_worth_it()
            && self.failure.as_ref().is_none_or(|failure| failure.is_held_back);
        DueAction::Read { unless: version.clone().filter(|_| peeks) }
    }

    /// A reading that leaves nothing behind at the server, to find out whether it is there.
    pub(super) fn harmless_action(&self, may_peek: bool) -> Option<DueAction> {
        match &self.holding {
            _ if self.busy => None,
            Holding::Rotating { .. } => Some(DueAction::Read { unless: None }),
            Holding::Stored { .. } if self.every.is_some() && !self.request.mints() => {
                Some(self.reading(may_peek))
            }
            _ => None,
        }
    }

    pub(super) fn last_asked(&self) -> Reading {
        self.last_asked
    }

    pub(super) fn begin(&mut self, now: Reading) {
        (self.busy, self.is_requested) = (true, false);
        self.last_asked = now;
    }

    /// Whether what it is asked for now failed before.
    pub(super) fn is_retry(&self) -> bool {
        // The life of a lease sets its pace, and it waits for no other.
        let is_leased = matches!(self.holding, Holding::Leased(_));
        self.failure.is_some() && !self.is_requested && !is_leased
    }

    /// How long there is nothing to do.
    pub(super) fn wait(&self, now: Reading, leaving: bool) -> Option<Duration> {
        match &self.holding {
            _ if self.busy => None,
            Holding::Leased(lease) => {
                let (step, wait) = match lease.token_is_retiring(now) {
                    true => (LifetimeStep::Replace, Duration::ZERO),
                    false => lease.lifetime.next_step(now)?,
                };
                match step {
                    LifetimeStep::Replace if leaving => {
                        lease.urgent_in(now).map(|in_| in_.max(wait))
                    }
                    _ => Some(wait),
                }
            }
            Holding::Rotating { next, .. } => Some(next.remaining(now)),
            Holding::Stored { turn, sooner, .. } => {
                turn.iter().chain(sooner).map(|at| at.remaining(now)).min()
            }
        }
    }

    /// How long one request may take.
    pub(super) fn patience(&self, longest: Duration) -> Duration {
        let (life, failures) = match &self.holding {
            Holding::Leased(lease) => (lease.life(), lease.lifetime.failures()),
            Holding::Rotating { period, .. } => {
                (Some((*period).max(SHORTEST_PERIOD)), self.failures)
            }
            Holding::Stored { .. } => (None, self.failures),
        };
        backoff::request_timeout(life, failures, longest)
    }

    pub(super) fn status(&self, now: Reading) -> SourceStatus {
        let mut state = State::healthy();
        state.last_success = Some(self.last_success);
        match &self.holding {
            Holding::Leased(lease) => lease.show(&mut state, now),
            Holding::Rotating { next, stale, .. } => {
                // It is as good as any until then.
                let remaining = Some(stale.remaining(now));
                state.ends(now.wall, remaining, stale.overdue_by(now), Duration::ZERO);
                state.plan(now.wall, Action::Read, next.remaining(now));
            }
            Holding::Stored { turn, sooner, .. } => {
                let planned = turn.iter().chain(sooner).map(|at| at.remaining(now)).min();
                if let Some(wait) = planned {
                    state.plan(now.wall, Action::Read, wait);
                }
            }
        }
        if let Some(ends) = self.rejected.as_ref().and_then(|rejected| rejected.ends) {
            state.ends(now.wall, Some(ends.remaining(now)), ends.overdue_by(now), Duration::ZERO);
        }
        if let Some(failure) = self.current_failure() {
            state.failing_since = Some(failure.since);
            state.error = Some(failure.cause.log_line());
        }
        SourceStatus { source: self.request.name(), fields: self.names.clone(), state }
    }
}

impl Holding {
    pub(super) fn absent() -> Self {
        Self::Stored { version: None, is_there: false, turn: None, sooner: None }
    }
}

impl LeaseState {
    fn show(&self, state: &mut State, now: Reading) {
        let life = self.life().unwrap_or_default();
        state.ends(now.wall, self.remaining(now), self.overdue_by(now), life);
        if let Some(gone) = self.gone_since() {
            state.expires_at = Some(gone.wall);
            state.error = self.refusal.as_ref().map(Cause::log_line);
        }
        if let Some((step, wait)) = self.lifetime.next_step(now) {
            let action = match step {
                LifetimeStep::Renew => Action::Renew,
                LifetimeStep::Replace => Action::Rotate,
            };
            state.plan(now.wall, action, wait);
        }
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

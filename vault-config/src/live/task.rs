//! The one task of a watched configuration. It owns what is in hand; requests run beside it, each
//! by itself, so that one that hangs holds up none of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::Shared;
use super::clock::Reading;
use super::events::Event;
use super::publish::Part;
use super::schedule::LONGEST_SLEEP;
use super::source::{Due, Leased, Source, Stand, Trouble};
use super::status::{Counters, Health, Status};
use super::token::{Outcome as TokenOutcome, TokenKeeper};
use crate::VaultConfig;
use crate::engine::{Answer, Request};
use crate::error::{Cause, ErrorKind, Problem};
use crate::read::{Found, Purpose, Read, Reader, Slot};
use crate::resolve;
use crate::vault::{Held, Manner, Renewal, Repeat, Session, Vault};

/// How long a shutdown may take.
const SHUTDOWN: Duration = Duration::from_secs(5);

pub(super) enum Command {
    Refresh(oneshot::Sender<Vec<Problem>>),
    Shutdown(oneshot::Sender<Result<(), Cause>>),
}

pub(super) struct Task<T> {
    vault: Vault,
    shared: Arc<Shared<T>>,
    slots: Vec<Slot>,
    parts: Vec<Part>,
    sources: Vec<Source>,
    token: TokenKeeper,
    /// By source: what was read and does not make a valid configuration.
    refused: BTreeMap<usize, Staged>,
    replaced: Vec<Replaced>,
    /// Sources that somebody waits for.
    awaited: Vec<(BTreeSet<usize>, oneshot::Sender<Vec<Problem>>)>,
    overlap: Option<Duration>,
    edition: u64,
    counters: Counters,
    running: JoinSet<Done>,
}

type Staged = Vec<(usize, Found)>;

/// However the task ends, whoever follows the configuration is told.
struct End<T>(Arc<Shared<T>>);

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn same_values(one: &Staged, other: &Staged) -> bool {
    let same = |((leaf, found), (other_leaf, other)): (&(usize, Found), &(usize, Found))| {
        leaf == other_leaf && found.same_value(other)
    };
    one.len() == other.len() && one.iter().zip(other).all(same)
}

/// A lease whose credential was replaced, and when.
struct Replaced {
    lease: Leased,
    source: String,
    at: Reading,
    /// The edition that has another in its place.
    edition: u64,
}

enum Woken {
    Time,
    Outcome(Done),
    Command(Option<Command>),
}

enum Done {
    Source(usize, Outcome),
    Token(TokenOutcome),
    LetGo,
}

enum Outcome {
    /// `may_look` is whether the token may read the secret's metadata; nothing when that was not
    /// tried.
    Read {
        answer: Result<Option<Box<Answer>>, Cause>,
        may_look: Option<bool>,
    },
    Minted(Result<Box<Answer>, Cause>),
    Renewed(Renewal),
}

impl<T: VaultConfig + Send + Sync + 'static> Task<T> {
    pub(super) fn new(
        vault: Vault,
        shared: Arc<Shared<T>>,
        slots: Vec<Slot>,
        parts: Vec<Part>,
        sources: Vec<Source>,
        overlap: Option<Duration>,
    ) -> Self {
        vault.watch_begins();
        Self {
            token: TokenKeeper::new(&vault),
            vault,
            shared,
            slots,
            parts,
            sources,
            refused: BTreeMap::new(),
            replaced: Vec::new(),
            awaited: Vec::new(),
            overlap,
            edition: 0,
            counters: Counters::default(),
            running: JoinSet::new(),
        }
    }

    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let clock = Arc::clone(self.vault.clock());
        let end = End(Arc::clone(&self.shared));
        loop {
            let now = clock.now();
            self.start_what_is_due(now);
            self.shared.set_status(self.status(now));
            let wait = self.wait(now);
            match self.woken(clock.sleep(wait), &mut commands).await {
                Woken::Time => {}
                Woken::Outcome(done) => self.finish(done, clock.now()),
                Woken::Command(Some(Command::Refresh(asked))) => {
                    self.refresh(clock.now(), asked);
                }
                Woken::Command(Some(Command::Shutdown(asked))) => {
                    let result = self.shut_down().await;
                    drop(end);
                    let _ = asked.send(result);
                    return;
                }
                Woken::Command(None) => {
                    self.vault.watch_ends();
                    return;
                }
            }
        }
    }

    async fn woken(
        &mut self,
        mut sleep: Pin<Box<dyn Future<Output = ()> + Send>>,
        commands: &mut mpsc::UnboundedReceiver<Command>,
    ) -> Woken {
        poll_fn(|context| {
            while let Poll::Ready(Some(ended)) = self.running.poll_join_next(context) {
                if let Ok(done) = ended {
                    return Poll::Ready(Woken::Outcome(done));
                }
            }
            if let Poll::Ready(command) = commands.poll_recv(context) {
                return Poll::Ready(Woken::Command(command));
            }
            sleep.as_mut().poll(context).map(|()| Woken::Time)
        })
        .await
    }

    fn wait(&self, now: Reading) -> Duration {
        let token = self.token.wait(&self.vault, now);
        let sources = self.sources.iter().filter(|_| self.token.is_usable());
        let leaving = self.token.is_leaving();
        let sources = sources.filter_map(|source| source.wait(now, leaving));
        let replaced = self.replaced.iter().filter_map(|replaced| {
            let left = replaced.lease.left(now);
            let overlap = self.overlap.map(|overlap| self.lets_go_in(replaced, overlap, now));
            left.into_iter().chain(overlap).min()
        });
        let next = token.into_iter().chain(sources).chain(replaced).min();
        next.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)
    }

    /// Who has not taken the new credential yet is looked for again in a while.
    fn lets_go_in(&self, replaced: &Replaced, overlap: Duration, now: Reading) -> Duration {
        let wait = overlap.saturating_sub(now.since(replaced.at));
        match wait.is_zero() && !self.shared.published.is_taken(replaced.edition) {
            true => Duration::from_secs(1),
            false => wait,
        }
    }

    fn start_what_is_due(&mut self, now: Reading) {
        if let Some(action) = self.token.due(&self.vault, now) {
            let (vault, limit) = (self.vault.clone(), self.vault.timeout());
            self.running.spawn(async move { Done::Token(action.run(vault, limit).await) });
        }
        self.let_go(now);
        self.mourn(now);
        if self.token.is_stuck() {
            return self.tell_all_who_wait();
        }
        if !self.token.is_usable() {
            return;
        }
        let leaving = self.token.is_leaving();
        for index in 0..self.sources.len() {
            let Some(source) = self.sources.get_mut(index) else { continue };
            let due = source.due(now, leaving).unwrap_or_else(|cause| {
                self.fails(index, cause, now);
                None
            });
            let Some(source) = self.sources.get_mut(index) else { continue };
            let Some(due) = due else {
                if !source.busy {
                    self.tell_who_waits(index, now);
                }
                continue;
            };
            source.busy = true;
            let limit = source.patience(self.vault.timeout());
            let (vault, request) = (self.vault.clone(), source.request.clone());
            self.running
                .spawn(async move { Done::Source(index, due.run(vault, request, limit).await) });
        }
    }

    /// What was made under a dead token is dead.
    fn mourn(&mut self, now: Reading) {
        let Some(held) = self.vault.held().filter(|_| !self.token.is_usable()) else { return };
        for source in &mut self.sources {
            source.dies_with(&held, now);
        }
    }

    fn finish(&mut self, done: Done, now: Reading) {
        match done {
            Done::Token(outcome) => self.token_is_done(outcome, now),
            Done::Source(index, outcome) => {
                self.source_is_done(index, outcome, now);
                self.with(index, |source| source.rests(now));
            }
            Done::LetGo => {}
        }
    }

    fn token_is_done(&mut self, outcome: TokenOutcome, now: Reading) {
        match &outcome {
            TokenOutcome::LoggedIn(Ok(_)) => self.counters.logins += 1,
            TokenOutcome::Renewed(_, Renewal::Granted { .. }) => self.counters.token_renewals += 1,
            TokenOutcome::LoggedIn(Err(_)) | TokenOutcome::Renewed(..) => {
                self.counters.failures += 1;
            }
            TokenOutcome::LookedAt(_) | TokenOutcome::GaveUp | TokenOutcome::Nothing => {}
        }
        for event in self.token.finish(&self.vault, outcome, now) {
            self.shared.tell(event);
        }
    }

    fn source_is_done(&mut self, index: usize, outcome: Outcome, now: Reading) {
        match outcome {
            Outcome::Read { answer, may_look } => {
                self.with(index, |source| source.looking.was_read(may_look));
                match answer {
                    Ok(None) => {
                        self.counters.reads += 1;
                        self.with(index, |source| source.unchanged(now));
                        self.recovered(index);
                    }
                    Ok(Some(answer)) => {
                        self.counters.reads += 1;
                        self.take(index, *answer, now);
                    }
                    Err(cause) => self.not_read(index, cause, now),
                }
            }
            Outcome::Minted(Ok(answer)) => self.take(index, *answer, now),
            Outcome::Minted(Err(cause)) => {
                if may_have_been_made(cause.kind) {
                    self.with(index, |source| source.budget.unanswered(now));
                }
                self.failed(index, cause, now);
            }
            Outcome::Renewed(renewal) => self.renewed(index, renewal, now),
        }
    }

    fn renewed(&mut self, index: usize, renewal: Renewal, now: Reading) {
        let Some(source) = self.sources.get_mut(index) else { return };
        let Stand::Leased(leased) = &mut source.stand else { return };
        match renewal {
            Renewal::Granted { asked, ttl } => {
                leased.term.renewed(asked, ttl, fastrand::f64());
                source.succeeded(now);
                let source = source.request.name();
                self.counters.renewals += 1;
                self.recovered(index);
                self.shared.tell(Event::Renewed { source });
            }
            // A replacement follows at once, and it is what may fail.
            Renewal::Never(ref cause) | Renewal::Gone(ref cause) => {
                tracing::info!(source = source.request.name(), "{}", cause.what);
                leased.refused(cause.clone(), matches!(renewal, Renewal::Gone(_)), now);
            }
            Renewal::Failed(cause) => self.failed(index, cause, now),
        }
    }

    /// What was there and is not any more stays what it was, and that is said.
    fn not_read(&mut self, index: usize, cause: Cause, now: Reading) {
        let was_there = self.sources.get(index).is_some_and(Source::was_there);
        if cause.is_absence() && !was_there {
            self.with(index, |source| source.absent(now, false));
            return self.recovered(index);
        }
        self.failed(index, cause, now);
    }

    fn with(&mut self, index: usize, change: impl FnOnce(&mut Source)) {
        if let Some(source) = self.sources.get_mut(index) {
            change(source);
        }
    }
}

// ===== what was read =====

impl<T: VaultConfig + Send + Sync + 'static> Task<T> {
    fn take(&mut self, index: usize, answer: Answer, now: Reading) {
        let Some(source) = self.sources.get(index) else { return };
        let staged: Staged = source
            .fields
            .iter()
            .map(|(leaf, engine)| (*leaf, resolve::picked(engine.as_ref(), &answer)))
            .collect();
        if let Some(cause) = self.lost_part(&staged) {
            if let Some(lease) = answer.lease {
                // It was made, and nobody can use it.
                let (vault, source) = (self.vault.clone(), source.request.name());
                self.with(index, |source| source.budget.unanswered(now));
                self.running.spawn(async move {
                    let _ = end_lease(&vault, &lease.id, &source).await;
                    Done::LetGo
                });
            }
            return self.failed(index, cause, now);
        }
        let Some(source) = self.sources.get_mut(index) else { return };
        let before = source.settle(answer.into_facts(), now, false);
        let is_credential = !matches!(source.stand, Stand::Stored { .. });
        let name = source.request.name();
        let changed = self.propose(index, staged, now);
        self.recovered(index);
        if is_credential {
            // A static role's password was replaced by the server.
            let left = before.as_ref().map_or(Some(Duration::ZERO), |lease| lease.left(now));
            self.with(index, |source| source.keeps(left, now));
        }
        if let Some(lease) = before {
            if lease.deserves_grace(now) {
                let (vault, id, full) = (self.vault.clone(), lease.id.clone(), lease.term.full());
                self.running.spawn(async move {
                    let mut session = Session::now(&vault);
                    session.manner.logs_in = false;
                    let _ = session.renew_lease(&id, full).await;
                    Done::LetGo
                });
            }
            // Nobody has the new one while it is refused.
            let edition = match self.refused.contains_key(&index) {
                true => u64::MAX,
                false => self.edition,
            };
            let source = name.clone();
            self.replaced.push(Replaced { lease, source, at: now, edition });
        }
        match changed.is_empty() {
            true => {}
            false if is_credential => {
                self.counters.rotations += 1;
                self.shared.tell(Event::Rotated { source: name, fields: changed });
            }
            false => self.shared.tell(Event::Changed { fields: changed }),
        }
    }

    /// A key that was there and is gone, or a part that cannot be read: then none is taken.
    fn lost_part(&self, staged: &Staged) -> Option<Cause> {
        staged.iter().find_map(|(leaf, found)| {
            let had = matches!(self.slots.get(*leaf)?.found, Found::Value(..));
            match found {
                Found::Failed(cause) => Some(cause.as_ref().clone()),
                Found::Absent(Some(cause)) if had => Some(cause.as_ref().clone()),
                _ => None,
            }
        })
    }

    /// Publishes what was read, with all that was refused before if that makes it valid, else
    /// without. The paths of the fields that changed.
    fn propose(&mut self, index: usize, staged: Staged, now: Reading) -> Vec<String> {
        let before = self.refused.get(&index);
        let is_known = before.is_some_and(|before| same_values(before, &staged));
        self.refused.insert(index, staged);
        let all: Vec<usize> = self.refused.keys().copied().collect();
        let mut problems = match self.try_with(&all) {
            Ok(changed) => {
                for index in all {
                    self.accepted(index);
                }
                return changed;
            }
            Err(problems) => problems,
        };
        let mut changed = Vec::new();
        let others = all.iter().copied().filter(|other| *other != index);
        for one in std::iter::once(index).chain(others.clone()) {
            match self.try_with(&[one]) {
                Ok(more) => {
                    changed.extend(more);
                    self.accepted(one);
                }
                Err(why) if one == index => problems = why,
                Err(_) => {}
            }
        }
        if self.refused.contains_key(&index) {
            self.reject(index, problems, is_known, now);
        }
        changed
    }

    /// Logged, counted and told once, until what was read changes or is refused for something else.
    fn reject(&mut self, index: usize, problems: Vec<Problem>, is_known: bool, now: Reading) {
        let Some(source) = self.sources.get_mut(index) else { return };
        let what: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let what = what.join("\n");
        let cause = Cause::new(
            ErrorKind::Invalid,
            format!("what was read does not make a valid configuration: {what}"),
            "the last valid configuration stays until this is mended",
        );
        let before = source.rejected.as_ref().map(|rejected| &rejected.trouble.cause);
        let is_news = !is_known || before.is_none_or(|before| before.what != cause.what);
        source.rejects(cause, now);
        if !is_news {
            return;
        }
        let name = source.request.name();
        tracing::warn!(source = name, "not published: {what}");
        self.counters.rejected += 1;
        self.shared.tell(Event::Rejected { source: name, problems });
    }

    /// Builds the configuration with these staged values in place, and publishes it. They stay
    /// staged when it cannot be built.
    fn try_with(&mut self, indices: &[usize]) -> Result<Vec<String>, Vec<Problem>> {
        let mut staged: Vec<(usize, Staged)> = indices
            .iter()
            .filter_map(|index| Some((*index, self.refused.remove(index)?)))
            .collect();
        self.exchange(&mut staged);
        match self.build() {
            Ok(config) => Ok(self.publish(config, &staged)),
            Err(problems) => {
                self.exchange(&mut staged);
                self.refused.extend(staged);
                Err(problems)
            }
        }
    }

    fn exchange(&mut self, staged: &mut [(usize, Staged)]) {
        for (leaf, found) in staged.iter_mut().flat_map(|(_, staged)| staged) {
            if let Some(slot) = self.slots.get_mut(*leaf) {
                std::mem::swap(&mut slot.found, found);
            }
        }
    }

    /// A validator of the user's may panic: what it was given is then not valid.
    fn build(&self) -> Result<T, Vec<Problem>> {
        let read = || {
            let mut reader = Reader::new(&self.slots, Purpose::Build);
            let built = T::__read(&mut reader);
            (built, reader.into_read())
        };
        let panicked = || {
            let what = "a validator or a type of the configuration panicked while it was read";
            Cause::new(ErrorKind::Invalid, what, "see what it panics at; nothing is published")
        };
        match catch_unwind(AssertUnwindSafe(read)) {
            Ok((Some(config), Read { problems, .. })) if problems.is_empty() => Ok(config),
            Ok((_, Read { problems, .. })) => Err(problems),
            Err(_) => Err(vec![Problem::general(panicked())]),
        }
    }

    fn publish(&mut self, config: T, before: &[(usize, Staged)]) -> Vec<String> {
        let leaves = before.iter().flat_map(|(_, staged)| staged);
        let changed: Vec<usize> = leaves
            .filter(|(leaf, before)| {
                self.slots.get(*leaf).is_some_and(|slot| !slot.found.same_value(before))
            })
            .map(|(leaf, _)| *leaf)
            .collect();
        if changed.is_empty() {
            return Vec::new();
        }
        self.edition += 1;
        self.counters.published += 1;
        for leaf in &changed {
            if let Some(part) = self.parts.get_mut(*leaf) {
                part.changed = self.edition;
            }
        }
        self.shared.published.publish(config, self.edition, self.parts.clone());
        let slots = changed.iter().filter_map(|leaf| self.slots.get(*leaf));
        slots.map(|slot| slot.leaf.path.clone()).collect()
    }
}

// ===== what failed =====

impl<T: VaultConfig + Send + Sync + 'static> Task<T> {
    /// An action failed, and is tried again.
    fn failed(&mut self, index: usize, cause: Cause, now: Reading) {
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
    fn fails(&mut self, index: usize, cause: Cause, now: Reading) {
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
        tracing::warn!(source = name, fields = names, "failing: {}", super::told(&cause));
        let problem = Problem::of_field(&names, "", Vec::new(), cause);
        self.shared.tell(Event::Failing { source: name, problem, good_until });
    }

    /// What is done for it works again.
    fn recovered(&mut self, index: usize) {
        self.well_again(index, |source| source.trouble.take().is_some());
    }

    /// What was read of it is published.
    fn accepted(&mut self, index: usize) {
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

// ===== what somebody asks for =====

impl<T: VaultConfig + Send + Sync + 'static> Task<T> {
    fn refresh(&mut self, now: Reading, asked: oneshot::Sender<Vec<Problem>>) {
        for source in &mut self.sources {
            source.hurry(now);
        }
        self.token.hurry();
        let all: BTreeSet<usize> = (0..self.sources.len()).collect();
        match all.is_empty() {
            true => drop(asked.send(Vec::new())),
            false => self.awaited.push((all, asked)),
        }
    }

    /// There is nothing to do for this source at the moment: what was asked for is done. A renewal
    /// that led to a rotation was waited for.
    fn tell_who_waits(&mut self, index: usize, now: Reading) {
        if self.awaited.is_empty() {
            return;
        }
        let leaving = self.token.is_leaving();
        let later = |source: &Source| source.wait(now, leaving).is_some_and(|wait| wait.is_zero());
        if leaving && self.sources.get(index).is_some_and(later) {
            return;
        }
        for (waited_for, _) in &mut self.awaited {
            waited_for.remove(&index);
        }
        let problems: Vec<Problem> = self
            .sources
            .iter()
            .filter_map(|source| {
                let trouble = source.wrong()?;
                let cause = Arc::clone(&trouble.cause);
                Some(Problem::of_field(&source.names.join(", "), "", Vec::new(), cause))
            })
            .collect();
        for (_, asked) in self.awaited.extract_if(.., |(waited_for, _)| waited_for.is_empty()) {
            let _ = asked.send(problems.clone());
        }
    }

    fn tell_all_who_wait(&mut self) {
        for (_, asked) in std::mem::take(&mut self.awaited) {
            let _ = asked.send(self.token.trouble().into_iter().map(problem).collect());
        }
    }

    pub(super) fn status(&self, now: Reading) -> Status {
        Status {
            health: Health::Healthy,
            good_until: None,
            token: self.token.status(&self.vault, now),
            sources: self.sources.iter().map(|source| source.status(now)).collect(),
            counters: self.counters,
        }
    }
}

// ===== what is let go =====

impl<T: VaultConfig + Send + Sync + 'static> Task<T> {
    fn let_go(&mut self, now: Reading) {
        self.replaced.retain(|replaced| replaced.lease.left(now) != Some(Duration::ZERO));
        let Some(overlap) = self.overlap else { return self.forget_ended_tokens(now) };
        let (gone, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.replaced).into_iter().partition(|replaced| {
                now.since(replaced.at) >= overlap
                    && self.shared.published.is_taken(replaced.edition)
            });
        self.replaced = kept;
        for Replaced { lease, source, .. } in gone {
            let vault = self.vault.clone();
            self.running.spawn(async move {
                let _ = end_lease(&vault, &lease.id, &source).await;
                Done::LetGo
            });
        }
        for held in self.abandoned_tokens() {
            let vault = self.vault.clone();
            self.running.spawn(async move {
                let span = tracing::info_span!("revoke", source = "token");
                let _ = vault.revoke_token(&held).instrument(span).await;
                Done::LetGo
            });
        }
        self.forget_ended_tokens(now);
    }

    /// Tokens that nothing in hand depends on any more.
    fn abandoned_tokens(&self) -> Vec<Arc<Held>> {
        let is_abandoned = |held: &mut Arc<Held>| held.is_ours() && Arc::strong_count(held) == 1;
        self.vault.retired().extract_if(.., is_abandoned).collect()
    }

    fn forget_ended_tokens(&self, now: Reading) {
        self.vault.retired().retain(|held| !held.has_ended(now));
    }

    /// Revoking the token takes its leases along. What is not ours to revoke is left, and what
    /// was made under it is cut short, lease by lease.
    async fn shut_down(mut self) -> Result<(), Cause> {
        let is_last = self.vault.watch_ends();
        let is_ours = self.vault.held().is_none_or(|held| held.is_ours());
        let all = async {
            match is_last && is_ours {
                true => self.vault.revoke_all().await,
                false => self.end_leases().await,
            }
        };
        tokio::time::timeout(SHUTDOWN, all).await.unwrap_or_else(|_| Err(too_slow()))
    }

    async fn end_leases(&mut self) -> Result<(), Cause> {
        let mut ending = JoinSet::new();
        let mut end = |lease: SecretString, source: String| {
            let vault = self.vault.clone();
            ending.spawn(async move { end_lease(&vault, &lease, &source).await });
        };
        for Replaced { lease, source, .. } in self.replaced.drain(..) {
            end(lease.id, source);
        }
        for source in &self.sources {
            if let Stand::Leased(leased) = &source.stand {
                end(leased.id.clone(), source.request.name());
            }
        }
        // What is being made at this moment would be left behind.
        while let Some(done) = self.running.join_next().await {
            if let Ok(Done::Source(index, Outcome::Minted(Ok(answer)))) = done
                && let (Some(lease), Some(source)) = (answer.lease, self.sources.get(index))
            {
                end(lease.id, source.request.name());
            }
        }
        ending.join_all().await.into_iter().collect()
    }
}

fn too_slow() -> Cause {
    Cause::new(
        ErrorKind::Timeout,
        format!("what was made could not be revoked within {SHUTDOWN:?}"),
        "it ends by itself, the token and its leases at the end of their lives",
    )
}

/// A lease that is renewed for a second is over in a second: `default` allows that, and not to
/// revoke it.
async fn end_lease(vault: &Vault, lease: &SecretString, source: &str) -> Result<(), Cause> {
    let mut session = Session::now(vault);
    session.manner.logs_in = false;
    let span = tracing::info_span!("revoke", source = "lease");
    let renewal = session.renew_lease(lease, Duration::from_secs(1)).instrument(span).await;
    let cause = match renewal {
        Renewal::Granted { .. } | Renewal::Gone(_) => return Ok(()),
        // It died with the token.
        Renewal::Failed(cause) if cause.kind == ErrorKind::TokenInvalid => return Ok(()),
        Renewal::Never(cause) | Renewal::Failed(cause) => cause,
    };
    tracing::debug!("a lease of {source} is left to its end: {}", cause.what);
    let what = format!("a lease of {source} is left to its end: {}", cause.what);
    Err(Cause { what, ..cause })
}

// ===== requests =====

impl Due {
    async fn run(self, vault: Vault, request: Request, limit: Duration) -> Outcome {
        let verb = match self {
            Self::Read { .. } => "read",
            Self::Mint => "rotate",
            Self::Renew { .. } => "renew",
        };
        let source = request.name();
        let span = match verb {
            "read" => tracing::info_span!("read", source),
            "rotate" => tracing::info_span!("rotate", source),
            _ => tracing::info_span!("renew", source),
        };
        let began = Instant::now();
        let outcome = self.ask(&vault, &request, limit).instrument(span.clone()).await;
        span.in_scope(|| tracing::debug!(elapsed = ?began.elapsed(), "{verb}: done"));
        outcome
    }

    async fn ask(self, vault: &Vault, request: &Request, limit: Duration) -> Outcome {
        let mut session = Session::now(vault);
        let manner = Manner { repeat: Repeat::Always, patience: Some(limit), logs_in: false };
        session.manner = manner;
        match self {
            Self::Mint => {
                // What may have been made already is not asked for again at once.
                session.manner.repeat = Repeat::UnlessArrived;
                Outcome::Minted(request.send(&session).await.map(Box::new))
            }
            Self::Renew { id, full } => Outcome::Renewed(session.renew_lease(&id, full).await),
            Self::Read { unless: Some(version) } => {
                let changed = match request.has_changed(&session, version).await {
                    Ok(changed) => changed,
                    Err(cause) => return Outcome::Read { answer: Err(cause), may_look: None },
                };
                let may_look = Some(changed.is_some());
                match changed {
                    Some(false) => Outcome::Read { answer: Ok(None), may_look },
                    _ => Outcome::Read { answer: read(&session, request).await, may_look },
                }
            }
            Self::Read { unless: None } => {
                Outcome::Read { answer: read(&session, request).await, may_look: None }
            }
        }
    }
}

async fn read(session: &Session<'_>, request: &Request) -> Result<Option<Box<Answer>>, Cause> {
    request.send(session).await.map(Box::new).map(Some)
}

/// Whether a credential may have been made although no answer came.
fn may_have_been_made(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Timeout
            | ErrorKind::Connection
            | ErrorKind::NotVault
            | ErrorKind::Protocol
            | ErrorKind::TooLarge
    )
}

fn problem(trouble: &Trouble) -> Problem {
    Problem::general_of(Arc::clone(&trouble.cause))
}

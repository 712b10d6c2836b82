//! The one task of a watched configuration. It owns what is in hand; requests run beside it, each
//! by itself, so that one that hangs holds up none of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::Shared;
use super::clock::Reading;
use super::events::Event;
use super::publish::Part;
use super::schedule::LONGEST_SLEEP;
use super::source::{Source, Stand};
use super::status::{Counters, Health, Status};
use super::token::{Outcome as TokenOutcome, TokenKeeper};
use crate::VaultConfig;
use crate::error::{Cause, Problem};
use crate::read::Slot;
use crate::vault::{Renewal, Vault};

mod ending;
mod refresh;
mod request;
mod taking;
mod trouble;

use ending::{End, Replaced};
use request::{Outcome, may_have_been_made};
use taking::Staged;

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

    fn start_what_is_due(&mut self, now: Reading) {
        if let Some(action) = self.token.due(&self.vault, now) {
            let (vault, limit) = (self.vault.clone(), self.vault.timeout());
            self.running.spawn(async move { Done::Token(action.run(vault, limit).await) });
        }
        self.let_go(now);
        self.leases_die(now);
        if self.token.is_stuck() {
            return self.tell_all_who_wait();
        }
        if !self.token.is_usable() {
            return;
        }
        let leaving = self.token.is_leaving();
        for index in 0..self.sources.len() {
            self.start_if_due(index, now, leaving);
        }
    }

    fn start_if_due(&mut self, index: usize, now: Reading, leaving: bool) {
        let Some(source) = self.sources.get_mut(index) else { return };
        let due = match source.due(now, leaving) {
            Ok(Some(due)) => due,
            Ok(None) if source.busy => return,
            Ok(None) => return self.tell_who_waits(index, now),
            Err(cause) => {
                self.fails(index, cause, now);
                return self.tell_who_waits(index, now);
            }
        };
        source.busy = true;
        let limit = source.patience(self.vault.timeout());
        let (vault, request) = (self.vault.clone(), source.request.clone());
        self.running
            .spawn(async move { Done::Source(index, due.run(vault, request, limit).await) });
    }

    /// What was made under a dead token is dead too.
    fn leases_die(&mut self, now: Reading) {
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
                self.with(index, |source| source.budget.failed());
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
                leased.renewed(asked, ttl);
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

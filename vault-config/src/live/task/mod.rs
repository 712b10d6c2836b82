//! The one task of a watched configuration. It owns what is held; requests run beside it, each by itself,
//! so that one that hangs holds up none of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinSet;

use super::Shared;
use super::publish::Part;
use super::schedule::LONGEST_SLEEP;
use super::status::{Counters, Health, Status};
use super::watched::{DueAction, WatchedSecret};
use crate::VaultConfig;
use crate::error::{Cause, Problem};
use crate::load::read::Slot;
use crate::time::clock::Reading;
use crate::vault::{ConnectionEvent, ReservedToken, TokenOutcome, Vault, WatchRegistration};

mod action;
mod apply;
mod failure;
mod outage;
mod outcome;
mod refresh;
mod release;
mod token;

use action::Outcome;
use apply::Staged;
use refresh::Awaited;
use release::{RetiredLease, StopOnDrop};

pub(super) enum Command {
    Refresh(oneshot::Sender<Vec<Problem>>),
    Shutdown(oneshot::Sender<Result<(), Cause>>),
}

pub(super) struct Task<T> {
    vault: Vault,
    watcher: WatchRegistration,
    news: broadcast::Receiver<ConnectionEvent>,
    shared: Arc<Shared<T>>,
    slots: Vec<Slot>,
    parts: Vec<Part>,
    sources: Vec<WatchedSecret>,
    /// By source: what was read and does not make a valid configuration.
    refused: BTreeMap<usize, Staged>,
    retired: Vec<RetiredLease>,
    /// Refreshes that were asked for, and the sources that each still waits for.
    awaited: Vec<Awaited>,
    /// They wait for the answer of a server that is away.
    probe_is_awaited: bool,
    overlap: Option<Duration>,
    edition: u64,
    counters: Counters,
    running: JoinSet<Done>,
    /// The sources for which a credential is being issued.
    issuing: BTreeSet<usize>,
    /// Apart from the requests of sources: at a shutdown, a login that hangs is not waited for.
    token_actions: JoinSet<TokenOutcome>,
    _stop: StopOnDrop<T>,
}

enum Woken {
    Time,
    Outcome(Done),
    Token(Option<TokenOutcome>),
    News(ConnectionEvent),
    Command(Option<Command>),
}

enum Done {
    Source { index: usize, outcome: Outcome, token: ReservedToken },
    Released,
}

/// What a watched configuration refreshes.
pub(super) struct Watched {
    pub(super) slots: Vec<Slot>,
    pub(super) parts: Vec<Part>,
    pub(super) sources: Vec<WatchedSecret>,
    pub(super) overlap: Option<Duration>,
}

impl<T: VaultConfig + Send + Sync + 'static> Task<T> {
    pub(super) fn new(vault: Vault, shared: Arc<Shared<T>>, watched: Watched) -> Self {
        let (watcher, news) = vault.register_watcher();
        let Watched { slots, parts, sources, overlap } = watched;
        Self {
            vault,
            watcher,
            news,
            // Not in `run`: a runtime may end before the first turn of its tasks.
            _stop: StopOnDrop(Arc::clone(&shared)),
            shared,
            slots,
            parts,
            sources,
            refused: BTreeMap::new(),
            retired: Vec::new(),
            awaited: Vec::new(),
            probe_is_awaited: false,
            overlap,
            edition: 0,
            counters: Counters::default(),
            running: JoinSet::new(),
            issuing: BTreeSet::new(),
            token_actions: JoinSet::new(),
        }
    }

    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let clock = Arc::clone(self.vault.clock());
        loop {
            let now = clock.now();
            self.start_what_is_due(now);
            self.shared.set_status(self.status(now));
            let wait = self.wait(now);
            match self.woken(clock.sleep(wait), &mut commands).await {
                Woken::Time => {}
                Woken::Outcome(done) => self.finish(done, clock.now()),
                Woken::Token(outcome) => self.token_is_done(outcome, clock.now()),
                Woken::News(news) => self.learn(news, clock.now()),
                Woken::Command(Some(Command::Refresh(asked))) => {
                    self.refresh(clock.now(), asked);
                }
                Woken::Command(Some(Command::Shutdown(asked))) => {
                    return self.shut_down(asked).await;
                }
                Woken::Command(None) => return,
            }
        }
    }

    async fn woken(
        &mut self,
        mut sleep: Pin<Box<dyn Future<Output = ()> + Send>>,
        commands: &mut mpsc::UnboundedReceiver<Command>,
    ) -> Woken {
        let mut news = pin!(self.news.recv());
        poll_fn(|context| {
            while let Poll::Ready(Some(ended)) = self.running.poll_join_next(context) {
                // A panic is an outcome: only a runtime that ends cancels one.
                if let Ok(done) = ended {
                    return Poll::Ready(Woken::Outcome(done));
                }
            }
            if let Poll::Ready(Some(ended)) = self.token_actions.poll_join_next(context) {
                return Poll::Ready(Woken::Token(ended.ok()));
            }
            if let Poll::Ready(news) = news.as_mut().poll(context) {
                // What was missed is in the state that it is about.
                return Poll::Ready(Woken::News(news.unwrap_or(ConnectionEvent::StateChanged)));
            }
            if let Poll::Ready(command) = commands.poll_recv(context) {
                return Poll::Ready(Woken::Command(command));
            }
            sleep.as_mut().poll(context).map(|()| Woken::Time)
        })
        .await
    }

    fn wait(&self, now: Reading) -> Duration {
        let token = self.vault.token_action_in(now);
        let retired = self.retired.iter().filter_map(|retired| {
            let remaining = retired.lease.remaining(now);
            let overlap = self.overlap.map(|overlap| self.releases_in(retired, overlap, now));
            remaining.into_iter().chain(overlap).min()
        });
        let next = token.into_iter().chain(self.sources_wait(now)).chain(retired).min();
        next.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)
    }

    /// The wait until something may be asked for a source.
    fn sources_wait(&self, now: Reading) -> Option<Duration> {
        if !self.vault.has_usable_token() {
            return None;
        }
        if self.vault.outage_cause().is_some() {
            return self.wait_in_outage(now);
        }
        let leaving = self.vault.token_is_being_replaced();
        let waits = self.sources.iter().filter_map(|source| {
            let (wait, name) = (source.wait(now, leaving)?, source.request.name());
            let request = self.planned_request(&name, source.is_retry(), now);
            Some(wait.max(self.vault.admits_in(request, now)))
        });
        waits.min()
    }

    fn start_what_is_due(&mut self, now: Reading) {
        self.vault.report_final_expiry(now);
        self.release(now);
        if self.vault.outage_cause().is_some() {
            return self.probe(now);
        }
        self.start_token_action(self.vault.claim_token_action(now));
        if let Some(failure) = self.vault.blocking_token_failure(now) {
            return self.report_to_all_that_wait(&failure);
        }
        if !self.vault.has_usable_token() {
            return;
        }
        let leaving = self.vault.token_is_being_replaced();
        // Where retries wait for each other, none is passed over again and again.
        let mut order: Vec<usize> = (0..self.sources.len()).collect();
        order.sort_by_key(|index| {
            let asked = self.sources.get(*index).map(WatchedSecret::last_asked);
            asked.map(|asked| (asked.monotonic, asked.wall))
        });
        for index in order {
            self.start_if_due(index, now, leaving);
        }
    }

    fn start_if_due(&mut self, index: usize, now: Reading, leaving: bool) {
        let Some(source) = self.sources.get(index).filter(|source| !source.busy) else { return };
        if !source.is_due(now, leaving) {
            return self.report_to_waiting(index, now);
        }
        let is_retry = source.is_retry();
        let name = source.request.name();
        if self.vault.admit(self.planned_request(&name, is_retry, now), now).is_err() {
            return;
        }
        let may_peek = self.may_peek();
        let Some(source) = self.sources.get_mut(index) else { return };
        match source.due(now, leaving, may_peek) {
            Ok(Some(action)) => self.start(index, action, now),
            Ok(None) => self.report_to_waiting(index, now),
            Err(cause) => {
                self.fails(index, cause, now);
                self.report_to_waiting(index, now);
            }
        }
    }

    /// The action uses one token from its first request to its last: what it learns of a token is about
    /// that one.
    fn start(&mut self, index: usize, action: DueAction, now: Reading) {
        let Some(source) = self.sources.get_mut(index) else { return };
        let held = self.vault.active_token();
        let Some(token) = held.and_then(|held| ReservedToken::reserve(held, action.requests()))
        else {
            // Another login comes first.
            if matches!(action, DueAction::Issue) {
                source.budget.failed();
            }
            return;
        };
        source.begin(now);
        if matches!(action, DueAction::Issue) {
            self.issuing.insert(index);
        }
        let limit = source.patience(self.vault.timeout());
        let (vault, request) = (self.vault.clone(), source.request.clone());
        self.running.spawn(async move {
            let outcome = action.run(&vault, &request, &token, limit).await;
            Done::Source { index, outcome, token }
        });
    }

    fn with(&mut self, index: usize, change: impl FnOnce(&mut WatchedSecret)) {
        if let Some(source) = self.sources.get_mut(index) {
            change(source);
        }
    }

    pub(super) fn status(&self, now: Reading) -> Status {
        Status {
            health: Health::Healthy,
            good_until: None,
            token: token::status(&self.vault, now),
            sources: self.sources.iter().map(|source| source.status(now)).collect(),
            counters: self.counters,
        }
    }
}

//! The one background task of a watched configuration. It owns all state of the refresh, so nothing here needs a
//! lock. Requests run on tasks of their own beside it, so that a request that hangs delays no other.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinSet;

use super::LiveState;
use super::publish::FieldVersion;
use super::schedule::LONGEST_SLEEP;
use super::status::{Counters, Health, Status};
use super::watched::{DueAction, WatchedSecret};
use crate::VaultConfig;
use crate::error::{Cause, Problem};
use crate::load::Slots;
use crate::time::clock::Reading;
use crate::vault::{ConnectionEvent, ReservedToken, TokenOutcome, Vault, WatchRegistration};

mod action;
mod apply;
mod failure;
mod outage;
mod outcome;
mod refresh;
mod release;
mod shutdown;
mod token;
mod validate;

use action::ActionOutcome;
use refresh::PendingRefresh;
use release::RetiredLease;
use shutdown::StopOnDrop;
use validate::StagedValues;

pub(super) enum TaskCommand {
    Refresh(oneshot::Sender<Vec<Problem>>),
    Shutdown(oneshot::Sender<Result<(), Cause>>),
}

pub(super) struct RefreshTask<T> {
    vault: Vault,
    registration: WatchRegistration,
    connection_events: broadcast::Receiver<ConnectionEvent>,
    shared: Arc<LiveState<T>>,
    slots: Slots,
    field_versions: Vec<FieldVersion>,
    /// A source is named by its index here in all other fields.
    sources: Vec<WatchedSecret>,
    /// The values of each source that were read or issued and do not make a valid configuration.
    rejected_values: BTreeMap<usize, StagedValues>,
    /// Leases that were replaced and have not ended yet.
    retired: Vec<RetiredLease>,
    pending_refreshes: Vec<PendingRefresh>,
    /// A refresh was requested during an outage: its sources are not reported as failing before a probe has failed.
    refresh_awaits_probe: bool,
    /// How long a replaced credential is kept at least; `None`: until its expiry.
    overlap: Option<Duration>,
    /// The number of the newest published configuration.
    edition: u64,
    counters: Counters,
    running: JoinSet<FinishedRequest>,
    /// The sources for which a credential is being issued.
    issuing: BTreeSet<usize>,
    /// Apart from `running`: a shutdown waits for running requests, but not for a login that hangs.
    token_actions: JoinSet<TokenOutcome>,
    _stop: StopOnDrop<T>,
}

enum WakeReason {
    TimePassed,
    RequestFinished(FinishedRequest),
    /// `None`: the action panicked.
    TokenActionFinished(Option<TokenOutcome>),
    ConnectionEvent(ConnectionEvent),
    /// `None`: every `Live` was dropped.
    Command(Option<TaskCommand>),
}

enum FinishedRequest {
    Source {
        index: usize,
        outcome: ActionOutcome,
        token: ReservedToken,
    },
    /// A lease was ended or a token was revoked, as far as possible. Nothing depends on the result.
    Released,
}

/// What a task starts with.
pub(super) struct TaskInput {
    pub(super) slots: Slots,
    pub(super) field_versions: Vec<FieldVersion>,
    pub(super) sources: Vec<WatchedSecret>,
    pub(super) overlap: Option<Duration>,
}

impl<T: VaultConfig + Send + Sync + 'static> RefreshTask<T> {
    pub(super) fn new(vault: Vault, shared: Arc<LiveState<T>>, input: TaskInput) -> Self {
        let (registration, connection_events) = vault.register_watcher();
        let TaskInput { slots, field_versions, sources, overlap } = input;
        Self {
            vault,
            registration,
            connection_events,
            // Created here and not in `run`: a runtime may end before it polls the task for the first time.
            _stop: StopOnDrop(Arc::clone(&shared)),
            shared,
            slots,
            field_versions,
            sources,
            rejected_values: BTreeMap::new(),
            retired: Vec::new(),
            pending_refreshes: Vec::new(),
            refresh_awaits_probe: false,
            overlap,
            edition: 0,
            counters: Counters::default(),
            running: JoinSet::new(),
            issuing: BTreeSet::new(),
            token_actions: JoinSet::new(),
        }
    }

    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<TaskCommand>) {
        let clock = Arc::clone(self.vault.clock());
        loop {
            let now = clock.now();
            self.start_due_actions(now);
            self.shared.set_status(self.status(now));
            let wait = self.next_wake_in(now);
            match self.wait_for_wake(clock.sleep(wait), &mut commands).await {
                WakeReason::TimePassed => {}
                WakeReason::RequestFinished(finished) => {
                    self.finish_request(finished, clock.now());
                }
                WakeReason::TokenActionFinished(outcome) => {
                    self.finish_token_action(outcome, clock.now());
                }
                WakeReason::ConnectionEvent(event) => {
                    self.handle_connection_event(event, clock.now());
                }
                WakeReason::Command(Some(TaskCommand::Refresh(reply))) => {
                    self.start_refresh(clock.now(), reply);
                }
                WakeReason::Command(Some(TaskCommand::Shutdown(reply))) => {
                    return self.shut_down(reply).await;
                }
                WakeReason::Command(None) => return,
            }
        }
    }

    /// Results come before events and commands, so that a decision is made with all that is known.
    async fn wait_for_wake(
        &mut self,
        mut sleep: Pin<Box<dyn Future<Output = ()> + Send>>,
        commands: &mut mpsc::UnboundedReceiver<TaskCommand>,
    ) -> WakeReason {
        let mut event = pin!(self.connection_events.recv());
        poll_fn(|context| {
            while let Poll::Ready(Some(joined)) = self.running.poll_join_next(context) {
                // A request catches its panics, so a join error only means that the runtime ends.
                if let Ok(finished) = joined {
                    return Poll::Ready(WakeReason::RequestFinished(finished));
                }
            }
            if let Poll::Ready(Some(joined)) = self.token_actions.poll_join_next(context) {
                return Poll::Ready(WakeReason::TokenActionFinished(joined.ok()));
            }
            if let Poll::Ready(event) = event.as_mut().poll(context) {
                // Missed events need no handling of their own: the state that they are about is read anyway.
                let event = event.unwrap_or(ConnectionEvent::StateChanged);
                return Poll::Ready(WakeReason::ConnectionEvent(event));
            }
            if let Poll::Ready(command) = commands.poll_recv(context) {
                return Poll::Ready(WakeReason::Command(command));
            }
            sleep.as_mut().poll(context).map(|()| WakeReason::TimePassed)
        })
        .await
    }

    fn next_wake_in(&self, now: Reading) -> Duration {
        let token = self.vault.token_action_in(now);
        let retired = self.retired.iter().filter_map(|retired| {
            let remaining = retired.lease.remaining(now);
            let overlap = self.overlap.map(|overlap| self.release_in(retired, overlap, now));
            remaining.into_iter().chain(overlap).min()
        });
        let next = token.into_iter().chain(self.next_source_request_in(now)).chain(retired).min();
        next.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)
    }

    /// The wait until a request for a source may be sent.
    fn next_source_request_in(&self, now: Reading) -> Option<Duration> {
        if !self.vault.has_usable_token() {
            return None;
        }
        if self.vault.outage_cause().is_some() {
            return self.next_probe_in(now);
        }
        let token_is_being_replaced = self.vault.token_is_being_replaced();
        let waits = self.sources.iter().filter_map(|source| {
            let (wait, name) =
                (source.due_in(now, token_is_being_replaced)?, source.request.name());
            let request = self.planned_request(&name, source.is_retry(), now);
            Some(wait.max(self.vault.admits_in(request, now)))
        });
        waits.min()
    }

    fn start_due_actions(&mut self, now: Reading) {
        self.vault.report_final_expiry(now);
        self.release_retired_leases(now);
        if self.vault.outage_cause().is_some() {
            return self.probe_server(now);
        }
        self.start_token_action(self.vault.claim_token_action(now));
        if let Some(failure) = self.vault.blocking_token_failure(now) {
            return self.fail_pending_refreshes(&failure);
        }
        if !self.vault.has_usable_token() {
            return;
        }
        let token_is_being_replaced = self.vault.token_is_being_replaced();
        // Retries of all sources share one pace. The source that waited longest is tried first, so that none of
        // them is passed over again and again.
        let mut order: Vec<usize> = (0..self.sources.len()).collect();
        order.sort_by_key(|index| {
            let started = self.sources.get(*index).map(WatchedSecret::last_started);
            started.map(|started| (started.monotonic, started.wall))
        });
        for index in order {
            self.start_if_due(index, now, token_is_being_replaced);
        }
    }

    fn start_if_due(&mut self, index: usize, now: Reading, token_is_being_replaced: bool) {
        let Some(source) = self.sources.get(index).filter(|source| !source.is_busy) else {
            return;
        };
        if !source.is_due(now, token_is_being_replaced) {
            return self.complete_refreshes_of(index, now);
        }
        let is_retry = source.is_retry();
        let name = source.request.name();
        if self.vault.admit(self.planned_request(&name, is_retry, now), now).is_err() {
            return;
        }
        let may_read_metadata = self.may_read_metadata();
        let Some(source) = self.sources.get_mut(index) else { return };
        match source.due_action(now, token_is_being_replaced, may_read_metadata) {
            Ok(Some(action)) => self.start_action(index, action, now),
            Ok(None) => self.complete_refreshes_of(index, now),
            Err(cause) => {
                self.set_failing(index, cause, now);
                self.complete_refreshes_of(index, now);
            }
        }
    }

    /// The action uses one token from its first request to its last, so that what it learns about the token is about
    /// that token, even if another one becomes active meanwhile.
    fn start_action(&mut self, index: usize, action: DueAction, now: Reading) {
        let Some(source) = self.sources.get_mut(index) else { return };
        let token = self.vault.active_token();
        let Some(token) =
            token.and_then(|token| ReservedToken::reserve(token, action.max_requests()))
        else {
            // The token has too few uses left, so a login comes first.
            if matches!(action, DueAction::Issue) {
                source.issue_budget.refund();
            }
            return;
        };
        source.action_started(now);
        if matches!(action, DueAction::Issue) {
            self.issuing.insert(index);
        }
        let timeout = source.request_timeout(self.vault.timeout());
        let (vault, request) = (self.vault.clone(), source.request.clone());
        self.running.spawn(async move {
            let outcome = action.run(&vault, &request, &token, timeout).await;
            FinishedRequest::Source { index, outcome, token }
        });
    }

    fn update_source(&mut self, index: usize, update: impl FnOnce(&mut WatchedSecret)) {
        if let Some(source) = self.sources.get_mut(index) {
            update(source);
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

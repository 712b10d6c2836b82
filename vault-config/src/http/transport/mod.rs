//! One request with all its attempts: the turn it waits for, the node it goes to, the retries.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::SemaphorePermit;

use super::lanes::{Lane, Lanes};
use super::network::{self, Network};
use super::nodes::Nodes;
use super::rate_limit::RateGate;
use super::reply::{Reply, printable};
use super::retry::{self, AttemptOutcome, Attempts};
use super::settings::Settings;
use crate::error::{Cause, Delivery};
use crate::time::Timing;
use crate::time::clock::Reading;

mod attempt;
mod call;
mod limits;
mod redirect;
#[cfg(test)]
mod tests;
mod written_index;

use attempt::{AttemptError, HttpResponse};
pub(crate) use call::Call;
pub(crate) use limits::Limits;
use written_index::WrittenIndex;

/// The official client's name for the topmost namespace; it is sent as no header at all.
pub(crate) const ROOT: &str = "root";

#[derive(Debug)]
pub(crate) struct Transport {
    network: Box<dyn Network>,
    timing: Timing,
    settings: Settings,
    lanes: Lanes,
    multiplexed: AtomicBool,
    connected: AtomicBool,
    pub(super) nodes: Nodes,
    rate_gate: Option<RateGate>,
    written: WrittenIndex,
    warned: Mutex<BTreeSet<String>>,
}

impl Transport {
    pub(crate) fn new(network: Box<dyn Network>, settings: Settings, timing: Timing) -> Self {
        Self {
            network,
            lanes: Lanes::new(settings.max_connections),
            multiplexed: AtomicBool::new(false),
            connected: AtomicBool::new(false),
            nodes: Nodes::new(&settings.addresses),
            rate_gate: settings
                .rate_limit
                .map(|limit| RateGate::new(limit, timing.network.clone())),
            timing,
            written: WrittenIndex::default(),
            warned: Mutex::default(),
            settings,
        }
    }

    pub(crate) fn timing(&self) -> &Timing {
        &self.timing
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether the next request should be sent alone: over TLS its connection may then carry all the others.
    pub(crate) fn wants_one_first(&self) -> bool {
        self.settings.addresses.are_https() && !self.connected.load(Ordering::Relaxed)
    }

    /// Every wait in it ends with the call's limit.
    pub(crate) async fn send(&self, call: &Call<'_>) -> Result<Reply, Cause> {
        let in_all = call.patience.unwrap_or(Duration::MAX).min(self.settings.timeout);
        let limits = Limits::new(&self.timing.network, in_all);
        let mut lost = false;
        match self.send_within(call, limits, &mut lost).await {
            Ok(reply) => Ok(self.finished(call, limits, Reply { lost, ..reply }).await),
            Err(cause) if lost => Err(cause.delivered(Delivery::Unanswered)),
            Err(cause) => Err(cause),
        }
    }

    /// Sets `lost` if an attempt may have arrived and got no answer.
    async fn send_within(
        &self,
        call: &Call<'_>,
        limits: Limits<'_>,
        lost: &mut bool,
    ) -> Result<Reply, Cause> {
        let mut tries = 0;
        // Every node gets one attempt, whatever the limit on retries.
        let mut untried = self.nodes.len() - 1;
        let mut place = self.permit(call.lane, limits).await?;
        let mut node = self.healthy_node(call, limits).await?;
        loop {
            let patience = if untried > 0 { call.idempotency.patience() } else { Duration::MAX };
            let response = self.follow(call, node, limits, patience).await;
            *lost |= is_lost(&response);
            let outcome =
                response.as_ref().map_or_else(|failure| failure.outcome, HttpResponse::outcome);
            if let Some(other) = self.node_after(node, outcome, untried, call, limits).await {
                (untried, node) = (untried - 1, other);
                continue;
            }
            if response.as_ref().is_ok_and(HttpResponse::refuses_index) && self.written.forget() {
                continue;
            }
            let pause = self.retry_after(self.timing.clock.now()).unwrap_or_default();
            tries += u32::from(outcome != AttemptOutcome::Deferred);
            let Some(wait) = self.wait(outcome, call, tries, limits, pause) else {
                return response.map(|answered| answered.reply).map_err(|failure| failure.cause);
            };
            tracing::debug!(path = printable(call.path), ?outcome, ?wait, "trying again");
            drop(place);
            self.sleep(pause, wait, limits).await;
            place = self.permit(call.lane, limits).await?;
            node = self.nodes.available(self.timing.clock.now());
        }
    }

    fn wait(
        &self,
        outcome: AttemptOutcome,
        call: &Call<'_>,
        tries: u32,
        limits: Limits<'_>,
        pause: Duration,
    ) -> Option<Duration> {
        let max = match call.attempts {
            Attempts::Configured => self.settings.max_retries,
            Attempts::Single => return None,
        };
        retry::wait(
            outcome,
            call.idempotency,
            tries,
            max,
            self.timing.chance.fraction(),
            limits.remaining(),
            pause,
        )
    }

    /// The server's pause is a matter of the connection's clock, the jitter after it of the network's.
    async fn sleep(&self, pause: Duration, wait: Duration, limits: Limits<'_>) {
        if !pause.is_zero() {
            limits.within(self.timing.clock.sleep(pause)).await;
        }
        self.timing.network.sleep(wait.saturating_sub(pause)).await;
    }

    /// How long the server, or every node of a cluster, asked not to be sent requests (`Retry-After`). At most an
    /// hour.
    pub(crate) fn retry_after(&self, now: Reading) -> Option<Duration> {
        self.nodes.shortest_pause(now)
    }

    /// Permission to send, for as long as it is held.
    async fn permit(
        &self,
        lane: Lane,
        limits: Limits<'_>,
    ) -> Result<Option<SemaphorePermit<'_>>, Cause> {
        let multiplexed = self.multiplexed.load(Ordering::Relaxed);
        let place = limits.within(self.lanes.enter(lane, multiplexed)).await;
        place.ok_or_else(|| {
            network::no_connection(&self.settings.addresses.shown(), limits.in_all).cause
        })
    }

    async fn finished(&self, call: &Call<'_>, limits: Limits<'_>, mut reply: Reply) -> Reply {
        for warning in reply.warnings() {
            self.warn_once(warning);
        }
        // An uninitialised server answers "Vault is sealed" as well; only its health status differs.
        if reply.status == 503
            && call.attempts == Attempts::Configured
            && self.health(self.nodes.current(), call, limits).await == Some(501)
        {
            reply.status = 501;
        }
        reply
    }

    fn warn_once(&self, warning: &str) {
        // Beyond this many different warnings, new ones are not logged: they would not fit in memory for ever.
        const REMEMBERED: usize = 256;
        let shown = printable(warning);
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.len() < REMEMBERED && warned.insert(shown.clone()) {
            tracing::warn!(warning = shown, "the server warns");
        }
    }
}

fn is_lost(outcome: &Result<HttpResponse, AttemptError>) -> bool {
    let delivery = match outcome {
        Ok(answered) => answered.reply.delivery(),
        Err(failure) => failure.cause.delivery,
    };
    delivery == Delivery::Unanswered
}

//! The choice of a node in a cluster: the one that served the last request, until it fails.

use std::time::Duration;

use super::retry::{self, AttemptOutcome, Attempts, Idempotency};
use super::transport::{Call, Limits, Transport};
use crate::error::{Cause, Delivery, ErrorKind};

/// A node that does not answer this within the limit is not chosen.
const HEALTH: Duration = Duration::from_secs(2);

impl Transport {
    /// The status of `sys/health`, or `None` if the node does not answer.
    pub(super) async fn health(
        &self,
        node: usize,
        of: &Call<'_>,
        limits: Limits<'_>,
    ) -> Option<u16> {
        let url = self.url(node, "sys/health", &None).ok()?;
        let call = Call { lane: of.lane, ..Call::get("sys/health") };
        let asked = self.attempt(&call, node, url, limits, HEALTH).await;
        asked.ok().map(|answered| answered.reply.status)
    }

    /// The node that served the last request. Its health is checked before the first request, and before a
    /// request that must not be repeated: that one cannot be sent to another node after a failure.
    pub(super) async fn healthy_node(
        &self,
        call: &Call<'_>,
        limits: Limits<'_>,
    ) -> Result<usize, Cause> {
        let node = self.nodes.current();
        let is_good = self.nodes.is_known() || call.attempts == Attempts::Single;
        if self.nodes.len() == 1 || is_good && call.idempotency == Idempotency::Safe {
            return Ok(node);
        }
        if self.health(node, call, limits).await.is_some_and(serves) {
            self.nodes.succeeded(node);
            return Ok(node);
        }
        let chosen = limits.within(self.choose(node, call, limits)).await;
        chosen.ok_or_else(|| {
            Cause::new(
                ErrorKind::Timeout,
                format!("no healthy node was found within {:?}", limits.in_all),
                "check that the addresses are reachable from this machine",
            )
            .at(format!("vault {}", self.settings().addresses.shown()))
            .delivered(Delivery::NotSent)
        })
    }

    /// The node to try next without a pause, if the failure is the node's own.
    pub(super) async fn node_after(
        &self,
        node: usize,
        outcome: AttemptOutcome,
        untried: usize,
        call: &Call<'_>,
        limits: Limits<'_>,
    ) -> Option<usize> {
        if outcome.is_of_the_node() {
            self.nodes.failed(node);
            let is_worth_it = untried > 0 && retry::worth_another(outcome, call.idempotency);
            return if is_worth_it { self.another_node(node, call, limits).await } else { None };
        }
        if outcome != AttemptOutcome::Hopeless {
            self.nodes.succeeded(node);
        }
        None
    }

    /// Another node than the failing one; `None` if the time is over before one is found.
    async fn another_node(
        &self,
        failing: usize,
        call: &Call<'_>,
        limits: Limits<'_>,
    ) -> Option<usize> {
        if call.attempts == Attempts::Configured {
            return limits.within(self.choose(failing, call, limits)).await;
        }
        // The caller makes one attempt at every node anyway, which says as much as a health check.
        if let Some(next) = self.nodes.after(failing).next()
            && self.nodes.current() == failing
        {
            self.nodes.switch_to(next, false);
        }
        Some(self.nodes.current())
    }

    /// The first healthy one of the other nodes. Requests that find the same node failing share one choice.
    async fn choose(&self, failing: usize, call: &Call<'_>, limits: Limits<'_>) -> usize {
        let _turn = self.nodes.node_choice.lock().await;
        let current = self.nodes.current();
        if current != failing {
            return current;
        }
        let mut healthy = None;
        for node in self.nodes.after(failing) {
            if self.health(node, call, limits).await.is_some_and(serves) {
                healthy = Some(node);
                break;
            }
        }
        // If none is healthy, each is tried in turn.
        let next = healthy.or_else(|| self.nodes.after(failing).next()).unwrap_or(failing);
        self.nodes.switch_to(next, healthy.is_some());
        if healthy.is_some() {
            let (from, to) = (self.nodes.shown(failing), self.nodes.shown(next));
            tracing::info!(%from, %to, "requests go to another node from now on");
        }
        next
    }
}

/// The active node, or a standby that serves reads and forwards the rest:
/// <https://openbao.org/api-docs/system/health/>.
fn serves(health: u16) -> bool {
    matches!(health, 200 | 429 | 473)
}

//! Which node of a cluster is asked: the one that was good last, until it fails.

use std::time::Duration;

use super::retry::{self, Attempts, Ended, Repeat};
use super::transport::{Call, Http, Limits};
use crate::error::{Cause, Delivery, ErrorKind};

/// How long a node may take to say how it is.
const HEALTH: Duration = Duration::from_secs(2);

impl Http {
    /// The server's health, as a status.
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

    /// The node that was good last. Which one is good is asked before the first request, and before
    /// one that cannot be sent again when the answer stays away.
    pub(super) async fn healthy_node(
        &self,
        call: &Call<'_>,
        limits: Limits<'_>,
    ) -> Result<usize, Cause> {
        let node = self.nodes.current();
        let is_good = self.nodes.is_known() || call.attempts == Attempts::Single;
        if self.nodes.len() == 1 || is_good && call.repeat == Repeat::Always {
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
                format!("no node was found to be healthy within {:?}", limits.in_all),
                "check that the addresses are reachable from here",
            )
            .at(format!("vault {}", self.settings().addresses.shown()))
            .delivered(Delivery::NotSent)
        })
    }

    /// The node to ask at once after this one, when it is the node that failed.
    pub(super) async fn node_after(
        &self,
        node: usize,
        ended: Ended,
        unasked: usize,
        call: &Call<'_>,
        limits: Limits<'_>,
    ) -> Option<usize> {
        if ended.is_of_the_node() {
            self.nodes.failed(node);
            let is_worth_it = unasked > 0 && retry::worth_another(ended, call.repeat);
            return if is_worth_it { self.another_node(node, call, limits).await } else { None };
        }
        if ended != Ended::Hopeless {
            self.nodes.succeeded(node);
        }
        None
    }

    /// Another one than the failing one, unless there is no time left to find it.
    async fn another_node(
        &self,
        failing: usize,
        call: &Call<'_>,
        limits: Limits<'_>,
    ) -> Option<usize> {
        if call.attempts == Attempts::Configured {
            return limits.within(self.choose(failing, call, limits)).await;
        }
        // An attempt at each is as good a question as one about its health.
        if let Some(next) = self.nodes.after(failing).next()
            && self.nodes.current() == failing
        {
            self.nodes.moved(next, false);
        }
        Some(self.nodes.current())
    }

    /// The healthiest of the others. Who else finds this one failing waits for the answer.
    async fn choose(&self, failing: usize, call: &Call<'_>, limits: Limits<'_>) -> usize {
        let _turn = self.nodes.choosing.lock().await;
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
        // Each in its turn when none is healthy.
        let next = healthy.or_else(|| self.nodes.after(failing).next()).unwrap_or(failing);
        self.nodes.moved(next, healthy.is_some());
        if healthy.is_some() {
            let (from, to) = (self.nodes.shown(failing), self.nodes.shown(next));
            tracing::info!(%from, %to, "another node is asked from now on");
        }
        next
    }
}

/// The active node, or a standby that reads itself and passes on the rest:
/// <https://openbao.org/api-docs/system/health/>.
fn serves(health: u16) -> bool {
    matches!(health, 200 | 429 | 473)
}

//! A private cluster of OpenBao servers.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::{Administrator, AuditRequest, OpenBao};

/// An election takes up to five seconds on an idle machine, two step-downs in a row up to ten.
const LEADER_BOUND: Duration = Duration::from_secs(30);

/// How long a node may take to report its state. A frozen node never does.
const ANSWER_BOUND: Duration = Duration::from_secs(1);

/// Three OpenBao servers on plain http that share their data by raft. Node 0 is the leader at first. Dropping the
/// cluster stops the servers and deletes their data.
///
/// A standby answers reads itself, and forwards other requests to the leader.
#[derive(Debug)]
pub struct RaftCluster {
    nodes: [OpenBao; 3],
}

impl RaftCluster {
    /// Starts a cluster. Every node is unsealed, and KV v2 at `secret/` is usable at every node.
    pub async fn start() -> Self {
        let nodes = tokio::join!(OpenBao::raft_node(), OpenBao::raft_node(), OpenBao::raft_node());
        let (mut first, mut second, mut third) = nodes;
        first.initialise().await;
        tokio::join!(second.join(&first), third.join(&first));
        let cluster = Self { nodes: [first, second, third] };
        cluster.clear_audit();
        cluster
    }

    /// A node's address, for example `http://127.0.0.1:20200`.
    #[must_use]
    pub fn address(&self, node: usize) -> String {
        self.nodes[node].address().to_owned()
    }

    /// All addresses, in the nodes' order.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.address().to_owned()).collect()
    }

    /// The administrator at the leader, once there is one.
    pub async fn administrator(&self) -> &Administrator {
        self.administrator_at(self.wait_for_leader().await)
    }

    /// The administrator at this node.
    #[must_use]
    pub fn administrator_at(&self, node: usize) -> &Administrator {
        self.nodes[node].administrator()
    }

    /// The node that reports that it is active; `None` while there is none.
    pub async fn leader(&self) -> Option<usize> {
        let mut asked = JoinSet::new();
        for (number, node) in self.nodes.iter().enumerate() {
            let administrator = node.administrator().clone();
            asked.spawn(async move { is_active(&administrator).await.then_some(number) });
        }
        while let Some(answer) = asked.join_next().await {
            if let Ok(Some(leader)) = answer {
                return Some(leader);
            }
        }
        None
    }

    /// The leader, once there is one.
    ///
    /// # Panics
    ///
    /// If there is none within half a minute.
    pub async fn wait_for_leader(&self) -> usize {
        let end = Instant::now() + LEADER_BOUND;
        loop {
            if let Some(leader) = self.leader().await {
                return leader;
            }
            assert!(Instant::now() < end, "no leader within {LEADER_BOUND:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Writes a secret below `secret/`, at the leader. Tries again if that fails: on a slow machine, a new leader may
    /// be replaced by another one while it writes.
    ///
    /// # Panics
    ///
    /// If it is not written within half a minute.
    pub async fn kv_put(&self, path: &str, secret: Value) {
        let (body, path) = (json!({ "data": secret }), format!("secret/data/{path}"));
        let end = Instant::now() + LEADER_BOUND;
        loop {
            let leader = self.administrator().await;
            let token = leader.root_token();
            let written = leader.send(Method::POST, &path, Some(body.clone()), token).await;
            if matches!(written, Ok((200, _))) {
                return;
            }
            assert!(Instant::now() < end, "not written within {LEADER_BOUND:?}: {written:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Kills a node, as a crash would.
    pub fn kill(&self, node: usize) {
        self.nodes[node].kill();
    }

    /// Stops a node, as an operator would.
    pub fn stop(&self, node: usize) {
        self.nodes[node].stop();
    }

    /// Freezes a node: it accepts connections and does not answer.
    pub fn freeze(&self, node: usize) {
        self.nodes[node].freeze();
    }

    /// Continues a frozen node. If it was the leader, it reports for a moment that it still is.
    pub fn thaw(&self, node: usize) {
        self.nodes[node].thaw();
    }

    /// Starts a stopped node on the same port with its data, unseals it, and waits until it answers, as a standby or
    /// the leader. A standby may be behind the leader at first.
    pub async fn start_again(&self, node: usize) {
        self.nodes[node].start_sealed().await;
        self.unseal(node).await;
    }

    /// Makes the leader step down, and waits until it has. Another node becomes the leader, usually in less than a
    /// second. The old one cannot become the leader again for ten seconds.
    ///
    /// # Panics
    ///
    /// If the leader is still active after half a minute.
    pub async fn step_down(&self) {
        let leader = self.administrator().await;
        leader.write("sys/step-down", json!({})).await;
        let end = Instant::now() + LEADER_BOUND;
        while is_active(leader).await {
            assert!(Instant::now() < end, "still active {LEADER_BOUND:?} after a step-down");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Seals a node: it answers 503 from now on.
    pub async fn seal(&self, node: usize) {
        self.nodes[node].seal().await;
    }

    /// Unseals a node, and waits until it answers, as a standby or the leader.
    pub async fn unseal(&self, node: usize) {
        self.nodes[node].unseal_in_cluster().await;
    }

    /// As [`OpenBao::audit_requests`], of this node. A request that a standby forwards is in the leader's log as well.
    #[must_use]
    pub fn audit_requests(&self, node: usize) -> Vec<AuditRequest> {
        self.nodes[node].audit_requests()
    }

    /// Forgets the requests received so far, at every node.
    pub fn clear_audit(&self) {
        self.nodes.iter().for_each(OpenBao::clear_audit);
    }

    /// A node's process id; `None` when it is stopped.
    #[must_use]
    pub fn process_id(&self, node: usize) -> Option<u32> {
        self.nodes[node].process_id()
    }
}

async fn is_active(administrator: &Administrator) -> bool {
    let health = administrator.send(Method::GET, "sys/health", None, "");
    matches!(timeout(ANSWER_BOUND, health).await, Ok(Ok((200, _))))
}

//! A cluster whose nodes fail one after the other. `-- cluster --nocapture` prints the duration of each recovery.

use vault_config_tests::RaftCluster;

use super::*;

struct Clustered {
    cluster: RaftCluster,
    postgres: Postgres,
    ids: AppRoleIds,
}

async fn clustered(ttl: &str, settings: Value) -> Clustered {
    let (cluster, postgres) = tokio::join!(RaftCluster::start(), Postgres::start());
    let bao = cluster.administrator_at(0);
    bao.kv_put("secret", "app", json!({ "key": "k1" })).await;
    bao.policy("app", POLICY).await;
    bao.connect_database(&postgres).await;
    bao.database_role("app", ttl, "1h").await;
    let ids = bao.approle("app", &["app"], settings).await;
    // A standby is behind the leader for a moment, and refuses a secret_id that it does not know yet.
    tokio::time::sleep(seconds(2)).await;
    Clustered { cluster, postgres, ids }
}

impl Clustered {
    fn loader<T: VaultConfig>(&self) -> Loader<T> {
        approle_loader(&self.cluster.addresses().join(","), &self.ids)
    }

    async fn accepts(&self, live: &Live<Config>) -> bool {
        let database = live.current();
        let database = &database.database;
        let password = database.password().expose_secret();
        self.postgres.connect(database.username(), password).await.is_ok()
    }

    /// Waits until the client reads a value that was written to the new leader. The credentials must work all the time.
    async fn recovers(&self, live: &Live<Config>, value: &str, since: Instant) -> Duration {
        self.cluster.wait_for_leader().await;
        let elected = since.elapsed();
        self.cluster.kv_put("app", json!({ "key": value })).await;
        until("the change is seen", async || {
            assert!(self.accepts(live).await, "{:#?}", live.status());
            live.current().key.expose_secret() == value
        })
        .await;
        until("healthy", async || live.status().health == Health::Healthy).await;
        // The new leader knows the token and the lease, and renews both.
        until("renewed", async || live.refresh().await.is_ok()).await;
        let (status, recovered) = (live.status(), since.elapsed());
        eprintln!(
            "{value}: a leader after {elapsed:?}, healthy after {recovered:?}; {counters:?}",
            elapsed = elected,
            counters = status.counters
        );
        recovered
    }
}

#[tokio::test]
async fn a_killed_leader_and_restarted_nodes_cost_no_credential() {
    // Long enough for an election: at least a third of the lifetime remains before each renewal.
    let settings = json!({ "token_ttl": "90s", "token_max_ttl": "1h" });
    let servers = clustered("90s", settings).await;
    let live = servers.loader::<Config>().watch().await.unwrap();
    let first = live.current();

    let leader = servers.cluster.wait_for_leader().await;
    let killed = Instant::now();
    // The leader is killed in the middle of a refresh.
    let refreshing = tokio::spawn({
        let live = live.clone();
        async move { drop(live.refresh().await) }
    });
    servers.cluster.kill(leader);
    servers.recovers(&live, "leader killed", killed).await;
    refreshing.await.unwrap();
    servers.cluster.start_again(leader).await;

    for node in 0..3 {
        let stopped = Instant::now();
        servers.cluster.stop(node);
        servers.recovers(&live, &format!("node {node} stopped"), stopped).await;
        servers.cluster.start_again(node).await;
    }
    assert_eq!(
        first.database.username(),
        live.current().database.username(),
        "no new user was needed"
    );
    let counters = live.status().counters;
    assert_eq!((counters.logins, counters.rotations), (0, 0), "{counters:?}");
    live.shutdown().await.unwrap();
}

/// The service knows the addresses of all nodes, or of one standby only.
#[tokio::test]
async fn a_start_waits_for_a_leader() {
    let servers = clustered("1h", json!({})).await;
    let leader = servers.cluster.wait_for_leader().await;
    let standby = (leader + 1) % 3;
    servers.cluster.kill(leader);
    let killed = Instant::now();
    let all = servers.loader::<Config>().startup_deadline(seconds(60));
    let one = approle_loader::<Config>(&servers.cluster.address(standby), &servers.ids)
        .startup_deadline(seconds(60));
    let (all, one) = tokio::join!(all.load(), one.load());
    eprintln!("loaded {:?} after the leader was killed", killed.elapsed());
    assert_eq!(all.unwrap().key.expose_secret(), "k1");
    assert_eq!(one.unwrap().key.expose_secret(), "k1");

    // With two of three nodes gone, no leader can be elected: the load fails at its deadline.
    let leader = servers.cluster.wait_for_leader().await;
    servers.cluster.kill(leader);
    let last = (0..3).find(|node| servers.cluster.process_id(*node).is_some()).unwrap();
    let loader = approle_loader::<Config>(&servers.cluster.address(last), &servers.ids);
    let error = loader.startup_deadline(seconds(3)).load().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Standby | ErrorKind::ConnectionRefused), "{error}");
    assert!(error.to_string().contains("waited for the server for 3s"), "{error}");
}

#[tokio::test]
async fn a_start_against_a_standby_a_dead_node_and_during_a_step_down() {
    let servers = clustered("1h", json!({})).await;
    let leader = servers.cluster.wait_for_leader().await;
    let (standby, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let took = async |what: &str, addresses: String| {
        let began = Instant::now();
        let loader = approle_loader::<Config>(&addresses, &servers.ids);
        let loaded = loader.startup_deadline(seconds(60)).load().await;
        loaded.unwrap_or_else(|error| panic!("{what}: {error}"));
        eprintln!("{what}: loaded in {:?}", began.elapsed());
    };
    let address = |node: usize| servers.cluster.address(node);
    took("a standby", address(standby)).await;
    servers.cluster.kill(other);
    took("a dead node, and a second address", format!("{},{}", address(other), address(leader)))
        .await;
    servers.cluster.start_again(other).await;
    tokio::join!(
        servers.cluster.step_down(),
        took("while the leader steps down", servers.cluster.addresses().join(","))
    );
    let leader = servers.cluster.wait_for_leader().await;
    servers.cluster.freeze(leader);
    took("a leader that hangs", servers.cluster.addresses().join(",")).await;
    servers.cluster.thaw(leader);
}

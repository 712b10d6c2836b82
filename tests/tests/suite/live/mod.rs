//! Watched configurations that stay fresh, through rotation and outages.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vault_config::live::{Event, Events, Health, Login, Status};
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{DatabaseCredentials, ErrorKind, Live, Loader, VaultConfig};
use vault_config_tests::{AppRoleIds, OpenBao, Postgres};

use crate::support::{approle_loader, token_loader, until};

mod cluster;
mod endurance;
mod guarantees;
mod kv;
mod leases;
mod outages;
mod reading;
mod shared;
mod shutdown;
mod soak;
mod static_roles;
mod supplied_tokens;
mod token;
mod virtual_time;
mod world;

#[derive(Debug, VaultConfig)]
struct Config {
    #[vault(kv = "app", refresh = "1s")]
    key: SecretString,
    #[vault(database = "app")]
    database: DatabaseCredentials,
}

const POLICY: &str = r#"
path "secret/data/*" { capabilities = ["read"] }
path "secret/metadata/*" { capabilities = ["read"] }
path "old/*" { capabilities = ["read"] }
path "database/creds/app" { capabilities = ["read"] }
path "database/static-creds/legacy" { capabilities = ["read"] }
"#;

/// An OpenBao with a PostgreSQL, for which its role `app` issues users.
struct Servers {
    bao: OpenBao,
    postgres: Postgres,
}

impl Servers {
    /// The users of `app` have these lifetimes.
    async fn start(ttl: &str, max_ttl: &str) -> Self {
        Self::with(OpenBao::dev(), ttl, max_ttl).await
    }

    /// As `start`, and the OpenBao keeps its data when it is restarted.
    async fn durable(ttl: &str, max_ttl: &str) -> Self {
        Self::with(OpenBao::durable(), ttl, max_ttl).await
    }

    async fn with(bao: impl Future<Output = OpenBao>, ttl: &str, max_ttl: &str) -> Self {
        let (bao, postgres) = tokio::join!(bao, Postgres::start());
        prepare(&bao).await;
        bao.connect_database(&postgres).await;
        bao.database_role("app", ttl, max_ttl).await;
        Self { bao, postgres }
    }

    /// Whether PostgreSQL accepts the credentials now.
    async fn accepts(&self, database: &DatabaseCredentials) -> bool {
        let password = database.password().expose_secret();
        self.postgres.connect(database.username(), password).await.is_ok()
    }

    /// Asserts that PostgreSQL accepts the current credentials during all of this time.
    async fn always_accepts(&self, live: &Live<Config>, how_long: Duration) {
        let began = Instant::now();
        while began.elapsed() < how_long {
            let config = live.current();
            let accepted = self.accepts(&config.database).await;
            assert!(accepted, "after {:?}: {:#?}", began.elapsed(), live.status());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The number of users that OpenBao created and that still exist.
    async fn users(&self) -> usize {
        self.postgres.psql("select usename from pg_user where usename like 'v-%'").await.len()
    }

    /// Waits until every user is deleted: the server deletes them shortly after it has answered. Without a revocation
    /// they would exist for longer than this waits.
    async fn no_user_is_left(&self) {
        let began = Instant::now();
        while self.users().await > 0 {
            assert!(began.elapsed() < seconds(5), "{} users are left", self.users().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// An OpenBao with a secret at `secret/app` and the policy `app`.
async fn bao() -> OpenBao {
    let bao = OpenBao::dev().await;
    prepare(&bao).await;
    bao
}

async fn prepare(bao: &OpenBao) {
    bao.kv_put("secret", "app", json!({ "key": "k1", "other": "o1" })).await;
    bao.policy("app", POLICY).await;
}

/// Logs in as an AppRole with these settings for its tokens, such as `token_ttl`.
async fn loader<T: VaultConfig>(bao: &OpenBao, settings: Value) -> Loader<T> {
    let ids = bao.approle("app", &["app"], settings).await;
    approle_loader(bao.address(), &ids)
}

/// Waits for an event from which `take` returns a value, and returns that value.
async fn next<R>(events: &mut Events, mut take: impl FnMut(&Event) -> Option<R>) -> R {
    let found = async {
        loop {
            let event = events.next().await.expect("it is watched");
            if let Some(found) = take(&event) {
                return found;
            }
        }
    };
    tokio::time::timeout(seconds(60), found).await.expect("the event comes")
}

/// Collects the failures from now on, without timeouts: they also happen on a slow machine.
fn failures<T>(live: &Live<T>) -> Arc<Mutex<Vec<String>>> {
    let (failures, mut events) = (Arc::new(Mutex::new(Vec::new())), live.events());
    let kept = Arc::clone(&failures);
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::Failing { problem, .. } = event
                && problem.kind() != ErrorKind::Timeout
            {
                kept.lock().unwrap().push(problem.to_string());
            }
        }
    });
    failures
}

async fn wait_for_rotation(events: &mut Events) {
    next(events, |event| matches!(event, Event::Rotated { .. }).then_some(())).await;
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The number of requests for paths that begin with `path`.
fn requests_for(bao: &OpenBao, path: &str) -> usize {
    bao.audit_requests().iter().filter(|request| request.path.starts_with(path)).count()
}

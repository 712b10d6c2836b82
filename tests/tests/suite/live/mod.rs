//! Configurations that stay fresh, through rotation and outages.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vault_config::live::{Event, Events, Health, Login, Status};
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{DatabaseCredentials, ErrorKind, Live, Loader, VaultConfig};
use vault_config_tests::{AppRoleIds, OpenBao, Postgres};

use crate::support::{approle_loader, token_loader, until};

mod adversary;
mod cluster;
mod given_tokens;
mod kv;
mod leases;
mod outages;
mod promises;
mod reading;
mod shared;
mod shutdown;
mod soak;
mod static_roles;
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

/// An OpenBao whose database role `app` has these times, with its PostgreSQL.
struct Servers {
    bao: OpenBao,
    postgres: Postgres,
}

impl Servers {
    async fn start(ttl: &str, max_ttl: &str) -> Self {
        Self::with(OpenBao::dev(), ttl, max_ttl).await
    }

    /// The OpenBao can be started again.
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

    /// Whether the credentials open a session now.
    async fn accepts(&self, database: &DatabaseCredentials) -> bool {
        let password = database.password().expose_secret();
        self.postgres.connect(database.username(), password).await.is_ok()
    }

    /// The current credentials open a session at every moment.
    async fn always_accepts(&self, live: &Live<Config>, how_long: Duration) {
        let began = Instant::now();
        while began.elapsed() < how_long {
            let config = live.current();
            let accepted = self.accepts(&config.database).await;
            assert!(accepted, "after {:?}: {:#?}", began.elapsed(), live.status());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The database users that were made and are still there.
    async fn users(&self) -> usize {
        self.postgres.psql("select usename from pg_user where usename like 'v-%'").await.len()
    }

    /// The server drops them a moment after it has answered; by themselves they would live on for
    /// longer than is waited for here.
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

/// Logs in as an AppRole whose tokens have these settings, as `token_ttl`.
async fn loader<T: VaultConfig>(bao: &OpenBao, settings: Value) -> Loader<T> {
    let ids = bao.approle("app", &["app"], settings).await;
    approle_loader(bao.address(), &ids)
}

/// The next event that this takes something from.
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

/// What fails from now on, but for answers that a slow machine lets come too late.
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

async fn is_rotated(events: &mut Events) {
    next(events, |event| matches!(event, Event::Rotated { .. }).then_some(())).await;
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How many requests there were for paths that begin so.
fn asked(bao: &OpenBao, path: &str) -> usize {
    bao.audit_requests().iter().filter(|request| request.path.starts_with(path)).count()
}

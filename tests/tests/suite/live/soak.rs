//! Four workers query PostgreSQL without a pause, while the server behind them fails in every way.
//!
//! `VAULT_CONFIG_SOAK_SECONDS` sets the duration (default 45), `VAULT_CONFIG_SOAK_SEED` repeats the order of an earlier
//! run. `cargo test -p vault-config-tests --test suite soak -- --nocapture` prints the figures.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use deadpool_postgres::{Connect, Manager, ManagerConfig};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tokio::task::JoinHandle;
use vault_config_tests::tokio_postgres::{Client, Config as PgConfig, Error as PgError, NoTls};
use vault_config_tests::{Fault, FaultProxy, postgres};

use super::*;

/// Returns the user: it fails in a session whose user was deleted.
const QUERY: &str = "select current_user::text";
/// The age at which pools close a connection: shorter than a replaced user stays valid.
const CONNECTION: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Incident {
    Restart,
    Seal,
    Refuse,
    Cut,
    Errors500,
    RateLimit,
    Stall,
    Revocation,
}

const INCIDENTS: [Incident; 8] = [
    Incident::Restart,
    Incident::Seal,
    Incident::Refuse,
    Incident::Cut,
    Incident::Errors500,
    Incident::RateLimit,
    Incident::Stall,
    Incident::Revocation,
];

/// The results of the workers' queries.
#[derive(Default)]
struct Seen {
    queries: AtomicU64,
    users: Mutex<BTreeMap<String, u64>>,
    failures: Mutex<Vec<(Instant, String)>>,
    /// Periods, from and to, in which no client could have kept a lease of three seconds valid.
    unavoidable: Mutex<Vec<(Instant, Instant)>>,
    expected_failures: AtomicU64,
    /// Queries may fail: the current credentials were revoked.
    expects_failures: AtomicBool,
    stop: AtomicBool,
    longest: Mutex<Duration>,
}

impl Seen {
    fn record(&self, pool: &str, began: Instant, answer: Result<String, String>) {
        self.queries.fetch_add(1, Ordering::Relaxed);
        let mut longest = self.longest.lock().unwrap();
        *longest = longest.max(began.elapsed());
        match answer {
            Ok(user) => *self.users.lock().unwrap().entry(user).or_default() += 1,
            Err(_) if self.expects_failures.load(Ordering::SeqCst) => {
                self.expected_failures.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                let failure = (Instant::now(), format!("{pool}: {error}"));
                self.failures.lock().unwrap().push(failure);
            }
        }
    }

    /// The failures of the library: without those of an outage that outlasts the lease, or of a machine that stood
    /// still.
    fn failed(&self) -> Vec<String> {
        let unavoidable = self.unavoidable.lock().unwrap();
        let is_excused = |at: &Instant| unavoidable.iter().any(|(from, to)| from <= at && at <= to);
        let failures = self.failures.lock().unwrap();
        failures.iter().filter(|(at, _)| !is_excused(at)).map(|(_, error)| error.clone()).collect()
    }

    fn excuse_since(&self, from: Instant) {
        self.unavoidable.lock().unwrap().push((from, Instant::now() + seconds(3)));
    }

    /// Excuses the periods in which the machine runs no thread for a while.
    fn watch_for_pauses(seen: Arc<Self>) {
        const TICK: Duration = Duration::from_millis(20);
        std::thread::spawn(move || {
            while !seen.is_over() {
                let before = Instant::now();
                std::thread::sleep(TICK);
                if before.elapsed() > Duration::from_millis(300) {
                    seen.excuse_since(before);
                }
            }
        });
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

/// Opens each connection with the newest credentials.
struct Newest(Live<Config>);

impl Connect for Newest {
    fn connect(
        &self,
        config: &PgConfig,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), PgError>> + Send + '_>> {
        let current = self.0.current();
        let mut config = config.clone();
        config.user(current.database.username());
        config.password(current.database.password().expose_secret());
        Box::pin(async move {
            let (client, connection) = config.connect(NoTls).await?;
            Ok((client, tokio::spawn(async move { drop(connection.await) })))
        })
    }
}

fn deadpool(live: &Live<Config>, port: u16) -> deadpool_postgres::Pool {
    let mut config = PgConfig::new();
    config.host("127.0.0.1").port(port).dbname(postgres::DATABASE);
    let manager = Manager::from_connect(config, Newest(live.clone()), ManagerConfig::default());
    deadpool_postgres::Pool::builder(manager).max_size(2).build().unwrap()
}

async fn sqlx(live: &Live<Config>, port: u16) -> PgPool {
    let mut database = live.select(|config| &config.database);
    let options = move |pair: &DatabaseCredentials| {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(port)
            .database(postgres::DATABASE)
            .username(pair.username())
            .password(pair.password().expose_secret())
    };
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .max_lifetime(CONNECTION)
        .connect_with(options(&database.seen()))
        .await
        .unwrap();
    let pool_options = pool.clone();
    tokio::spawn(async move {
        while let Some(pair) = database.changed().await {
            pool_options.set_connect_options(options(&pair));
        }
    });
    pool
}

async fn by_sqlx(pool: PgPool, seen: Arc<Seen>) {
    while !seen.is_over() {
        let began = Instant::now();
        let answer = sqlx::query_scalar::<_, String>(QUERY).fetch_one(&pool).await;
        seen.record("sqlx", began, answer.map_err(|error| error.to_string()));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn by_deadpool(pool: deadpool_postgres::Pool, seen: Arc<Seen>) {
    while !seen.is_over() {
        let began = Instant::now();
        pool.retain(|_, metrics| metrics.age() < CONNECTION);
        let answer = async {
            let client = pool.get().await.map_err(|error| format!("{error:?}"))?;
            let row = client.query_one(QUERY, &[]).await.map_err(|error| format!("{error:?}"))?;
            Ok(row.get(0))
        };
        seen.record("deadpool", began, answer.await);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn answer(status: &str, header: &str) -> Fault {
    let body = r#"{"errors":["made up"]}"#;
    Fault::Garbage(
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{header}Content-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes(),
    )
}

impl Incident {
    /// An outage is short enough for a lease of three seconds. The lease is renewed in the first sixth of its lifetime,
    /// so at least two and a half seconds remain. New credentials need half a second to reach every connection, and
    /// another half is for a slow machine.
    async fn happens(self, servers: &Servers, proxy: &FaultProxy) {
        let fault = match self {
            Self::Restart => {
                servers.bao.stop();
                servers.bao.start_again().await;
                return;
            }
            Self::Seal => {
                servers.bao.seal().await;
                tokio::time::sleep(Duration::from_millis(300)).await;
                servers.bao.unseal().await;
                return;
            }
            Self::Revocation => {
                let path = "sys/leases/revoke-prefix/database/creds/app";
                servers.bao.write(path, json!({ "sync": true })).await;
                return;
            }
            Self::Refuse => (Fault::Refuse, 1500),
            Self::Cut => (Fault::CutAfter(20), 1500),
            Self::Errors500 => (answer("500 Internal Server Error", ""), 1000),
            Self::RateLimit => (answer("429 Too Many Requests", "Retry-After: 1\r\n"), 1000),
            Self::Stall => (Fault::Stall, 1500),
        };
        proxy.set(fault.0).await;
        tokio::time::sleep(Duration::from_millis(fault.1)).await;
        proxy.set(Fault::None).await;
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_query_fails_whatever_happens_to_the_server() {
    let length = seconds(variable("VAULT_CONFIG_SOAK_SECONDS").unwrap_or(45));
    let seed = variable("VAULT_CONFIG_SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);

    let servers = Servers::durable("3s", "9s").await;
    let proxy = FaultProxy::in_front_of(servers.bao.address()).await;
    let settings = json!({ "token_ttl": "6s", "token_max_ttl": "12s" });
    let ids = servers.bao.approle("app", &["app"], settings).await;
    let live = approle_loader::<Config>(&proxy.address(), &ids).watch().await.unwrap();
    let log = record(live.events());

    let seen = Arc::new(Seen::default());
    Seen::watch_for_pauses(Arc::clone(&seen));
    let port = servers.postgres.port();
    let (one, other) = (sqlx(&live, port).await, deadpool(&live, port));
    let workers = [
        tokio::spawn(by_sqlx(one.clone(), Arc::clone(&seen))),
        tokio::spawn(by_sqlx(one, Arc::clone(&seen))),
        tokio::spawn(by_deadpool(other.clone(), Arc::clone(&seen))),
        tokio::spawn(by_deadpool(other, Arc::clone(&seen))),
    ];

    let began = Instant::now();
    let mut happened: BTreeMap<Incident, Vec<Duration>> = BTreeMap::new();
    let mut order = Vec::new();
    while began.elapsed() < length {
        tokio::time::sleep(Duration::from_millis(random.u64(1500..2500))).await;
        if order.is_empty() {
            order = INCIDENTS.to_vec();
            random.shuffle(&mut order);
        }
        let Some(incident) = order.pop() else { continue };
        log.lock().unwrap().push(format!("{:?} {incident:?}", began.elapsed()));
        let start = Instant::now();
        seen.expects_failures.store(incident == Incident::Revocation, Ordering::SeqCst);
        incident.happens(&servers, &proxy).await;
        happened.entry(incident).or_default().push(start.elapsed());
        if start.elapsed() > seconds(2) {
            seen.excuse_since(start);
        }
        if incident == Incident::Revocation {
            until("new credentials work", async || servers.accepts(&live.current().database).await)
                .await;
            // After this time, the pools have no connection of the old user.
            tokio::time::sleep(CONNECTION * 2).await;
            seen.expects_failures.store(false, Ordering::SeqCst);
        }
        let failures = seen.failed();
        let log = log.lock().unwrap();
        assert!(
            failures.is_empty(),
            "{incident:?} at {:?}, seed {seed}: {failures:#?}\n{:#?}\n{log:#?}",
            began.elapsed(),
            live.status()
        );
    }
    seen.stop.store(true, Ordering::SeqCst);
    for worker in workers {
        worker.await.unwrap();
    }
    let counters = live.status().counters;
    live.shutdown().await.unwrap();
    servers.no_user_is_left().await;

    let users = seen.users.lock().unwrap().len();
    let failures = seen.failures.lock().unwrap().len();
    let failed = seen.failed();
    eprintln!("incidents in {:?}: {happened:#?}", began.elapsed());
    eprintln!(
        "{} queries as {users} users, longest {:?}; {} failed, {} unavoidably, and {} after \
         a revocation",
        seen.queries.load(Ordering::SeqCst),
        seen.longest.lock().unwrap(),
        failed.len(),
        failures - failed.len(),
        seen.expected_failures.load(Ordering::SeqCst),
    );
    eprintln!("{counters:#?}");
    let mut paths: BTreeMap<String, usize> = BTreeMap::new();
    for request in servers.bao.audit_requests() {
        *paths.entry(request.path).or_default() += 1;
    }
    eprintln!("requests: {paths:#?}");
    assert!(paths["auth/token/revoke-self"] > 0);
    assert_eq!(failed, Vec::<String>::new());
}

fn record(mut events: Events) -> Arc<Mutex<Vec<String>>> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let (kept, began) = (Arc::clone(&log), Instant::now());
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let mut log = kept.lock().unwrap();
            log.push(format!("{:?} {event:?}", began.elapsed()));
            let surplus = log.len().saturating_sub(60);
            log.drain(..surplus);
        }
    });
    log
}

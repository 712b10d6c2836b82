//! A virtual clock and a scripted server that follows it, so that a day passes in seconds.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use tokio::sync::watch;
use tracing::span::{Attributes, Id};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::{Context, Layer};
use vault_config::Vault;
use vault_config::auth::{AppRole, AuthMethod};
use vault_config::live::{Clock, Reading, State};
use vault_config_tests::{ScriptedAnswer, ScriptedRequest, ScriptedServer};

use super::*;
use crate::support::listen;

pub(super) const HOUR: u64 = 3600;

#[derive(Debug, VaultConfig)]
pub(super) struct Everything {
    #[vault(kv = "app")]
    pub(super) key: SecretString,
    #[vault(database = "app")]
    pub(super) database: DatabaseCredentials,
    #[vault(database_static = "legacy")]
    pub(super) legacy: DatabaseCredentials,
}

/// A clock that stands still until a test moves it. `World::pass` moves it from one wake-up of the client to the
/// next, so that the speed of the machine makes no difference.
#[derive(Debug, Clone)]
pub(super) struct VirtualClock(Arc<ClockState>);

#[derive(Debug)]
struct ClockState {
    now: watch::Sender<Now>,
    /// The client's next wake-up, by its monotonic clock.
    wakes: Mutex<Duration>,
    /// The number of sleeps that the client has begun.
    slept: AtomicUsize,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Now {
    /// Since the start, and the server's time.
    pub(super) real: Duration,
    /// How long the machine was suspended. The monotonic clock stands still meanwhile.
    pub(super) suspended: Duration,
    /// How far the client's wall clock is behind.
    pub(super) behind: Duration,
}

impl Now {
    fn monotonic(&self) -> Duration {
        self.real - self.suspended
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        let (now, wakes) = (watch::Sender::new(Now::default()), Mutex::default());
        Self(Arc::new(ClockState { now, wakes, slept: AtomicUsize::new(0) }))
    }
}

impl VirtualClock {
    pub(super) fn change(&self, change: impl FnOnce(&mut Now)) {
        self.0.now.send_modify(change);
    }

    pub(super) fn real(&self) -> Duration {
        self.0.now.borrow().real
    }

    /// The time until the client's next wake-up.
    fn sleeps(&self) -> Duration {
        self.0.wakes.lock().unwrap().saturating_sub(self.0.now.borrow().monotonic())
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Reading {
        let now = *self.0.now.borrow();
        // Far enough from the epoch that a test can set the clock back.
        let wall = SystemTime::UNIX_EPOCH + seconds(1_000_000_000) + now.real - now.behind;
        Reading { monotonic: now.monotonic(), wall }
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut now = self.0.now.subscribe();
        let wakes = now.borrow().monotonic() + duration;
        *self.0.wakes.lock().unwrap() = wakes;
        self.0.slept.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let _ = now.wait_for(|now| now.monotonic() >= wakes).await;
        })
    }
}

/// Counts the spans that the client opens and closes. It is busy while one is open, since each request has one.
#[derive(Debug, Clone, Default)]
pub(super) struct SpanCounter(Arc<Spans>);

#[derive(Debug, Default)]
struct Spans {
    opened: AtomicUsize,
    closed: AtomicUsize,
}

impl<S: tracing::Subscriber> Layer<S> for SpanCounter {
    fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.0.opened.fetch_add(1, Ordering::SeqCst);
    }

    fn on_close(&self, _: Id, _: Context<'_, S>) {
        self.0.closed.fetch_add(1, Ordering::SeqCst);
    }
}

/// The state of the scripted server. All times are since the start.
#[derive(Debug, Default)]
pub(super) struct ServerState {
    pub(super) tokens: BTreeMap<String, Validity>,
    pub(super) leases: BTreeMap<String, (Validity, String)>,
    /// Requests with an invalid token.
    pub(super) refused: Vec<String>,
    /// The number of requests for each path.
    pub(super) asked: BTreeMap<String, usize>,
    /// The time and the path of every request.
    pub(super) log: Vec<(Duration, String)>,
    /// The server is sealed.
    pub(super) is_down: bool,
    /// Requests for this path fail.
    pub(super) failing: Option<&'static str>,
    /// The lifetime of tokens in seconds; `None` for an hour.
    pub(super) token_ttl: Option<u64>,
    /// How often a token may be used; `None` for no limit.
    pub(super) uses: Option<u64>,
    /// A lookup returns that the token is not renewable.
    pub(super) lookup_not_renewable: bool,
    /// The error with which renewals of leases are refused.
    pub(super) renews_nothing: Option<&'static str>,
    /// Answers that have priority over this state.
    pub(super) instead: Instead,
}

type Answers = dyn Fn(&ScriptedRequest, Duration) -> Option<ScriptedAnswer> + Send;

#[derive(Default)]
pub(super) struct Instead(Option<Box<Answers>>);

impl std::fmt::Debug for Instead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Instead").field(&self.0.is_some()).finish()
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Validity {
    pub(super) end: Duration,
    /// No renewal moves `end` beyond this time.
    pub(super) max_end: Duration,
}

pub(super) const TTL: Duration = Duration::from_secs(HOUR);

impl Validity {
    pub(super) fn new(now: Duration, max: u64) -> Self {
        Self { end: now + TTL, max_end: now + seconds(max) }
    }

    fn renew(&mut self, now: Duration) -> u64 {
        self.end = (now + TTL).min(self.max_end);
        (self.end - now).as_secs()
    }
}

pub(super) const ROTATION: u64 = 6 * HOUR;

pub(super) fn version(now: Duration) -> u64 {
    1 + now.as_secs() / (7 * HOUR)
}

impl ServerState {
    pub(super) fn is_valid(&self, lease: &str, now: Duration) -> bool {
        let alive = |validity: &Validity| now < validity.end;
        self.leases.get(lease).is_some_and(|(validity, token)| {
            alive(validity) && self.tokens.get(token).is_some_and(alive)
        })
    }

    /// As an administrator does it.
    pub(super) fn revoke_leases(&mut self, now: Duration) {
        self.leases.values_mut().for_each(|(validity, _)| validity.end = now);
    }

    pub(super) fn revoke_tokens(&mut self, now: Duration) {
        self.tokens.values_mut().for_each(|validity| validity.end = now);
    }

    fn answer(&mut self, request: &ScriptedRequest, now: Duration) -> ScriptedAnswer {
        let ok = |body: Value| ScriptedAnswer::json(200, &body);
        let refused = |status, why: &str| ScriptedAnswer::json(status, &json!({ "errors": [why] }));
        *self.asked.entry(request.path().to_owned()).or_default() += 1;
        self.log.push((now, request.path().to_owned()));
        if let Some(answer) = self.instead.0.as_ref().and_then(|answer| answer(request, now)) {
            return answer;
        }
        if self.is_down {
            return refused(503, "Vault is sealed");
        }
        if self.failing == Some(request.path()) {
            return refused(500, "internal error");
        }
        if request.path().starts_with("/v1/auth/") && request.path().ends_with("/login") {
            let token = format!("s.{}", self.tokens.len());
            let ttl = self.token_ttl.unwrap_or(HOUR);
            let validity = Validity { end: now + seconds(ttl), ..Validity::new(now, 8 * HOUR) };
            self.tokens.insert(token.clone(), validity);
            let auth = json!({ "client_token": token, "lease_duration": ttl, "renewable": true, "num_uses": self.uses.unwrap_or(0) });
            return ok(json!({ "auth": auth }));
        }
        let token = request.header("x-vault-token").unwrap_or_default().to_owned();
        let Some(validity) = self.tokens.get_mut(&token).filter(|validity| now < validity.end)
        else {
            self.refused.push(format!("{now:?} {}", request.path()));
            return refused(403, "permission denied");
        };
        match request.path() {
            "/v1/auth/token/lookup-self" => {
                let ttl = (validity.end - now).as_secs();
                ok(
                    json!({ "data": { "id": token, "ttl": ttl, "creation_ttl": HOUR, "renewable": !self.lookup_not_renewable } }),
                )
            }
            "/v1/auth/token/renew-self" => {
                let granted = validity.renew(now);
                ok(json!({ "auth": { "client_token": token, "lease_duration": granted } }))
            }
            "/v1/auth/token/revoke-self" => {
                validity.end = now;
                ScriptedAnswer::status(204)
            }
            "/v1/database/creds/app" => {
                let id = format!("user-{}", self.leases.len());
                self.leases.insert(id.clone(), (Validity::new(now, 24 * HOUR), token));
                let data = json!({ "username": id, "password": "p" });
                ok(
                    json!({ "lease_id": id, "lease_duration": HOUR, "renewable": true, "data": data }),
                )
            }
            "/v1/sys/leases/renew" => {
                let id = request.json()["lease_id"].as_str().unwrap().to_owned();
                if let Some(why) = self.renews_nothing {
                    return refused(400, why);
                }
                if !self.is_valid(&id, now) {
                    return refused(400, "lease not found");
                }
                let granted = self.leases.get_mut(&id).unwrap().0.renew(now);
                ok(json!({ "lease_id": id, "lease_duration": granted, "renewable": true }))
            }
            "/v1/database/static-creds/legacy" => {
                let (number, into) = (now.as_secs() / ROTATION, now.as_secs() % ROTATION);
                ok(json!({ "data": {
                    "username": "legacy", "password": format!("p{number}"), "ttl": ROTATION - into,
                    "rotation_period": ROTATION, "last_vault_rotation": format!("t{number}"),
                }}))
            }
            "/v1/secret/metadata/app" => {
                let version = version(now);
                let newest = json!({ "deletion_time": "", "destroyed": false });
                let versions = json!({ version.to_string(): newest });
                ok(json!({ "data": { "current_version": version, "versions": versions } }))
            }
            "/v1/secret/data/app" => {
                let (key, metadata) =
                    (format!("k{}", version(now)), json!({ "version": version(now) }));
                ok(json!({ "data": { "data": { "key": key }, "metadata": metadata } }))
            }
            other => panic!("unexpected request for {other}"),
        }
    }
}

pub(super) struct World {
    pub(super) clock: VirtualClock,
    spans: SpanCounter,
    server: Arc<Mutex<ServerState>>,
    pub(super) vault: Vault,
    pub(super) live: Live<Everything>,
    _scripted: ScriptedServer,
    _listening: DefaultGuard,
}

impl World {
    pub(super) async fn start() -> Self {
        Self::with(AppRole::new("role", "secret"), |_| {}).await
    }

    /// Starts with another login, and a server that `prepare` changes before the first request.
    pub(super) async fn with(
        auth: impl AuthMethod,
        prepare: impl FnOnce(&mut ServerState),
    ) -> Self {
        let (clock, server) =
            (VirtualClock::default(), Arc::new(Mutex::new(ServerState::default())));
        prepare(&mut server.lock().unwrap());
        let spans = SpanCounter::default();
        let listening = listen(spans.clone());
        let (of_server, kept) = (clock.clone(), Arc::clone(&server));
        let scripted = ScriptedServer::start(move |request| {
            kept.lock().unwrap().answer(&request, of_server.real())
        })
        .await;
        let vault = Vault::builder().address(scripted.address()).auth(auth).max_retries(0);
        let vault = vault.clock(clock.clone()).build().unwrap();
        let loader = Everything::loader().without_dotenv().vault(vault.clone());
        let live = loader.watch().await.unwrap();
        Self { clock, spans, server, vault, live, _scripted: scripted, _listening: listening }
    }

    /// From now on the server sends this answer where it is `Some`.
    pub(super) fn override_answers(
        &self,
        answer: impl Fn(&ScriptedRequest, Duration) -> Option<ScriptedAnswer> + Send + 'static,
    ) {
        self.server().instead = Instead(Some(Box::new(answer)));
    }

    pub(super) fn restore_answers(&self) {
        self.server().instead = Instead(None);
    }

    /// The number of requests since `since` for paths that begin with `path`.
    pub(super) fn requests_since(&self, since: Duration, path: &str) -> usize {
        let server = self.server();
        server.log.iter().filter(|(at, asked)| *at >= since && asked.starts_with(path)).count()
    }

    pub(super) fn server(&self) -> std::sync::MutexGuard<'_, ServerState> {
        self.server.lock().unwrap()
    }

    /// Whether the server accepts the published database user.
    pub(super) fn has_valid_credentials(&self) -> bool {
        let now = self.clock.real();
        self.server().is_valid(self.live.current().database.username(), now)
    }

    pub(super) fn state(&self, source: &str) -> State {
        let sources = self.live.status().sources;
        sources.into_iter().find(|status| status.source == source).unwrap().state
    }

    /// Whether the client reports health, and rightly so.
    pub(super) fn is_healthy(&self) -> bool {
        self.live.status().health == Health::Healthy && self.has_valid_credentials()
    }

    /// Moves the clock by `time`, and calls `look` with the time of every wake-up in between.
    pub(super) async fn pass(&self, time: Duration, mut look: impl FnMut(Duration)) {
        let end = self.clock.real() + time;
        loop {
            self.settle().await;
            let now = self.clock.real();
            look(now);
            if now >= end {
                return;
            }
            let step = self.clock.sleeps().min(end - now);
            self.clock.change(|now| now.real += step);
        }
    }

    /// Waits until the client has finished all work of this moment. Its tasks run on this thread, so each task that is
    /// ready has run after a few yields.
    pub(super) async fn settle(&self) {
        let began = Instant::now();
        let counts = || {
            let Spans { opened, closed } = &*self.spans.0;
            let [opened, closed, slept] =
                [opened, closed, &self.clock.0.slept].map(|count| count.load(Ordering::SeqCst));
            (opened, closed, slept)
        };
        let (mut before, mut turns) = (counts(), 0);
        while turns < 32 {
            tokio::task::yield_now().await;
            let (opened, closed, _) = counts();
            if opened > closed {
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
            turns = if opened > closed || counts() != before { 0 } else { turns + 1 };
            before = counts();
            assert!(
                began.elapsed() < seconds(100),
                "it never stops working: {:#?}",
                self.live.status()
            );
        }
    }

    /// The number of requests for exactly this path.
    pub(super) fn requests_for(&self, path: &str) -> usize {
        self.server().asked.get(path).copied().unwrap_or_default()
    }
}

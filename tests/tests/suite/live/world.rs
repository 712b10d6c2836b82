//! Days that pass in seconds, against a server that keeps its books by the same clock.

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

/// It stands still until a test lets it pass, and passes from one moment at which the client wakes
/// to the next: how fast the machine is makes no difference.
#[derive(Debug, Clone)]
pub(super) struct Virtual(Arc<Times>);

#[derive(Debug)]
struct Times {
    now: watch::Sender<Now>,
    /// When the client wants to be woken, by its monotonic clock.
    wakes: Mutex<Duration>,
    slept: AtomicUsize,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Now {
    pub(super) real: Duration,
    pub(super) suspended: Duration,
    /// How far the wall clock is behind.
    pub(super) behind: Duration,
}

impl Now {
    fn monotonic(&self) -> Duration {
        self.real - self.suspended
    }
}

impl Default for Virtual {
    fn default() -> Self {
        let (now, wakes) = (watch::Sender::new(Now::default()), Mutex::default());
        Self(Arc::new(Times { now, wakes, slept: AtomicUsize::new(0) }))
    }
}

impl Virtual {
    pub(super) fn change(&self, change: impl FnOnce(&mut Now)) {
        self.0.now.send_modify(change);
    }

    pub(super) fn real(&self) -> Duration {
        self.0.now.borrow().real
    }

    /// How long the client sleeps from now on.
    fn sleeps(&self) -> Duration {
        self.0.wakes.lock().unwrap().saturating_sub(self.0.now.borrow().monotonic())
    }
}

impl Clock for Virtual {
    fn now(&self) -> Reading {
        let now = *self.0.now.borrow();
        // Far enough from the epoch to be set back.
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

/// What the client is doing, by the spans it opens for each thing it does.
#[derive(Debug, Clone, Default)]
pub(super) struct Doing(Arc<Spans>);

#[derive(Debug, Default)]
struct Spans {
    opened: AtomicUsize,
    closed: AtomicUsize,
}

impl<S: tracing::Subscriber> Layer<S> for Doing {
    fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.0.opened.fetch_add(1, Ordering::SeqCst);
    }

    fn on_close(&self, _: Id, _: Context<'_, S>) {
        self.0.closed.fetch_add(1, Ordering::SeqCst);
    }
}

/// The server's books. Every time is since the start.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) tokens: BTreeMap<String, Life>,
    pub(super) leases: BTreeMap<String, (Life, String)>,
    pub(super) refused: Vec<String>,
    pub(super) asked: BTreeMap<String, usize>,
    /// Every request, and when.
    pub(super) log: Vec<(Duration, String)>,
    pub(super) is_down: bool,
    /// It is answered with a failure.
    pub(super) failing: Option<&'static str>,
    /// Of tokens, in seconds; else an hour.
    pub(super) token_ttl: Option<u64>,
    /// Of tokens; else they have no limit.
    pub(super) uses: Option<u64>,
    /// What is said of a token that was given.
    pub(super) lookup_not_renewable: bool,
    /// Why renewals of leases are refused.
    pub(super) renews_nothing: Option<&'static str>,
    /// What is answered instead, whatever the books say.
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
pub(super) struct Life {
    pub(super) end: Duration,
    pub(super) last: Duration,
}

pub(super) const TTL: Duration = Duration::from_secs(HOUR);

impl Life {
    pub(super) fn new(now: Duration, max: u64) -> Self {
        Self { end: now + TTL, last: now + seconds(max) }
    }

    fn renew(&mut self, now: Duration) -> u64 {
        self.end = (now + TTL).min(self.last);
        (self.end - now).as_secs()
    }
}

pub(super) const ROTATION: u64 = 6 * HOUR;

pub(super) fn version(now: Duration) -> u64 {
    1 + now.as_secs() / (7 * HOUR)
}

impl Books {
    pub(super) fn is_alive(&self, lease: &str, now: Duration) -> bool {
        let alive = |life: &Life| now < life.end;
        self.leases
            .get(lease)
            .is_some_and(|(life, token)| alive(life) && self.tokens.get(token).is_some_and(alive))
    }

    /// An operator revokes every lease.
    pub(super) fn revoke_leases(&mut self, now: Duration) {
        self.leases.values_mut().for_each(|(life, _)| life.end = now);
    }

    pub(super) fn revoke_tokens(&mut self, now: Duration) {
        self.tokens.values_mut().for_each(|life| life.end = now);
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
            let life = Life { end: now + seconds(ttl), ..Life::new(now, 8 * HOUR) };
            self.tokens.insert(token.clone(), life);
            let auth = json!({ "client_token": token, "lease_duration": ttl, "renewable": true, "num_uses": self.uses.unwrap_or(0) });
            return ok(json!({ "auth": auth }));
        }
        let token = request.header("x-vault-token").unwrap_or_default().to_owned();
        let Some(life) = self.tokens.get_mut(&token).filter(|life| now < life.end) else {
            self.refused.push(format!("{now:?} {}", request.path()));
            return refused(403, "permission denied");
        };
        match request.path() {
            "/v1/auth/token/lookup-self" => {
                let ttl = (life.end - now).as_secs();
                ok(
                    json!({ "data": { "id": token, "ttl": ttl, "creation_ttl": HOUR, "renewable": !self.lookup_not_renewable } }),
                )
            }
            "/v1/auth/token/renew-self" => {
                let granted = life.renew(now);
                ok(json!({ "auth": { "client_token": token, "lease_duration": granted } }))
            }
            "/v1/auth/token/revoke-self" => {
                life.end = now;
                ScriptedAnswer::status(204)
            }
            "/v1/database/creds/app" => {
                let id = format!("user-{}", self.leases.len());
                self.leases.insert(id.clone(), (Life::new(now, 24 * HOUR), token));
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
                if !self.is_alive(&id, now) {
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
    pub(super) clock: Virtual,
    doing: Doing,
    books: Arc<Mutex<Books>>,
    pub(super) vault: Vault,
    pub(super) live: Live<Everything>,
    _server: ScriptedServer,
    _listening: DefaultGuard,
}

impl World {
    pub(super) async fn start() -> Self {
        Self::with(AppRole::new("role", "secret"), |_| {}).await
    }

    /// With another login, and books that `prepare` has changed before the first request.
    pub(super) async fn with(auth: impl AuthMethod, prepare: impl FnOnce(&mut Books)) -> Self {
        let (clock, books) = (Virtual::default(), Arc::new(Mutex::new(Books::default())));
        prepare(&mut books.lock().unwrap());
        let doing = Doing::default();
        let listening = listen(doing.clone());
        let (of_server, kept) = (clock.clone(), Arc::clone(&books));
        let server = ScriptedServer::start(move |request| {
            kept.lock().unwrap().answer(&request, of_server.real())
        })
        .await;
        let vault = Vault::builder().address(server.address()).auth(auth).max_retries(0);
        let vault = vault.clock(clock.clone()).build().unwrap();
        let loader = Everything::loader().without_dotenv().vault(vault.clone());
        let live = loader.watch().await.unwrap();
        Self { clock, doing, books, vault, live, _server: server, _listening: listening }
    }

    /// From now on this is answered where it is something.
    pub(super) fn answer_instead(
        &self,
        answer: impl Fn(&ScriptedRequest, Duration) -> Option<ScriptedAnswer> + Send + 'static,
    ) {
        self.books().instead = Instead(Some(Box::new(answer)));
    }

    pub(super) fn answer_again(&self) {
        self.books().instead = Instead(None);
    }

    /// How many requests there were from `since` on for paths that begin so.
    pub(super) fn asked_since(&self, since: Duration, path: &str) -> usize {
        let books = self.books();
        books.log.iter().filter(|(at, asked)| *at >= since && asked.starts_with(path)).count()
    }

    pub(super) fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    pub(super) fn is_well(&self) -> bool {
        let now = self.clock.real();
        self.books().is_alive(self.live.current().database.username(), now)
    }

    pub(super) fn state(&self, source: &str) -> State {
        let sources = self.live.status().sources;
        sources.into_iter().find(|status| status.source == source).unwrap().state
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.live.status().health == Health::Healthy && self.is_well()
    }

    /// Lets this much time pass, and looks at every moment of it.
    pub(super) async fn pass(&self, time: Duration, mut look: impl FnMut(Duration)) {
        let end = self.clock.real() + time;
        loop {
            self.settles().await;
            let now = self.clock.real();
            look(now);
            if now >= end {
                return;
            }
            let step = self.clock.sleeps().min(end - now);
            self.clock.change(|now| now.real += step);
        }
    }

    /// Until the client has done all there is to do at this moment. All of it runs on this thread:
    /// every task that can go on has done so after a few turns.
    pub(super) async fn settles(&self) {
        let began = Instant::now();
        let counts = || {
            let Spans { opened, closed } = &*self.doing.0;
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
            assert!(began.elapsed() < seconds(100), "it never rests: {:#?}", self.live.status());
        }
    }

    pub(super) fn asked(&self, path: &str) -> usize {
        self.books().asked.get(path).copied().unwrap_or_default()
    }
}

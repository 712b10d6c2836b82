//! Days that pass in seconds, against a server that keeps its books by the same clock.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use tokio::sync::watch;
use tracing::span::{Attributes, Id};
use vault_config::Vault;
use vault_config::auth::AppRole;
use vault_config::live::{Action, Clock, Reading, State};
use vault_config_tests::{ScriptedAnswer, ScriptedRequest, ScriptedServer};

use super::*;

const HOUR: u64 = 3600;

#[derive(Debug, VaultConfig)]
struct Everything {
    #[vault(kv = "app")]
    key: SecretString,
    #[vault(database = "app")]
    database: DatabaseCredentials,
    #[vault(database_static = "legacy")]
    legacy: DatabaseCredentials,
}

/// It stands still until a test lets it pass, and passes from one moment at which the client wakes
/// to the next: how fast the machine is makes no difference.
#[derive(Debug, Clone)]
struct Virtual(Arc<Times>);

#[derive(Debug)]
struct Times {
    now: watch::Sender<Now>,
    /// When the client wants to be woken, by its monotonic clock.
    wakes: Mutex<Duration>,
    slept: AtomicUsize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Now {
    real: Duration,
    suspended: Duration,
    /// How far the wall clock is behind.
    behind: Duration,
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
    fn change(&self, change: impl FnOnce(&mut Now)) {
        self.0.now.send_modify(change);
    }

    fn real(&self) -> Duration {
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
struct Doing(Arc<Spans>);

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
struct Books {
    tokens: BTreeMap<String, Life>,
    leases: BTreeMap<String, (Life, String)>,
    refused: Vec<String>,
    asked: BTreeMap<String, usize>,
    is_down: bool,
    /// It is answered with a failure.
    failing: Option<&'static str>,
    /// Why renewals of leases are refused.
    renews_nothing: Option<&'static str>,
}

#[derive(Debug, Clone, Copy)]
struct Life {
    end: Duration,
    last: Duration,
}

const TTL: Duration = Duration::from_secs(HOUR);

impl Life {
    fn new(now: Duration, max: u64) -> Self {
        Self { end: now + TTL, last: now + seconds(max) }
    }

    fn renew(&mut self, now: Duration) -> u64 {
        self.end = (now + TTL).min(self.last);
        (self.end - now).as_secs()
    }
}

const ROTATION: u64 = 6 * HOUR;

fn version(now: Duration) -> u64 {
    1 + now.as_secs() / (7 * HOUR)
}

impl Books {
    fn is_alive(&self, lease: &str, now: Duration) -> bool {
        let alive = |life: &Life| now < life.end;
        self.leases
            .get(lease)
            .is_some_and(|(life, token)| alive(life) && self.tokens.get(token).is_some_and(alive))
    }

    /// Somebody revokes every lease.
    fn revoke_leases(&mut self, now: Duration) {
        self.leases.values_mut().for_each(|(life, _)| life.end = now);
    }

    fn revoke_tokens(&mut self, now: Duration) {
        self.tokens.values_mut().for_each(|life| life.end = now);
    }

    fn answer(&mut self, request: &ScriptedRequest, now: Duration) -> ScriptedAnswer {
        let ok = |body: Value| ScriptedAnswer::json(200, &body);
        let refused = |status, why: &str| ScriptedAnswer::json(status, &json!({ "errors": [why] }));
        *self.asked.entry(request.path().to_owned()).or_default() += 1;
        if self.is_down {
            return refused(503, "Vault is sealed");
        }
        if self.failing == Some(request.path()) {
            return refused(500, "internal error");
        }
        if request.path() == "/v1/auth/approle/login" {
            let token = format!("s.{}", self.tokens.len());
            self.tokens.insert(token.clone(), Life::new(now, 8 * HOUR));
            let auth = json!({ "client_token": token, "lease_duration": HOUR, "renewable": true });
            return ok(json!({ "auth": auth }));
        }
        let token = request.header("x-vault-token").unwrap_or_default().to_owned();
        let Some(life) = self.tokens.get_mut(&token).filter(|life| now < life.end) else {
            self.refused.push(format!("{now:?} {}", request.path()));
            return refused(403, "permission denied");
        };
        match request.path() {
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
            other => panic!("nobody asks for {other}"),
        }
    }
}

struct World {
    clock: Virtual,
    doing: Doing,
    books: Arc<Mutex<Books>>,
    live: Live<Everything>,
    _server: ScriptedServer,
    _listening: DefaultGuard,
}

impl World {
    async fn start() -> Self {
        let (clock, books) = (Virtual::default(), Arc::new(Mutex::new(Books::default())));
        let doing = Doing::default();
        let listening = listen(doing.clone());
        let (of_server, kept) = (clock.clone(), Arc::clone(&books));
        let server = ScriptedServer::start(move |request| {
            kept.lock().unwrap().answer(&request, of_server.real())
        })
        .await;
        let vault = Vault::builder()
            .address(server.address())
            .auth(AppRole::new("role", "secret"))
            .max_retries(0)
            .clock(clock.clone())
            .build()
            .unwrap();
        let live = Everything::loader().without_dotenv().vault(vault).watch().await.unwrap();
        assert!(doing.0.opened.load(Ordering::SeqCst) > 0, "the login at least is seen");
        Self { clock, doing, books, live, _server: server, _listening: listening }
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    fn is_well(&self) -> bool {
        let now = self.clock.real();
        self.books().is_alive(self.live.current().database.username(), now)
    }

    fn state(&self, source: &str) -> State {
        let sources = self.live.status().sources;
        sources.into_iter().find(|status| status.source == source).unwrap().state
    }

    fn is_healthy(&self) -> bool {
        self.live.status().health == Health::Healthy && self.is_well()
    }

    /// Lets this much time pass, and looks at every moment of it.
    async fn pass(&self, time: Duration, mut look: impl FnMut(Duration)) {
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
    /// whoever can go on has done so after a few turns.
    async fn settles(&self) {
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

    fn asked(&self, path: &str) -> usize {
        self.books().asked.get(path).copied().unwrap_or_default()
    }
}

#[tokio::test]
async fn a_day_in_the_life() {
    let world = World::start().await;
    let began = Instant::now();
    let mut late = Vec::new();
    world
        .pass(seconds(24 * HOUR), |now| {
            assert!(world.is_healthy(), "{now:?}: {:#?}", world.live.status());
            let config = world.live.current();
            // What was true five and a half minutes ago, or half a minute for what is rotated.
            let earlier = now.saturating_sub(seconds(330));
            let keys = [version(earlier), version(now)].map(|version| format!("k{version}"));
            if !keys.iter().any(|key| key == config.key.expose_secret()) {
                late.push(format!("{now:?}: {}", config.key.expose_secret()));
            }
            let earlier = now.saturating_sub(seconds(40)).as_secs() / ROTATION;
            let passwords = [earlier, now.as_secs() / ROTATION].map(|number| format!("p{number}"));
            if !passwords.iter().any(|p| p == config.legacy.password().expose_secret()) {
                late.push(format!("{now:?}: {}", config.legacy.password().expose_secret()));
            }
        })
        .await;
    assert_eq!(late, Vec::<String>::new());
    assert_eq!(world.books().refused, Vec::<String>::new());
    let status = world.live.status();
    assert_eq!((status.health, status.counters.failures), (Health::Healthy, 0), "{status:#?}");
    assert!((3..=5).contains(&status.counters.logins), "{:?}", status.counters);
    let requests: usize = world.books().asked.values().sum();
    eprintln!("a day in {:?}: {requests} requests, {:#?}", began.elapsed(), world.books().asked);
    assert!(requests < 900, "{requests} requests");
}

#[tokio::test]
async fn after_a_suspend_all_is_renewed_or_replaced_within_half_a_minute() {
    let world = World::start().await;
    world.pass(seconds(HOUR / 2), |_| assert!(world.is_well())).await;
    world.clock.change(|now| {
        now.real += seconds(5 * HOUR);
        now.suspended += seconds(5 * HOUR);
    });
    assert!(!world.is_well(), "everything ended meanwhile");
    // It wakes within thirty seconds, and what it does then takes no time.
    world.pass(seconds(30), |_| {}).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
    world.pass(seconds(3 * HOUR), |now| assert!(world.is_well(), "{now:?}")).await;
}

#[tokio::test]
async fn a_wall_clock_that_is_set_back_stalls_nothing() {
    let world = World::start().await;
    world.pass(seconds(HOUR / 2), |_| assert!(world.is_well())).await;
    world.clock.change(|now| now.behind = seconds(24 * HOUR));
    world.pass(seconds(5 * HOUR), |now| assert!(world.is_well(), "{now:?}")).await;
    // Forward again: everything looks overdue, is renewed early, and no harm is done.
    world.clock.change(|now| now.behind = Duration::ZERO);
    world.pass(seconds(3 * HOUR), |now| assert!(world.is_well(), "{now:?}")).await;
    assert_eq!(world.books().refused, Vec::<String>::new());
    assert!(world.asked("/v1/database/creds/app") <= 3);
}

#[tokio::test]
async fn an_outage_of_two_hours_is_degraded_then_failing_then_over() {
    let world = World::start().await;
    world.pass(seconds(HOUR / 2), |_| assert!(world.is_well())).await;
    world.books().is_down = true;
    let before: usize = world.books().asked.values().sum();
    let (mut seen, mut ends) = (Vec::new(), BTreeSet::new());
    world
        .pass(seconds(2 * HOUR), |_| {
            let Status { health, good_until, .. } = world.live.status();
            if seen.last() != Some(&health) {
                seen.push(health);
            }
            ends.extend(good_until.filter(|_| health == Health::Failing));
            assert!(world.live.current().key.expose_secret().starts_with('k'));
        })
        .await;
    let during = world.books().asked.values().sum::<usize>() - before;
    eprintln!("{during} requests in an outage of two hours");
    assert_eq!(seen, [Health::Healthy, Health::Degraded, Health::Failing]);
    assert_eq!(ends.len(), 1, "what has ended has ended then: {ends:?}");
    // Four things, each about once a minute, and each time the question whether it is sealed.
    assert!((200..1600).contains(&during), "{during}");
    world.books().is_down = false;
    let (up, mut healthy) = (world.clock.real(), None);
    world
        .pass(seconds(300), |now| match world.is_healthy() {
            true => drop(healthy.get_or_insert(now - up)),
            false => healthy = None,
        })
        .await;
    // The token, which ended meanwhile, is tried for once a minute; all the others follow it.
    eprintln!("all well {healthy:?} after it");
    assert!(healthy.is_some_and(|after| after <= seconds(61)), "{healthy:?}");
}

#[tokio::test]
async fn a_role_whose_renewal_always_fails_is_minted_in_turn_and_no_more() {
    let world = World::start().await;
    // As with a broken statement of the role.
    let why = "failed to renew entry: resp: (*logical.Response)(nil) err: syntax error";
    world.books().renews_nothing = Some(why);
    for _ in 0..20 {
        world.pass(seconds(30), |_| assert!(world.is_well())).await;
        drop(world.live.refresh().await);
    }
    let made = world.asked("/v1/database/creds/app");
    assert!(made <= 2, "{made} in ten minutes");
    world.pass(seconds(6 * HOUR), |now| assert!(world.is_well(), "{now:?}")).await;
    let made = world.asked("/v1/database/creds/app");
    assert!((6..=10).contains(&made), "{made} in six hours, of an hour each");
}

/// When the database's credential fails, what is said of it.
async fn failing(events: &mut Events) -> (ErrorKind, String, Option<SystemTime>) {
    next(events, |event| match event {
        Event::Failing { source, problem, good_until } if source == "database/creds/app" => {
            Some((problem.kind(), problem.to_string(), *good_until))
        }
        _ => None,
    })
    .await
}

async fn recovered(events: &mut Events) {
    next(events, |event| match event {
        Event::Recovered { source } if source == "database/creds/app" => Some(()),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn a_lease_that_is_gone_is_failing_until_another_may_be_made() {
    let world = World::start().await;
    let mut events = world.live.events();
    for _ in 0..3 {
        world.books().revoke_leases(world.clock.real());
        world.live.refresh().await.unwrap();
        assert!(world.is_healthy(), "{:#?}", world.live.status());
    }
    world.books().revoke_leases(world.clock.real());
    let error = world.live.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error}");
    let text = error.to_string();
    assert!(text.contains("lease not found"), "{text}");
    assert!(text.contains("no other is made before 2001-09-09T01:56:40Z"), "{text}");
    let ended = Some(world.clock.now().wall);
    let (kind, told, good_until) = failing(&mut events).await;
    assert_eq!((kind, good_until), (ErrorKind::LeaseLost, ended), "{told}");
    // It ended when that was noticed, and not whenever somebody looks.
    world.pass(seconds(60), |_| {}).await;
    let state = world.state("database/creds/app");
    assert_eq!((state.health, state.expires_at), (Health::Failing, ended), "{state:#?}");
    assert_eq!((state.failing_since, state.next_action), (ended, Some(Action::Rotate)));
    assert!(state.error.unwrap().contains("lease not found"));
    world.pass(seconds(540), |_| {}).await;
    recovered(&mut events).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
}

#[tokio::test]
async fn a_lease_that_may_not_be_renewed_is_degraded_until_another_may_be_made() {
    let world = World::start().await;
    let mut events = world.live.events();
    world.books().renews_nothing = Some("lease is not renewable");
    for _ in 0..3 {
        world.live.refresh().await.unwrap();
        assert!(world.is_healthy(), "{:#?}", world.live.status());
    }
    let error = world.live.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error}");
    let (_, told, good_until) = failing(&mut events).await;
    assert!(told.contains("lease is not renewable"), "{told}");
    assert_eq!(good_until, Some(world.clock.now().wall + TTL), "it lives on");
    world.pass(seconds(600), |now| assert!(world.is_well(), "{now:?}")).await;
    recovered(&mut events).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
}

#[tokio::test]
async fn a_lease_whose_token_was_revoked_is_failing_until_another_may_be_made() {
    let world = World::start().await;
    for _ in 0..4 {
        world.books().revoke_tokens(world.clock.real());
        // Tokens that die young are not replaced at once.
        drop(tokio::join!(world.live.refresh(), world.pass(seconds(90), |_| {})));
    }
    let state = world.state("database/creds/app");
    assert_eq!(state.health, Health::Failing, "{state:#?}");
    assert!(state.expires_at.unwrap() <= world.clock.now().wall, "{state:#?}");
    let error = state.error.unwrap();
    assert!(error.contains("the lease died with its token"), "{error}");
    world.pass(seconds(600), |_| {}).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
}

#[tokio::test]
async fn a_static_role_that_is_not_read_is_failing_from_its_rotation_on() {
    let world = World::start().await;
    let rotation = world.clock.now().wall + seconds(ROTATION);
    let state = || world.state("database/static-creds/legacy");
    world
        .pass(seconds(ROTATION - HOUR), |now| {
            assert_eq!(state().health, Health::Healthy, "{now:?}");
            assert_eq!(state().expires_at, Some(rotation + seconds(10)), "{now:?}");
        })
        .await;
    world.books().failing = Some("/v1/database/static-creds/legacy");
    world.pass(seconds(HOUR), |now| assert!(state().health < Health::Failing, "{now:?}")).await;
    assert_eq!(state().health, Health::Degraded);
    world.pass(seconds(10), |_| {}).await;
    assert_eq!(
        (state().health, state().expires_at),
        (Health::Failing, Some(rotation + seconds(10)))
    );
    world.books().failing = None;
    world.pass(seconds(60), |_| {}).await;
    assert_eq!(state().health, Health::Healthy, "{:#?}", state());
    assert_eq!(world.live.current().legacy.password().expose_secret(), "p1");
}

#[tokio::test]
async fn who_falls_behind_is_told_how_many_events_were_missed() {
    let world = World::start().await;
    let mut events = world.live.events();
    for _ in 0..300 {
        world.live.refresh().await.unwrap();
    }
    let missed = events.next().await;
    assert!(matches!(missed, Some(Event::Missed { count: 44 })), "{missed:?}");
    for _ in 0..256 {
        let renewed = events.next().await;
        assert!(matches!(renewed, Some(Event::Renewed { .. })), "{renewed:?}");
    }
}

//! Static roles: the user stays, and the server rotates its password.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use vault_config_tests::{ScriptedAnswer, ScriptedServer};

use super::*;

#[derive(Debug, VaultConfig)]
struct Static {
    #[vault(database_static = "legacy")]
    legacy: DatabaseCredentials,
}

async fn rotated_every(period: &str) -> Servers {
    let servers = Servers::start("1h", "1h").await;
    let role = json!({ "rotation_period": period });
    servers
        .bao
        .write("database/static-roles/legacy", {
            let mut whole = json!({ "db_name": "postgres", "username": "legacy" });
            whole["rotation_period"] = role["rotation_period"].clone();
            whole["rotation_statements"] =
                json!([r#"ALTER USER "{{name}}" WITH PASSWORD '{{password}}';"#]);
            whole
        })
        .await;
    servers.bao.rotate_role("database", "legacy").await;
    servers
}

#[tokio::test]
async fn a_rotated_password_is_read_within_seconds() {
    let servers = rotated_every("8s").await;
    let live = loader::<Static>(&servers.bao, json!({})).await.watch().await.unwrap();
    let mut refused_since: Option<Instant> = None;
    let (mut longest, mut passwords) = (Duration::ZERO, std::collections::BTreeSet::new());
    let began = Instant::now();
    while began.elapsed() < seconds(22) {
        let config = live.current();
        assert!(live.status().health < Health::Failing, "{:#?}", live.status());
        passwords.insert(config.legacy.password().expose_secret().to_owned());
        match servers.accepts(&config.legacy).await {
            true => refused_since = None,
            false => {
                let since = *refused_since.get_or_insert_with(Instant::now);
                longest = longest.max(since.elapsed());
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(passwords.len() >= 2, "it was rotated");
    // The server has no overlap, and checks only every five seconds which rotations are due.
    assert!(longest < seconds(7), "refused for {longest:?}");
    let reads = requests_for(&servers.bao, "database/static-creds/legacy");
    assert!(reads < 60, "{reads} reads in 22 s");
    until("healthy", async || live.status().health == Health::Healthy).await;
}

#[tokio::test]
async fn a_rotation_by_hand_is_seen_at_a_refresh() {
    let servers = rotated_every("1h").await;
    let live = loader::<Static>(&servers.bao, json!({})).await.watch().await.unwrap();
    let mut events = live.events();
    servers.bao.rotate_role("database", "legacy").await;
    assert!(!servers.accepts(&live.current().legacy).await);
    live.refresh().await.unwrap();
    assert!(servers.accepts(&live.current().legacy).await);
    wait_for_rotation(&mut events).await;
}

/// A request may take a minute, but the current password is valid for seconds only.
#[tokio::test]
async fn a_read_that_hangs_is_abandoned_in_proportion_to_the_rotation_period() {
    let reads = AtomicUsize::new(0);
    let server = ScriptedServer::start(move |request| match request.path() {
        "/v1/database/static-creds/legacy" if reads.fetch_add(1, Ordering::SeqCst) == 1 => {
            ScriptedAnswer::never()
        }
        "/v1/database/static-creds/legacy" => {
            let data = json!({
                "username": "legacy", "password": "p", "ttl": 3, "rotation_period": 3,
                "last_vault_rotation": "2026-01-01T00:00:00Z",
            });
            ScriptedAnswer::json(200, &json!({ "data": data }))
        }
        _ => ScriptedAnswer::json(200, &json!({ "data": {} })),
    })
    .await;
    let variables = [("VAULT_ADDR", &*server.address()), ("VAULT_TOKEN", "t")];
    let loader = Static::loader().without_dotenv().env_source(variables);
    let live = loader.watch().await.unwrap();
    let mut events = live.events();
    let began = Instant::now();
    let kind = next(&mut events, |event| match event {
        Event::Failing { problem, .. } => Some(problem.kind()),
        _ => None,
    });
    assert_eq!(kind.await, ErrorKind::Timeout);
    assert!(began.elapsed() < seconds(30), "{:?}", began.elapsed());
}

/// The first password. The validator rejects every other.
static ACCEPTED: OnceLock<String> = OnceLock::new();

fn first(pair: &DatabaseCredentials) -> Result<(), String> {
    let password = pair.password().expose_secret();
    let accepted = ACCEPTED.get_or_init(|| password.to_owned());
    (accepted == password).then_some(()).ok_or_else(|| "is another one".to_owned())
}

#[derive(Debug, VaultConfig)]
struct Checked {
    #[vault(database_static = "legacy", validate = first)]
    legacy: DatabaseCredentials,
}

#[tokio::test]
async fn the_published_password_has_expired_while_the_new_one_is_rejected() {
    let servers = rotated_every("1h").await;
    let live = loader::<Checked>(&servers.bao, json!({})).await.watch().await.unwrap();
    assert_eq!(live.status().health, Health::Healthy);
    servers.bao.rotate_role("database", "legacy").await;
    for _ in 0..2 {
        assert_eq!(live.refresh().await.unwrap_err().kind(), ErrorKind::Invalid);
        let status = live.status();
        assert_eq!(status.health, Health::Failing, "{status:#?}");
        assert!(status.good_until.unwrap() <= std::time::SystemTime::now(), "{status:#?}");
    }
    assert_eq!(live.status().counters.rejected, 1);
}

/// With a `rotation_schedule`, the server announces the next rotation before it has changed the password
/// (hashicorp/vault #31918). In the second part, the rotation fails each time.
#[tokio::test]
async fn a_late_rotation_is_noticed_soon_and_a_failing_one_costs_few_reads() {
    use super::world::{HOUR, ROTATION, World};
    const LATE: u64 = 120;
    let world = World::start().await;
    let number = |now: u64| now.saturating_sub(LATE) / ROTATION;
    world.override_answers(move |request, now| {
        let now = now.as_secs();
        let data = json!({
            "username": "legacy", "password": format!("p{}", number(now)),
            "ttl": ROTATION - now % ROTATION, "rotation_schedule": "0 */6 * * *",
            "last_vault_rotation": format!("t{}", number(now)),
        });
        let is_asked = request.path() == "/v1/database/static-creds/legacy";
        is_asked.then(|| ScriptedAnswer::json(200, &json!({ "data": data })))
    });
    let (mut late, mut unsaid) = (Duration::ZERO, Duration::ZERO);
    let mut before = Duration::ZERO;
    world
        .pass(seconds(13 * HOUR), |now| {
            let passed = now - before;
            before = now;
            let password = world.live.current().legacy.password().expose_secret().to_owned();
            let is_good = password == format!("p{}", number(now.as_secs()));
            late += if is_good { Duration::ZERO } else { passed };
            let into = now.as_secs() % ROTATION;
            let healthy = world.state("database/static-creds/legacy").health == Health::Healthy;
            unsaid += if healthy && now.as_secs() > ROTATION && (30..LATE).contains(&into) {
                passed
            } else {
                Duration::ZERO
            };
        })
        .await;
    assert!(late < seconds(60), "two rotations, each late by two minutes: {late:?}");
    assert!(unsaid < seconds(30), "healthy for {unsaid:?} although a rotation was overdue");

    let world = World::start().await;
    world.override_answers(move |request, _| {
        let data = json!({
            "username": "legacy", "password": "p0", "ttl": 0, "rotation_period": ROTATION,
            "last_vault_rotation": "t0",
        });
        let is_asked = request.path() == "/v1/database/static-creds/legacy";
        is_asked.then(|| ScriptedAnswer::json(200, &json!({ "data": data })))
    });
    world.live.refresh().await.unwrap_or_default();
    let began = world.clock.real();
    world.pass(seconds(HOUR), |_| {}).await;
    let reads = world.requests_since(began, "/v1/database/static-creds/legacy");
    assert!((30..160).contains(&reads), "{reads} reads in an hour");
    let state = world.state("database/static-creds/legacy");
    assert_eq!(state.health, Health::Degraded, "{state:#?}");
    assert!(state.error.unwrap().contains("the rotation of the password is overdue by"));
}

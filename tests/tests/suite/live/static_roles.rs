//! A user whose password the server changes.

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
async fn a_rotated_password_is_in_hand_within_moments() {
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
    // The server itself gives no overlap, and its queue ticks every five seconds.
    assert!(longest < seconds(7), "refused for {longest:?}");
    let reads = asked(&servers.bao, "database/static-creds/legacy");
    assert!(reads < 60, "{reads} readings in 22 s");
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
    is_rotated(&mut events).await;
}

/// The limit on a request is a minute; the password in hand is good for seconds.
#[tokio::test]
async fn a_reading_that_hangs_is_given_up_in_proportion_to_the_rotation() {
    let readings = AtomicUsize::new(0);
    let server = ScriptedServer::start(move |request| match request.path() {
        "/v1/database/static-creds/legacy" if readings.fetch_add(1, Ordering::SeqCst) == 1 => {
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

/// The password that was accepted first.
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
async fn while_the_new_password_is_refused_the_one_in_hand_is_dead() {
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

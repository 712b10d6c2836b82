//! Supplied tokens, which no login can replace; and which answers prove that a token is invalid.

use vault_config::auth::{AppRole, Token, TokenFile};
use vault_config_tests::{ScriptedAnswer, ScriptedRequest};

use super::world::{HOUR, ServerState, Validity, World};
use super::*;

const RENEW: &str = "/v1/auth/token/renew-self";
const LOOKUP: &str = "/v1/auth/token/lookup-self";
const MINUTE: u64 = 60;

/// A world with a supplied token that can be renewed for a long time.
async fn supplied() -> World {
    World::with(Token::new("s.supplied"), |server| {
        server.tokens.insert("s.supplied".to_owned(), Validity::new(Duration::ZERO, 1000 * HOUR));
    })
    .await
}

fn html(status: u16) -> ScriptedAnswer {
    ScriptedAnswer::status(status)
        .header("Content-Type", "text/html")
        .body("<html>a gateway answers</html>")
}

fn errors(status: u16, words: &str) -> ScriptedAnswer {
    ScriptedAnswer::json(status, &json!({ "errors": [words] }))
}

fn is_valid(server: &ServerState, token: &str, now: Duration) -> bool {
    server.tokens.get(token).is_some_and(|validity| now < validity.end)
}

fn token_health(world: &World) -> Health {
    world.live.status().token.unwrap().state.health
}

#[tokio::test]
async fn an_outage_shorter_than_the_lifetime_of_the_token_costs_no_token() {
    let world = supplied().await;
    world.pass(seconds(15 * MINUTE), |_| {}).await;
    world.server().is_down = true;
    // The last renewal before the outage gave the token an hour, so it is still valid when the outage ends.
    world.pass(seconds(37 * MINUTE), |_| {}).await;
    world.server().is_down = false;
    assert!(
        is_valid(&world.server(), "s.supplied", world.clock.real()),
        "otherwise this tests nothing"
    );
    world.pass(seconds(5 * HOUR), |_| {}).await;
    assert!(is_valid(&world.server(), "s.supplied", world.clock.real()));
    assert!(world.is_healthy(), "{:#?}", world.live.status());
}

/// Only the server's own refusal says that the token is invalid. A gateway may refuse too, or the directory behind
/// LDAP.
#[tokio::test]
async fn a_renewal_refused_by_a_gateway_or_a_directory_costs_no_token() {
    let why = "ldap operation failed: unable to connect to the directory";
    for answer in [html(400), errors(400, why), html(403), ScriptedAnswer::json(200, &json!({}))] {
        let world = supplied().await;
        let once = std::sync::atomic::AtomicBool::new(true);
        world.override_answers(move |request: &ScriptedRequest, _| {
            let is_first =
                request.path() == RENEW && once.swap(false, std::sync::atomic::Ordering::SeqCst);
            is_first.then(|| answer.clone())
        });
        world.pass(seconds(4 * HOUR), |_| {}).await;
        assert!(is_valid(&world.server(), "s.supplied", world.clock.real()));
        assert!(world.is_healthy(), "{:#?}", world.live.status());
    }
}

#[tokio::test]
async fn a_token_that_was_refused_for_a_while_is_checked_again() {
    for by_refresh in [false, true] {
        let world = supplied().await;
        world.pass(seconds(10 * MINUTE), |_| {}).await;
        world.override_answers(|_, _| Some(errors(403, "permission denied")));
        world.pass(seconds(7 * MINUTE), |_| {}).await;
        assert_eq!(token_health(&world), Health::Failing, "{:#?}", world.live.status());
        assert_eq!(world.live.refresh().await.unwrap_err().kind(), ErrorKind::TokenInvalid);
        world.restore_answers();
        match by_refresh {
            true => world.live.refresh().await.unwrap(),
            false => world.pass(seconds(61), |_| {}).await,
        }
        assert_eq!(token_health(&world), Health::Healthy, "{:#?}", world.live.status());
        world.pass(seconds(11 * MINUTE), |_| {}).await;
        assert!(world.is_healthy(), "{:#?}", world.live.status());
    }
}

#[tokio::test]
async fn a_token_that_was_replaced_in_its_file_before_the_watch_began_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "s.first").unwrap();
    let world = World::with(TokenFile::new(&file), |server| {
        for token in ["s.first", "s.other"] {
            server.tokens.insert(token.to_owned(), Validity::new(Duration::ZERO, 1000 * HOUR));
        }
    })
    .await;
    // As if the file had changed between the load and the start of the watch.
    std::fs::write(&file, "s.other").unwrap();
    world.server().tokens.get_mut("s.first").unwrap().end = Duration::ZERO;
    world.pass(seconds(30), |_| {}).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
}

/// An agent replaces its token only in the last tenth of its lifetime.
#[tokio::test]
async fn a_valid_token_of_an_agent_is_not_failing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "s.sink").unwrap();
    let world = World::with(TokenFile::new(&file), |server| {
        server.tokens.insert("s.sink".to_owned(), Validity::new(Duration::ZERO, HOUR));
    })
    .await;
    let not_renewable = |request: &ScriptedRequest, now: Duration| {
        let ttl = HOUR.saturating_sub(now.as_secs());
        let data = json!({ "id": "s.sink", "ttl": ttl, "creation_ttl": HOUR, "renewable": false });
        let is_asked = request.path() == LOOKUP && ttl > 0;
        is_asked.then(|| ScriptedAnswer::json(200, &json!({ "data": data })))
    };
    world.override_answers(not_renewable);
    world
        .pass(seconds(54 * MINUTE), |now| {
            assert_eq!(
                token_health(&world),
                Health::Healthy,
                "{now:?}: {:#?}",
                world.live.status()
            );
        })
        .await;
    assert_eq!(world.requests_for(RENEW), 0);
    // The agent has not replaced it in time.
    world.pass(seconds(5 * MINUTE), |_| {}).await;
    assert_ne!(token_health(&world), Health::Healthy);
    world.server().tokens.insert("s.next".to_owned(), Validity::new(world.clock.real(), 9 * HOUR));
    world.restore_answers();
    std::fs::write(&file, "s.next").unwrap();
    world.pass(seconds(30), |_| {}).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
}

/// A gateway's own page does not show whether the token is valid.
#[tokio::test]
async fn a_403_of_a_gateway_is_no_refusal_of_the_token() {
    let world = World::start().await;
    let before = world.requests_for("/v1/auth/approle/login");
    let denied = "1 error occurred:\n\t* permission denied\n\n";
    world.override_answers(move |request, _| match request.path() {
        path if path.starts_with("/v1/secret/") => Some(errors(403, denied)),
        LOOKUP => Some(html(403)),
        path if path.starts_with("/v1/sys/internal/") => Some(errors(403, denied)),
        _ => None,
    });
    world.pass(seconds(19 * MINUTE), |_| assert!(world.has_valid_credentials())).await;
    assert_eq!(world.requests_for("/v1/auth/approle/login"), before);
    assert_eq!(world.server().leases.len(), 1);
    let state = world.state("kv secret/app");
    assert_eq!(state.health, Health::Degraded, "{state:#?}");
    assert!(state.error.unwrap().contains("permission denied"));
}

#[tokio::test]
async fn a_late_refusal_of_the_old_token_does_not_affect_the_new_one() {
    let world = World::start().await;
    world.pass(seconds(MINUTE), |_| {}).await;
    // A read with the old token is refused long after the login for the new one.
    world.override_answers(move |request, _| {
        let is_late = request.header("x-vault-token") == Some("s.0")
            && request.path().starts_with("/v1/secret/");
        is_late.then(|| errors(403, "permission denied").after(Duration::from_millis(700)))
    });
    world.server().revoke_tokens(world.clock.real());
    drop(world.live.refresh().await);
    world.pass(seconds(10 * MINUTE), |_| {}).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
    assert_eq!(
        world.requests_for("/v1/auth/approle/login"),
        2,
        "the first one, and one after the revocation"
    );
}

/// The answer to a renewal has to contain the new lifetime. Without it, the old expiry remains.
#[tokio::test]
async fn a_renewal_without_a_lifetime_makes_no_token_and_no_lease_permanent() {
    let answers = [
        json!({}),
        json!({ "auth": null }),
        json!({ "auth": { "client_token": "s.0", "lease_duration": 0 }, "lease_duration": 0 }),
        json!({ "auth": { "client_token": "s.another", "lease_duration": 3600 } }),
    ];
    for answer in answers {
        let world = World::with(AppRole::new("role", "secret"), |_| {}).await;
        let shown = answer.to_string();
        world.override_answers(move |request, _| {
            let is_renewal = matches!(request.path(), RENEW | "/v1/sys/leases/renew");
            is_renewal.then(|| ScriptedAnswer::json(200, &answer))
        });
        world
            .pass(seconds(3 * HOUR), |now| {
                assert!(
                    world.has_valid_credentials(),
                    "{now:?} {shown}: {:#?}",
                    world.live.status()
                );
                let token = world.live.status().token.unwrap();
                assert!(token.state.expires_at.is_some(), "{now:?} {shown}");
                assert!(world.state("database/creds/app").expires_at.is_some(), "{now:?} {shown}");
            })
            .await;
        assert!(world.server().leases.len() <= 8, "{shown}: {}", world.server().leases.len());
    }
}

//! Tokens that nothing can replace, and what may be believed of a token.

use vault_config::auth::{AppRole, Token, TokenFile};
use vault_config_tests::{ScriptedAnswer, ScriptedRequest};

use super::world::{Books, HOUR, Life, World};
use super::*;

const RENEW: &str = "/v1/auth/token/renew-self";
const LOOK: &str = "/v1/auth/token/lookup-self";
const MINUTE: u64 = 60;

/// A token of the user, whose maximum lifetime is far away.
async fn given() -> World {
    World::with(Token::new("s.given"), |books| {
        books.tokens.insert("s.given".to_owned(), Life::new(Duration::ZERO, 1000 * HOUR));
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

fn is_alive(books: &Books, token: &str, now: Duration) -> bool {
    books.tokens.get(token).is_some_and(|life| now < life.end)
}

fn token_health(world: &World) -> Health {
    world.live.status().token.unwrap().state.health
}

#[tokio::test]
async fn an_outage_that_ends_while_the_token_lives_does_not_end_it() {
    let world = given().await;
    world.pass(seconds(15 * MINUTE), |_| {}).await;
    world.books().is_down = true;
    // Its last renewal was at minute 40 at the latest: it lives when the outage is over.
    world.pass(seconds(37 * MINUTE), |_| {}).await;
    world.books().is_down = false;
    assert!(is_alive(&world.books(), "s.given", world.clock.real()), "or the test shows nothing");
    world.pass(seconds(5 * HOUR), |_| {}).await;
    assert!(is_alive(&world.books(), "s.given", world.clock.real()));
    assert!(world.is_healthy(), "{:#?}", world.live.status());
}

/// A renewal is refused by something else than the server: a gateway, or the directory behind LDAP.
#[tokio::test]
async fn one_renewal_that_is_refused_by_something_else_ends_nothing() {
    let why = "ldap operation failed: unable to connect to the directory";
    for answer in [html(400), errors(400, why), html(403), ScriptedAnswer::json(200, &json!({}))] {
        let world = given().await;
        let once = std::sync::atomic::AtomicBool::new(true);
        world.answer_instead(move |request: &ScriptedRequest, _| {
            let is_first =
                request.path() == RENEW && once.swap(false, std::sync::atomic::Ordering::SeqCst);
            is_first.then(|| answer.clone())
        });
        world.pass(seconds(4 * HOUR), |_| {}).await;
        assert!(is_alive(&world.books(), "s.given", world.clock.real()));
        assert!(world.is_healthy(), "{:#?}", world.live.status());
    }
}

#[tokio::test]
async fn a_token_that_is_refused_for_a_minute_is_looked_at_again() {
    for by_refresh in [false, true] {
        let world = given().await;
        world.pass(seconds(10 * MINUTE), |_| {}).await;
        world.answer_instead(|_, _| Some(errors(403, "permission denied")));
        world.pass(seconds(7 * MINUTE), |_| {}).await;
        assert_eq!(token_health(&world), Health::Failing, "{:#?}", world.live.status());
        assert_eq!(world.live.refresh().await.unwrap_err().kind(), ErrorKind::TokenInvalid);
        world.answer_again();
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
    let world = World::with(TokenFile::new(&file), |books| {
        for token in ["s.first", "s.other"] {
            books.tokens.insert(token.to_owned(), Life::new(Duration::ZERO, 1000 * HOUR));
        }
    })
    .await;
    // Another configuration over the same connection begins to watch after that.
    std::fs::write(&file, "s.other").unwrap();
    world.books().tokens.get_mut("s.first").unwrap().end = Duration::ZERO;
    world.pass(seconds(30), |_| {}).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
}

/// An agent replaces it in the last tenth of its life.
#[tokio::test]
async fn a_living_token_of_a_sink_is_not_called_failing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "s.sink").unwrap();
    let world = World::with(TokenFile::new(&file), |books| {
        books.tokens.insert("s.sink".to_owned(), Life::new(Duration::ZERO, HOUR));
    })
    .await;
    let not_renewable = |request: &ScriptedRequest, now: Duration| {
        let ttl = HOUR.saturating_sub(now.as_secs());
        let data = json!({ "id": "s.sink", "ttl": ttl, "creation_ttl": HOUR, "renewable": false });
        let is_asked = request.path() == LOOK && ttl > 0;
        is_asked.then(|| ScriptedAnswer::json(200, &json!({ "data": data })))
    };
    world.answer_instead(not_renewable);
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
    assert_eq!(world.asked(RENEW), 0);
    // It was not replaced in time.
    world.pass(seconds(5 * MINUTE), |_| {}).await;
    assert_ne!(token_health(&world), Health::Healthy);
    world.books().tokens.insert("s.next".to_owned(), Life::new(world.clock.real(), 9 * HOUR));
    world.answer_again();
    std::fs::write(&file, "s.next").unwrap();
    world.pass(seconds(30), |_| {}).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
}

/// The page of a gateway says nothing about a token.
#[tokio::test]
async fn a_gateway_that_denies_kills_no_token() {
    let world = World::start().await;
    let before = world.asked("/v1/auth/approle/login");
    let denied = "1 error occurred:\n\t* permission denied\n\n";
    world.answer_instead(move |request, _| match request.path() {
        path if path.starts_with("/v1/secret/") => Some(errors(403, denied)),
        LOOK => Some(html(403)),
        path if path.starts_with("/v1/sys/internal/") => Some(errors(403, denied)),
        _ => None,
    });
    world.pass(seconds(19 * MINUTE), |_| assert!(world.is_well())).await;
    assert_eq!(world.asked("/v1/auth/approle/login"), before);
    assert_eq!(world.books().leases.len(), 1);
    let state = world.state("kv secret/app");
    assert_eq!(state.health, Health::Degraded, "{state:#?}");
    assert!(state.error.unwrap().contains("permission denied"));
}

#[tokio::test]
async fn a_late_refusal_of_the_old_token_does_not_kill_the_new_one() {
    let world = World::start().await;
    world.pass(seconds(MINUTE), |_| {}).await;
    // A reading with the old token is answered long after the new one is there.
    world.answer_instead(move |request, _| {
        let is_late = request.header("x-vault-token") == Some("s.0")
            && request.path().starts_with("/v1/secret/");
        is_late.then(|| errors(403, "permission denied").after(Duration::from_millis(700)))
    });
    world.books().revoke_tokens(world.clock.real());
    drop(world.live.refresh().await);
    world.pass(seconds(10 * MINUTE), |_| {}).await;
    assert!(world.is_healthy(), "{:#?}", world.live.status());
    assert_eq!(
        world.asked("/v1/auth/approle/login"),
        2,
        "the first one, and one for the dead token"
    );
}

/// For how long it is granted is what a renewal is asked for.
#[tokio::test]
async fn a_renewal_that_grants_nothing_is_no_token_and_no_lease_without_an_end() {
    let nothing = [
        json!({}),
        json!({ "auth": null }),
        json!({ "auth": { "client_token": "s.0", "lease_duration": 0 }, "lease_duration": 0 }),
        json!({ "auth": { "client_token": "s.another", "lease_duration": 3600 } }),
    ];
    for answer in nothing {
        let world = World::with(AppRole::new("role", "secret"), |_| {}).await;
        let shown = answer.to_string();
        world.answer_instead(move |request, _| {
            let is_renewal = matches!(request.path(), RENEW | "/v1/sys/leases/renew");
            is_renewal.then(|| ScriptedAnswer::json(200, &answer))
        });
        world
            .pass(seconds(3 * HOUR), |now| {
                assert!(world.is_well(), "{now:?} {shown}: {:#?}", world.live.status());
                let token = world.live.status().token.unwrap();
                assert!(token.state.expires_at.is_some(), "{now:?} {shown}");
                assert!(world.state("database/creds/app").expires_at.is_some(), "{now:?} {shown}");
            })
            .await;
        assert!(world.books().leases.len() <= 8, "{shown}: {}", world.books().leases.len());
    }
}

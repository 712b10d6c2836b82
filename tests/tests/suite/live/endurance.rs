//! Short failures, after which the client must recover by itself.

use super::world::*;
use super::*;
use vault_config::auth::{AppRole, Token, TokenFile};
use vault_config_tests::ScriptedAnswer;

fn err(status: u16, why: &str) -> ScriptedAnswer {
    ScriptedAnswer::json(status, &json!({ "errors": [why] }))
}
const ROLE: fn() -> AppRole = || AppRole::new("role", "secret");

#[tokio::test]
async fn a_use_limited_token_survives_an_outage() {
    let world = World::with(ROLE(), |server| server.uses = Some(12)).await;
    world.pass(seconds(10 * 60), |_| {}).await;
    world.server().is_down = true;
    world.pass(seconds(20 * 60), |_| {}).await;
    world.server().is_down = false;
    world.pass(seconds(2 * HOUR), |_| {}).await;
    assert!(world.is_healthy());
}

#[tokio::test]
async fn a_used_up_token_whose_login_fails_neither_spins_nor_hangs_a_refresh() {
    let world = World::with(ROLE(), |server| server.uses = Some(8)).await;
    world.override_answers(|request, _| {
        request.path().ends_with("/login").then(|| err(403, "away"))
    });
    let done =
        tokio::time::timeout(Duration::from_secs(15), world.pass(seconds(2 * HOUR), |_| {})).await;
    let live = world.live.clone();
    let refreshed = tokio::time::timeout(Duration::from_secs(2), live.refresh()).await;
    done.expect("the task repeats the login without a pause");
    assert!(refreshed.is_ok(), "the refresh does not return");
}

#[tokio::test]
async fn a_token_that_was_refused_once_recovers_within_two_minutes() {
    let world = World::with(Token::new("supplied"), |server| {
        server.tokens.insert("supplied".into(), Validity::new(Duration::ZERO, 1000 * HOUR));
    })
    .await;
    world.pass(seconds(60), |_| {}).await;
    world.override_answers(|_, _| Some(err(403, "permission denied")));
    // Until the server has refused one request.
    let refused = world.server().log.len();
    loop {
        world.pass(seconds(1), |_| {}).await;
        if world.server().log.len() > refused {
            break;
        }
    }
    world.restore_answers();
    let began = world.clock.real();
    let mut dead_for = Duration::ZERO;
    let live = world.live.clone();
    world
        .pass(seconds(3 * HOUR), |now| {
            if live.status().health != Health::Healthy {
                dead_for = now - began
            }
        })
        .await;
    assert!(dead_for < Duration::from_secs(120), "{dead_for:?}");
}

#[tokio::test]
async fn a_token_file_that_was_missing_for_a_minute_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let sink = folder.path().join("token");
    std::fs::write(&sink, "supplied").unwrap();
    let world = World::with(TokenFile::new(&sink), |server| {
        server.tokens.insert(
            "supplied".into(),
            Validity { end: seconds(1000 * HOUR), ..Validity::new(Duration::ZERO, 1000 * HOUR) },
        );
        server.lookup_not_renewable = true;
    })
    .await;
    world.pass(seconds(60), |_| {}).await;
    std::fs::remove_file(&sink).unwrap();
    world.pass(seconds(60), |_| {}).await;
    std::fs::write(&sink, "supplied").unwrap();
    world.pass(seconds(24 * HOUR), |_| {}).await;
    assert!(world.is_healthy());
}

macro_rules! many {
    ($($field:ident $path:literal)*) => {
        #[allow(dead_code)]
        #[derive(Debug, VaultConfig)]
        struct Many {
            $(#[vault(kv = $path, key = "key")]
            $field: SecretString,)*
            /// Last, so that it waits behind all the others.
            #[vault(database = "app")]
            database: DatabaseCredentials,
        }
    };
}
many! { p0 "p0" p1 "p1" p2 "p2" p3 "p3" p4 "p4" p5 "p5" p6 "p6" p7 "p7" p8 "p8" p9 "p9" p10 "p10" p11 "p11" p12 "p12" p13 "p13" p14 "p14" p15 "p15" p16 "p16" p17 "p17" p18 "p18" p19 "p19" p20 "p20" p21 "p21" p22 "p22" p23 "p23" p24 "p24" p25 "p25" p26 "p26" p27 "p27" p28 "p28" p29 "p29" p30 "p30" p31 "p31" p32 "p32" p33 "p33" p34 "p34" p35 "p35" p36 "p36" p37 "p37" p38 "p38" p39 "p39" p40 "p40" p41 "p41" p42 "p42" p43 "p43" p44 "p44" p45 "p45" p46 "p46" p47 "p47" p48 "p48" p49 "p49" p50 "p50" p51 "p51" p52 "p52" p53 "p53" p54 "p54" p55 "p55" p56 "p56" p57 "p57" p58 "p58" p59 "p59" }

#[tokio::test]
async fn many_denied_paths_delay_no_renewal() {
    let world = World::start().await;
    let secret = |request: &vault_config_tests::ScriptedRequest| {
        let path = request.path();
        if path.starts_with("/v1/secret/data/p") {
            return Some(ScriptedAnswer::json(
                200,
                &json!({ "data": { "data": { "key": "k" }, "metadata": { "version": 1 } } }),
            ));
        }
        if path.starts_with("/v1/sys/internal") {
            return Some(ScriptedAnswer::json(
                200,
                &json!({ "data": { "type": "kv", "options": { "version": "2" } } }),
            ));
        }
        if path.starts_with("/v1/secret/p") {
            return Some(err(404, "none"));
        }
        path.starts_with("/v1/secret/metadata/p").then(|| ScriptedAnswer::json(200, &json!({ "data": { "current_version": 1, "versions": { "1": { "deletion_time": "", "destroyed": false } } } })))
    };
    world.override_answers(move |request, _| secret(request));
    let many: Live<Many> =
        Many::loader().without_dotenv().vault(world.vault.clone()).watch().await.unwrap();
    world.pass(seconds(60), |_| {}).await;
    // A change of the policy takes the paths away.
    let denied = || err(403, "1 error occurred:\n\t* permission denied\n\n");
    world.override_answers(move |request, now| {
        let path = request.path();
        if path.starts_with("/v1/secret/data/p")
            || path.starts_with("/v1/secret/metadata/p")
            || path.starts_with("/v1/secret/p")
        {
            return Some(denied());
        }
        if path.starts_with("/v1/sys/internal") {
            return Some(denied());
        }
        // Renewals of leases fail until minute 41, so that the lease needs its retries.
        (path == "/v1/sys/leases/renew" && now < seconds(41 * 60))
            .then(|| err(500, "internal error"))
    });
    let mut dead = None;
    let live = many.clone();
    world
        .pass(seconds(65 * 60), |now| {
            let user = live.current().database.username().to_owned();
            if !world.server().is_valid(&user, now) {
                dead.get_or_insert(now);
            }
        })
        .await;
    assert!(dead.is_none());
}

#[tokio::test]
async fn paths_that_stay_broken_do_not_prolong_an_outage() {
    let world = World::start().await;
    world.pass(seconds(10 * 60), |_| {}).await;
    let broken =
        |path: &str| path.starts_with("/v1/secret/") || path.starts_with("/v1/database/static");
    world.override_answers(move |request, _| {
        broken(request.path()).then(|| err(500, "1 error occurred:\n\t* plugin exited\n\n"))
    });
    world.pass(seconds(10 * 60), |_| {}).await;
    world.server().is_down = true;
    world.override_answers(move |_, _| Some(err(503, "Vault is sealed")));
    world.pass(seconds(30 * 60), |_| {}).await;
    world.server().is_down = false;
    world.override_answers(move |request, _| {
        broken(request.path()).then(|| err(500, "1 error occurred:\n\t* plugin exited\n\n"))
    });
    let since = world.clock.real();
    let mut dead = None;
    world
        .pass(seconds(2 * HOUR), |now| {
            if !world.has_valid_credentials() {
                dead.get_or_insert(now - since);
            }
        })
        .await;
    assert!(world.has_valid_credentials());
}

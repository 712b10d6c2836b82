//! Loads that are dropped at any of their awaits.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use vault_config::{ErrorKind, VaultConfig};
use vault_config_tests::{Fault, FaultProxy};

use super::{Absent, Config, Servers, accessors, dropped_at_any_time};
use crate::support::until;

/// Polls a load this many times and then drops it: at once, or when it would be polled again.
/// Returns the load's output if it ended before.
async fn polled<F: Future>(load: F, times: usize, at_once: bool) -> Option<F::Output> {
    let (mut load, mut left) = (Box::pin(load), times);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match load.as_mut().poll(context) {
            Poll::Ready(loaded) => Poll::Ready(Some(loaded)),
            Poll::Pending if left == 0 && at_once => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Drops a load after its first poll, after its second, and so on until it succeeds.
async fn abandon_at_every_await<F: Future>(
    load: impl Fn() -> F,
    mut after: impl AsyncFnMut(&str, Option<F::Output>),
) {
    for at_once in [true, false] {
        for times in 1.. {
            let loaded = polled(load(), times, at_once).await;
            let is_over = loaded.is_some();
            after(&format!("dropped after poll {times} (at once: {at_once})"), loaded).await;
            if is_over {
                assert!(times > 1, "it is never waited for");
                break;
            }
            assert!(times < 1000, "it never succeeds");
        }
    }
}

async fn own_loads_are_dropped_at_every_await() {
    let servers = Servers::start().await;
    abandon_at_every_await(
        || servers.own::<Config>().load(),
        async |what, loaded| {
            if let Some(loaded) = loaded {
                servers.has(&loaded.unwrap()).await;
                servers.revoke_all().await;
            }
            servers.assert_nothing_left(what).await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_load_over_its_own_connection_that_is_dropped_leaves_nothing() {
    own_loads_are_dropped_at_every_await().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_is_dropped_leaves_nothing_with_many_threads_either() {
    own_loads_are_dropped_at_every_await().await;
}

#[tokio::test]
async fn a_watch_that_is_dropped_leaves_nothing_and_one_that_begins_is_handed_all() {
    let servers = Servers::start().await;
    abandon_at_every_await(
        || servers.own::<Config>().watch(),
        async |what, live| {
            if let Some(live) = live {
                let live = live.unwrap();
                servers.has(&live.current()).await;
                live.refresh().await.unwrap();
                live.shutdown().await.unwrap();
            }
            servers.assert_nothing_left(what).await;
        },
    )
    .await;
}

#[tokio::test]
async fn values_for_a_figment_that_are_dropped_leave_nothing() {
    let servers = Servers::start().await;
    abandon_at_every_await(
        || servers.own::<Config>().resolve(),
        async |what, resolved| {
            if let Some(resolved) = resolved {
                resolved.unwrap();
                assert_eq!(servers.users().await.len(), 2);
                servers.revoke_all().await;
            }
            servers.assert_nothing_left(what).await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_check_leaves_no_token_whether_it_ends_or_is_dropped() {
    let servers = Servers::start().await;
    abandon_at_every_await(
        || servers.own::<Config>().check(),
        async |what, report| {
            if let Some(report) = report {
                report.unwrap();
            }
            servers.assert_nothing_left(what).await;
        },
    )
    .await;
    let failed = servers.own::<Absent>().check().await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::PathAbsent);
    servers.assert_nothing_left("the check failed").await;

    // Tokens that the check did not create stay.
    servers.bao.clear_audit();
    let vault = servers.vault();
    Config::loader().without_dotenv().vault(vault.clone()).check().await.unwrap();
    Config::loader().without_dotenv().vault(vault).check().await.unwrap();
    let token = servers.bao.token(&["app"], json!({})).await;
    servers.own_with_token::<Config>(&token).check().await.unwrap();
    servers.own_with_token::<Config>(&token).check().await.unwrap();
    servers.assert_only_tokens_left(2, "shared and given").await;
    assert_eq!(servers.asked("auth/token/revoke"), 0);
}

#[tokio::test]
async fn over_a_shared_connection_the_leases_are_ended_and_the_token_stays() {
    let servers = Servers::start().await;
    let vault = servers.vault();
    let other = Config::loader().without_dotenv().vault(vault.clone()).load().await.unwrap();
    abandon_at_every_await(
        || Config::loader().without_dotenv().vault(vault.clone()).load(),
        async |_, loaded| {
            if let Some(loaded) = loaded {
                servers.has(&loaded.unwrap()).await;
            }
        },
    )
    .await;
    // The users of the three loads that succeeded stay, and soon no others.
    until("the others' leases are over", async || servers.users().await.len() == 6).await;
    servers.has(&other).await;
    assert_eq!(servers.users().await.len(), 6);
    servers.revoke_all().await;
}

#[tokio::test]
async fn a_credential_that_is_issued_after_the_drop_is_ended() {
    let servers = Servers::with(json!({}), "1.5").await;
    for _ in 0..2 {
        dropped_at_any_time(|| servers.own::<Config>().load()).await;
        servers.assert_nothing_left("over connections of their own").await;
    }

    // A task that is aborted.
    servers.bao.clear_audit();
    let mut tasks = JoinSet::new();
    tasks.spawn(servers.own::<Config>().watch());
    until("it is asked for", async || servers.asked("database/creds/slow") == 1).await;
    tasks.shutdown().await;
    servers.assert_nothing_left("aborted").await;

    let vault = servers.vault();
    servers.bao.clear_audit();
    dropped_at_any_time(|| Config::loader().without_dotenv().vault(vault.clone()).load()).await;
    servers.assert_each_lease_ended(1, "over a shared connection").await;
}

#[tokio::test]
async fn a_login_that_ends_after_the_drop_is_revoked() {
    let servers = Servers::start().await;
    let proxy = FaultProxy::in_front_of(servers.bao.address()).await;
    for fault in [Fault::Stall, Fault::Delay(Duration::from_millis(300))] {
        servers.bao.clear_audit();
        proxy.set(fault.clone()).await;
        let load = servers.own_at::<Config>(&proxy.address()).load();
        let half_way = tokio::time::timeout(Duration::from_millis(100), load).await;
        assert!(half_way.is_err(), "{fault:?}");
        proxy.set(Fault::None).await;
        let logged_in = "auth/approle/login";
        until("it is logged in", async || servers.asked(logged_in) == 1).await;
        servers.assert_nothing_left(&format!("{fault:?}")).await;
        let asked = servers.bao.audit_requests();
        let asked: Vec<_> = asked.iter().map(|request| request.path.as_str()).collect();
        assert_eq!(asked, [logged_in, "auth/token/revoke-self"], "{fault:?}");
    }
}

#[tokio::test]
async fn a_load_that_is_dropped_before_its_login_began_spends_no_secret_id() {
    let servers = Servers::with(json!({ "secret_id_num_uses": 1 }), "0").await;
    // The login has a task of its own, which has not had its turn yet.
    assert!(polled(servers.own::<Config>().load(), 1, true).await.is_none());
    let config = servers.own::<Config>().load().await.unwrap();
    servers.has(&config).await;
    assert_eq!(servers.asked("auth/approle/login"), 1);
}

/// A future may be dropped where no runtime is entered, and on another thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_is_dropped_outside_of_its_runtime_leaves_nothing() {
    let servers = Servers::start().await;
    let mut load = Box::pin(servers.own::<Config>().load());
    let half_way = poll_fn(|context| Poll::Ready(load.as_mut().poll(context).is_pending())).await;
    assert!(half_way);
    until("it is logged in", async || accessors(&servers.bao).await != servers.known).await;
    std::thread::spawn(move || drop(load)).join().unwrap();
    servers.assert_nothing_left("dropped outside").await;
}

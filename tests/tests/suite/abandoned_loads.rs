//! What a load obtained and its caller never got: nothing of it is left behind.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};
use vault_config::auth::{AppRole, Token};
use vault_config::live::{Clock, Reading, SystemClock};
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{DatabaseCredentials, Error, ErrorKind, Loader, Secret, Vault, VaultConfig};
use vault_config_tests::{
    AppRoleIds, Fault, FaultProxy, OpenBao, Postgres, ScriptedAnswer, ScriptedServer,
};

use crate::support::{approle_loader, logged, token_loader, until};

const POLICY: &str = r#"
path "secret/data/*" { capabilities = ["read"] }
path "database/creds/*" { capabilities = ["read"] }
"#;

#[derive(Debug, VaultConfig)]
struct Config {
    #[vault(kv = "app")]
    key: SecretString,
    #[vault(database = "readonly")]
    database: DatabaseCredentials,
    #[vault(database = "slow")]
    slow: DatabaseCredentials,
}

/// An OpenBao with two database roles, one of which takes a moment to make a user.
struct Servers {
    bao: OpenBao,
    postgres: Postgres,
    ids: AppRoleIds,
    /// The accessors of the tokens that were there before any load.
    known: BTreeSet<String>,
}

impl Servers {
    async fn start() -> Self {
        Self::with(json!({}), "0.2").await
    }

    /// The tokens of the AppRole have these settings, and a user of `slow` takes so many seconds.
    async fn with(settings: Value, takes: &str) -> Self {
        let (bao, postgres) = tokio::join!(OpenBao::dev(), Postgres::start());
        bao.connect_database(&postgres).await;
        slow_role(&bao, takes).await;
        bao.kv_put("secret", "app", json!({ "key": "k" })).await;
        bao.policy("app", POLICY).await;
        let ids = bao.approle("app", &["app"], settings).await;
        let known = accessors(&bao).await;
        Self { bao, postgres, ids, known }
    }

    /// Over a connection of its own.
    fn own<T: VaultConfig>(&self) -> Loader<T> {
        self.own_at(self.bao.address())
    }

    fn own_at<T: VaultConfig>(&self, address: &str) -> Loader<T> {
        approle_loader(address, &self.ids)
    }

    fn own_with_token<T: VaultConfig>(&self, token: &str) -> Loader<T> {
        token_loader(self.bao.address(), token)
    }

    /// A connection to share.
    fn vault(&self) -> Vault {
        let ids = AppRole::new(&*self.ids.role_id, SecretString::from(&*self.ids.secret_id));
        Vault::builder().address(self.bao.address()).auth(ids).build().unwrap()
    }

    async fn users(&self) -> Vec<String> {
        let users = self.postgres.psql("select usename from pg_user where usename like 'v-%'");
        users.await.into_iter().flatten().collect()
    }

    /// Neither a user of the database nor a token, but for so many tokens of others.
    async fn nothing_is_left_but(&self, tokens: usize, what: &str) {
        let began = Instant::now();
        loop {
            let users = self.users().await;
            let left = accessors(&self.bao).await.difference(&self.known).count();
            if users.is_empty() && left == tokens {
                return;
            }
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "{what}: {users:?} and {left} tokens are left, where {tokens} should be"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn nothing_is_left(&self, what: &str) {
        self.nothing_is_left_but(0, what).await;
    }

    /// The same where each lease has to be ended by itself: each that was issued was.
    async fn each_is_ended_and_nothing_left_but(&self, tokens: usize, what: &str) {
        until("every lease is ended", async || {
            self.asked("sys/leases/renew") == self.asked("database/creds/")
        })
        .await;
        self.nothing_is_left_but(tokens, what).await;
    }

    /// How many requests there were for paths that begin so.
    fn asked(&self, begins: &str) -> usize {
        let asked = self.bao.audit_requests().into_iter();
        asked.filter(|request| request.path.starts_with(begins)).count()
    }

    async fn accepts(&self, database: &DatabaseCredentials) -> bool {
        let password = database.password().expose_secret();
        self.postgres.connect(database.username(), password).await.is_ok()
    }

    /// The caller of a load that succeeded has this, and nothing takes it away.
    async fn has(&self, config: &Config) {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(self.accepts(&config.database).await && self.accepts(&config.slow).await);
    }

    /// Ends what loads gave to their callers.
    async fn take_away(&self) {
        for accessor in accessors(&self.bao).await.difference(&self.known) {
            self.bao.write("auth/token/revoke-accessor", json!({ "accessor": accessor })).await;
        }
        for role in ["readonly", "slow"] {
            let path = format!("sys/leases/revoke-prefix/database/creds/{role}");
            self.bao.write(&path, json!({ "sync": true })).await;
        }
    }
}

async fn slow_role(bao: &OpenBao, seconds: &str) {
    let role = json!({
        "db_name": "postgres",
        "creation_statements": [format!(
            "CREATE ROLE \"{{{{name}}}}\" WITH LOGIN PASSWORD '{{{{password}}}}' \
             VALID UNTIL '{{{{expiration}}}}'; SELECT pg_sleep({seconds});"
        )],
        "default_ttl": "1h",
        "max_ttl": "24h",
    });
    bao.write("database/roles/slow", role).await;
}

async fn accessors(bao: &OpenBao) -> BTreeSet<String> {
    let (_, answer) = bao.try_request("LIST", "auth/token/accessors", None, bao.root_token()).await;
    serde_json::from_value(answer["data"]["keys"].clone()).unwrap()
}

/// Polls a load so often and drops it then: at once, or when it would be polled again. What it
/// gave, if that came first.
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
                servers.take_away().await;
            }
            servers.nothing_is_left(what).await;
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
            servers.nothing_is_left(what).await;
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
                servers.take_away().await;
            }
            servers.nothing_is_left(what).await;
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
            servers.nothing_is_left(what).await;
        },
    )
    .await;
    let failed = servers.own::<Absent>().check().await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::PathAbsent);
    servers.nothing_is_left("the check failed").await;

    // What is not the check's own stays.
    servers.bao.clear_audit();
    let vault = servers.vault();
    Config::loader().without_dotenv().vault(vault.clone()).check().await.unwrap();
    Config::loader().without_dotenv().vault(vault).check().await.unwrap();
    let token = servers.bao.token(&["app"], json!({})).await;
    servers.own_with_token::<Config>(&token).check().await.unwrap();
    servers.own_with_token::<Config>(&token).check().await.unwrap();
    servers.nothing_is_left_but(2, "shared and given").await;
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
    // Those of three loads that succeeded, and in a moment no others.
    until("the others' leases are over", async || servers.users().await.len() == 6).await;
    servers.has(&other).await;
    assert_eq!(servers.users().await.len(), 6);
    servers.take_away().await;
}

/// Drops loads at all times while a user is being made for them, which takes longer.
async fn dropped_at_any_time<F>(load: impl Fn() -> F)
where
    F: Future<Output = Result<Config, Error>> + Send + 'static,
{
    let mut loads = JoinSet::new();
    for after in (0..250).step_by(50) {
        loads.spawn(tokio::time::timeout(Duration::from_millis(after), load()));
    }
    while let Some(loaded) = loads.join_next().await {
        assert!(loaded.unwrap().is_err(), "it was dropped before");
    }
}

#[tokio::test]
async fn a_credential_that_is_issued_after_the_drop_is_ended() {
    let servers = Servers::with(json!({}), "1.5").await;
    for _ in 0..2 {
        dropped_at_any_time(|| servers.own::<Config>().load()).await;
        servers.nothing_is_left("over connections of their own").await;
    }

    // Of a task that is aborted.
    servers.bao.clear_audit();
    let mut tasks = JoinSet::new();
    tasks.spawn(servers.own::<Config>().watch());
    until("it is asked for", async || servers.asked("database/creds/slow") == 1).await;
    tasks.shutdown().await;
    servers.nothing_is_left("aborted").await;

    let vault = servers.vault();
    servers.bao.clear_audit();
    dropped_at_any_time(|| Config::loader().without_dotenv().vault(vault.clone()).load()).await;
    servers.each_is_ended_and_nothing_left_but(1, "over a shared connection").await;
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
        servers.nothing_is_left(&format!("{fault:?}")).await;
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

/// A secret that is not there: it is seen when the credentials are issued already.
#[derive(Debug, VaultConfig)]
struct Doomed {
    #[vault(database = "readonly")]
    database: DatabaseCredentials,
    #[vault(database = "slow")]
    slow: DatabaseCredentials,
    #[vault(kv = "nothing/here")]
    key: SecretString,
}

#[derive(Debug, VaultConfig)]
struct Absent {
    #[vault(kv = "nothing/here")]
    key: SecretString,
}

#[tokio::test]
async fn a_load_that_fails_leaves_nothing() {
    let servers = Servers::start().await;
    servers.own::<Absent>().load().await.unwrap_err();
    servers.own::<Absent>().watch().await.unwrap_err();
    servers.own::<Absent>().resolve().await.unwrap_err();
    servers.own::<Doomed>().load().await.unwrap_err();
    servers.own::<Doomed>().load_with_report().await.unwrap_err();
    servers.own::<Doomed>().watch().await.unwrap_err();
    servers.own::<Doomed>().resolve().await.unwrap_err();
    let loader = servers.own::<Doomed>();
    let blocking = std::thread::spawn(move || loader.load_blocking().map(drop));
    tokio::task::spawn_blocking(|| blocking.join()).await.unwrap().unwrap().unwrap_err();
    // It was waited for.
    assert_eq!(accessors(&servers.bao).await, servers.known);
    servers.nothing_is_left("over connections of their own").await;

    let vault = servers.vault();
    let other = Config::loader().without_dotenv().vault(vault.clone()).load().await.unwrap();
    let doomed = || Doomed::loader().without_dotenv().vault(vault.clone());
    doomed().load().await.unwrap_err();
    doomed().watch().await.unwrap_err();
    vault.resolve::<Doomed>().await.unwrap_err();
    until("their leases are over", async || servers.users().await.len() == 2).await;
    servers.has(&other).await;

    // A token that was given is not revoked, on a connection of the load's own neither.
    servers.take_away().await;
    let token = servers.bao.token(&["app"], json!({})).await;
    servers.own_with_token::<Doomed>(&token).load().await.unwrap_err();
    servers.own_with_token::<Doomed>(&token).load().await.unwrap_err();
    servers.nothing_is_left_but(1, "with a token that was given").await;
}

fn panics<T>(_: &T) -> Result<(), String> {
    panic!("a validator of the user's")
}

#[derive(Debug)]
struct Panics;

impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("a type of the user's")
    }
}

impl Secret for Panics {}

#[derive(Debug, VaultConfig)]
#[vault(validate = panics)]
struct PanickingStruct {
    #[vault(database = "readonly")]
    database: DatabaseCredentials,
}

#[derive(Debug, VaultConfig)]
struct PanickingField {
    #[vault(database = "readonly")]
    database: DatabaseCredentials,
    #[vault(kv = "app", validate = panics)]
    key: SecretString,
}

#[derive(Debug, VaultConfig)]
struct PanickingType {
    #[vault(read = "database/creds/readonly")]
    whole: Panics,
}

#[derive(Debug, VaultConfig)]
struct PanickingDefault {
    #[vault(database = "readonly")]
    database: DatabaseCredentials,
    #[vault(kv = "app", key = "nothing", default = panic!("a default of the user's"))]
    key: SecretString,
}

/// Whatever asks for it, the panic is the caller's, as it was, once nothing is left.
async fn panics_and_leaves_nothing<T>(servers: &Servers, says: &str)
where
    T: VaultConfig + Send + Sync + 'static,
{
    let vault = servers.vault();
    Config::loader().without_dotenv().vault(vault.clone()).check().await.unwrap();
    for is_shared in [false, true] {
        let loader = || match is_shared {
            true => T::loader().without_dotenv().vault(vault.clone()),
            false => servers.own(),
        };
        let [load, watch, resolve, blocking] = [loader(), loader(), loader(), loader()];
        let loads: [JoinHandle<()>; 4] = [
            tokio::spawn(async { drop(load.load().await) }),
            tokio::spawn(async { drop(watch.watch().await) }),
            tokio::spawn(async { drop(resolve.resolve().await) }),
            tokio::task::spawn_blocking(move || {
                let thread = std::thread::spawn(|| drop(blocking.load_blocking()));
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }),
        ];
        for load in loads {
            let panic = load.await.expect_err("it panics").into_panic();
            let panic = panic.downcast_ref::<&str>().unwrap();
            assert!(panic.contains(says), "{panic}");
        }
        servers.nothing_is_left_but(1, &format!("{says}, shared: {is_shared}")).await;
    }
    servers.take_away().await;
}

#[tokio::test]
async fn a_panic_in_what_is_the_users_leaves_nothing() {
    let servers = Servers::start().await;
    panics_and_leaves_nothing::<PanickingStruct>(&servers, "a validator of the user's").await;
    panics_and_leaves_nothing::<PanickingField>(&servers, "a validator of the user's").await;
    panics_and_leaves_nothing::<PanickingType>(&servers, "a type of the user's").await;
    panics_and_leaves_nothing::<PanickingDefault>(&servers, "a default of the user's").await;
    // A check runs no validator of what it does not have.
    let check = tokio::spawn(servers.own::<PanickingField>().check());
    assert!(check.await.unwrap_err().is_panic());
    servers.nothing_is_left("a check").await;
}

/// Whether the clock breaks when it is asked next.
static IS_ARMED: AtomicBool = AtomicBool::new(false);

fn arms(_: &DatabaseCredentials) -> Result<(), String> {
    IS_ARMED.store(true, Ordering::SeqCst);
    Ok(())
}

/// It breaks after the configuration is read, when what keeps it fresh begins.
#[derive(Debug, Default)]
struct BrokenClock(SystemClock);

impl Clock for BrokenClock {
    fn now(&self) -> Reading {
        assert!(!IS_ARMED.swap(false, Ordering::SeqCst), "a clock of the user's");
        self.0.now()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.0.sleep(duration)
    }
}

#[tokio::test]
async fn nothing_is_lost_between_a_load_and_what_keeps_it_fresh() {
    #[derive(Debug, VaultConfig)]
    struct Armed {
        #[vault(database = "readonly", validate = arms)]
        database: DatabaseCredentials,
    }
    let servers = Servers::start().await;
    let token = servers.bao.token(&["app", "default"], json!({})).await;
    let vault = Vault::builder().address(servers.bao.address()).clock(BrokenClock::default());
    let vault = vault.auth(Token::new(&*token)).build().unwrap();
    let watch = tokio::spawn(Armed::loader().without_dotenv().vault(vault).watch());
    assert!(watch.await.unwrap_err().is_panic());
    assert_eq!(servers.asked("database/creds/readonly"), 1);
    servers.each_is_ended_and_nothing_left_but(1, "the clock broke").await;
}

#[tokio::test]
async fn leases_of_tokens_that_are_never_revoked_are_ended_one_by_one() {
    let servers = Servers::with(json!({ "token_type": "batch" }), "1.5").await;
    servers.own::<Doomed>().load().await.unwrap_err();
    servers.each_is_ended_and_nothing_left_but(0, "it failed").await;
    dropped_at_any_time(|| servers.own::<Config>().load()).await;
    servers.each_is_ended_and_nothing_left_but(0, "dropped").await;

    // Nor are tokens that were given.
    let token = servers.bao.token(&["app"], json!({})).await;
    dropped_at_any_time(|| servers.own_with_token::<Config>(&token).load()).await;
    servers.each_is_ended_and_nothing_left_but(1, "dropped with a token that was given").await;
}

#[tokio::test]
async fn what_the_token_may_not_end_is_said() {
    let servers = Servers::with(json!({ "token_no_default_policy": true }), "0").await;
    let lines = logged(async { drop(servers.own::<Doomed>().load().await.unwrap_err()) }).await;
    let warned = |says: &str| {
        let is_it = |line: &&String| line.starts_with("WARN") && line.contains(says);
        lines.iter().filter(is_it).count()
    };
    assert_eq!(warned("the token of a load that is over lives until its end"), 1, "{lines:?}");
    assert_eq!(warned("a lease of database/creds/readonly is left to its end"), 1, "{lines:?}");
    assert_eq!(warned("a lease of database/creds/slow is left to its end"), 1, "{lines:?}");
    servers.take_away().await;

    // Either right is enough.
    let alone = |path: &str| format!("{POLICY} path \"{path}\" {{ capabilities = [\"update\"] }}");
    servers.bao.policy("app", &alone("auth/token/revoke-self")).await;
    servers.own::<Doomed>().load().await.unwrap_err();
    servers.nothing_is_left("it may revoke itself").await;
    servers.bao.policy("app", &alone("sys/leases/renew")).await;
    servers.own::<Doomed>().load().await.unwrap_err();
    servers.nothing_is_left_but(1, "it may renew leases").await;
}

/// The last use of a token is not spent on a lease: it would take along what others hold.
#[tokio::test]
async fn leases_of_a_token_that_is_used_up_are_ended_by_another() {
    let servers = Servers::with(json!({ "token_num_uses": 3 }), "0").await;
    servers.own::<Doomed>().load().await.unwrap_err();
    servers.nothing_is_left("over a connection of its own").await;
    let vault = servers.vault();
    Doomed::loader().without_dotenv().vault(vault).load().await.unwrap_err();
    until("the leases are over", async || servers.users().await.is_empty()).await;
}

/// No key of a credential has this name.
#[derive(Debug, VaultConfig)]
struct Unusable {
    #[vault(read = "database/creds/readonly", key = "nothing")]
    first: Option<SecretString>,
    #[vault(read = "database/creds/readonly", key = "nothing_either", default = "x")]
    second: SecretString,
    #[vault(database = "slow")]
    slow: DatabaseCredentials,
}

#[tokio::test]
async fn a_credential_that_no_field_can_hold_is_ended() {
    let servers = Servers::start().await;
    let vault = servers.vault();
    for is_shared in [true, false] {
        let loader = || match is_shared {
            true => Unusable::loader().without_dotenv().vault(vault.clone()),
            false => servers.own::<Unusable>(),
        };
        let loaded = loader().load().await.unwrap();
        assert!(loaded.first.is_none() && loaded.second.expose_secret() == "x");
        until("one is left", async || servers.users().await.len() == 1).await;
        assert!(servers.accepts(&loaded.slow).await);
        loader().resolve().await.unwrap();
        until("two are left", async || servers.users().await.len() == 2).await;
        let live = loader().watch().await.unwrap();
        until("three are left", async || servers.users().await.len() == 3).await;
        assert!(servers.accepts(&live.current().slow).await);
        let watched = live.status().sources;
        assert!(watched.len() == 1 && watched[0].fields == ["slow"], "{watched:#?}");
        live.shutdown().await.unwrap();
        servers.take_away().await;
    }
    let lines = logged(async { drop(servers.own::<Unusable>().load().await.unwrap()) }).await;
    assert!(!lines.iter().any(|line| line.contains("readonly")), "{lines:?}");
}

#[derive(Debug, VaultConfig)]
struct Two {
    #[vault(read = "early/creds/app", key = "password")]
    early: SecretString,
    #[vault(read = "late/creds/app", key = "password")]
    late: SecretString,
}

/// A server that gives the one credential, and of the other what the test says.
async fn scripted(late: Value, status: u16, renewable: bool) -> ScriptedServer {
    ScriptedServer::start(move |request| match request.path() {
        "/v1/late/creds/app" => ScriptedAnswer::json(status, &late),
        "/v1/sys/leases/renew" => {
            ScriptedAnswer::json(200, &json!({ "lease_id": "early", "lease_duration": 1 }))
        }
        "/v1/early/creds/app" => {
            let lease = json!({
                "lease_id": "early", "renewable": renewable, "lease_duration": 3600,
                "data": { "password": "p" },
            });
            ScriptedAnswer::json(200, &lease)
        }
        _ => ScriptedAnswer::status(503),
    })
    .await
}

/// The leases that were cut short.
fn ended(server: &ScriptedServer) -> Vec<Value> {
    let renewals = server.requests().into_iter();
    let renewals = renewals.filter(|request| request.path() == "/v1/sys/leases/renew");
    renewals.map(|request| request.json()).collect()
}

#[tokio::test]
async fn what_was_issued_before_the_server_went_away_is_ended() {
    let sealed = scripted(json!({ "errors": ["Vault is sealed"] }), 503, true).await;
    let loader = || {
        let variables = [("VAULT_ADDR", sealed.address()), ("VAULT_TOKEN", "t".to_owned())];
        Two::loader().without_dotenv().env_source(variables)
    };
    let early = json!({ "lease_id": "early", "increment": 1 });
    let error = loader().startup_deadline(Duration::from_millis(300)).load().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Sealed);
    assert_eq!(ended(&sealed), std::slice::from_ref(&early));

    let waiting = tokio::time::timeout(Duration::from_secs(3), loader().watch()).await;
    assert!(waiting.is_err(), "it waits for the server");
    until("it is ended", async || ended(&sealed).len() == 2).await;
    assert_eq!(ended(&sealed)[1], early);
}

#[tokio::test]
async fn a_lease_in_an_answer_that_is_of_no_use_is_ended() {
    let answer = json!({ "lease_id": "late", "renewable": true, "lease_duration": 60 });
    for data in [json!(null), json!("text"), json!({ "other": "p" })] {
        let mut answer = answer.clone();
        answer["data"] = data;
        let server = scripted(answer, 200, true).await;
        let variables = [("VAULT_ADDR", server.address()), ("VAULT_TOKEN", "t".to_owned())];
        Two::loader().without_dotenv().env_source(variables).load().await.unwrap_err();
        let mut ended: Vec<_> = ended(&server).iter().map(|it| it["lease_id"].clone()).collect();
        ended.sort_by_key(Value::to_string);
        assert_eq!(ended, [json!("early"), json!("late")]);
    }
}

#[tokio::test]
async fn a_lease_that_cannot_be_cut_short_is_said() {
    let server = scripted(json!({ "errors": [] }), 404, false).await;
    let variables = [("VAULT_ADDR", server.address()), ("VAULT_TOKEN", "t".to_owned())];
    let load = Two::loader().without_dotenv().env_source(variables).load();
    let lines = logged(async { drop(load.await.unwrap_err()) }).await;
    let warned: Vec<_> = lines.iter().filter(|line| line.starts_with("WARN")).collect();
    assert_eq!(warned.len(), 1, "{lines:?}");
    assert!(warned[0].contains("a lease of early/creds/app is left to its end"), "{warned:?}");
    assert_eq!(ended(&server), [Value::Null; 0]);
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
    servers.nothing_is_left("dropped outside").await;
}

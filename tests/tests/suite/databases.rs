//! Databases other than PostgreSQL, by the URL that their drivers take.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use insta::assert_snapshot;
use serde_json::json;
use sqlx::mysql::MySqlConnection;
use sqlx::{Connection, query_scalar};
use vault_config::secrecy::ExposeSecret;
use vault_config::{DatabaseCredentials, ErrorKind, Live, VaultConfig};
use vault_config_tests::{MariaDb, OpenBao, Redis, mariadb, redis};

use crate::support::{allowed_loader, problems};

#[derive(Debug, VaultConfig)]
struct Mysql {
    #[vault(database = "readonly", mount = "mariadb")]
    readonly: DatabaseCredentials,
    #[vault(database_static = "legacy", mount = "mariadb")]
    legacy: DatabaseCredentials,
}

#[derive(Debug, VaultConfig)]
struct Valkey {
    #[vault(database = "readonly", mount = "valkey")]
    readonly: DatabaseCredentials,
    #[vault(database_static = "legacy", mount = "valkey")]
    legacy: DatabaseCredentials,
}

#[derive(Debug, VaultConfig)]
struct OfRedis {
    #[vault(database = "readonly", mount = "redis")]
    readonly: DatabaseCredentials,
    #[vault(database_static = "legacy", mount = "redis")]
    legacy: DatabaseCredentials,
}

/// Passwords that are no URL unless they are encoded.
const ODD_PASSWORDS: &str = r#"
length = 30
rule "charset" {
  charset = "@/:?#&=+%[]"
  min-chars = 11
}
rule "charset" {
  charset = "abcdefghijklmnopqrstuvwxyz0123456789"
}
"#;

async fn odd_passwords(bao: &OpenBao, connection: &str) {
    bao.write("sys/policies/password/odd", json!({ "policy": ODD_PASSWORDS })).await;
    let answer = bao.read(connection).await;
    let mut config = answer["data"]["connection_details"].clone();
    config["plugin_name"] = answer["data"]["plugin_name"].clone();
    config["allowed_roles"] = answer["data"]["allowed_roles"].clone();
    config["password_policy"] = "odd".into();
    bao.write(connection, config).await;
}

/// Logs in to MariaDB and asks as whom.
async fn mysql_user(server: &MariaDb, user: &DatabaseCredentials) -> Result<String, String> {
    let template = format!(
        "mysql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/{}?ssl-mode=disabled",
        server.port(),
        mariadb::DATABASE
    );
    let url = user.connection_url(&template).unwrap();
    let answer = async {
        let mut session = MySqlConnection::connect(url.expose_secret()).await?;
        let name: String = query_scalar("select user()").fetch_one(&mut session).await?;
        session.close().await?;
        Ok::<_, sqlx::Error>(name.split('@').next().unwrap_or_default().to_owned())
    };
    answer.await.map_err(|error| error.to_string())
}

/// Logs in to Redis and asks as whom.
async fn redis_user(server: &Redis, user: &DatabaseCredentials) -> Result<String, String> {
    let template =
        format!("redis://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/", server.port());
    let url = user.connection_url(&template).unwrap();
    let answer = async {
        let mut session = redis::connect(url.expose_secret()).await?;
        redis::cmd("ACL").arg("WHOAMI").query_async(&mut session).await
    };
    answer.await.map_err(|error| error.to_string())
}

/// The users that MariaDB was made to make and still has.
async fn mysql_users(server: &MariaDb) -> Vec<String> {
    let (name, password) = mariadb::SUPERUSER;
    let administrator = DatabaseCredentials::new(name, password);
    let template = format!(
        "mysql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/mysql?ssl-mode=disabled",
        server.port()
    );
    let url = administrator.connection_url(&template).unwrap();
    let mut session = MySqlConnection::connect(url.expose_secret()).await.unwrap();
    let made = "select cast(user as char) from mysql.user where user like 'v-%'";
    query_scalar(made).fetch_all(&mut session).await.unwrap()
}

/// The users that Redis was made to make and still has.
async fn redis_users(server: &Redis) -> Vec<String> {
    let all = server.users().await;
    all.into_iter().filter(|name| name.starts_with("V_")).collect()
}

#[tokio::test]
async fn users_of_mariadb_log_in_by_their_url() {
    let (bao, server) = tokio::join!(OpenBao::dev(), MariaDb::start());
    bao.connect_mariadb(&server).await;
    odd_passwords(&bao, "mariadb/config/mariadb").await;
    bao.rotate_role("mariadb", "legacy").await;
    let config = allowed_loader::<Mysql>(&bao).await.load().await.unwrap();
    for user in [&config.readonly, &config.legacy] {
        assert!(user.password().expose_secret().contains(['@', '/', ':', '?', '#', '%']));
        assert_eq!(mysql_user(&server, user).await.unwrap(), user.username());
    }
    assert_eq!(mysql_users(&server).await, [config.readonly.username()]);
    let (name, old) = mariadb::LEGACY_USER;
    assert_eq!(config.legacy.username(), name);
    let refused = mysql_user(&server, &DatabaseCredentials::new(name, old)).await.unwrap_err();
    assert!(refused.contains("Access denied"), "{refused}");
}

#[tokio::test]
async fn users_of_valkey_log_in_by_their_url() {
    let (bao, server) = tokio::join!(OpenBao::dev(), Redis::start());
    bao.connect_redis("valkey", "valkey-database-plugin", &server).await;
    odd_passwords(&bao, "valkey/config/redis").await;
    bao.rotate_role("valkey", "legacy").await;
    let config = allowed_loader::<Valkey>(&bao).await.load().await.unwrap();
    redis_logs_in(&server, &config.readonly, &config.legacy).await;
}

#[tokio::test]
async fn users_of_redis_log_in_by_their_url() {
    let (bao, server) = tokio::join!(OpenBao::dev(), Redis::start());
    bao.connect_redis("redis", "redis-database-plugin", &server).await;
    odd_passwords(&bao, "redis/config/redis").await;
    bao.rotate_role("redis", "legacy").await;
    let config = allowed_loader::<OfRedis>(&bao).await.load().await.unwrap();
    redis_logs_in(&server, &config.readonly, &config.legacy).await;
}

async fn redis_logs_in(server: &Redis, dynamic: &DatabaseCredentials, fixed: &DatabaseCredentials) {
    for user in [dynamic, fixed] {
        assert!(user.password().expose_secret().contains(['@', '/', ':', '?', '#', '%']));
        assert_eq!(redis_user(server, user).await.unwrap(), user.username());
    }
    assert_eq!(redis_users(server).await, [dynamic.username()]);
    let (name, old) = redis::LEGACY_USER;
    assert_eq!(fixed.username(), name);
    let refused = redis_user(server, &DatabaseCredentials::new(name, old)).await.unwrap_err();
    assert!(refused.contains("authentication failed"), "{refused}");
}

#[derive(Debug, VaultConfig)]
struct Misspelt {
    #[vault(database = "readonyl", mount = "mariadb")]
    mysql: DatabaseCredentials,
    #[vault(database_static = "legaci", mount = "valkey")]
    valkey: DatabaseCredentials,
}

#[tokio::test]
async fn a_role_that_is_not_there_is_named_with_its_mount() {
    let (bao, mariadb, redis) = tokio::join!(OpenBao::dev(), MariaDb::start(), Redis::start());
    bao.connect_mariadb(&mariadb).await;
    bao.connect_redis("valkey", "valkey-database-plugin", &redis).await;
    let error = allowed_loader::<Misspelt>(&bao).await.load().await.unwrap_err();
    assert_snapshot!(problems(&error, ErrorKind::RoleAbsent), @"
    mysql: DatabaseCredentials
    vault mariadb/creds/readonyl: unknown role: readonyl
    help: create the role, or correct its name: vault list mariadb/roles

    valkey: DatabaseCredentials
    vault valkey/static-creds/legaci: unknown role: legaci
    help: create the role, or correct its name: vault list valkey/static-roles
    ");
    assert!(mysql_users(&mariadb).await.is_empty());
}

#[derive(Debug, VaultConfig)]
struct Short {
    #[vault(database = "app", mount = "mariadb")]
    mysql: DatabaseCredentials,
    #[vault(database = "app", mount = "valkey")]
    valkey: DatabaseCredentials,
}

/// What keeps a worker going, and what it has done.
#[derive(Default)]
struct Work {
    stop: AtomicBool,
    queries: AtomicU64,
}

/// Asks again and again as the newest user, and returns all it was answered as.
async fn ask_without_pause(
    live: Live<Short>,
    work: Arc<Work>,
    ask: impl AsyncFn(&Short) -> Result<String, String>,
) -> BTreeSet<String> {
    let began = Instant::now();
    let mut users = BTreeSet::new();
    while !work.stop.load(Ordering::SeqCst) {
        let config = live.current();
        let user = ask(&config).await;
        let after = began.elapsed();
        users.insert(
            user.unwrap_or_else(|why| panic!("{why} after {after:?}: {:#?}", live.status())),
        );
        work.queries.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    users
}

/// Two rotations of each, with two workers on each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_query_fails_while_users_of_mariadb_and_valkey_are_rotated() {
    let (bao, mariadb, redis) = tokio::join!(OpenBao::dev(), MariaDb::start(), Redis::start());
    bao.connect_mariadb(&mariadb).await;
    bao.connect_redis("valkey", "valkey-database-plugin", &redis).await;
    bao.mariadb_role("app", "6s", "12s").await;
    bao.redis_role("valkey", "app", "6s", "12s").await;
    let live = allowed_loader::<Short>(&bao).await.watch().await.unwrap();
    let work = Arc::new(Work::default());

    let asking = async {
        let mysql = || {
            ask_without_pause(live.clone(), Arc::clone(&work), async |config: &Short| {
                mysql_user(&mariadb, &config.mysql).await
            })
        };
        let valkey = || {
            ask_without_pause(live.clone(), Arc::clone(&work), async |config: &Short| {
                redis_user(&redis, &config.valkey).await
            })
        };
        tokio::join!(mysql(), mysql(), valkey(), valkey())
    };
    let stopping = async {
        let began = Instant::now();
        // Until two have been replaced on each: the users then are the third at least.
        while live.status().counters.rotations < 4 || began.elapsed() < Duration::from_secs(25) {
            assert!(began.elapsed() < Duration::from_secs(90), "{:#?}", live.status());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        work.stop.store(true, Ordering::SeqCst);
    };
    let (users, ()) = tokio::join!(asking, stopping);
    let counters = live.status().counters;
    eprintln!("{} queries; {counters:#?}", work.queries.load(Ordering::SeqCst));
    for users in [users.0, users.1, users.2, users.3] {
        assert!(users.len() >= 3, "{users:?}");
    }
    assert!(counters.renewals > 0, "{counters:?}");
    assert_eq!(counters.failures, 0, "{counters:?}");

    live.shutdown().await.unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let left = [mysql_users(&mariadb).await, redis_users(&redis).await].concat();
        if left.is_empty() {
            break;
        }
        assert!(Instant::now() < end, "left behind: {left:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

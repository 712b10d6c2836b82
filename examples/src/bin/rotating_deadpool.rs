//! A deadpool-postgres pool that opens every connection as the newest database user.
//!
//! First the program does the administrator's part: database users are valid for 5 s, at most 15 s with renewals.
//! Then it starts itself again as the service. It fails if a query fails, or if a database user is left at the end.
//!
//! ```sh
//! cargo run -p vault-config-examples --bin rotating_deadpool
//! ```

use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use std::{error::Error, pin::Pin, sync::Mutex};

use deadpool_postgres::tokio_postgres::{self, Client, Config, NoTls};
use deadpool_postgres::{Connect, Hook, HookError, Manager, ManagerConfig, Pool};
use tokio::task::JoinHandle;
use vault_config::{DatabaseCredentials, Live, VaultConfig, secrecy::ExposeSecret};

mod administrator;

#[derive(Debug, VaultConfig)]
#[vault(env_prefix = "APP")]
struct AppConfig {
    /// URL of the database, without a user: `postgres://host:port/name`.
    database_url: String,
    #[vault(database = "readonly")]
    database: DatabaseCredentials,
}

/// The maximum age of a connection: a replaced user stays valid for at least a third of the role's TTL, so for longer.
const CONNECTION: Duration = Duration::from_millis(1500);

type Connected = Result<(Client, JoinHandle<()>), tokio_postgres::Error>;

/// Opens every connection as the newest user.
struct AsNewestUser(Live<AppConfig>);

impl Connect for AsNewestUser {
    fn connect(&self, config: &Config) -> Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        let (current, mut config) = (self.0.current(), config.clone());
        config.user(current.database.username());
        config.password(current.database.password().expose_secret());
        Box::pin(async move {
            let (client, connection) = config.connect(NoTls).await?;
            Ok((client, tokio::spawn(async move { drop(connection.await) })))
        })
    }
}

fn connect(live: &Live<AppConfig>) -> Result<Pool, Box<dyn Error>> {
    let address = live.current().database_url.parse()?;
    let newest = AsNewestUser(live.clone());
    let manager = Manager::from_connect(address, newest, ManagerConfig::default());
    let is_young = Hook::sync_fn(|_, metrics| {
        (metrics.age() < CONNECTION).then_some(()).ok_or(HookError::message("it is too old"))
    });
    let pool = Pool::builder(manager).max_size(4).pre_recycle(is_young).build()?;
    let mut database = live.select(|config| &config.database);
    let weak = pool.weak(); // the pool holds a `Live`, so with a strong reference neither would be dropped
    tokio::spawn(async move {
        while let (Some(_), Some(pool)) = (database.changed().await, weak.upgrade()) {
            pool.retain(|_, _| false); // `is_young` closes a connection that is in use now
        }
    });
    Ok(pool)
}

async fn service() -> Result<(), Box<dyn Error>> {
    let live = AppConfig::loader().watch().await?;
    let pool = connect(&live)?;
    let seen = Mutex::default();
    let queries = tokio::try_join!(work(&pool, &seen), work(&pool, &seen))?;
    println!("{} queries, none failed; {:?}", queries.0 + queries.1, live.status().counters);
    pool.close();
    Ok(live.shutdown().await?)
}

async fn work(pool: &Pool, seen: &Mutex<BTreeSet<String>>) -> Result<u64, Box<dyn Error>> {
    let (began, mut queries) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(25) {
        let row = pool.get().await?.query_one("select current_user::text", &[]).await?;
        let user: String = row.get(0);
        queries += 1;
        if seen.lock().is_ok_and(|mut seen| seen.insert(user.clone())) {
            println!("{:4.1} s  {user}", began.elapsed().as_secs_f32());
        }
    }
    Ok(queries)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("service") {
        return service().await;
    }
    let administrator = administrator::prepare(&AppConfig::schema().policy()).await;
    let ended = administrator.service()?.status().await?;
    administrator.check(ended).await
}

//! A sqlx pool that serves without a failed query while its database user is replaced.
//!
//! First the program does the administrator's part: database users are valid for 5 s, at most 15 s with renewals.
//! Then it starts itself again as the service. It fails if a query fails, or if a database user is left at the end.
//!
//! ```sh
//! cargo run -p vault-config-examples --bin rotating_sqlx
//! ```

use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use std::{error::Error, sync::Mutex};

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
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

/// The maximum age of a connection. A replaced user stays valid for at least a third of the role's TTL, and sqlx
/// closes an idle connection at twice this age at the latest.
const CONNECTION: Duration = Duration::from_millis(750);

/// A pool that opens every connection as the newest user.
async fn connect(live: &Live<AppConfig>) -> Result<PgPool, sqlx::Error> {
    let address: PgConnectOptions = live.current().database_url.parse()?;
    let logged_in_as = move |user: &DatabaseCredentials| {
        address.clone().username(user.username()).password(user.password().expose_secret())
    };
    let mut database = live.select(|config| &config.database);
    let pool = PgPoolOptions::new().max_connections(4).max_lifetime(CONNECTION);
    let pool = pool.connect_with(logged_in_as(&database.seen())).await?;
    let updated = pool.clone();
    tokio::spawn(async move {
        while let Some(user) = database.changed().await {
            updated.set_connect_options(logged_in_as(&user));
        }
    });
    Ok(pool)
}

async fn service() -> Result<(), Box<dyn Error>> {
    let live = AppConfig::loader().watch().await?;
    let pool = connect(&live).await?;
    let seen = Mutex::default();
    let queries = tokio::try_join!(work(&pool, &seen), work(&pool, &seen))?;
    println!("{} queries, none failed; {:?}", queries.0 + queries.1, live.status().counters);
    pool.close().await;
    Ok(live.shutdown().await?)
}

async fn work(pool: &PgPool, seen: &Mutex<BTreeSet<String>>) -> Result<u64, sqlx::Error> {
    let (began, mut queries) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(25) {
        let query = sqlx::query_scalar("select current_user::text");
        let user: String = query.fetch_one(pool).await?;
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

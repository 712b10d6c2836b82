//! An axum service with a health endpoint, whose database user is replaced while it serves.
//!
//! First the program does the administrator's part: database users are valid for 5 s, at most 15 s with renewals.
//! Then it starts itself again as the service, sends it requests for 13 s, and stops it with SIGTERM.
//!
//! ```sh
//! cargo run -p vault-config-examples --bin axum_service
//! ```

use std::{error::Error, net::SocketAddr, time::Duration};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tokio::{net::TcpListener, process::Command, signal, time::sleep};
use vault_config::live::{Health, Status};
use vault_config::{DatabaseCredentials, Live, VaultConfig, secrecy::ExposeSecret};
use vault_config_tests::{client_builder, port};

mod administrator;

#[derive(Debug, VaultConfig)]
#[vault(env_prefix = "APP")]
struct AppConfig {
    /// Address to listen on.
    listen: SocketAddr,
    /// URL of the database, without a user: `postgres://host:port/name`.
    database_url: String,
    #[vault(database = "readonly")]
    database: DatabaseCredentials,
}

async fn service() -> Result<(), Box<dyn Error>> {
    let live = AppConfig::loader().watch().await?;
    let pool = connect(&live).await?;
    let router = Router::new()
        .route("/", get(user).with_state(pool.clone()))
        .route("/health", get(health).with_state(live.clone()));
    let listener = TcpListener::bind(live.current().listen).await?;
    let mut term = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    let stop = async move { tokio::select!(_ = term.recv() => {}, _ = signal::ctrl_c() => {}) };
    axum::serve(listener, router).with_graceful_shutdown(stop).await?; // it finishes open requests
    pool.close().await;
    Ok(live.shutdown().await?)
}

async fn user(State(pool): State<PgPool>) -> Result<String, StatusCode> {
    let user = sqlx::query_scalar("select current_user::text").fetch_one(&pool).await;
    user.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// For a readiness probe. A liveness probe would restart the service while Vault is away, and lose valid credentials.
async fn health(State(live): State<Live<AppConfig>>) -> (StatusCode, Json<Status>) {
    let status = live.status();
    let failing = status.health >= Health::Failing;
    let code = if failing { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, Json(status))
}

/// A pool that opens connections as the newest user; `rotating_sqlx` explains the maximum age of connections.
async fn connect(live: &Live<AppConfig>) -> Result<PgPool, sqlx::Error> {
    let address: PgConnectOptions = live.current().database_url.parse()?;
    let logged_in_as = move |user: &DatabaseCredentials| {
        address.clone().username(user.username()).password(user.password().expose_secret())
    };
    let mut database = live.select(|config| &config.database);
    let pool = PgPoolOptions::new().max_lifetime(Duration::from_millis(750));
    let pool = pool.connect_with(logged_in_as(&database.seen())).await?;
    let updated = pool.clone();
    tokio::spawn(async move {
        while let Some(user) = database.changed().await {
            updated.set_connect_options(logged_in_as(&user));
        }
    });
    Ok(pool)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("service") {
        return service().await;
    }
    let administrator = administrator::prepare(&AppConfig::schema().policy()).await;
    let address = format!("127.0.0.1:{}", port::free_pair());
    let mut service = administrator.service()?.env("APP_LISTEN", &address).spawn()?;
    let client = client_builder().no_proxy().build()?;
    let get = async |path| client.get(format!("http://{address}{path}")).send().await;
    while get("/").await.is_err() && service.try_wait()?.is_none() {
        sleep(Duration::from_millis(50)).await;
    }
    for second in 0..13 {
        println!("{second:2} s  {}", get("/").await?.error_for_status()?.text().await?);
        sleep(Duration::from_secs(1)).await;
    }
    let health = get("/health").await?.error_for_status()?;
    println!("{:#}", health.json::<serde_json::Value>().await?);
    let id = service.id().ok_or("the service has ended")?.to_string();
    Command::new("kill").args(["-TERM", &id]).status().await?;
    administrator.check(service.wait().await?).await
}

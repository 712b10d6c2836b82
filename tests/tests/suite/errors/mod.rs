//! The exact text of every error, and that no error shows a secret.

mod logins;
mod paths;
mod report;
mod responses;
mod secrecy;
mod servers;
mod settings;
mod values;

use serde_json::json;
use tempfile::TempDir;
use vault_config::secrecy::SecretString;
use vault_config::{Error, VaultConfig};
use vault_config_tests::{OpenBao, ScriptedAnswer, ScriptedServer};

use crate::support::{load_error, loader, token_loader};

#[derive(VaultConfig)]
#[vault(env_prefix = "APP")]
struct Config {
    #[vault(kv = "app")]
    password: SecretString,
}

async fn failure<T: VaultConfig>(variables: &[(&str, &str)]) -> Error {
    load_error(loader::<T>(variables)).await
}

async fn token_failure<T: VaultConfig>(address: &str, token: &str) -> Error {
    load_error(token_loader::<T>(address, token)).await
}

/// Of a login with the ids of an AppRole.
async fn login_failure(address: &str, role_id: &str, secret_id: &str) -> Error {
    failure::<Config>(&[
        ("VAULT_ADDR", address),
        ("VAULT_ROLE_ID", role_id),
        ("VAULT_SECRET_ID", secret_id),
    ])
    .await
}

/// Of a load from a `.env` file with this text, without a server.
async fn local_failure<T: VaultConfig>(dotenv: &str) -> Error {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join(".env");
    std::fs::write(&file, dotenv).unwrap();
    load_error(loader::<T>(&[]).dotenv(file)).await
}

async fn scripted(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> ScriptedServer {
    let answer = ScriptedAnswer::status(status).header("Content-Type", content_type).body(body);
    ScriptedServer::always(answer).await
}

async fn server() -> OpenBao {
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "app", json!({"password": "hunter2"})).await;
    bao
}

use std::time::{Duration, Instant};

use serde_json::json;
use vault_config::{Error, Loader, VaultConfig};
use vault_config_tests::{AppRoleIds, OpenBao};

/// A loader that reads these variables and no file, and does not wait for a server.
pub(crate) fn loader<T: VaultConfig>(variables: &[(&str, &str)]) -> Loader<T> {
    let variables = variables.iter().copied();
    T::loader().without_dotenv().startup_deadline(Duration::ZERO).env_source(variables)
}

pub(crate) fn token_loader<T: VaultConfig>(address: &str, token: &str) -> Loader<T> {
    loader(&[("VAULT_ADDR", address), ("VAULT_TOKEN", token)])
}

pub(crate) fn approle_loader<T: VaultConfig>(address: &str, ids: &AppRoleIds) -> Loader<T> {
    loader(&[
        ("VAULT_ADDR", address),
        ("VAULT_ROLE_ID", &ids.role_id),
        ("VAULT_SECRET_ID", &ids.secret_id),
    ])
}

/// Logs in as an AppRole with exactly the policy that the struct's schema asks for.
pub(crate) async fn allowed_loader<T: VaultConfig>(bao: &OpenBao) -> Loader<T> {
    bao.policy("app", &T::schema().policy()).await;
    approle_loader(bao.address(), &bao.approle("app", &["app"], json!({})).await)
}

pub(crate) async fn load_error<T: VaultConfig>(loader: Loader<T>) -> Error {
    loader.startup_deadline(Duration::ZERO).load().await.err().expect("the load fails")
}

/// Waits until the condition holds, and panics after a minute.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many requests the server has received for this path.
pub(crate) fn request_count(bao: &OpenBao, path: &str) -> usize {
    bao.audit_requests().iter().filter(|request| request.path == path).count()
}

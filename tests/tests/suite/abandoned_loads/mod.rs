//! What a load obtained and its caller never received: nothing of it is left behind.

mod dropped;
mod failed;
mod panics;
mod scripted;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use vault_config::auth::AppRole;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{DatabaseCredentials, Error, Loader, Vault, VaultConfig};
use vault_config_tests::{AppRoleIds, OpenBao, Postgres};

use crate::support::{approle_loader, token_loader, until};

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

/// The secret is absent, which is noticed only after the credentials are issued.
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

    /// Starts with these settings for the AppRole's tokens. Creating a user of `slow` takes `takes` seconds.
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

    /// Waits until no user of the database is left, and no more tokens than these.
    async fn assert_only_tokens_left(&self, tokens: usize, what: &str) {
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

    async fn assert_nothing_left(&self, what: &str) {
        self.assert_only_tokens_left(0, what).await;
    }

    /// The same where each lease has to be ended by itself: all that were issued are ended.
    async fn assert_each_lease_ended(&self, tokens: usize, what: &str) {
        until("every lease is ended", async || {
            self.asked("sys/leases/renew") == self.asked("database/creds/")
        })
        .await;
        self.assert_only_tokens_left(tokens, what).await;
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

    /// The caller of a load that succeeded keeps its credentials.
    async fn has(&self, config: &Config) {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(self.accepts(&config.database).await && self.accepts(&config.slow).await);
    }

    /// Revokes the tokens and leases of all loads so far.
    async fn revoke_all(&self) {
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

/// Drops loads at different moments while their database user is being created, which takes longer.
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

//! The administrator's part, usually done once with Vault's command line or with Terraform. Here it prepares a database
//! role whose users are replaced every few seconds.

use std::error::Error;
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;
use tokio::time::sleep;
use vault_config_tests::{AppRoleIds, OpenBao, Postgres, postgres};

pub struct Administrator {
    bao: OpenBao,
    postgres: Postgres,
    ids: AppRoleIds,
}

/// Creates a database role whose users are valid for 5 s, and for at most 15 s with renewals; and an AppRole with this
/// policy.
pub async fn prepare(policy: &str) -> Administrator {
    let (bao, postgres) = tokio::join!(OpenBao::dev(), Postgres::start());
    bao.connect_database(&postgres).await;
    bao.database_role("readonly", "5s", "15s").await;
    bao.policy("billing", policy).await;
    let ids = bao.approle("billing", &["billing"], json!({ "token_ttl": "1h" })).await;
    Administrator { bao, postgres, ids }
}

impl Administrator {
    /// Returns the command that runs this program as the service, with the environment that it needs.
    pub fn service(&self) -> Result<Command, Box<dyn Error>> {
        let mut service = Command::new(std::env::current_exe()?);
        service.arg("service").env_clear().kill_on_drop(true);
        service.env("VAULT_ADDR", self.bao.address());
        service.env("VAULT_ROLE_ID", &self.ids.role_id);
        service.env("VAULT_SECRET_ID", &self.ids.secret_id);
        let database = format!("postgres://{}/{}", self.postgres.address(), postgres::DATABASE);
        service.env("APP_DATABASE_URL", database);
        Ok(service)
    }

    /// Waits until the database users of an ended service are deleted: the server does that shortly after it has
    /// revoked the token.
    pub async fn check(&self, ended: ExitStatus) -> Result<(), Box<dyn Error>> {
        println!("the service has ended: {ended}");
        let users = "select usename from pg_user where usename like 'v-%'";
        let mut left = self.postgres.psql(users).await.len();
        for _ in 0..50 {
            if left == 0 {
                break;
            }
            sleep(Duration::from_millis(200)).await;
            left = self.postgres.psql(users).await.len();
        }
        println!("{left} database users are left");
        match ended.success() && left == 0 {
            true => Ok(()),
            false => Err("the service failed, or left a user behind".into()),
        }
    }
}

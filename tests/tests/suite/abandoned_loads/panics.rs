//! Panics in code of the user: validators, types, defaults and clocks.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::json;
use tokio::task::JoinHandle;
use vault_config::auth::Token;
use vault_config::live::{Clock, Reading, SystemClock};
use vault_config::secrecy::SecretString;
use vault_config::{DatabaseCredentials, Secret, Vault, VaultConfig};

use super::{Config, Servers};

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

/// Every kind of load passes the panic on to its caller, and leaves nothing behind.
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
        servers.assert_only_tokens_left(1, &format!("{says}, shared: {is_shared}")).await;
    }
    servers.revoke_all().await;
}

#[tokio::test]
async fn a_panic_in_user_code_leaves_nothing() {
    let servers = Servers::start().await;
    panics_and_leaves_nothing::<PanickingStruct>(&servers, "a validator of the user's").await;
    panics_and_leaves_nothing::<PanickingField>(&servers, "a validator of the user's").await;
    panics_and_leaves_nothing::<PanickingType>(&servers, "a type of the user's").await;
    panics_and_leaves_nothing::<PanickingDefault>(&servers, "a default of the user's").await;
    // A check runs no validator of a value that it does not read.
    let check = tokio::spawn(servers.own::<PanickingField>().check());
    assert!(check.await.unwrap_err().is_panic());
    servers.assert_nothing_left("a check").await;
}

/// Whether the clock panics at its next reading.
static IS_ARMED: AtomicBool = AtomicBool::new(false);

fn arms(_: &DatabaseCredentials) -> Result<(), String> {
    IS_ARMED.store(true, Ordering::SeqCst);
    Ok(())
}

/// It panics after the configuration is read, when the background refresh begins.
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
    servers.assert_each_lease_ended(1, "the clock broke").await;
}

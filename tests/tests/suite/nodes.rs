//! Several nodes of one cluster: which of them is used, and what is not sent twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{Error, ErrorKind, VaultConfig};
use vault_config_tests::{Fault, FaultProxy, OpenBao, ScriptedAnswer, ScriptedServer};

#[derive(Debug, VaultConfig)]
struct Config {
    #[vault(kv = "app")]
    key: SecretString,
}

async fn load(addresses: &[&str]) -> Result<Config, Error> {
    let addresses = addresses.join(",");
    let variables = [("VAULT_ADDR", addresses.as_str()), ("VAULT_TOKEN", "root")];
    let loader = Config::loader().without_dotenv().env_source(variables);
    loader.startup_deadline(Duration::ZERO).load().await
}

async fn bao() -> OpenBao {
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "app", json!({ "key": "k" })).await;
    bao
}

#[tokio::test]
async fn the_first_healthy_address_is_used() {
    let (good, sealed) = tokio::join!(bao(), OpenBao::sealed());
    let (dead, hanging) = tokio::join!(
        FaultProxy::in_front_of(good.address()),
        FaultProxy::in_front_of(good.address())
    );
    dead.set(Fault::Refuse).await;
    hanging.set(Fault::Stall).await;
    let (dead, hanging) = (dead.address(), hanging.address());
    let began = Instant::now();
    for addresses in [
        vec![good.address(), &dead],
        vec![&dead, good.address()],
        vec![sealed.address(), &dead, good.address()],
        vec![&hanging, good.address()],
    ] {
        let config = load(&addresses).await;
        let config = config.unwrap_or_else(|error| panic!("{addresses:?}: {error}"));
        assert_eq!(config.key.expose_secret(), "k");
    }
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
}

#[tokio::test]
async fn when_all_fail_the_error_names_one_of_them_and_what_it_said() {
    let (one, two) = (OpenBao::sealed().await, OpenBao::sealed().await);
    let error = load(&[one.address(), two.address()]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Sealed);
    let text = error.to_string();
    assert!(
        text.contains(&format!("VAULT_ADDR is {}, {}", one.address(), two.address())),
        "{text}"
    );
    let named = [one.address(), two.address()];
    assert!(
        named.iter().any(|node| text.contains(&format!("vault {node}: Vault is sealed"))),
        "{text}"
    );
}

#[tokio::test]
async fn the_node_that_was_good_last_stays_until_it_fails() {
    let bao = bao().await;
    let (one, two) = tokio::join!(
        FaultProxy::in_front_of(bao.address()),
        FaultProxy::in_front_of(bao.address())
    );
    let addresses = format!("{},{}", one.address(), two.address());
    let vault = vault_config::Vault::builder()
        .address(addresses)
        .auth(vault_config::auth::Token::new("root"))
        .build()
        .unwrap();
    let load = || Config::loader().without_dotenv().vault(vault.clone()).load();
    load().await.unwrap();
    assert_eq!(two.connections(), 0);
    one.set(Fault::Refuse).await;
    load().await.unwrap();
    assert!(two.connections() > 0);
    one.set(Fault::None).await;
    let before = one.connections();
    load().await.unwrap();
    assert_eq!(
        one.connections(),
        before,
        "the first node is used again only when the second fails"
    );
}

#[tokio::test]
async fn addresses_of_one_cluster_have_one_scheme() {
    for addresses in [
        ["https://a:8200", "http://b:8200"],
        ["http://a:8200", "unix:///run/bao.sock"],
        ["unix:///run/bao.sock", "http://b:8200"],
        ["http://a:8200", ""],
    ] {
        let error = load(&addresses).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Setting, "{error}");
        assert_eq!(error.problems()[0].source_name(), Some("env VAULT_ADDR"));
    }
}

/// A login that may have arrived is not sent to another node.
#[tokio::test]
async fn a_login_is_not_sent_to_two_nodes() {
    let logins = Arc::new(AtomicUsize::new(0));
    let node = || {
        let logins = Arc::clone(&logins);
        ScriptedServer::start(move |request| match request.path() {
            "/v1/sys/health" => ScriptedAnswer::json(200, &json!({})),
            _ => {
                logins.fetch_add(1, Ordering::SeqCst);
                ScriptedAnswer::json(502, &json!({}))
            }
        })
    };
    let (one, two) = (node().await, node().await);
    let addresses = format!("{},{}", one.address(), two.address());
    let variables = [
        ("VAULT_ADDR", addresses.as_str()),
        ("VAULT_ROLE_ID", "role"),
        ("VAULT_SECRET_ID", "secret"),
    ];
    let loader = Config::loader().without_dotenv().env_source(variables);
    loader.startup_deadline(Duration::ZERO).load().await.unwrap_err();
    assert_eq!(logins.load(Ordering::SeqCst), 1);
}

fn login() -> ScriptedAnswer {
    let auth = json!({ "auth": { "client_token": "s.t", "lease_duration": 60 } });
    ScriptedAnswer::json(200, &auth)
}

fn secret() -> ScriptedAnswer {
    let data = json!({ "data": { "key": "k" }, "metadata": { "version": 1 } });
    ScriptedAnswer::json(200, &json!({ "data": data }))
}

async fn log_in_and_load(server: &ScriptedServer) -> Result<Config, Error> {
    let login = [("VAULT_ROLE_ID", "role"), ("VAULT_SECRET_ID", "secret")];
    let variables = [("VAULT_ADDR", &*server.address()), login[0], login[1]];
    Config::loader().without_dotenv().env_source(variables).load().await
}

/// Vault Enterprise: a read asks for nothing older than what the login wrote.
#[tokio::test]
async fn what_was_written_is_asked_for_by_its_index() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::clone(&seen);
    let lagging = Arc::new(AtomicUsize::new(0));
    let server = ScriptedServer::start(move |request| match request.path() {
        "/v1/auth/approle/login" => {
            assert_eq!(request.header("x-vault-index"), None);
            login().header("X-Vault-Index", "djE6Y2x1c3Rlcg==")
        }
        _ => {
            let header = |name| request.header(name).map(str::to_owned);
            let both = (header("x-vault-index"), header("x-vault-inconsistent"));
            asked.lock().unwrap().push(both);
            match lagging.fetch_add(1, Ordering::SeqCst) {
                0 => ScriptedAnswer::json(
                    412,
                    &json!({ "errors": ["required index state not present"] }),
                ),
                _ => secret(),
            }
        }
    })
    .await;
    log_in_and_load(&server).await.unwrap();
    let index = (Some("djE6Y2x1c3Rlcg==".to_owned()), Some("forward-active-node".to_owned()));
    assert_eq!(*seen.lock().unwrap(), [index.clone(), index]);
}

/// A cluster that was restored or replaced does not know the index.
#[tokio::test]
async fn an_index_that_no_node_knows_is_discarded() {
    let server =
        ScriptedServer::start(|request| match (request.path(), request.header("x-vault-index")) {
            ("/v1/auth/approle/login", _) => login().header("X-Vault-Index", "garbage"),
            (_, Some(_)) => ScriptedAnswer::json(
                400,
                &json!({ "errors": ["failed to decode \"X-Vault-Index\""] }),
            ),
            _ => secret(),
        })
        .await;
    assert_eq!(log_in_and_load(&server).await.unwrap().key.expose_secret(), "k");
}

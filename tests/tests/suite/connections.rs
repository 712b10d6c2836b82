//! Connections that die or hang, and servers that ask to wait.

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use vault_config::auth::{AppRole, Token};
use vault_config::secrecy::SecretString;
use vault_config::{
    DatabaseCredentials, Error, ErrorKind, Loader, Vault, VaultBuilder, VaultConfig,
};
use vault_config_tests::{Fault, FaultProxy, OpenBao, Postgres, ScriptedAnswer, ScriptedServer};

use crate::support::until;

#[derive(Debug, VaultConfig)]
struct Config {
    #[vault(kv = "app")]
    key: SecretString,
}

#[derive(Debug, VaultConfig)]
struct Database {
    #[vault(database = "readonly")]
    database: DatabaseCredentials,
}

fn loader<T: VaultConfig>(vault: &Vault) -> Loader<T> {
    T::loader().without_dotenv().vault(vault.clone()).startup_deadline(Duration::ZERO)
}

async fn load(vault: &Vault) -> Result<(), Error> {
    loader::<Config>(vault).load().await.map(drop)
}

/// An OpenBao that speaks HTTP/2, behind a proxy.
async fn bao() -> (OpenBao, FaultProxy) {
    let bao = OpenBao::dev_tls().await;
    bao.kv_put("secret", "app", json!({ "key": "k" })).await;
    let proxy = FaultProxy::in_front_of(bao.address()).await;
    (bao, proxy)
}

fn behind(proxy: &FaultProxy, bao: &OpenBao) -> VaultBuilder {
    let vault = Vault::builder().address(proxy.address()).auth(Token::new(bao.root_token()));
    vault.ca_certificate_file(bao.ca_cert())
}

#[tokio::test]
async fn an_idle_connection_that_died_without_a_word_is_left() {
    let (bao, proxy) = bao().await;
    let vault = behind(&proxy, &bao).build().unwrap();
    load(&vault).await.unwrap();
    proxy.set(Fault::Forget).await;
    load(&vault).await.unwrap();
    assert_eq!(proxy.connections(), 2);
}

/// What can be sent once is not lost on it.
#[tokio::test]
async fn an_idle_connection_that_died_is_closed_before_a_request_comes() {
    let (bao, proxy) = bao().await;
    let vault = behind(&proxy, &bao).max_retries(0).build().unwrap();
    load(&vault).await.unwrap();
    proxy.set(Fault::Forget).await;
    until("the connection is closed", async || proxy.closed_by_clients() == 1).await;
    load(&vault).await.unwrap();
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test]
async fn a_request_over_a_dead_connection_says_so() {
    let (bao, proxy) = bao().await;
    let vault = behind(&proxy, &bao).max_retries(0).build().unwrap();
    load(&vault).await.unwrap();
    proxy.set(Fault::Stall).await;
    let error = load(&vault).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    assert!(error.to_string().contains("an HTTP/2 ping got no answer within 5s"), "{error}");
}

#[tokio::test]
async fn a_connection_that_dies_while_a_request_waits_is_left() {
    let (bao, proxy) = bao().await;
    let vault = behind(&proxy, &bao).build().unwrap();
    load(&vault).await.unwrap();
    proxy.set(Fault::Stall).await;
    let (loaded, ()) = tokio::join!(load(&vault), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        proxy.set(Fault::Forget).await;
    });
    loaded.unwrap();
    assert_eq!(proxy.connections(), 2);
}

/// Before a ping says so.
#[tokio::test]
async fn a_request_without_an_answer_in_time_leaves_its_connection() {
    let (bao, proxy) = bao().await;
    let vault = behind(&proxy, &bao).timeout(Duration::from_secs(3)).max_retries(0);
    let vault = vault.build().unwrap();
    load(&vault).await.unwrap();
    proxy.set(Fault::Forget).await;
    assert_eq!(load(&vault).await.unwrap_err().kind(), ErrorKind::Timeout);
    load(&vault).await.unwrap();
    load(&vault).await.unwrap();
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test]
async fn a_path_that_hangs_does_not_cost_the_others_their_connection() {
    let ((bao, proxy), postgres) = tokio::join!(bao(), Postgres::start());
    let database = FaultProxy::in_front_of(&postgres.address()).await;
    bao.connect_database_at(&database.address()).await;
    let vault = behind(&proxy, &bao).timeout(Duration::from_secs(3)).max_retries(0);
    let vault = vault.build().unwrap();
    load(&vault).await.unwrap();
    database.set(Fault::Stall).await;
    let hangs = AtomicBool::new(true);
    tokio::join!(
        async {
            let error = loader::<Database>(&vault).load().await.unwrap_err();
            hangs.store(false, Ordering::SeqCst);
            assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        },
        async {
            while hangs.load(Ordering::SeqCst) {
                load(&vault).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    );
    load(&vault).await.unwrap();
    assert_eq!(proxy.connections(), 1);
}

/// The file system of a certificate hangs: nothing is written into the pipe.
#[tokio::test]
async fn a_certificate_file_that_hangs_delays_no_request() {
    let (bao, proxy) = bao().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::copy(bao.ca_cert(), &path).unwrap();
    let vault = Vault::builder().address(proxy.address()).auth(Token::new(bao.root_token()));
    let vault = vault.ca_certificate_file(&path).max_retries(0).build().unwrap();
    load(&vault).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(1100)).await;
        load(&vault).await.unwrap();
    }
    assert_eq!(proxy.connections(), 1);
}

#[derive(Debug, VaultConfig)]
struct Watched {
    #[vault(kv = "one", refresh = "1s")]
    one: SecretString,
    #[vault(kv = "two", refresh = "1s")]
    two: SecretString,
    #[vault(database = "app")]
    database: DatabaseCredentials,
}

/// Two secrets, and nothing that is issued.
#[derive(Debug, VaultConfig)]
struct Secrets {
    #[vault(kv = "one", refresh = "1s")]
    one: SecretString,
    #[vault(kv = "two", refresh = "1s")]
    two: SecretString,
}

/// A server whose tokens and leases last `ttl` seconds. It answers the first read of each secret, and sends `later`
/// to every other.
async fn server(ttl: u64, renewable: bool, later: ScriptedAnswer) -> ScriptedServer {
    let read = Mutex::new(Vec::new());
    let token = json!({ "client_token": "s.t", "lease_duration": ttl, "renewable": renewable });
    let lease = json!({
        "lease_id": "database/creds/app/1", "lease_duration": 3, "renewable": true,
        "data": { "username": "u", "password": "p" },
    });
    ScriptedServer::start(move |request| {
        let path = request.path().to_owned();
        let answer = match &*path {
            "/v1/auth/token/lookup-self" => json!({ "data": { "ttl": 3600, "type": "service" } }),
            "/v1/auth/token/revoke-self" => return ScriptedAnswer::status(204),
            "/v1/auth/approle/login" | "/v1/auth/token/renew-self" => json!({ "auth": token }),
            "/v1/database/creds/app" | "/v1/sys/leases/renew" => lease.clone(),
            _ if read.lock().unwrap().contains(&path) || path.contains("/metadata/") => {
                return later.clone();
            }
            _ => {
                read.lock().unwrap().push(path.clone());
                let data = json!({ "one": "v", "two": "v" });
                json!({ "data": { "data": data, "metadata": { "version": 1 } } })
            }
        };
        ScriptedAnswer::json(200, &answer)
    })
    .await
}

fn count(server: &ScriptedServer, part: &str) -> usize {
    server.requests().iter().filter(|request| request.path().contains(part)).count()
}

fn two_connections(server: &ScriptedServer) -> VaultBuilder {
    let vault = Vault::builder().address(server.address());
    vault.max_connections(2).timeout(Duration::from_secs(120))
}

#[tokio::test]
async fn a_lease_is_renewed_while_requests_hang_on_every_connection() {
    let server = server(3600, true, ScriptedAnswer::never()).await;
    let vault = two_connections(&server).auth(Token::new("t")).build().unwrap();
    let live = loader::<Watched>(&vault).watch().await.unwrap();
    until("every connection hangs", async || count(&server, "/metadata/") == 2).await;
    let before = count(&server, "leases/renew");
    let renewed = async || count(&server, "leases/renew") >= before + 3;
    until("the lease is renewed", renewed).await;
    assert_eq!(count(&server, "database/creds"), 1);
    drop(live);
}

#[tokio::test]
async fn a_token_is_kept_alive_while_requests_hang_on_every_connection() {
    for (renewable, path) in [(true, "token/renew-self"), (false, "approle/login")] {
        let server = server(3, renewable, ScriptedAnswer::never()).await;
        let vault = two_connections(&server).auth(AppRole::new("role", "secret"));
        let live = loader::<Secrets>(&vault.build().unwrap()).watch().await.unwrap();
        until("every connection hangs", async || count(&server, "/metadata/") == 2).await;
        let before = count(&server, path);
        until(path, async || count(&server, path) >= before + 2).await;
        drop(live);
    }
}

#[tokio::test]
async fn a_shutdown_revokes_although_the_server_asked_to_wait() {
    let later = || {
        ScriptedAnswer::json(429, &json!({ "errors": ["slow down"] })).header("Retry-After", "600")
    };
    let of_role = server(3600, true, later()).await;
    let vault = Vault::builder().address(of_role.address()).auth(AppRole::new("role", "secret"));
    let live = loader::<Watched>(&vault.build().unwrap()).watch().await.unwrap();
    until("it asks to wait", async || count(&of_role, "/metadata/") > 0).await;
    live.shutdown().await.unwrap();
    assert_eq!(count(&of_role, "revoke-self"), 1);

    // What a token that is not its own has left is cut short.
    let given = server(3600, true, later()).await;
    let vault = Vault::builder().address(given.address()).auth(Token::new("t"));
    let live = loader::<Watched>(&vault.build().unwrap()).watch().await.unwrap();
    until("it asks to wait", async || count(&given, "/metadata/") > 0).await;
    live.shutdown().await.unwrap();
    let requests = given.requests();
    assert!(requests.iter().any(|request| request.json()["increment"] == 1));
}

#[derive(Debug, VaultConfig)]
#[vault(kv = "app")]
struct Five {
    #[vault(kv = "a", key = "key")]
    a: SecretString,
    #[vault(kv = "b", key = "key")]
    b: SecretString,
    #[vault(kv = "c", key = "key")]
    c: SecretString,
    #[vault(kv = "d", key = "key")]
    d: SecretString,
    #[vault(kv = "e", key = "key")]
    e: SecretString,
}

#[tokio::test]
async fn waiting_for_a_connection_is_under_the_limit_of_the_request() {
    let server = ScriptedServer::start(|_| ScriptedAnswer::never()).await;
    let vault = Vault::builder().address(server.address()).auth(Token::new("t"));
    let vault = vault.max_connections(1).max_retries(0).timeout(Duration::from_secs(1));
    let error = loader::<Five>(&vault.build().unwrap()).load().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let waited = |problem: &vault_config::Problem| {
        problem.message() == "no free connection within 1s"
            && problem.help().contains("max_connections")
    };
    assert!(error.problems().iter().any(waited), "{error}");
}

#[tokio::test]
async fn a_server_that_asks_to_wait_gets_no_request_before() {
    let server = ScriptedServer::start(|_| {
        ScriptedAnswer::json(429, &json!({ "errors": ["slow down"] })).header("Retry-After", "600")
    })
    .await;
    let builder = || Vault::builder().address(server.address()).auth(Token::new("t"));
    let vault = builder().build().unwrap();
    assert_eq!(load(&vault).await.unwrap_err().kind(), ErrorKind::RateLimited);
    let before = server.requests().len();
    for _ in 0..3 {
        let error = load(&vault).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RateLimited);
        assert!(error.to_string().contains("the server asked to wait until 20"), "{error}");
    }
    assert_eq!(server.requests().len(), before);
    // Another connection was not asked to.
    load(&builder().build().unwrap()).await.unwrap_err();
    assert_eq!(server.requests().len(), before + 1);
}

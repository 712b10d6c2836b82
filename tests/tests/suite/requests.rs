//! Which requests are sent, how often, and with what.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{DatabaseCredentials, Error, ErrorKind, Loader, Vault, VaultConfig};
use vault_config_tests::{
    AppRoleIds, Authority, Fault, FaultProxy, OpenBao, Postgres, ScriptedAnswer, ScriptedRequest,
    ScriptedServer,
};

use crate::support::{loader, token_loader};

#[derive(VaultConfig)]
#[vault(env_prefix = "APP")]
struct One {
    #[vault(kv = "one", key = "value")]
    secret: SecretString,
}

/// One field, read by its path just as it is.
#[derive(VaultConfig)]
struct Plain {
    #[vault(read = "aws/creds/deploy", key = "value")]
    secret: SecretString,
}

/// Thirty fields in five paths.
#[derive(VaultConfig)]
struct Thirty {
    #[vault(nested, kv = "p/a")]
    a: Six,
    #[vault(nested, kv = "p/b")]
    b: Six,
    #[vault(nested, kv = "p/c")]
    c: Six,
    #[vault(nested, kv = "p/d")]
    d: Six,
    #[vault(nested, kv = "p/e")]
    e: Six,
}

#[derive(VaultConfig)]
struct Six {
    #[vault(kv)]
    s1: SecretString,
    #[vault(kv)]
    s2: SecretString,
    #[vault(kv)]
    s3: SecretString,
    #[vault(kv)]
    s4: SecretString,
    #[vault(kv)]
    s5: SecretString,
    #[vault(kv)]
    s6: SecretString,
}

const SIX_PATHS: [&str; 5] = ["p/a", "p/b", "p/c", "p/d", "p/e"];

/// A struct with a field for each path.
macro_rules! paths {
    ($name:ident in $mount:literal: $($field:ident $path:literal)*) => {
        #[derive(VaultConfig)]
        #[vault(mount = $mount)]
        struct $name {
            $(#[vault(kv = $path, key = "value")] $field: SecretString,)*
        }
        impl $name {
            const PATHS: &[&str] = &[$($path),*];
        }
    };
}

paths!(Twenty in "secret": a "a" b "b" c "c" d "d" e "e" f "f" g "g" h "h" i "i" j "j" k "k" l "l" m "m"
    n "n" o "o" p "p" q "q" r "r" s "s" t "t");
paths!(Old in "kv1": a "a" b "b" c "c" d "d" e "e" f "f" g "g" h "h");
paths!(Denied in "other": a "a" b "b" c "c" d "d" e "e" f "f" g "g" h "h");

/// With a connection of several loads.
fn shared<T: VaultConfig>(vault: &Vault) -> Loader<T> {
    loader(&[]).vault(vault.clone())
}

fn login<'a>(address: &'a str, ids: &'a AppRoleIds) -> [(&'a str, &'a str); 3] {
    [("VAULT_ADDR", address), ("VAULT_ROLE_ID", &ids.role_id), ("VAULT_SECRET_ID", &ids.secret_id)]
}

async fn fill(bao: &OpenBao, paths: &[&str]) {
    for path in paths {
        bao.kv_put("secret", path, json!({"value": "v"})).await;
    }
}

/// An AppRole that may read everything in `secret/`, with these settings.
async fn app(bao: &OpenBao, settings: Value) -> AppRoleIds {
    bao.policy("app", r#"path "secret/*" { capabilities = ["read"] }"#).await;
    let ids = bao.approle("app", &["app"], settings).await;
    bao.clear_audit();
    ids
}

/// What was asked since the last look, sorted.
fn asked(bao: &OpenBao) -> Vec<String> {
    let requests = bao.audit_requests();
    bao.clear_audit();
    let mut asked: Vec<_> =
        requests.iter().map(|r| format!("{} {}", r.operation, r.path)).collect();
    asked.sort();
    asked
}

fn reads(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| format!("read secret/data/{path}")).collect()
}

const LOGIN: &str = "update auth/approle/login";

fn logins(asked: &[String]) -> usize {
    asked.iter().filter(|request| *request == LOGIN).count()
}

fn kind<T>(result: Result<T, Error>) -> ErrorKind {
    result.err().expect("the load fails").kind()
}

/// Answers everything with a secret, and logins with a token.
fn secret(request: &ScriptedRequest) -> ScriptedAnswer {
    let body = match request.path() {
        "/v1/auth/approle/login" => json!({"auth": {"client_token": "s.token"}}),
        "/v1/aws/creds/deploy" => json!({"data": {"value": "v"}}),
        _ => json!({"data": {"data": {"value": "v"}, "metadata": {"version": 1}}}),
    };
    ScriptedAnswer::json(200, &body)
}

#[tokio::test]
async fn one_login_and_one_request_a_path() {
    let bao = OpenBao::dev().await;
    for path in SIX_PATHS {
        let six = json!({"s1": "1", "s2": "2", "s3": "3", "s4": "4", "s5": "5", "s6": "6"});
        bao.kv_put("secret", path, six).await;
    }
    let ids = app(&bao, json!({})).await;
    loader::<Thirty>(&login(bao.address(), &ids)).load().await.unwrap();
    assert_eq!(asked(&bao), [reads(&SIX_PATHS), vec![LOGIN.to_owned()]].concat());

    // With a token there is nothing to log in for.
    token_loader::<Thirty>(bao.address(), bao.root_token()).load().await.unwrap();
    assert_eq!(asked(&bao), reads(&SIX_PATHS));
}

#[tokio::test]
async fn what_the_environment_overrides_is_not_asked_for() {
    #[derive(VaultConfig)]
    struct Both {
        #[vault(kv = "one", key = "value")]
        read: SecretString,
        #[vault(database = "readonly")]
        database: DatabaseCredentials,
    }
    let (bao, postgres) = tokio::join!(OpenBao::dev(), Postgres::start());
    bao.connect_database(&postgres).await;
    fill(&bao, &["one"]).await;
    let leases = async || {
        let path = "sys/leases/lookup/database/creds/readonly";
        let (_, answer) = bao.try_request("LIST", path, None, bao.root_token()).await;
        answer["data"]["keys"].as_array().map_or(0, Vec::len)
    };
    let variables = [("VAULT_ADDR", bao.address()), ("VAULT_TOKEN", bao.root_token())];
    let pair = [("DATABASE_USERNAME", "u"), ("DATABASE_PASSWORD", "p")];
    bao.clear_audit();

    loader::<Both>(&[&variables[..], &pair].concat()).load().await.unwrap();
    assert_eq!((asked(&bao), leases().await), (reads(&["one"]), 0));

    // A check asks whether it could, and makes nothing.
    loader::<Both>(&variables).check().await.unwrap();
    let mut checked = reads(&["one"]);
    checked.push("update sys/capabilities-self".into());
    assert_eq!((asked(&bao), leases().await), (checked, 0));

    loader::<Both>(&variables).load().await.unwrap();
    assert_eq!(leases().await, 1);
    bao.clear_audit();

    // With nothing left to ask, there is no login either: the ids are not even valid.
    let all = [("VAULT_ADDR", bao.address()), ("VAULT_ROLE_ID", "x"), ("READ", "r")];
    loader::<Both>(&[&all[..], &pair].concat()).load().await.unwrap();
    assert_eq!(asked(&bao), [""; 0]);
}

#[tokio::test]
async fn configurations_that_share_a_connection_share_its_login() {
    let bao = OpenBao::dev().await;
    fill(&bao, &["one"]).await;
    fill(&bao, Twenty::PATHS).await;
    let ids = app(&bao, json!({})).await;
    let vault = Vault::from_env_source(login(bao.address(), &ids)).unwrap();
    let (one, twenty) = tokio::join!(shared::<One>(&vault).load(), shared::<Twenty>(&vault).load());
    one.unwrap();
    twenty.unwrap();
    shared::<One>(&vault).load().await.unwrap();
    let asked = asked(&bao);
    assert_eq!((logins(&asked), asked.len()), (1, 1 + 1 + 20 + 1));
}

#[tokio::test]
async fn the_version_of_a_mount_is_asked_for_once() {
    let bao = OpenBao::dev().await;
    bao.mount_kv_v1("kv1").await;
    for path in Old::PATHS {
        bao.write(&format!("kv1/{path}"), json!({"value": "v"})).await;
    }
    let preflights =
        |asked: &[String]| asked.iter().filter(|r| r.contains("sys/internal/ui/mounts/")).count();
    bao.clear_audit();
    let vault =
        Vault::from_env_source([("VAULT_ADDR", bao.address()), ("VAULT_TOKEN", bao.root_token())]);
    let vault = vault.unwrap();
    shared::<Old>(&vault).load().await.unwrap();
    assert_eq!(preflights(&asked(&bao)), 1);
    // What was learned is kept.
    shared::<Old>(&vault).load().await.unwrap();
    let direct: Vec<_> = Old::PATHS.iter().map(|path| format!("read kv1/{path}")).collect();
    assert_eq!(asked(&bao), direct);

    // The same for a mount that the token may not read; its version may be learned later.
    bao.mount_kv_v1("other").await;
    bao.write("other/a", json!({"value": "v"})).await;
    bao.policy("app", r#"path "none" { capabilities = ["read"] }"#).await;
    let token = bao.token(&["app"], json!({})).await;
    let vault =
        Vault::from_env_source([("VAULT_ADDR", bao.address()), ("VAULT_TOKEN", &token)]).unwrap();
    bao.clear_audit();
    assert_eq!(kind(shared::<Denied>(&vault).load().await), ErrorKind::Denied);
    let denied = asked(&bao);
    let looks = denied.iter().filter(|request| request.contains("lookup-self")).count();
    assert_eq!((preflights(&denied), looks), (1, 1));
    bao.policy("app", r#"path "other/*" { capabilities = ["read"] }"#).await;
    assert_eq!(kind(shared::<Denied>(&vault).load().await), ErrorKind::PathAbsent);
    assert_eq!(preflights(&asked(&bao)), 1);
}

#[tokio::test]
async fn a_login_that_fails_is_sent_once_for_all_that_wait_for_it() {
    let bao = OpenBao::dev().await;
    let ids = app(&bao, json!({})).await;
    let wrong = AppRoleIds { secret_id: "wrong".into(), ..ids };
    let vault = Vault::from_env_source(login(bao.address(), &wrong)).unwrap();
    let (twenty, thirty) =
        tokio::join!(shared::<Twenty>(&vault).load(), shared::<Thirty>(&vault).load());
    assert_eq!((kind(twenty), kind(thirty)), (ErrorKind::LoginRefused, ErrorKind::LoginRefused));
    assert_eq!(asked(&bao), [LOGIN]);
    // A failure is not kept.
    assert_eq!(kind(shared::<Twenty>(&vault).load().await), ErrorKind::LoginRefused);
    assert_eq!(asked(&bao), [LOGIN]);
}

#[tokio::test]
async fn a_secret_id_of_one_use_is_never_sent_twice() {
    let bao = OpenBao::dev().await;
    fill(&bao, &["one"]).await;
    let ids = app(&bao, json!({"secret_id_num_uses": 1})).await;
    let proxy = FaultProxy::in_front_of(bao.address()).await;
    proxy.set(Fault::CutAfter(0)).await;
    let cut = loader::<One>(&login(&proxy.address(), &ids)).load().await;
    assert_eq!((kind(cut), asked(&bao)), (ErrorKind::Connection, vec![LOGIN.to_owned()]));

    // It never arrived: it may be sent again.
    proxy.set(Fault::Refuse).await;
    let secret_id = bao.new_secret_id("app", json!({"num_uses": 1})).await;
    let ids = AppRoleIds { secret_id, ..ids };
    let address = proxy.address();
    let many = [&login(&address, &ids)[..], &[("VAULT_MAX_RETRIES", "20")]].concat();
    let (loaded, ()) = tokio::join!(loader::<One>(&many).load(), async {
        tokio::task::yield_now().await;
        proxy.set(Fault::None).await;
    });
    loaded.unwrap();
    assert_eq!(asked(&bao), [reads(&["one"]), vec![LOGIN.to_owned()]].concat());
}

/// A server that answers like this the first `times` times, and then with a secret.
async fn fails_first(times: usize, answer: ScriptedAnswer) -> ScriptedServer {
    let count = AtomicUsize::new(0);
    ScriptedServer::start(move |request| {
        if request.path() != "/v1/aws/creds/deploy" || count.fetch_add(1, Ordering::SeqCst) >= times
        {
            return secret(&request);
        }
        answer.clone()
    })
    .await
}

/// How often a read was sent that is answered like this once, and whether it came to a good end.
async fn sent(answer: ScriptedAnswer) -> (usize, bool) {
    let server = fails_first(1, answer).await;
    let loaded = token_loader::<Plain>(&server.address(), "t").load().await;
    let requests = server.requests();
    let reads = requests.iter().filter(|request| request.path() == "/v1/aws/creds/deploy");
    (reads.count(), loaded.is_ok())
}

#[tokio::test]
async fn only_what_may_pass_is_tried_again() {
    let mut answers = JoinSet::new();
    let mut all = |expected, what: String, answer| {
        answers.spawn(async move { assert_eq!(sent(answer).await, expected, "{what}") });
    };
    let errors = json!({"errors": ["no"]});
    for status in [412, 429, 472, 473, 500, 502, 503, 504] {
        all((2, true), status.to_string(), ScriptedAnswer::json(status, &errors));
    }
    for status in [400, 403, 404, 405, 413, 501] {
        all((1, false), status.to_string(), ScriptedAnswer::json(status, &errors));
    }
    let later = |seconds| ScriptedAnswer::json(429, &errors).header("Retry-After", seconds);
    all((2, true), "at once".into(), later("0"));
    all((2, true), "a date is no number".into(), later("Wed, 21 Oct 2026 07:28:00 GMT"));
    all((1, false), "after the time-out".into(), later("3600"));
    all((2, true), "close".into(), ScriptedAnswer::close());
    all(
        (2, true),
        "torn".into(),
        ScriptedAnswer::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
    );
    while let Some(done) = answers.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn max_retries_is_the_limit() {
    let refused = ScriptedAnswer::json(429, &json!({"errors": ["slow down"]}));
    for (retries, expected) in [("0", 1), ("1", 2)] {
        let server = fails_first(9, refused.clone()).await;
        let variables = [
            ("VAULT_ADDR", &*server.address()),
            ("VAULT_TOKEN", "t"),
            ("VAULT_MAX_RETRIES", retries),
        ];
        assert_eq!(kind(loader::<Plain>(&variables).load().await), ErrorKind::RateLimited);
        assert_eq!(server.requests().len(), expected);
    }
}

#[tokio::test]
async fn an_untrusted_certificate_is_not_tried_again() {
    let (bao, stranger) = (OpenBao::dev_tls().await, Authority::new());
    let proxy = FaultProxy::in_front_of(bao.address()).await;
    let ca = stranger.ca_cert().to_str().unwrap();
    let variables = [("VAULT_ADDR", &*proxy.address()), ("VAULT_TOKEN", "t"), ("VAULT_CACERT", ca)];
    assert_eq!(kind(loader::<One>(&variables).load().await), ErrorKind::Untrusted);
    assert_eq!(proxy.connections(), 1);
}

async fn redirecting(to: String) -> ScriptedServer {
    ScriptedServer::start(move |request| {
        ScriptedAnswer::status(307).header("Location", &to.replace("PATH", request.path()))
    })
    .await
}

#[tokio::test]
async fn a_redirect_is_followed_once_with_everything() {
    let leader = ScriptedServer::start(|request| secret(&request)).await;
    let standby = redirecting(format!("{}PATH", leader.address())).await;
    let ids = AppRoleIds { role_id: "r".into(), secret_id: "s".into() };
    let address = standby.address();
    let variables = [&login(&address, &ids)[..], &[("VAULT_NAMESPACE", "team")]].concat();
    loader::<One>(&variables).load().await.unwrap();
    let (first, second) = (standby.requests(), leader.requests());
    assert_eq!((first.len(), second.len()), (2, 2));
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(
            (&first.method, &first.target, &first.body),
            (&second.method, &second.target, &second.body)
        );
        for header in ["x-vault-token", "x-vault-namespace", "x-vault-request"] {
            assert_eq!(first.header(header), second.header(header), "{header}");
        }
    }
    assert_eq!(second[0].json(), json!({"role_id": "r", "secret_id": "s"}));
    assert_eq!(second[1].header("x-vault-token"), Some("s.token"));

    let again = redirecting(format!("{}PATH", standby.address())).await;
    let variables =
        [("VAULT_ADDR", &*again.address()), ("VAULT_TOKEN", "t"), ("VAULT_MAX_RETRIES", "0")];
    assert_eq!(kind(loader::<One>(&variables).load().await), ErrorKind::Standby);
    assert_eq!((again.requests().len(), leader.requests().len()), (1, 2));
}

#[tokio::test]
async fn a_token_does_not_follow_a_redirect_elsewhere() {
    let leader = ScriptedServer::start(|request| secret(&request)).await;
    let port = leader.address().rsplit(':').next().unwrap().to_owned();
    for elsewhere in [
        "http://nowhere.invalid/v1/secret/data/one".to_owned(),
        // Would answer, if it were asked.
        format!("https://127.0.0.1:{port}/v1/secret/data/one"),
        "file:///v1/secret/data/one".to_owned(),
        "http://[".to_owned(),
    ] {
        let server = redirecting(elsewhere.clone()).await;
        let error = token_loader::<One>(&server.address(), "t").load().await;
        assert_eq!(kind(error), ErrorKind::NotVault, "{elsewhere}");
        assert_eq!((server.requests().len(), leader.connections()), (1, 0), "{elsewhere}");
    }

    // From https to the same host on http.
    let authority = Authority::new();
    let address = redirecting_tls(&authority, &format!("{}/v1/secret/data/one", leader.address()));
    let ca = authority.ca_cert().to_str().unwrap();
    let variables = [("VAULT_ADDR", &*address), ("VAULT_TOKEN", "t"), ("VAULT_CACERT", ca)];
    let error = loader::<One>(&variables).load().await.err().unwrap();
    assert!(error.to_string().contains("changes the scheme"), "{error}");
    assert_eq!(leader.connections(), 0);
}

/// Answers the first request over https with a redirect.
fn redirecting_tls(authority: &Authority, to: &str) -> String {
    let certificate = authority.server();
    let chain = vec![CertificateDer::from_pem_file(&certificate.cert).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&certificate.key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let answer = format!("HTTP/1.1 307 Scripted\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, socket);
        let _request = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        // Until the client leaves.
        while stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {}
    });
    address
}

#[tokio::test]
async fn every_request_says_who_asks_and_where() {
    let server = ScriptedServer::start(|request| secret(&request)).await;
    let ids = AppRoleIds { role_id: "r".into(), secret_id: "s".into() };
    let address = server.address();
    let variables = [&login(&address, &ids)[..], &[("VAULT_NAMESPACE", "/team/a/")]].concat();
    loader::<Twenty>(&variables).load().await.unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 21);
    for request in &requests {
        assert_eq!(request.header("x-vault-request"), Some("true"), "{}", request.target);
        assert_eq!(request.header("x-vault-namespace"), Some("team/a"), "{}", request.target);
        let token = (request.path() != "/v1/auth/approle/login").then_some("s.token");
        assert_eq!(request.header("x-vault-token"), token, "{}", request.target);
    }
    token_loader::<One>(&server.address(), "t").load().await.unwrap();
    assert_eq!(server.requests()[21].header("x-vault-namespace"), None);
}

#[tokio::test]
async fn one_connection_carries_everything_over_tls() {
    let bao = OpenBao::dev_tls().await;
    fill(&bao, Twenty::PATHS).await;
    let ids = app(&bao, json!({})).await;
    let ca = ("VAULT_CACERT", bao.ca_cert().to_str().unwrap());
    for (variables, requests) in
        [(&[("VAULT_TOKEN", bao.root_token())][..], 20), (&login("", &ids)[1..], 21)]
    {
        let proxy = FaultProxy::in_front_of(bao.address()).await;
        let address = proxy.address();
        let variables = [&[ca, ("VAULT_ADDR", &*address)], variables].concat();
        loader::<Twenty>(&variables).load().await.unwrap();
        assert_eq!(proxy.connections(), 1);
        let audit = bao.audit_requests();
        bao.clear_audit();
        let mut ports: Vec<_> = audit.iter().map(|request| request.remote_port).collect();
        ports.dedup();
        assert_eq!((audit.len(), ports.len()), (requests, 1));
    }
}

#[tokio::test]
async fn requests_do_not_wait_for_each_other() {
    let bao = OpenBao::dev().await;
    fill(&bao, Twenty::PATHS).await;
    fill(&bao, &["one"]).await;
    let proxy = FaultProxy::in_front_of(bao.address()).await;
    proxy.set(Fault::Delay(Duration::from_millis(50))).await;
    let variables = [("VAULT_ADDR", proxy.address()), ("VAULT_TOKEN", bao.root_token().to_owned())];
    let vault = Vault::from_env_source(variables).unwrap();

    let start = Instant::now();
    shared::<Twenty>(&vault).load().await.unwrap();
    let at_once = start.elapsed();
    let start = Instant::now();
    for _ in Twenty::PATHS {
        shared::<One>(&vault).load().await.unwrap();
    }
    let one_by_one = start.elapsed();
    assert!(at_once * 3 < one_by_one, "{at_once:?} for all at once, {one_by_one:?} one by one");
}

#[tokio::test]
async fn a_dead_token_is_replaced_once_for_all() {
    let bao = OpenBao::dev().await;
    fill(&bao, Twenty::PATHS).await;
    let ids = app(&bao, json!({})).await;
    let vault = Vault::from_env_source(login(bao.address(), &ids)).unwrap();
    shared::<Twenty>(&vault).load().await.unwrap();
    // That the token was seen alive once does not count later.
    assert_eq!(kind(shared::<Denied>(&vault).load().await), ErrorKind::Denied);
    bao.write("sys/leases/revoke-prefix/auth/approle/login", json!({"sync": true})).await;
    bao.clear_audit();
    let config = shared::<Twenty>(&vault).load().await.unwrap();
    assert_eq!(config.t.expose_secret(), "v");
    let asked = asked(&bao);
    let looks = asked.iter().filter(|request| request.contains("lookup-self")).count();
    assert_eq!((logins(&asked), looks, asked.len()), (1, 1, 1 + 1 + 2 * 20));
}

//! Each server works as the other tests take for granted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Certificate;
use serde_json::json;
use vault_config_tests::process::{Process, Program, Signal};
use vault_config_tests::sshd::key_pair;
use vault_config_tests::{
    Authority, Fault, FaultProxy, OpenBao, Postgres, RaftCluster, ScriptedAnswer, ScriptedServer,
    Sshd, client_builder, provision,
};

const APP_POLICY: &str = r#"
path "secret/data/app" { capabilities = ["read"] }
path "database/creds/*" { capabilities = ["read"] }
path "database/static-creds/*" { capabilities = ["read"] }
"#;

#[tokio::test]
async fn a_dev_server_is_set_up_in_a_few_calls() {
    let bao = OpenBao::dev().await;
    assert_eq!(bao.kv_put("secret", "app", json!({ "password": "s3cr3t" })).await, 1);
    bao.mount_kv_v1("kv1").await;
    bao.write("kv1/app", json!({ "a": "b" })).await;
    bao.policy("app", APP_POLICY).await;
    let ids = bao.approle("app", &["app"], json!({ "token_ttl": "1h" })).await;
    let token = bao.token(&["app"], json!({ "ttl": "1h" })).await;

    let (status, answer) = bao.try_request("GET", "secret/data/app", None, &token).await;
    assert_eq!((status, &answer["data"]["data"]["password"]), (200, &json!("s3cr3t")));
    let login = json!({ "role_id": ids.role_id, "secret_id": ids.secret_id });
    let (status, answer) = bao.try_request("POST", "auth/approle/login", Some(login), "").await;
    assert_eq!((status, &answer["auth"]["lease_duration"]), (200, &json!(3600)));
    assert_ne!(bao.new_secret_id("app", json!({ "num_uses": 1 })).await, ids.secret_id);
    assert!(bao.wrap(json!({ "a": "b" }), "60s").await.starts_with("s."));
    assert_eq!(bao.read("kv1/app").await["data"]["a"], "b");
    bao.delete("kv1/app").await;
    assert_eq!(bao.try_request("GET", "kv1/app", None, bao.root_token()).await.0, 404);
}

#[tokio::test]
async fn the_audit_log_has_requests_with_and_without_a_token() {
    let bao = OpenBao::dev().await;
    let ids = bao.approle("app", &[], json!({})).await;
    assert_eq!(bao.audit_requests(), []);

    let client = client_builder().build().unwrap();
    let url = |path: &str| format!("{}/v1/{path}", bao.address());
    let login = json!({ "role_id": ids.role_id, "secret_id": ids.secret_id });
    client.post(url("auth/approle/login")).json(&login).send().await.unwrap();
    client.get(url("secret/data/app")).send().await.unwrap();
    client.get(url("secret/data/app")).header("X-Vault-Token", "root").send().await.unwrap();

    let requests = bao.audit_requests();
    let seen: Vec<_> =
        requests.iter().map(|request| (&*request.operation, &*request.path)).collect();
    let read = ("read", "secret/data/app");
    assert_eq!(seen, [("update", "auth/approle/login"), read, read]);
    assert_eq!(requests[1].error.as_deref(), Some("permission denied"));
    assert_eq!((&requests[2].error, &*requests[2].display_name), (&None, "token"));
    bao.clear_audit();
    assert_eq!(bao.audit_requests(), []);
}

#[tokio::test]
async fn a_namespace_has_its_own_secrets() {
    let bao = OpenBao::dev().await;
    let team = bao.namespace("team").await;
    team.kv_put("secret", "app", json!({ "whose": "team" })).await;
    assert_eq!(team.read("secret/data/app").await["data"]["data"]["whose"], "team");
    assert_eq!(bao.try_request("GET", "secret/data/app", None, "root").await.0, 404);
    let inner = team.namespace("inner").await;
    inner.kv_put("secret", "app", json!({})).await;
    assert_eq!(bao.try_request("GET", "team/inner/secret/data/app", None, "root").await.0, 200);
}

#[tokio::test]
async fn a_server_is_sealed_frozen_stopped_and_back() {
    let bao = OpenBao::sealed().await;
    assert_eq!(bao.try_request("GET", "sys/health", None, "").await.0, 503);
    bao.unseal().await;
    bao.kv_put("secret", "app", json!({})).await;

    let bao = OpenBao::dev().await;
    bao.seal().await;
    assert_eq!(bao.try_request("GET", "secret/data/app", None, "root").await.0, 503);
    bao.unseal().await;
    bao.kv_put("secret", "app", json!({})).await;
    bao.freeze();
    // The signal takes a moment to arrive.
    let mut answered = 0;
    while tokio::time::timeout(Duration::from_millis(200), bao.read("secret/data/app"))
        .await
        .is_ok()
    {
        answered += 1;
        assert!(answered < 1000, "the server does not freeze");
    }
    bao.thaw();
    bao.read("secret/data/app").await;

    bao.stop();
    assert!(std::net::TcpStream::connect(("127.0.0.1", bao.port())).is_err());
    bao.start_again().await;
    bao.kv_put("secret", "app", json!({})).await;
}

#[tokio::test]
async fn an_uninitialised_server_is_initialised() {
    let mut bao = OpenBao::uninitialised().await;
    assert_eq!(bao.try_request("GET", "sys/health", None, "").await.0, 501);
    bao.initialise().await;
    bao.kv_put("secret", "app", json!({})).await;
}

#[tokio::test]
async fn a_durable_server_keeps_its_data() {
    let bao = OpenBao::durable().await;
    bao.kv_put("secret", "app", json!({ "a": "b" })).await;
    bao.stop();
    bao.start_again().await;
    assert_eq!(bao.read("secret/data/app").await["data"]["data"]["a"], "b");
    bao.kill();
    bao.start_again().await;
    assert_eq!(bao.read("secret/data/app").await["data"]["data"]["a"], "b");
}

#[tokio::test]
async fn every_node_of_a_cluster_serves() {
    let cluster = RaftCluster::start().await;
    assert_eq!(cluster.leader().await, Some(0));
    let leader = cluster.administrator().await;
    assert_eq!(leader.address(), cluster.address(0));
    let client = client_builder().build().unwrap();
    for (node, address) in cluster.addresses().into_iter().enumerate() {
        let administrator = cluster.administrator_at(node);
        assert_eq!(administrator.kv_put("secret", &format!("by-{node}"), json!({})).await, 1);
        let url = format!("{address}/v1/secret/data/none");
        let read = client.get(url).header("X-Vault-Token", administrator.root_token());
        assert_eq!(read.send().await.unwrap().status(), 404);
        assert_eq!(cluster.audit_requests(node)[0].path, "secret/data/none");
        leader.read(&format!("secret/data/by-{node}")).await;
    }
    cluster.clear_audit();
    assert!((0..3).all(|node| cluster.audit_requests(node).is_empty()));
}

#[tokio::test]
async fn a_cluster_outlives_its_leader() {
    let cluster = RaftCluster::start().await;
    cluster.kv_put("app", json!({ "a": "b" })).await;
    cluster.kill(0);
    let second = cluster.wait_for_leader().await;
    assert_ne!(second, 0);
    cluster.kv_put("app", json!({ "a": "c" })).await;

    cluster.start_again(0).await;
    assert_eq!(health(&cluster, 0).await, 429);
    let third = 3 - second;
    cluster.stop(third);
    // Only with the vote of the node that was started again.
    assert_eq!(cluster.wait_for_leader().await, second);
    cluster.kv_put("app", json!({ "a": "d" })).await;
    cluster.start_again(third).await;
    until_read(&cluster, "d").await;
}

#[tokio::test]
async fn a_leader_is_frozen_steps_down_and_is_sealed() {
    let cluster = RaftCluster::start().await;
    cluster.freeze(0);
    assert_ne!(cluster.wait_for_leader().await, 0);
    cluster.thaw(0);
    until_standby(&cluster, 0).await;

    let leader = cluster.wait_for_leader().await;
    cluster.step_down().await;
    assert_ne!(cluster.wait_for_leader().await, leader);

    let leader = cluster.wait_for_leader().await;
    cluster.seal(leader).await;
    assert_eq!(health(&cluster, leader).await, 503);
    let new = cluster.wait_for_leader().await;
    let standby = 3 - leader - new;
    cluster.unseal(leader).await;
    cluster.seal(standby).await;
    assert_eq!(health(&cluster, standby).await, 503);
    cluster.unseal(standby).await;
    cluster.kv_put("app", json!({ "a": "b" })).await;
    until_read(&cluster, "b").await;
}

async fn health(cluster: &RaftCluster, node: usize) -> u16 {
    cluster.administrator_at(node).try_request("GET", "sys/health", None, "").await.0
}

async fn until_standby(cluster: &RaftCluster, node: usize) {
    let end = Instant::now() + Duration::from_secs(60);
    while health(cluster, node).await != 429 {
        assert!(Instant::now() < end, "node {node} does not become a standby");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A standby may be a moment behind.
async fn until_read(cluster: &RaftCluster, value: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    for node in 0..3 {
        let bao = cluster.administrator_at(node);
        let read = || bao.try_request("GET", "secret/data/app", None, bao.root_token());
        while read().await.1["data"]["data"]["a"] != value {
            assert!(Instant::now() < end, "node {node} does not hear of {value}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn certificates_are_good_or_bad_as_asked() {
    let authority = Authority::new();
    let [good, expired, wrong_name, dev, mutual] = [
        OpenBao::with_tls(&authority.server()).await,
        OpenBao::with_tls(&authority.expired()).await,
        OpenBao::with_tls(&authority.wrong_name()).await,
        OpenBao::dev_tls().await,
        OpenBao::with_mutual_tls(&authority).await,
    ];
    good.kv_put("secret", "app", json!({})).await;
    assert!(trusting(&good).await.is_ok());
    assert!(trusting(&dev).await.is_ok());
    for (bao, why) in [(&expired, "Expired"), (&wrong_name, "NotValidForName")] {
        let error = format!("{:?}", trusting(bao).await.unwrap_err());
        assert!(error.contains(why), "{error}");
    }
    mutual.kv_put("secret", "app", json!({})).await;
    assert!(trusting(&mutual).await.is_err(), "no client certificate was shown");
    assert!(
        client_builder().build().unwrap().get(good.address()).send().await.is_err(),
        "no client trusts the authority"
    );
}

async fn trusting(bao: &OpenBao) -> reqwest::Result<reqwest::Response> {
    let ca = Certificate::from_pem(&std::fs::read(bao.ca_cert()).unwrap()).unwrap();
    let client = client_builder().tls_certs_only([ca]).build().unwrap();
    client.get(format!("{}/v1/sys/health", bao.address())).send().await
}

#[tokio::test]
async fn a_unix_socket_is_served_too() {
    let bao = OpenBao::dev().await;
    let client = client_builder().unix_socket(bao.unix_socket()).build().unwrap();
    assert_eq!(client.get("http://bao/v1/sys/health").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn database_users_log_in_until_revoked() {
    let (bao, postgres) = tokio::join!(OpenBao::dev(), Postgres::start());
    bao.connect_database(&postgres).await;
    let creds = bao.read("database/creds/readonly").await;
    assert_eq!(creds["lease_duration"], 3600);
    let [user, password] =
        ["username", "password"].map(|name| creds["data"][name].as_str().unwrap());
    postgres.connect(user, password).await.unwrap();
    let revoked = json!({ "lease_id": creds["lease_id"], "sync": true });
    bao.write("sys/leases/revoke", revoked).await;
    assert!(postgres.connect(user, password).await.is_err());

    let legacy = bao.read("database/static-creds/legacy").await;
    postgres.connect("legacy", legacy["data"]["password"].as_str().unwrap()).await.unwrap();
    assert!(postgres.connect("legacy", "legacypw").await.is_err());
    bao.database_role("short", "3s", "10s").await;
    assert_eq!(bao.read("database/creds/short").await["lease_duration"], 3);
}

#[tokio::test]
async fn a_database_keeps_its_data_when_stopped() {
    let postgres = Postgres::start().await;
    postgres.psql("create table t (a int); insert into t values (7)").await;
    postgres.stop();
    assert!(postgres.connect("postgres", postgres.superuser_password()).await.is_err());
    postgres.start_again().await;
    assert_eq!(postgres.psql("select a, null from t").await, [["7", ""]]);
}

#[tokio::test]
async fn a_certificate_opens_a_session_until_it_expires() {
    let bao = OpenBao::dev().await;
    bao.mount("ssh", "ssh", json!({})).await;
    let generate = json!({ "generate_signing_key": true, "key_type": "ed25519" });
    let authority = bao.write("ssh/config/ca", generate).await;
    let authority = authority["data"]["public_key"].as_str().unwrap();
    let role = json!({
        "key_type": "ca",
        "allow_user_certificates": true,
        "allowed_users": "app,other",
        "ttl": "1h",
    });
    bao.write("ssh/roles/app", role).await;
    let (sshd, (private, public)) = tokio::join!(Sshd::start(authority, &["app"]), key_pair());
    let sign = async |principal: &str, ttl: &str| {
        let body = json!({ "public_key": public, "valid_principals": principal, "ttl": ttl });
        let answer = bao.write("ssh/sign/app", body).await;
        answer["data"]["signed_key"].as_str().unwrap().to_owned()
    };

    sshd.login(&private, &sign("app", "1h").await).await.unwrap();
    let refused = sshd.login(&private, &sign("other", "1h").await).await.unwrap_err();
    assert!(refused.contains("Permission denied"), "{refused}");
    assert!(sshd.log().contains("does not contain an authorized principal"), "{}", sshd.log());
    let (stranger, _) = key_pair().await;
    sshd.login(&stranger, &sign("app", "1h").await).await.unwrap_err();

    let short = sign("app", "2s").await;
    let end = Instant::now() + Duration::from_secs(30);
    let refused = loop {
        if let Err(refused) = sshd.login(&private, &short).await {
            break refused;
        }
        assert!(Instant::now() < end, "it does not expire");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert!(refused.contains("Permission denied"), "{refused}");
    assert!(sshd.log().contains("Certificate invalid: expired"), "{}", sshd.log());
}

#[tokio::test]
async fn the_postgres_wheel_works() {
    let postgres = Postgres::start_from(&provision::postgres_wheel()).await;
    let bao = OpenBao::dev().await;
    bao.connect_database(&postgres).await;
    bao.read("database/creds/readonly").await;
    println!("{:?}", postgres.psql("select version()").await);
}

#[tokio::test]
async fn a_server_ends_with_its_owner_dropped() {
    let (bao, postgres, cluster) =
        tokio::join!(OpenBao::dev(), Postgres::start(), RaftCluster::start());
    let mut ids = vec![bao.process_id().unwrap(), postgres.process_id().unwrap()];
    ids.extend((0..3).map(|node| cluster.process_id(node).unwrap()));
    let directory = bao.unix_socket().parent().unwrap().to_owned();
    assert!(ids.iter().copied().all(is_alive) && directory.exists());
    drop((bao, postgres, cluster));
    assert!(!ids.into_iter().any(is_alive) && !directory.exists());
}

#[test]
fn a_stubborn_process_is_killed_in_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let script = "trap '' TERM; while :; do sleep 0.1; done";
    let mut process = Process::start(&Program {
        path: "sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: Vec::new(),
        directory: directory.path().to_owned(),
        user: None,
        last: Signal::Kill,
    });
    std::thread::sleep(Duration::from_millis(200));
    process.stop(Signal::Terminate);
    assert!(!process.is_running() && !is_alive(process.id()));
}

const OWNER: &str = "SERVERS_TEST_OWNER";

/// This test starts itself as another process, the servers' owner, and kills that.
#[tokio::test]
async fn a_server_ends_with_its_owner_killed() {
    if std::env::var_os(OWNER).is_some() {
        return own_servers_for_ever().await;
    }
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_server_ends_with_its_owner_killed", "--nocapture"])
        .env(OWNER, "yes")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let owned = lines.map(Result::unwrap).find_map(|line| {
        let (_, owned) = line.split_once("owned: ")?;
        Some(owned.split(' ').map(str::to_owned).collect::<Vec<_>>())
    });
    let [bao, postgres, directory] = owned.unwrap().try_into().unwrap();
    let ids = [bao, postgres].map(|id| id.parse().unwrap());
    let directory = PathBuf::from(directory);
    assert!(ids.into_iter().all(is_alive) && directory.exists());

    owner.kill().unwrap();
    owner.wait().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while ids.into_iter().any(is_alive) || directory.exists() {
        assert!(Instant::now() < end, "servers {ids:?} outlive their owner");
        std::thread::sleep(Duration::from_millis(20));
    }
}

async fn own_servers_for_ever() {
    let (bao, postgres) = tokio::join!(OpenBao::dev(), Postgres::start());
    let ids = [bao.process_id().unwrap(), postgres.process_id().unwrap()];
    let directory = bao.unix_socket().parent().map(Path::to_owned).unwrap();
    println!("owned: {} {} {}", ids[0], ids[1], directory.display());
    std::future::pending().await
}

fn is_alive(id: u32) -> bool {
    let kill = format!("kill -0 {id}");
    Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status().unwrap().success()
}

#[tokio::test]
async fn a_proxy_breaks_the_connection_as_configured() {
    let server = ScriptedServer::start(|_| ScriptedAnswer::json(200, &json!({ "a": "b" }))).await;
    let proxy = FaultProxy::in_front_of(&server.address()).await;
    let client = client_builder().timeout(Duration::from_secs(2)).build().unwrap();
    let get = || async { client.get(proxy.address()).send().await?.text().await };

    assert_eq!(get().await.unwrap(), r#"{"a":"b"}"#);
    assert_eq!(get().await.unwrap(), r#"{"a":"b"}"#);
    assert_eq!(proxy.connections(), 1);
    proxy.set(Fault::ByteByByte).await;
    assert_eq!(get().await.unwrap(), r#"{"a":"b"}"#);
    proxy.set(Fault::Delay(Duration::from_millis(60))).await;
    let start = Instant::now();
    get().await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(120), "{:?}", start.elapsed());
    proxy.set(Fault::Stall).await;
    assert!(get().await.unwrap_err().is_timeout());
    for fault in [Fault::CutAfter(30), Fault::CloseOnAccept, Fault::Garbage(b"#!?\r\n".to_vec())] {
        proxy.set(fault.clone()).await;
        let error = get().await.expect_err("the answer cannot arrive whole");
        assert!(!error.is_timeout(), "{fault:?}: {error:?}");
    }
    proxy.set(Fault::Refuse).await;
    assert!(get().await.unwrap_err().is_connect());
    proxy.set(Fault::None).await;
    assert_eq!(get().await.unwrap(), r#"{"a":"b"}"#);
    let (connections, closed) = (proxy.connections(), proxy.closed_by_clients());
    proxy.set(Fault::Forget).await;
    assert!(get().await.unwrap_err().is_timeout());
    assert_eq!(get().await.unwrap(), r#"{"a":"b"}"#);
    assert_eq!((proxy.connections(), proxy.closed_by_clients()), (connections + 1, closed + 1));
}

#[tokio::test]
async fn a_delay_does_not_add_up() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::in_front_of(&listener.local_addr().unwrap().to_string()).await;
    proxy.set(Fault::Delay(Duration::from_millis(500))).await;
    let mut client = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let start = Instant::now();
    for _ in 0..10 {
        client.write_all(b"chunk").await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.read_exact(&mut [0; 50]).await.unwrap();
    let taken = start.elapsed();
    assert!((500..2500).contains(&taken.as_millis()), "{taken:?}");
}

#[tokio::test]
async fn a_scripted_server_answers_as_configured() {
    let server = ScriptedServer::start(|request| match request.path() {
        "/echo" => ScriptedAnswer::json(418, &request.json()).header("Retry-After", "1"),
        "/slow" => ScriptedAnswer::status(204).after(Duration::from_millis(50)),
        "/raw" => ScriptedAnswer::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"),
        "/never" => ScriptedAnswer::never(),
        _ => ScriptedAnswer::close(),
    })
    .await;
    let client = client_builder().timeout(Duration::from_secs(2)).build().unwrap();
    let url = |path: &str| format!("{}{path}", server.address());

    let body = json!({ "a": [1, 2] });
    let answer = client.post(url("/echo?x=1")).json(&body).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["retry-after"].as_bytes()),
        (418, &b"1"[..])
    );
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap(), body);
    assert_eq!(client.get(url("/slow")).send().await.unwrap().status(), 204);
    assert_eq!(server.connections(), 1);
    assert!(client.get(url("/raw")).send().await.unwrap().text().await.is_err());
    assert!(client.get(url("/never")).send().await.unwrap_err().is_timeout());
    assert!(!client.get(url("/close")).send().await.unwrap_err().is_timeout());

    let first = &server.requests()[0];
    assert_eq!((&*first.method, &*first.target), ("POST", "/echo?x=1"));
    assert_eq!(first.header("Content-Type"), Some("application/json"));
}

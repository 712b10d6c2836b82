//! A token's life, and what depends on it.

use super::*;

fn token_health(status: &Status) -> Health {
    status.token.as_ref().expect("there is a token").state.health
}

#[tokio::test]
async fn credentials_outlive_every_token_that_they_were_made_under() {
    let servers = Servers::start("1h", "24h").await;
    let settings = json!({ "token_ttl": "5s", "token_max_ttl": "10s" });
    let live = loader(&servers.bao, settings).await.watch().await.unwrap();
    let failures = failures(&live);
    servers.always_accepts(&live, seconds(60)).await;
    let counters = live.status().counters;
    assert!((5..=15).contains(&counters.logins), "{counters:?}");
    assert!((5..=15).contains(&counters.rotations), "{counters:?}");
    assert_eq!(*failures.lock().unwrap(), Vec::<String>::new(), "{counters:?}");
    // The current token expires soon anyway.
    servers.bao.clear_audit();
    live.shutdown().await.unwrap();
    assert!(asked(&servers.bao, "auth/token/revoke-self") > 0);
    servers.no_user_is_left().await;
}

/// Without `default` a token may not renew itself: that is a reason to log in, and none to ask
/// again and again.
#[tokio::test]
async fn a_refused_renewal_is_a_login_and_not_a_loop() {
    let servers = Servers::start("1h", "24h").await;
    let settings = json!({ "token_ttl": "3s", "token_no_default_policy": true });
    let live = loader(&servers.bao, settings).await.watch().await.unwrap();
    servers.bao.clear_audit();
    servers.always_accepts(&live, seconds(8)).await;
    let (renewals, logins) =
        (asked(&servers.bao, "auth/token/renew-self"), asked(&servers.bao, "auth/approle/login"));
    assert!(logins >= 3, "{logins} logins");
    assert!(renewals <= logins + 1 && logins < 60, "{renewals} renewals, {logins} logins");
    until("healthy", async || live.status().health == Health::Healthy).await;
}

#[tokio::test]
async fn batch_periodic_and_explicitly_limited_tokens() {
    for (settings, logs_in) in [
        (json!({ "token_type": "batch", "token_ttl": "6s" }), true),
        (json!({ "token_period": "6s" }), false),
        (json!({ "token_ttl": "5s", "token_explicit_max_ttl": "7s" }), true),
    ] {
        let servers = Servers::start("1h", "24h").await;
        let live = loader(&servers.bao, settings.clone()).await.watch().await.unwrap();
        let failures = failures(&live);
        servers.always_accepts(&live, seconds(9)).await;
        until("healthy", async || live.status().health == Health::Healthy).await;
        let status = live.status();
        assert_eq!(status.counters.logins > 0, logs_in, "{settings}: {status:#?}");
        assert_eq!(*failures.lock().unwrap(), Vec::<String>::new(), "{settings}: {status:#?}");
    }
}

#[tokio::test]
async fn a_token_that_may_be_used_so_often_is_replaced_before_that() {
    let bao = bao().await;
    #[derive(Debug, VaultConfig)]
    struct Config {
        #[vault(kv = "app", refresh = "1s")]
        key: SecretString,
    }
    let loader = loader::<Config>(&bao, json!({ "token_num_uses": 3 })).await;
    let live = loader.watch().await.unwrap();
    until("replaced twice", async || live.status().counters.logins >= 2).await;
    bao.kv_put("secret", "app", json!({ "key": "k2" })).await;
    until("the change is seen", async || live.current().key.expose_secret() == "k2").await;
    let refused: Vec<_> = bao.audit_requests().into_iter().filter(|r| r.error.is_some()).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    live.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_root_token_is_neither_renewed_nor_revoked() {
    let servers = Servers::start("1h", "24h").await;
    let live = token_loader::<Config>(servers.bao.address(), "root").watch().await.unwrap();
    tokio::time::sleep(seconds(2)).await;
    assert_eq!(asked(&servers.bao, "auth/token/renew-self"), 0);
    let status = live.status();
    let token = status.token.as_ref().unwrap();
    assert_eq!((token.login, token.state.expires_at), (Login::Impossible, None));
    assert_eq!(servers.users().await, 1);
    live.shutdown().await.unwrap();
    assert_eq!(asked(&servers.bao, "auth/token/revoke-self"), 0);
    // What was made under it is cut short all the same.
    until("the database user is gone", async || servers.users().await == 0).await;
    servers.bao.read("auth/token/lookup-self").await;
}

#[tokio::test]
async fn a_fixed_token_is_renewed_as_long_as_possible_and_its_end_is_reported_in_advance() {
    let bao = bao().await;
    #[derive(Debug, VaultConfig)]
    struct Config {
        #[vault(kv = "app")]
        key: SecretString,
    }
    let settings = json!({ "ttl": "4s", "explicit_max_ttl": "9s" });
    let token = bao.token(&["app"], settings).await;
    let live = token_loader::<Config>(bao.address(), &token).watch().await.unwrap();
    let mut events = live.events();
    let began = Instant::now();
    let failing = next(&mut events, |event| match event {
        Event::Failing { source, problem, good_until } if source == "token" => {
            Some((problem.to_string(), *good_until))
        }
        _ => None,
    });
    let (problem, good_until) = failing.await;
    assert!(began.elapsed() > seconds(4), "it was renewed first");
    assert!(problem.contains("can be neither renewed any further nor replaced"), "{problem}");
    assert!(good_until.unwrap() > std::time::SystemTime::now(), "it is said before the end");
    let status = live.status();
    assert_ne!(token_health(&status), Health::Healthy);
    assert_eq!(status.token.unwrap().login, Login::Impossible);
    until("failing", async || live.status().health == Health::Failing).await;
    until("dead", async || live.refresh().await.is_err()).await;
    assert_eq!(live.refresh().await.unwrap_err().kind(), ErrorKind::TokenInvalid);
    live.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_spent_secret_id_is_reported_early_and_not_tried_again_and_again() {
    let bao = bao().await;
    #[derive(Debug, VaultConfig)]
    struct Config {
        #[vault(kv = "app", refresh = "1s")]
        key: SecretString,
    }
    let settings = json!({ "secret_id_num_uses": 1, "token_ttl": "8s", "token_max_ttl": "8s" });
    let ids = bao.approle("app", &["app"], settings).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret_id");
    std::fs::write(&file, &ids.secret_id).unwrap();
    let variables = [
        ("VAULT_ADDR", bao.address()),
        ("VAULT_ROLE_ID", &ids.role_id),
        ("VAULT_SECRET_ID_FILE", file.to_str().unwrap()),
    ];
    let live = Config::loader().without_dotenv().env_source(variables).watch().await.unwrap();
    until("refused", async || live.status().token.unwrap().login == Login::Refused).await;
    let status = live.status();
    assert_eq!(token_health(&status), Health::Degraded, "while the token lives: {status:#?}");
    assert!(status.good_until.is_some());
    until("failing", async || live.status().health == Health::Failing).await;
    tokio::time::sleep(seconds(3)).await;
    assert_eq!(asked(&bao, "auth/approle/login"), 2, "the first and the refused one");
    assert_eq!(live.refresh().await.unwrap_err().kind(), ErrorKind::LoginRefused);
    // A new one in the file is taken at once.
    std::fs::write(&file, format!("{}\n", bao.new_secret_id("app", json!({})).await)).unwrap();
    until("healthy again", async || live.status().health == Health::Healthy).await;
    bao.kv_put("secret", "app", json!({ "key": "k2" })).await;
    until("the change is seen", async || live.current().key.expose_secret() == "k2").await;
}

#[tokio::test]
async fn a_token_file_is_read_again_when_it_changes() {
    let servers = Servers::start("1h", "24h").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let (first, second) = (
        servers.bao.token(&["app"], json!({ "ttl": "1h" })).await,
        servers.bao.token(&["app"], json!({ "ttl": "1h" })).await,
    );
    std::fs::write(&file, &first).unwrap();
    let variables =
        [("VAULT_ADDR", servers.bao.address()), ("VAULT_TOKEN_FILE", file.to_str().unwrap())];
    let live = Config::loader().without_dotenv().env_source(variables).watch().await.unwrap();
    let before = live.current();
    let mut events = live.events();
    std::fs::write(&file, format!("{second}\n\n")).unwrap();
    is_rotated(&mut events).await;
    assert_ne!(before.database.username(), live.current().database.username());
    servers.bao.write("auth/token/revoke", json!({ "token": first })).await;
    servers.always_accepts(&live, seconds(1)).await;
    live.shutdown().await.unwrap();
    assert_eq!(asked(&servers.bao, "auth/token/revoke-self"), 0);
}

#[tokio::test]
async fn a_revoked_token_costs_one_login() {
    let servers = Servers::start("1h", "24h").await;
    let ids = servers.bao.approle("app", &["app"], json!({ "token_ttl": "1h" })).await;
    let live = approle_loader::<Config>(servers.bao.address(), &ids).watch().await.unwrap();
    let before = live.current();
    servers.bao.clear_audit();
    servers.bao.write("sys/leases/revoke-prefix/auth/approle", json!({})).await;
    until("new credentials", async || {
        live.current().database.username() != before.database.username()
    })
    .await;
    servers.always_accepts(&live, seconds(3)).await;
    assert_eq!(asked(&servers.bao, "auth/approle/login"), 1);
    let status = live.status();
    assert_eq!((status.health, status.counters.logins), (Health::Healthy, 1), "{status:#?}");
}

#[tokio::test]
async fn configurations_that_share_a_connection_share_its_token_and_the_last_revokes_it() {
    let servers = Servers::start("1h", "24h").await;
    let ids = servers.bao.approle("app", &["app"], json!({ "token_ttl": "6s" })).await;
    let vault = vault_config::Vault::builder()
        .address(servers.bao.address())
        .auth(vault_config::auth::AppRole::new(ids.role_id.as_str(), ids.secret_id.as_str()))
        .build()
        .unwrap();
    let watch = || Config::loader().without_dotenv().vault(vault.clone()).watch();
    let (one, two) = (watch().await.unwrap(), watch().await.unwrap());
    servers.bao.clear_audit();
    let began = Instant::now();
    servers.always_accepts(&two, seconds(4)).await;
    let renewals = asked(&servers.bao, "auth/token/renew-self");
    // Each by itself would renew it once or twice a second.
    let most = 2 * began.elapsed().as_secs() as usize + 1;
    assert!((2..=most).contains(&renewals), "{renewals} renewals for both together");
    one.shutdown().await.unwrap();
    until("the first one's user is gone", async || servers.users().await == 1).await;
    servers.always_accepts(&two, seconds(3)).await;
    assert_eq!(asked(&servers.bao, "auth/approle/login"), 0);
    two.shutdown().await.unwrap();
    assert_eq!(asked(&servers.bao, "auth/token/revoke-self"), 1);
    servers.no_user_is_left().await;
}

/// Its uses are planned before they are spent, and what was issued under a used-up token lives on.
#[tokio::test]
async fn a_token_of_few_uses_costs_no_credential() {
    let servers = Servers::start("1h", "24h").await;
    let settings = json!({ "token_num_uses": 6, "token_ttl": "1h" });
    let live = loader::<Config>(&servers.bao, settings).await.watch().await.unwrap();
    let user = live.current().database.username().to_owned();
    servers.bao.clear_audit();
    servers.always_accepts(&live, seconds(15)).await;
    assert_eq!(live.current().database.username(), user);
    assert_eq!(servers.users().await, 1);
    let requests = servers.bao.audit_requests();
    let refused: Vec<_> = requests.iter().filter(|request| request.error.is_some()).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let (reads, logins) =
        (asked(&servers.bao, "secret/"), asked(&servers.bao, "auth/approle/login"));
    assert!(logins <= reads / 4 + 1, "{logins} logins for {reads} readings");
    live.shutdown().await.unwrap();
    servers.no_user_is_left().await;
}

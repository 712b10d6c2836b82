//! Renewal and replacement of the token, and the credentials that depend on it.

use super::*;

fn token_health(status: &Status) -> Health {
    status.token.as_ref().expect("there is a token").state.health
}

#[tokio::test]
async fn valid_credentials_are_published_when_tokens_expire() {
    let servers = Servers::start("1h", "24h").await;
    let settings = json!({ "token_ttl": "5s", "token_max_ttl": "10s" });
    let live = loader(&servers.bao, settings).await.watch().await.unwrap();
    let failures = failures(&live);
    servers.always_accepts(&live, seconds(60)).await;
    let counters = live.status().counters;
    assert!((5..=15).contains(&counters.logins), "{counters:?}");
    assert!((5..=15).contains(&counters.rotations), "{counters:?}");
    assert_eq!(*failures.lock().unwrap(), Vec::<String>::new(), "{counters:?}");
    // The shutdown revokes the current token, although it would expire soon.
    servers.bao.clear_audit();
    live.shutdown().await.unwrap();
    assert!(requests_for(&servers.bao, "auth/token/revoke-self") > 0);
    servers.no_user_is_left().await;
}

/// Without the `default` policy a token may not renew itself. The client must log in, and not repeat the renewal.
#[tokio::test]
async fn a_refused_renewal_leads_to_a_login_and_not_to_a_loop() {
    let servers = Servers::start("1h", "24h").await;
    let settings = json!({ "token_ttl": "3s", "token_no_default_policy": true });
    let live = loader(&servers.bao, settings).await.watch().await.unwrap();
    servers.bao.clear_audit();
    servers.always_accepts(&live, seconds(8)).await;
    let (renewals, logins) = (
        requests_for(&servers.bao, "auth/token/renew-self"),
        requests_for(&servers.bao, "auth/approle/login"),
    );
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
async fn a_token_with_limited_uses_is_replaced_before_it_is_used_up() {
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
    assert_eq!(requests_for(&servers.bao, "auth/token/renew-self"), 0);
    let status = live.status();
    let token = status.token.as_ref().unwrap();
    assert_eq!((token.login, token.state.expires_at), (Login::Impossible, None));
    assert_eq!(servers.users().await, 1);
    live.shutdown().await.unwrap();
    assert_eq!(requests_for(&servers.bao, "auth/token/revoke-self"), 0);
    // The token stays, so the shutdown shortens the lease of the user.
    until("the database user is gone", async || servers.users().await == 0).await;
    servers.bao.read("auth/token/lookup-self").await;
}

#[tokio::test]
async fn a_supplied_token_is_renewed_as_long_as_possible_and_its_expiry_is_reported_in_advance() {
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
    assert!(began.elapsed() > seconds(4), "the token was renewed first");
    assert!(problem.contains("can be neither renewed any further nor replaced"), "{problem}");
    assert!(good_until.unwrap() > std::time::SystemTime::now(), "it is reported before the expiry");
    let status = live.status();
    assert_ne!(token_health(&status), Health::Healthy);
    assert_eq!(status.token.unwrap().login, Login::Impossible);
    until("failing", async || live.status().health == Health::Failing).await;
    until("expired", async || live.refresh().await.is_err()).await;
    assert_eq!(live.refresh().await.unwrap_err().kind(), ErrorKind::TokenInvalid);
    live.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_used_up_secret_id_is_reported_early_and_sent_once() {
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
    assert_eq!(token_health(&status), Health::Degraded, "while the token is valid: {status:#?}");
    assert!(status.good_until.is_some());
    until("failing", async || live.status().health == Health::Failing).await;
    tokio::time::sleep(seconds(3)).await;
    assert_eq!(requests_for(&bao, "auth/approle/login"), 2, "the first and the refused one");
    assert_eq!(live.refresh().await.unwrap_err().kind(), ErrorKind::LoginRefused);
    // A new secret_id in the file leads to a login at once.
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
    wait_for_rotation(&mut events).await;
    assert_ne!(before.database.username(), live.current().database.username());
    servers.bao.write("auth/token/revoke", json!({ "token": first })).await;
    servers.always_accepts(&live, seconds(1)).await;
    live.shutdown().await.unwrap();
    assert_eq!(requests_for(&servers.bao, "auth/token/revoke-self"), 0);
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
    assert_eq!(requests_for(&servers.bao, "auth/approle/login"), 1);
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
    let renewals = requests_for(&servers.bao, "auth/token/renew-self");
    // If each configuration renewed the token, there would be twice as many renewals.
    let most = 2 * began.elapsed().as_secs() as usize + 1;
    assert!((2..=most).contains(&renewals), "{renewals} renewals for both together");
    one.shutdown().await.unwrap();
    until("the first one's user is gone", async || servers.users().await == 1).await;
    servers.always_accepts(&two, seconds(3)).await;
    assert_eq!(requests_for(&servers.bao, "auth/approle/login"), 0);
    two.shutdown().await.unwrap();
    assert_eq!(requests_for(&servers.bao, "auth/token/revoke-self"), 1);
    servers.no_user_is_left().await;
}

/// The client counts the uses, and logs in before they are used up. The credentials of a used-up token stay valid.
#[tokio::test]
async fn a_token_with_few_uses_costs_no_credential() {
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
        (requests_for(&servers.bao, "secret/"), requests_for(&servers.bao, "auth/approle/login"));
    assert!(logins <= reads / 4 + 1, "{logins} logins for {reads} reads");
    live.shutdown().await.unwrap();
    servers.no_user_is_left().await;
}

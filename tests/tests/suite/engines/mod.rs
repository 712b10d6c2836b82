//! Secrets engines that have no attribute of their own: `read`.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::json;
use vault_config::live::Health;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{ErrorKind, Secret, VaultConfig};
use vault_config_tests::{Ldap, OpenBao, RabbitMq};

use crate::support::{allowed_loader, request_count, token_loader, until};

mod clouds;

#[derive(Debug, VaultConfig)]
struct Broker {
    #[vault(read = "rabbitmq/creds/app")]
    user: HashMap<String, SecretString>,
    #[vault(read = "rabbitmq/creds/app", key = "username", plain)]
    username: String,
    #[vault(read = "rabbitmq/creds/app", key = "password")]
    password: SecretString,
}

impl Broker {
    async fn is_known_to(&self, server: &RabbitMq) -> bool {
        let name = server.who_is(&self.username, self.password.expose_secret()).await;
        name.is_some_and(|name| name == self.username)
    }
}

#[tokio::test]
async fn a_user_of_rabbitmq_is_shared_by_all_fields_rotated_and_revoked() {
    let (bao, server) = tokio::join!(OpenBao::dev(), RabbitMq::start());
    server.connect(&bao, 6, 12).await;
    let live = allowed_loader::<Broker>(&bao).await.watch().await.unwrap();
    assert_eq!(request_count(&bao, "rabbitmq/creds/app"), 1);
    let first = live.current();
    assert_eq!(first.user.len(), 2);
    assert_eq!(first.user["username"].expose_secret(), first.username);
    assert_eq!(first.user["password"].expose_secret(), first.password.expose_secret());
    assert!(first.is_known_to(&server).await);
    let status = live.status();
    let sources = status.sources.iter().map(|source| (&*source.source, source.fields.len()));
    assert_eq!(sources.collect::<Vec<_>>(), [("rabbitmq/creds/app", 3)]);
    assert!(status.sources[0].state.expires_at.is_some(), "{status:#?}");

    until("rotated", async || live.status().counters.rotations > 0).await;
    let second = live.current();
    assert_ne!(second.username, first.username);
    assert!(second.is_known_to(&server).await && first.is_known_to(&server).await);
    let counters = live.status().counters;
    assert!(counters.renewals > 0 && counters.failures == 0, "{counters:?}");

    live.shutdown().await.unwrap();
    until("the users are revoked", async || server.users().await.is_empty()).await;
    assert!(!second.is_known_to(&server).await);
}

/// What the engine gives besides a name and a password is no map of texts.
#[derive(Debug, Deserialize)]
struct Person {
    username: String,
    password: SecretString,
    distinguished_names: Vec<String>,
}

impl Secret for Person {}

#[derive(Debug, Deserialize)]
struct Account {
    dn: String,
    username: String,
    password: SecretString,
    last_password: Option<SecretString>,
}

impl Secret for Account {}

#[derive(Debug, VaultConfig)]
struct Directory {
    #[vault(read = "ldap/creds/app")]
    person: Person,
    #[vault(read = "ldap/static-cred/svc")]
    account: Account,
    #[vault(read = "ldap/static-cred/svc", key = "password")]
    password: SecretString,
}

#[tokio::test]
async fn users_of_a_directory_are_bound_rotated_and_revoked() {
    let (bao, server) =
        tokio::join!(OpenBao::dev_with_ldap(), Ldap::start(&[("svc", "svcpw"), ("eve", "evepw")]));
    assert!(server.accepts("svc", "svcpw").await && server.accepts("eve", "evepw").await);
    server.connect_secrets(&bao, ("6s", "12s"), (&["svc"], "10s")).await;
    assert!(!server.accepts("svc", "svcpw").await && server.accepts("eve", "evepw").await);
    bao.clear_audit();
    let live = allowed_loader::<Directory>(&bao).await.watch().await.unwrap();
    assert_eq!(request_count(&bao, "ldap/creds/app"), 1);
    assert_eq!(request_count(&bao, "ldap/static-cred/svc"), 1);
    let first = live.current();
    let Person { username, password, distinguished_names } = &first.person;
    assert!(server.accepts(username, password.expose_secret()).await);
    assert!(distinguished_names[0].contains(username), "{distinguished_names:?}");
    let account = &first.account;
    assert!(account.dn.starts_with("uid=svc,") && account.username == "svc");
    assert_eq!(account.password.expose_secret(), first.password.expose_secret());
    assert!(server.accepts("svc", first.password.expose_secret()).await);

    until("both are rotated", async || {
        let now = live.current();
        now.person.username != first.person.username
            && now.password.expose_secret() != first.password.expose_secret()
    })
    .await;
    let now = live.current();
    assert!(server.accepts(&now.person.username, now.person.password.expose_secret()).await);
    until("the newest password of the account is published", async || {
        server.accepts("svc", live.current().password.expose_secret()).await
    })
    .await;
    assert_eq!(live.status().health, Health::Healthy, "{:#?}", live.status());

    live.shutdown().await.unwrap();
    until("the users are revoked", async || {
        !server.accepts(&now.person.username, now.person.password.expose_secret()).await
    })
    .await;
}

#[derive(Debug, VaultConfig)]
struct Code {
    #[vault(read = "totp/code/deploy", key = "code", refresh = "1s")]
    code: SecretString,
}

/// It has no lease: how often it is read is the field's own say.
#[tokio::test]
async fn a_code_of_the_hour_is_as_fresh_as_the_field_asks() {
    let bao = OpenBao::dev().await;
    bao.mount("totp", "totp", json!({})).await;
    let key = json!({
        "generate": true, "issuer": "Example", "account_name": "deploy", "period": 5, "skew": 1,
    });
    bao.write("totp/keys/deploy", key).await;
    let live = allowed_loader::<Code>(&bao).await.watch().await.unwrap();
    for _ in 0..2 {
        let code = live.current().code.expose_secret().to_owned();
        let answer = bao.write("totp/code/deploy", json!({ "code": code })).await;
        assert_eq!(answer["data"]["valid"], true, "{answer}");
        until("another", async || live.current().code.expose_secret() != code).await;
    }
}

#[derive(Debug, VaultConfig)]
struct Identity {
    #[vault(read = "identity/oidc/token/app")]
    answer: HashMap<String, SecretString>,
    #[vault(read = "identity/oidc/token/app", key = "token")]
    token: SecretString,
    #[vault(read = "identity/oidc/token/app", key = "ttl", plain)]
    ttl: u32,
}

#[tokio::test]
async fn an_identity_token_is_the_applications_own() {
    let bao = OpenBao::dev().await;
    bao.write("identity/oidc/key/app", json!({ "allowed_client_ids": "*" })).await;
    bao.write("identity/oidc/role/app", json!({ "key": "app", "ttl": "10m" })).await;
    let config = allowed_loader::<Identity>(&bao).await.load().await.unwrap();
    assert_eq!(config.ttl, 600);
    let token = config.token.expose_secret();
    assert_eq!(config.answer["token"].expose_secret(), token);
    let answer = bao.write("identity/oidc/introspect", json!({ "token": token })).await;
    assert_eq!(answer["active"], true, "{answer}");
    assert_eq!(request_count(&bao, "identity/oidc/token/app"), 1);
}

#[derive(Debug, VaultConfig)]
struct Ticket {
    #[vault(read = "cubbyhole/ticket", key = "ticket")]
    ticket: SecretString,
    #[vault(read = "cubbyhole/ticket", key = "spare")]
    spare: Option<SecretString>,
    #[vault(read = "cubbyhole/other", key = "ticket")]
    other: Option<SecretString>,
}

#[tokio::test]
async fn a_cubbyhole_is_the_tokens_own() {
    let bao = OpenBao::dev().await;
    let [one, other] =
        [bao.token(&["default"], json!({})).await, bao.token(&["default"], json!({})).await];
    let ticket = Some(json!({ "ticket": "t1cket" }));
    let (status, _) = bao.try_request("POST", "cubbyhole/ticket", ticket, &one).await;
    assert_eq!(status, 204);
    let config = token_loader::<Ticket>(bao.address(), &one).load().await.unwrap();
    assert_eq!(config.ticket.expose_secret(), "t1cket");
    assert!(config.spare.is_none() && config.other.is_none());
    let error = token_loader::<Ticket>(bao.address(), &other).load().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PathAbsent, "{error}");
    assert_eq!(error.problems().len(), 1, "{error}");
}

//! Secrets of several namespaces in one configuration, and a login to another one.

use std::time::Duration;

use insta::assert_snapshot;
use serde_json::json;
use vault_config::auth::AppRole;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{DatabaseCredentials, ErrorKind, Loader, Vault, VaultConfig};
use vault_config_tests::{Administrator, OpenBao, Postgres, ScriptedAnswer, ScriptedServer};

use crate::support::problems;
use crate::support::until;

#[derive(Debug, VaultConfig)]
struct Config {
    #[vault(kv = "app")]
    here: SecretString,
    #[vault(kv = "app", key = "here", namespace = "team-a")]
    there: SecretString,
    #[vault(kv = "old", mount = "v1", kv_version = 1, namespace = "team-{which}")]
    version_1: SecretString,
    #[vault(database = "app", namespace = "team-a")]
    database: DatabaseCredentials,
    #[vault(read = "cubbyhole/mine", namespace = "team-a/inner")]
    read: Option<std::collections::HashMap<String, SecretString>>,
    #[vault(nested)]
    by_struct: Inner,
    #[vault(nested, namespace = "team-a")]
    by_field: Inner,
}

#[derive(Debug, VaultConfig)]
#[vault(kv = "app", namespace = "team-a/inner")]
struct Inner {
    #[vault(kv)]
    here: SecretString,
    #[vault(kv, key = "here", namespace = "root")]
    of_root: SecretString,
}

struct Servers {
    bao: OpenBao,
    team: Administrator,
    postgres: Postgres,
}

impl Servers {
    async fn start() -> Self {
        let (bao, postgres) = tokio::join!(OpenBao::dev(), Postgres::start());
        bao.kv_put("secret", "app", json!({ "here": "of the root" })).await;
        let team = bao.namespace("team-a").await;
        team.kv_put("secret", "app", json!({ "here": "of the team" })).await;
        team.mount_kv_v1("v1").await;
        team.write("v1/old", json!({ "version_1": "old" })).await;
        team.connect_database(&postgres).await;
        team.database_role("app", "4s", "1h").await;
        let inner = team.namespace("inner").await;
        inner.kv_put("secret", "app", json!({ "here": "of the inner one" })).await;
        Self { bao, team, postgres }
    }

    /// A login to the root namespace, with exactly the policy of the schema.
    async fn loader(&self) -> Loader<Config> {
        let policy = Config::schema().policy().replace("team-+", "team-a");
        let metadata = "path \"team-a/secret/metadata/app\" { capabilities = [\"read\"] }";
        self.bao.policy("app", &format!("{policy}\n{metadata}")).await;
        let ids = self.bao.approle("app", &["app"], json!({ "token_ttl": "1h" })).await;
        Config::loader().without_dotenv().var("which", "a").env_source([
            ("VAULT_ADDR", self.bao.address().to_owned()),
            ("VAULT_ROLE_ID", ids.role_id),
            ("VAULT_SECRET_ID", ids.secret_id),
        ])
    }

    async fn users(&self) -> usize {
        let sql = "SELECT usename FROM pg_user WHERE usename LIKE 'v-%'";
        self.postgres.psql(sql).await.len()
    }
}

#[tokio::test]
async fn each_field_is_read_in_its_own() {
    let servers = Servers::start().await;
    servers.bao.clear_audit();
    let (config, report) = servers.loader().await.load_with_report().await.unwrap();
    let published = [
        &config.here,
        &config.there,
        &config.version_1,
        &config.by_struct.here,
        &config.by_struct.of_root,
        &config.by_field.here,
        &config.by_field.of_root,
    ];
    assert_eq!(
        published.map(|secret| secret.expose_secret().to_owned()),
        [
            "of the root",
            "of the team",
            "old",
            "of the inner one",
            "of the root",
            "of the team",
            "of the root"
        ]
    );
    assert!(config.read.is_none());
    let password = config.database.password().expose_secret();
    servers.postgres.connect(config.database.username(), password).await.unwrap();
    let report = report.to_string().replace(servers.bao.address(), "ADDRESS");
    assert_snapshot!(report, @"
    Vault mode, because VAULT_ADDR is ADDRESS; VAULT_CONFIG_MODE=local reads .env and files instead.
      here               vault kv secret/app#here (version 1)
      there              vault kv secret/app#here in namespace team-a (version 1)
      version_1          vault kv v1/old#version_1 in namespace team-a
      database           vault database database/creds/app in namespace team-a (valid for 4 s)
      read               absent (None)
      by_struct.here     vault kv secret/app#here in namespace team-a/inner (version 1)
      by_struct.of_root  vault kv secret/app#here in namespace root (version 1)
      by_field.here      vault kv secret/app#here in namespace team-a (version 1)
      by_field.of_root   vault kv secret/app#here in namespace root (version 1)
    ");
    // One login, and one request a path and namespace.
    let mut asked: Vec<_> = servers
        .bao
        .audit_requests()
        .into_iter()
        .map(|request| format!("{}{}", request.namespace, request.path))
        .filter(|path| !path.starts_with("sys/policies") && !path.contains("auth/approle/role"))
        .collect();
    asked.sort();
    assert_snapshot!(asked.join("\n"), @"
    auth/approle/login
    secret/data/app
    team-a/database/creds/app
    team-a/inner/cubbyhole/mine
    team-a/inner/secret/data/app
    team-a/secret/data/app
    team-a/v1/old
    ");
}

#[tokio::test]
async fn what_is_watched_stays_in_its_namespace() {
    let servers = Servers::start().await;
    let loader = servers.loader().await.refresh_every(Duration::from_secs(1));
    let live = loader.watch().await.unwrap();
    let before = live.current();
    servers.team.kv_put("secret", "app", json!({ "here": "changed" })).await;
    until("the change is seen", async || live.current().there.expose_secret() == "changed").await;
    assert_eq!(live.current().here.expose_secret(), "of the root");
    until("the lease is renewed", async || live.status().counters.renewals > 0).await;
    assert_eq!(live.current().database.username(), before.database.username());
    let status = live.status();
    assert_eq!(status.counters.failures, 0, "{status:#?}");
    let names: Vec<_> = status.sources.iter().map(|source| source.source.as_str()).collect();
    assert!(names.contains(&"database/creds/app in namespace team-a"), "{names:?}");
    assert_eq!(servers.users().await, 1);
    live.shutdown().await.unwrap();
    until("no user is left", async || servers.users().await == 0).await;
}

/// A token that was given is not revoked: the lease is cut short by itself, in its namespace.
#[tokio::test]
async fn a_lease_is_revoked_in_its_namespace() {
    let servers = Servers::start().await;
    let variables =
        [("VAULT_ADDR", servers.bao.address()), ("VAULT_TOKEN", servers.bao.root_token())];
    let loader = Config::loader().without_dotenv().var("which", "a").env_source(variables);
    let live = loader.watch().await.unwrap();
    assert_eq!(servers.users().await, 1);
    live.shutdown().await.unwrap();
    until("no user is left", async || servers.users().await == 0).await;
}

#[tokio::test]
async fn a_check_asks_what_the_token_may_do_in_each() {
    let servers = Servers::start().await;
    let loader = servers.loader().await;
    loader.check().await.unwrap();
    assert_eq!(servers.users().await, 0);
    servers.bao.policy("app", r#"path "team-a/secret/*" { capabilities = ["read"] }"#).await;
    let ids = servers.bao.approle("app", &["app"], json!({})).await;
    let loader = Denied::loader().without_dotenv().env_source([
        ("VAULT_ADDR", servers.bao.address().to_owned()),
        ("VAULT_ROLE_ID", ids.role_id),
        ("VAULT_SECRET_ID", ids.secret_id),
    ]);
    let error = loader.check().await.unwrap_err();
    assert_snapshot!(problems(&error, ErrorKind::Denied), @r#"
    secret: SecretString
    vault kv kv/other in namespace team-a: permission denied (HTTP 403)
    help: add this to a policy of the token:
      path "team-a/kv/data/other" {
        capabilities = ["read"]
      }
      or no engine is mounted at kv/: the server answers 403 for that too

    database: DatabaseCredentials
    vault database database/creds/app in namespace team-a: the token may not read this path
    help: add this to a policy of the token:
      path "team-a/database/creds/app" {
        capabilities = ["read"]
      }

    nowhere: SecretString
    vault http://127.0.0.1:PORT: namespace not found (HTTP 404)
    help: correct the namespace, or create it: vault namespace create nowhere
    "#);
}

#[derive(Debug, VaultConfig)]
struct Denied {
    #[vault(kv = "other", mount = "kv", namespace = "team-a")]
    secret: SecretString,
    #[vault(database = "app", namespace = "team-a")]
    database: DatabaseCredentials,
    #[vault(kv = "app", namespace = "nowhere")]
    nowhere: SecretString,
}

#[tokio::test]
async fn the_login_may_be_in_another() {
    let bao = OpenBao::dev().await;
    let team = bao.namespace("team-a").await;
    let inner = team.namespace("inner").await;
    inner.kv_put("secret", "app", json!({ "here": "of the inner one" })).await;
    team.policy("app", r#"path "inner/secret/data/app" { capabilities = ["read"] }"#).await;
    let settings = json!({ "token_ttl": "4s", "token_max_ttl": "1h" });
    let ids = team.approle("app", &["app"], settings).await;
    let variables = [
        ("VAULT_ADDR", bao.address().to_owned()),
        ("VAULT_NAMESPACE", "team-a/inner".to_owned()),
        ("VAULT_AUTH_NAMESPACE", "/team-a/".to_owned()),
        ("VAULT_ROLE_ID", ids.role_id.clone()),
        ("VAULT_SECRET_ID", ids.secret_id.clone()),
    ];
    let loader = One::loader().without_dotenv().env_source(variables);
    assert_eq!(loader.load().await.unwrap().here.expose_secret(), "of the inner one");
    let vault = Vault::builder()
        .address(bao.address())
        .namespace("team-a/inner")
        .login_namespace("team-a")
        .auth(AppRole::new(ids.role_id, ids.secret_id))
        .build()
        .unwrap();
    bao.clear_audit();
    let live = One::loader().without_dotenv().env_source([("", ""); 0]).vault(vault).watch().await;
    let live = live.unwrap();
    until("the token is renewed", async || live.status().counters.token_renewals > 0).await;
    live.shutdown().await.unwrap();
    let asked = |path: &str, namespace: &str| {
        let requests = bao.audit_requests();
        requests.iter().any(|request| request.path == path && request.namespace == namespace)
    };
    for path in ["auth/approle/login", "auth/token/renew-self", "auth/token/revoke-self"] {
        assert!(asked(path, "team-a/"), "{path}");
        assert!(!asked(path, "team-a/inner/"), "{path}");
    }
}

#[derive(Debug, VaultConfig)]
struct One {
    #[vault(kv = "app")]
    here: SecretString,
}

/// `sys/health` with a namespace is a 400 on real servers.
#[tokio::test]
async fn no_node_is_asked_for_its_health_in_a_namespace() {
    let server = ScriptedServer::start(|request| match request.path() {
        "/v1/sys/health" => ScriptedAnswer::json(200, &json!({})),
        _ => ScriptedAnswer::json(
            200,
            &json!({
                "data": { "data": { "here": "k" }, "metadata": { "version": 1 } }
            }),
        ),
    })
    .await;
    let variables = [
        ("VAULT_ADDR", format!("http://127.0.0.1:1,{}", server.address())),
        ("VAULT_NAMESPACE", "team-a".to_owned()),
        ("VAULT_TOKEN", "t".to_owned()),
    ];
    One::loader().without_dotenv().env_source(variables).load().await.unwrap();
    let namespaces = |path: &str| -> Vec<Option<String>> {
        let requests = server.requests().into_iter().filter(|request| request.path() == path);
        requests.map(|request| request.header("x-vault-namespace").map(str::to_owned)).collect()
    };
    assert_eq!(namespaces("/v1/sys/health"), [None]);
    assert_eq!(namespaces("/v1/secret/data/app"), [Some("team-a".to_owned())]);
}

/// What is blank on the way would lead to the root namespace, and what no header holds nowhere.
#[tokio::test]
async fn a_variable_leads_to_no_other_namespace() {
    #[derive(Debug, VaultConfig)]
    struct Var {
        #[vault(kv = "app", namespace = "{team}")]
        here: SecretString,
    }
    let server = ScriptedServer::start(|_| ScriptedAnswer::status(404)).await;
    for (team, there) in [(" ", false), ("team-a ", false), ("teäm", false), ("team-a", true)] {
        let variables = [("VAULT_ADDR", server.address()), ("VAULT_TOKEN", "t".to_owned())];
        let loader = Var::loader().without_dotenv().startup_deadline(Duration::ZERO);
        let error = loader.env_source(variables).var("team", team).load().await.unwrap_err();
        assert_eq!(!server.requests().is_empty(), there, "{team}: {:?}", server.requests());
        if !there {
            assert_eq!(error.kind(), ErrorKind::Variable, "{error}");
        }
        if team == "teäm" {
            assert_snapshot!(error.problems()[0].to_string(), @r#"
            1. here: SecretString
               env HERE: not set
               with its variables filled in, the namespace "{team}" has a space or a character that is not ASCII
               help: set the variables to names of namespaces
            "#);
        }
    }
}

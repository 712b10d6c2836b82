//! The administrator of a server: the root token, and a method for each usual step of a set-up.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::audit::ADMINISTRATOR_HEADER;
use crate::postgres::{DATABASE, LEGACY_ROLE, SUPERUSER};
use crate::{MariaDb, Postgres, Redis, mariadb, redis};

/// Creates a database user that may connect to the database and nothing else.
const CREATE_USER: &str = concat!(
    r#"CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; "#,
    r#"GRANT CONNECT ON DATABASE app TO "{{name}}";"#
);

/// A client with every right, in one namespace.
///
/// Its requests are left out of [`OpenBao::audit_requests`](crate::OpenBao::audit_requests).
/// All methods but [`try_request`](Self::try_request) panic if the server refuses.
#[derive(Debug, Clone)]
pub struct Administrator {
    client: Client,
    address: String,
    token: String,
    namespace: Option<String>,
}

/// The ids with which a service logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Vault's")]
pub struct AppRoleIds {
    pub role_id: String,
    pub secret_id: String,
}

/// A client whose TLS has a crypto provider: reqwest panics without one.
pub fn client_builder() -> reqwest::ClientBuilder {
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder()
}

impl Administrator {
    /// An administrator of any server on this machine, by address and root token. It does not
    /// verify the server's certificate.
    #[must_use]
    pub fn new(address: &str, token: &str) -> Self {
        let client = client_builder().no_proxy().tls_danger_accept_invalid_certs(true);
        Self::with_client(client.build().expect("a client builds"), address, token)
    }

    pub(crate) fn with_client(client: Client, address: &str, token: &str) -> Self {
        Self { client, address: address.to_owned(), token: token.to_owned(), namespace: None }
    }

    pub(crate) fn set_token(&mut self, token: &str) {
        token.clone_into(&mut self.token);
    }

    /// The server's address, for example `http://127.0.0.1:20200`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The root token; empty for a server that is not initialised.
    #[must_use]
    pub fn root_token(&self) -> &str {
        &self.token
    }

    /// Creates a namespace with a KV v2 engine at `secret/`, and returns its administrator.
    pub async fn namespace(&self, name: &str) -> Self {
        self.write(&format!("sys/namespaces/{name}"), json!({})).await;
        let parent = self.namespace.iter().map(|parent| format!("{parent}/")).collect::<String>();
        let inside = Self { namespace: Some(format!("{parent}{name}")), ..self.clone() };
        inside.mount_kv_v2("secret").await;
        inside
    }

    /// Writes (POST) and returns the whole answer; `null` if it is empty.
    pub async fn write(&self, path: &str, body: Value) -> Value {
        self.expect(Method::POST, path, Some(body)).await
    }

    /// Reads and returns the whole answer: `["data"]` has the data.
    pub async fn read(&self, path: &str) -> Value {
        self.expect(Method::GET, path, None).await
    }

    /// Deletes.
    pub async fn delete(&self, path: &str) {
        self.expect(Method::DELETE, path, None).await;
    }

    /// Sends any request with any token (empty for none). Returns the status code and the body, `null` if it is not
    /// JSON.
    ///
    /// # Panics
    ///
    /// If the server does not answer at all.
    pub async fn try_request(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        token: &str,
    ) -> (u16, Value) {
        let method = method.parse().expect("a method is a word");
        self.send(method, path, body, token)
            .await
            .unwrap_or_else(|error| panic!("no answer from {} for {path}: {error}", self.address))
    }

    /// Mounts a secrets engine, for example `mount("transit", "transit", json!({}))`.
    pub async fn mount(&self, path: &str, engine: &str, extra: Value) {
        let body = with(json!({ "type": engine }), &extra);
        self.write(&format!("sys/mounts/{path}"), body).await;
    }

    /// Mounts a KV engine of version 1.
    pub async fn mount_kv_v1(&self, path: &str) {
        self.mount(path, "kv", json!({ "options": { "version": "1" } })).await;
    }

    /// Mounts a KV engine of version 2 and waits until it is usable.
    pub async fn mount_kv_v2(&self, path: &str) {
        self.mount(path, "kv", json!({ "options": { "version": "2" } })).await;
        self.until_kv_v2(path).await;
    }

    /// Waits until a new engine is usable. For a moment it refuses every request, with a message about an upgrade.
    pub(crate) async fn until_kv_v2(&self, path: &str) {
        let config = format!("{path}/config");
        for _ in 0..2000 {
            let (status, _) = self.try_request("GET", &config, None, &self.token).await;
            if status == 200 {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
        panic!("the KV engine at {path}/ does not become usable")
    }

    /// Enables an auth method at its usual path, if it is not enabled yet.
    pub async fn enable_auth(&self, method: &str) {
        let body = json!({ "type": method });
        let path = format!("sys/auth/{method}");
        let (status, answer) = self.try_request("POST", &path, Some(body), &self.token).await;
        let already = answer.to_string().contains("already in use");
        assert!(already || status < 300, "cannot enable {method}: {status} {answer}");
    }

    /// Writes a secret to a KV engine of version 2 and returns the secret's new version.
    pub async fn kv_put(&self, mount: &str, path: &str, secret: Value) -> u64 {
        let body = json!({ "data": secret });
        let answer = self.write(&format!("{mount}/data/{path}"), body).await;
        answer["data"]["version"].as_u64().unwrap_or(0)
    }

    /// Writes a policy.
    pub async fn policy(&self, name: &str, hcl: &str) {
        self.write(&format!("sys/policies/acl/{name}"), json!({ "policy": hcl })).await;
    }

    /// Enables the method and writes an AppRole with further settings, `json!({})` for none. Returns the ids to log
    /// in with.
    pub async fn approle(&self, role: &str, policies: &[&str], extra: Value) -> AppRoleIds {
        self.enable_auth("approle").await;
        let path = format!("auth/approle/role/{role}");
        self.write(&path, with(json!({ "token_policies": policies }), &extra)).await;
        let answer = self.read(&format!("{path}/role-id")).await;
        let role_id = text(&answer["data"]["role_id"]);
        AppRoleIds { role_id, secret_id: self.new_secret_id(role, json!({})).await }
    }

    /// Issues another secret_id of an AppRole, with settings such as `num_uses`.
    pub async fn new_secret_id(&self, role: &str, settings: Value) -> String {
        let path = format!("auth/approle/role/{role}/secret-id");
        text(&self.write(&path, settings).await["data"]["secret_id"])
    }

    /// Issues a token with settings such as `ttl`, `num_uses`, `type`.
    pub async fn token(&self, policies: &[&str], extra: Value) -> String {
        let body = with(json!({ "policies": policies }), &extra);
        text(&self.write("auth/token/create", body).await["auth"]["client_token"])
    }

    /// Wraps a JSON object: returns the wrapping token.
    pub async fn wrap(&self, secret: Value, ttl: &str) -> String {
        self.write_wrapped("sys/wrapping/wrap", secret, ttl).await
    }

    /// Writes, and returns the wrapping token of the answer.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    pub async fn write_wrapped(&self, path: &str, body: Value, ttl: &str) -> String {
        let request = self.request(Method::POST, path, &self.token);
        let answer = request.header("X-Vault-Wrap-TTL", ttl).json(&body).send().await;
        let answer = answer.expect("the server answers").json::<Value>().await;
        text(&answer.expect("the server answers JSON")["wrap_info"]["token"])
    }

    /// Mounts the PKI engine with its own authority. Its role `web` issues certificates for any name, valid for `ttl`.
    /// Returns the authority's certificate, which clients have to trust.
    pub async fn certificate_authority(&self, ttl: &str) -> String {
        self.mount("pki", "pki", json!({ "config": { "max_lease_ttl": "8760h" } })).await;
        let root = json!({ "common_name": "test authority", "ttl": "8760h", "key_type": "ec" });
        let root = self.write("pki/root/generate/internal", root).await;
        let role =
            json!({ "allow_any_name": true, "key_type": "ec", "ttl": ttl, "no_store": true });
        self.write("pki/roles/web", role).await;
        text(&root["data"]["certificate"])
    }

    /// Mounts the SSH engine with its own authority. Its role `deploy` signs keys for the users `deploy` (the
    /// default) and `alice`.
    pub async fn ssh_authority(&self) {
        self.mount("ssh", "ssh", json!({})).await;
        let key = json!({ "generate_signing_key": true, "key_type": "ed25519" });
        self.write("ssh/config/ca", key).await;
        let role = json!({
            "key_type": "ca", "allow_user_certificates": true, "allowed_users": "deploy,alice",
            "default_user": "deploy", "ttl": "30m", "default_extensions": { "permit-pty": "" },
        });
        self.write("ssh/roles/deploy", role).await;
    }

    /// Mounts the transit engine with a key, and returns the ciphertext of each text.
    pub async fn encrypt<const N: usize>(&self, key: &str, texts: [&str; N]) -> [String; N] {
        self.mount("transit", "transit", json!({})).await;
        self.write(&format!("transit/keys/{key}"), json!({})).await;
        let input: Vec<_> =
            texts.iter().map(|text| json!({ "plaintext": BASE64_STANDARD.encode(text) })).collect();
        let path = format!("transit/encrypt/{key}");
        let answer = self.write(&path, json!({ "batch_input": input })).await;
        let results = &answer["data"]["batch_results"];
        std::array::from_fn(|index| text(&results[index]["ciphertext"]))
    }

    /// Mounts the database engine for `postgres`, with the dynamic role `readonly` (one hour, at most a day) and the
    /// static role `legacy`, rotated every hour.
    pub async fn connect_database(&self, postgres: &Postgres) {
        self.connect_database_at(&postgres.address()).await;
    }

    /// As [`connect_database`](Self::connect_database), through `host:port`, such as a proxy.
    pub async fn connect_database_at(&self, address: &str) {
        self.mount("database", "database", json!({})).await;
        let url = format!(
            "postgresql://{{{{username}}}}:{{{{password}}}}@{address}/{DATABASE}?sslmode=disable"
        );
        let config = json!({
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "*",
            "connection_url": url,
            "username": SUPERUSER.0,
            "password": SUPERUSER.1,
            "password_authentication": "scram-sha-256",
        });
        self.write("database/config/postgres", config).await;
        self.database_role("readonly", "1h", "24h").await;
        let role = json!({
            "db_name": "postgres",
            "username": LEGACY_ROLE.0,
            "rotation_period": "1h",
            "rotation_statements": [r#"ALTER USER "{{name}}" WITH PASSWORD '{{password}}';"#],
        });
        self.write("database/static-roles/legacy", role).await;
    }

    /// Adds a dynamic role of the connected database, for example with short lifetimes.
    pub async fn database_role(&self, name: &str, ttl: &str, max_ttl: &str) {
        let role = json!({
            "db_name": "postgres",
            "creation_statements": [CREATE_USER],
            "default_ttl": ttl,
            "max_ttl": max_ttl,
        });
        self.write(&format!("database/roles/{name}"), role).await;
    }

    /// Mounts the database engine at `mariadb/` for `mariadb`, with the dynamic role `readonly` (one hour, at most a
    /// day) and the static role `legacy`, rotated every hour.
    pub async fn connect_mariadb(&self, mariadb: &MariaDb) {
        self.mount("mariadb", "database", json!({})).await;
        let address = format!("127.0.0.1:{}", mariadb.port());
        let config = json!({
            "plugin_name": "mysql-database-plugin",
            "allowed_roles": "*",
            "connection_url": format!("{{{{username}}}}:{{{{password}}}}@tcp({address})/"),
            "username": mariadb::SUPERUSER.0,
            "password": mariadb::SUPERUSER.1,
        });
        self.write("mariadb/config/mariadb", config).await;
        self.mariadb_role("readonly", "1h", "24h").await;
        let role = json!({
            "db_name": "mariadb",
            "username": mariadb::LEGACY_USER.0,
            "rotation_period": "1h",
            "rotation_statements": ["ALTER USER '{{name}}'@'%' IDENTIFIED BY '{{password}}';"],
        });
        self.write("mariadb/static-roles/legacy", role).await;
    }

    /// Adds a dynamic role of the connected MariaDB, for example with short lifetimes.
    pub async fn mariadb_role(&self, name: &str, ttl: &str, max_ttl: &str) {
        let role = json!({
            "db_name": "mariadb",
            "creation_statements": [
                "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}';",
                format!("GRANT SELECT ON {}.* TO '{{{{name}}}}'@'%';", mariadb::DATABASE),
            ],
            "default_ttl": ttl,
            "max_ttl": max_ttl,
        });
        self.write(&format!("mariadb/roles/{name}"), role).await;
    }

    /// Mounts the database engine for `redis` with this plugin (`redis-database-plugin` or `valkey-database-plugin`),
    /// with the dynamic role `readonly` (one hour, at most a day) and the static role `legacy`, rotated every hour.
    pub async fn connect_redis(&self, mount: &str, plugin: &str, redis: &Redis) {
        self.mount(mount, "database", json!({})).await;
        let config = json!({
            "plugin_name": plugin,
            "allowed_roles": "*",
            "host": "127.0.0.1",
            "port": redis.port(),
            "username": redis::SUPERUSER.0,
            "password": redis::SUPERUSER.1,
        });
        self.write(&format!("{mount}/config/redis"), config).await;
        self.redis_role(mount, "readonly", "1h", "24h").await;
        let role = json!({
            "db_name": "redis",
            "username": redis::LEGACY_USER.0,
            "rotation_period": "1h",
        });
        self.write(&format!("{mount}/static-roles/legacy"), role).await;
    }

    /// Adds a dynamic role of the connected Redis, for example with short lifetimes. Its users may read, and ask for
    /// their own name.
    pub async fn redis_role(&self, mount: &str, name: &str, ttl: &str, max_ttl: &str) {
        let role = json!({
            "db_name": "redis",
            "creation_statements": [r#"["~*", "+@read", "+acl|whoami"]"#],
            "default_ttl": ttl,
            "max_ttl": max_ttl,
        });
        self.write(&format!("{mount}/roles/{name}"), role).await;
    }

    /// Rotates the password of a static role. Repeats the request while the server refuses it because it is checking
    /// the roles for due rotations itself.
    pub async fn rotate_role(&self, mount: &str, role: &str) {
        let path = format!("{mount}/rotate-role/{role}");
        for _ in 0..50 {
            let answer = self.try_request("POST", &path, Some(json!({})), &self.token).await;
            match answer {
                (500, body) if body.to_string().contains("duplicate item") => {
                    sleep(Duration::from_millis(100)).await;
                }
                (status, body) => {
                    assert!((200..300).contains(&status), "{path}: {status} {body}");
                    return;
                }
            }
        }
        panic!("{path}: the server never rotates it");
    }

    async fn expect(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.try_request(method.as_str(), path, body, &self.token).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        token: &str,
    ) -> reqwest::Result<(u16, Value)> {
        let mut request = self.request(method, path, token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    fn request(&self, method: Method, path: &str, token: &str) -> reqwest::RequestBuilder {
        let url = format!("{}/v1/{path}", self.address);
        let mut request = self.client.request(method, url).header(ADMINISTRATOR_HEADER, "yes");
        if !token.is_empty() {
            request = request.header("X-Vault-Token", token);
        }
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        request
    }
}

/// `base` with the members of `extra` added or put in place of its own.
fn with(mut base: Value, extra: &Value) -> Value {
    for (name, value) in extra.as_object().expect("extra settings are a JSON object") {
        base[name] = value.clone();
    }
    base
}

fn text(value: &Value) -> String {
    value.as_str().expect("the server's answer holds what was asked for").to_owned()
}

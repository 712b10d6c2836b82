use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::json;
use vault_config::auth::{AppRole, TokenFile};
use vault_config::secrecy::SecretString;
use vault_config::{Error, Vault, VaultConfig};
use vault_config_tests::process::{Process, Program, Signal};
use vault_config_tests::{AppRoleIds, OpenBao, port, provision};

#[derive(Debug, VaultConfig)]
pub(super) struct Config {
    #[vault(kv = "app")]
    pub(super) key: SecretString,
}

const POLICY: &str = r#"path "secret/data/app" { capabilities = ["read"] }"#;

pub(super) async fn server() -> (OpenBao, AppRoleIds) {
    let bao = set_up(OpenBao::dev().await).await;
    let ids = bao.approle("app", &["app"], json!({})).await;
    bao.clear_audit();
    (bao, ids)
}

/// With what [`Config`] wants, and a policy to read it.
pub(super) async fn set_up(bao: OpenBao) -> OpenBao {
    bao.kv_put("secret", "app", json!({ "key": "k" })).await;
    bao.policy("app", POLICY).await;
    bao
}

pub(super) async fn load(variables: &[(&str, &str)]) -> Result<Config, Error> {
    Config::loader().without_dotenv().env_source(variables.iter().copied()).load().await
}

pub(super) async fn assert_logs_in(variables: &[(&str, &str)]) {
    let config = load(variables).await;
    let config = config.unwrap_or_else(|error| panic!("{variables:?}: {error}"));
    assert_eq!(config.key.expose_secret(), "k");
}

pub(super) fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_way_that_the_environment_names() {
    let (bao, ids) = server().await;
    let token = bao.token(&["app"], json!({})).await;
    let home = tempfile::tempdir().unwrap();
    file(home.path(), ".vault-token", &format!("{token}\n"));
    let token_file = file(home.path(), "token", &format!(" {token}\r\n"));
    let role_id_file = file(home.path(), "role_id", &format!("{}\n", ids.role_id));
    let secret_id_file = file(home.path(), "secret_id", &format!("{}\n", ids.secret_id));
    let home = home.path().to_str().unwrap();
    let address = ("VAULT_ADDR", bao.address());
    for variables in [
        vec![("VAULT_TOKEN", token.as_str())],
        vec![("BAO_TOKEN", &token), ("VAULT_TOKEN", "wrong")],
        vec![("VAULT_TOKEN_FILE", &token_file)],
        vec![("HOME", home)],
        vec![("VAULT_ROLE_ID", &ids.role_id), ("VAULT_SECRET_ID", &ids.secret_id)],
        vec![("VAULT_ROLE_ID_FILE", &role_id_file), ("VAULT_SECRET_ID_FILE", &secret_id_file)],
        vec![
            ("BAO_ROLE_ID", &ids.role_id),
            ("VAULT_SECRET_ID_FILE", &secret_id_file),
            ("HOME", home),
        ],
        vec![("VAULT_AUTH_METHOD", "token_file"), ("VAULT_ROLE_ID", "ignored"), ("HOME", home)],
    ] {
        assert_logs_in(&[vec![address], variables].concat()).await;
    }
}

#[tokio::test]
async fn a_role_at_another_mount_and_a_role_without_a_secret_id() {
    let (bao, _) = server().await;
    bao.write("sys/auth/team/roles", json!({ "type": "approle" })).await;
    let role = json!({ "token_policies": "app", "bind_secret_id": false, "token_bound_cidrs": "127.0.0.1/32" });
    bao.write("auth/team/roles/role/app", role).await;
    let answer = bao.read("auth/team/roles/role/app/role-id").await;
    let role_id = answer["data"]["role_id"].as_str().unwrap();
    let (address, mount) = (("VAULT_ADDR", bao.address()), ("VAULT_AUTH_MOUNT", "team/roles"));
    assert_logs_in(&[address, mount, ("VAULT_ROLE_ID", role_id)]).await;
}

#[tokio::test]
async fn files_are_read_at_every_login() {
    let (bao, ids) = server().await;
    let folder = tempfile::tempdir().unwrap();
    let secret_id = file(folder.path(), "secret_id", "not-yet");
    let method = AppRole::with_secret_id_file(ids.role_id.as_str(), &secret_id);
    let vault = Vault::builder().address(bao.address()).auth(method).build().unwrap();
    let load =
        || Config::loader().without_dotenv().env_source([("", ""); 0]).vault(vault.clone()).load();
    assert!(load().await.is_err());
    file(folder.path(), "secret_id", &ids.secret_id);
    assert_eq!(load().await.unwrap().key.expose_secret(), "k");

    let first = bao.token(&["app"], json!({})).await;
    let token = file(folder.path(), "token", &first);
    let vault =
        Vault::builder().address(bao.address()).auth(TokenFile::new(token)).build().unwrap();
    let load =
        || Config::loader().without_dotenv().env_source([("", ""); 0]).vault(vault.clone()).load();
    load().await.unwrap();
    bao.write("auth/token/revoke", json!({ "token": first })).await;
    file(folder.path(), "token", &bao.token(&["app"], json!({})).await);
    assert_eq!(load().await.unwrap().key.expose_secret(), "k");
}

/// The part of an agent's configuration that logs it in with these ids.
fn auto_auth(bao: &OpenBao, ids: &AppRoleIds, folder: &Path, sink: &str) -> String {
    let role_id = file(folder, "role_id", &ids.role_id);
    let secret_id = file(folder, "secret_id", &ids.secret_id);
    format!(
        r#"
        vault {{ address = "{}" }}
        auto_auth {{
          method "approle" {{
            config = {{
              role_id_file_path = "{role_id}"
              secret_id_file_path = "{secret_id}"
              remove_secret_id_file_after_reading = false
            }}
          }}
          {sink}
        }}
        "#,
        bao.address(),
    )
}

/// A real proxy that adds its token, and refuses requests without `X-Vault-Request`.
#[tokio::test]
async fn an_agent_adds_the_token() {
    let (bao, ids) = server().await;
    let folder = tempfile::tempdir().unwrap();
    let (port, socket) = (port::free_pair(), folder.path().join("agent.sock"));
    let configuration = format!(
        r#"
        {}
        api_proxy {{ use_auto_auth_token = true }}
        listener "tcp" {{
          address = "127.0.0.1:{port}"
          tls_disable = true
          require_request_header = true
        }}
        listener "unix" {{
          address = "{}"
          tls_disable = true
          require_request_header = true
        }}
        "#,
        auto_auth(&bao, &ids, folder.path(), ""),
        socket.display(),
    );
    let configuration = file(folder.path(), "proxy.hcl", &configuration);
    let _proxy = Process::start(&Program {
        path: provision::openbao(),
        arguments: vec!["proxy".to_owned(), format!("-config={configuration}")],
        environment: Vec::new(),
        directory: folder.path().to_owned(),
        user: None,
        last: Signal::Kill,
    });
    let tcp = format!("http://127.0.0.1:{port}");
    // It listens before it has logged in.
    let client = vault_config_tests::client_builder().build().unwrap();
    let lookup = format!("{tcp}/v1/auth/token/lookup-self");
    let is_ready = async || {
        let answer = client.get(&lookup).header("X-Vault-Request", "true").send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    };
    while !is_ready().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let unix = format!("unix://{}", socket.display());
    assert_logs_in(&[("VAULT_AGENT_ADDR", &tcp)]).await;
    assert_logs_in(&[("VAULT_ADDR", &unix), ("VAULT_AUTH_METHOD", "none")]).await;
}

/// A real agent, and the file that it writes its token to.
#[tokio::test]
async fn an_agents_sink_is_a_token_file() {
    let (bao, ids) = server().await;
    let folder = tempfile::tempdir().unwrap();
    let sink = folder.path().join("sink");
    let to_file = format!(r#"sink "file" {{ config = {{ path = "{}" }} }}"#, sink.display());
    let configuration = auto_auth(&bao, &ids, folder.path(), &to_file);
    let configuration = file(folder.path(), "agent.hcl", &configuration);
    let agent = || Program {
        path: provision::openbao(),
        arguments: vec!["agent".to_owned(), format!("-config={configuration}")],
        environment: Vec::new(),
        directory: folder.path().to_owned(),
        user: None,
        last: Signal::Kill,
    };
    let written = async || {
        let mut tries = 0;
        while std::fs::read_to_string(&sink).unwrap_or_default().is_empty() {
            tries += 1;
            assert!(tries < 1500, "the agent writes no token");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let first = Process::start(&agent());
    written().await;
    let token_file = ("VAULT_TOKEN_FILE", sink.to_str().unwrap());
    assert_logs_in(&[("VAULT_ADDR", bao.address()), token_file]).await;

    // The token ends; the agent that is started again writes another, which the next login finds.
    let vault = Vault::builder().address(bao.address()).auth(TokenFile::new(&sink));
    let vault = vault.build().unwrap();
    let load =
        || Config::loader().without_dotenv().env_source([("", ""); 0]).vault(vault.clone()).load();
    load().await.unwrap();
    drop(first);
    std::fs::remove_file(&sink).unwrap();
    bao.write("sys/leases/revoke-prefix/auth/approle/login", json!({})).await;
    let _second = Process::start(&agent());
    written().await;
    assert_eq!(load().await.unwrap().key.expose_secret(), "k");
}

#[tokio::test]
async fn a_server_behind_a_unix_socket() {
    let (bao, ids) = server().await;
    let address = format!("unix://{}", bao.unix_socket().display());
    let ids = [("VAULT_ROLE_ID", ids.role_id.as_str()), ("VAULT_SECRET_ID", &ids.secret_id)];
    assert_logs_in(&[("VAULT_ADDR", address.as_str()), ids[0], ids[1]]).await;
}

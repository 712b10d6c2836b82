//! What a load logs.

use serde_json::json;
use vault_config::auth::Token;
use vault_config::{Mode, Vault, VaultConfig};
use vault_config_tests::{OpenBao, ScriptedAnswer, ScriptedServer};

use super::{Covered, Required};
use crate::support::{NOTHING, dotenv, logged, root};

/// It is logged once for a connection, however many requests are answered with it.
#[tokio::test]
async fn a_warning_of_the_server_is_logged_once() {
    let server = ScriptedServer::start(|_| {
        let data = json!({ "data": { "secret": "s" }, "metadata": { "version": 1 } });
        ScriptedAnswer::json(200, &json!({ "data": data, "warnings": ["the mount is deprecated"] }))
    })
    .await;
    let vault = Vault::builder().address(server.address()).auth(Token::new("t")).build().unwrap();
    let load = || {
        let loader = Required::loader().without_dotenv().env_source([("APP_PLAIN", "p")]);
        loader.var("where", "app").vault(vault.clone()).load()
    };
    let lines = logged(async {
        load().await.unwrap();
        load().await.unwrap();
    })
    .await;
    assert_eq!(server.requests().len(), 2);
    let warned: Vec<_> = lines.iter().filter(|line| line.starts_with("WARN")).collect();
    assert_eq!(warned.len(), 1, "{lines:?}");
    assert!(warned[0].contains("warning=\"the mount is deprecated\""), "{warned:?}");
}

#[tokio::test]
async fn one_line_is_logged_a_load() {
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "full", json!({"secret": "hunter2"})).await;
    let file = dotenv("APP_SECRET=hunter2\nAPP_SECRET_TOO=hunter2\nAPP_PLAIN=hunter2\n");
    let loader = || Covered::loader().without_dotenv().var("where", "full");
    let local = || loader().mode(Mode::Local).env_source(NOTHING);
    let asked = "Local mode, because the program sets it";
    let lines = logged(loader().env_source(root(&bao)).load()).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].starts_with("INFO") && lines[0].contains("Vault mode, because VAULT_ADDR"),
        "{lines:?}"
    );
    assert!(lines[0].contains("config=\"Covered\""), "{lines:?}");
    let lines = logged(local().load()).await;
    assert!(
        lines.len() == 1 && lines[0].starts_with("INFO") && lines[0].contains(asked),
        "{lines:?}"
    );
    let lines = logged(local().dotenv(file.to_path_buf()).load()).await;
    assert!(
        lines.len() == 1 && lines[0].starts_with("WARN") && lines[0].contains(asked),
        "{lines:?}"
    );
    assert!(
        lines[0].contains("secrets are served from .env") && lines[0].contains("served=2"),
        "{lines:?}"
    );
    // Neither plain fields of `.env` nor secrets that the environment overrides cause a warning.
    let overridden = [("APP_SECRET", "hunter2"), ("APP_SECRET_TOO", "hunter2")];
    let lines = logged(local().dotenv(file.to_path_buf()).env_source(overridden).load()).await;
    assert!(lines.len() == 1 && lines[0].starts_with("INFO"), "{lines:?}");
    let in_vault_mode = loader().dotenv(file.to_path_buf()).env_source(root(&bao));
    let lines = logged(in_vault_mode.load()).await;
    assert!(lines.len() == 1 && lines[0].starts_with("INFO"), "{lines:?}");
    // A load that fails says why it was in its mode, too.
    let lines =
        logged(Required::loader().without_dotenv().env_source(NOTHING).var("where", "x").load())
            .await;
    assert!(lines.len() == 1 && lines[0].contains("Local mode"), "{lines:?}");
    assert!(!format!("{lines:?}").contains("hunter2"));
}

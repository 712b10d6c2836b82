//! `.env` files.

use serde_json::json;
use vault_config::{ErrorKind, Mode, VaultConfig};
use vault_config_tests::OpenBao;

use super::{Covered, Modal, revealed};
use crate::support::{NOTHING, dotenv, field_kinds, root};

#[tokio::test]
async fn a_named_env_file_must_exist() {
    for mode in [Mode::Local, Mode::Auto] {
        let loader = Modal::loader().mode(mode).dotenv("/no/such/file.env").env_source(NOTHING);
        let error = loader.load().await.unwrap_err();
        assert_eq!(field_kinds(&error), [("-", ErrorKind::Dotenv)]);
        assert_eq!(error.problems()[0].source_name(), Some("/no/such/file.env"));
    }
    // The default file may be absent.
    Modal::loader().env_source(NOTHING).load().await.unwrap();
}

#[tokio::test]
async fn a_secret_in_an_env_file_is_never_expanded() {
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "full", json!({"secret": "of vault"})).await;
    let file = dotenv(
        "\nAPP_SECRET=hunter2$APP_PLAIN\nAPP_PLAIN=\"a\"\nAPP_PLAIN_TOO=\"b${APP_PLAIN}\"\n",
    );
    let loader = || Covered::loader().dotenv(file.to_path_buf()).var("where", "full");
    let local = || loader().mode(Mode::Local);
    let error = local().env_source(NOTHING).load().await.unwrap_err();
    assert_eq!(field_kinds(&error), [("secret", ErrorKind::Dotenv)]);
    assert_eq!(
        error.problems()[0].source_name(),
        Some(format!("{} line 2", file.display()).as_str())
    );
    assert!(
        error.to_string().contains("single quotes") && !error.to_string().contains("hunter2"),
        "{error}"
    );
    // A line that is not used causes no problem.
    let read = local().env_source([("APP_SECRET", "env")]).load().await.unwrap();
    assert_eq!((revealed(&read.secret), read.plain_too.as_str()), (Some("env"), "ba"));
    let read = loader().env_source(root(&bao)).load().await.unwrap();
    assert_eq!((revealed(&read.secret), read.plain_too.as_str()), (Some("of vault"), "ba"));
}

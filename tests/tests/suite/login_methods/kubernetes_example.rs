//! The files in `examples/kubernetes`.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{ErrorKind, VaultConfig};
use vault_config_tests::{Kubernetes as Cluster, OpenBao, provision};

use crate::logins::file;

#[derive(Debug, VaultConfig)]
struct BillingConfig {
    #[vault(kv = "billing")]
    api_key: SecretString,
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("examples").join("kubernetes")
}

/// The `env` of the manifest's container: each variable's name and value, in two lines.
fn environment() -> Vec<(String, String)> {
    let manifest = std::fs::read_to_string(folder().join("billing.yaml")).unwrap();
    let lines: Vec<_> = manifest.lines().map(str::trim).collect();
    let value = |pair: &[&str]| {
        let name = pair[0].strip_prefix("- name: VAULT_")?;
        Some((format!("VAULT_{name}"), pair[1].strip_prefix("value: ")?.to_owned()))
    };
    lines.windows(2).filter_map(value).collect()
}

/// The administrator's commands as they are, then the manifest's variables as they are but for
/// addresses and paths.
#[tokio::test]
async fn its_commands_and_its_variables_fit() {
    let (bao, cluster) = tokio::join!(OpenBao::dev(), Cluster::start());
    cluster.connect(&bao).await;
    bao.kv_put("secret", "billing", json!({ "api_key": "k" })).await;
    let bin = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(provision::openbao(), bin.path().join("vault")).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let setup = Command::new(folder().join("setup.sh"))
        .env("PATH", format!("{}:{path}", bin.path().display()))
        .env("HOME", bin.path())
        .envs([("VAULT_ADDR", bao.address()), ("VAULT_TOKEN", bao.root_token())])
        .output()
        .unwrap();
    assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
    let policy = std::fs::read_to_string(folder().join("policy.hcl")).unwrap();
    assert!(policy.ends_with(&BillingConfig::schema().policy()), "{policy}");

    let said = environment();
    let names: Vec<_> = said.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "VAULT_ADDR",
            "VAULT_CACERT",
            "VAULT_AUTH_METHOD",
            "VAULT_AUTH_ROLE",
            "VAULT_KUBERNETES_TOKEN_FILE"
        ]
    );
    let load = async |audience: &str, account: &str| {
        let token = cluster.token_for(audience, "prod", account, 600);
        let token = file(bin.path(), "token", &token);
        let mut variables = said.clone();
        variables[0].1 = bao.address().to_owned();
        variables[4].1 = token;
        variables.remove(1);
        BillingConfig::loader().without_dotenv().env_source(variables).load().await
    };
    assert_eq!(load("vault", "billing").await.unwrap().api_key.expose_secret(), "k");
    for (audience, account) in [("https://kubernetes.default.svc", "billing"), ("vault", "other")] {
        let error = load(audience, account).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LoginRefused, "{error}");
    }
}

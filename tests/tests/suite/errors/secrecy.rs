//! No secret is ever shown, whatever fails.

use serde_json::{Value, json};
use vault_config::VaultConfig;
use vault_config::secrecy::SecretString;
use vault_config_tests::{AppRoleIds, Fault, FaultProxy, OpenBao};

use super::{failure, local_failure, login_failure, scripted, token_failure};
use crate::support::{TraceRecorder, assert_no_secret, load_error, loader, toml};

/// In every secret that a test can choose.
const CANARY: &str = "canary-7f3a";

#[derive(Debug, VaultConfig)]
#[vault(env_prefix = "APP", kv = "app")]
struct Canaries {
    #[vault(kv, plain)]
    number: u16,
    #[vault(kv, plain)]
    flag: bool,
    #[vault(kv, plain)]
    url: url::Url,
    #[vault(kv, plain)]
    address: std::net::IpAddr,
    #[vault(kv, plain)]
    list: Vec<u8>,
    #[vault(kv, plain)]
    choice: Choice,
    #[vault(kv, plain, validate = never)]
    text: String,
    #[vault(kv)]
    absent: SecretString,
    #[vault(kv)]
    good: SecretString,
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Choice {
    A,
    B { number: u8 },
}

fn never(text: &String) -> Result<(), String> {
    Err(format!("{text} is not good enough"))
}

fn canaries() -> Value {
    json!({
        "number": CANARY, "flag": CANARY, "url": CANARY, "address": CANARY, "list": [CANARY],
        "choice": {CANARY: 1}, "text": CANARY, "good": CANARY,
    })
}

#[tokio::test]
async fn no_secret_is_ever_shown() {
    let traces = TraceRecorder::default();
    let _recording = traces.of_this_thread();
    let mut errors = Vec::new();
    // What the server generates.
    let mut generated: Vec<String> = Vec::new();

    let (bao, tls) = tokio::join!(OpenBao::dev(), OpenBao::dev_tls());
    for bao in [&bao, &tls] {
        let ca = bao.address().starts_with("https").then(|| bao.ca_cert().to_str().unwrap());
        let with = |variables: &[(&str, &str)]| {
            let common = [("VAULT_ADDR", bao.address()), ("VAULT_CACERT", ca.unwrap_or_default())];
            loader::<Canaries>(&[&common, variables].concat())
        };
        bao.kv_put("secret", "app", canaries()).await;
        bao.policy("app", r#"path "secret/*" { capabilities = ["read"] }"#).await;
        let AppRoleIds { role_id, secret_id } = bao.approle("app", &["app"], json!({})).await;
        let token = bao.token(&["app"], json!({})).await;
        let denied = bao.token(&["default"], json!({})).await;
        let ids = [("VAULT_ROLE_ID", &*role_id), ("VAULT_SECRET_ID", &*secret_id)];
        errors.push(with(&ids).load().await.unwrap_err());
        errors.push(with(&[("VAULT_TOKEN", &token)]).check().await.unwrap_err());
        errors.push(with(&[("VAULT_TOKEN", &denied)]).load().await.unwrap_err());
        errors.push(with(&[("VAULT_TOKEN", CANARY)]).load().await.unwrap_err());
        errors.push(with(&[ids[0], ("VAULT_SECRET_ID", CANARY)]).load().await.unwrap_err());
        errors.push(with(&[("VAULT_TOKEN", &token)]).resolve().await.unwrap_err());
        generated.extend([role_id, secret_id, token, denied]);
    }

    let json = "application/json";
    let quoted = canaries().to_string();
    for server in [
        scripted(200, "text/html", CANARY).await,
        scripted(200, json, &quoted[..quoted.len() - 1]).await,
        scripted(200, json, quoted.clone()).await,
        scripted(200, json, format!(r#"{{"data": {quoted}}}"#)).await,
        scripted(200, json, format!(r#"{{"data": {{"data": [{quoted}]}}}}"#)).await,
        scripted(200, json, format!(r#"{{"auth": {{"client_token": "{CANARY}\u0000"}}}}"#)).await,
        scripted(502, "text/plain", CANARY).await,
        scripted(200, json, format!("\u{feff}{CANARY}")).await,
    ] {
        errors.push(login_failure(&server.address(), CANARY, CANARY).await);
        errors.push(token_failure::<Canaries>(&server.address(), CANARY).await);
    }
    let proxy = FaultProxy::in_front_of(bao.address()).await;
    for fault in [
        Fault::Garbage(CANARY.into()),
        Fault::Garbage(format!("HTTP/1.1 200 OK\r\n{CANARY}\r\n\r\n").into()),
        Fault::CutAfter(700),
        Fault::Refuse,
    ] {
        proxy.set(fault).await;
        errors.push(login_failure(&proxy.address(), CANARY, CANARY).await);
        errors.push(token_failure::<Canaries>(&proxy.address(), CANARY).await);
    }

    let garbage = format!("{CANARY} \n");
    for name in [
        "ADDR",
        "TOKEN",
        "NAMESPACE",
        "CLIENT_TIMEOUT",
        "MAX_RETRIES",
        "SKIP_VERIFY",
        "ROLE_ID",
        "SECRET_ID",
        "WRAPPED_SECRET_ID",
        "WRAPPED_TOKEN",
        "AUTH_ROLE",
        "AUTH_MOUNT",
        "CACERT_BYTES",
        "CLIENT_KEY_BYTES",
        "PROXY_ADDR",
        "HTTP_PROXY",
        "AUTH_METHOD",
        "CONFIG_MODE",
        "CONFIG_VAR_A",
    ] {
        let mut variables = vec![("VAULT_ADDR", "http://127.0.0.1:1"), ("VAULT_ROLE_ID", CANARY)];
        let name = format!("VAULT_{name}");
        variables.push((&name, &garbage));
        errors.push(failure::<Canaries>(&variables).await);
    }
    let user = format!("http://{CANARY}:{CANARY}@127.0.0.1:1/{CANARY}?{CANARY}");
    errors.push(token_failure::<Canaries>(&user, CANARY).await);

    let dotenv =
        "APP_GOOD=X\nAPP_NUMBER='X'\nAPP_TEXT=X$X\nX X\nAPP_LIST='[\"X\"]'\nAPP_ADDRESS='X";
    errors.push(local_failure::<Canaries>(&dotenv.replace('X', CANARY)).await);
    let text =
        "number = \"X\"\nchoice = { X = 1 }\ntext = \"X\"\nlist = [\"X\"]".replace('X', CANARY);
    for text in [text.clone(), format!("{text}\n{CANARY} {CANARY}")] {
        errors.push(load_error(loader::<Canaries>(&[]).figment(toml(&text))).await);
    }

    let secrets = generated.iter().map(String::as_str).chain([CANARY]);
    assert_no_secret(&errors, &traces, &secrets.collect::<Vec<_>>());
    // The recorder works, for this crate and for the crates below.
    for part in ["logged in", "trying again", "in h2::", "in hyper_util::"] {
        assert!(traces.count(part) > 0, "nothing traced {part}");
    }
}

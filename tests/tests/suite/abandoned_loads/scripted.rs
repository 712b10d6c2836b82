//! Servers that fail halfway through a load.

use std::time::Duration;

use serde_json::{Value, json};
use vault_config::secrecy::SecretString;
use vault_config::{ErrorKind, Loader, VaultConfig};
use vault_config_tests::{ScriptedAnswer, ScriptedServer};

use crate::support::{logged, until};

#[derive(Debug, VaultConfig)]
struct Two {
    #[vault(read = "early/creds/app", key = "password")]
    early: SecretString,
    #[vault(read = "late/creds/app", key = "password")]
    late: SecretString,
}

/// A server that issues `early`, and answers `late` as the test says.
async fn scripted(late: Value, status: u16, renewable: bool) -> ScriptedServer {
    ScriptedServer::start(move |request| match request.path() {
        "/v1/late/creds/app" => ScriptedAnswer::json(status, &late),
        "/v1/sys/leases/renew" => {
            ScriptedAnswer::json(200, &json!({ "lease_id": "early", "lease_duration": 1 }))
        }
        "/v1/early/creds/app" => {
            let lease = json!({
                "lease_id": "early", "renewable": renewable, "lease_duration": 3600,
                "data": { "password": "p" },
            });
            ScriptedAnswer::json(200, &lease)
        }
        _ => ScriptedAnswer::status(503),
    })
    .await
}

fn loader(server: &ScriptedServer) -> Loader<Two> {
    let variables = [("VAULT_ADDR", server.address()), ("VAULT_TOKEN", "t".to_owned())];
    Two::loader().without_dotenv().env_source(variables)
}

/// The leases that were cut short.
fn ended(server: &ScriptedServer) -> Vec<Value> {
    let renewals = server.requests().into_iter();
    let renewals = renewals.filter(|request| request.path() == "/v1/sys/leases/renew");
    renewals.map(|request| request.json()).collect()
}

#[tokio::test]
async fn credentials_issued_before_an_outage_are_shortened() {
    let sealed = scripted(json!({ "errors": ["Vault is sealed"] }), 503, true).await;
    let early = json!({ "lease_id": "early", "increment": 1 });
    let error =
        loader(&sealed).startup_deadline(Duration::from_millis(300)).load().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Sealed);
    assert_eq!(ended(&sealed), std::slice::from_ref(&early));

    let waiting = tokio::time::timeout(Duration::from_secs(3), loader(&sealed).watch()).await;
    assert!(waiting.is_err(), "it waits for the server");
    until("it is ended", async || ended(&sealed).len() == 2).await;
    assert_eq!(ended(&sealed)[1], early);
}

#[tokio::test]
async fn a_lease_in_an_answer_that_is_of_no_use_is_ended() {
    let answer = json!({ "lease_id": "late", "renewable": true, "lease_duration": 60 });
    for data in [json!(null), json!("text"), json!({ "other": "p" })] {
        let mut answer = answer.clone();
        answer["data"] = data;
        let server = scripted(answer, 200, true).await;
        loader(&server).load().await.unwrap_err();
        let mut ended: Vec<_> = ended(&server).iter().map(|it| it["lease_id"].clone()).collect();
        ended.sort_by_key(Value::to_string);
        assert_eq!(ended, [json!("early"), json!("late")]);
    }
}

#[tokio::test]
async fn a_lease_that_cannot_be_cut_short_is_reported() {
    let server = scripted(json!({ "errors": [] }), 404, false).await;
    let load = loader(&server).load();
    let lines = logged(async { drop(load.await.unwrap_err()) }).await;
    let warned: Vec<_> = lines.iter().filter(|line| line.starts_with("WARN")).collect();
    assert_eq!(warned.len(), 1, "{lines:?}");
    assert!(
        warned[0].contains("a lease of early/creds/app stays valid until it expires"),
        "{warned:?}"
    );
    assert_eq!(ended(&server), [Value::Null; 0]);
}

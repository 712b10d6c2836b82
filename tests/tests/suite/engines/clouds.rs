//! Engines of which no server can be had here: what HashiCorp's pages say that they answer.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;
use serde_json::{Value, json};
use vault_config::live::Action;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{ErrorKind, Secret, VaultConfig};
use vault_config_tests::{ScriptedAnswer, ScriptedRequest, ScriptedServer};

use crate::support::{token_loader, until};

/// A server that gives leases, and what it was asked.
#[derive(Debug, Default)]
struct Books {
    /// When each credential was made, by path.
    made: BTreeMap<String, Vec<Instant>>,
    /// How often each lease was renewed.
    renewed: BTreeMap<String, usize>,
}

/// Long enough to be renewed in time on a slow machine.
const SHORT: u64 = 8;

async fn start(ttl: u64) -> (ScriptedServer, Arc<Mutex<Books>>) {
    let books = Arc::new(Mutex::new(Books::default()));
    let kept = Arc::clone(&books);
    let server =
        ScriptedServer::start(move |request| answer(&mut kept.lock().unwrap(), ttl, &request))
            .await;
    (server, books)
}

fn answer(books: &mut Books, ttl: u64, request: &ScriptedRequest) -> ScriptedAnswer {
    let path = request.path().strip_prefix("/v1/").unwrap_or_default();
    if path == "auth/token/lookup-self" {
        let token = json!({ "ttl": 0, "expire_time": null, "renewable": false, "type": "service" });
        return ScriptedAnswer::json(200, &json!({ "data": token }));
    }
    if path == "sys/leases/renew" {
        let lease = request.json()["lease_id"].as_str().unwrap().to_owned();
        let renewal = json!({ "lease_id": lease, "renewable": true, "lease_duration": ttl });
        *books.renewed.entry(lease).or_default() += 1;
        return ScriptedAnswer::json(200, &renewal);
    }
    let made = books.made.entry(path.to_owned()).or_default();
    let number = made.len();
    let Some((lease, data)) = credential(path, number, ttl) else {
        return ScriptedAnswer::json(404, &json!({ "errors": [] }));
    };
    made.push(Instant::now());
    let (id, lease_duration, renewable) = match lease {
        Lease::Renewable => (format!("{path}/{number}"), ttl, true),
        Lease::Fixed => (format!("{path}/{number}"), ttl, false),
        Lease::None => (String::new(), 0, false),
    };
    let whole = json!({
        "request_id": "1f1fc5a7-4a33-4d68-a7b3-3f1fb1a5dbb1",
        "lease_id": id,
        "renewable": renewable,
        "lease_duration": lease_duration,
        "data": data,
        "wrap_info": null,
        "warnings": null,
        "auth": null,
    });
    ScriptedAnswer::json(200, &whole)
}

enum Lease {
    Renewable,
    Fixed,
    None,
}

/// The keys are the documented ones, null and all.
fn credential(path: &str, number: usize, ttl: u64) -> Option<(Lease, Value)> {
    let credential = match path {
        "aws/creds/deploy" => (
            Lease::Renewable,
            json!({ "access_key": format!("AKIA{number}"), "secret_key": "xlCs", "security_token": null }),
        ),
        "aws/sts/deploy" => (
            Lease::Fixed,
            json!({
                "access_key": format!("ASIA{number}"),
                "secret_key": "HSs0",
                "security_token": "AQoDYXdzEE",
                "arn": "arn:aws:sts::123456789012:assumed-role/deploy/app",
                "ttl": ttl,
            }),
        ),
        "azure/creds/deploy" => (
            Lease::Renewable,
            json!({ "client_id": "408bf248", "client_secret": format!("ad06228a{number}") }),
        ),
        "gcp/roleset/deploy/token" => (
            Lease::None,
            json!({
                "token": format!("ya29.c.{number}"),
                "expires_at_seconds": 1_537_400_046,
                "token_ttl": 3599,
            }),
        ),
        "gcp/roleset/deploy/key" => (
            Lease::Renewable,
            json!({
                "private_key_data": format!("a2V5{number}"),
                "key_algorithm": "KEY_ALG_RSA_2048",
                "key_type": "TYPE_GOOGLE_CREDENTIALS_FILE",
            }),
        ),
        "consul/creds/deploy" => (
            Lease::Renewable,
            json!({
                "accessor": "9b5d03e2",
                "token": format!("df9e4b7b{number}"),
                "local": false,
                "consul_namespace": "",
                "partition": "",
            }),
        ),
        "nomad/creds/deploy" => (
            Lease::Renewable,
            json!({ "accessor_id": "c834ba40", "secret_id": format!("65af6f07{number}") }),
        ),
        _ => return None,
    };
    Some(credential)
}

/// The token of a user is null; that of a role is not.
#[derive(Debug, Deserialize)]
struct Aws {
    access_key: String,
    secret_key: SecretString,
    security_token: Option<SecretString>,
}

impl Secret for Aws {}

#[derive(Debug, VaultConfig)]
struct Clouds {
    #[vault(read = "aws/creds/deploy")]
    aws: Aws,
    #[vault(read = "aws/sts/deploy")]
    sts: Aws,
    #[vault(read = "azure/creds/deploy")]
    azure: HashMap<String, SecretString>,
    #[vault(read = "gcp/roleset/deploy/token", key = "token", refresh = "1s")]
    gcp_token: SecretString,
    #[vault(read = "gcp/roleset/deploy/key", key = "private_key_data")]
    gcp_key: SecretString,
    #[vault(read = "consul/creds/deploy")]
    consul: HashMap<String, SecretString>,
    #[vault(read = "nomad/creds/deploy", key = "secret_id")]
    nomad: SecretString,
    #[vault(read = "nomad/creds/deploy", key = "accessor_id", plain)]
    nomad_accessor: String,
}

const RENEWABLE: [&str; 5] = [
    "aws/creds/deploy",
    "azure/creds/deploy",
    "consul/creds/deploy",
    "gcp/roleset/deploy/key",
    "nomad/creds/deploy",
];

#[tokio::test]
async fn every_answer_of_a_cloud_engine_is_read_as_documented() {
    let (server, books) = start(3600).await;
    let loader = token_loader::<Clouds>(&server.address(), "t");
    let config = loader.load().await.unwrap();
    assert_eq!(config.aws.access_key, "AKIA0");
    assert_eq!(config.aws.secret_key.expose_secret(), "xlCs");
    assert!(config.aws.security_token.is_none());
    assert_eq!(config.sts.security_token.unwrap().expose_secret(), "AQoDYXdzEE");
    assert_eq!(config.azure["client_secret"].expose_secret(), "ad06228a0");
    assert_eq!(config.gcp_token.expose_secret(), "ya29.c.0");
    assert_eq!(config.gcp_key.expose_secret(), "a2V50");
    assert_eq!(config.consul["token"].expose_secret(), "df9e4b7b0");
    assert_eq!(config.consul["local"].expose_secret(), "false");
    assert_eq!(config.nomad.expose_secret(), "65af6f070");
    assert_eq!(config.nomad_accessor, "c834ba40");
    let books = books.lock().unwrap();
    assert!(books.made.values().all(|made| made.len() == 1), "{books:?}");
}

#[derive(Debug, VaultConfig)]
struct Texts {
    #[vault(read = "aws/creds/deploy")]
    aws: HashMap<String, SecretString>,
}

#[derive(Debug, VaultConfig)]
struct PerhapsTexts {
    #[vault(read = "aws/creds/deploy")]
    aws: HashMap<String, Option<SecretString>>,
}

#[tokio::test]
async fn a_null_is_no_text() {
    let (server, _) = start(3600).await;
    let address = server.address();
    let error = token_loader::<Texts>(&address, "t").load().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongType, "{error}");
    assert!(error.problems()[0].message().contains("security_token"), "{error}");
    let config = token_loader::<PerhapsTexts>(&address, "t").load().await.unwrap();
    assert!(config.aws["security_token"].is_none() && config.aws["secret_key"].is_some());
}

#[tokio::test]
async fn the_status_reports_leases_and_their_next_action() {
    let (server, _books) = start(3600).await;
    let loader = token_loader::<Clouds>(&server.address(), "t");
    let live = loader.watch().await.unwrap();
    let status = live.status();
    let plans: BTreeMap<_, _> = status
        .sources
        .iter()
        .map(|source| (&*source.source, (source.state.next_action, source.state.expires_at)))
        .collect();
    let now = SystemTime::now();
    let lasts_an_hour = |end: Option<SystemTime>| {
        let left = end.and_then(|end| end.duration_since(now).ok()).unwrap_or_default();
        (Duration::from_secs(3300)..=Duration::from_secs(3600)).contains(&left)
    };
    for path in RENEWABLE {
        let (action, end) = plans[path];
        assert_eq!(action, Some(Action::Renew), "{path}: {status:#?}");
        assert!(lasts_an_hour(end), "{path}: {status:#?}");
    }
    let (action, end) = plans["aws/sts/deploy"];
    assert_eq!(action, Some(Action::Rotate), "{status:#?}");
    assert!(lasts_an_hour(end), "{status:#?}");
    let (action, end) = plans["gcp/roleset/deploy/token"];
    assert_eq!((action, end), (Some(Action::Read), None), "{status:#?}");
    assert_eq!(plans.len(), 7, "{status:#?}");
}

#[tokio::test]
async fn leases_that_cannot_be_renewed_are_issued_again_before_they_expire() {
    let (server, books) = start(SHORT).await;
    let loader = token_loader::<Clouds>(&server.address(), "t");
    let live = loader.watch().await.unwrap();
    let first = live.current();
    let renewals = |path: &str| {
        let books = books.lock().unwrap();
        books.renewed.get(&format!("{path}/0")).copied().unwrap_or_default()
    };
    until("each lease is renewed or issued again", async || {
        let current = live.current();
        let number: usize = current.sts.access_key.strip_prefix("ASIA").unwrap().parse().unwrap();
        let age = books.lock().unwrap().made["aws/sts/deploy"][number].elapsed();
        assert!(age < Duration::from_secs(SHORT), "it has ended: {:#?}", live.status());
        number >= 2 && RENEWABLE.iter().all(|path| renewals(path) >= 2)
    })
    .await;
    until("the token without a lease is another", async || {
        live.current().gcp_token.expose_secret() != first.gcp_token.expose_secret()
    })
    .await;
    let books = books.lock().unwrap();
    for path in RENEWABLE {
        assert_eq!(books.made[path].len(), 1, "{path}: {books:#?}");
    }
    assert!(!books.renewed.keys().any(|lease| lease.contains("sts")), "{books:#?}");
    let counters = live.status().counters;
    assert_eq!(counters.failures, 0, "{counters:?}");
}

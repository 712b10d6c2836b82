//! AWS, and the signature of its requests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use insta::assert_snapshot;
use ring::{digest, hmac};
use serde_json::{Value, json};
use vault_config::ErrorKind;
use vault_config::auth::AwsIam;
use vault_config_tests::{ScriptedAnswer, ScriptedRequest, ScriptedServer};

use super::super::{assert_hides, assert_logs_in_by, refused, refused_by};
use super::{JWT, metadata, vault};
use crate::logins::{assert_logs_in, file};
use crate::support::problems;

const PATH: &str = "/v1/auth/aws/login";
const ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYhunter2";
const TOKEN: &str = "FwoGZXIvYXdzEhunter2==";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decoded(body: &Value, name: &str) -> String {
    let text = STANDARD.decode(body[name].as_str().unwrap()).unwrap();
    String::from_utf8(text).unwrap()
}

/// The signature that this login should have, by the letter of AWS's documentation: an
/// implementation of its own.
fn is_signed(login: &Value, host: &str, region: &str, token: Option<&str>) -> bool {
    assert_eq!(login["iam_http_request_method"], "POST");
    assert_eq!(decoded(login, "iam_request_url"), format!("https://{host}/"));
    let call = decoded(login, "iam_request_body");
    assert_eq!(call, "Action=GetCallerIdentity&Version=2011-06-15");
    let headers: Value = serde_json::from_str(&decoded(login, "iam_request_headers")).unwrap();
    assert_eq!(headers["x-amz-security-token"].as_str(), token);
    let authorization = headers["authorization"].as_str().unwrap();
    let (before, signature) = authorization.split_once(", Signature=").unwrap();
    let (scope, names) = before.split_once(", SignedHeaders=").unwrap();
    let date = headers["x-amz-date"].as_str().unwrap();
    let scope = scope.strip_prefix(&format!("AWS4-HMAC-SHA256 Credential={ID}/")).unwrap();
    assert_eq!(scope, format!("{}/{region}/sts/aws4_request", &date[..8]));
    let value = |name: &str| match name {
        "host" => host.to_owned(),
        name => headers[name].as_str().unwrap().to_owned(),
    };
    let lines: String = names.split(';').map(|name| format!("{name}:{}\n", value(name))).collect();
    // All that carries meaning is signed.
    for (name, _) in headers.as_object().unwrap() {
        assert!(name == "authorization" || names.split(';').any(|one| one == name), "{name}");
    }
    let hash = |text: &str| hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    let request = format!("POST\n/\n\n{lines}\n{names}\n{}", hash(&call));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hash(&request));
    let sign = |key: &[u8], text: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
    };
    let start = format!("AWS4{SECRET}").into_bytes();
    let key = scope.split('/').fold(start, |key, part| sign(&key, part));
    hex(&sign(&key, &text)) == signature
}

fn signed_by_role(login: &Value) -> bool {
    is_signed(login, "sts.amazonaws.com", "us-east-1", Some(TOKEN))
}

fn credentials() -> ScriptedAnswer {
    let all = json!({
        "Code": "Success", "AccessKeyId": ID, "SecretAccessKey": SECRET, "Token": TOKEN,
        "Expiration": "2030-01-01T00:00:00Z",
    });
    ScriptedAnswer::json(200, &all)
}

fn instance(request: &ScriptedRequest) -> ScriptedAnswer {
    let list = "/latest/meta-data/iam/security-credentials/";
    let proven = request.header("x-aws-ec2-metadata-token") == Some("session-7");
    match (request.method.as_str(), request.target.strip_prefix(list)) {
        ("PUT", None) if request.target == "/latest/api/token" => {
            assert!(request.header("x-aws-ec2-metadata-token-ttl-seconds").is_some());
            ScriptedAnswer::status(200).body("session-7")
        }
        ("GET", Some("")) if proven => ScriptedAnswer::status(200).body("app-role\n"),
        ("GET", Some("app-role")) if proven => credentials(),
        _ => ScriptedAnswer::status(401),
    }
}

#[tokio::test]
async fn credentials_of_the_environment_sign() {
    let fits = |login: &Value| {
        login["role"] == "billing" && is_signed(login, "sts.amazonaws.com", "us-east-1", None)
    };
    let server = vault(PATH, fits).await;
    let (address, method) = (server.address(), ("VAULT_AUTH_METHOD", "aws"));
    let keys = [("AWS_ACCESS_KEY_ID", ID), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let role = ("VAULT_AUTH_ROLE", "billing");
    assert_logs_in(&[("VAULT_ADDR", &*address), method, role, keys[0], keys[1]]).await;

    let fits = |login: &Value| {
        let headers = decoded(login, "iam_request_headers");
        assert!(headers.contains(r#""x-vault-aws-iam-server-id":"vault.example.com""#));
        let host = "sts.eu-central-1.amazonaws.com";
        login["role"].is_null() && is_signed(login, host, "eu-central-1", Some(TOKEN))
    };
    let server = vault(PATH, fits).await;
    let variables = [
        ("VAULT_ADDR", &*server.address()),
        method,
        ("VAULT_AWS_REGION", "eu-central-1"),
        ("VAULT_AWS_IAM_SERVER_ID", "vault.example.com"),
        keys[0],
        keys[1],
        ("AWS_SESSION_TOKEN", TOKEN),
    ];
    assert_logs_in(&variables).await;
}

#[tokio::test]
async fn the_role_of_an_instance_signs() {
    let (server, metadata) = tokio::join!(vault(PATH, signed_by_role), metadata(instance));
    let method = AwsIam::new().metadata_address(metadata.address());
    assert_logs_in_by(&server.address(), method).await;
    let variables = [
        ("VAULT_ADDR", &*server.address()),
        ("VAULT_AUTH_METHOD", "aws"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.address()),
    ];
    assert_logs_in(&variables).await;
    assert_eq!(metadata.requests().len(), 6);
}

#[tokio::test]
async fn the_role_of_a_container_signs() {
    let container = |request: &ScriptedRequest| match (
        request.target.as_str(),
        request.header("authorization"),
    ) {
        ("/v2/credentials/7", Some("Basic hunter2")) => credentials(),
        _ => ScriptedAnswer::status(401),
    };
    let (server, metadata) = tokio::join!(vault(PATH, signed_by_role), metadata(container));
    let folder = tempfile::tempdir().unwrap();
    let token = file(folder.path(), "token", "Basic hunter2\n");
    let uri = format!("{}/v2/credentials/7", metadata.address());
    let address = server.address();
    let common = [
        ("VAULT_ADDR", &*address),
        ("VAULT_AUTH_METHOD", "aws"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &uri),
    ];
    let by_file = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.as_str());
    assert_logs_in(&[&common[..], &[by_file]].concat()).await;
    let by_value = ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic hunter2");
    assert_logs_in(&[&common[..], &[by_value]].concat()).await;
    let wrong = ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic hunter3");
    let error = refused(&[&common[..], &[wrong]].concat()).await;
    assert_hides(&error, &["hunter"]);
    assert_snapshot!(problems(&error, ErrorKind::LoginRefused), @"
    vault http://127.0.0.1:PORT, login by aws at auth/aws: the container credential provider of AWS answered HTTP 401
    help: check that this machine or container has an identity, and may request it
    ");
    // The token of the container goes to the container's own address only.
    let mut away = common;
    away[2].1 = "http://169.254.170.99/credentials";
    let error = refused(&[&away[..], &[by_value]].concat()).await;
    assert_snapshot!(problems(&error, ErrorKind::Setting), @"
    env AWS_CONTAINER_CREDENTIALS_FULL_URI: is neither https nor an address that only this container reaches
    help: correct it
    ");
}

#[tokio::test]
async fn the_role_of_a_service_account_signs() {
    let sts = |request: &ScriptedRequest| {
        let form = String::from_utf8(request.body.clone()).unwrap();
        let expected = format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&\
             RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fapp&RoleSessionName=billing&WebIdentityToken={JWT}"
        );
        assert_eq!((request.method.as_str(), form), ("POST", expected));
        let body = format!(
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\n\
             <AccessKeyId>{ID}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>\
             <SessionToken>{TOKEN}</SessionToken></Credentials></AssumeRoleWithWebIdentityResult>\
             </AssumeRoleWithWebIdentityResponse>"
        );
        ScriptedAnswer::status(200).header("Content-Type", "text/xml").body(body)
    };
    let (server, metadata) = tokio::join!(vault(PATH, signed_by_role), metadata(sts));
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "token", JWT);
    let address = server.address();
    let endpoint = metadata.address();
    let variables = [
        ("VAULT_ADDR", &*address),
        ("VAULT_AUTH_METHOD", "aws"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &path),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/app"),
        ("AWS_ROLE_SESSION_NAME", "billing"),
        ("AWS_ENDPOINT_URL_STS", &endpoint),
    ];
    assert_logs_in(&variables).await;
    file(folder.path(), "token", "hunter2");
    let error = refused(&variables).await;
    assert_hides(&error, &["hunter2"]);
    assert_snapshot!(problems(&error, ErrorKind::Setting), @"
    vault http://127.0.0.1:PORT, login by aws at auth/aws: DIRECTORY/token holds no JWT (three parts of base64url, joined by dots)
    help: pass the token exactly as its issuer wrote it
    ");
}

#[tokio::test]
async fn what_cannot_sign_is_never_sent() {
    let server = vault(PATH, |_| true).await;
    let address = server.address();
    let common = [("VAULT_ADDR", &*address), ("VAULT_AUTH_METHOD", "aws")];
    let off = ("AWS_EC2_METADATA_DISABLED", "true");
    let error = refused(&[&common[..], &[off]].concat()).await;
    assert_snapshot!(problems(&error, ErrorKind::NoLogin), @"
    vault http://127.0.0.1:PORT, login by aws at auth/aws: no AWS credentials were found; looked for AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN, AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI, and the instance metadata service, which AWS_EC2_METADATA_DISABLED turns off
    help: run this program with a role: an instance profile, a task role, or a service account's role
    ");
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "hunter2"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("AWS_ACCESS_KEY_ID", "hunter2\n"),
        ("AWS_EC2_METADATA_DISABLED", "hunter2"),
        ("VAULT_AWS_REGION", "hunter2/../evil.example.com"),
        ("VAULT_AWS_IAM_SERVER_ID", "hunter2\r\nX-Evil: yes"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://hunter2.example.com/"),
    ] {
        let error = refused(&[&common[..], &[(name, value)]].concat()).await;
        assert_eq!(error.kind(), ErrorKind::Setting, "{error}");
        assert!(error.to_string().contains(name), "{error}");
        assert_hides(&error, &["hunter2"]);
    }
    let keys = [("AWS_ACCESS_KEY_ID", ID), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let token = ("AWS_SESSION_TOKEN", "hunter2\n");
    let error = refused(&[&common[..], &keys, &[token]].concat()).await;
    assert_snapshot!(problems(&error, ErrorKind::Setting), @"
    env AWS_SESSION_TOKEN: contains a space or a control character
    help: remove it
    ");
    let unreachable = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1");
    let error = refused(&[&common[..], &[unreachable]].concat()).await;
    assert_snapshot!(problems(&error, ErrorKind::Connection), @"
    vault http://127.0.0.1:PORT, login by aws at auth/aws: the instance metadata service of AWS cannot be reached (http://127.0.0.1:PORT)
    help: check that this machine or container offers it; AWS_EC2_METADATA_SERVICE_ENDPOINT names another address
      looked for AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN, AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI, and the instance metadata service
    ");
    for answer in [
        ScriptedAnswer::status(200).body("hunter2\r\nhunter2"),
        ScriptedAnswer::status(200),
        ScriptedAnswer::status(200).body("{\"AccessKeyId\": \"hunter2\"}"),
    ] {
        let metadata = ScriptedServer::always(answer).await;
        let method = AwsIam::new().metadata_address(metadata.address());
        let error = refused_by(&server.address(), method).await;
        assert!(matches!(error.kind(), ErrorKind::Protocol | ErrorKind::Setting), "{error}");
        assert_hides(&error, &["hunter2"]);
    }
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn a_refusal_is_reported_without_the_signed_request() {
    // STS quotes the whole request when the signature is wrong.
    let quoting = |request: ScriptedRequest| {
        let headers = decoded(&request.json(), "iam_request_headers");
        let headers: Value = serde_json::from_str(&headers).unwrap();
        let token = headers["x-amz-security-token"].as_str().unwrap();
        let words = format!("SignatureDoesNotMatch: .. x-amz-security-token:{token}");
        ScriptedAnswer::json(400, &json!({ "errors": [words] }))
    };
    let server = ScriptedServer::start(quoting).await;
    let variables = [
        ("VAULT_ADDR", &*server.address()),
        ("VAULT_AUTH_METHOD", "aws"),
        ("AWS_ACCESS_KEY_ID", ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_SESSION_TOKEN", TOKEN),
    ];
    let error = refused(&variables).await;
    assert_hides(&error, &[TOKEN, SECRET, "hunter2"]);
    assert_snapshot!(problems(&error, ErrorKind::LoginRefused), @"
    vault http://127.0.0.1:PORT, login by aws at auth/aws: the server refused the login (HTTP 400); its message is withheld, because it repeats what was sent
    help: see the server's log
    ");
    assert_eq!(server.requests().len(), 1);

    let says = json!({ "errors": ["entry for role billing-app not found (43)"] });
    let server = ScriptedServer::always(ScriptedAnswer::json(400, &says)).await;
    let mut variables = variables.to_vec();
    let address = server.address();
    variables[0].1 = &address;
    variables.push(("VAULT_AUTH_ROLE", "billing-app"));
    let error = refused(&variables).await;
    assert!(error.to_string().contains("entry for role billing-app not found"), "{error}");
}

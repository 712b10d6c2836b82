//! Azure.

use insta::assert_snapshot;
use serde_json::{Value, json};
use vault_config::ErrorKind;
use vault_config::auth::Azure;
use vault_config_tests::{ScriptedAnswer, ScriptedRequest, ScriptedServer};

use super::super::{assert_hides, assert_logs_in_by, refused, refused_by};
use super::{JWT, metadata, vault};
use crate::logins::assert_logs_in;
use crate::support::problems;

const PATH: &str = "/v1/auth/azure/login";

fn machine(request: &ScriptedRequest) -> ScriptedAnswer {
    assert_eq!(request.header("metadata"), Some("true"));
    let resource = "resource=https%3A%2F%2Fmanagement.azure.com%2F";
    let token = format!("/metadata/identity/oauth2/token?api-version=2018-02-01&{resource}");
    match request.target.as_str() {
        "/metadata/instance?api-version=2021-02-01" => {
            let compute = json!({
                "subscriptionId": "sub", "resourceGroupName": "group", "name": "vm-7",
                "vmScaleSetName": "", "location": "west",
            });
            ScriptedAnswer::json(200, &json!({ "compute": compute, "network": {} }))
        }
        target if target == token => {
            ScriptedAnswer::json(200, &json!({ "access_token": JWT, "expires_in": "86399" }))
        }
        _ => ScriptedAnswer::status(400),
    }
}

#[tokio::test]
async fn a_machine_logs_in_with_its_managed_identity() {
    let fits = |body: &Value| {
        *body
            == json!({
                "role": "billing", "jwt": JWT, "subscription_id": "sub",
                "resource_group_name": "group", "vm_name": "vm-7",
            })
    };
    let (vault, metadata) = tokio::join!(vault(PATH, fits), metadata(machine));
    let method = Azure::new("billing").metadata_address(metadata.address());
    assert_logs_in_by(&vault.address(), method).await;
    let variables = [
        ("VAULT_ADDR", &*vault.address()),
        ("VAULT_AUTH_METHOD", "azure"),
        ("VAULT_AUTH_ROLE", "billing"),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", &metadata.address()),
    ];
    assert_logs_in(&variables).await;
}

#[tokio::test]
async fn a_service_logs_in_with_the_endpoint_it_is_given() {
    let fits = |body: &Value| *body == json!({ "role": "billing", "jwt": JWT });
    let service = |request: &ScriptedRequest| {
        assert_eq!(request.header("x-identity-header"), Some("proof-of-hunter2"));
        let asked =
            "/msi/token?api-version=2019-08-01&resource=api%3A%2F%2Fvault&client_id=user-assigned";
        match request.target == asked {
            true => ScriptedAnswer::json(200, &json!({ "access_token": JWT })),
            false => ScriptedAnswer::status(400),
        }
    };
    let (vault, metadata) = tokio::join!(vault(PATH, fits), metadata(service));
    let variables = [
        ("VAULT_ADDR", &*vault.address()),
        ("VAULT_AUTH_METHOD", "azure"),
        ("VAULT_AUTH_ROLE", "billing"),
        ("VAULT_AZURE_RESOURCE", "api://vault"),
        ("AZURE_CLIENT_ID", "user-assigned"),
        ("IDENTITY_ENDPOINT", &format!("{}/msi/token", metadata.address())),
        ("IDENTITY_HEADER", "proof-of-hunter2"),
    ];
    assert_logs_in(&variables).await;
    // A proof that cannot be sent is not shown either.
    let mut malformed = variables;
    malformed[6].1 = "proof-of-hunter2\n";
    let error = refused(&malformed).await;
    assert_hides(&error, &["hunter2"]);
    assert_snapshot!(problems(&error, ErrorKind::Setting), @r#"
    vault http://127.0.0.1:PORT, login by azure at auth/azure as "billing": the header x-identity-header for the metadata service of Azure would contain a control character
    help: correct the variable or file that it is read from
    "#);
}

#[tokio::test]
async fn what_is_no_access_token_is_never_sent() {
    let vault = vault(PATH, |_| true).await;
    for (status, body, kind) in [
        (200, json!({ "access_token": "hunter2" }), ErrorKind::Protocol),
        (200, json!({ "access_token": 7, "hunter2": 1 }), ErrorKind::Protocol),
        (200, json!([]), ErrorKind::Protocol),
        (400, json!({ "error": "hunter2" }), ErrorKind::LoginRefused),
    ] {
        let metadata = ScriptedServer::always(ScriptedAnswer::json(status, &body)).await;
        let method = Azure::new("billing").metadata_address(metadata.address());
        let error = refused_by(&vault.address(), method).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert_hides(&error, &["hunter2"]);
    }
    assert_eq!(vault.requests().len(), 0);
}

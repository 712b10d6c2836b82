//! No method shows or traces its secret.

use serde_json::json;
use vault_config::auth::{AppRole, AuthMethod, GitHub, Jwt, Ldap, Radius, UserPass, WrappedToken};
use vault_config_tests::{AppRoleIds, Fault, FaultProxy, Issuer};

use crate::logins::{load, server};
use crate::support::{TraceRecorder, assert_no_secret};

const CANARY: &str = "canary-7f3a";

#[test]
fn no_method_shows_what_it_holds() {
    let methods: Vec<Box<dyn AuthMethod>> = vec![
        Box::new(AppRole::new(CANARY, CANARY)),
        Box::new(AppRole::with_wrapped_secret_id(CANARY, CANARY)),
        Box::new(WrappedToken::new(CANARY)),
        Box::new(Jwt::new(CANARY)),
        Box::new(UserPass::new("alice", CANARY)),
        Box::new(Ldap::new("alice", CANARY)),
        Box::new(Radius::new("alice", CANARY)),
        Box::new(GitHub::new(CANARY)),
    ];
    for method in methods {
        let shown = format!("{method:?} {method:#?} {}", method.describe());
        assert!(!shown.contains(CANARY), "{shown}");
    }
}

#[tokio::test]
async fn no_login_traces_a_secret() {
    let traces = TraceRecorder::default();
    let _recording = traces.of_this_thread();
    let (bao, AppRoleIds { role_id, .. }) = server().await;
    bao.enable_auth("userpass").await;
    let user = json!({ "password": CANARY, "token_policies": "app" });
    bao.write("auth/userpass/users/alice", user).await;
    let path = "auth/approle/role/app/secret-id";
    let wrapped = bao.write_wrapped(path, json!({}), "60s").await;
    let issuer = Issuer::new();
    bao.enable_auth("jwt").await;
    let config = json!({ "jwt_validation_pubkeys": [issuer.public_key()] });
    bao.write("auth/jwt/config", config).await;
    let jwt = issuer.sign(&json!({ "sub": "pipeline" }), 600);
    let proxy = FaultProxy::in_front_of(bao.address()).await;
    let (address, method) = (proxy.address(), "VAULT_AUTH_METHOD");
    let address = ("VAULT_ADDR", address.as_str());
    let (alice, wrong) = (("VAULT_USERNAME", "alice"), format!("{CANARY}-wrong"));
    let by_aws = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", CANARY)];
    let ways: [&[(&str, &str)]; 6] = [
        &[(method, "userpass"), alice, ("VAULT_PASSWORD", CANARY)],
        &[(method, "userpass"), alice, ("VAULT_PASSWORD", &wrong)],
        &[("VAULT_ROLE_ID", &role_id), ("VAULT_WRAPPED_SECRET_ID", &wrapped)],
        &[("VAULT_ROLE_ID", &role_id), ("VAULT_WRAPPED_SECRET_ID", CANARY)],
        &[(method, "jwt"), ("VAULT_JWT", &jwt)],
        &[(method, "aws"), by_aws[0], by_aws[1], ("AWS_SESSION_TOKEN", CANARY)],
    ];
    let (mut errors, mut loaded) = (Vec::new(), 0);
    for fault in [Fault::None, Fault::CutAfter(20)] {
        proxy.set(fault).await;
        for way in ways {
            match load(&[&[address], way].concat()).await {
                Ok(_) => loaded += 1,
                Err(error) => errors.push(error),
            }
        }
    }
    assert_eq!(loaded, 2, "{errors:?}");
    assert_no_secret(&errors, &traces, &[CANARY, &role_id, &wrapped, &jwt]);
    assert_eq!(traces.count("uses the first login method that is present"), 4);
    assert_eq!(traces.count("SECURITY: the wrapping token is used"), 1);
}

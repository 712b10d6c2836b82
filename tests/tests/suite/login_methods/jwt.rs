//! Signed tokens of a CI system or another issuer.

use insta::assert_snapshot;
use serde_json::json;
use vault_config::ErrorKind;
use vault_config::auth::Jwt;
use vault_config_tests::{Issuer, OpenBao};

use super::{
    assert_hides, assert_logs_in_by, assert_malformed, connected, failed, load_from, logins,
    refused, refused_by,
};
use crate::logins::{assert_logs_in, file, server};
use crate::support::problems;

async fn issuer() -> (OpenBao, Issuer) {
    let (bao, _) = server().await;
    let issuer = Issuer::new();
    bao.enable_auth("jwt").await;
    let config = json!({
        "jwt_validation_pubkeys": [issuer.public_key()],
        "bound_issuer": "https://ci.example.com",
        "default_role": "app",
    });
    bao.write("auth/jwt/config", config).await;
    for (role, policy) in [("app", "app"), ("other", "default")] {
        let role = format!("auth/jwt/role/{role}");
        let body = json!({
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"],
            "token_policies": policy,
        });
        bao.write(&role, body).await;
    }
    (bao, issuer)
}

fn signed(issuer: &Issuer, audience: &str, seconds: i64) -> String {
    let claims = json!({ "iss": "https://ci.example.com", "sub": "pipeline-7", "aud": audience });
    issuer.sign(&claims, seconds)
}

#[tokio::test]
async fn a_signed_token_logs_in() {
    let (bao, issuer) = issuer().await;
    let folder = tempfile::tempdir().unwrap();
    let jwt = signed(&issuer, "vault", 3600);
    let path = file(folder.path(), "jwt", &format!("{jwt}\n"));
    assert_logs_in_by(bao.address(), Jwt::new(jwt.as_str())).await;
    assert_logs_in_by(bao.address(), Jwt::from_file(&path).role("app")).await;
    let (address, method) = (("VAULT_ADDR", bao.address()), ("VAULT_AUTH_METHOD", "jwt"));
    assert_logs_in(&[address, method, ("VAULT_JWT", &jwt)]).await;
    assert_logs_in(&[address, method, ("VAULT_JWT_FILE", &path)]).await;
    let role = ("VAULT_AUTH_ROLE", "app");
    assert_logs_in(&[address, method, role, ("VAULT_JWT", "wrong"), ("BAO_JWT", &jwt)]).await;
    // The role decides: this one may not read.
    let other = ("VAULT_AUTH_ROLE", "other");
    let error = refused(&[address, method, other, ("VAULT_JWT", &jwt)]).await;
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
}

#[tokio::test]
async fn its_file_is_read_at_every_login() {
    let (bao, issuer) = issuer().await;
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "jwt", &signed(&issuer, "vault", -600));
    let vault = connected(bao.address(), Jwt::from_file(&path));
    let error = failed(load_from(&vault).await);
    assert_snapshot!(problems(&error, ErrorKind::LoginRefused), @"
    vault http://127.0.0.1:PORT, login by jwt at auth/jwt: error validating token: invalid expiration time (exp) claim: token is expired (HTTP 400)
    help: the file is read at every login: check that the program that writes it still runs
    ");
    file(folder.path(), "jwt", &signed(&issuer, "vault", 600));
    load_from(&vault).await.unwrap();
}

#[tokio::test]
async fn a_refusal_says_what_may_be_wrong() {
    let (bao, issuer) = issuer().await;
    let log_in = async |jwt: &str, role: &str| {
        let error = refused_by(bao.address(), Jwt::new(jwt).role(role)).await;
        assert_hides(&error, &[jwt, jwt.rsplit('.').next().unwrap()]);
        error
    };
    let kind = ErrorKind::LoginRefused;
    let good = signed(&issuer, "vault", 3600);
    assert_snapshot!(problems(&log_in(&good, "no-such-role").await, kind), @r#"
    vault http://127.0.0.1:PORT, login by jwt at auth/jwt: role "no-such-role" could not be found (HTTP 400)
    help: set an existing role (vault list auth/jwt/role) in VAULT_AUTH_ROLE
    "#);
    assert_snapshot!(problems(&log_in(&signed(&issuer, "x", 3600), "app").await, kind), @"
    vault http://127.0.0.1:PORT, login by jwt at auth/jwt: error validating token: invalid audience (aud) claim: audience claim does not match any expected audience (HTTP 400)
    help: compare the token's claims with the role: vault read auth/jwt/role/app
    ");
    assert_snapshot!(problems(&log_in(&signed(&issuer, "vault", -600), "app").await, kind), @"
    vault http://127.0.0.1:PORT, login by jwt at auth/jwt: error validating token: invalid expiration time (exp) claim: token is expired (HTTP 400)
    help: pass a new JWT, or set VAULT_JWT_FILE to a file that is renewed
    ");
    let forged = signed(&Issuer::new(), "vault", 3600);
    assert_snapshot!(problems(&log_in(&forged, "app").await, kind), @"
    vault http://127.0.0.1:PORT, login by jwt at auth/jwt: error validating token: error verifying token signature: no known key successfully validated the token signature (HTTP 400)
    help: the method's keys do not verify the token: another issuer may have signed it, or the keys have changed or cannot be fetched; compare jwks_url, the public keys and the issuer: vault read auth/jwt/config
    ");
    assert_eq!(logins(&bao), 4);
}

#[tokio::test]
async fn what_is_malformed_is_never_sent() {
    let (bao, _) = issuer().await;
    for jwt in ["", "hunter2", "a.hunter2", "a.b.hunter2\n", "a.b.c.hunter2", "a..hunter2"] {
        assert_malformed(bao.address(), Jwt::new(jwt)).await;
    }
    let error = refused_by(bao.address(), Jwt::new("hunter2")).await;
    assert_snapshot!(problems(&error, ErrorKind::Setting), @"
    vault http://127.0.0.1:PORT, login by jwt at auth/jwt: the value is no JWT (three parts of base64url, joined by dots)
    help: pass the token exactly as its issuer wrote it
    ");
    let address = ("VAULT_ADDR", bao.address());
    let method = ("VAULT_AUTH_METHOD", "jwt");
    let error = refused(&[address, method, ("VAULT_JWT", "hunter2")]).await;
    assert_snapshot!(problems(&error, ErrorKind::Setting), @"
    env VAULT_JWT: is no JWT (three parts of base64url, joined by dots)
    help: pass the token exactly as its issuer wrote it
    ");
    assert_hides(&error, &["hunter2"]);
    assert_snapshot!(problems(&refused(&[address, method]).await, ErrorKind::NoLogin), @"
    env VAULT_AUTH_METHOD: this login method requires VAULT_JWT or VAULT_JWT_FILE
    help: set VAULT_JWT or VAULT_JWT_FILE
    ");
    let both = [address, method, ("VAULT_JWT", "a.b.c"), ("VAULT_JWT_FILE", "/none")];
    assert_snapshot!(problems(&refused(&both).await, ErrorKind::Setting), @"
    env VAULT_JWT: VAULT_JWT and VAULT_JWT_FILE are both set
    help: unset one of them
    ");
    let file = [address, method, ("VAULT_JWT_FILE", "/no/such/jwt")];
    assert_snapshot!(problems(&refused(&file).await, ErrorKind::LoginRefused), @"
    vault http://127.0.0.1:PORT, login by jwt at auth/jwt: /no/such/jwt cannot be read: No such file or directory (os error 2)
    help: check the path, and that this process may read the file
    ");
    assert_eq!(logins(&bao), 0);
}

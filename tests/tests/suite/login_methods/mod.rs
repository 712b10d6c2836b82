//! Each way to log in, by builder and by environment, against a server that has it.

mod cert;
mod cloud;
mod jwt;
mod kubernetes;
mod kubernetes_example;
mod ldap;
mod radius;
mod secrecy;
mod userpass;
mod wrapped;

use serde_json::json;
use vault_config::auth::{
    AppRole, AuthMethod, AwsIam, Azure, Cert, Gcp, GitHub, Jwt, Kubernetes, Ldap, Radius, UserPass,
};
use vault_config::secrecy::ExposeSecret;
use vault_config::{Error, ErrorKind, Vault, VaultConfig};
use vault_config_tests::{OpenBao, ScriptedServer};

use crate::logins::{Config, load};
use crate::support::{NOTHING, every_rendering};

/// A connection that logs in with this method.
fn connected(address: &str, method: impl AuthMethod) -> Vault {
    Vault::builder().address(address).auth(method).build().unwrap()
}

async fn load_from(vault: &Vault) -> Result<Config, Error> {
    Config::loader().without_dotenv().env_source(NOTHING).vault(vault.clone()).load().await
}

async fn assert_logs_in_by(address: &str, method: impl AuthMethod) {
    let config = load_from(&connected(address, method)).await;
    assert_eq!(config.unwrap_or_else(|error| panic!("{error}")).key.expose_secret(), "k");
}

async fn refused_by(address: &str, method: impl AuthMethod) -> Error {
    failed(load_from(&connected(address, method)).await)
}

async fn refused(variables: &[(&str, &str)]) -> Error {
    failed(load(variables).await)
}

fn failed(loaded: Result<Config, Error>) -> Error {
    loaded.expect_err("the load fails")
}

/// The method is refused without a request, and the error does not show its secret, "hunter2".
async fn assert_malformed(address: &str, method: impl AuthMethod) {
    let error = refused_by(address, method).await;
    assert_eq!(error.kind(), ErrorKind::Setting, "{error}");
    assert_hides(&error, &["hunter2"]);
}

fn assert_hides(error: &Error, secrets: &[&str]) {
    for secret in secrets {
        assert!(!every_rendering(error).contains(secret), "{secret:?} is in {error}");
    }
}

/// Names and passwords that no method sends.
const MALFORMED_USERS: [(&str, &str); 5] =
    [("", "p"), ("a/b", "p"), ("a\0b", "p"), ("a", ""), ("a", "p\n")];

/// Lets users of the auth method at this mount read what [`Config`] needs.
async fn allow_users(bao: &OpenBao, mount: &str, users: &[(&str, &str)]) {
    for (name, _) in users {
        bao.write(&format!("auth/{mount}/users/{name}"), json!({ "policies": "app" })).await;
    }
}

/// How many logins the server has received.
fn logins(bao: &OpenBao) -> usize {
    bao.audit_requests().iter().filter(|request| request.path.contains("login")).count()
}

#[tokio::test]
async fn a_mount_that_leads_elsewhere_is_never_asked() {
    let server = ScriptedServer::start(|request| panic!("{} is asked for", request.target)).await;
    for mount in ["", "/", "a//b", "../sys", "a/./b", "a\nb", " a"] {
        let address = server.address();
        for error in [
            refused_by(&address, AppRole::new("r", "s").mount(mount)).await,
            refused_by(&address, Kubernetes::new("app").mount(mount)).await,
            refused_by(&address, Jwt::new("a.b.c").mount(mount)).await,
            refused_by(&address, UserPass::new("alice", "p").mount(mount)).await,
            refused_by(&address, Ldap::new("alice", "p").mount(mount)).await,
            refused_by(&address, Radius::new("alice", "p").mount(mount)).await,
            refused_by(&address, Cert::new().mount(mount)).await,
            refused_by(&address, AwsIam::new().mount(mount)).await,
            refused_by(&address, Gcp::new("app").mount(mount)).await,
            refused_by(&address, Azure::new("app").mount(mount)).await,
            refused_by(&address, GitHub::new("t").mount(mount)).await,
        ] {
            assert_eq!(error.kind(), ErrorKind::Setting, "{error}");
            assert!(
                error.to_string().contains("the mount is not a valid mount path"),
                "{mount:?}: {error}"
            );
        }
    }
    assert_eq!(server.connections(), 0);
}

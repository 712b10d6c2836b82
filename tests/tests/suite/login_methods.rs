//! Each way to log in, by builder and by environment, against a server that has it.

use std::path::Path;

use insta::assert_snapshot;
use secrecy::ExposeSecret;
use serde_json::json;
use vault_config::auth::{
    AppRole, AuthMethod, AwsIam, Azure, Cert, Gcp, GitHub, Jwt, Kubernetes, Ldap, Radius, UserPass,
    WrappedToken,
};
use vault_config::{Error, ErrorKind, Vault, VaultConfig};
use vault_config_tests::{AppRoleIds, Authority, Issuer, OpenBao, ScriptedAnswer, ScriptedServer};

use super::errors::{shown, told};
use super::logins::{Config, assert_logs_in, file, load, server, set_up};

/// A connection that logs in like this.
fn connected(address: &str, method: impl AuthMethod) -> Vault {
    Vault::builder().address(address).auth(method).build().unwrap()
}

async fn load_from(vault: &Vault) -> Result<Config, Error> {
    let none: [(&str, &str); 0] = [];
    Config::loader().without_dotenv().env_source(none).vault(vault.clone()).load().await
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

/// Nothing of an error tells any of these.
fn assert_hides(error: &Error, secrets: &[&str]) {
    for secret in secrets {
        assert!(!shown(error).contains(secret), "{secret:?} is in {error}");
    }
}

/// The logins that the server saw.
fn logins(bao: &OpenBao) -> usize {
    bao.audit_requests().iter().filter(|request| request.path.contains("login")).count()
}

mod kubernetes {
    use vault_config_tests::Kubernetes as Cluster;

    use super::*;

    async fn cluster() -> (OpenBao, Cluster) {
        let ((bao, _), cluster) = tokio::join!(server(), Cluster::start());
        cluster.connect(&bao).await;
        let role = json!({
            "bound_service_account_names": "billing",
            "bound_service_account_namespaces": "prod",
            "token_policies": "app",
        });
        bao.write("auth/kubernetes/role/billing", role).await;
        (bao, cluster)
    }

    #[tokio::test]
    async fn a_pod_logs_in_with_its_service_account() {
        let (bao, cluster) = cluster().await;
        let folder = tempfile::tempdir().unwrap();
        let token = file(folder.path(), "token", &cluster.token("prod", "billing", 3600));
        assert_logs_in_by(bao.address(), Kubernetes::new("billing").token_file(&token)).await;
        let (address, file) =
            (("VAULT_ADDR", bao.address()), ("VAULT_KUBERNETES_TOKEN_FILE", token.as_str()));
        let role = ("VAULT_AUTH_ROLE", "billing");
        assert_logs_in(&[address, file, role, ("VAULT_AUTH_METHOD", "kubernetes")]).await;
        // Found by itself, before a token file and after a role_id.
        assert_logs_in(&[address, file, role, ("VAULT_TOKEN_FILE", "/none")]).await;
        let wrong = ("VAULT_AUTH_ROLE", "wrong");
        assert_logs_in(&[address, file, wrong, ("BAO_AUTH_ROLE", "billing")]).await;
        assert_eq!(cluster.reviews(), 4);

        bao.write("sys/auth/team/cluster", json!({ "type": "kubernetes" })).await;
        let elsewhere = [address, file, role, ("VAULT_AUTH_MOUNT", "auth/team/cluster/")];
        let error = refused(&elsewhere).await.to_string();
        assert!(error.contains("vault write auth/team/cluster/role/billing"), "{error}");
    }

    #[tokio::test]
    async fn its_file_is_read_at_every_login() {
        let (bao, cluster) = cluster().await;
        let folder = tempfile::tempdir().unwrap();
        let first = cluster.token("prod", "billing", 3600);
        let path = file(folder.path(), "token", &first);
        let vault = connected(bao.address(), Kubernetes::new("billing").token_file(&path));
        load_from(&vault).await.unwrap();
        cluster.invalidate(&first);
        bao.write("sys/leases/revoke-prefix/auth/kubernetes/login", json!({})).await;
        // The next login shows what the file holds by then.
        file(folder.path(), "token", &format!("{}\n", cluster.token("prod", "billing", 3599)));
        load_from(&vault).await.unwrap();
        assert_eq!(logins(&bao), 2);
    }

    #[tokio::test]
    async fn a_refusal_says_what_may_be_wrong() {
        let (bao, cluster) = cluster().await;
        let folder = tempfile::tempdir().unwrap();
        let log_in = async |role: &str, token: &str| {
            let path = file(folder.path(), "token", token);
            let error = refused_by(bao.address(), Kubernetes::new(role).token_file(&path)).await;
            assert_hides(&error, &[token]);
            error
        };
        let kind = ErrorKind::LoginRefused;
        let good = cluster.token("prod", "billing", 3600);
        assert_snapshot!(told(&log_in("no-such-role", &good).await, kind), @r#"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by kubernetes at auth/kubernetes as "no-such-role": invalid role name "no-such-role" (HTTP 400)
           help: make the role: vault write auth/kubernetes/role/no-such-role bound_service_account_names=.. bound_service_account_namespaces=.. token_policies=..

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        "#);
        let other = cluster.token("prod", "other", 3600);
        assert_snapshot!(told(&log_in("billing", &other).await, kind), @r#"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by kubernetes at auth/kubernetes as "billing": service account name not authorized (HTTP 403)
           help: let the role name this pod's service account and namespace: vault read auth/kubernetes/role/billing

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        "#);
        cluster.invalidate(&good);
        assert_snapshot!(told(&log_in("billing", &good).await, kind), @r#"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by kubernetes at auth/kubernetes as "billing": permission denied (HTTP 403)
           help: check that the auth method is mounted at auth/kubernetes (vault auth list) and that the namespace is right
             the server says the same while a login is locked after several wrong tries: vault read sys/locked-users
             it says the same for a token that Kubernetes does not accept (any more), and when the server cannot ask Kubernetes at all: the server's log tells

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        "#);
        let expired = cluster.token("prod", "billing", -600);
        assert_snapshot!(told(&log_in("billing", &expired).await, kind), @r#"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by kubernetes at auth/kubernetes as "billing": invalid expiration time (exp) claim: token is expired (HTTP 403)
           help: Kubernetes renews the file of a running pod: see that it is mounted, and the clocks of both machines

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        "#);
    }

    #[tokio::test]
    async fn what_is_malformed_is_never_sent() {
        let (bao, _) = cluster().await;
        let folder = tempfile::tempdir().unwrap();
        for text in ["hunter2", "hunter2.hunter2", "a.b.hunter2\u{7}", "a.hunter2\r\nX: y.c"] {
            let path = file(folder.path(), "token", text);
            let error = refused_by(bao.address(), Kubernetes::new("app").token_file(&path)).await;
            assert_eq!(error.kind(), ErrorKind::Setting, "{error}");
            assert_hides(&error, &["hunter2"]);
        }
        let path = file(folder.path(), "token", "");
        let error = refused_by(bao.address(), Kubernetes::new("app").token_file(&path)).await;
        assert_snapshot!(told(&error, ErrorKind::LoginRefused), @r#"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by kubernetes at auth/kubernetes as "app": DIRECTORY/token is empty or not text
           help: write the token or id into it, and nothing else

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        "#);
        for role in ["", "a\nb", "a/b", " a"] {
            let error = refused_by(bao.address(), Kubernetes::new(role).token_file(&path)).await;
            assert_eq!(error.kind(), ErrorKind::Setting, "{error}");
        }
        assert_eq!(logins(&bao), 0);

        let method = ("VAULT_AUTH_METHOD", "kubernetes");
        let role = ("VAULT_AUTH_ROLE", "app");
        let address = ("VAULT_ADDR", bao.address());
        assert_snapshot!(told(&refused(&[address, method]).await, ErrorKind::NoLogin), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           env VAULT_AUTH_METHOD: the login it names needs VAULT_AUTH_ROLE
           help: set VAULT_AUTH_ROLE

        Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
        let error = refused(&[address, method, ("VAULT_AUTH_ROLE", "a/b")]).await;
        assert_snapshot!(told(&error, ErrorKind::Setting), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           env VAULT_AUTH_ROLE: is empty, begins or ends with a blank, or holds a slash or a control character
           help: correct VAULT_AUTH_ROLE, or unset it

        Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
        let error = refused(&[address, method, role, ("VAULT_AUTH_MOUNT", "a//b")]).await;
        assert_snapshot!(told(&error, ErrorKind::Setting), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           env VAULT_AUTH_MOUNT: is not where an auth method is mounted, such as team-a/kubernetes
           help: correct VAULT_AUTH_MOUNT, or unset it

        Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
        // No pod has these tests.
        let error = refused(&[address, method, role]).await;
        assert_snapshot!(told(&error, ErrorKind::LoginRefused), @r#"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by kubernetes at auth/kubernetes as "app": /var/run/secrets/kubernetes.io/serviceaccount/token cannot be read: No such file or directory (os error 2)
           help: name a file that this process may read
             a pod has it unless its service account or its own spec says automountServiceAccountToken: false

        Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        "#);
    }
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
            assert!(error.to_string().contains("the mount is not where"), "{mount:?}: {error}");
        }
    }
    assert_eq!(server.connections(), 0);
}

mod example_for_kubernetes {
    use std::process::Command;

    use secrecy::SecretString;
    use vault_config_tests::{Kubernetes as Cluster, provision};

    use super::*;

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
        for (audience, account) in
            [("https://kubernetes.default.svc", "billing"), ("vault", "other")]
        {
            let error = load(audience, account).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LoginRefused, "{error}");
        }
    }
}

mod jwt {
    use super::*;

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
        let claims =
            json!({ "iss": "https://ci.example.com", "sub": "pipeline-7", "aud": audience });
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
        assert_snapshot!(told(&error, ErrorKind::LoginRefused), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by jwt at auth/jwt: error validating token: invalid expiration time (exp) claim: token is expired (HTTP 400)
           help: the file is read at every login: see that what writes it still runs

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
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
        assert_snapshot!(told(&log_in(&good, "no-such-role").await, kind), @r#"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by jwt at auth/jwt: role "no-such-role" could not be found (HTTP 400)
           help: name a role that is there (vault list auth/jwt/role): VAULT_AUTH_ROLE

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        "#);
        assert_snapshot!(told(&log_in(&signed(&issuer, "x", 3600), "app").await, kind), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by jwt at auth/jwt: error validating token: invalid audience (aud) claim: audience claim does not match any expected audience (HTTP 400)
           help: compare the token's claims with the role: vault read auth/jwt/role/app

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
        assert_snapshot!(told(&log_in(&signed(&issuer, "vault", -600), "app").await, kind), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by jwt at auth/jwt: error validating token: invalid expiration time (exp) claim: token is expired (HTTP 400)
           help: give a new one, or a file that is renewed: VAULT_JWT_FILE

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
        let forged = signed(&Issuer::new(), "vault", 3600);
        assert_snapshot!(told(&log_in(&forged, "app").await, kind), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by jwt at auth/jwt: error validating token: error verifying token signature: no known key successfully validated the token signature (HTTP 400)
           help: compare the token's claims with the role: vault read auth/jwt/role/app

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
        assert_eq!(logins(&bao), 4);
    }

    #[tokio::test]
    async fn what_is_malformed_is_never_sent() {
        let (bao, _) = issuer().await;
        for jwt in ["", "hunter2", "a.hunter2", "a.b.hunter2\n", "a.b.c.hunter2", "a..hunter2"] {
            let error = refused_by(bao.address(), Jwt::new(jwt)).await;
            assert_eq!(error.kind(), ErrorKind::Setting, "{error}");
            assert_hides(&error, &["hunter2"]);
        }
        let error = refused_by(bao.address(), Jwt::new("hunter2")).await;
        assert_snapshot!(told(&error, ErrorKind::Setting), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by jwt at auth/jwt: what was given is no JWT: three parts of base64url between dots
           help: give the token as its issuer wrote it, and nothing else

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
        let address = ("VAULT_ADDR", bao.address());
        let method = ("VAULT_AUTH_METHOD", "jwt");
        let error = refused(&[address, method, ("VAULT_JWT", "hunter2")]).await;
        assert_snapshot!(told(&error, ErrorKind::Setting), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           env VAULT_JWT: is no JWT: three parts of base64url between dots
           help: give the token as its issuer wrote it, and nothing else

        Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
        assert_hides(&error, &["hunter2"]);
        assert_snapshot!(told(&refused(&[address, method]).await, ErrorKind::NoLogin), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           env VAULT_AUTH_METHOD: the login it names needs VAULT_JWT or VAULT_JWT_FILE
           help: set VAULT_JWT or VAULT_JWT_FILE

        Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
        let both = [address, method, ("VAULT_JWT", "a.b.c"), ("VAULT_JWT_FILE", "/none")];
        assert_snapshot!(told(&refused(&both).await, ErrorKind::Setting), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           env VAULT_JWT: VAULT_JWT and VAULT_JWT_FILE are both set
           help: unset one of them

        Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
        let file = [address, method, ("VAULT_JWT_FILE", "/no/such/jwt")];
        assert_snapshot!(told(&refused(&file).await, ErrorKind::LoginRefused), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by jwt at auth/jwt: /no/such/jwt cannot be read: No such file or directory (os error 2)
           help: name a file that this process may read

        Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
        assert_eq!(logins(&bao), 0);
    }
}

mod userpass {
    use super::*;

    async fn users() -> OpenBao {
        let (bao, _) = server().await;
        bao.enable_auth("userpass").await;
        for name in ["alice", "bob", "carol.o-neil"] {
            let user = json!({ "password": " hunter2 ", "token_policies": "app" });
            bao.write(&format!("auth/userpass/users/{name}"), user).await;
        }
        bao
    }

    #[tokio::test]
    async fn a_user_logs_in_with_a_password() {
        let bao = users().await;
        let folder = tempfile::tempdir().unwrap();
        let password = file(folder.path(), "password", " hunter2 \r\n");
        assert_logs_in_by(bao.address(), UserPass::new("alice", " hunter2 ")).await;
        assert_logs_in_by(bao.address(), UserPass::with_password_file("alice", &password)).await;
        let (address, method) = (("VAULT_ADDR", bao.address()), ("VAULT_AUTH_METHOD", "userpass"));
        for user in ["alice", "carol.o-neil"] {
            let user = ("VAULT_USERNAME", user);
            assert_logs_in(&[address, method, user, ("VAULT_PASSWORD", " hunter2 ")]).await;
            assert_logs_in(&[address, method, user, ("VAULT_PASSWORD_FILE", &password)]).await;
        }
    }

    #[tokio::test]
    async fn a_wrong_password_is_sent_once_and_locks_in_the_end() {
        let bao = users().await;
        let wrong = UserPass::new("bob", "hunter2-wrong");
        let error = refused_by(bao.address(), wrong.clone()).await;
        assert_eq!(logins(&bao), 1);
        assert_hides(&error, &["hunter2"]);
        assert_snapshot!(told(&error, ErrorKind::LoginRefused), @r#"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by userpass at auth/userpass as "bob": invalid username or password (HTTP 400)
           help: the server says the same for an unknown user and for a wrong password
             after several wrong tries the server locks the user for a while, so this one was not repeated

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        "#);
        let unknown = refused_by(bao.address(), UserPass::new("mallory", "hunter2")).await;
        let (error, unknown) = (error.to_string(), unknown.to_string());
        assert_eq!(unknown.replace("mallory", "bob"), error);

        for _ in 1..5 {
            refused_by(bao.address(), wrong.clone()).await;
        }
        let locked = refused_by(bao.address(), UserPass::new("bob", " hunter2 ")).await;
        assert_snapshot!(told(&locked, ErrorKind::LoginRefused), @r#"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by userpass at auth/userpass as "bob": permission denied (HTTP 403)
           help: check that the auth method is mounted at auth/userpass (vault auth list) and that the namespace is right
             the server says the same while a login is locked after several wrong tries: vault read sys/locked-users

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        "#);
    }

    #[tokio::test]
    async fn what_is_malformed_is_never_sent() {
        let bao = users().await;
        for (name, password) in [
            ("", "hunter2"),
            ("a/../bob", "hunter2"),
            ("..", "hunter2"),
            ("bob\r\n", "hunter2"),
            ("bob", ""),
            ("bob", "hunter2\n"),
            ("bob", "hunter2\0"),
        ] {
            let error = refused_by(bao.address(), UserPass::new(name, password)).await;
            assert_eq!(error.kind(), ErrorKind::Setting, "{error}");
            assert_hides(&error, &["hunter2"]);
        }
        let (address, method) = (("VAULT_ADDR", bao.address()), ("VAULT_AUTH_METHOD", "userpass"));
        let user = ("VAULT_USERNAME", "bob");
        let error = refused(&[address, method, user, ("VAULT_PASSWORD", "hunter2\n")]).await;
        assert_snapshot!(told(&error, ErrorKind::Setting), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           env VAULT_PASSWORD: the password holds a line break or another control character
           help: take it away

        Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
        assert_snapshot!(told(&refused(&[address, method, user]).await, ErrorKind::NoLogin), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           env VAULT_AUTH_METHOD: the login it names needs VAULT_USERNAME, and VAULT_PASSWORD or VAULT_PASSWORD_FILE
           help: set VAULT_USERNAME, and VAULT_PASSWORD or VAULT_PASSWORD_FILE

        Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
        let both = [address, method, user, ("VAULT_PASSWORD", "a"), ("BAO_PASSWORD_FILE", "b")];
        assert_snapshot!(told(&refused(&both).await, ErrorKind::Setting), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           env VAULT_PASSWORD: VAULT_PASSWORD and BAO_PASSWORD_FILE are both set
           help: unset one of them

        Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
        assert_eq!(logins(&bao), 0);
    }
}

mod ldap {
    use vault_config_tests::Ldap as Directory;

    use super::*;

    async fn directory() -> (OpenBao, Directory) {
        let users = [("alice", "hunter2-ldap"), ("bob.o'neil", "hunter2 ldap")];
        let (bao, directory) = tokio::join!(OpenBao::dev_with_ldap(), Directory::start(&users));
        let bao = set_up(bao).await;
        directory.connect(&bao).await;
        for (name, _) in users {
            let user = json!({ "policies": "app" });
            bao.write(&format!("auth/ldap/users/{name}"), user).await;
        }
        bao.clear_audit();
        (bao, directory)
    }

    #[tokio::test]
    async fn a_user_of_the_directory_logs_in() {
        let (bao, _directory) = directory().await;
        assert_logs_in_by(bao.address(), Ldap::new("alice", "hunter2-ldap")).await;
        let folder = tempfile::tempdir().unwrap();
        let password = file(folder.path(), "password", "hunter2 ldap\n");
        assert_logs_in_by(bao.address(), Ldap::with_password_file("bob.o'neil", &password)).await;
        let (address, method) = (("VAULT_ADDR", bao.address()), ("VAULT_AUTH_METHOD", "ldap"));
        let alice = ("VAULT_USERNAME", "alice");
        assert_logs_in(&[address, method, alice, ("VAULT_PASSWORD", "hunter2-ldap")]).await;
        let bob = ("BAO_USERNAME", "bob.o'neil");
        assert_logs_in(&[address, method, bob, ("BAO_PASSWORD_FILE", &password)]).await;
    }

    #[tokio::test]
    async fn a_wrong_password_is_sent_once() {
        let (bao, directory) = directory().await;
        let error = refused_by(bao.address(), Ldap::new("alice", "hunter2-wrong")).await;
        assert_hides(&error, &["hunter2"]);
        assert_snapshot!(told(&error, ErrorKind::LoginRefused), @r#"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by ldap at auth/ldap as "alice": ldap operation failed: failed to bind as user (HTTP 400)
           help: the server says the same for an unknown user and for a wrong password
             after several wrong tries the server locks the user for a while, so this one was not repeated

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        "#);
        assert_eq!(logins(&bao), 1);
        drop(directory);
        let error = refused_by(bao.address(), Ldap::new("alice", "hunter2-ldap")).await;
        assert_hides(&error, &["hunter2"]);
        assert_snapshot!(told(&error, ErrorKind::LoginRefused), @r#"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by ldap at auth/ldap as "alice": error connecting to host "ldap://127.0.0.1:PORT": LDAP Result Code 200 "Network Error": dial tcp 127.0.0.1:PORT: connect: connection refused (HTTP 400)
           help: the server does not reach the directory: vault read auth/ldap/config

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        "#);
        for (name, password) in [("", "p"), ("a/b", "p"), ("a\0b", "p"), ("a", ""), ("a", "p\n")] {
            let error = refused_by(bao.address(), Ldap::new(name, password)).await;
            assert_eq!(error.kind(), ErrorKind::Setting, "{error}");
        }
        assert_eq!(logins(&bao), 2);
    }
}

mod radius {
    use vault_config_tests::Radius as Server;

    use super::*;

    async fn radius() -> (OpenBao, Server) {
        let users = [("alice", "hunter2-radius"), ("bob", "hunter2 radius")];
        let (bao, radius) = tokio::join!(OpenBao::dev_with_ldap(), Server::start(&users));
        let bao = set_up(bao).await;
        radius.connect(&bao).await;
        for (name, _) in users {
            let user = json!({ "policies": "app" });
            bao.write(&format!("auth/radius/users/{name}"), user).await;
        }
        bao.clear_audit();
        (bao, radius)
    }

    #[tokio::test]
    async fn a_user_of_the_radius_server_logs_in() {
        let (bao, _radius) = radius().await;
        assert_logs_in_by(bao.address(), Radius::new("alice", "hunter2-radius")).await;
        let folder = tempfile::tempdir().unwrap();
        let password = file(folder.path(), "password", "hunter2 radius\n");
        assert_logs_in_by(bao.address(), Radius::with_password_file("bob", &password)).await;
        let (address, method) = (("VAULT_ADDR", bao.address()), ("VAULT_AUTH_METHOD", "radius"));
        let alice = ("VAULT_USERNAME", "alice");
        assert_logs_in(&[address, method, alice, ("VAULT_PASSWORD", "hunter2-radius")]).await;
        let bob = ("VAULT_USERNAME", "bob");
        assert_logs_in(&[address, method, bob, ("VAULT_PASSWORD_FILE", &password)]).await;
    }

    #[tokio::test]
    async fn a_wrong_password_is_sent_once() {
        let (bao, _radius) = radius().await;
        let error = refused_by(bao.address(), Radius::new("alice", "hunter2-wrong")).await;
        assert_hides(&error, &["hunter2"]);
        assert_snapshot!(told(&error, ErrorKind::LoginRefused), @r#"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by radius at auth/radius as "alice": access denied by the authentication server (HTTP 400)
           help: the server says the same for an unknown user and for a wrong password
             after several wrong tries the server locks the user for a while, so this one was not repeated

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        "#);
        assert_eq!(logins(&bao), 1);
        for (name, password) in [("", "p"), ("a/b", "p"), ("a\0b", "p"), ("a", ""), ("a", "p\n")] {
            let error = refused_by(bao.address(), Radius::new(name, password)).await;
            assert_eq!(error.kind(), ErrorKind::Setting, "{error}");
        }
        assert_eq!(logins(&bao), 1);
    }
}

mod cert {
    use super::*;

    /// A server that asks for a certificate, and one role that trusts this authority's.
    async fn trusting(authority: &Authority) -> OpenBao {
        let bao = set_up(OpenBao::with_mutual_tls(authority).await).await;
        bao.enable_auth("cert").await;
        let ca = std::fs::read_to_string(authority.ca_cert()).unwrap();
        let role = json!({
            "certificate": ca, "allowed_common_names": "billing", "token_policies": "app",
        });
        bao.write("auth/cert/certs/billing", role).await;
        bao.clear_audit();
        bao
    }

    fn text(path: &Path) -> &str {
        path.to_str().unwrap()
    }

    #[tokio::test]
    async fn the_connections_certificate_logs_in() {
        let authority = Authority::new();
        let bao = trusting(&authority).await;
        let client = authority.client("billing");
        let common = [
            ("VAULT_ADDR", bao.address()),
            ("VAULT_CACERT", text(bao.ca_cert())),
            ("VAULT_CLIENT_CERT", text(&client.cert)),
            ("VAULT_CLIENT_KEY", text(&client.key)),
            ("VAULT_AUTH_METHOD", "cert"),
        ];
        assert_logs_in(&common).await;
        assert_logs_in(&[&common[..], &[("VAULT_AUTH_ROLE", "billing")]].concat()).await;
        let error = refused(&[&common[..], &[("VAULT_AUTH_ROLE", "other")]].concat()).await;
        assert_snapshot!(told(&error, ErrorKind::LoginRefused), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault https://127.0.0.1:PORT, login by cert at auth/cert: invalid certificate or no client certificate supplied (HTTP 400)
           help: let a role trust the certificate's authority and its names: vault list auth/cert/certs; vault read auth/cert/certs/other

        Vault mode, because VAULT_ADDR is https://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");

        let stranger = authority.client("stranger");
        let mut shown = common;
        shown[2].1 = text(&stranger.cert);
        shown[3].1 = text(&stranger.key);
        assert_snapshot!(told(&refused(&shown).await, ErrorKind::LoginRefused), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault https://127.0.0.1:PORT, login by cert at auth/cert: no chain matching all constraints could be found for this login certificate (HTTP 400)
           help: let a role trust the certificate's authority and its names: vault list auth/cert/certs; vault read auth/cert/certs/<role>

        Vault mode, because VAULT_ADDR is https://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
    }

    #[tokio::test]
    async fn the_builders_certificate_and_that_of_a_client_of_ones_own_log_in() {
        let authority = Authority::new();
        let bao = trusting(&authority).await;
        let client = authority.client("billing");
        let vault = Vault::builder()
            .address(bao.address())
            .auth(Cert::new())
            .ca_certificate_file(bao.ca_cert())
            .client_certificate_files(&client.cert, &client.key);
        load_from(&vault.build().unwrap()).await.unwrap();

        let [cert, key, ca] = [&client.cert, &client.key, bao.ca_cert()]
            .map(|path: &Path| std::fs::read(path).unwrap());
        let own = vault_config_tests::client_builder()
            .redirect(reqwest::redirect::Policy::none())
            .identity(reqwest::Identity::from_pem(&[cert, key].concat()).unwrap())
            .tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()])
            .build()
            .unwrap();
        let auth = Cert::new().role("billing");
        let vault = Vault::builder().address(bao.address()).auth(auth).http_client(own);
        load_from(&vault.build().unwrap()).await.unwrap();
    }

    #[tokio::test]
    async fn without_a_certificate_there_is_no_login() {
        let (bao, _) = server().await;
        assert_snapshot!(told(&refused_by(bao.address(), Cert::new()).await, ErrorKind::Setting), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by cert at auth/cert: the certificate of the connection cannot be shown: the address is not https
           help: set Vault::builder().address(..) to the server's https address

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
        let method = ("VAULT_AUTH_METHOD", "cert");
        let error = refused(&[("VAULT_ADDR", bao.address()), method]).await;
        assert_snapshot!(told(&error, ErrorKind::NoLogin), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           env VAULT_AUTH_METHOD: the login it names needs VAULT_CLIENT_CERT and VAULT_CLIENT_KEY
           help: set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY

        Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
        assert_eq!(logins(&bao), 0);

        // A server that would take one and gets none.
        let bao = OpenBao::dev_tls().await;
        bao.enable_auth("cert").await;
        let ca = std::fs::read(bao.ca_cert()).unwrap();
        let vault = Vault::builder().address(bao.address()).auth(Cert::new()).ca_certificate(ca);
        let error = failed(load_from(&vault.build().unwrap()).await);
        assert_snapshot!(told(&error, ErrorKind::LoginRefused), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault https://127.0.0.1:PORT, login by cert at auth/cert: no client certificate found (HTTP 400)
           help: the server saw no certificate: set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY, and let nothing between here and the server end TLS

        Vault mode, because Vault::builder().address(..) is https://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
    }
}

mod wrapped {
    use super::*;

    const SECRET_ID: &str = "auth/approle/role/app/secret-id";

    /// How often this path was asked for.
    fn asked(bao: &OpenBao, path: &str) -> usize {
        bao.audit_requests().iter().filter(|request| request.path == path).count()
    }

    #[tokio::test]
    async fn a_wrapped_secret_id_logs_in() {
        let (bao, AppRoleIds { role_id, .. }) = server().await;
        let wrap = async || bao.write_wrapped(SECRET_ID, json!({}), "60s").await;
        let given = AppRole::with_wrapped_secret_id(role_id.as_str(), wrap().await);
        assert_logs_in_by(bao.address(), given).await;
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "wrapped", &format!("{}\n", wrap().await));
        let in_file = AppRole::with_wrapped_secret_id_file(role_id.as_str(), &path).role("app");
        assert_logs_in_by(bao.address(), in_file).await;

        let (address, role_id) = (("VAULT_ADDR", bao.address()), ("VAULT_ROLE_ID", &*role_id));
        assert_logs_in(&[address, role_id, ("VAULT_WRAPPED_SECRET_ID", &wrap().await)]).await;
        let path = file(folder.path(), "wrapped", &wrap().await);
        let role = ("VAULT_AUTH_ROLE", "app");
        assert_logs_in(&[address, role_id, role, ("BAO_WRAPPED_SECRET_ID_FILE", &path)]).await;
        let both = [address, role_id, ("VAULT_SECRET_ID", "a"), ("VAULT_WRAPPED_SECRET_ID", "b")];
        assert_eq!(refused(&both).await.kind(), ErrorKind::Setting);
    }

    #[tokio::test]
    async fn what_was_wrapped_serves_later_logins_until_the_file_has_another() {
        let (bao, AppRoleIds { role_id, .. }) = server().await;
        let folder = tempfile::tempdir().unwrap();
        let wrap = async || {
            let token = bao.write_wrapped(SECRET_ID, json!({ "num_uses": 2 }), "60s").await;
            file(folder.path(), "wrapped", &token)
        };
        let path = wrap().await;
        let method = AppRole::with_wrapped_secret_id_file(role_id.as_str(), &path);
        let vault = connected(bao.address(), method);
        let log_in_anew = async || {
            bao.write("sys/leases/revoke-prefix/auth/approle/login", json!({})).await;
            load_from(&vault).await
        };
        log_in_anew().await.unwrap();
        log_in_anew().await.unwrap();
        assert_eq!(asked(&bao, "sys/wrapping/unwrap"), 1);
        // Used up.
        assert_eq!(failed(log_in_anew().await).kind(), ErrorKind::LoginRefused);
        wrap().await;
        log_in_anew().await.unwrap();
        assert_eq!(asked(&bao, "sys/wrapping/unwrap"), 2);
    }

    #[tokio::test]
    async fn a_token_that_somebody_used_is_an_alarm_and_is_not_tried_again() {
        let (bao, AppRoleIds { role_id, .. }) = server().await;
        let token = bao.write_wrapped(SECRET_ID, json!({}), "60s").await;
        let (status, _) = bao.try_request("POST", "sys/wrapping/unwrap", None, &token).await;
        assert_eq!(status, 200);
        let method = AppRole::with_wrapped_secret_id(role_id.as_str(), token.as_str());
        let vault = connected(bao.address(), method);
        let error = failed(load_from(&vault).await);
        assert_hides(&error, &[&token]);
        assert_snapshot!(told(&error, ErrorKind::Tampered), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by approle at auth/approle: the wrapping token is used, expired or unknown to the server (HTTP 400): if nobody here unwrapped it, somebody else has the secret_id
           help: find out who used it (the server's audit log), revoke the secret_id, and make another: vault write -wrap-ttl=60s -f auth/approle/role/<role>/secret-id
             this token is not tried again
             a process that starts again needs a new wrapping token, too

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
        assert_eq!(
            told(&failed(load_from(&vault).await), ErrorKind::Tampered),
            told(&error, ErrorKind::Tampered)
        );
        assert_eq!(asked(&bao, "sys/wrapping/lookup"), 1);
        assert_eq!(logins(&bao), 0);

        let brief = bao.write_wrapped(SECRET_ID, json!({}), "1s").await;
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        let over = AppRole::with_wrapped_secret_id(role_id.as_str(), brief);
        let over = refused_by(bao.address(), over).await;
        assert_eq!(told(&over, ErrorKind::Tampered), told(&error, ErrorKind::Tampered));
    }

    #[tokio::test]
    async fn a_token_that_was_made_elsewhere_is_an_alarm_and_is_not_used() {
        let (bao, AppRoleIds { role_id, secret_id }) = server().await;
        // Who unwraps it and wraps it again by hand cannot do so under the right path.
        let forged = bao.wrap(json!({ "secret_id": secret_id }), "60s").await;
        let method = AppRole::with_wrapped_secret_id(role_id.as_str(), forged.as_str());
        let error = refused_by(bao.address(), method).await;
        assert_hides(&error, &[&forged, &secret_id]);
        assert_snapshot!(told(&error, ErrorKind::Tampered), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by approle at auth/approle: the wrapping token was made by sys/wrapping/wrap and not by auth/approle/role/<role>/secret-id: somebody may have read the secret_id and wrapped another one
           help: find out who used it (the server's audit log), revoke the secret_id, and make another: vault write -wrap-ttl=60s -f auth/approle/role/<role>/secret-id
             this token is not tried again

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
        bao.approle("other", &["app"], json!({})).await;
        let path = "auth/approle/role/other/secret-id";
        let other = bao.write_wrapped(path, json!({}), "60s").await;
        let method = AppRole::with_wrapped_secret_id(role_id.as_str(), other.as_str()).role("app");
        let error = refused_by(bao.address(), method).await;
        assert_snapshot!(told(&error, ErrorKind::Tampered), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by approle at auth/approle: the wrapping token was made by auth/approle/role/other/secret-id and not by auth/approle/role/app/secret-id: somebody may have read the secret_id and wrapped another one
           help: find out who used it (the server's audit log), revoke the secret_id, and make another: vault write -wrap-ttl=60s -f auth/approle/role/app/secret-id
             this token is not tried again

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
        assert_eq!((asked(&bao, "sys/wrapping/unwrap"), logins(&bao)), (0, 0));
        // Both can still be opened.
        for token in [forged, other] {
            let (status, _) = bao.try_request("POST", "sys/wrapping/unwrap", None, &token).await;
            assert_eq!(status, 200);
        }
    }

    #[tokio::test]
    async fn in_a_namespace_the_path_is_the_same() {
        let (bao, _) = server().await;
        let team = bao.namespace("team").await;
        team.kv_put("secret", "app", json!({ "key": "k" })).await;
        team.policy("app", r#"path "secret/data/app" { capabilities = ["read"] }"#).await;
        let ids = team.approle("app", &["app"], json!({})).await;
        let token = team.write_wrapped(SECRET_ID, json!({}), "60s").await;
        let variables = [
            ("VAULT_ADDR", bao.address()),
            ("VAULT_NAMESPACE", "team"),
            ("VAULT_ROLE_ID", &ids.role_id),
            ("VAULT_WRAPPED_SECRET_ID", &token),
        ];
        assert_logs_in(&variables).await;
    }

    #[tokio::test]
    async fn a_wrapped_token_is_unwrapped() {
        let (bao, ids) = server().await;
        let wrap =
            async |path: &str| bao.write_wrapped(path, json!({ "policies": ["app"] }), "60s").await;
        for path in ["auth/token/create", "auth/token/create-orphan"] {
            assert_logs_in_by(bao.address(), WrappedToken::new(wrap(path).await)).await;
        }
        bao.write("auth/token/roles/app", json!({ "allowed_policies": "app" })).await;
        let token = wrap("auth/token/create/app").await;
        let address = ("VAULT_ADDR", bao.address());
        assert_logs_in(&[address, ("VAULT_WRAPPED_TOKEN", &token)]).await;
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "token", &wrap("auth/token/create").await);
        let method = ("VAULT_AUTH_METHOD", "wrapped_token");
        assert_logs_in(&[address, method, ("VAULT_WRAPPED_TOKEN_FILE", &path)]).await;
        let both = [address, ("VAULT_TOKEN", "t"), ("VAULT_WRAPPED_TOKEN", &token)];
        assert_snapshot!(told(&refused(&both).await, ErrorKind::Setting), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           env VAULT_TOKEN: VAULT_TOKEN and VAULT_WRAPPED_TOKEN are both set
           help: unset one of them

        Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");

        // A login may be wrapped, too, where that is what is expected.
        let login = json!({ "role_id": ids.role_id, "secret_id": ids.secret_id });
        let wrap = async || bao.write_wrapped("auth/approle/login", login.clone(), "60s").await;
        let made_by = ("VAULT_WRAPPED_TOKEN_MADE_BY", "auth/approle/login");
        assert_logs_in(&[address, made_by, ("VAULT_WRAPPED_TOKEN", &wrap().await)]).await;
        let error = refused_by(bao.address(), WrappedToken::new(wrap().await)).await;
        assert_snapshot!(told(&error, ErrorKind::Tampered), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by wrapped token: the wrapping token was made by auth/approle/login and not by auth/token/create: somebody may have read the token and wrapped another one
           help: find out who used it (the server's audit log), revoke the token, and make another: vault token create -wrap-ttl=60s -policy=..; VAULT_WRAPPED_TOKEN_MADE_BY names another path that it is meant to be made by
             this token is not tried again

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
        let error = refused_by(bao.address(), WrappedToken::new("hunter2")).await;
        assert_hides(&error, &["hunter2"]);
        assert_snapshot!(told(&error, ErrorKind::Tampered), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by wrapped token: the wrapping token is used, expired or unknown to the server (HTTP 400): if nobody here unwrapped it, somebody else has the token
           help: find out who used it (the server's audit log), revoke the token, and make another: vault token create -wrap-ttl=60s -policy=..; VAULT_WRAPPED_TOKEN_MADE_BY names another path that it is meant to be made by
             this token is not tried again
             a process that starts again needs a new wrapping token, too

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
    }

    #[tokio::test]
    async fn a_dead_token_is_not_unwrapped_again() {
        let (bao, _) = server().await;
        let folder = tempfile::tempdir().unwrap();
        let wrap = async || {
            let body = json!({ "policies": ["app"], "no_parent": true });
            let token = bao.write_wrapped("auth/token/create", body, "60s").await;
            file(folder.path(), "token", &token)
        };
        let vault = connected(bao.address(), WrappedToken::from_file(wrap().await));
        load_from(&vault).await.unwrap();
        let accessors = "auth/token/accessors?list=true";
        let accessors = bao.read(accessors).await["data"]["keys"].as_array().unwrap().clone();
        for accessor in accessors {
            let about =
                bao.write("auth/token/lookup-accessor", json!({ "accessor": accessor })).await;
            if about["data"]["policies"].as_array().unwrap().contains(&json!("app")) {
                bao.write("auth/token/revoke-accessor", json!({ "accessor": accessor })).await;
            }
        }
        assert_eq!(failed(load_from(&vault).await).kind(), ErrorKind::TokenInvalid);
        wrap().await;
        load_from(&vault).await.unwrap();
        assert_eq!(asked(&bao, "sys/wrapping/unwrap"), 2);
    }

    #[tokio::test]
    async fn a_forged_answer_is_no_login() {
        for (data, unwrapped) in [
            (json!({ "creation_path": SECRET_ID }), json!({ "data": { "secret_id": "" } })),
            (json!({ "creation_path": SECRET_ID }), json!({ "data": { "token": "hunter2" } })),
            (json!({ "creation_path": format!("{SECRET_ID}\n\u{1b}[31m") }), json!({})),
            (json!({ "creation_path": "auth/approle/role/a/b/secret-id" }), json!({})),
            (json!({}), json!({})),
        ] {
            let server = ScriptedServer::start(move |request| match request.path() {
                "/v1/sys/wrapping/lookup" => ScriptedAnswer::json(200, &json!({ "data": data })),
                "/v1/sys/wrapping/unwrap" => ScriptedAnswer::json(200, &unwrapped),
                path => panic!("{path} is asked for"),
            })
            .await;
            let method = AppRole::with_wrapped_secret_id("r", "hunter2");
            let error = refused_by(&server.address(), method).await;
            assert_eq!(error.kind(), ErrorKind::Tampered, "{error}");
            assert_hides(&error, &["hunter2", "\u{1b}"]);
        }
    }

    #[tokio::test]
    async fn what_is_malformed_is_never_sent() {
        let (bao, _) = server().await;
        for token in ["", "hunter 2", "hunter2\n", "hunter2\u{7f}", "hünter2"] {
            let approle = AppRole::with_wrapped_secret_id("r", token);
            for error in [
                refused_by(bao.address(), approle).await,
                refused_by(bao.address(), WrappedToken::new(token)).await,
            ] {
                assert_eq!(error.kind(), ErrorKind::Setting, "{error}");
                assert_hides(&error, &["nter2", "hunter"]);
            }
        }
        let error = refused_by(bao.address(), WrappedToken::new("hunter2\n")).await;
        assert_snapshot!(told(&error, ErrorKind::Setting), @"
        cannot load Config: 1 problem

        1. key: SecretString
           env KEY: not set
           vault http://127.0.0.1:PORT, login by wrapped token: what was given is no wrapping token: it is empty, or holds a blank or a control character
           help: give the wrapping token as it was made, and nothing else

        Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
        ");
        assert_eq!((asked(&bao, "sys/wrapping/lookup"), logins(&bao)), (0, 0));
    }
}

mod secrecy_of_all {
    use vault_config_tests::{Fault, FaultProxy};

    use super::super::errors::{Traced, check};
    use super::*;

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
        let traced = Traced::default();
        let _this_thread = traced.of_this_thread();
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
        check(&errors, &traced, &[role_id, wrapped, jwt]);
        assert_eq!(traced.count("logs in by the first way that is present"), 4);
        assert_eq!(traced.count("SECURITY: the wrapping token is used"), 1);
    }
}

/// OpenBao has no such methods: a scripted server takes the login and answers the read.
mod cloud {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::Value;
    use vault_config_tests::ScriptedRequest;

    use super::*;

    /// Takes a login at `path` when `fits` says so.
    async fn vault(
        path: &'static str,
        fits: impl Fn(&Value) -> bool + Send + Sync + 'static,
    ) -> ScriptedServer {
        ScriptedServer::start(move |request| {
            if request.path() == "/v1/secret/data/app" {
                assert_eq!(request.header("x-vault-token"), Some("s.token"));
                let data = json!({ "data": { "key": "k" }, "metadata": { "version": 1 } });
                return ScriptedAnswer::json(200, &json!({ "data": data }));
            }
            assert_eq!((request.method.as_str(), request.path()), ("POST", path));
            assert_eq!(request.header("x-vault-token"), None);
            match fits(&request.json()) {
                true => {
                    ScriptedAnswer::json(200, &json!({ "auth": { "client_token": "s.token" } }))
                }
                false => ScriptedAnswer::json(400, &json!({ "errors": ["it does not fit"] })),
            }
        })
        .await
    }

    async fn metadata(
        answer: impl Fn(&ScriptedRequest) -> ScriptedAnswer + Send + Sync + 'static,
    ) -> ScriptedServer {
        ScriptedServer::start(move |request| answer(&request)).await
    }

    fn host(server: &ScriptedServer) -> String {
        server.address().replace("http://", "")
    }

    const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJodW50ZXIyIn0.c2lnbmF0dXJlLW9mLWh1bnRlcjI";

    mod gcp {
        use super::*;

        const PATH: &str = "/v1/auth/gcp/login";

        fn google(request: &ScriptedRequest) -> ScriptedAnswer {
            let path = "/computeMetadata/v1/instance/service-accounts/default/identity";
            let asked = format!("{path}?audience=vault%2Fbilling&format=full");
            let flavored = request.header("metadata-flavor") == Some("Google");
            match flavored && request.method == "GET" && request.target == asked {
                true => ScriptedAnswer::status(200).header("Metadata-Flavor", "Google").body(JWT),
                false => ScriptedAnswer::status(404),
            }
        }

        #[tokio::test]
        async fn a_machine_logs_in_with_its_identity_token() {
            let fits = |body: &Value| *body == json!({ "role": "billing", "jwt": JWT });
            let (vault, metadata) = tokio::join!(vault(PATH, fits), metadata(google));
            let method = Gcp::new("billing").metadata_address(metadata.address());
            assert_logs_in_by(&vault.address(), method).await;
            let variables = [
                ("VAULT_ADDR", &*vault.address()),
                ("VAULT_AUTH_METHOD", "gcp"),
                ("VAULT_AUTH_ROLE", "billing"),
                ("GCE_METADATA_HOST", &host(&metadata)),
            ];
            assert_logs_in(&variables).await;
            assert_eq!(metadata.requests().len(), 2);
        }

        #[tokio::test]
        async fn a_metadata_server_that_is_late_is_asked_again() {
            let tries = Arc::new(AtomicUsize::new(0));
            let count = tries.clone();
            let late = move |request: &ScriptedRequest| match count.fetch_add(1, Ordering::SeqCst) {
                0 => ScriptedAnswer::status(503),
                1 => ScriptedAnswer::close(),
                _ => google(request),
            };
            let (vault, metadata) = tokio::join!(vault(PATH, |_| true), metadata(late));
            let method = Gcp::new("billing").metadata_address(metadata.address());
            assert_logs_in_by(&vault.address(), method).await;
            assert_eq!(tries.load(Ordering::SeqCst), 3);
        }

        #[tokio::test]
        async fn what_is_no_identity_token_is_never_sent() {
            let vault = vault(PATH, |_| true).await;
            let ok = || ScriptedAnswer::status(200).header("Metadata-Flavor", "Google");
            for (answer, kind) in [
                (ok().body("hunter2"), ErrorKind::Protocol),
                (ok(), ErrorKind::Protocol),
                (ok().body(format!("{JWT}\r\nX-Evil: hunter2")), ErrorKind::Protocol),
                (ok().body("hunter2".repeat(100_000)), ErrorKind::Protocol),
                // Another service at that address.
                (ScriptedAnswer::status(200).body(JWT), ErrorKind::Protocol),
                (ScriptedAnswer::status(404).body("hunter2"), ErrorKind::LoginRefused),
                (
                    ScriptedAnswer::status(302).header("Location", "/hunter2"),
                    ErrorKind::LoginRefused,
                ),
            ] {
                let metadata = metadata(move |_| answer.clone()).await;
                let method = Gcp::new("billing").metadata_address(metadata.address());
                let error = refused_by(&vault.address(), method).await;
                assert_eq!(error.kind(), kind, "{error}");
                assert_hides(&error, &["hunter2", JWT]);
            }
            let nobody = Gcp::new("billing").metadata_address("http://127.0.0.1:1");
            let error = refused_by(&vault.address(), nobody).await;
            assert_snapshot!(told(&error, ErrorKind::Connection), @r#"
            cannot load Config: 1 problem

            1. key: SecretString
               env KEY: not set
               vault http://127.0.0.1:PORT, login by gcp at auth/gcp as "billing": the metadata server of Google Cloud cannot be reached (http://127.0.0.1:PORT)
               help: see that this machine has it; GCE_METADATA_HOST names another address

            Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
            "#);
            let metadata = metadata(|_| ScriptedAnswer::status(404)).await;
            let method = Gcp::new("billing").metadata_address(metadata.address());
            let error = refused_by(&vault.address(), method).await;
            assert_snapshot!(told(&error, ErrorKind::LoginRefused), @r#"
            cannot load Config: 1 problem

            1. key: SecretString
               env KEY: not set
               vault http://127.0.0.1:PORT, login by gcp at auth/gcp as "billing": the metadata server of Google Cloud answers HTTP 404
               help: see that this machine or container has an identity, and may ask for it

            Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
            "#);
            for address in ["hunter2", "ftp://127.0.0.1", "http://["] {
                let method = Gcp::new("billing").metadata_address(address);
                let error = refused_by(&vault.address(), method).await;
                assert_eq!(error.kind(), ErrorKind::Setting, "{error}");
            }
            let variables = [
                ("VAULT_ADDR", &*vault.address()),
                ("VAULT_AUTH_METHOD", "gcp"),
                ("VAULT_AUTH_ROLE", "billing"),
                ("GCE_METADATA_HOST", "http://127.0.0.1/"),
            ];
            assert_snapshot!(told(&refused(&variables).await, ErrorKind::Setting), @"
            cannot load Config: 1 problem

            1. key: SecretString
               env KEY: not set
               env GCE_METADATA_HOST: is no host, such as 127.0.0.1:PORT
               help: correct GCE_METADATA_HOST, or unset it

            Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
            ");
            assert_eq!(vault.requests().len(), 0);
        }

        #[tokio::test]
        async fn a_refusal_is_told_without_the_token() {
            let body = json!({ "errors": [format!("cannot parse {JWT}")] });
            let vault = ScriptedServer::start(move |_| ScriptedAnswer::json(400, &body)).await;
            let metadata = metadata(google).await;
            let method = Gcp::new("billing").metadata_address(metadata.address());
            let error = refused_by(&vault.address(), method).await;
            assert_hides(&error, &[JWT]);
            assert_snapshot!(told(&error, ErrorKind::LoginRefused), @r#"
            cannot load Config: 1 problem

            1. key: SecretString
               env KEY: not set
               vault http://127.0.0.1:PORT, login by gcp at auth/gcp as "billing": the server refused the login (its words repeat what was sent and are withheld)

            Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
            "#);
            assert_eq!(vault.requests().len(), 1);
        }
    }

    mod azure {
        use super::*;

        const PATH: &str = "/v1/auth/azure/login";

        fn machine(request: &ScriptedRequest) -> ScriptedAnswer {
            assert_eq!(request.header("metadata"), Some("true"));
            let resource = "resource=https%3A%2F%2Fmanagement.azure.com%2F";
            let token =
                format!("/metadata/identity/oauth2/token?api-version=2018-02-01&{resource}");
            match request.target.as_str() {
                "/metadata/instance?api-version=2021-02-01" => {
                    let compute = json!({
                        "subscriptionId": "sub", "resourceGroupName": "group", "name": "vm-7",
                        "vmScaleSetName": "", "location": "west",
                    });
                    ScriptedAnswer::json(200, &json!({ "compute": compute, "network": {} }))
                }
                target if target == token => ScriptedAnswer::json(
                    200,
                    &json!({ "access_token": JWT, "expires_in": "86399" }),
                ),
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
                let asked = "/msi/token?api-version=2019-08-01&resource=api%3A%2F%2Fvault&client_id=user-assigned";
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
            // A proof that cannot be sent is not told either.
            let mut malformed = variables;
            malformed[6].1 = "proof-of-hunter2\n";
            let error = refused(&malformed).await;
            assert_hides(&error, &["hunter2"]);
            assert_snapshot!(told(&error, ErrorKind::Setting), @r#"
            cannot load Config: 1 problem

            1. key: SecretString
               env KEY: not set
               vault http://127.0.0.1:PORT, login by azure at auth/azure as "billing": the header x-identity-header for the metadata service of Azure would hold a control character
               help: correct the variable or file that it is read from

            Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
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
                let metadata = metadata(move |_| ScriptedAnswer::json(status, &body)).await;
                let method = Azure::new("billing").metadata_address(metadata.address());
                let error = refused_by(&vault.address(), method).await;
                assert_eq!(error.kind(), kind, "{error}");
                assert_hides(&error, &["hunter2"]);
            }
            assert_eq!(vault.requests().len(), 0);
        }
    }

    mod github {
        use super::*;

        const PATH: &str = "/v1/auth/github/login";

        #[tokio::test]
        async fn a_person_logs_in_with_an_access_token() {
            let vault = vault(PATH, |body| *body == json!({ "token": "ghp_hunter2" })).await;
            let folder = tempfile::tempdir().unwrap();
            let path = file(folder.path(), "token", "ghp_hunter2\n");
            assert_logs_in_by(&vault.address(), GitHub::new("ghp_hunter2")).await;
            assert_logs_in_by(&vault.address(), GitHub::from_file(&path)).await;
            let address = vault.address();
            let (address, method) = (("VAULT_ADDR", &*address), ("VAULT_AUTH_METHOD", "github"));
            let token = ("VAULT_AUTH_GITHUB_TOKEN", "ghp_hunter2");
            assert_logs_in(&[address, method, token]).await;
            assert_logs_in(&[address, method, ("VAULT_AUTH_GITHUB_TOKEN_FILE", &path)]).await;

            let error = refused_by(&vault.address(), GitHub::new("ghp_other_hunter2")).await;
            assert_hides(&error, &["hunter2"]);
            assert_snapshot!(told(&error, ErrorKind::LoginRefused), @"
            cannot load Config: 1 problem

            1. key: SecretString
               env KEY: not set
               vault http://127.0.0.1:PORT, login by github at auth/github: it does not fit (HTTP 400)

            Vault mode, because Vault::builder().address(..) is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
            ");
            let sent = vault.requests().len();
            for token in ["", "hunter 2", "hunter2\n"] {
                let error = refused_by(&vault.address(), GitHub::new(token)).await;
                assert_eq!(error.kind(), ErrorKind::Setting, "{error}");
            }
            let token = ("VAULT_AUTH_GITHUB_TOKEN", "ghp hunter2");
            let error = refused(&[address, method, token]).await;
            assert_hides(&error, &["hunter2"]);
            assert_snapshot!(told(&error, ErrorKind::Setting), @"
            cannot load Config: 1 problem

            1. key: SecretString
               env KEY: not set
               env VAULT_AUTH_GITHUB_TOKEN: the token holds a blank, a line break or another character that no token has
               help: give the access token as GitHub showed it

            Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
            ");
            assert_eq!(vault.requests().len(), sent);
        }
    }

    mod aws {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        use ring::{digest, hmac};

        use super::*;

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
            let headers: Value =
                serde_json::from_str(&decoded(login, "iam_request_headers")).unwrap();
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
            let lines: String =
                names.split(';').map(|name| format!("{name}:{}\n", value(name))).collect();
            // All that carries meaning is signed.
            for (name, _) in headers.as_object().unwrap() {
                assert!(
                    name == "authorization" || names.split(';').any(|one| one == name),
                    "{name}"
                );
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
                login["role"] == "billing"
                    && is_signed(login, "sts.amazonaws.com", "us-east-1", None)
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
            assert_snapshot!(told(&error, ErrorKind::LoginRefused), @"
            cannot load Config: 1 problem

            1. key: SecretString
               env KEY: not set
               vault http://127.0.0.1:PORT, login by aws at auth/aws: the container credential provider of AWS answers HTTP 401
               help: see that this machine or container has an identity, and may ask for it

            Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
            ");
            // The token of the container goes to the container's own address only.
            let mut away = common;
            away[2].1 = "http://169.254.170.99/credentials";
            let error = refused(&[&away[..], &[by_value]].concat()).await;
            assert_snapshot!(told(&error, ErrorKind::Setting), @"
            cannot load Config: 1 problem

            1. key: SecretString
               env KEY: not set
               env AWS_CONTAINER_CREDENTIALS_FULL_URI: is neither https nor an address that only this container reaches
               help: correct it

            Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
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
            assert_snapshot!(told(&error, ErrorKind::Setting), @"
            cannot load Config: 1 problem

            1. key: SecretString
               env KEY: not set
               vault http://127.0.0.1:PORT, login by aws at auth/aws: DIRECTORY/token holds no JWT: three parts of base64url between dots
               help: give the token as its issuer wrote it, and nothing else

            Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
            ");
        }

        #[tokio::test]
        async fn what_cannot_sign_is_never_sent() {
            let server = vault(PATH, |_| true).await;
            let address = server.address();
            let common = [("VAULT_ADDR", &*address), ("VAULT_AUTH_METHOD", "aws")];
            let off = ("AWS_EC2_METADATA_DISABLED", "true");
            let error = refused(&[&common[..], &[off]].concat()).await;
            assert_snapshot!(told(&error, ErrorKind::NoLogin), @"
            cannot load Config: 1 problem

            1. key: SecretString
               env KEY: not set
               vault http://127.0.0.1:PORT, login by aws at auth/aws: no credentials of AWS were found; looked for AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN, AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI, and the instance metadata service, which AWS_EC2_METADATA_DISABLED turns off
               help: give this program a role: an instance profile, a task role, or a service account's role

            Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
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
            assert_snapshot!(told(&error, ErrorKind::Setting), @"
            cannot load Config: 1 problem

            1. key: SecretString
               env KEY: not set
               env AWS_SESSION_TOKEN: holds a blank or a control character
               help: take it away

            Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
            ");
            let nobody = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1");
            let error = refused(&[&common[..], &[nobody]].concat()).await;
            assert_snapshot!(told(&error, ErrorKind::Connection), @"
            cannot load Config: 1 problem

            1. key: SecretString
               env KEY: not set
               vault http://127.0.0.1:PORT, login by aws at auth/aws: the instance metadata service of AWS cannot be reached (http://127.0.0.1:PORT)
               help: see that this machine has it; AWS_EC2_METADATA_SERVICE_ENDPOINT names another address
                 looked for AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN, AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI, and the instance metadata service

            Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
            ");
            for answer in [
                ScriptedAnswer::status(200).body("hunter2\r\nhunter2"),
                ScriptedAnswer::status(200),
                ScriptedAnswer::status(200).body("{\"AccessKeyId\": \"hunter2\"}"),
            ] {
                let metadata = metadata(move |_| answer.clone()).await;
                let method = AwsIam::new().metadata_address(metadata.address());
                let error = refused_by(&server.address(), method).await;
                assert!(
                    matches!(error.kind(), ErrorKind::Protocol | ErrorKind::Setting),
                    "{error}"
                );
                assert_hides(&error, &["hunter2"]);
            }
            assert_eq!(server.requests().len(), 0);
        }

        #[tokio::test]
        async fn a_refusal_is_told_without_what_was_signed() {
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
            assert_snapshot!(told(&error, ErrorKind::LoginRefused), @"
            cannot load Config: 1 problem

            1. key: SecretString
               env KEY: not set
               vault http://127.0.0.1:PORT, login by aws at auth/aws: the server refused the login (its words repeat what was sent and are withheld)

            Vault mode, because VAULT_ADDR is http://127.0.0.1:PORT; VAULT_CONFIG_MODE=local reads .env and files instead.
            ");
            assert_eq!(server.requests().len(), 1);

            let says = json!({ "errors": ["entry for role billing-app not found (43)"] });
            let server = ScriptedServer::start(move |_| ScriptedAnswer::json(400, &says)).await;
            let mut variables = variables.to_vec();
            let address = server.address();
            variables[0].1 = &address;
            variables.push(("VAULT_AUTH_ROLE", "billing-app"));
            let error = refused(&variables).await;
            assert!(error.to_string().contains("entry for role billing-app not found"), "{error}");
        }
    }
}

use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::ExposeSecret;
use serde::Serialize;

use super::check;
use super::{AuthMethod, LoginClient, LoginFuture, below_auth, mount, read_file, role};
use crate::error::{Cause, ErrorKind};
use crate::source::env::OfficialEnv;

/// Where Kubernetes puts a pod's own token.
pub(super) const SERVICE_ACCOUNT_TOKEN: &str =
    "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// A login with the pod's service account:
/// <https://openbao.org/api-docs/auth/kubernetes/>.
///
/// The token's file is read at every login: Kubernetes replaces it about once an hour.
#[derive(Debug, Clone)]
pub struct Kubernetes {
    role: String,
    token: PathBuf,
    mount: String,
}

impl Kubernetes {
    /// As this role of the server, with the token that Kubernetes gives every pod.
    pub fn new(role: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            token: SERVICE_ACCOUNT_TOKEN.into(),
            mount: "kubernetes".to_owned(),
        }
    }

    /// Another token, such as one of a projected volume with an audience of its own. Default:
    /// `/var/run/secrets/kubernetes.io/serviceaccount/token`.
    #[must_use]
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token = path.into();
        self
    }

    /// Where the auth method is mounted below `auth/`. Default: `kubernetes`.
    #[must_use]
    pub fn mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = below_auth(&mount.into());
        self
    }
}

#[derive(Serialize)]
struct Body<'a> {
    role: &'a str,
    jwt: &'a str,
}

impl AuthMethod for Kubernetes {
    fn describe(&self) -> String {
        format!("kubernetes at auth/{} as {:?}", self.mount, self.role)
    }

    fn locks_accounts(&self) -> bool {
        false
    }

    fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async move {
            check::mount(&self.mount)?;
            check::name("the role", &self.role)?;
            let token = read_file(&self.token).await;
            let token = token.map_err(|error| self.no_token(error.into_cause()))?;
            check::jwt(&format!("{} holds", self.token.display()), &token)?;
            let body = Body { role: &self.role, jwt: token.expose_secret() };
            let path = format!("auth/{}/login", self.mount);
            client.post(&path, &body).await.map_err(|error| self.explain(error.into_cause()).into())
        })
    }
}

impl Kubernetes {
    fn no_token(&self, cause: Cause) -> Cause {
        match self.token == Path::new(SERVICE_ACCOUNT_TOKEN) {
            true => cause.hint(
                "a pod has it unless its service account or its own spec says \
                 automountServiceAccountToken: false",
            ),
            false => cause,
        }
    }

    fn explain(&self, cause: Cause) -> Cause {
        let (mount, role, says) = (&self.mount, &self.role, |text| cause.message.contains(text));
        let help = if says("not authorized") {
            format!(
                "let the role name this pod's service account and namespace: vault read auth/{mount}/role/{role}"
            )
        } else if says("invalid role name") {
            format!(
                "make the role: vault write auth/{mount}/role/{role} bound_service_account_names=.. \
                 bound_service_account_namespaces=.. token_policies=.."
            )
        } else if says("could not load backend configuration") {
            format!("configure the method: vault write auth/{mount}/config kubernetes_host=..")
        } else if says("expired") {
            "Kubernetes renews the file of a running pod: see that it is mounted, and the clocks of both machines"
                .to_owned()
        } else if cause.kind == ErrorKind::LoginRefused && says("permission denied") {
            return cause.hint(
                "it says the same for a token that Kubernetes does not accept (any more), and when the server \
                 cannot ask Kubernetes at all: the server's log tells",
            );
        } else {
            return cause;
        };
        cause.with_help(help)
    }
}

pub(super) fn from_environment(
    env: &OfficialEnv<'_>,
) -> Result<Option<Arc<dyn AuthMethod>>, Cause> {
    let Some(role) = role(env)? else { return Ok(None) };
    let token = env.get(TOKEN_FILE)?;
    Ok(Some(Arc::new(Kubernetes {
        role,
        token: token.map_or_else(|| SERVICE_ACCOUNT_TOKEN.into(), |(_, path)| path.as_str().into()),
        mount: mount(env, "kubernetes")?,
    })))
}

/// When nothing names a method: a role, and a token that somebody named or that is there.
pub(super) fn if_present(
    env: &OfficialEnv<'_>,
    usual: &Path,
) -> Result<Option<Arc<dyn AuthMethod>>, Cause> {
    let named = env.get(TOKEN_FILE)?;
    let found = match named.is_some() || usual.is_file() {
        true => from_environment(env)?,
        false => return Ok(None),
    };
    match (found, named) {
        // Whoever names the token wants this login and no other.
        (None, Some((variable, _))) => Err(Cause::new(
            ErrorKind::NoLogin,
            "the token is of no use without a role",
            "set VAULT_AUTH_ROLE",
        )
        .at(format!("env {variable}"))),
        (found, _) => Ok(found),
    }
}

pub(super) const TOKEN_FILE: &str = "KUBERNETES_TOKEN_FILE";

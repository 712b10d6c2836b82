use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::ExposeSecret;
use serde::Serialize;

use super::credential::Credential;
use super::detect::Detected;
use super::mount::Mount;
use super::refusal::Hint;
use super::{AuthMethod, LoginClient, LoginFuture, check};
use crate::error::{Cause, ErrorKind};
use crate::source::env::OfficialEnv;

/// A login with the pod's service account:
/// <https://openbao.org/api-docs/auth/kubernetes/>.
///
/// The environment: `VAULT_AUTH_ROLE`; `VAULT_KUBERNETES_TOKEN_FILE` for a projected token. The
/// administrator runs `vault write auth/kubernetes/role/app bound_service_account_names=app
/// bound_service_account_namespaces=prod audience=vault token_policies=app`. The token's file is read
/// again at every login: Kubernetes replaces the token about once an hour.
#[derive(Debug, Clone)]
pub struct Kubernetes {
    role: String,
    token: Credential,
    mount: Mount,
}

impl Kubernetes {
    /// As this role of the server, with the token that Kubernetes gives every pod.
    pub fn new(role: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            token: Credential::file(SERVICE_ACCOUNT_TOKEN),
            mount: Mount::new("kubernetes"),
        }
    }

    /// The file of another token, such as that of a projected volume with its own audience. Default:
    /// `/var/run/secrets/kubernetes.io/serviceaccount/token`.
    #[must_use]
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token = Credential::file(path);
        self
    }

    /// Where the auth method is mounted below `auth/`. Default: `kubernetes`.
    #[must_use]
    pub fn mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = Mount::new(mount);
        self
    }
}

const HINTS: &[Hint<Kubernetes>] = &[
    Hint::replace(&["not authorized"], |method| {
        format!(
            "the role must allow this pod's service account and namespace; see what it allows: vault read {}/role/{}",
            method.mount, method.role
        )
    }),
    Hint::replace(&["invalid role name"], |method| {
        format!(
            "create the role: vault write {}/role/{} bound_service_account_names=.. \
             bound_service_account_namespaces=.. token_policies=..",
            method.mount, method.role
        )
    }),
    Hint::replace_always(&["could not load backend configuration"], |method| {
        format!("configure the method: vault write {}/config kubernetes_host=..", method.mount)
    }),
    Hint::replace(&["expired"], |_| {
        "Kubernetes renews the file of a running pod: check that it is mounted, and check the clocks of both machines"
            .to_owned()
    }),
    // The server writes the reason to its log and answers the same for each.
    Hint::add(&["permission denied"], |method| {
        format!(
            "see the server's log: Kubernetes may not accept the token any more, or the server may fail to reach Kubernetes, or lack \
             the permission for a TokenReview (vault read {}/config)",
            method.mount
        )
    }),
];

#[derive(Serialize)]
struct Body<'a> {
    role: &'a str,
    jwt: &'a str,
}

impl AuthMethod for Kubernetes {
    fn describe(&self) -> String {
        format!("kubernetes at {} as {:?}", self.mount, self.role)
    }

    fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async move {
            self.mount.check()?;
            check::name("the role", &self.role)?;
            let token = self.token.read().await;
            let token = token.map_err(|error| self.no_token(error.into_cause()))?;
            check::jwt(&self.token.subject(), &token)?;
            let body = Body { role: &self.role, jwt: token.expose_secret() };
            client.log_in(self, &self.mount.login(), &body, HINTS).await
        })
    }

    fn locks_accounts(&self) -> bool {
        false
    }
}

impl Kubernetes {
    fn no_token(&self, cause: Cause) -> Cause {
        match self.token.path() == Some(Path::new(SERVICE_ACCOUNT_TOKEN)) {
            true => cause.hint(
                "a pod has this file unless its service account or its own spec sets automountServiceAccountToken: false",
            ),
            false => cause,
        }
    }
}

pub(super) fn from_environment(env: &OfficialEnv<'_>) -> Detected {
    let Some(role) = check::name_from_environment(env, "AUTH_ROLE")? else { return Ok(None) };
    let token = match env.get(TOKEN_FILE)? {
        Some((_, path)) => Credential::file(path.as_str()),
        None => Credential::file(SERVICE_ACCOUNT_TOKEN),
    };
    let mount = Mount::from_environment(env, "kubernetes")?;
    Ok(Some(Arc::new(Kubernetes { role, token, mount })))
}

/// If `VAULT_AUTH_METHOD` is not set: a role, together with a token that is named or that the pod
/// has.
pub(super) fn if_present(env: &OfficialEnv<'_>, pod_token: &Path) -> Detected {
    let named = env.get(TOKEN_FILE)?;
    if named.is_none() && !pod_token.is_file() {
        return Ok(None);
    }
    match (from_environment(env)?, named) {
        // The variable has no other use: another login would hide that the role is missing.
        (None, Some((variable, _))) => Err(Cause::new(
            ErrorKind::NoLogin,
            "the token cannot be used without a role",
            "set VAULT_AUTH_ROLE",
        )
        .at(format!("env {variable}"))),
        (found, _) => Ok(found),
    }
}

/// The file with a pod's own token.
pub(super) const SERVICE_ACCOUNT_TOKEN: &str =
    "/var/run/secrets/kubernetes.io/serviceaccount/token";

pub(super) const TOKEN_FILE: &str = "KUBERNETES_TOKEN_FILE";

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::credential::Credential;
use super::detect::Detected;
use super::mount::Mount;
use super::{AuthMethod, AuthToken, LoginClient, LoginFuture};
use crate::error::{Cause, ErrorKind};
use crate::source::env::OfficialEnv;

/// A login with a personal access token of GitHub:
/// <https://developer.hashicorp.com/vault/api-docs/auth/github>. It is meant for people; a workflow
/// of GitHub Actions logs in with [`Jwt`](super::Jwt).
///
/// The environment: `VAULT_AUTH_GITHUB_TOKEN`, also with `_FILE`. The administrator runs
/// `vault write auth/github/map/teams/app value=app`. A file is read again at every login.
#[derive(Debug, Clone)]
pub struct GitHub {
    token: Credential,
    mount: Mount,
}

impl GitHub {
    /// With the token as a value.
    pub fn new(token: impl Into<SecretString>) -> Self {
        Self::with(Credential::value(token))
    }

    /// With the token in a file that is read at every login.
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        Self::with(Credential::file(path))
    }

    /// Where the auth method is mounted below `auth/`. Default: `github`.
    #[must_use]
    pub fn mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = Mount::new(mount);
        self
    }

    fn with(token: Credential) -> Self {
        Self { token, mount: Mount::new("github") }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    token: &'a str,
}

impl AuthMethod for GitHub {
    fn describe(&self) -> String {
        format!("github at {}", self.mount)
    }

    fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async move {
            self.mount.check()?;
            let token = self.token.read().await?;
            check_token(&token)?;
            let body = Body { token: token.expose_secret() };
            client.log_in(self, &self.mount.login(), &body, &[]).await
        })
    }

    fn locks_accounts(&self) -> bool {
        false
    }
}

/// The tokens of GitHub consist of the same characters as those of the server.
fn check_token(token: &SecretString) -> Result<(), Cause> {
    AuthToken::new(token.clone()).map(drop).map_err(|error| Cause {
        kind: ErrorKind::Setting,
        help: "pass the access token exactly as GitHub issued it".to_owned(),
        ..error.into_cause()
    })
}

pub(super) fn from_environment(env: &OfficialEnv<'_>) -> Detected {
    let token = Credential::from_environment(env, "AUTH_GITHUB_TOKEN", check_token)?;
    let Some(token) = token else { return Ok(None) };
    Ok(Some(Arc::new(GitHub { token, mount: Mount::from_environment(env, "github")? })))
}

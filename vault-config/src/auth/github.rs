use std::path::PathBuf;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::{
    AuthMethod, AuthToken, Given, LoginClient, LoginFuture, below_auth, check, mount, value_or_file,
};
use crate::error::{Cause, ErrorKind};
use crate::source::env::OfficialEnv;

/// A login with a personal access token of GitHub:
/// <https://developer.hashicorp.com/vault/api-docs/auth/github>. It is meant for people; a workflow
/// of GitHub Actions logs in by [`Jwt`](super::Jwt).
#[derive(Debug, Clone)]
pub struct GitHub {
    token: Given,
    mount: String,
}

impl GitHub {
    /// With the token in hand.
    pub fn new(token: impl Into<SecretString>) -> Self {
        Self::with(Given::Value(token.into()))
    }

    /// With the token in a file that is read at every login.
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        Self::with(Given::File(path.into()))
    }

    /// Where the auth method is mounted below `auth/`. Default: `github`.
    #[must_use]
    pub fn mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = below_auth(&mount.into());
        self
    }

    fn with(token: Given) -> Self {
        Self { token, mount: "github".to_owned() }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    token: &'a str,
}

impl AuthMethod for GitHub {
    fn describe(&self) -> String {
        format!("github at auth/{}", self.mount)
    }

    fn locks_accounts(&self) -> bool {
        false
    }

    fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async move {
            check::mount(&self.mount)?;
            let token = self.token.get().await?;
            malformed(&token)?;
            let body = Body { token: token.expose_secret() };
            client.post(&format!("auth/{}/login", self.mount), &body).await
        })
    }
}

/// GitHub's tokens are made of the same characters as the server's own.
fn malformed(token: &SecretString) -> Result<(), Cause> {
    AuthToken::new(token.clone()).map(drop).map_err(|error| Cause {
        kind: ErrorKind::Setting,
        help: "give the access token as GitHub showed it".to_owned(),
        ..error.into_cause()
    })
}

pub(super) fn from_environment(
    env: &OfficialEnv<'_>,
) -> Result<Option<Arc<dyn AuthMethod>>, Cause> {
    let Some(token) = value_or_file(env, "AUTH_GITHUB_TOKEN")? else { return Ok(None) };
    if let (Given::Value(value), Some((variable, _))) = (&token, env.get("AUTH_GITHUB_TOKEN")?) {
        malformed(value).map_err(|cause| cause.at(format!("env {variable}")))?;
    }
    Ok(Some(Arc::new(GitHub { token, mount: mount(env, "github")? })))
}

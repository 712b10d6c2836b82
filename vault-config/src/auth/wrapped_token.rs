use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;

use super::credential::{Credential, conflict};
use super::detect::Detected;
use super::wrapping::{Expected, Wrapping};
use super::{AuthMethod, AuthToken, LoginClient, LoginFuture, check};
use crate::source::env::OfficialEnv;

/// A wrapped token: <https://openbao.org/docs/concepts/response-wrapping/>.
///
/// The environment: `VAULT_WRAPPED_TOKEN`, also with `_FILE`; `VAULT_WRAPPED_TOKEN_MADE_BY`. The
/// administrator runs `vault token create -policy=app -wrap-ttl=120s`. A file is read again at every
/// login, and a new wrapping token in it is unwrapped.
///
/// The origin of the wrapping token is looked up before the token is unwrapped. A token of another
/// origin, or one that is used already, is an error of the kind
/// [`Tampered`](crate::ErrorKind::Tampered): the wrapped token may be in the wrong hands.
#[derive(Debug, Clone)]
pub struct WrappedToken {
    wrapping: Wrapping,
    made_by: Option<String>,
}

impl WrappedToken {
    /// With the wrapping token as a value.
    pub fn new(wrapping_token: impl Into<SecretString>) -> Self {
        Self::with(Credential::value(wrapping_token))
    }

    /// With the wrapping token in a file that is read at every login: a new one in it is unwrapped
    /// when the current token has expired.
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        Self::with(Credential::file(path))
    }

    /// The path that must be the origin of the wrapping token, such as `auth/approle/login`. Default:
    /// one of `auth/token/create`, `auth/token/create-orphan` and `auth/token/create/<role>`.
    #[must_use]
    pub fn made_by(mut self, path: impl Into<String>) -> Self {
        self.made_by = Some(path.into().trim_matches('/').to_owned());
        self
    }

    fn with(wrapping_token: Credential) -> Self {
        Self { wrapping: Wrapping::new(wrapping_token), made_by: None }
    }

    fn is_origin(&self, path: &str) -> bool {
        match &self.made_by {
            Some(made_by) => path == made_by,
            None => {
                matches!(path, "auth/token/create" | "auth/token/create-orphan")
                    || path.strip_prefix("auth/token/create/").is_some_and(check::is_name)
            }
        }
    }
}

impl AuthMethod for WrappedToken {
    fn describe(&self) -> String {
        "wrapped token".to_owned()
    }

    fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async move {
            let expected = Expected {
                content: "token",
                origin: self.made_by.clone().unwrap_or_else(|| "auth/token/create".to_owned()),
                is_origin: &|path| self.is_origin(path),
                take: |answer| answer.get("auth")?.get("client_token"),
                other_origin: Some(
                    "if another path is meant to create it, set VAULT_WRAPPED_TOKEN_MADE_BY to that path",
                ),
                command: "vault token create -wrap-ttl=60s -policy=..".to_owned(),
            };
            AuthToken::new(self.wrapping.open(client, &expected).await?)
        })
    }

    fn can_repeat(&self) -> bool {
        self.watched_file().is_some()
    }

    fn watched_file(&self) -> Option<&Path> {
        self.wrapping.token.path()
    }

    fn locks_accounts(&self) -> bool {
        false
    }
}

pub(super) fn from_environment(env: &OfficialEnv<'_>) -> Detected {
    let token = Credential::from_environment(env, "WRAPPED_TOKEN", |_| Ok(()))?;
    let Some(wrapping_token) = token else { return Ok(None) };
    let wrapped = match env.get("WRAPPED_TOKEN")? {
        None => env.get("WRAPPED_TOKEN_FILE")?,
        value => value,
    };
    if let (Some((token, _)), Some((wrapped, _))) = (env.get("TOKEN")?, wrapped) {
        return Err(conflict(&token, &wrapped));
    }
    let made_by = env.parse("WRAPPED_TOKEN_MADE_BY", |path| Ok(path.to_owned()))?;
    let method = WrappedToken::with(wrapping_token);
    Ok(Some(Arc::new(match made_by {
        Some(path) => method.made_by(path),
        None => method,
    })))
}

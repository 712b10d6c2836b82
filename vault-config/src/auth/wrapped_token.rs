use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;

use super::wrapping::{Expected, Wrapped};
use super::{AuthMethod, AuthToken, Given, LoginClient, LoginFuture, both, value_or_file};
use crate::error::Cause;
use crate::source::env::OfficialEnv;

/// A token that comes wrapped: <https://openbao.org/docs/concepts/response-wrapping/>.
///
/// Where the wrapping token was made is looked up before it is unwrapped. One that was made
/// elsewhere, or that is used already, is an error of the kind
/// [`Tampered`](crate::ErrorKind::Tampered): somebody else may have the token.
#[derive(Debug, Clone)]
pub struct WrappedToken {
    wrapped: Wrapped,
    made_by: Option<String>,
}

impl WrappedToken {
    /// With the wrapping token in hand.
    pub fn new(wrapping_token: impl Into<SecretString>) -> Self {
        Self::of(Given::Value(wrapping_token.into()))
    }

    /// With the wrapping token in a file that is read at every login: a new one in it is unwrapped
    /// when the token before has ended.
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        Self::of(Given::File(path.into()))
    }

    /// The path that has to have made it, such as `auth/approle/login`. Default: one of
    /// `auth/token/create`, `auth/token/create-orphan` and `auth/token/create/<role>`.
    #[must_use]
    pub fn made_by(mut self, path: impl Into<String>) -> Self {
        self.made_by = Some(path.into().trim_matches('/').to_owned());
        self
    }

    fn of(given: Given) -> Self {
        Self { wrapped: Wrapped::new(given), made_by: None }
    }

    fn is_origin(&self, path: &str) -> bool {
        match &self.made_by {
            Some(made_by) => path == made_by,
            None => {
                matches!(path, "auth/token/create" | "auth/token/create-orphan")
                    || path.strip_prefix("auth/token/create/").is_some_and(super::check::is_name)
            }
        }
    }
}

impl AuthMethod for WrappedToken {
    fn describe(&self) -> String {
        "wrapped token".to_owned()
    }

    fn locks_accounts(&self) -> bool {
        false
    }

    fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async move {
            let expected = Expected {
                what: "token",
                origin: self.made_by.clone().unwrap_or_else(|| "auth/token/create".to_owned()),
                is_origin: &|path| self.is_origin(path),
                take: |answer| answer.get("auth")?.get("client_token"),
                remake: "vault token create -wrap-ttl=60s -policy=..; VAULT_WRAPPED_TOKEN_MADE_BY names another path \
                         that it is meant to be made by"
                    .to_owned(),
            };
            AuthToken::new(self.wrapped.open(client, &expected).await?)
        })
    }

    fn can_repeat(&self) -> bool {
        self.watched_file().is_some()
    }

    fn watched_file(&self) -> Option<&Path> {
        self.wrapped.given.file()
    }
}

pub(super) fn from_environment(
    env: &OfficialEnv<'_>,
) -> Result<Option<Arc<dyn AuthMethod>>, Cause> {
    let Some(given) = value_or_file(env, "WRAPPED_TOKEN")? else { return Ok(None) };
    if let (Some((token, _)), Some((wrapped, _))) = (
        env.get("TOKEN")?,
        env.get("WRAPPED_TOKEN")?.map_or_else(|| env.get("WRAPPED_TOKEN_FILE"), |v| Ok(Some(v)))?,
    ) {
        return Err(both(&token, &wrapped));
    }
    let made_by = env.parse("WRAPPED_TOKEN_MADE_BY", |path| Ok(path.to_owned()))?;
    let method = WrappedToken::of(given);
    Ok(Some(Arc::new(match made_by {
        Some(path) => method.made_by(path),
        None => method,
    })))
}

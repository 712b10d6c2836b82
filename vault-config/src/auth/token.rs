use std::sync::Arc;

use secrecy::SecretString;

use super::{AuthMethod, AuthToken, LoginClient, LoginFuture};
use crate::error::{Cause, ErrorKind};
use crate::source::env::OfficialEnv;

/// A token that somebody else made. It is never renewed or revoked by a one-shot load.
#[derive(Debug, Clone)]
pub struct Token {
    token: SecretString,
    origin: String,
}

impl Token {
    /// `token` as it is, without blanks or line breaks around it.
    pub fn new(token: impl Into<SecretString>) -> Self {
        Self { token: token.into(), origin: "Token::new(..)".to_owned() }
    }
}

impl AuthMethod for Token {
    fn describe(&self) -> String {
        format!("token from {}", self.origin)
    }

    fn locks_accounts(&self) -> bool {
        false
    }

    fn login<'a>(&'a self, _: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async move { AuthToken::new(self.token.clone()) })
    }

    fn can_repeat(&self) -> bool {
        false
    }
}

pub(super) fn from_environment(
    env: &OfficialEnv<'_>,
) -> Result<Option<Arc<dyn AuthMethod>>, Cause> {
    let Some((variable, value)) = env.get("TOKEN")? else { return Ok(None) };
    let token = SecretString::from(value.as_str());
    if let Err(error) = AuthToken::new(token.clone()) {
        let mut cause = error.into_cause();
        cause.kind = ErrorKind::Setting;
        return Err(cause.at(format!("env {variable}")));
    }
    Ok(Some(Arc::new(Token { token, origin: variable })))
}

use std::sync::Arc;

use secrecy::SecretString;

use super::detect::Detected;
use super::{AuthMethod, AuthToken, LoginClient, LoginFuture};
use crate::error::ErrorKind;
use crate::source::env::OfficialEnv;

/// A token that was issued elsewhere. A one-shot load neither renews nor revokes it.
///
/// The environment: `VAULT_TOKEN`. The administrator runs `vault token create -policy=app -period=24h`.
/// Nothing is read again: the token is fixed.
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

    fn login<'a>(&'a self, _: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async move { AuthToken::new(self.token.clone()) })
    }

    fn can_repeat(&self) -> bool {
        false
    }

    fn locks_accounts(&self) -> bool {
        false
    }
}

pub(super) fn from_environment(env: &OfficialEnv<'_>) -> Detected {
    let Some((variable, value)) = env.get("TOKEN")? else { return Ok(None) };
    let token = SecretString::from(value.as_str());
    if let Err(error) = AuthToken::new(token.clone()) {
        let mut cause = error.into_cause();
        cause.kind = ErrorKind::Setting;
        return Err(cause.at(format!("env {variable}")));
    }
    Ok(Some(Arc::new(Token { token, origin: variable })))
}

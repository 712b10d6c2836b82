//! The request of a login.

use secrecy::zeroize::Zeroizing;
use serde::Serialize;

use super::method::{AuthToken, LoginError, TokenGrant, is_token};
use super::refusal::{self, Hint};
use crate::error::{Cause, ErrorKind};
use crate::http::{Call, Idempotency, Lane, Settings, Transport};
use crate::time::Timing;
use crate::value::Value;

/// What a login may use of the connection: the configured server and the namespace of the login,
/// without a token.
#[derive(Debug)]
pub struct LoginClient<'a> {
    pub(super) http: &'a Transport,
    /// That of the method that logs in; it decides the help for a denied login.
    locks_accounts: bool,
}

impl<'a> LoginClient<'a> {
    pub(crate) fn new(http: &'a Transport, locks_accounts: bool) -> Self {
        Self { http, locks_accounts }
    }

    pub(super) fn settings(&self) -> &'a Settings {
        self.http.settings()
    }

    /// The clock and the chance of the connection, which a metadata service is asked with as well.
    pub(super) fn timing(&self) -> &'a Timing {
        self.http.timing()
    }

    /// Posts `body` as JSON to `path` (such as `auth/approle/login`) and takes the token from the
    /// answer's `auth`.
    ///
    /// The request is repeated only if it cannot have arrived, or if Vault itself states that it did
    /// not process it (sealed, standby, rate limited): a credential for one use is never sent twice.
    ///
    /// # Errors
    /// The server's refusal in its own words, or why the server could not be reached.
    pub async fn post(&self, path: &str, body: &impl Serialize) -> Result<AuthToken, LoginError> {
        self.log_in(&(), path, body, &[]).await
    }

    /// [`post`](Self::post) for a method with hints: the first that fits a refusal becomes its help.
    pub(super) async fn log_in<M>(
        &self,
        method: &M,
        path: &str,
        body: &impl Serialize,
        hints: &[Hint<M>],
    ) -> Result<AuthToken, LoginError> {
        let sent = self.send(path, body, |_| false).await;
        Ok(sent.map_err(|cause| refusal::explained(cause, method, hints))?)
    }

    /// [`post`](Self::post) for a body that holds secrets in an encoding: `leaks` recognises them in
    /// the server's words, which are then withheld.
    #[cfg(feature = "aws")]
    pub(super) async fn log_in_encoded(
        &self,
        path: &str,
        body: &impl Serialize,
        leaks: impl Fn(&str) -> bool,
    ) -> Result<AuthToken, LoginError> {
        let sent = self.send(path, body, leaks).await;
        Ok(sent.map_err(|cause| refusal::explained(cause, &(), &[]))?)
    }

    async fn send(
        &self,
        path: &str,
        body: &impl Serialize,
        leaks: impl Fn(&str) -> bool,
    ) -> Result<AuthToken, Cause> {
        let body = serde_json::to_vec(body).map(Zeroizing::new).map_err(|_| unwritable())?;
        let call = Call {
            namespace: self.http.settings().login_namespace(),
            lane: Lane::Issue,
            ..Call::post(path, body.clone(), Idempotency::AtMostOnce)
        };
        let reply = self.http.send(&call).await?;
        if reply.ok() {
            return token_of(reply.json());
        }
        let (words, status) = (reply.all_words(), reply.status);
        let has_secret = refusal::repeats(&words, &body) || leaks(&words);
        let cause = refusal::of_login(reply, path, self.locks_accounts);
        Err(if has_secret { refusal::withheld(cause, status) } else { cause })
    }
}

fn token_of(answer: &Value) -> Result<AuthToken, Cause> {
    let auth = answer.get("auth").unwrap_or(&Value::Null);
    match auth.get("client_token").and_then(Value::as_str) {
        Some(token) if is_token(token) => {
            Ok(AuthToken::issued(token.into(), TokenGrant::from_login(auth)))
        }
        Some(token) if !token.is_empty() => Err(Cause::new(
            ErrorKind::Protocol,
            "the server accepted the login and returned a token with invalid characters",
            "a proxy on the way may have changed the answer",
        )),
        _ => Err(Cause::new(
            ErrorKind::Protocol,
            "the server accepted the login and returned no token",
            "check that the path is the login path of an auth method",
        )),
    }
}

fn unwritable() -> Cause {
    Cause::new(
        ErrorKind::LoginRefused,
        "the login's body cannot be written as JSON",
        "check the login method's code",
    )
}

//! Response wrapping: <https://openbao.org/docs/concepts/response-wrapping/>.
//!
//! A token is unwrapped once. An attacker who intercepts it can either use it up, or wrap something
//! else in a new token, whose origin then differs. Both are detected before the secret is used.

use std::sync::Arc;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tokio::sync::Mutex;

use super::credential::Credential;
use super::method::is_token;
use super::{LoginClient, LoginError};
use crate::error::{Cause, ErrorKind};
use crate::http::{Call, Idempotency, Lane, Reply};
use crate::text::printable;
use crate::value::Value;

/// A wrapping token, and the secret that was unwrapped from it.
#[derive(Debug, Clone)]
pub(super) struct Wrapping {
    pub(super) token: Credential,
    unwrapped: Arc<Mutex<Option<Unwrapped>>>,
}

#[derive(Debug)]
struct Unwrapped {
    token: SecretString,
    result: Result<SecretString, Cause>,
}

/// What a wrapping token must be, and what it must wrap.
pub(super) struct Expected<'a> {
    /// The name of the wrapped secret, for messages.
    pub(super) content: &'static str,
    /// The path that must have issued it, for messages.
    pub(super) origin: String,
    /// What to do if another path is meant to issue it; `None` if that cannot be set.
    pub(super) other_origin: Option<&'static str>,
    pub(super) is_origin: &'a (dyn Fn(&str) -> bool + Sync),
    pub(super) take: fn(&Value) -> Option<&Value>,
    /// The administrator's command for a new one.
    pub(super) command: String,
}

#[derive(Serialize)]
struct Lookup<'a> {
    token: &'a str,
}

impl Wrapping {
    pub(super) fn new(token: Credential) -> Self {
        Self { token, unwrapped: Arc::default() }
    }

    /// The wrapped secret. A token is unwrapped once, so the secret is kept for later logins. A
    /// failure that may be an attack is kept as well: the token is not sent again.
    pub(super) async fn open(
        &self,
        client: &LoginClient<'_>,
        expected: &Expected<'_>,
    ) -> Result<SecretString, LoginError> {
        let token = self.token.read().await?;
        if !is_token(token.expose_secret()) {
            return Err(malformed(&self.token.subject()).into());
        }
        let mut unwrapped = self.unwrapped.lock().await;
        if let Some(unwrapped) = unwrapped.as_ref()
            && unwrapped.token.expose_secret() == token.expose_secret()
        {
            return Ok(unwrapped.result.clone()?);
        }
        let result = client.unwrap(&token, expected).await;
        if let Err(cause) = &result {
            if cause.kind != ErrorKind::Tampered {
                return Err(cause.clone().into());
            }
            tracing::error!(wrapped = expected.content, "SECURITY: {}", cause.message);
        }
        *unwrapped = Some(Unwrapped { token, result: result.clone() });
        Ok(result?)
    }
}

impl LoginClient<'_> {
    async fn unwrap(
        &self,
        token: &SecretString,
        expected: &Expected<'_>,
    ) -> Result<SecretString, Cause> {
        self.check_origin(token, expected).await?;
        let call = Call {
            namespace: self.http.settings().login_namespace(),
            token: Some(token),
            lane: Lane::Issue,
            ..Call::post(
                "sys/wrapping/unwrap",
                Zeroizing::new(b"{}".to_vec()),
                Idempotency::AtMostOnce,
            )
        };
        let reply = self.http.send(&call).await?;
        if !reply.ok() {
            return Err(refused(reply, expected));
        }
        match (expected.take)(reply.json()).and_then(Value::as_str) {
            Some(text) if is_token(text) => Ok(SecretString::from(text)),
            _ => {
                let message = format!("the wrapping token holds no {}", expected.content);
                Err(tampered(message, expected).hint(NOT_RETRIED))
            }
        }
    }

    async fn check_origin(
        &self,
        token: &SecretString,
        expected: &Expected<'_>,
    ) -> Result<(), Cause> {
        let body = serde_json::to_vec(&Lookup { token: token.expose_secret() });
        let body = Zeroizing::new(body.unwrap_or_default());
        let call = Call {
            namespace: self.http.settings().login_namespace(),
            lane: Lane::Issue,
            ..Call::post("sys/wrapping/lookup", body, Idempotency::Safe)
        };
        let reply = self.http.send(&call).await?;
        if !reply.ok() {
            return Err(refused(reply, expected));
        }
        let origin = reply.data().get("creation_path").and_then(Value::as_str).unwrap_or("");
        match (expected.is_origin)(origin) {
            true => Ok(()),
            false => Err(foreign(origin, expected)),
        }
    }
}

fn malformed(subject: &str) -> Cause {
    Cause::new(
        ErrorKind::Setting,
        format!(
            "{subject} no wrapping token: it is empty, or contains a space or a control character"
        ),
        "pass the wrapping token exactly as it was created",
    )
}

/// The server gives the same answer for a token that was used and for one that has expired.
fn refused(reply: Reply, expected: &Expected<'_>) -> Cause {
    let is_refusal = matches!(reply.status, 400 | 403 | 404) && reply.speaks_vault();
    if !is_refusal || reply.no_namespace() {
        return reply.into_cause();
    }
    let content = expected.content;
    Cause::new(
        ErrorKind::Tampered,
        format!(
            "the wrapping token is used, expired or unknown to the server (HTTP {}): if it has not expired and none of your processes unwrapped it, a third party may have the {content}",
            reply.status
        ),
        format!(
            "a process that restarts needs a new wrapping token: {}\n\
             if none of your processes used this one, find out which client did (the server's audit log) and revoke the {content}\n\
             {NOT_RETRIED}",
            expected.command
        ),
    )
}

const NOT_RETRIED: &str = "this wrapping token is not retried";

fn foreign(origin: &str, expected: &Expected<'_>) -> Cause {
    let origin = match printable(origin) {
        origin if origin.is_empty() => "an unnamed path".to_owned(),
        origin => origin,
    };
    let message = format!(
        "the wrapping token was created by {origin} and not by {}: a third party may have read the {} and wrapped \
         another one",
        expected.origin, expected.content
    );
    let cause = tampered(message, expected);
    let cause = match expected.other_origin {
        Some(help) => cause.hint(help),
        None => cause,
    };
    cause.hint(NOT_RETRIED)
}

fn tampered(message: String, expected: &Expected<'_>) -> Cause {
    Cause::new(
        ErrorKind::Tampered,
        message,
        format!(
            "find out which client created it (the server's audit log), revoke the {}, and create another: {}",
            expected.content, expected.command
        ),
    )
}

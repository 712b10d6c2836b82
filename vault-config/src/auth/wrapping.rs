//! Response wrapping: <https://openbao.org/docs/concepts/response-wrapping/>. What a token wraps can
//! be taken out once. Whoever got in between has either used the token up, or made another one,
//! which then tells another origin: both are told before anything is used.

use std::sync::Arc;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tokio::sync::Mutex;

use super::{Given, LoginClient, LoginError, is_token};
use crate::error::{Cause, ErrorKind};
use crate::http::Call;
use crate::http::reply::printable;
use crate::http::{Lane, Repeat, Reply};
use crate::value::Value;

/// A wrapping token, and what was in it once it has been opened.
#[derive(Debug, Clone)]
pub(super) struct Wrapped {
    pub(super) given: Given,
    opened: Arc<Mutex<Option<Opened>>>,
}

#[derive(Debug)]
struct Opened {
    token: SecretString,
    found: Result<SecretString, Cause>,
}

/// What a wrapping token has to be, and what has to be in it.
pub(super) struct Expected<'a> {
    /// What is wrapped, for messages.
    pub(super) what: &'static str,
    /// Where it has to come from, for messages.
    pub(super) origin: String,
    pub(super) is_origin: &'a (dyn Fn(&str) -> bool + Sync),
    pub(super) take: fn(&Value) -> Option<&Value>,
    /// How the administrator makes another one.
    pub(super) remake: String,
}

#[derive(Serialize)]
struct Lookup<'a> {
    token: &'a str,
}

impl Wrapped {
    pub(super) fn new(given: Given) -> Self {
        Self { given, opened: Arc::default() }
    }

    /// What it wraps. It is taken out of each token once and kept, since there is no second time;
    /// a failure that may be an attack is kept, too.
    pub(super) async fn open(
        &self,
        client: &LoginClient<'_>,
        expected: &Expected<'_>,
    ) -> Result<SecretString, LoginError> {
        let token = self.given.get().await?;
        if !is_token(token.expose_secret()) {
            return Err(malformed(&self.given.holds("what was given is")).into());
        }
        let mut opened = self.opened.lock().await;
        if let Some(opened) = opened.as_ref()
            && opened.token.expose_secret() == token.expose_secret()
        {
            return opened.found.clone().map_err(LoginError::from);
        }
        let found = client.unwrap(&token, expected).await;
        let settled =
            found.as_ref().map_or_else(|cause| cause.kind == ErrorKind::Tampered, |_| true);
        if settled {
            *opened = Some(Opened { token, found: found.clone() });
        }
        if let Err(cause) = &found
            && settled
        {
            tracing::error!(wrapped = expected.what, "SECURITY: {}", cause.message);
        }
        found.map_err(LoginError::from)
    }
}

impl LoginClient<'_> {
    async fn unwrap(
        &self,
        token: &SecretString,
        expected: &Expected<'_>,
    ) -> Result<SecretString, Cause> {
        let body = serde_json::to_vec(&Lookup { token: token.expose_secret() });
        let body = Zeroizing::new(body.unwrap_or_default());
        let namespace = self.http.settings().login_namespace();
        let call = Call::post("sys/wrapping/lookup", body, Repeat::Always);
        let lane = Lane::Issue;
        let looked_up = self.http.send(&Call { namespace, lane, ..call }).await?;
        if !looked_up.ok() {
            return Err(gone(looked_up, expected));
        }
        let origin = looked_up.data().get("creation_path").and_then(Value::as_str).unwrap_or("");
        if !(expected.is_origin)(origin) {
            return Err(foreign(origin, expected));
        }
        let body = Zeroizing::new(b"{}".to_vec());
        let call = Call::post("sys/wrapping/unwrap", body, Repeat::UnlessArrived);
        let call = Call { namespace, token: Some(token), lane, ..call };
        let reply = self.http.send(&call).await?;
        if !reply.ok() {
            return Err(gone(reply, expected));
        }
        match (expected.take)(reply.json()).and_then(Value::as_str) {
            Some(text) if is_token(text) => Ok(SecretString::from(text)),
            _ => Err(tampered(format!("the token wraps no {}", expected.what), expected)),
        }
    }
}

fn malformed(is: &str) -> Cause {
    Cause::new(
        ErrorKind::Setting,
        format!("{is} no wrapping token: it is empty, or holds a blank or a control character"),
        "give the wrapping token as it was made, and nothing else",
    )
}

/// The server says the same of a token that was used and of one whose time is over.
fn gone(reply: Reply, expected: &Expected<'_>) -> Cause {
    let refused = matches!(reply.status, 400 | 403 | 404) && reply.speaks_vault();
    if !refused || reply.no_namespace() {
        return reply.into_cause();
    }
    tampered(
        format!(
            "the wrapping token is used, expired or unknown to the server (HTTP {}): if nobody here unwrapped \
             it, somebody else has the {}",
            reply.status, expected.what
        ),
        expected,
    )
    .hint("a process that starts again needs a new wrapping token, too")
}

fn foreign(origin: &str, expected: &Expected<'_>) -> Cause {
    let origin = match printable(origin) {
        origin if origin.is_empty() => "a path that the server does not name".to_owned(),
        origin => origin,
    };
    tampered(
        format!(
            "the wrapping token was made by {origin} and not by {}: somebody may have read the {} and wrapped \
             another one",
            expected.origin, expected.what
        ),
        expected,
    )
}

fn tampered(what: String, expected: &Expected<'_>) -> Cause {
    Cause::new(
        ErrorKind::Tampered,
        what,
        format!(
            "find out who used it (the server's audit log), revoke the {}, and make another: {}\n\
             this token is not tried again",
            expected.what, expected.remake
        ),
    )
}

//! What every way to log in implements, and what it returns.

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::LoginClient;
use crate::error::{Cause, ErrorKind};
use crate::http::seconds;
use crate::value::Value;

/// A way to log in. A method of your own implements it.
///
/// ```
/// use vault_config::auth::{AuthMethod, AuthToken, LoginClient, LoginError, LoginFuture};
/// use vault_config::{Vault, secrecy::{ExposeSecret, SecretString}};
///
/// #[derive(Debug)]
/// struct Okta { name: String, password: SecretString }
///
/// impl AuthMethod for Okta {
///     fn describe(&self) -> String {
///         format!("okta at auth/okta as {}", self.name)
///     }
///
///     fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a> {
///         Box::pin(async move {
///             let body = [("password", self.password.expose_secret())];
///             let body = std::collections::BTreeMap::from(body);
///             client.post(&format!("auth/okta/login/{}", self.name), &body).await
///         })
///     }
/// }
///
/// # fn main() -> Result<(), vault_config::Error> {
/// let vault = Vault::builder()
///     .address("http://127.0.0.1:8200")
///     .auth(Okta { name: "billing".into(), password: "hunter2".into() })
///     .build()?;
/// # Ok(()) }
/// ```
pub trait AuthMethod: fmt::Debug + Send + Sync + 'static {
    /// The name of this login in errors and logs. It holds no secret.
    fn describe(&self) -> String;

    /// Gets a token. It is called again whenever a new token is needed, so a method reads its files
    /// here and not earlier.
    fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a>;

    /// Whether a second login can give another token. A fixed token gives only itself.
    fn can_repeat(&self) -> bool {
        true
    }

    /// The file with the credential. A change of this file leads to a new login.
    fn watched_file(&self) -> Option<&Path> {
        None
    }

    /// Whether several failed logins lock the account, as those of AppRole, userpass and LDAP do. A
    /// refused secret is then sent again only after 20 minutes or more, otherwise every minute.
    fn locks_accounts(&self) -> bool {
        true
    }
}

/// What [`AuthMethod::login`] returns.
pub type LoginFuture<'a> = Pin<Box<dyn Future<Output = Result<AuthToken, LoginError>> + Send + 'a>>;

/// A token, or none where a local agent adds one.
#[derive(Debug, Clone)]
pub struct AuthToken {
    secret: Option<SecretString>,
    granted: Option<TokenGrant>,
}

impl AuthToken {
    /// A token that was issued elsewhere.
    ///
    /// # Errors
    /// The token is empty, or holds blanks or control characters: it would not reach the server
    /// whole.
    pub fn new(secret: SecretString) -> Result<Self, LoginError> {
        let text = secret.expose_secret();
        if text.is_empty() {
            return Err(LoginError::new(
                "the token is empty",
                "pass a token, or use another login method",
            ));
        }
        if !is_token(text) {
            return Err(LoginError::new(
                "the token holds a space, a line break or another invalid character",
                "remove it; a token file may end in a line break, a variable may not",
            ));
        }
        Ok(Self { secret: Some(secret), granted: None })
    }

    pub(super) fn issued(secret: SecretString, granted: TokenGrant) -> Self {
        Self { secret: Some(secret), granted: Some(granted) }
    }

    pub(super) fn none() -> Self {
        Self { secret: None, granted: None }
    }

    pub(crate) fn secret(&self) -> Option<&SecretString> {
        self.secret.as_ref()
    }

    /// `None` for a token that was issued elsewhere: its issuer revokes it, not this process.
    pub(crate) fn granted(&self) -> Option<&TokenGrant> {
        self.granted.as_ref()
    }
}

/// How long and how often a token may be used, as the server states it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TokenGrant {
    /// Zero if the token never expires; `None` if the server did not state it.
    pub(crate) ttl: Option<Duration>,
    pub(crate) renewable: bool,
    /// Zero if the uses are not limited.
    pub(crate) uses: u64,
}

impl TokenGrant {
    /// From the `auth` of a login's answer.
    pub(super) fn from_login(auth: &Value) -> Self {
        Self::read(auth, "lease_duration", "token_type")
    }

    /// From the `data` of `auth/token/lookup-self`.
    pub(crate) fn from_lookup(data: &Value) -> Self {
        Self::read(data, "ttl", "type")
    }

    fn read(fields: &Value, ttl: &str, kind: &str) -> Self {
        // The server states that a batch token is renewable in some answers, and never renews one.
        let is_batch = fields.get(kind).and_then(Value::as_str) == Some("batch");
        let is_renewable = fields.get("renewable").and_then(Value::as_bool) == Some(true);
        let ttl = fields.get(ttl).filter(|ttl| ttl.as_u64().is_some());
        Self {
            ttl: ttl.map(|ttl| seconds(Some(ttl))),
            renewable: is_renewable && !is_batch,
            uses: fields.get("num_uses").and_then(Value::as_u64).unwrap_or_default(),
        }
    }
}

/// Why a login gave no token.
#[derive(Debug)]
pub struct LoginError(Cause);

impl LoginError {
    /// `what` happened, and what to do about it (`help`). Neither may hold a secret.
    pub fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self(Cause::new(ErrorKind::LoginRefused, what, help))
    }

    pub(crate) fn into_cause(self) -> Cause {
        self.0
    }
}

impl From<Cause> for LoginError {
    fn from(cause: Cause) -> Self {
        Self(cause)
    }
}

/// Whether a token of the server may consist of these characters.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

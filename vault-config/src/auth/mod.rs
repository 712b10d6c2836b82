//! Ways to log in.
//!
//! | type | variables | what it does |
//! |---|---|---|
//! | [`Token`] | `VAULT_TOKEN`, `BAO_TOKEN` | uses a token that somebody else made |
//! | [`AppRole`] | `VAULT_ROLE_ID`, `VAULT_SECRET_ID`, each also with `_FILE`; `VAULT_AUTH_MOUNT` for another mount than `approle` | logs in as a role |
//! | [`TokenFile`] | `VAULT_TOKEN_FILE`, else `~/.vault-token` | uses the token in a file, read at every login |
//! | [`Agent`] | `VAULT_AGENT_ADDR`, or `VAULT_AUTH_METHOD=none` | sends no token: a local agent adds it |
//!
//! Without `VAULT_AUTH_METHOD` (`token`, `approle`, `token_file`, `none`) the first that is present
//! is used, in this order.

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::error::{Cause, ErrorKind};
use crate::source::env::Environment;
use crate::value::Value;
use crate::vault::Repeat;
use crate::vault::request::{Call, Http};
use crate::vault::settings::Official;

mod agent;
mod approle;
mod token;
mod token_file;

pub use agent::Agent;
pub use approle::AppRole;
pub use token::Token;
pub use token_file::TokenFile;

/// A way to log in. Implement it for one of your own.
///
/// ```
/// use vault_config::auth::{AuthMethod, AuthToken, LoginClient, LoginError, LoginFuture};
/// use vault_config::{Vault, secrecy::{ExposeSecret, SecretString}};
///
/// #[derive(Debug)]
/// struct UserPass { name: String, password: SecretString }
///
/// impl AuthMethod for UserPass {
///     fn describe(&self) -> String {
///         format!("userpass at auth/userpass as {}", self.name)
///     }
///
///     fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a> {
///         Box::pin(async move {
///             let body = [("password", self.password.expose_secret())];
///             let body = std::collections::BTreeMap::from(body);
///             client.post(&format!("auth/userpass/login/{}", self.name), &body).await
///         })
///     }
/// }
///
/// # fn main() -> Result<(), vault_config::Error> {
/// let vault = Vault::builder()
///     .address("http://127.0.0.1:8200")
///     .auth(UserPass { name: "billing".into(), password: "hunter2".into() })
///     .build()?;
/// # Ok(()) }
/// ```
pub trait AuthMethod: fmt::Debug + Send + Sync + 'static {
    /// What errors and logs call it. Never anything secret.
    fn describe(&self) -> String;

    /// Gets a token. Called again whenever a new one is needed, so files are read here and not
    /// before.
    fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a>;

    /// Whether a second login can give another token, as a fixed token's cannot.
    fn can_repeat(&self) -> bool {
        true
    }
}

/// What [`AuthMethod::login`] returns.
pub type LoginFuture<'a> = Pin<Box<dyn Future<Output = Result<AuthToken, LoginError>> + Send + 'a>>;

/// A token, or none where a local agent adds one.
#[derive(Debug, Clone)]
pub struct AuthToken {
    secret: Option<SecretString>,
}

impl AuthToken {
    /// A token made elsewhere.
    ///
    /// # Errors
    /// A token that is empty or holds blanks or control characters: it would never reach the server
    /// whole.
    pub fn new(secret: SecretString) -> Result<Self, LoginError> {
        let text = secret.expose_secret();
        if text.is_empty() {
            return Err(LoginError::new(
                "the token is empty",
                "give a token, or another way to log in",
            ));
        }
        if !is_token(text) {
            return Err(LoginError::new(
                "the token holds a blank, a line break or another character that no token has",
                "take it away; a token file may end in a line break, a variable may not",
            ));
        }
        Ok(Self { secret: Some(secret) })
    }

    pub(crate) fn none() -> Self {
        Self { secret: None }
    }

    pub(crate) fn secret(&self) -> Option<&SecretString> {
        self.secret.as_ref()
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Why there is no token.
#[derive(Debug)]
pub struct LoginError(Cause);

impl LoginError {
    /// `what` happened and what to do about it (`help`). Neither may hold a secret.
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

/// What a login may send: to the configured server, in the configured namespace, without a token.
#[derive(Debug)]
pub struct LoginClient<'a> {
    http: &'a Http,
}

impl<'a> LoginClient<'a> {
    pub(crate) fn new(http: &'a Http) -> Self {
        Self { http }
    }

    /// Posts `body` as JSON to `path` (such as `auth/approle/login`) and takes the token from the
    /// answer's `auth`.
    ///
    /// It is tried again only when it cannot have arrived, or when Vault itself says that it did
    /// not look at it (sealed, standby, rate limited): what can be used once is never sent twice.
    ///
    /// # Errors
    /// The server's refusal in its own words, or why it could not be reached.
    pub async fn post(&self, path: &str, body: &impl Serialize) -> Result<AuthToken, LoginError> {
        let body = serde_json::to_vec(body).map(Zeroizing::new).map_err(|_| {
            LoginError::new(
                "the login's body cannot be written as JSON",
                "see the login method's code",
            )
        })?;
        let call = Call {
            namespace: self.http.settings().namespace.as_deref(),
            ..Call::post(path, body.clone(), Repeat::UnlessArrived)
        };
        let reply = self.http.send(&call).await?;
        if !reply.ok() {
            return Err(unquoted(refused(reply, path), &body).into());
        }
        let token = reply.json().get("auth").and_then(|auth| auth.get("client_token"));
        match token.and_then(Value::as_str) {
            Some(token) if is_token(token) => Ok(AuthToken { secret: Some(token.into()) }),
            Some(token) if !token.is_empty() => Err(LoginError(Cause::new(
                ErrorKind::Protocol,
                "the server accepted the login and gave a token with characters that no token has",
                "something between here and the server may have changed the answer",
            ))),
            _ => Err(LoginError(Cause::new(
                ErrorKind::Protocol,
                "the server accepted the login and gave no token",
                "see that the path is a login of an auth method",
            ))),
        }
    }
}

/// A server may repeat what it was sent; role_id and secret_id are never told.
fn unquoted(cause: Cause, body: &[u8]) -> Cause {
    // Shorter ones are words of any sentence, and no secrets.
    const SHORTEST: usize = 8;
    let sent = std::str::from_utf8(body).ok().and_then(|body| Value::from_json(body).ok());
    match sent.is_some_and(|sent| sent.appears_in(&cause.what, SHORTEST)) {
        true => Cause {
            what: "the server refused the login (its words repeat what was sent and are withheld)"
                .to_owned(),
            ..cause
        },
        false => cause,
    }
}

fn refused(reply: crate::vault::Reply, path: &str) -> Cause {
    match reply.status {
        400 if !reply.words().is_empty() => {
            Cause::new(ErrorKind::LoginRefused, format!("{} (HTTP 400)", reply.words()), "")
        }
        403 => Cause::new(
            ErrorKind::LoginRefused,
            format!("{} (HTTP 403)", reply.words()),
            format!(
                "check that the auth method is mounted at {} (vault auth list) and that the namespace is right\n\
                 the server says the same while a login is locked after several wrong tries: vault read \
                 sys/locked-users",
                path.trim_end_matches("/login")
            ),
        ),
        404 if !reply.no_namespace() => Cause::new(
            ErrorKind::LoginRefused,
            "the server knows no such login (HTTP 404)",
            format!("check the auth mount and the namespace: {path} was asked for"),
        ),
        _ => reply.into_cause(),
    }
}

/// The way to log in that the environment describes.
pub(crate) fn detect(environment: &Environment) -> Result<Arc<dyn AuthMethod>, Cause> {
    let env = Official(environment);
    let Some((variable, chosen)) = env.get("AUTH_METHOD")? else {
        return first_present(&env);
    };
    let missing = |needs: &str| {
        Cause::new(
            ErrorKind::NoLogin,
            format!("the login it names needs {needs}"),
            format!("set {needs}"),
        )
        .at(format!("env {variable}"))
    };
    let found: Option<Arc<dyn AuthMethod>> = match chosen.as_str() {
        "none" => Some(Arc::new(Agent::new())),
        "token" => token::from_environment(&env)?,
        "approle" => approle::from_environment(&env)?,
        "token_file" => token_file::from_environment(&env)?,
        _ => {
            return Err(Cause::new(
                ErrorKind::Setting,
                "names no login of vault-config",
                "use one of token, approle, token_file, none",
            )
            .at(format!("env {variable}")));
        }
    };
    found.ok_or_else(|| {
        missing(match chosen.as_str() {
            "token" => "VAULT_TOKEN",
            "approle" => "VAULT_ROLE_ID",
            _ => "VAULT_TOKEN_FILE, or a token in ~/.vault-token",
        })
    })
}

fn first_present(env: &Official<'_>) -> Result<Arc<dyn AuthMethod>, Cause> {
    if let Some(token) = token::from_environment(env)? {
        return Ok(token);
    }
    if let Some(approle) = approle::from_environment(env)? {
        return Ok(approle);
    }
    if env.get("AGENT_ADDR")?.is_some() {
        return Ok(Arc::new(Agent::new()));
    }
    if let Some(file) = token_file::from_environment(env)? {
        return Ok(file);
    }
    Err(Cause::new(
        ErrorKind::NoLogin,
        "nothing to log in with was found; looked for VAULT_TOKEN or BAO_TOKEN, VAULT_ROLE_ID or \
         VAULT_ROLE_ID_FILE, VAULT_AGENT_ADDR, VAULT_TOKEN_FILE, and the file ~/.vault-token",
        "set VAULT_ROLE_ID and VAULT_SECRET_ID, or one of the others",
    ))
}

/// The text of a file without the line break at its end.
fn read_file(path: &Path) -> Result<SecretString, LoginError> {
    let bytes = std::fs::read(path).map(Zeroizing::new).map_err(|error| {
        LoginError::new(
            format!("{} cannot be read: {error}", path.display()),
            "name a file that this process may read",
        )
    })?;
    match std::str::from_utf8(&bytes).map(str::trim) {
        Ok(text) if !text.is_empty() => Ok(SecretString::from(text)),
        _ => Err(LoginError::new(
            format!("{} is empty or not text", path.display()),
            "write the token or id into it, and nothing else",
        )),
    }
}

/// The variable itself, or the file that its `_FILE` names. Both at once are an error: one would be
/// ignored.
fn value_or_file(env: &Official<'_>, name: &str) -> Result<Option<Given>, Cause> {
    let value = env.get(name)?;
    let file = env.get(&format!("{name}_FILE"))?;
    match (value, file) {
        (Some((variable, _)), Some((file, _))) => Err(Cause::new(
            ErrorKind::Setting,
            format!("{variable} and {file} are both set"),
            "unset one of them",
        )
        .at(format!("env {variable}"))),
        (Some((variable, value)), None) => {
            if value.trim() != value.as_str() {
                return Err(Cause::new(
                    ErrorKind::Setting,
                    "begins or ends with a blank or a line break",
                    format!("take it away: {variable}=\"$(cat file)\" does"),
                )
                .at(format!("env {variable}")));
            }
            Ok(Some(Given::Value(SecretString::from(value.as_str()))))
        }
        (None, Some((_, path))) => Ok(Some(Given::File(path.as_str().into()))),
        (None, None) => Ok(None),
    }
}

/// A value, or the file it is read from at every login.
#[derive(Debug, Clone)]
enum Given {
    Value(SecretString),
    File(std::path::PathBuf),
}

impl Given {
    fn get(&self) -> Result<SecretString, LoginError> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::File(path) => read_file(path),
        }
    }
}

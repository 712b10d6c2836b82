//! Database roles, dynamic and static: <https://openbao.org/api-docs/secret/databases/>.

use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;
use serde::Deserialize;

use super::{Answer, Declare, Engine, Grant, Request, Scope};
use crate::error::{Cause, ErrorKind};
use crate::value::Value;

/// A database user name and its password: one value, made together and replaced together.
///
/// In local mode it is read from two environment variables, `.._USERNAME` and `.._PASSWORD`, or
/// from a map with the keys `username` and `password`. `Debug` shows neither.
///
/// ```
/// use vault_config::{DatabaseCredentials, secrecy::ExposeSecret};
///
/// fn options(database: &DatabaseCredentials) -> String {
///     format!("host=db user={} password={}", database.username(), database.password().expose_secret())
/// }
/// # let _ = options(&DatabaseCredentials::new("u", "p"));
/// ```
#[derive(Clone, Deserialize)]
pub struct DatabaseCredentials {
    username: String,
    password: SecretString,
}

impl DatabaseCredentials {
    /// A pair of your own, for tests.
    pub fn new(username: impl Into<String>, password: impl Into<SecretString>) -> Self {
        Self { username: username.into(), password: password.into() }
    }

    /// The user name.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The password.
    #[must_use]
    pub fn password(&self) -> &SecretString {
        &self.password
    }
}

impl fmt::Debug for DatabaseCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseCredentials([REDACTED])")
    }
}

#[diagnostic::do_not_recommend]
impl crate::Secret for DatabaseCredentials {}

/// `database = "role"`, as written.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Database {
    pub role: &'static str,
    pub mount: Option<&'static str>,
}

/// `database_static = "role"`, as written.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct DatabaseStatic {
    pub role: &'static str,
    pub mount: Option<&'static str>,
}

const PAIR: [&str; 2] = ["username", "password"];

#[derive(Debug)]
struct Field {
    path: String,
}

impl Declare for Database {
    fn bind(&self, scope: &Scope<'_>) -> Result<Arc<dyn Engine>, Cause> {
        bind(scope, self.mount, "creds", self.role)
    }

    fn parts(&self) -> &'static [&'static str] {
        &PAIR
    }
}

impl Declare for DatabaseStatic {
    fn bind(&self, scope: &Scope<'_>) -> Result<Arc<dyn Engine>, Cause> {
        bind(scope, self.mount, "static-creds", self.role)
    }

    fn parts(&self) -> &'static [&'static str] {
        &PAIR
    }
}

fn bind(
    scope: &Scope<'_>,
    mount: Option<&str>,
    kind: &str,
    role: &str,
) -> Result<Arc<dyn Engine>, Cause> {
    let mount = scope.fill(mount.unwrap_or("database"))?;
    Ok(Arc::new(Field { path: format!("{mount}/{kind}/{}", scope.fill(role)?) }))
}

impl Engine for Field {
    fn source(&self) -> String {
        format!("database {}", self.path)
    }

    fn request(&self) -> Request {
        Request::Read(self.path.clone())
    }

    fn pick(&self, answer: &Answer) -> Result<Value, Cause> {
        // Half an answer is a broken answer, and not an absent credential.
        let part =
            |name| answer.key(name).map_err(|cause| Cause { kind: ErrorKind::Protocol, ..cause });
        PAIR.iter()
            .map(|name| Ok(((*name).to_owned(), part(name)?)))
            .collect::<Result<_, _>>()
            .map(Value::Map)
    }

    fn grant(&self) -> Grant {
        Grant::read(self.path.clone())
    }
}

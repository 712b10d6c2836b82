//! Database roles, dynamic and static: <https://openbao.org/api-docs/secret/databases/>.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::declaration::LocalShape;
use super::read::PathRead;
use super::{FieldScope, Part, VaultSource};
use crate::error::Cause;
use crate::vault::Grant;

/// A database user name and its password: one value, issued together and replaced together.
///
/// In local mode it is read from two environment variables, `.._USERNAME` and `.._PASSWORD`, or
/// from a map with the keys `username` and `password`. `Debug` shows neither.
///
/// ```
/// use vault_config::{DatabaseCredentials, secrecy::ExposeSecret};
///
/// fn options(database: &DatabaseCredentials) -> String {
///     let password = database.password().expose_secret();
///     format!("host=db user={} password={password}", database.username())
/// }
/// # let _ = options(&DatabaseCredentials::new("u", "p"));
/// ```
#[derive(Clone, Deserialize)]
pub struct DatabaseCredentials {
    username: String,
    password: SecretString,
}

impl DatabaseCredentials {
    /// Credentials from your own values, for tests.
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

    /// The URL that a database driver connects with: `template` with the user name for
    /// `{{username}}` and the password for `{{password}}`, both percent-encoded.
    ///
    /// Everything but ASCII letters, digits and `-._~` is encoded, so that a password with `@` or
    /// `/` stays a password anywhere in the URL. The rest of the template stays as it is. Each
    /// placeholder may occur any number of times, and at least one of them has to.
    ///
    /// ```
    /// use std::error::Error;
    /// use vault_config::{DatabaseCredentials, secrecy::ExposeSecret};
    /// # struct PgPool;
    /// # impl PgPool {
    /// #     async fn connect(_: &str) -> Result<Self, std::fmt::Error> { Ok(Self) }
    /// # }
    ///
    /// async fn pool(database: &DatabaseCredentials) -> Result<PgPool, Box<dyn Error>> {
    ///     let template = "postgres://{{username}}:{{password}}@db:5432/app?sslmode=require";
    ///     let url = database.connection_url(template)?;
    ///     Ok(PgPool::connect(url.expose_secret()).await?)
    /// }
    ///
    /// let database = DatabaseCredentials::new("v-app", "p@ss/1");
    /// let url = database.connection_url("mysql://{{username}}:{{password}}@db/app")?;
    /// assert_eq!(url.expose_secret(), "mysql://v-app:p%40ss%2F1@db/app");
    /// # let _ = pool;
    /// # Ok::<(), vault_config::ConnectionUrlError>(())
    /// ```
    ///
    /// # Errors
    /// The template has no placeholder, one that is unknown, or a `{{` without its `}}`.
    pub fn connection_url(&self, template: &str) -> Result<SecretString, ConnectionUrlError> {
        let mut pieces = Vec::new();
        let mut rest = template;
        while let Some((before, inside)) = rest.split_once("{{") {
            let at = template.len() - rest.len() + before.len();
            let (name, after) = inside.split_once("}}").ok_or(Fault::Unclosed { at })?;
            let value = match name {
                "username" => self.username(),
                "password" => self.password.expose_secret(),
                _ => return Err(Fault::Unknown { at }.into()),
            };
            pieces.push(before);
            pieces.extend(utf8_percent_encode(value, &ENCODED));
            rest = after;
        }
        if pieces.is_empty() {
            return Err(Fault::NoPlaceholder.into());
        }
        pieces.push(rest);
        // Allocated once, at its full size: a text that grows leaves copies in memory that are not wiped.
        let url = Zeroizing::new(pieces.concat());
        Ok(url.as_str().into())
    }
}

/// Everything but the unreserved characters of RFC 3986.
const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What is wrong with the template of a [`connection_url`](DatabaseCredentials::connection_url).
///
/// `Display` is one sentence, with the place in bytes from the start of the template and the known
/// placeholders. Neither it nor `Debug` repeats any part of the template, which may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; the placeholders are {{{{username}}}} and {{{{password}}}}")]
pub struct ConnectionUrlError(Fault);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("the template of the connection URL has no placeholder")]
    NoPlaceholder,
    #[error("the template of the connection URL has an unknown placeholder at byte {at}")]
    Unknown { at: usize },
    #[error("the template of the connection URL has a {{{{ without its }}}} at byte {at}")]
    Unclosed { at: usize },
}

impl From<Fault> for ConnectionUrlError {
    fn from(fault: Fault) -> Self {
        Self(fault)
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

impl Database {
    pub(super) fn bind(&self, scope: &FieldScope<'_>) -> Result<VaultSource, Cause> {
        bind(scope, self.mount, "creds", self.role)
    }

    pub(super) fn shape(&self) -> LocalShape {
        LocalShape::Parts(&PAIR)
    }
}

impl DatabaseStatic {
    pub(super) fn bind(&self, scope: &FieldScope<'_>) -> Result<VaultSource, Cause> {
        bind(scope, self.mount, "static-creds", self.role)
    }

    pub(super) fn shape(&self) -> LocalShape {
        LocalShape::Parts(&PAIR)
    }
}

fn bind(
    scope: &FieldScope<'_>,
    mount: Option<&str>,
    kind: &str,
    role: &str,
) -> Result<VaultSource, Cause> {
    let mount = scope.fill(mount.unwrap_or("database"))?;
    let path = format!("{mount}/{kind}/{}", scope.fill(role)?);
    let (label, grant) = (format!("database {path}"), Grant::read(path.clone()));
    Ok(VaultSource::new(label, PathRead { path }, Part::Keys(&PAIR), grant))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(username: &str, password: &str, template: &str) -> Result<String, ConnectionUrlError> {
        let url = DatabaseCredentials::new(username, password).connection_url(template)?;
        Ok(url.expose_secret().to_owned())
    }

    #[test]
    fn values_are_encoded_and_the_template_is_not() {
        let template = "postgres://{{username}}:{{password}}@[::1]:5432/ä pp?sslmode=require&a={b}";
        assert_eq!(
            url("v-Ap_p.1~", "@:/?#[]%{}&=+ üñ\0", template).as_deref(),
            Ok(
                "postgres://v-Ap_p.1~:%40%3A%2F%3F%23%5B%5D%25%7B%7D%26%3D%2B%20%C3%BC%C3%B1%00@[::1]:5432/ä \
                pp?sslmode=require&a={b}"
            )
        );
        assert_eq!(
            url("", "", template).as_deref(),
            Ok(&*template.replace("{{username}}:{{password}}", ":"))
        );
    }

    #[test]
    fn each_placeholder_may_occur_any_number_of_times() {
        for (template, filled) in [
            ("{{username}}", "u"),
            ("{{password}}{{password}}", "pp"),
            ("a{{password}}b{{username}}c{{password}}d}}", "apbucpd}}"),
        ] {
            assert_eq!(url("u", "p", template).as_deref(), Ok(filled), "{template}");
        }
    }

    #[test]
    fn values_are_not_templates() {
        assert_eq!(
            url("{{password}}", "{{username}}", "{{username}}:{{password}}").as_deref(),
            Ok("%7B%7Bpassword%7D%7D:%7B%7Busername%7D%7D")
        );
    }

    #[test]
    fn an_error_does_not_repeat_the_template() {
        const END: &str = "; the placeholders are {{username}} and {{password}}";
        for (template, what) in [
            ("", "has no placeholder"),
            ("postgres://hunter2@db", "has no placeholder"),
            ("postgres://{username}:hunter2@db", "has no placeholder"),
            ("{{hunter2}}", "has an unknown placeholder at byte 0"),
            ("{{username}}:{{user}}@db?hunter2", "has an unknown placeholder at byte 13"),
            ("ü{{ username }}", "has an unknown placeholder at byte 2"),
            ("{{Username}}", "has an unknown placeholder at byte 0"),
            ("{{{username}}}", "has an unknown placeholder at byte 0"),
            ("{{}}", "has an unknown placeholder at byte 0"),
            ("{{username:hunter2@db", "has a {{ without its }} at byte 0"),
            ("{{username}}:{{password@db?hunter2", "has a {{ without its }} at byte 13"),
            ("{{username}}:{{password}@db?hunter2", "has a {{ without its }} at byte 13"),
        ] {
            let error = url("hunter2", "hunter2", template).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("the template of the connection URL {what}{END}")
            );
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}

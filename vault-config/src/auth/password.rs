//! A user's name and password, which three methods log in with.

use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::{AuthToken, LoginClient, LoginError, check};
use crate::error::{Cause, ErrorKind};
use crate::source::env::OfficialEnv;

/// What `VAULT_AUTH_METHOD` misses.
pub(super) const NEEDS: &str = "VAULT_USERNAME, and VAULT_PASSWORD or VAULT_PASSWORD_FILE";

#[derive(Clone)]
pub(super) struct User {
    pub(super) name: String,
    password: Password,
}

#[derive(Clone)]
enum Password {
    Value(SecretString),
    File(PathBuf),
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    password: &'a str,
}

impl User {
    pub(super) fn new(name: String, password: SecretString) -> Self {
        Self { name, password: Password::Value(password) }
    }

    pub(super) fn with_file(name: String, password: PathBuf) -> Self {
        Self { name, password: Password::File(password) }
    }

    /// Both variables, or none of them.
    pub(super) fn from_environment(env: &OfficialEnv<'_>) -> Result<Option<Self>, Cause> {
        let name = env.parse("USERNAME", |text| {
            check::is_name(text).then(|| text.to_owned()).ok_or_else(|| check::NO_NAME.to_owned())
        })?;
        let Some(name) = name else { return Ok(None) };
        let user = match (env.get("PASSWORD")?, env.get("PASSWORD_FILE")?) {
            (Some((variable, _)), Some((file, _))) => return Err(super::both(&variable, &file)),
            (Some((variable, value)), None) => {
                let password = SecretString::from(value.as_str());
                check::password("the password", &password)
                    .map_err(|error| error.into_cause().at(format!("env {variable}")))?;
                Self::new(name, password)
            }
            (None, Some((_, path))) => Self::with_file(name, path.as_str().into()),
            (None, None) => return Ok(None),
        };
        Ok(Some(user))
    }

    pub(super) fn password_file(&self) -> Option<&Path> {
        match &self.password {
            Password::Value(_) => None,
            Password::File(path) => Some(path),
        }
    }

    /// Posts the password to the path of this user's own, `login/<name>`.
    pub(super) async fn log_in_by_path(
        &self,
        client: &LoginClient<'_>,
        mount: &str,
    ) -> Result<AuthToken, LoginError> {
        check::mount(mount)?;
        check::name("the user's name", &self.name)?;
        self.post(client, &format!("auth/{mount}/login/{}", self.name), None).await
    }

    /// Posts name and password to `login`.
    pub(super) async fn log_in_by_body(
        &self,
        client: &LoginClient<'_>,
        mount: &str,
    ) -> Result<AuthToken, LoginError> {
        check::mount(mount)?;
        check::name("the user's name", &self.name)?;
        self.post(client, &format!("auth/{mount}/login"), Some(&self.name)).await
    }

    async fn post(
        &self,
        client: &LoginClient<'_>,
        path: &str,
        username: Option<&str>,
    ) -> Result<AuthToken, LoginError> {
        let password = self.password.get().await?;
        let body = Body { username, password: password.expose_secret() };
        client.post(path, &body).await.map_err(|error| explain(error.into_cause()).into())
    }
}

impl Password {
    async fn get(&self) -> Result<SecretString, LoginError> {
        match self {
            Self::Value(value) => {
                check::password("the password", value)?;
                Ok(value.clone())
            }
            Self::File(path) => {
                let password = read(path).await?;
                check::password(&path.display().to_string(), &password)?;
                Ok(password)
            }
        }
    }
}

/// Without the one line break at its end; blanks may belong to a password.
async fn read(path: &Path) -> Result<SecretString, LoginError> {
    let bytes = super::bytes_of(path).await?;
    let Ok(text) = std::str::from_utf8(&bytes) else { return Err(super::not_text(path)) };
    let text = text.strip_suffix('\n').unwrap_or(text);
    Ok(SecretString::from(text.strip_suffix('\r').unwrap_or(text)))
}

fn explain(cause: Cause) -> Cause {
    let refused = cause.kind == ErrorKind::LoginRefused;
    if refused && cause.message.contains("error connecting to host") {
        return cause.hint("the server does not reach the directory: vault read auth/ldap/config");
    }
    let wrong = ["invalid", "ldap operation failed", "access denied"];
    match refused && wrong.iter().any(|words| cause.message.contains(words)) {
        true => cause.hint(
            "the server says the same for an unknown user and for a wrong password\n\
             after several wrong tries the server locks the user for a while, so this one was not repeated",
        ),
        false => cause,
    }
}

/// A method whose only settings are a user, a password and a mount.
macro_rules! password_login {
    ($(#[$doc:meta])* $method:ident, $usual:literal, $log_in:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $method {
            user: $crate::auth::password::User,
            mount: String,
        }

        impl $method {
            /// With the password in hand. Both are checked when the login starts.
            pub fn new(username: impl Into<String>, password: impl Into<SecretString>) -> Self {
                Self::of($crate::auth::password::User::new(username.into(), password.into()))
            }

            /// With the password in a file that is read at every login; one line break at its end
            /// is taken away.
            pub fn with_password_file(
                username: impl Into<String>,
                password: impl Into<PathBuf>,
            ) -> Self {
                Self::of($crate::auth::password::User::with_file(username.into(), password.into()))
            }

            #[doc = concat!("Where the auth method is mounted below `auth/`. Default: `", $usual, "`.")]
            #[must_use]
            pub fn mount(mut self, mount: impl Into<String>) -> Self {
                self.mount = $crate::auth::below_auth(&mount.into());
                self
            }

            fn of(user: $crate::auth::password::User) -> Self {
                Self { user, mount: $usual.to_owned() }
            }
        }

        impl AuthMethod for $method {
            fn describe(&self) -> String {
                format!(concat!($usual, " at auth/{} as {:?}"), self.mount, self.user.name)
            }

            fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a> {
                Box::pin(self.user.$log_in(client, &self.mount))
            }

            fn watched_file(&self) -> Option<&std::path::Path> {
                self.user.password_file()
            }
        }

        pub(super) fn from_environment(
            env: &OfficialEnv<'_>,
        ) -> Result<Option<Arc<dyn AuthMethod>>, Cause> {
            let Some(user) = $crate::auth::password::User::from_environment(env)? else {
                return Ok(None);
            };
            Ok(Some(Arc::new($method { user, mount: $crate::auth::mount(env, $usual)? })))
        }
    };
}

pub(super) use password_login;

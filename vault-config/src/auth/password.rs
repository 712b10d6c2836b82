//! The name and password of a user, which three methods log in with.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::credential::Credential;
use super::mount::Mount;
use super::refusal::Hint;
use super::{AuthToken, LoginClient, LoginError, check};
use crate::error::Cause;
use crate::source::env::OfficialEnv;

/// What has to be set for `VAULT_AUTH_METHOD`, for a message.
pub(super) const NEEDS: &str = "VAULT_USERNAME, and VAULT_PASSWORD or VAULT_PASSWORD_FILE";

#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) name: String,
    password: Credential,
}

impl User {
    pub(super) fn new(name: String, password: SecretString) -> Self {
        Self { name, password: Credential::value(password) }
    }

    pub(super) fn with_file(name: String, password: PathBuf) -> Self {
        Self { name, password: Credential::file(password) }
    }

    /// `None` unless both variables are set.
    pub(super) fn from_environment(env: &OfficialEnv<'_>) -> Result<Option<Self>, Cause> {
        let Some(name) = check::name_from_environment(env, "USERNAME")? else { return Ok(None) };
        let password = Credential::password_from_environment(env, "PASSWORD")?;
        Ok(password.map(|password| Self { name, password }))
    }

    pub(super) fn password_file(&self) -> Option<&Path> {
        self.password.path()
    }

    /// With the user's name in the path of the request.
    pub(super) async fn log_in_by_path(
        &self,
        client: &LoginClient<'_>,
        mount: &Mount,
    ) -> Result<AuthToken, LoginError> {
        self.log_in(client, mount, &format!("{}/{}", mount.login(), self.name), None).await
    }

    /// With the user's name in the body of the request.
    pub(super) async fn log_in_by_body(
        &self,
        client: &LoginClient<'_>,
        mount: &Mount,
    ) -> Result<AuthToken, LoginError> {
        self.log_in(client, mount, &mount.login(), Some(&self.name)).await
    }

    async fn log_in(
        &self,
        client: &LoginClient<'_>,
        mount: &Mount,
        path: &str,
        username: Option<&str>,
    ) -> Result<AuthToken, LoginError> {
        mount.check()?;
        check::name("the user's name", &self.name)?;
        let password = self.password.read_password().await?;
        let body = Body { username, password: password.expose_secret() };
        client.log_in(mount, path, &body, HINTS).await
    }
}

const HINTS: &[Hint<Mount>] = &[
    Hint::add(&["error connecting to host"], |mount| {
        format!(
            "the server cannot reach the directory; check its address: vault read {mount}/config"
        )
    }),
    Hint::add(&["invalid", "ldap operation failed", "access denied"], |_| {
        "the user may be unknown or the password wrong: the server does not reveal which\n\
         after several failed logins the server locks the user for a while, so this login was not retried"
            .to_owned()
    }),
];

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    password: &'a str,
}

/// A method whose only settings are a user, a password and a mount.
macro_rules! password_login {
    ($(#[$doc:meta])* $method:ident, $name:literal, $log_in:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $method {
            user: $crate::auth::password::User,
            mount: $crate::auth::mount::Mount,
        }

        impl $method {
            /// With the password as a value. Name and password are checked when the login starts.
            pub fn new(
                username: impl Into<String>,
                password: impl Into<::secrecy::SecretString>,
            ) -> Self {
                Self::with($crate::auth::password::User::new(username.into(), password.into()))
            }

            /// With the password in a file that is read at every login; one line break is removed
            /// from its end.
            pub fn with_password_file(
                username: impl Into<String>,
                password: impl Into<::std::path::PathBuf>,
            ) -> Self {
                Self::with($crate::auth::password::User::with_file(
                    username.into(),
                    password.into(),
                ))
            }

            #[doc = concat!("Where the auth method is mounted below `auth/`. Default: `", $name, "`.")]
            #[must_use]
            pub fn mount(mut self, mount: impl Into<String>) -> Self {
                self.mount = $crate::auth::mount::Mount::new(mount);
                self
            }

            fn with(user: $crate::auth::password::User) -> Self {
                Self { user, mount: $crate::auth::mount::Mount::new($name) }
            }
        }

        impl $crate::auth::AuthMethod for $method {
            fn describe(&self) -> String {
                format!(concat!($name, " at {} as {:?}"), self.mount, self.user.name)
            }

            fn login<'a>(
                &'a self,
                client: &'a $crate::auth::LoginClient<'a>,
            ) -> $crate::auth::LoginFuture<'a> {
                Box::pin(self.user.$log_in(client, &self.mount))
            }

            fn watched_file(&self) -> Option<&::std::path::Path> {
                self.user.password_file()
            }
        }

        pub(super) fn from_environment(
            env: &$crate::source::env::OfficialEnv<'_>,
        ) -> $crate::auth::detect::Detected {
            let user = $crate::auth::password::User::from_environment(env)?;
            let Some(user) = user else { return Ok(None) };
            let mount = $crate::auth::mount::Mount::from_environment(env, $name)?;
            Ok(Some(::std::sync::Arc::new($method { user, mount })))
        }
    };
}

pub(super) use password_login;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::refusal::explained;
    use crate::error::{ErrorKind, Refusal};

    #[test]
    fn the_help_names_the_configured_mount() {
        let words = "error connecting to host \"ldap://directory\"".to_owned();
        let cause = Cause::new(ErrorKind::LoginRefused, words.clone(), "");
        let cause = cause.refused(Refusal { status: 400, words });
        let help = explained(cause, &Mount::new("team/ldap"), HINTS).help;
        assert!(help.ends_with("vault read auth/team/ldap/config"), "{help}");
    }
}

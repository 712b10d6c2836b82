use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::wrapping::{Expected, Wrapped};
use super::{
    AuthMethod, Given, LoginClient, LoginError, LoginFuture, below_auth, both, check, mount, role,
    value_or_file,
};
use crate::error::{Cause, ErrorKind};
use crate::source::env::OfficialEnv;

/// A login as a role, for services: <https://openbao.org/api-docs/auth/approle/>.
///
/// The secret_id may be left out for a role with `bind_secret_id=false`.
#[derive(Debug, Clone)]
pub struct AppRole {
    role_id: Given,
    secret_id: SecretId,
    role: Option<String>,
    mount: String,
}

#[derive(Debug, Clone)]
enum SecretId {
    None,
    Given(Given),
    Wrapped(Wrapped),
}

impl AppRole {
    /// With both ids in hand.
    pub fn new(role_id: impl Into<SecretString>, secret_id: impl Into<SecretString>) -> Self {
        Self::of(role_id.into(), SecretId::Given(Given::Value(secret_id.into())))
    }

    /// With the secret_id in a file that is read at every login.
    pub fn with_secret_id_file(
        role_id: impl Into<SecretString>,
        secret_id: impl Into<PathBuf>,
    ) -> Self {
        Self::of(role_id.into(), SecretId::Given(Given::File(secret_id.into())))
    }

    /// With a secret_id that comes wrapped:
    /// <https://openbao.org/docs/concepts/response-wrapping/>.
    ///
    /// The wrapping token has to be made by `auth/<mount>/role/<role>/secret-id`, which is looked
    /// up before it is unwrapped. One that was made elsewhere, or that is used already, is an error
    /// of the kind [`Tampered`](crate::ErrorKind::Tampered): somebody else may have the secret_id.
    /// What it wrapped is kept for later logins.
    pub fn with_wrapped_secret_id(
        role_id: impl Into<SecretString>,
        wrapping_token: impl Into<SecretString>,
    ) -> Self {
        let wrapped = Wrapped::new(Given::Value(wrapping_token.into()));
        Self::of(role_id.into(), SecretId::Wrapped(wrapped))
    }

    /// The same with the wrapping token in a file that is read at every login: a new one in it is
    /// unwrapped.
    pub fn with_wrapped_secret_id_file(
        role_id: impl Into<SecretString>,
        wrapping_token: impl Into<PathBuf>,
    ) -> Self {
        let wrapped = Wrapped::new(Given::File(wrapping_token.into()));
        Self::of(role_id.into(), SecretId::Wrapped(wrapped))
    }

    /// The role's name, which the path that made a wrapped secret_id then has to hold. Without it
    /// any role of the mount will do.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.role = Some(role.into());
        self
    }

    /// Where the auth method is mounted below `auth/`. Default: `approle`.
    #[must_use]
    pub fn mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = below_auth(&mount.into());
        self
    }

    fn of(role_id: SecretString, secret_id: SecretId) -> Self {
        let mount = "approle".to_owned();
        Self { role_id: Given::Value(role_id), secret_id, role: None, mount }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    role_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_id: Option<&'a str>,
}

impl AuthMethod for AppRole {
    fn describe(&self) -> String {
        format!("approle at auth/{}", self.mount)
    }

    fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async move {
            check::mount(&self.mount)?;
            let role_id = self.role_id.get().await?;
            let secret_id = self.secret_id(client).await?;
            let body = Body {
                role_id: role_id.expose_secret(),
                secret_id: secret_id.as_ref().map(ExposeSecret::expose_secret),
            };
            let path = format!("auth/{}/login", self.mount);
            client.post(&path, &body).await.map_err(|error| self.explain(error.into_cause()).into())
        })
    }

    fn watched_file(&self) -> Option<&Path> {
        match &self.secret_id {
            SecretId::Given(given) => given.file(),
            SecretId::Wrapped(wrapped) => wrapped.given.file(),
            SecretId::None => None,
        }
    }
}

impl AppRole {
    async fn secret_id(
        &self,
        client: &LoginClient<'_>,
    ) -> Result<Option<SecretString>, LoginError> {
        match &self.secret_id {
            SecretId::None => Ok(None),
            SecretId::Given(given) => given.get().await.map(Some),
            SecretId::Wrapped(wrapped) => {
                let role = self.role.as_deref().unwrap_or("<role>");
                let origin = format!("auth/{}/role/{role}/secret-id", self.mount);
                let expected = Expected {
                    what: "secret_id",
                    is_origin: &|path| self.is_origin(path),
                    take: |answer| answer.get("data")?.get("secret_id"),
                    remake: format!("vault write -wrap-ttl=60s -f {origin}"),
                    origin,
                };
                wrapped.open(client, &expected).await.map(Some)
            }
        }
    }

    fn is_origin(&self, path: &str) -> bool {
        let roles = format!("auth/{}/role/", self.mount);
        let role = path.strip_prefix(&roles).and_then(|rest| rest.strip_suffix("/secret-id"));
        role.is_some_and(|role| match &self.role {
            Some(named) => role == named,
            None => check::is_name(role),
        })
    }

    /// The server says the same for a wrong role_id and for a wrong, used-up or expired secret_id.
    fn explain(&self, cause: Cause) -> Cause {
        if cause.kind != ErrorKind::LoginRefused || !cause.message.contains("secret") {
            return cause;
        }
        if matches!(self.secret_id, SecretId::None) {
            return cause
                .hint("the role wants a secret_id: set VAULT_SECRET_ID, or VAULT_SECRET_ID_FILE");
        }
        cause.hint(&format!(
            "the server says the same for a wrong role_id, a wrong secret_id, and a secret_id that is used up or \
             expired; make a new secret_id: vault write -f auth/{}/role/<role>/secret-id\n\
             after several wrong tries the server locks the role for a while, so this one was not repeated",
            self.mount
        ))
    }
}

pub(super) fn from_environment(
    env: &OfficialEnv<'_>,
) -> Result<Option<Arc<dyn AuthMethod>>, Cause> {
    let Some(role_id) = value_or_file(env, "ROLE_ID")? else { return Ok(None) };
    Ok(Some(Arc::new(AppRole {
        role_id,
        secret_id: secret_id(env)?,
        role: role(env)?,
        mount: mount(env, "approle")?,
    })))
}

fn secret_id(env: &OfficialEnv<'_>) -> Result<SecretId, Cause> {
    match (value_or_file(env, "SECRET_ID")?, value_or_file(env, "WRAPPED_SECRET_ID")?) {
        (None, None) => Ok(SecretId::None),
        (Some(given), None) => Ok(SecretId::Given(given)),
        (None, Some(given)) => Ok(SecretId::Wrapped(Wrapped::new(given))),
        (Some(_), Some(_)) => Err(both("VAULT_SECRET_ID", "VAULT_WRAPPED_SECRET_ID")),
    }
}

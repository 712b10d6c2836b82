use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::credential::{Credential, conflict};
use super::detect::Detected;
use super::mount::Mount;
use super::refusal::Hint;
use super::wrapping::{Expected, Wrapping};
use super::{AuthMethod, LoginClient, LoginError, LoginFuture, check};
use crate::error::Cause;
use crate::source::env::OfficialEnv;

/// A login as a role for services, with a role_id and a secret_id:
/// <https://openbao.org/api-docs/auth/approle/>. A role with `bind_secret_id=false` needs no
/// secret_id.
///
/// The environment: `VAULT_ROLE_ID`, and `VAULT_SECRET_ID` or `VAULT_WRAPPED_SECRET_ID`, each also
/// with `_FILE`. The administrator runs
/// `vault write auth/approle/role/app token_policies=app token_ttl=1h`. Files are read again at every
/// login.
#[derive(Debug, Clone)]
pub struct AppRole {
    role_id: Credential,
    secret_id: SecretId,
    role: Option<String>,
    mount: Mount,
}

#[derive(Debug, Clone)]
enum SecretId {
    None,
    Plain(Credential),
    Wrapped(Wrapping),
}

impl AppRole {
    /// With both ids as values.
    pub fn new(role_id: impl Into<SecretString>, secret_id: impl Into<SecretString>) -> Self {
        Self::with(role_id.into(), SecretId::Plain(Credential::value(secret_id)))
    }

    /// With the secret_id in a file that is read at every login.
    pub fn with_secret_id_file(
        role_id: impl Into<SecretString>,
        secret_id: impl Into<PathBuf>,
    ) -> Self {
        Self::with(role_id.into(), SecretId::Plain(Credential::file(secret_id)))
    }

    /// With a wrapped secret_id: <https://openbao.org/docs/concepts/response-wrapping/>.
    ///
    /// The wrapping token must come from `auth/<mount>/role/<role>/secret-id`. This origin is looked
    /// up before the token is unwrapped. A token of another origin, or one that is used already, is
    /// an error of the kind [`Tampered`](crate::ErrorKind::Tampered): the secret_id may be in the
    /// wrong hands. The unwrapped secret_id is kept for later logins.
    pub fn with_wrapped_secret_id(
        role_id: impl Into<SecretString>,
        wrapping_token: impl Into<SecretString>,
    ) -> Self {
        let wrapping = Wrapping::new(Credential::value(wrapping_token));
        Self::with(role_id.into(), SecretId::Wrapped(wrapping))
    }

    /// With the wrapping token in a file that is read at every login: a new token in it is unwrapped.
    pub fn with_wrapped_secret_id_file(
        role_id: impl Into<SecretString>,
        wrapping_token: impl Into<PathBuf>,
    ) -> Self {
        let wrapping = Wrapping::new(Credential::file(wrapping_token));
        Self::with(role_id.into(), SecretId::Wrapped(wrapping))
    }

    /// The role's name. The origin of a wrapped secret_id must then be this role; without a name, any
    /// role of the mount is accepted.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.role = Some(role.into());
        self
    }

    /// Where the auth method is mounted below `auth/`. Default: `approle`.
    #[must_use]
    pub fn mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = Mount::new(mount);
        self
    }

    fn with(role_id: SecretString, secret_id: SecretId) -> Self {
        let role_id = Credential::Value(role_id);
        Self { role_id, secret_id, role: None, mount: Mount::new("approle") }
    }
}

const HINTS: &[Hint<AppRole>] = &[
    Hint::add(&["missing secret_id"], |_| {
        "the role requires a secret_id: set VAULT_SECRET_ID, or VAULT_SECRET_ID_FILE".to_owned()
    }),
    // The server gives the same words for a wrong role_id and for a wrong, used-up or expired
    // secret_id.
    Hint::add(&["secret"], |method| match method.secret_id {
        SecretId::None => format!(
            "the role_id may be wrong, or its role deleted; read the role_id: vault read {}/role/{}/role-id",
            method.mount,
            method.role.as_deref().unwrap_or("<role>")
        ),
        _ => format!(
            "the secret_id may be used up, expired or wrong, or the role_id wrong (the server answers the same for all); issue a new secret_id: vault write -f {}/role/<role>/secret-id\n\
             after several failed logins the server locks the role for a while, so this login was not retried",
            method.mount
        ),
    }),
];

#[derive(Serialize)]
struct Body<'a> {
    role_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_id: Option<&'a str>,
}

impl AuthMethod for AppRole {
    fn describe(&self) -> String {
        format!("approle at {}", self.mount)
    }

    fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async move {
            self.mount.check()?;
            let role_id = self.role_id.read().await?;
            let secret_id = self.secret_id(client).await?;
            let body = Body {
                role_id: role_id.expose_secret(),
                secret_id: secret_id.as_ref().map(ExposeSecret::expose_secret),
            };
            client.log_in(self, &self.mount.login(), &body, HINTS).await
        })
    }

    fn watched_file(&self) -> Option<&Path> {
        match &self.secret_id {
            SecretId::None => None,
            SecretId::Plain(secret_id) => secret_id.path(),
            SecretId::Wrapped(wrapping) => wrapping.token.path(),
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
            SecretId::Plain(secret_id) => secret_id.read().await.map(Some),
            SecretId::Wrapped(wrapping) => {
                let role = self.role.as_deref().unwrap_or("<role>");
                let origin = format!("{}/role/{role}/secret-id", self.mount);
                let expected = Expected {
                    content: "secret_id",
                    is_origin: &|path| self.is_origin(path),
                    take: |answer| answer.get("data")?.get("secret_id"),
                    command: format!("vault write -wrap-ttl=60s -f {origin}"),
                    origin,
                    other_origin: None,
                };
                wrapping.open(client, &expected).await.map(Some)
            }
        }
    }

    fn is_origin(&self, path: &str) -> bool {
        let roles = format!("{}/role/", self.mount);
        let role = path.strip_prefix(&roles).and_then(|rest| rest.strip_suffix("/secret-id"));
        role.is_some_and(|role| match &self.role {
            Some(expected) => role == expected,
            None => check::is_name(role),
        })
    }
}

pub(super) fn from_environment(env: &OfficialEnv<'_>) -> Detected {
    let Some(role_id) = Credential::from_environment(env, "ROLE_ID", |_| Ok(()))? else {
        return Ok(None);
    };
    Ok(Some(Arc::new(AppRole {
        role_id,
        secret_id: secret_id(env)?,
        role: check::name_from_environment(env, "AUTH_ROLE")?,
        mount: Mount::from_environment(env, "approle")?,
    })))
}

fn secret_id(env: &OfficialEnv<'_>) -> Result<SecretId, Cause> {
    let plain = Credential::from_environment(env, "SECRET_ID", |_| Ok(()))?;
    let wrapped = Credential::from_environment(env, "WRAPPED_SECRET_ID", |_| Ok(()))?;
    match (plain, wrapped) {
        (None, None) => Ok(SecretId::None),
        (Some(secret_id), None) => Ok(SecretId::Plain(secret_id)),
        (None, Some(token)) => Ok(SecretId::Wrapped(Wrapping::new(token))),
        (Some(_), Some(_)) => Err(conflict("VAULT_SECRET_ID", "VAULT_WRAPPED_SECRET_ID")),
    }
}

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::{AuthMethod, Given, LoginClient, LoginFuture, value_or_file};
use crate::error::{Cause, ErrorKind};
use crate::vault::settings::Official;

/// A login as a role, for services: <https://openbao.org/api-docs/auth/approle/>.
///
/// The secret_id may be left out for a role with `bind_secret_id=false`.
#[derive(Debug, Clone)]
pub struct AppRole {
    role_id: Given,
    secret_id: Option<Given>,
    mount: String,
}

impl AppRole {
    /// With both ids in hand.
    pub fn new(role_id: impl Into<SecretString>, secret_id: impl Into<SecretString>) -> Self {
        Self {
            role_id: Given::Value(role_id.into()),
            secret_id: Some(Given::Value(secret_id.into())),
            mount: "approle".to_owned(),
        }
    }

    /// With the secret_id in a file that is read at every login.
    pub fn with_secret_id_file(
        role_id: impl Into<SecretString>,
        secret_id: impl Into<PathBuf>,
    ) -> Self {
        Self {
            role_id: Given::Value(role_id.into()),
            secret_id: Some(Given::File(secret_id.into())),
            mount: "approle".to_owned(),
        }
    }

    /// Where the auth method is mounted below `auth/`. Default: `approle`.
    #[must_use]
    pub fn mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = below_auth(&mount.into());
        self
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
            let role_id = self.role_id.get()?;
            let secret_id = self.secret_id.as_ref().map(Given::get).transpose()?;
            let body = Body {
                role_id: role_id.expose_secret(),
                secret_id: secret_id.as_ref().map(ExposeSecret::expose_secret),
            };
            let path = format!("auth/{}/login", self.mount);
            client.post(&path, &body).await.map_err(|error| self.explain(error.into_cause()).into())
        })
    }
}

impl AppRole {
    /// The server says the same for a wrong role_id and for a wrong, used-up or expired secret_id.
    fn explain(&self, cause: Cause) -> Cause {
        if cause.kind != ErrorKind::LoginRefused || !cause.what.contains("secret") {
            return cause;
        }
        if self.secret_id.is_none() {
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

/// `auth/team/approle/` is taken for `team/approle`.
fn below_auth(mount: &str) -> String {
    mount.trim_matches('/').trim_start_matches("auth/").to_owned()
}

pub(super) fn from_environment(env: &Official<'_>) -> Result<Option<Arc<dyn AuthMethod>>, Cause> {
    let Some(role_id) = value_or_file(env, "ROLE_ID")? else { return Ok(None) };
    let mount =
        env.get("AUTH_MOUNT")?.map_or_else(|| "approle".to_owned(), |(_, v)| v.as_str().to_owned());
    Ok(Some(Arc::new(AppRole {
        role_id,
        secret_id: value_or_file(env, "SECRET_ID")?,
        mount: below_auth(&mount),
    })))
}

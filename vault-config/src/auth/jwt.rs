use std::path::PathBuf;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::check;
use super::{AuthMethod, Given, LoginClient, LoginFuture, below_auth, mount, role, value_or_file};
use crate::error::{Cause, ErrorKind};
use crate::source::env::OfficialEnv;

/// A login with a JWT that somebody else signed, such as a CI system or an identity provider:
/// <https://openbao.org/api-docs/auth/jwt/>.
#[derive(Debug, Clone)]
pub struct Jwt {
    jwt: Given,
    role: Option<String>,
    mount: String,
}

impl Jwt {
    /// With the JWT in hand. It is checked when the login starts: three parts between dots.
    pub fn new(jwt: impl Into<SecretString>) -> Self {
        Self::with(Given::Value(jwt.into()))
    }

    /// With the JWT in a file that is read at every login.
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        Self::with(Given::File(path.into()))
    }

    /// As this role of the server. Without one the server takes its `default_role`.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.role = Some(role.into());
        self
    }

    /// Where the auth method is mounted below `auth/`. Default: `jwt`.
    #[must_use]
    pub fn mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = below_auth(&mount.into());
        self
    }

    fn with(jwt: Given) -> Self {
        Self { jwt, role: None, mount: "jwt".to_owned() }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    jwt: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
}

impl AuthMethod for Jwt {
    fn describe(&self) -> String {
        format!("jwt at auth/{}", self.mount)
    }

    fn locks_accounts(&self) -> bool {
        false
    }

    fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async move {
            check::mount(&self.mount)?;
            if let Some(role) = &self.role {
                check::name("the role", role)?;
            }
            let jwt = self.jwt.get().await?;
            check::jwt(&self.jwt.holds("what was given is"), &jwt)?;
            let body = Body { jwt: jwt.expose_secret(), role: self.role.as_deref() };
            let path = format!("auth/{}/login", self.mount);
            client.post(&path, &body).await.map_err(|error| self.explain(error.into_cause()).into())
        })
    }
}

impl Jwt {
    fn explain(&self, cause: Cause) -> Cause {
        if cause.kind != ErrorKind::LoginRefused {
            return cause;
        }
        let (mount, says) = (&self.mount, |text| cause.message.contains(text));
        if says("expired") && matches!(self.jwt, Given::File(_)) {
            return cause
                .hint("the file is read at every login: see that what writes it still runs");
        }
        if says("expired") {
            return cause.hint("give a new one, or a file that is renewed: VAULT_JWT_FILE");
        }
        if says("could not be found") || says("missing role") {
            return cause.hint(&format!(
                "name a role that is there (vault list auth/{mount}/role): VAULT_AUTH_ROLE"
            ));
        }
        if says("error validating") || says("error verifying") {
            return cause.hint(&format!(
                "compare the token's claims with the role: vault read auth/{mount}/role/{}",
                self.role.as_deref().unwrap_or("<default role>")
            ));
        }
        cause
    }
}

pub(super) fn from_environment(
    env: &OfficialEnv<'_>,
) -> Result<Option<Arc<dyn AuthMethod>>, Cause> {
    let Some(jwt) = value_or_file(env, "JWT")? else { return Ok(None) };
    if let (Given::Value(value), Some((variable, _))) = (&jwt, env.get("JWT")?) {
        check::jwt("is", value)
            .map_err(|error| error.into_cause().at(format!("env {variable}")))?;
    }
    Ok(Some(Arc::new(Jwt { jwt, role: role(env)?, mount: mount(env, "jwt")? })))
}

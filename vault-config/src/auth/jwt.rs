use std::path::PathBuf;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::credential::Credential;
use super::detect::Detected;
use super::mount::Mount;
use super::refusal::Hint;
use super::{AuthMethod, LoginClient, LoginFuture, check};
use crate::source::env::OfficialEnv;

/// A login with a JWT that a CI system or an identity provider signed:
/// <https://openbao.org/api-docs/auth/jwt/>.
///
/// The environment: `VAULT_JWT` or `VAULT_JWT_FILE`; `VAULT_AUTH_ROLE`. The administrator runs
/// `vault write auth/jwt/role/app role_type=jwt user_claim=sub bound_audiences=vault bound_subject=..
/// token_policies=app`. A file is read again at every login.
#[derive(Debug, Clone)]
pub struct Jwt {
    jwt: Credential,
    role: Option<String>,
    mount: Mount,
}

impl Jwt {
    /// With the JWT as a value. Its form is checked when the login starts: three parts between dots.
    pub fn new(jwt: impl Into<SecretString>) -> Self {
        Self::with(Credential::value(jwt))
    }

    /// With the JWT in a file that is read at every login.
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        Self::with(Credential::file(path))
    }

    /// As this role of the server. Without one the server uses its `default_role`.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.role = Some(role.into());
        self
    }

    /// Where the auth method is mounted below `auth/`. Default: `jwt`.
    #[must_use]
    pub fn mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = Mount::new(mount);
        self
    }

    fn with(jwt: Credential) -> Self {
        Self { jwt, role: None, mount: Mount::new("jwt") }
    }
}

const HINTS: &[Hint<Jwt>] = &[
    // Above "expired", which may be the certificate of the server with the keys.
    Hint::add(&["error verifying token signature", "no known key"], |method| {
        format!(
            "the method's keys do not verify the token: another issuer may have signed it, or the keys have changed or cannot be \
             fetched; compare jwks_url, the public keys and the issuer: vault read {}/config",
            method.mount
        )
    }),
    Hint::add(&["expired"], |method| {
        let help = match method.jwt {
            Credential::File(_) => {
                "the file is read at every login: check that the program that writes it still runs"
            }
            Credential::Value(_) => {
                "pass a new JWT, or set VAULT_JWT_FILE to a file that is renewed"
            }
        };
        help.to_owned()
    }),
    Hint::add(&["could not be found", "missing role"], |method| {
        format!("set an existing role (vault list {}/role) in VAULT_AUTH_ROLE", method.mount)
    }),
    Hint::add(&["error validating", "error verifying"], |method| {
        format!(
            "compare the token's claims with the role: vault read {}/role/{}",
            method.mount,
            method.role.as_deref().unwrap_or("<default role>")
        )
    }),
];

#[derive(Serialize)]
struct Body<'a> {
    jwt: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
}

impl AuthMethod for Jwt {
    fn describe(&self) -> String {
        format!("jwt at {}", self.mount)
    }

    fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async move {
            self.mount.check()?;
            if let Some(role) = &self.role {
                check::name("the role", role)?;
            }
            let jwt = self.jwt.read().await?;
            check::jwt(&self.jwt.subject(), &jwt)?;
            let body = Body { jwt: jwt.expose_secret(), role: self.role.as_deref() };
            client.log_in(self, &self.mount.login(), &body, HINTS).await
        })
    }

    fn locks_accounts(&self) -> bool {
        false
    }
}

pub(super) fn from_environment(env: &OfficialEnv<'_>) -> Detected {
    let jwt = Credential::from_environment(env, "JWT", |jwt| check::jwt("is", jwt))?;
    let Some(jwt) = jwt else { return Ok(None) };
    Ok(Some(Arc::new(Jwt {
        jwt,
        role: check::name_from_environment(env, "AUTH_ROLE")?,
        mount: Mount::from_environment(env, "jwt")?,
    })))
}

use std::sync::Arc;

use serde::Serialize;

use super::detect::Detected;
use super::mount::Mount;
use super::refusal::Hint;
use super::{AuthMethod, LoginClient, LoginFuture, check};
use crate::error::{Cause, ErrorKind};
use crate::source::env::OfficialEnv;

/// A login with the TLS certificate of the connection:
/// <https://openbao.org/api-docs/auth/cert/>.
///
/// The environment: `VAULT_CLIENT_CERT` and `VAULT_CLIENT_KEY`; `VAULT_AUTH_ROLE`. The administrator
/// runs `vault write auth/cert/certs/app certificate=@ca.pem allowed_common_names=app
/// token_policies=app`.
///
/// The certificate is also the one of
/// [`client_certificate_files`](crate::VaultBuilder::client_certificate_files), or of your own
/// [`reqwest::Client`](crate::VaultBuilder::http_client); a login reads no file. The address must be
/// the server's own: a proxy that terminates TLS does not pass the certificate on.
#[derive(Debug, Clone)]
pub struct Cert {
    role: Option<String>,
    mount: Mount,
}

impl Cert {
    /// As the first role of the server that accepts the certificate.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a default login would be a choice by accident")]
    pub fn new() -> Self {
        Self { role: None, mount: Mount::new("cert") }
    }

    /// As this role of the server only.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.role = Some(role.into());
        self
    }

    /// Where the auth method is mounted below `auth/`. Default: `cert`.
    #[must_use]
    pub fn mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = Mount::new(mount);
        self
    }
}

const HINTS: &[Hint<Cert>] = &[
    Hint::replace(&["no client certificate found"], |_| {
        "the server received no certificate: set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY, and let no proxy on the way terminate TLS"
            .to_owned()
    }),
    Hint::replace(&["no client certificate supplied"], |method| {
        format!(
            "{}\n\
             or no certificate may have arrived: set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY, and let no proxy on the way terminate TLS",
            method.compare_roles()
        )
    }),
    Hint::replace(&["invalid certificate", "no chain matching"], Cert::compare_roles),
];

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

impl AuthMethod for Cert {
    fn describe(&self) -> String {
        format!("cert at {}", self.mount)
    }

    fn locks_accounts(&self) -> bool {
        false
    }

    fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async move {
            self.mount.check()?;
            if let Some(role) = &self.role {
                check::name("the role", role)?;
            }
            let address = &client.settings().addresses.first;
            if address.url.scheme() != "https" {
                return Err(no_tls(&address.origin).into());
            }
            let body = Body { name: self.role.as_deref() };
            client.log_in(self, &self.mount.login(), &body, HINTS).await
        })
    }
}

impl Cert {
    fn compare_roles(&self) -> String {
        let (mount, role) = (&self.mount, self.role.as_deref().unwrap_or("<role>"));
        format!(
            "a role must trust the certificate's authority and its names; see what the roles trust: vault list {mount}/certs; vault \
             read {mount}/certs/{role}"
        )
    }
}

fn no_tls(origin: &str) -> Cause {
    Cause::new(
        ErrorKind::Setting,
        "the client certificate cannot be presented: the address is not https",
        format!("set {origin} to the server's https address"),
    )
}

pub(super) fn from_environment(env: &OfficialEnv<'_>) -> Detected {
    let has_certificate =
        env.get("CLIENT_CERT")?.is_some() || env.get("CLIENT_CERT_BYTES")?.is_some();
    if !has_certificate {
        return Ok(None);
    }
    Ok(Some(Arc::new(Cert {
        role: check::name_from_environment(env, "AUTH_ROLE")?,
        mount: Mount::from_environment(env, "cert")?,
    })))
}

use std::sync::Arc;

use serde::Serialize;

use super::check;
use super::{AuthMethod, LoginClient, LoginFuture, below_auth, mount, role};
use crate::error::{Cause, ErrorKind};
use crate::source::env::OfficialEnv;

/// A login with the TLS certificate of the connection:
/// <https://openbao.org/api-docs/auth/cert/>.
///
/// The connection shows the certificate of `VAULT_CLIENT_CERT` and `VAULT_CLIENT_KEY`, of
/// [`client_certificate_files`](crate::VaultBuilder::client_certificate_files), or of the
/// [`reqwest::Client`](crate::VaultBuilder::http_client) you give. The address has to be the
/// server's own: whatever ends TLS on the way ends the certificate, too.
#[derive(Debug, Clone)]
pub struct Cert {
    role: Option<String>,
    mount: String,
}

impl Cert {
    /// As the first role of the server that fits the certificate.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a default login would be a choice by accident")]
    pub fn new() -> Self {
        Self { role: None, mount: "cert".to_owned() }
    }

    /// As this role of the server and no other.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.role = Some(role.into());
        self
    }

    /// Where the auth method is mounted below `auth/`. Default: `cert`.
    #[must_use]
    pub fn mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = below_auth(&mount.into());
        self
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

impl AuthMethod for Cert {
    fn describe(&self) -> String {
        format!("cert at auth/{}", self.mount)
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
            let address = &client.http.settings().addresses.first;
            if address.url.scheme() != "https" {
                return Err(no_tls(&address.said_by).into());
            }
            let body = Body { name: self.role.as_deref() };
            let path = format!("auth/{}/login", self.mount);
            client.post(&path, &body).await.map_err(|error| self.explain(error.into_cause()).into())
        })
    }
}

impl Cert {
    fn explain(&self, cause: Cause) -> Cause {
        let (mount, says) = (&self.mount, |text| cause.message.contains(text));
        let help = if says("no client certificate found") {
            "the server saw no certificate: set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY, and let nothing between \
             here and the server end TLS"
                .to_owned()
        } else if says("invalid certificate") || says("no chain matching") {
            format!(
                "let a role trust the certificate's authority and its names: vault list auth/{mount}/certs; vault \
                 read auth/{mount}/certs/{}",
                self.role.as_deref().unwrap_or("<role>")
            )
        } else {
            return cause;
        };
        cause.with_help(help)
    }
}

fn no_tls(said_by: &str) -> Cause {
    Cause::new(
        ErrorKind::Setting,
        "the certificate of the connection cannot be shown: the address is not https",
        format!("set {said_by} to the server's https address"),
    )
}

pub(super) fn from_environment(
    env: &OfficialEnv<'_>,
) -> Result<Option<Arc<dyn AuthMethod>>, Cause> {
    let has_certificate =
        env.get("CLIENT_CERT")?.is_some() || env.get("CLIENT_CERT_BYTES")?.is_some();
    if !has_certificate {
        return Ok(None);
    }
    Ok(Some(Arc::new(Cert { role: role(env)?, mount: mount(env, "cert")? })))
}

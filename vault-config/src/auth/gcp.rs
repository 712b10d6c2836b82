use std::sync::Arc;

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::metadata::{Question, protocol};
use super::{AuthMethod, LoginClient, LoginError, LoginFuture, below_auth, check, mount, role};
use crate::error::{Cause, ErrorKind};
use crate::source::env::Environment;
use crate::source::env::OfficialEnv;

/// A login with the service account of a machine in Google Cloud, for roles of the type `gce`:
/// <https://developer.hashicorp.com/vault/api-docs/auth/gcp>.
///
/// Every login asks the metadata server for an identity token with the audience `vault/<role>`.
/// Its address is `metadata.google.internal`, or the one that `GCE_METADATA_HOST` names.
#[derive(Debug, Clone)]
pub struct Gcp {
    role: String,
    service_account: String,
    metadata: Option<String>,
    environment: Environment,
    mount: String,
}

impl Gcp {
    /// As this role of the server, with the default service account.
    pub fn new(role: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            service_account: "default".to_owned(),
            metadata: None,
            environment: Environment::Process,
            mount: "gcp".to_owned(),
        }
    }

    /// Another service account of the machine, by its e-mail address. Default: `default`.
    #[must_use]
    pub fn service_account(mut self, email: impl Into<String>) -> Self {
        self.service_account = email.into();
        self
    }

    /// Another metadata server, such as `http://127.0.0.1:8080`.
    #[must_use]
    pub fn metadata_address(mut self, address: impl Into<String>) -> Self {
        self.metadata = Some(address.into());
        self
    }

    /// Where the auth method is mounted below `auth/`. Default: `gcp`.
    #[must_use]
    pub fn mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = below_auth(&mount.into());
        self
    }
}

#[derive(Serialize)]
struct Body<'a> {
    role: &'a str,
    jwt: &'a str,
}

impl AuthMethod for Gcp {
    fn describe(&self) -> String {
        format!("gcp at auth/{} as {:?}", self.mount, self.role)
    }

    fn locks_accounts(&self) -> bool {
        false
    }

    fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async move {
            check::mount(&self.mount)?;
            check::name("the role", &self.role)?;
            check::name("the service account", &self.service_account)?;
            let jwt = self.identity().await?;
            let body = Body { role: &self.role, jwt: jwt.expose_secret() };
            client.post(&format!("auth/{}/login", self.mount), &body).await
        })
    }
}

const WHO: &str = "the metadata server of Google Cloud";

impl Gcp {
    async fn identity(&self) -> Result<SecretString, LoginError> {
        let address = match &self.metadata {
            Some(address) => address.trim_end_matches('/').to_owned(),
            None => {
                let host = self.environment.get("GCE_METADATA_HOST")?;
                let host = host.as_ref().map_or("metadata.google.internal", |host| host.as_str());
                format!("http://{host}")
            }
        };
        let url = format!(
            "{address}/computeMetadata/v1/instance/service-accounts/{}/identity",
            self.service_account
        );
        let audience = format!("vault/{}", self.role);
        let answer = Question {
            of: WHO,
            set: "GCE_METADATA_HOST",
            method: Method::GET,
            url: &url,
            query: &[("audience", &audience), ("format", "full")],
            headers: &[("metadata-flavor", &SecretString::from("Google"))],
            body: None,
        }
        .ask()
        .await?;
        // The one sign that it is Google's own, and not whoever answers at that name.
        if answer.headers.get("metadata-flavor").is_none_or(|flavor| flavor != "Google") {
            return Err(protocol(format!("{WHO} does not say that it is that")).into());
        }
        let jwt = answer.text().filter(|text| check::is_jwt(text));
        jwt.map(SecretString::from)
            .ok_or_else(|| protocol(format!("{WHO} gives no identity token")).into())
    }
}

pub(super) fn from_environment(
    env: &OfficialEnv<'_>,
) -> Result<Option<Arc<dyn AuthMethod>>, Cause> {
    let Some(role) = role(env)? else { return Ok(None) };
    if let Some(host) = env.0.get("GCE_METADATA_HOST")?
        && (host.contains('/') || host.contains(char::is_whitespace))
    {
        return Err(Cause::new(
            ErrorKind::Setting,
            "is no host, such as 127.0.0.1:8080",
            "correct GCE_METADATA_HOST, or unset it",
        )
        .at("env GCE_METADATA_HOST"));
    }
    let method = Gcp { environment: env.0.clone(), mount: mount(env, "gcp")?, ..Gcp::new(role) };
    Ok(Some(Arc::new(method)))
}

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::detect::Detected;
use super::metadata::{MetadataRequest, unexpected_answer};
use super::mount::Mount;
use super::{AuthMethod, LoginClient, LoginError, LoginFuture, check};
use crate::error::{Cause, ErrorKind};
use crate::source::env::{Environment, OfficialEnv};
use crate::time::Timing;

/// A login with the service account of a machine in Google Cloud, for roles of the type `gce`:
/// <https://developer.hashicorp.com/vault/api-docs/auth/gcp>.
///
/// The environment: `VAULT_AUTH_ROLE`. The administrator runs
/// `vault write auth/gcp/role/app type=gce bound_projects=.. bound_service_accounts=..
/// token_policies=app`.
///
/// Every login requests a new identity token with the audience `vault/<role>` from the metadata
/// server, at `metadata.google.internal` or at the host that `GCE_METADATA_HOST` names.
#[derive(Debug, Clone)]
pub struct Gcp {
    role: String,
    service_account: String,
    metadata: Option<String>,
    environment: Environment,
    mount: Mount,
}

impl Gcp {
    /// As this role of the server, with the default service account.
    pub fn new(role: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            service_account: "default".to_owned(),
            metadata: None,
            environment: Environment::Process,
            mount: Mount::new("gcp"),
        }
    }

    /// Another service account of the machine, by its e-mail address. Default: `default`.
    #[must_use]
    pub fn service_account(mut self, email: impl Into<String>) -> Self {
        self.service_account = email.into();
        self
    }

    /// The address of another metadata server, such as `http://127.0.0.1:8080`.
    #[must_use]
    pub fn metadata_address(mut self, address: impl Into<String>) -> Self {
        self.metadata = Some(address.into());
        self
    }

    /// Where the auth method is mounted below `auth/`. Default: `gcp`.
    #[must_use]
    pub fn mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = Mount::new(mount);
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
        format!("gcp at {} as {:?}", self.mount, self.role)
    }

    fn locks_accounts(&self) -> bool {
        false
    }

    fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async move {
            self.mount.check()?;
            check::name("the role", &self.role)?;
            check::name("the service account", &self.service_account)?;
            let jwt = self.identity(client.timing()).await?;
            let body = Body { role: &self.role, jwt: jwt.expose_secret() };
            client.log_in(self, &self.mount.login(), &body, &[]).await
        })
    }
}

impl Gcp {
    async fn identity(&self, timing: &Timing) -> Result<SecretString, LoginError> {
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
        let flavor = SecretString::from("Google");
        let headers = [("metadata-flavor", &flavor)];
        let request = MetadataRequest {
            query: &[("audience", &audience), ("format", "full")],
            ..MetadataRequest::get(SERVICE, "GCE_METADATA_HOST", &url, &headers)
        };
        let answer = request.send(timing).await?;
        // Another server may answer at that name; only Google's own sends this header back.
        if answer.headers.get("metadata-flavor").is_none_or(|flavor| flavor != "Google") {
            return Err(unexpected_answer(format!(
                "{SERVICE} did not send the header Metadata-Flavor: Google"
            ))
            .into());
        }
        let jwt = answer.text().filter(|text| check::is_jwt(text));
        jwt.map(SecretString::from).ok_or_else(|| {
            unexpected_answer(format!("{SERVICE} returned no identity token")).into()
        })
    }
}

const SERVICE: &str = "the metadata server of Google Cloud";

pub(super) fn from_environment(env: &OfficialEnv<'_>) -> Detected {
    let Some(role) = check::name_from_environment(env, "AUTH_ROLE")? else { return Ok(None) };
    if let Some(host) = env.0.get("GCE_METADATA_HOST")?
        && (host.contains('/') || host.contains(char::is_whitespace))
    {
        return Err(Cause::new(
            ErrorKind::Setting,
            "is not a host, such as 127.0.0.1:8080",
            "correct GCE_METADATA_HOST, or unset it",
        )
        .at("env GCE_METADATA_HOST"));
    }
    let mount = Mount::from_environment(env, "gcp")?;
    Ok(Some(Arc::new(Gcp { environment: env.0.clone(), mount, ..Gcp::new(role) })))
}

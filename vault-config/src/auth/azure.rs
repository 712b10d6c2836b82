use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::detect::Detected;
use super::metadata::{MetadataRequest, unexpected_answer};
use super::mount::Mount;
use super::{AuthMethod, LoginClient, LoginError, LoginFuture, check};
use crate::error::Cause;
use crate::source::env::{Environment, OfficialEnv};
use crate::time::Timing;

/// A login with the managed identity of a machine or service in Azure:
/// <https://developer.hashicorp.com/vault/api-docs/auth/azure>.
///
/// The environment: `VAULT_AUTH_ROLE`, `VAULT_AZURE_RESOURCE`, `AZURE_CLIENT_ID` for a user-assigned
/// identity. The administrator runs
/// `vault write auth/azure/role/app bound_subscription_ids=.. bound_resource_groups=.. token_policies=app`.
///
/// Every login requests a new access token: from the instance metadata service at 169.254.169.254,
/// or the one that `AZURE_POD_IDENTITY_AUTHORITY_HOST` names; in App Service, Functions and Container
/// Apps, which set `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`, from there. A machine also sends its
/// subscription, resource group and name, which a role may be bound to.
#[derive(Debug, Clone)]
pub struct Azure {
    role: String,
    resource: String,
    metadata: Option<String>,
    environment: Environment,
    mount: Mount,
}

impl Azure {
    /// As this role of the server, with the machine's or service's own identity.
    pub fn new(role: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            resource: DEFAULT_RESOURCE.to_owned(),
            metadata: None,
            environment: Environment::Process,
            mount: Mount::new("azure"),
        }
    }

    /// The audience of the access token; the server's configuration must name the same. Default:
    /// `https://management.azure.com/`.
    #[must_use]
    pub fn resource(mut self, resource: impl Into<String>) -> Self {
        self.resource = resource.into();
        self
    }

    /// The address of another metadata service, such as `http://127.0.0.1:8080`.
    #[must_use]
    pub fn metadata_address(mut self, address: impl Into<String>) -> Self {
        self.metadata = Some(address.into());
        self
    }

    /// Where the auth method is mounted below `auth/`. Default: `azure`.
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
    #[serde(flatten)]
    machine: Machine,
}

/// The place of a machine in Azure. All fields are empty for a service.
#[derive(Default, Serialize)]
struct Machine {
    #[serde(skip_serializing_if = "String::is_empty")]
    subscription_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    resource_group_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    vm_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    vmss_name: String,
}

#[derive(Deserialize)]
struct Token {
    access_token: SecretString,
}

#[derive(Deserialize)]
struct Instance {
    compute: Compute,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Compute {
    #[serde(default)]
    subscription_id: String,
    #[serde(default)]
    resource_group_name: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    vm_scale_set_name: String,
}

impl AuthMethod for Azure {
    fn describe(&self) -> String {
        format!("azure at {} as {:?}", self.mount, self.role)
    }

    fn locks_accounts(&self) -> bool {
        false
    }

    fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async move {
            self.mount.check()?;
            check::name("the role", &self.role)?;
            let timing = client.timing();
            let (jwt, machine) = match self.service()? {
                Some((endpoint, header)) => {
                    let api = ("api-version", "2019-08-01");
                    let header = ("x-identity-header", &header);
                    (self.token(timing, &endpoint, api, header).await?, Machine::default())
                }
                None => self.machine(timing).await?,
            };
            let body = Body { role: &self.role, jwt: jwt.expose_secret(), machine };
            client.log_in(self, &self.mount.login(), &body, &[]).await
        })
    }
}

impl Azure {
    /// The address of the service's own identity endpoint, and the header that it requires.
    fn service(&self) -> Result<Option<(String, SecretString)>, Cause> {
        let [endpoint, header] =
            ["IDENTITY_ENDPOINT", "IDENTITY_HEADER"].map(|name| self.environment.get(name));
        match (endpoint?, header?) {
            (Some(endpoint), Some(header)) if self.metadata.is_none() => {
                Ok(Some((endpoint.as_str().to_owned(), SecretString::from(header.as_str()))))
            }
            _ => Ok(None),
        }
    }

    async fn machine(&self, timing: &Timing) -> Result<(SecretString, Machine), LoginError> {
        let named = self.environment.get("AZURE_POD_IDENTITY_AUTHORITY_HOST")?;
        let address = match (&self.metadata, &named) {
            (Some(address), _) => address.as_str(),
            (None, Some(address)) => address.as_str(),
            (None, None) => DEFAULT_ADDRESS,
        };
        let address = address.trim_end_matches('/');
        let marker = SecretString::from("true");
        let token = format!("{address}/metadata/identity/oauth2/token");
        let jwt = self
            .token(timing, &token, ("api-version", "2018-02-01"), ("metadata", &marker))
            .await?;
        let instance = format!("{address}/metadata/instance");
        let headers = [("metadata", &marker)];
        let request = MetadataRequest {
            query: &[("api-version", "2021-02-01")],
            ..request(&instance, &headers)
        };
        let answer = request.send(timing).await?;
        let Instance { compute } = answer.json(SERVICE)?;
        let machine = Machine {
            subscription_id: compute.subscription_id,
            resource_group_name: compute.resource_group_name,
            vm_name: compute.name,
            vmss_name: compute.vm_scale_set_name,
        };
        Ok((jwt, machine))
    }

    async fn token(
        &self,
        timing: &Timing,
        url: &str,
        api: (&str, &str),
        proof: (&'static str, &SecretString),
    ) -> Result<SecretString, LoginError> {
        let client_id = self.environment.get("AZURE_CLIENT_ID")?;
        let mut query = vec![api, ("resource", &self.resource)];
        query.extend(client_id.as_ref().map(|id| ("client_id", id.as_str())));
        let headers = [proof];
        let request = MetadataRequest { query: &query, ..request(url, &headers) };
        let answer = request.send(timing).await?;
        let Token { access_token } = answer.json(SERVICE)?;
        match check::is_jwt(access_token.expose_secret()) {
            true => Ok(access_token),
            false => Err(unexpected_answer(format!("{SERVICE} returned no access token")).into()),
        }
    }
}

fn request<'a>(
    url: &'a str,
    headers: &'a [(&'static str, &'a SecretString)],
) -> MetadataRequest<'a> {
    MetadataRequest::get(SERVICE, "AZURE_POD_IDENTITY_AUTHORITY_HOST", url, headers)
}

const SERVICE: &str = "the metadata service of Azure";
const DEFAULT_RESOURCE: &str = "https://management.azure.com/";
const DEFAULT_ADDRESS: &str = "http://169.254.169.254";

pub(super) fn from_environment(env: &OfficialEnv<'_>) -> Detected {
    let Some(role) = check::name_from_environment(env, "AUTH_ROLE")? else { return Ok(None) };
    let resource = env.parse("AZURE_RESOURCE", |text| Ok(text.to_owned()))?;
    let method = Azure::new(role).resource(resource.unwrap_or_else(|| DEFAULT_RESOURCE.to_owned()));
    let mount = Mount::from_environment(env, "azure")?;
    Ok(Some(Arc::new(Azure { environment: env.0.clone(), mount, ..method })))
}

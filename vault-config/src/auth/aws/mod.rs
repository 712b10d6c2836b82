use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use serde::Serialize;

use super::detect::Detected;
use super::method::is_token;
use super::mount::Mount;
use super::{AuthMethod, AuthToken, LoginClient, LoginError, LoginFuture, check};
use crate::error::{Cause, ErrorKind};
use crate::source::env::{Environment, OfficialEnv};

mod credentials;
mod sign;

use credentials::Credentials;
use sign::{Call, Headers};

/// The call that is signed. The server sends it to AWS, which answers with the signer's identity.
const BODY: &str = "Action=GetCallerIdentity&Version=2011-06-15";
/// This header is signed as well, so that the signature is valid for one server only.
const SERVER_ID: &str = "x-vault-aws-iam-server-id";

/// A login as a role or user of AWS IAM: <https://developer.hashicorp.com/vault/api-docs/auth/aws>.
/// Needs the crate's feature `aws`.
///
/// The environment: `VAULT_AUTH_ROLE`, `VAULT_AWS_REGION`, `VAULT_AWS_IAM_SERVER_ID`, and AWS's own
/// variables. The administrator runs `vault write auth/aws/role/app auth_type=iam
/// bound_iam_principal_arn=.. token_policies=app`.
///
/// The credentials are read again at every login, from the first of these that is present:
///
/// 1. `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, with `AWS_SESSION_TOKEN`;
/// 2. `AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN`, as pods in EKS have them, exchanged at STS
///    (in `AWS_REGION`, or at `AWS_ENDPOINT_URL_STS`);
/// 3. `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or `.._FULL_URI`, as tasks in ECS and pods in EKS
///    have them;
/// 4. the instance metadata service, version 2, at 169.254.169.254 or
///    `AWS_EC2_METADATA_SERVICE_ENDPOINT`, unless `AWS_EC2_METADATA_DISABLED` is `true`.
///
/// Files such as `~/.aws/credentials` are not read: they are for people.
#[derive(Debug, Clone)]
pub struct AwsIam {
    role: Option<String>,
    region: Option<String>,
    server_id: Option<String>,
    metadata: Option<String>,
    environment: Environment,
    mount: Mount,
}

impl AwsIam {
    /// As the role of the server that has the name of the signer's role or user in IAM.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a default login would be a choice by accident")]
    pub fn new() -> Self {
        Self {
            role: None,
            region: None,
            server_id: None,
            metadata: None,
            environment: Environment::Process,
            mount: Mount::new("aws"),
        }
    }

    /// As this role of the server.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.role = Some(role.into());
        self
    }

    /// Signs for the STS of this region, such as `eu-central-1`, which the server has to be
    /// configured for. Default: the global one.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// The server's `iam_server_id_header_value`, such as its host name. Without it, the signed call
    /// is valid at every server for some minutes.
    #[must_use]
    pub fn server_id(mut self, id: impl Into<String>) -> Self {
        self.server_id = Some(id.into());
        self
    }

    /// The address of another instance metadata service, such as `http://127.0.0.1:8080`.
    #[must_use]
    pub fn metadata_address(mut self, address: impl Into<String>) -> Self {
        self.metadata = Some(address.into());
        self
    }

    /// Where the auth method is mounted below `auth/`. Default: `aws`.
    #[must_use]
    pub fn mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = Mount::new(mount);
        self
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    iam_http_request_method: &'static str,
    iam_request_url: String,
    iam_request_body: String,
    iam_request_headers: &'a str,
}

impl AuthMethod for AwsIam {
    fn describe(&self) -> String {
        format!("aws at {}", self.mount)
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
            let host = self.sts()?;
            let timing = client.timing();
            let metadata = self.metadata.as_deref();
            let credentials = credentials::find(&self.environment, metadata, timing).await?;
            let headers = self.signed(&host, &credentials, timing.network.wall())?;
            self.present(client, &host, &headers).await
        })
    }
}

impl AwsIam {
    fn sts(&self) -> Result<String, Cause> {
        let Some(region) = &self.region else { return Ok(GLOBAL_STS.to_owned()) };
        match is_region(region) {
            true => Ok(sts_of(region)),
            false => {
                Err(Cause::new(ErrorKind::Setting, format!("the region {NO_REGION}"), "correct it"))
            }
        }
    }

    fn signed(
        &self,
        host: &str,
        credentials: &Credentials,
        now: SystemTime,
    ) -> Result<Headers, Cause> {
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        let mut headers = Headers::from([
            ("content-type", Zeroizing::new(form.to_owned())),
            ("content-length", Zeroizing::new(BODY.len().to_string())),
        ]);
        if let Some(id) = &self.server_id {
            if !is_token(id) {
                let what = format!("the server id {NO_SERVER_ID}");
                return Err(Cause::new(ErrorKind::Setting, what, "correct it"));
            }
            headers.insert(SERVER_ID, Zeroizing::new(id.clone()));
        }
        let region = self.region.as_deref().unwrap_or("us-east-1");
        let call = Call { host, region, service: "sts", body: BODY };
        call.signed(headers, credentials, now).ok_or_else(unsigned)
    }

    async fn present(
        &self,
        client: &LoginClient<'_>,
        host: &str,
        headers: &Headers,
    ) -> Result<AuthToken, LoginError> {
        let json: BTreeMap<_, _> =
            headers.iter().map(|(name, value)| (name, value.as_str())).collect();
        let json = serde_json::to_vec(&json).map(Zeroizing::new).map_err(|_| unsigned())?;
        let encoded = Zeroizing::new(STANDARD.encode(json.as_slice()));
        let body = Body {
            role: self.role.as_deref(),
            iam_http_request_method: "POST",
            iam_request_url: STANDARD.encode(format!("https://{host}/")),
            iam_request_body: STANDARD.encode(BODY),
            iam_request_headers: &encoded,
        };
        let leaks = |words: &str| leaks_signature(words, headers);
        client.log_in_encoded(&self.mount.login(), &body, leaks).await
    }
}

/// STS repeats everything that was signed when it refuses a signature, and the server may pass these
/// words on.
fn leaks_signature(words: &str, headers: &Headers) -> bool {
    let token = headers.get("x-amz-security-token").map(|token| token.as_str());
    let proof = headers.get("authorization").and_then(|value| value.rsplit_once("Signature="));
    [token, proof.map(|(_, signature)| signature)]
        .into_iter()
        .flatten()
        // The server may cut the words that it passes on.
        .any(|secret| words.contains(secret.get(..24).unwrap_or(secret)))
}

fn unsigned() -> Cause {
    Cause::new(
        ErrorKind::Setting,
        "the call to AWS cannot be signed",
        "check the clock of this machine",
    )
}

const NO_SERVER_ID: &str = "is empty, or contains a space or a control character";
const NO_REGION: &str = "is not an AWS region, such as eu-central-1";
const GLOBAL_STS: &str = "sts.amazonaws.com";

fn sts_of(region: &str) -> String {
    let end = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("sts.{region}.amazonaws.com{end}")
}

fn is_region(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

pub(super) fn from_environment(env: &OfficialEnv<'_>) -> Detected {
    let region = env.parse("AWS_REGION", |text| {
        is_region(text).then(|| text.to_owned()).ok_or_else(|| NO_REGION.to_owned())
    })?;
    let server_id = env.parse("AWS_IAM_SERVER_ID", |text| {
        is_token(text).then(|| text.to_owned()).ok_or_else(|| NO_SERVER_ID.to_owned())
    })?;
    Ok(Some(Arc::new(AwsIam {
        role: check::name_from_environment(env, "AUTH_ROLE")?,
        region,
        server_id,
        metadata: None,
        environment: env.0.clone(),
        mount: Mount::from_environment(env, "aws")?,
    })))
}

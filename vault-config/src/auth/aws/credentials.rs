//! The credentials of a program in AWS, from the places where AWS puts them.

use reqwest::{Method, Url};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::super::credential::Credential;
use super::super::metadata::{MetadataRequest, unexpected_answer};
use super::super::method::is_token;
use super::super::{LoginError, check};
use crate::error::{Cause, ErrorKind};
use crate::http::settings::is_loopback;
use crate::source::env::{Environment, truth};
use crate::time::Timing;

pub(super) struct Credentials {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: SecretString,
    pub(super) token: Option<SecretString>,
}

const INSTANCE: &str = "the instance metadata service of AWS";
const CONTAINER: &str = "the container credential provider of AWS";
const STS: &str = "the security token service of AWS";

pub(super) async fn find(
    env: &Environment,
    metadata: Option<&str>,
    timing: &Timing,
) -> Result<Credentials, LoginError> {
    if let Some(found) = from_variables(env)? {
        return Ok(found);
    }
    if let Some(found) = from_web_identity(env, timing).await? {
        return Ok(found);
    }
    if let Some(found) = from_container(env, timing).await? {
        return Ok(found);
    }
    let disabled = env.get("AWS_EC2_METADATA_DISABLED")?;
    let disabled = disabled.map(|text| truth(&text)).transpose().map_err(|what| {
        setting("AWS_EC2_METADATA_DISABLED", &what, "use true or false, or unset it")
    })?;
    match disabled {
        Some(true) => Err(nothing_found().into()),
        _ => from_instance(env, metadata, timing).await,
    }
}

fn from_variables(env: &Environment) -> Result<Option<Credentials>, Cause> {
    let text = |name: &str| {
        let Some(value) = env.get(name)? else { return Ok(None) };
        match is_token(&value) {
            true => Ok(Some(SecretString::from(value.as_str()))),
            false => Err(setting(name, "contains a space or a control character", "remove it")),
        }
    };
    match (text("AWS_ACCESS_KEY_ID")?, text("AWS_SECRET_ACCESS_KEY")?) {
        (None, None) => Ok(None),
        (Some(id), Some(secret_access_key)) => Ok(Some(Credentials {
            access_key_id: id.expose_secret().to_owned(),
            secret_access_key,
            token: text("AWS_SESSION_TOKEN")?,
        })),
        (Some(_), None) => Err(half("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
        (None, Some(_)) => Err(half("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")),
    }
}

/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
async fn from_web_identity(
    env: &Environment,
    timing: &Timing,
) -> Result<Option<Credentials>, LoginError> {
    let (file, arn) = (env.get("AWS_WEB_IDENTITY_TOKEN_FILE")?, env.get("AWS_ROLE_ARN")?);
    let (Some(file), Some(arn)) = (file, arn) else { return Ok(None) };
    let token = Credential::file(file.as_str()).read().await?;
    check::jwt(&format!("{} holds", file.as_str()), &token)?;
    let session = env.get("AWS_ROLE_SESSION_NAME")?;
    let mut url = Url::parse("http://form").map_err(|_| nothing_found())?;
    url.query_pairs_mut().extend_pairs([
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", arn.as_str()),
        ("RoleSessionName", session.as_ref().map_or("vault-config", |name| name.as_str())),
        ("WebIdentityToken", token.expose_secret()),
    ]);
    let body = Zeroizing::new(url.query().unwrap_or_default().to_owned());
    let url = sts(env)?;
    let request = MetadataRequest {
        method: Method::POST,
        body: Some(body),
        ..MetadataRequest::get(STS, "AWS_ENDPOINT_URL_STS", &url, &[])
    };
    let answer = request.send(timing).await?;
    let text = answer.text().unwrap_or_default();
    let [id, secret, token] =
        ["AccessKeyId", "SecretAccessKey", "SessionToken"].map(|name| element(text, name));
    match (id, secret, token) {
        (Some(id), Some(secret), Some(token)) => Ok(Some(Credentials {
            access_key_id: id.to_owned(),
            secret_access_key: secret.into(),
            token: Some(token.into()),
        })),
        _ => Err(unexpected_answer(format!("{STS} returned no credentials")).into()),
    }
}

fn sts(env: &Environment) -> Result<String, Cause> {
    for name in ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"] {
        if let Some(address) = env.get(name)? {
            return Ok(address.as_str().to_owned());
        }
    }
    let region = match env.get("AWS_REGION")? {
        None => env.get("AWS_DEFAULT_REGION")?,
        region => region,
    };
    let Some(region) = region else { return Ok(format!("https://{}/", super::GLOBAL_STS)) };
    match super::is_region(&region) {
        true => Ok(format!("https://{}/", super::sts_of(&region))),
        false => Err(setting("AWS_REGION", super::NO_REGION, "correct it")),
    }
}

/// The text of an XML element whose text needs no unescaping: ids, and base64.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim()).filter(|text| is_token(text))
}

/// The answer of the container's and the instance's service.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InstanceCredentials {
    access_key_id: String,
    secret_access_key: SecretString,
    token: Option<SecretString>,
}

impl InstanceCredentials {
    fn credentials(self, service: &str) -> Result<Credentials, LoginError> {
        let token = self.token.as_ref().map_or("none", |token| token.expose_secret());
        let usable = [&self.access_key_id, self.secret_access_key.expose_secret(), token];
        if !usable.into_iter().all(is_token) {
            return Err(
                unexpected_answer(format!("{service} returned no usable credentials")).into()
            );
        }
        Ok(Credentials {
            access_key_id: self.access_key_id,
            secret_access_key: self.secret_access_key,
            token: self.token,
        })
    }
}

/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>
async fn from_container(
    env: &Environment,
    timing: &Timing,
) -> Result<Option<Credentials>, LoginError> {
    let relative = env.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")?;
    let full = env.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")?;
    let url = match (relative, full) {
        (Some(path), _) => format!("http://169.254.170.2{}", path.as_str()),
        (None, Some(url)) => {
            check_may_receive_token(&url)?;
            url.as_str().to_owned()
        }
        (None, None) => return Ok(None),
    };
    let token = match env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")? {
        Some(path) => Some(Credential::file(path.as_str()).read().await?),
        None => env
            .get("AWS_CONTAINER_AUTHORIZATION_TOKEN")?
            .map(|token| SecretString::from(token.as_str())),
    };
    let headers: Vec<_> = token.iter().map(|token| ("authorization", token)).collect();
    let variable = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    let answer = MetadataRequest::get(CONTAINER, variable, &url, &headers).send(timing).await?;
    answer.json::<InstanceCredentials>(CONTAINER)?.credentials(CONTAINER).map(Some)
}

/// The token is sent over plain http only to the containers' own addresses, as AWS's clients do.
fn check_may_receive_token(url: &str) -> Result<(), Cause> {
    const CONTAINER_ADDRESSES: [&str; 3] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];
    let near = Url::parse(url).is_ok_and(|url| {
        let is_container = url.host_str().is_some_and(|host| CONTAINER_ADDRESSES.contains(&host));
        url.scheme() == "https" || is_loopback(&url) || is_container
    });
    match near {
        true => Ok(()),
        false => Err(setting(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "is neither https nor an address that only this container reaches",
            "correct it",
        )),
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>
async fn from_instance(
    env: &Environment,
    metadata: Option<&str>,
    timing: &Timing,
) -> Result<Credentials, LoginError> {
    const VARIABLE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
    let named = env.get(VARIABLE)?;
    let address = metadata.or(named.as_ref().map(|address| address.as_str()));
    let address = address.unwrap_or("http://169.254.169.254").trim_end_matches('/');
    let seconds = SecretString::from("60");
    let seconds = [("x-aws-ec2-metadata-token-ttl-seconds", &seconds)];
    let url = format!("{address}/latest/api/token");
    let get = |url, headers| MetadataRequest::get(INSTANCE, VARIABLE, url, headers);
    let request = MetadataRequest { method: Method::PUT, ..get(&url, &seconds) };
    let token = request.send(timing).await.map_err(|error| nothing_else(error.into_cause()))?;
    let token = token.text().map(SecretString::from);
    let token =
        token.ok_or_else(|| unexpected_answer(format!("{INSTANCE} returned no session token")))?;
    let proof = [("x-aws-ec2-metadata-token", &token)];
    let list = format!("{address}/latest/meta-data/iam/security-credentials/");
    let answer = get(&list, &proof).send(timing).await?;
    let role =
        answer.text().and_then(|text| text.lines().next()).filter(|role| check::is_name(role));
    let role = role.ok_or_else(|| {
        unexpected_answer(format!("{INSTANCE} returned no role for this instance"))
    })?;
    let url = format!("{list}{role}");
    let answer = get(&url, &proof).send(timing).await?;
    answer.json::<InstanceCredentials>(INSTANCE)?.credentials(INSTANCE)
}

const LOOKED_FOR: &str = "looked for AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE with \
    AWS_ROLE_ARN, AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI, and the instance metadata service";

fn nothing_found() -> Cause {
    Cause::new(
        ErrorKind::NoLogin,
        format!(
            "no AWS credentials were found; {LOOKED_FOR}, which AWS_EC2_METADATA_DISABLED turns off"
        ),
        "run this program with a role: an instance profile, a task role, or a service account's role",
    )
}

/// The instance metadata service is the last place, so an error of it lists the others.
fn nothing_else(cause: Cause) -> Cause {
    match cause.kind {
        ErrorKind::Connection => cause.hint(LOOKED_FOR),
        _ => cause,
    }
}

fn half(set: &str, missing: &str) -> Cause {
    setting(set, &format!("needs {missing} too"), &format!("set {missing}, or unset {set}"))
}

fn setting(name: &str, message: &str, help: &str) -> Cause {
    Cause::new(ErrorKind::Setting, message, help).at(format!("env {name}"))
}

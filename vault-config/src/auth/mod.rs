//! Ways to log in; [`docs::connecting`](crate::docs::connecting) says what the administrator runs for
//! each, and what it trusts.
//!
//! `VAULT_AUTH_METHOD` names one; `VAULT_AUTH_ROLE` and `VAULT_AUTH_MOUNT` say as which role of the
//! server, and where it has the method. Every variable is also read as `BAO_..`, which goes first.
//!
//! | type | name | variables | what it does |
//! |---|---|---|---|
//! | [`Token`] | `token` | `VAULT_TOKEN` | uses a token that somebody else made |
//! | [`WrappedToken`] | `wrapped_token` | `VAULT_WRAPPED_TOKEN`, also with `_FILE`; `VAULT_WRAPPED_TOKEN_MADE_BY` | unwraps a token that somebody else made |
//! | [`AppRole`] | `approle` | `VAULT_ROLE_ID`, and `VAULT_SECRET_ID` or `VAULT_WRAPPED_SECRET_ID`, each also with `_FILE` | logs in as a role |
//! | [`Kubernetes`] | `kubernetes` | `VAULT_AUTH_ROLE`; `VAULT_KUBERNETES_TOKEN_FILE` for another file than the pod's own | logs in with the service account of a pod |
//! | [`Jwt`] | `jwt` | `VAULT_JWT` or `VAULT_JWT_FILE` | logs in with a token of an identity provider |
//! | [`UserPass`] | `userpass` | `VAULT_USERNAME`, and `VAULT_PASSWORD` or `VAULT_PASSWORD_FILE` | logs in with a password that the server keeps |
//! | [`Ldap`] | `ldap` | as `userpass` | logs in with a password that a directory checks |
//! | [`Radius`] | `radius` | as `userpass` | logs in with a password that a RADIUS server checks |
//! | [`Cert`] | `cert` | `VAULT_CLIENT_CERT`, `VAULT_CLIENT_KEY` | logs in with the connection's TLS certificate |
//! | `AwsIam`, with the feature `aws` | `aws` | AWS's own; `VAULT_AUTH_ROLE`, `VAULT_AWS_REGION`, `VAULT_AWS_IAM_SERVER_ID` | logs in as a role of AWS IAM |
//! | [`Gcp`] | `gcp` | `VAULT_AUTH_ROLE` | logs in with the service account of a machine in Google Cloud |
//! | [`Azure`] | `azure` | `VAULT_AUTH_ROLE`; `VAULT_AZURE_RESOURCE`, `AZURE_CLIENT_ID` | logs in with the managed identity of a machine in Azure |
//! | [`GitHub`] | `github` | `VAULT_AUTH_GITHUB_TOKEN`, also with `_FILE` | logs in with a personal access token |
//! | [`TokenFile`] | `token_file` | `VAULT_TOKEN_FILE`, else `~/.vault-token` | uses the token in a file, read at every login |
//! | [`Agent`] | `none` | `VAULT_AGENT_ADDR` | sends no token: a local agent adds it |
//!
//! Without `VAULT_AUTH_METHOD` the first that is present is used: `VAULT_TOKEN` or
//! `VAULT_WRAPPED_TOKEN`, `VAULT_ROLE_ID`,
//! `VAULT_AGENT_ADDR`, `VAULT_AUTH_ROLE` where there is a Kubernetes token, a token file. Which one
//! it was is logged at `debug`.

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::error::{Cause, ErrorKind};
use crate::http::{Call, Http, Lane, Repeat, Reply, seconds};
use crate::source::env::Environment;
use crate::source::env::OfficialEnv;
use crate::source::file;
use crate::text::printable;
use crate::value::Value;

mod agent;
mod approle;
#[cfg(feature = "aws")]
mod aws;
mod azure;
mod cert;
mod check;
mod gcp;
mod github;
mod jwt;
mod kubernetes;
mod ldap;
mod metadata;
mod password;
mod radius;
mod token;
mod token_file;
mod userpass;
mod wrapped_token;
mod wrapping;

pub use agent::Agent;
pub use approle::AppRole;
#[cfg(feature = "aws")]
pub use aws::AwsIam;
pub use azure::Azure;
pub use cert::Cert;
pub use gcp::Gcp;
pub use github::GitHub;
pub use jwt::Jwt;
pub use kubernetes::Kubernetes;
pub use ldap::Ldap;
pub use radius::Radius;
pub use token::Token;
pub use token_file::TokenFile;
pub use userpass::UserPass;
pub use wrapped_token::WrappedToken;

/// A way to log in. Implement it for one of your own.
///
/// ```
/// use vault_config::auth::{AuthMethod, AuthToken, LoginClient, LoginError, LoginFuture};
/// use vault_config::{Vault, secrecy::{ExposeSecret, SecretString}};
///
/// #[derive(Debug)]
/// struct Okta { name: String, password: SecretString }
///
/// impl AuthMethod for Okta {
///     fn describe(&self) -> String {
///         format!("okta at auth/okta as {}", self.name)
///     }
///
///     fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a> {
///         Box::pin(async move {
///             let body = [("password", self.password.expose_secret())];
///             let body = std::collections::BTreeMap::from(body);
///             client.post(&format!("auth/okta/login/{}", self.name), &body).await
///         })
///     }
/// }
///
/// # fn main() -> Result<(), vault_config::Error> {
/// let vault = Vault::builder()
///     .address("http://127.0.0.1:8200")
///     .auth(Okta { name: "billing".into(), password: "hunter2".into() })
///     .build()?;
/// # Ok(()) }
/// ```
pub trait AuthMethod: fmt::Debug + Send + Sync + 'static {
    /// What errors and logs call it. Never anything secret.
    fn describe(&self) -> String;

    /// Gets a token. Called again whenever a new one is needed, so files are read here and not
    /// before.
    fn login<'a>(&'a self, client: &'a LoginClient<'a>) -> LoginFuture<'a>;

    /// Whether a second login can give another token, as a fixed token's cannot.
    fn can_repeat(&self) -> bool {
        true
    }

    /// The file whose change means that there is something new to log in with.
    fn watched_file(&self) -> Option<&Path> {
        None
    }

    /// Whether several wrong tries lock the account, as those of AppRole, userpass and LDAP do. A secret
    /// that was refused is then sent again only after 20 minutes and more, else every minute.
    fn locks_accounts(&self) -> bool {
        true
    }
}

/// What [`AuthMethod::login`] returns.
pub type LoginFuture<'a> = Pin<Box<dyn Future<Output = Result<AuthToken, LoginError>> + Send + 'a>>;

/// A token, or none where a local agent adds one.
#[derive(Debug, Clone)]
pub struct AuthToken {
    secret: Option<SecretString>,
    granted: Option<Granted>,
}

/// What the server says of a token that it made for a login.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Granted {
    /// Zero: it never ends. Unknown where the answer does not say.
    pub(crate) ttl: Option<Duration>,
    pub(crate) renewable: bool,
    /// Zero: without limit.
    pub(crate) uses: u64,
}

impl Granted {
    /// From a login's `auth`, whose time to live is called `lease_duration`, or from
    /// `lookup-self`, which calls it `ttl`.
    pub(crate) fn read(facts: &Value, ttl: &str, kind: &str) -> Self {
        let batch = facts.get(kind).and_then(Value::as_str) == Some("batch");
        Self {
            ttl: facts.get(ttl).filter(|ttl| ttl.as_u64().is_some()).map(|ttl| seconds(Some(ttl))),
            renewable: !batch && facts.get("renewable").and_then(Value::as_bool) == Some(true),
            uses: facts.get("num_uses").and_then(Value::as_u64).unwrap_or_default(),
        }
    }
}

impl AuthToken {
    /// A token made elsewhere.
    ///
    /// # Errors
    /// A token that is empty or holds blanks or control characters: it would never reach the server
    /// whole.
    pub fn new(secret: SecretString) -> Result<Self, LoginError> {
        let text = secret.expose_secret();
        if text.is_empty() {
            return Err(LoginError::new(
                "the token is empty",
                "give a token, or another way to log in",
            ));
        }
        if !is_token(text) {
            return Err(LoginError::new(
                "the token holds a blank, a line break or another character that no token has",
                "take it away; a token file may end in a line break, a variable may not",
            ));
        }
        Ok(Self { secret: Some(secret), granted: None })
    }

    pub(crate) fn none() -> Self {
        Self { secret: None, granted: None }
    }

    pub(crate) fn secret(&self) -> Option<&SecretString> {
        self.secret.as_ref()
    }

    /// Nothing for a token that was made elsewhere: it is not ours to revoke.
    pub(crate) fn granted(&self) -> Option<&Granted> {
        self.granted.as_ref()
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Why there is no token.
#[derive(Debug)]
pub struct LoginError(Cause);

impl LoginError {
    /// `what` happened and what to do about it (`help`). Neither may hold a secret.
    pub fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self(Cause::new(ErrorKind::LoginRefused, what, help))
    }

    pub(crate) fn into_cause(self) -> Cause {
        self.0
    }
}

impl From<Cause> for LoginError {
    fn from(cause: Cause) -> Self {
        Self(cause)
    }
}

/// What a login may send: to the configured server, in the namespace to log in to, without a token.
#[derive(Debug)]
pub struct LoginClient<'a> {
    http: &'a Http,
}

impl<'a> LoginClient<'a> {
    pub(crate) fn new(http: &'a Http) -> Self {
        Self { http }
    }

    /// Posts `body` as JSON to `path` (such as `auth/approle/login`) and takes the token from the
    /// answer's `auth`.
    ///
    /// It is tried again only when it cannot have arrived, or when Vault itself says that it did
    /// not look at it (sealed, standby, rate limited): what can be used once is never sent twice.
    ///
    /// # Errors
    /// The server's refusal in its own words, or why it could not be reached.
    pub async fn post(&self, path: &str, body: &impl Serialize) -> Result<AuthToken, LoginError> {
        let body = serde_json::to_vec(body).map(Zeroizing::new).map_err(|_| {
            LoginError::new(
                "the login's body cannot be written as JSON",
                "see the login method's code",
            )
        })?;
        let call = Call {
            namespace: self.http.settings().login_namespace(),
            lane: Lane::Issue,
            ..Call::post(path, body.clone(), Repeat::UnlessArrived)
        };
        let reply = self.http.send(&call).await?;
        if !reply.ok() {
            let repeats = repeats(&reply.all_words(), &body);
            let cause = refused(reply, path);
            return Err(if repeats { withheld(cause) } else { cause }.into());
        }
        let auth = reply.json().get("auth").unwrap_or(&Value::Null);
        match auth.get("client_token").and_then(Value::as_str) {
            Some(token) if is_token(token) => Ok(AuthToken {
                secret: Some(token.into()),
                granted: Some(Granted::read(auth, "lease_duration", "token_type")),
            }),
            Some(token) if !token.is_empty() => Err(LoginError(Cause::new(
                ErrorKind::Protocol,
                "the server accepted the login and gave a token with characters that no token has",
                "something between here and the server may have changed the answer",
            ))),
            _ => Err(LoginError(Cause::new(
                ErrorKind::Protocol,
                "the server accepted the login and gave no token",
                "see that the path is a login of an auth method",
            ))),
        }
    }
}

/// What a login's body may hold that is no secret.
const PUBLIC: [&str; 7] =
    ["role", "name", "username", "subscription_id", "resource_group_name", "vm_name", "vmss_name"];

/// A server may repeat what it was sent; role_id and secret_id are never shown. All of its words are looked at, as it
/// said them: what is cut or escaped for showing would hide a secret that is still legible.
fn repeats(words: &str, body: &[u8]) -> bool {
    // Shorter ones are words of any sentence, and no secrets.
    const SHORTEST: usize = 8;
    let mut sent = std::str::from_utf8(body).ok().and_then(|body| Value::from_json(body).ok());
    if let Some(sent) = &mut sent {
        // No secrets: the server's sentence is about them.
        for public in PUBLIC {
            sent.remove(public);
        }
    }
    sent.is_some_and(|sent| sent.appears_in(words, SHORTEST))
}

fn withheld(cause: Cause) -> Cause {
    let what = "the server refused the login (its words repeat what was sent and are withheld)";
    Cause { message: what.to_owned(), ..cause }
}

fn refused(reply: Reply, path: &str) -> Cause {
    // A gateway's page refuses no login.
    if !reply.speaks_vault() {
        return reply.into_cause();
    }
    match reply.status {
        400 if !reply.words().is_empty() => Cause {
            is_wrong_secret: !depends_on_what_is_away(&reply),
            ..Cause::new(ErrorKind::LoginRefused, format!("{} (HTTP 400)", reply.words()), "")
        },
        403 if !reply.words().contains("permission denied") && !reply.words().is_empty() => {
            Cause::new(ErrorKind::LoginRefused, format!("{} (HTTP 403)", reply.words()), "")
        }
        403 => Cause::new(
            ErrorKind::LoginRefused,
            format!("{} (HTTP 403)", reply.words()),
            format!(
                "check that the auth method is mounted at {} (vault auth list) and that the namespace is right\n\
                 the server says the same while a login is locked after several wrong tries: vault read \
                 sys/locked-users",
                path.split_once("/login").map_or(path, |(mount, _)| mount)
            ),
        ),
        404 if !reply.no_namespace() => Cause::new(
            ErrorKind::LoginRefused,
            "the server knows no such login (HTTP 404)",
            format!("check the auth mount and the namespace: {path} was asked for"),
        ),
        _ => reply.into_cause(),
    }
}

/// The server could not ask whoever knows the secret, such as a directory: the secret may be right.
fn depends_on_what_is_away(reply: &Reply) -> bool {
    let words = reply.words().to_lowercase();
    [
        "error connecting",
        "unable to connect",
        "connection refused",
        "connection reset",
        "network error",
        "no such host",
        "timeout",
        "timed out",
        "deadline exceeded",
        "unreachable",
    ]
    .iter()
    .any(|part| words.contains(part))
}

/// The way to log in that the environment describes.
pub(crate) fn detect(environment: &Environment) -> Result<Arc<dyn AuthMethod>, Cause> {
    let env = OfficialEnv(environment);
    let Some((variable, chosen)) = env.get("AUTH_METHOD")? else {
        return first_present(&env, Path::new(kubernetes::SERVICE_ACCOUNT_TOKEN));
    };
    let missing = |needs: &str| {
        Cause::new(
            ErrorKind::NoLogin,
            format!("the login it names needs {needs}"),
            format!("set {needs}"),
        )
        .at(format!("env {variable}"))
    };
    let Some((_, needs, _, read)) = METHODS.iter().find(|(name, ..)| *name == chosen.as_str())
    else {
        let names: Vec<_> = METHODS.iter().map(|(name, ..)| *name).collect();
        return Err(Cause::new(
            ErrorKind::Setting,
            "names no login of vault-config",
            format!("use one of {}", names.join(", ")),
        )
        .at(format!("env {variable}")));
    };
    read(&env).map_err(|cause| cause.at(format!("env {variable}")))?.ok_or_else(|| missing(needs))
}

/// `None` without the variable that the method needs.
type Found = Result<Option<Arc<dyn AuthMethod>>, Cause>;
type FromEnvironment = fn(&OfficialEnv<'_>) -> Found;

/// What `VAULT_AUTH_METHOD` may name, what it needs at least, the variables that nothing else reads, and who reads it.
const METHODS: &[(&str, &str, &[&str], FromEnvironment)] = &[
    ("token", "VAULT_TOKEN", &["TOKEN"], token::from_environment),
    (
        "wrapped_token",
        "VAULT_WRAPPED_TOKEN or VAULT_WRAPPED_TOKEN_FILE",
        &["WRAPPED_TOKEN", "WRAPPED_TOKEN_MADE_BY"],
        wrapped_token::from_environment,
    ),
    (
        "approle",
        "VAULT_ROLE_ID",
        &["ROLE_ID", "SECRET_ID", "WRAPPED_SECRET_ID"],
        approle::from_environment,
    ),
    ("kubernetes", "VAULT_AUTH_ROLE", &[kubernetes::TOKEN_FILE], kubernetes::from_environment),
    ("jwt", "VAULT_JWT or VAULT_JWT_FILE", &["JWT"], jwt::from_environment),
    ("userpass", password::NEEDS, &["USERNAME", "PASSWORD"], userpass::from_environment),
    ("ldap", password::NEEDS, &[], ldap::from_environment),
    ("radius", password::NEEDS, &[], radius::from_environment),
    (
        "cert",
        "VAULT_CLIENT_CERT and VAULT_CLIENT_KEY",
        &["CLIENT_CERT", "CLIENT_CERT_BYTES", "CLIENT_KEY", "CLIENT_KEY_BYTES"],
        cert::from_environment,
    ),
    ("aws", "", &["AWS_REGION", "AWS_IAM_SERVER_ID"], aws),
    ("gcp", "VAULT_AUTH_ROLE", &[], gcp::from_environment),
    ("azure", "VAULT_AUTH_ROLE", &["AZURE_RESOURCE"], azure::from_environment),
    (
        "github",
        "VAULT_AUTH_GITHUB_TOKEN or VAULT_AUTH_GITHUB_TOKEN_FILE",
        &["AUTH_GITHUB_TOKEN"],
        github::from_environment,
    ),
    (
        "token_file",
        "VAULT_TOKEN_FILE, or a token in ~/.vault-token",
        &[],
        token_file::from_environment,
    ),
    ("none", "", &[], |_| Ok(Some(Arc::new(Agent::new())))),
];

/// What every method reads.
const OF_ALL: [&str; 4] = ["AUTH_METHOD", "AUTH_ROLE", "AUTH_MOUNT", "AUTH_NAMESPACE"];

/// The variables that say how to log in to Vault, of those that nothing else reads: a platform's own are set wherever
/// the platform is, and a token in the home directory is of who works there. Each may also name a file.
pub(crate) fn configured(environment: &Environment) -> Vec<String> {
    let names = METHODS.iter().flat_map(|(_, _, variables, _)| *variables).chain(&OF_ALL);
    let variables = names.flat_map(|name| {
        ["BAO", "VAULT"].map(|prefix| [format!("{prefix}_{name}"), format!("{prefix}_{name}_FILE")])
    });
    variables.flatten().filter(|name| environment.is_set(name)).collect()
}

#[cfg(feature = "aws")]
fn aws(env: &OfficialEnv<'_>) -> Found {
    aws::from_environment(env)
}

#[cfg(not(feature = "aws"))]
fn aws(_: &OfficialEnv<'_>) -> Found {
    Err(Cause::new(
        ErrorKind::Setting,
        "names a login that vault-config was built without",
        "turn on its feature `aws`",
    ))
}

/// When nothing names a method.
fn first_present(
    env: &OfficialEnv<'_>,
    kubernetes_token: &Path,
) -> Result<Arc<dyn AuthMethod>, Cause> {
    let agent = || -> Found { Ok(env.get("AGENT_ADDR")?.map(|_| Arc::new(Agent::new()) as _)) };
    let ways: [&dyn Fn() -> Found; 6] = [
        // First, to tell a token that would hide it.
        &|| wrapped_token::from_environment(env),
        &|| token::from_environment(env),
        &|| approle::from_environment(env),
        &agent,
        &|| kubernetes::if_present(env, kubernetes_token),
        &|| token_file::from_environment(env),
    ];
    for way in ways {
        if let Some(found) = way()? {
            let method = printable(&found.describe());
            tracing::debug!(method, "logs in by the first way that is present");
            return Ok(found);
        }
    }
    Err(nothing_present(kubernetes_token))
}

fn nothing_present(kubernetes_token: &Path) -> Cause {
    let cause = Cause::new(
        ErrorKind::NoLogin,
        format!(
            "nothing to log in with was found; looked for VAULT_TOKEN or BAO_TOKEN, VAULT_WRAPPED_TOKEN or \
             VAULT_WRAPPED_TOKEN_FILE, VAULT_ROLE_ID or \
             VAULT_ROLE_ID_FILE, VAULT_AGENT_ADDR, VAULT_AUTH_ROLE with VAULT_KUBERNETES_TOKEN_FILE or the file {}, \
             VAULT_TOKEN_FILE, and the file ~/.vault-token",
            kubernetes_token.display()
        ),
        "set VAULT_ROLE_ID and VAULT_SECRET_ID, or one of the others; VAULT_AUTH_METHOD names any other login",
    );
    match kubernetes_token.is_file() {
        true => {
            cause.hint("this pod has a Kubernetes token: VAULT_AUTH_ROLE=<role> logs in with it")
        }
        false => cause,
    }
}

/// The text of a file without the line break at its end.
async fn read_file(path: &Path) -> Result<SecretString, LoginError> {
    let bytes = bytes_of(path).await?;
    match std::str::from_utf8(&bytes).map(str::trim) {
        Ok(text) if !text.is_empty() => Ok(SecretString::from(text)),
        _ => Err(not_text(path)),
    }
}

async fn bytes_of(path: &Path) -> Result<file::Bytes, LoginError> {
    file::read(path, file::MOST_OF_TEXT).await.map_err(|error| {
        LoginError::new(
            format!("{} cannot be read: {error}", path.display()),
            "name a file that this process may read",
        )
    })
}

fn not_text(path: &Path) -> LoginError {
    LoginError::new(
        format!("{} is empty or not text", path.display()),
        "write the token or id into it, and nothing else",
    )
}

/// Of two variables one would be ignored.
fn both(variable: &str, other: &str) -> Cause {
    Cause::new(
        ErrorKind::Setting,
        format!("{variable} and {other} are both set"),
        "unset one of them",
    )
    .at(format!("env {variable}"))
}

/// The variable itself, or the file that its `_FILE` names. Both at once are an error: one would be
/// ignored.
fn value_or_file(env: &OfficialEnv<'_>, name: &str) -> Result<Option<Given>, Cause> {
    let value = env.get(name)?;
    let file = env.get(&format!("{name}_FILE"))?;
    match (value, file) {
        (Some((variable, _)), Some((file, _))) => Err(both(&variable, &file)),
        (Some((variable, value)), None) => {
            if value.trim() != value.as_str() {
                return Err(Cause::new(
                    ErrorKind::Setting,
                    "begins or ends with a blank or a line break",
                    format!("take it away: {variable}=\"$(cat file)\" does"),
                )
                .at(format!("env {variable}")));
            }
            Ok(Some(Given::Value(SecretString::from(value.as_str()))))
        }
        (None, Some((_, path))) => Ok(Some(Given::File(path.as_str().into()))),
        (None, None) => Ok(None),
    }
}

/// `auth/team/approle/` is taken for `team/approle`.
fn below_auth(mount: &str) -> String {
    let mount = mount.trim_matches('/');
    mount.strip_prefix("auth/").unwrap_or(mount).to_owned()
}

/// Where the method is mounted below `auth/`.
fn mount(env: &OfficialEnv<'_>, usual: &str) -> Result<String, Cause> {
    let read = |text: &str| {
        let mount = below_auth(text);
        let wrong = || check::NO_MOUNT.to_owned();
        check::is_mount(&mount).then_some(mount).ok_or_else(wrong)
    };
    Ok(env.parse("AUTH_MOUNT", read)?.unwrap_or_else(|| usual.to_owned()))
}

/// The role of the auth method.
fn role(env: &OfficialEnv<'_>) -> Result<Option<String>, Cause> {
    env.parse("AUTH_ROLE", |text| {
        check::is_name(text).then(|| text.to_owned()).ok_or_else(|| check::NO_NAME.to_owned())
    })
}

/// A value, or the file it is read from at every login.
#[derive(Debug, Clone)]
enum Given {
    Value(SecretString),
    File(std::path::PathBuf),
}

impl Given {
    async fn get(&self) -> Result<SecretString, LoginError> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::File(path) => read_file(path).await,
        }
    }

    fn file(&self) -> Option<&Path> {
        match self {
            Self::Value(_) => None,
            Self::File(path) => Some(path),
        }
    }

    /// How a sentence about it begins.
    fn holds(&self, value_is: &str) -> String {
        match self {
            Self::Value(_) => value_is.to_owned(),
            Self::File(path) => format!("{} holds", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(variables: &[(&str, &str)], kubernetes_token: &str) -> Result<String, Cause> {
        let environment = Environment::given(variables.iter().copied());
        let token = Path::new(env!("CARGO_MANIFEST_DIR")).join(kubernetes_token);
        first_present(&OfficialEnv(&environment), &token).map(|method| method.describe())
    }

    #[test]
    fn the_first_way_that_is_present_is_taken() {
        let all = [
            ("VAULT_TOKEN", "t"),
            ("VAULT_ROLE_ID", "r"),
            ("VAULT_AGENT_ADDR", "http://127.0.0.1:1"),
            ("VAULT_AUTH_ROLE", "billing"),
            ("VAULT_TOKEN_FILE", "/t"),
        ];
        let found = [
            "token from VAULT_TOKEN",
            "approle at auth/approle",
            "none (an agent adds the token)",
            "kubernetes at auth/kubernetes as \"billing\"",
            "token file /t",
        ];
        // Any file stands for the token of a pod.
        for (first, found) in found.iter().enumerate() {
            assert_eq!(present(&all[first..], "Cargo.toml").unwrap(), *found);
        }
        assert_eq!(present(&all[3..], "no-such-file").unwrap(), found[4]);
        let named = [("VAULT_KUBERNETES_TOKEN_FILE", "/k"), ("VAULT_TOKEN_FILE", "/t")];
        assert_eq!(present(&named, "no-such-file").unwrap_err().help, "set VAULT_AUTH_ROLE");
    }

    /// Whatever a method reads besides what its platform sets says that there is to be a login.
    #[test]
    fn every_variable_of_a_login_is_one_that_configures_it() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/auth");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let sources: Vec<_> = files
            .filter(|path| path.is_file())
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        let reads = ["env.get(\"", "env.parse(\"", "value_or_file(env, \""];
        let mut names: Vec<_> = sources
            .iter()
            .flat_map(|source| reads.map(|read| source.split(read).skip(1)))
            .flatten()
            .filter_map(|rest| rest.split_once('"').map(|(name, _)| name))
            // An address is no login.
            .filter(|name| *name != "AGENT_ADDR")
            .collect();
        names.extend([kubernetes::TOKEN_FILE, "AUTH_NAMESPACE"]);
        assert!(names.len() > 20, "{names:?}");
        for name in names {
            for variable in [format!("VAULT_{name}"), format!("BAO_{name}")] {
                let environment = Environment::given([(variable.as_str(), "x")]);
                assert_eq!(configured(&environment), [variable.as_str()]);
                let environment = Environment::given([(variable.as_str(), "")]);
                assert!(configured(&environment).is_empty(), "{variable}");
            }
        }
        for others in ["AZURE_CLIENT_ID", "AWS_ROLE_ARN", "HOME", "VAULT_NAMESPACE", "VAULT_CACERT"]
        {
            assert!(configured(&Environment::given([(others, "x")])).is_empty(), "{others}");
        }
    }

    #[test]
    fn a_pod_without_a_role_is_told_what_it_lacks() {
        let cause = present(&[], "Cargo.toml").unwrap_err();
        assert_eq!(cause.kind, ErrorKind::NoLogin);
        assert!(cause.help.contains("VAULT_AUTH_ROLE=<role> logs in with it"), "{}", cause.help);
        let cause = present(&[], "no-such-file").unwrap_err();
        assert!(!cause.help.contains("this pod"), "{}", cause.help);
        assert!(cause.message.contains("no-such-file"), "{}", cause.message);
    }
}

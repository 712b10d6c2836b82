//! Ways to log in. [`docs::connecting`](crate::docs::connecting) has the administrator's commands for
//! each, and what each trusts.
//!
//! `VAULT_AUTH_METHOD` names the login. `VAULT_AUTH_ROLE` is the role of the server to log in as, and
//! `VAULT_AUTH_MOUNT` is where the method is mounted. Every variable is also read as `BAO_..`, which
//! has priority.
//!
//! | type | name | variables | what it does |
//! |---|---|---|---|
//! | [`Token`] | `token` | `VAULT_TOKEN` | uses a token that was issued elsewhere |
//! | [`WrappedToken`] | `wrapped_token` | `VAULT_WRAPPED_TOKEN`, also with `_FILE`; `VAULT_WRAPPED_TOKEN_MADE_BY` | unwraps a token that was issued elsewhere |
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
//! Without `VAULT_AUTH_METHOD` the first of these that is present is used: `VAULT_WRAPPED_TOKEN` or
//! `VAULT_TOKEN`, `VAULT_ROLE_ID`, `VAULT_AGENT_ADDR`, `VAULT_AUTH_ROLE` together with a Kubernetes
//! token, a token file. A log line at `debug` names it.

// The contract, and what the methods share.
mod check;
mod client;
mod credential;
mod detect;
mod metadata;
mod method;
mod mount;
mod password;
mod refusal;
mod wrapping;

// One file per method.
mod agent;
mod approle;
#[cfg(feature = "aws")]
mod aws;
mod azure;
mod cert;
mod gcp;
mod github;
mod jwt;
mod kubernetes;
mod ldap;
mod radius;
mod token;
mod token_file;
mod userpass;
mod wrapped_token;

pub use client::LoginClient;
pub use method::{AuthMethod, AuthToken, LoginError, LoginFuture};

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

pub(crate) use detect::{configured, detect};
pub(crate) use method::TokenGrant;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::credential::Credential;
use super::detect::Detected;
use super::{AuthMethod, AuthToken, LoginClient, LoginFuture};
use crate::source::env::OfficialEnv;
use crate::text::printable;

/// The token in a file, such as `~/.vault-token` or an agent's sink.
///
/// The environment: `VAULT_TOKEN_FILE`, else `~/.vault-token`. The administrator runs an agent whose
/// `sink "file"` is that file. The file is read again at every login.
#[derive(Debug, Clone)]
pub struct TokenFile {
    path: PathBuf,
}

impl TokenFile {
    /// The file holds only the token; blanks and line breaks around it are removed.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl AuthMethod for TokenFile {
    fn describe(&self) -> String {
        printable(&format!("token file {}", self.path.display()))
    }

    fn login<'a>(&'a self, _: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async move { AuthToken::new(Credential::file(&self.path).read().await?) })
    }

    fn watched_file(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn locks_accounts(&self) -> bool {
        false
    }
}

pub(super) fn from_environment(env: &OfficialEnv<'_>) -> Detected {
    if let Some((_, path)) = env.get("TOKEN_FILE")? {
        return Ok(Some(Arc::new(TokenFile::new(path.as_str()))));
    }
    let Some(home) = env.0.get("HOME")? else { return Ok(None) };
    let path = PathBuf::from(home.as_str()).join(".vault-token");
    if !path.is_file() {
        return Ok(None);
    }
    Ok(Some(Arc::new(TokenFile::new(path))))
}

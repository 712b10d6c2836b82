use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{AuthMethod, AuthToken, LoginClient, LoginFuture, read_file};
use crate::error::Cause;
use crate::source::env::OfficialEnv;
use crate::text::printable;

/// The token in a file, such as `~/.vault-token` or an agent's sink. Read anew at every login.
#[derive(Debug, Clone)]
pub struct TokenFile {
    path: PathBuf,
}

impl TokenFile {
    /// The file holds the token and nothing else; blanks and line breaks around it are trimmed.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl AuthMethod for TokenFile {
    fn describe(&self) -> String {
        printable(&format!("token file {}", self.path.display()))
    }

    fn locks_accounts(&self) -> bool {
        false
    }

    fn login<'a>(&'a self, _: &'a LoginClient<'a>) -> LoginFuture<'a> {
        Box::pin(async move { AuthToken::new(read_file(&self.path).await?) })
    }

    fn watched_file(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

/// `VAULT_TOKEN_FILE`, else `~/.vault-token` if there is one.
pub(super) fn from_environment(
    env: &OfficialEnv<'_>,
) -> Result<Option<Arc<dyn AuthMethod>>, Cause> {
    if let Some((_, path)) = env.get("TOKEN_FILE")? {
        return Ok(Some(Arc::new(TokenFile::new(path.as_str()))));
    }
    let Some(home) = env.0.get("HOME")? else { return Ok(None) };
    let path = PathBuf::from(home.as_str()).join(".vault-token");
    Ok(path.is_file().then(|| Arc::new(TokenFile::new(path)) as Arc<dyn AuthMethod>))
}

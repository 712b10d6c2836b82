use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::{LoginError, check};
use crate::error::{Cause, ErrorKind};
use crate::source::env::OfficialEnv;
use crate::source::file;

/// The secret that a method logs in with, or the file that holds it. The file is read at every
/// login.
#[derive(Debug, Clone)]
pub(super) enum Credential {
    Value(SecretString),
    File(PathBuf),
}

impl Credential {
    pub(super) fn value(secret: impl Into<SecretString>) -> Self {
        Self::Value(secret.into())
    }

    pub(super) fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(path.into())
    }

    /// From the variable, or from the file that the variable with `_FILE` names.
    ///
    /// A value is checked here, so that the error names its variable: it may not begin or end with a
    /// blank, and `check` may refuse more. A file is checked when it is read.
    pub(super) fn from_environment(
        env: &OfficialEnv<'_>,
        name: &str,
        check: impl FnOnce(&SecretString) -> Result<(), Cause>,
    ) -> Result<Option<Self>, Cause> {
        Self::find(env, name, |variable, value| {
            check::not_padded(variable, value)?;
            check(value)
        })
    }

    /// The same for a password, which may begin or end with a blank.
    pub(super) fn password_from_environment(
        env: &OfficialEnv<'_>,
        name: &str,
    ) -> Result<Option<Self>, Cause> {
        Self::find(env, name, |_, value| check::password("the password", value))
    }

    /// The secret, without the blanks and line breaks around it if it is in a file.
    pub(super) async fn read(&self) -> Result<SecretString, LoginError> {
        let path = match self {
            Self::Value(value) => return Ok(value.clone()),
            Self::File(path) => path,
        };
        let bytes = bytes_of(path).await?;
        match std::str::from_utf8(&bytes).map(str::trim) {
            Ok(text) if !text.is_empty() => Ok(SecretString::from(text)),
            _ => Err(not_text(path)),
        }
    }

    /// The same for a password. Only one line break is removed from the end of a file: a password
    /// may begin or end with a blank.
    pub(super) async fn read_password(&self) -> Result<SecretString, LoginError> {
        let path = match self {
            Self::Value(value) => {
                check::password("the password", value)?;
                return Ok(value.clone());
            }
            Self::File(path) => path,
        };
        let bytes = bytes_of(path).await?;
        let text = std::str::from_utf8(&bytes).map_err(|_| not_text(path))?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let password = SecretString::from(text.strip_suffix('\r').unwrap_or(text));
        check::password(&path.display().to_string(), &password)?;
        Ok(password)
    }

    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Value(_) => None,
            Self::File(path) => Some(path),
        }
    }

    /// The beginning of a sentence about the secret, which does not quote it.
    pub(super) fn subject(&self) -> String {
        match self {
            Self::Value(_) => "the value is".to_owned(),
            Self::File(path) => format!("{} holds", path.display()),
        }
    }

    fn find(
        env: &OfficialEnv<'_>,
        name: &str,
        check: impl FnOnce(&str, &SecretString) -> Result<(), Cause>,
    ) -> Result<Option<Self>, Cause> {
        match (env.get(name)?, env.get(&format!("{name}_FILE"))?) {
            (Some((variable, _)), Some((file, _))) => Err(conflict(&variable, &file)),
            (Some((variable, value)), None) => {
                let value = SecretString::from(value.as_str());
                check(&variable, &value).map_err(|cause| cause.at(format!("env {variable}")))?;
                Ok(Some(Self::Value(value)))
            }
            (None, Some((_, path))) => Ok(Some(Self::file(path.as_str()))),
            (None, None) => Ok(None),
        }
    }
}

/// Two variables that exclude each other: one of them would be ignored.
pub(super) fn conflict(variable: &str, other: &str) -> Cause {
    Cause::new(
        ErrorKind::Setting,
        format!("{variable} and {other} are both set"),
        "unset one of them",
    )
    .at(format!("env {variable}"))
}

async fn bytes_of(path: &Path) -> Result<file::Bytes, LoginError> {
    file::read(path, file::MOST_OF_TEXT).await.map_err(|error| {
        LoginError::new(
            format!("{} cannot be read: {error}", path.display()),
            "check the path, and that this process may read the file",
        )
    })
}

fn not_text(path: &Path) -> LoginError {
    LoginError::new(
        format!("{} is empty or not text", path.display()),
        "write only the token, id or password into it",
    )
}

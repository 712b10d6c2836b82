use std::fmt;

use super::check;
use crate::error::Cause;
use crate::source::env::OfficialEnv;

/// Where an auth method is mounted. It is shown as a path of the server: `auth/team/approle`.
#[derive(Debug, Clone)]
pub(super) struct Mount(String);

impl Mount {
    /// `team/approle`, `auth/team/approle` and `auth/team/approle/` are the same mount.
    pub(super) fn new(path: impl Into<String>) -> Self {
        let path = path.into();
        let path = path.trim_matches('/');
        Self(path.strip_prefix("auth/").unwrap_or(path).to_owned())
    }

    /// From `VAULT_AUTH_MOUNT`, else the mount that the method has by default.
    pub(super) fn from_environment(env: &OfficialEnv<'_>, default: &str) -> Result<Self, Cause> {
        let read = |text: &str| {
            let mount = Self::new(text);
            if mount.is_valid() { Ok(mount) } else { Err(INVALID.to_owned()) }
        };
        Ok(env.parse("AUTH_MOUNT", read)?.unwrap_or_else(|| Self::new(default)))
    }

    /// A method calls it before everything else: a wrapping token that is unwrapped for a login
    /// that cannot succeed is lost.
    pub(super) fn check(&self) -> Result<(), Cause> {
        match self.is_valid() {
            true => Ok(()),
            false => Err(check::refuse(format!("the mount {INVALID}"), "correct it")),
        }
    }

    /// The path of the login.
    pub(super) fn login(&self) -> String {
        format!("{self}/login")
    }

    fn is_valid(&self) -> bool {
        !self.0.is_empty() && self.0.split('/').all(check::is_name)
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "auth/{}", self.0)
    }
}

const INVALID: &str = "is not a valid mount path, such as team-a/kubernetes";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_the_same_with_and_without_the_prefix() {
        for path in ["team/approle", "auth/team/approle", "/auth/team/approle/", "team/approle/"] {
            let mount = Mount::new(path);
            assert_eq!(mount.to_string(), "auth/team/approle");
            assert!(mount.check().is_ok());
        }
    }

    #[test]
    fn a_mount_consists_of_names() {
        for path in ["", "/", "team//kubernetes", "../sys", "a b /c", "a\n"] {
            let cause = Mount::new(path).check().unwrap_err();
            assert!(cause.message.starts_with("the mount is not a valid mount path"), "{path:?}");
        }
    }
}

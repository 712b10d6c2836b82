use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;

use super::password::password_login;
use super::{AuthMethod, LoginClient, LoginFuture};
use crate::error::Cause;
use crate::source::env::OfficialEnv;

password_login! {
    /// A login with a user's name and password that a RADIUS server checks:
    /// <https://openbao.org/api-docs/auth/radius/>.
    Radius, "radius", log_in_by_body
}

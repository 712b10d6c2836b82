//! What is checked before anything is sent. None of the sentences quotes what it is about.

use secrecy::{ExposeSecret, SecretString};

use super::LoginError;
use crate::error::{Cause, ErrorKind};

fn refuse(what: String, help: &str) -> LoginError {
    Cause::new(ErrorKind::Setting, what, help).into()
}

/// A user, a role or another name that is no secret. In a path a slash would lead elsewhere.
pub(super) fn name(called: &str, text: &str) -> Result<(), LoginError> {
    match is_name(text) {
        true => Ok(()),
        false => Err(refuse(format!("{called} {NO_NAME}"), "correct it")),
    }
}

pub(super) const NO_NAME: &str =
    "is empty, begins or ends with a blank, or holds a slash or a control character";

pub(super) fn is_name(text: &str) -> bool {
    let clean = !text.contains('/') && !text.contains(char::is_control);
    clean && !text.is_empty() && text.trim() == text && !matches!(text, "." | "..")
}

/// Where the method is mounted, as a builder was told.
pub(super) fn mount(text: &str) -> Result<(), LoginError> {
    match is_mount(text) {
        true => Ok(()),
        false => Err(refuse(format!("the mount {NO_MOUNT}"), "correct it")),
    }
}

pub(super) const NO_MOUNT: &str =
    "is not where an auth method is mounted, such as team-a/kubernetes";

/// Below `auth/`.
pub(super) fn is_mount(text: &str) -> bool {
    !text.is_empty() && text.split('/').all(is_name)
}

/// A password may hold blanks; a line break or a tab in one is a slip.
pub(super) fn password(called: &str, text: &SecretString) -> Result<(), LoginError> {
    match text.expose_secret() {
        "" => Err(refuse(format!("{called} is empty"), "give the password")),
        text if text.contains(char::is_control) => Err(refuse(
            format!("{called} holds a line break or another control character"),
            "take it away",
        )),
        _ => Ok(()),
    }
}

/// Three parts of base64url between dots: <https://www.rfc-editor.org/rfc/rfc7519>. `is` begins the
/// sentence, such as "the token is".
pub(super) fn jwt(is: &str, text: &SecretString) -> Result<(), LoginError> {
    match is_jwt(text.expose_secret()) {
        true => Ok(()),
        false => Err(refuse(
            format!("{is} no JWT: three parts of base64url between dots"),
            "give the token as its issuer wrote it, and nothing else",
        )),
    }
}

pub(super) fn is_jwt(text: &str) -> bool {
    let is_part = |part: &str| {
        let base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !part.is_empty() && part.bytes().all(base64url)
    };
    text.split('.').count() == 3 && text.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwt_has_three_parts_of_base64url() {
        assert!(is_jwt("eyJh.eyJz.s-_9"));
        for text in
            ["", "a", "a.b", "a.b.", "a..c", ".b.c", "a.b.c.d", "a.b.c\n", "a.b=.c", "a.b.é"]
        {
            assert!(!is_jwt(text), "{text:?}");
            let refused = jwt("it is", &text.into()).unwrap_err().into_cause();
            assert_eq!(refused.kind, ErrorKind::Setting);
            assert!(refused.message.starts_with("it is no JWT"), "{}", refused.message);
        }
    }

    #[test]
    fn names_lead_nowhere_else() {
        for text in ["alice", "alice@example.com", "o'neil smith", "a.b-c_d", "..."] {
            assert!(is_name(text), "{text:?}");
        }
        for text in ["", " ", "alice ", "a/b", "..", ".", "a\nb", "a\u{7f}"] {
            assert!(!is_name(text), "{text:?}");
        }
        assert!(is_mount("team/kubernetes") && !is_mount("team//kubernetes") && !is_mount(""));
    }

    #[test]
    fn a_password_may_hold_blanks() {
        assert!(password("it", &" hunter 2 ".into()).is_ok());
        for text in ["", "hunter2\n", "hunter\t2", "hunter2\0"] {
            let refused = password("it", &text.into()).unwrap_err().into_cause();
            assert!(!refused.message.contains("hunter"), "{}", refused.message);
        }
    }
}

//! What is checked before anything is sent. No message quotes the text that it is about.

use secrecy::{ExposeSecret, SecretString};

use crate::error::{Cause, ErrorKind};
use crate::source::env::OfficialEnv;

/// The name of a user or a role from the environment.
pub(super) fn name_from_environment(
    env: &OfficialEnv<'_>,
    variable: &str,
) -> Result<Option<String>, Cause> {
    let read =
        |text: &str| if is_name(text) { Ok(text.to_owned()) } else { Err(NO_NAME.to_owned()) };
    env.parse(variable, read)
}

/// The name of a user or a role from a builder; `subject` begins the message.
pub(super) fn name(subject: &str, text: &str) -> Result<(), Cause> {
    match is_name(text) {
        true => Ok(()),
        false => Err(refuse(format!("{subject} {NO_NAME}"), "correct it")),
    }
}

/// A name may be a part of the path of a request, where a slash would lead elsewhere.
pub(super) fn is_name(text: &str) -> bool {
    let clean = !text.contains('/') && !text.contains(char::is_control);
    clean && !text.is_empty() && text.trim() == text && !matches!(text, "." | "..")
}

/// A token or an id in a variable; a blank around it is left over from copying or from a file.
pub(super) fn not_padded(variable: &str, text: &SecretString) -> Result<(), Cause> {
    let text = text.expose_secret();
    match text.trim() == text {
        true => Ok(()),
        false => Err(refuse(
            "begins or ends with a space or a line break".to_owned(),
            &format!("remove it: {variable}=\"$(cat file)\" removes the line break at the end"),
        )),
    }
}

/// A password may hold blanks, but a line break or a tab in it is a mistake.
pub(super) fn password(subject: &str, text: &SecretString) -> Result<(), Cause> {
    match text.expose_secret() {
        "" => Err(refuse(format!("{subject} is empty"), "set the password")),
        text if text.contains(char::is_control) => Err(refuse(
            format!("{subject} contains a line break or another control character"),
            "remove it",
        )),
        _ => Ok(()),
    }
}

/// `subject` begins the message with its verb, such as "the token is".
pub(super) fn jwt(subject: &str, text: &SecretString) -> Result<(), Cause> {
    match is_jwt(text.expose_secret()) {
        true => Ok(()),
        false => Err(refuse(
            format!("{subject} no JWT (three parts of base64url, joined by dots)"),
            "pass the token exactly as its issuer wrote it",
        )),
    }
}

/// Three parts of base64url between dots: <https://www.rfc-editor.org/rfc/rfc7519>.
pub(super) fn is_jwt(text: &str) -> bool {
    let is_part = |part: &str| {
        let base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !part.is_empty() && part.bytes().all(base64url)
    };
    text.split('.').count() == 3 && text.split('.').all(is_part)
}

pub(super) fn refuse(message: String, help: &str) -> Cause {
    Cause::new(ErrorKind::Setting, message, help)
}

const NO_NAME: &str =
    "is empty, begins or ends with a space, or contains a slash or a control character";

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
            let refused = jwt("it is", &text.into()).unwrap_err();
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
    }

    #[test]
    fn a_password_may_hold_blanks() {
        assert!(password("it", &" hunter 2 ".into()).is_ok());
        for text in ["", "hunter2\n", "hunter\t2", "hunter2\0"] {
            let refused = password("it", &text.into()).unwrap_err();
            assert!(!refused.message.contains("hunter"), "{}", refused.message);
        }
    }
}

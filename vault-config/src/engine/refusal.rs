//! What an engine's refusal means.

use crate::error::{Cause, ErrorKind};
use crate::vault::{Grant, Response};

/// How engines say that a role does not exist, in lower case. A row matches if the server's words hold all
/// of its parts.
const UNKNOWN_ROLE: [&[&str]; 3] =
    [&["unknown role"], &["unknown key:"], &["role \"", "not found"]];

pub(super) fn is_unknown_role(reply: &Response) -> bool {
    let words = reply.words().to_lowercase();
    UNKNOWN_ROLE.iter().any(|parts| parts.iter().all(|part| words.contains(part)))
}

/// Why the request failed; `roles` is the path that lists the engine's roles.
pub(super) fn explain(reply: Response, grant: &Grant, roles: &str) -> Cause {
    match reply.status {
        403 if reply.speaks_vault() => reply
            .denied(grant)
            .hint("or no engine is mounted there: the server answers 403 for that too"),
        404 if reply.is_miss() => {
            Cause::new(ErrorKind::PathAbsent, "nothing exists at this path", "correct the path")
        }
        405 => Cause::new(
            ErrorKind::Schema,
            "the path does not take this kind of request (HTTP 405)",
            "use `write` in place of `read`, or `read` in place of `write`",
        ),
        400 | 500 if is_unknown_role(&reply) => {
            let help = format!("create the role, or correct its name: vault list {roles}");
            Cause::new(ErrorKind::RoleAbsent, reply.words(), help)
        }
        _ => reply.into_cause(),
    }
}

/// `verb` is the subcommand of `vault` that sends the same request.
pub(super) fn without_data(verb: &str) -> Cause {
    Cause::new(
        ErrorKind::Protocol,
        "the answer has no `data`",
        format!(
            "run `vault {verb}` to see what the path returns, and check that the address is Vault's own"
        ),
    )
}

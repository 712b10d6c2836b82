//! Why the server refused a login, what to do about it, and when its words may not be shown.

use crate::error::{Cause, ErrorKind, Refusal};
use crate::http::Reply;
use crate::value::Value;

/// What to do about a refusal whose words hold one of the needles. `M` is the method, whose mount
/// and role the help names.
#[derive(Debug)]
pub(super) struct Hint<M> {
    needles: &'static [&'static str],
    help: fn(&M) -> String,
    mode: HelpMode,
}

#[derive(Debug, Clone, Copy)]
enum HelpMode {
    Prepend,
    Replace,
    ReplaceAlways,
}

impl<M> Hint<M> {
    /// For a login that the server checked and refused; it stands above the general help.
    pub(super) const fn add(needles: &'static [&'static str], help: fn(&M) -> String) -> Self {
        Self { needles, help, mode: HelpMode::Prepend }
    }

    /// For a login that the server checked and refused; it replaces the general help.
    pub(super) const fn replace(needles: &'static [&'static str], help: fn(&M) -> String) -> Self {
        Self { needles, help, mode: HelpMode::Replace }
    }

    /// Like [`replace`](Self::replace), also for a login that the server could not check.
    pub(super) const fn replace_always(
        needles: &'static [&'static str],
        help: fn(&M) -> String,
    ) -> Self {
        Self { needles, help, mode: HelpMode::ReplaceAlways }
    }

    fn fits(&self, cause: &Cause) -> bool {
        let is_for_kind = match self.mode {
            HelpMode::Prepend | HelpMode::Replace => cause.kind == ErrorKind::LoginRefused,
            HelpMode::ReplaceAlways => true,
        };
        is_for_kind && cause.refusal_says(self.needles)
    }
}

/// The refusal with the first hint of the table that fits it. If there is no help at all, the
/// server's log may have the reason.
pub(super) fn explained<M>(cause: Cause, method: &M, hints: &[Hint<M>]) -> Cause {
    let Some(hint) = hints.iter().find(|hint| hint.fits(&cause)) else {
        let is_unexplained = cause.kind == ErrorKind::LoginRefused && cause.help.is_empty();
        return if is_unexplained { cause.with_help("see the server's log") } else { cause };
    };
    let help = (hint.help)(method);
    match hint.mode {
        HelpMode::Prepend if !cause.help.is_empty() => {
            let help = format!("{help}\nor {}", cause.help);
            cause.with_help(help)
        }
        _ => cause.with_help(help),
    }
}

/// What the server's answer to a post to `path` means.
pub(super) fn of_login(reply: Reply, path: &str, locks_accounts: bool) -> Cause {
    // The page of a gateway is no refusal of a login.
    if !reply.speaks_vault() {
        return reply.into_cause();
    }
    let refusal = Refusal { status: reply.status, words: reply.words() };
    let has_words = !refusal.words.is_empty();
    match reply.status {
        400 if has_words => {
            Cause { is_wrong_secret: !names_an_outage(&refusal.words), ..in_its_words(refusal, "") }
        }
        403 if has_words && !refusal.words.contains("permission denied") => {
            in_its_words(refusal, "")
        }
        403 => in_its_words(refusal, &denied(path, locks_accounts)),
        // Without the refusal: its words name the path, where a hint's needle may be part of a name.
        404 if !reply.no_namespace() => Cause::new(
            ErrorKind::LoginRefused,
            "the server has no login at this path (HTTP 404)",
            format!("check the auth mount and the namespace: the request went to {path}"),
        ),
        _ => reply.into_cause(),
    }
}

fn in_its_words(refusal: Refusal, help: &str) -> Cause {
    let message = format!("{} (HTTP {})", refusal.words, refusal.status);
    Cause::new(ErrorKind::LoginRefused, message, help).refused(refusal)
}

fn denied(path: &str, locks_accounts: bool) -> String {
    let help = format!(
        "check that the auth method is mounted at {} (vault auth list) and that the namespace is right",
        path.split_once("/login").map_or(path, |(mount, _)| mount)
    );
    match locks_accounts {
        true => format!(
            "{help}\nor the account may be locked after several failed logins: vault read sys/locked-users"
        ),
        false => help,
    }
}

/// Whether the server could not reach the service that checks the secret, such as a directory. The
/// secret may then be right.
fn names_an_outage(words: &str) -> bool {
    const OUTAGES: [&str; 10] = [
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
    ];
    let words = words.to_lowercase();
    OUTAGES.iter().any(|outage| words.contains(outage))
}

/// Whether the server's words repeat a secret of the body. `words` are all of them as the server
/// wrote them: a secret may still be legible in words that are cut or escaped for display.
pub(super) fn repeats(words: &str, body: &[u8]) -> bool {
    // A shorter text is part of many sentences, and too short for a secret.
    const SHORTEST_SECRET: usize = 8;
    let sent = std::str::from_utf8(body).ok().and_then(|body| Value::from_json(body).ok());
    let Some(mut sent) = sent else { return false };
    for field in PUBLIC_FIELDS {
        sent.remove(field);
    }
    sent.appears_in(words, SHORTEST_SECRET)
}

/// The fields of a login's body that hold no secret, and that the server's words may name.
const PUBLIC_FIELDS: [&str; 7] =
    ["role", "name", "username", "subscription_id", "resource_group_name", "vm_name", "vmss_name"];

/// Without the server's words, and so without a hint.
pub(super) fn withheld(cause: Cause, status: u16) -> Cause {
    let what = match cause.kind {
        ErrorKind::LoginRefused => "the server refused the login",
        _ => "the login failed",
    };
    let message = format!(
        "{what} (HTTP {status}); its message is withheld, because it repeats what was sent"
    );
    Cause { message, refusal: None, ..cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HINTS: &[Hint<&str>] = &[
        Hint::replace(&["expired", "too old"], |role| format!("renew the token of {role}")),
        Hint::add(&["denied"], |role| format!("check the role {role}")),
        Hint::replace_always(&["no configuration"], |role| format!("configure {role}")),
    ];

    fn refused(kind: ErrorKind, words: &str) -> Cause {
        let refusal = Refusal { status: 403, words: words.to_owned() };
        Cause::new(kind, words, "general help").refused(refusal)
    }

    #[test]
    fn a_refusal_gets_the_first_hint_that_fits() {
        for (kind, words, help) in [
            (ErrorKind::LoginRefused, "token expired", "renew the token of app"),
            (ErrorKind::LoginRefused, "denied: it is too old", "renew the token of app"),
            (ErrorKind::Server, "x509: certificate has expired", "general help"),
            (ErrorKind::LoginRefused, "denied", "check the role app\nor general help"),
            (ErrorKind::Server, "denied", "general help"),
            (ErrorKind::LoginRefused, "no configuration", "configure app"),
            (ErrorKind::Server, "no configuration", "configure app"),
            (ErrorKind::LoginRefused, "something else", "general help"),
        ] {
            assert_eq!(explained(refused(kind, words), &"app", HINTS).help, help, "{words}");
        }
        let unexplained = |kind| refused(kind, "something else").with_help("");
        let help = |kind| explained(unexplained(kind), &"app", HINTS).help;
        assert_eq!(help(ErrorKind::LoginRefused), "see the server's log");
        assert_eq!(help(ErrorKind::Server), "");
    }

    #[test]
    fn only_the_words_of_the_server_are_searched() {
        let cause =
            Cause::new(ErrorKind::Connection, "the certificate has expired", "general help");
        assert_eq!(explained(cause, &"app", HINTS).help, "general help");
        let cause = withheld(refused(ErrorKind::LoginRefused, "hunter2hunter2 has expired"), 403);
        let cause = explained(cause, &"app", HINTS);
        assert_eq!((cause.help.as_str(), cause.refusal), ("general help", None));
        assert!(!cause.message.contains("hunter2"), "{}", cause.message);
        assert!(cause.message.contains("(HTTP 403)"), "{}", cause.message);
    }

    #[test]
    fn only_a_method_that_locks_accounts_mentions_the_lock() {
        let help = denied("auth/team/ldap/login/bob", true);
        assert!(help.starts_with("check that the auth method is mounted at auth/team/ldap (vault"));
        assert!(help.ends_with("vault read sys/locked-users"), "{help}");
        assert!(!denied("auth/kubernetes/login", false).contains("locked"));
    }

    #[test]
    fn a_secret_of_the_body_is_recognised_and_a_name_is_not() {
        let body = br#"{"role": "billing-service", "jwt": "eyJhbGciOi.x.y", "short": "short"}"#;
        assert!(repeats("cannot verify eyJhbGciOi.x.y", body));
        assert!(!repeats("billing-service is too short", body));
    }
}

//! Checks the strings in attributes. The error of each check is the end of a message that starts with the attribute's
//! name: the problem, a colon, what to do.

use std::time::Duration;

/// How often a value is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefreshInterval {
    Never,
    EveryMillis(u64),
}

pub(crate) fn not_empty(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is empty: write a value or remove the attribute".to_owned());
    }
    Ok(())
}

pub(crate) fn env_name(name: &str) -> Result<(), String> {
    not_empty(name)?;
    match name.chars().find(|&c| c == '=' || c.is_control() || c.is_whitespace()) {
        Some(c) => Err(format!(
            "contains {c:?}, which is not allowed in the name of an environment variable: remove it"
        )),
        None => Ok(()),
    }
}

/// A path, role or mount in Vault. Only what can never exist is refused: a path that starts with `data` or with the
/// name of the mount looks like a mistake, but such a path can exist.
pub(crate) fn path(path: &str) -> Result<(), String> {
    not_empty(path)?;
    characters(path)?;
    variables(path)?;
    segments(path)
}

/// The path of a namespace. It is sent as an HTTP header, which cannot carry other characters.
pub(crate) fn namespace(name: &str) -> Result<(), String> {
    path(name)?;
    match name.chars().find(|c| !c.is_ascii_graphic()) {
        Some(c) => Err(format!(
            "contains {c:?}, which is not allowed in a namespace: use visible ASCII characters"
        )),
        None => Ok(()),
    }
}

/// A parameter of a request to an engine that is not a path: a name, a list of names, a key, a file.
pub(crate) fn engine_parameter(text: &str) -> Result<(), String> {
    not_empty(text)?;
    no_control_characters(text)?;
    variables(text)
}

/// A time to live in the server's own syntax: a number of seconds, or numbers with units.
pub(crate) fn ttl(text: &str) -> Result<(), String> {
    if is_ttl(text) {
        return Ok(());
    }
    if text.contains('{') {
        return Err("cannot contain variables: write a time to live, such as `24h`".to_owned());
    }
    Err("is not a time to live: write one such as `24h`, `90m` or `3600` (seconds)".to_owned())
}

pub(crate) fn refresh_interval(text: &str) -> Result<RefreshInterval, String> {
    const MIN: Duration = Duration::from_secs(1);
    const MAX: Duration = Duration::from_secs(24 * 60 * 60);
    const USAGE: &str =
        "write a duration such as `\"5m\"`, `\"90s\"` or `\"1h 30m\"`, or `\"never\"`";
    if text == "never" {
        return Ok(RefreshInterval::Never);
    }
    let Ok(interval) = humantime::parse_duration(text) else {
        return Err(format!("is not a duration: {USAGE}"));
    };
    if interval < MIN {
        return Err(format!("is shorter than 1s: {USAGE}"));
    }
    if interval > MAX {
        return Err(format!("is longer than 24h: {USAGE}"));
    }
    let millis = interval.as_secs() * 1_000 + u64::from(interval.subsec_millis());
    Ok(RefreshInterval::EveryMillis(millis))
}

fn is_ttl(text: &str) -> bool {
    const UNITS: [&str; 5] = ["ms", "s", "m", "h", "d"];
    if text.is_empty() {
        return false;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return true;
    }
    let mut rest = text;
    while let Some(digits) = rest.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0) {
        let Some(after_unit) = UNITS.iter().find_map(|unit| rest[digits..].strip_prefix(unit))
        else {
            return false;
        };
        rest = after_unit;
    }
    rest.is_empty()
}

fn characters(path: &str) -> Result<(), String> {
    if path.contains('#') {
        return Err("contains `#`: write the key of the secret as `key = \"..\"`".to_owned());
    }
    if path.contains('?') {
        return Err(
            "contains `?`, but a path has no query: write a version as `version = N`".to_owned()
        );
    }
    no_control_characters(path)
}

fn no_control_characters(text: &str) -> Result<(), String> {
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("contains the control character {c:?}: remove it")),
        None => Ok(()),
    }
}

fn segments(path: &str) -> Result<(), String> {
    if path.starts_with('/') {
        return Err("starts with `/`: remove the `/`".to_owned());
    }
    if path.ends_with('/') {
        return Err("ends with `/`: remove the `/`".to_owned());
    }
    for segment in path.split('/') {
        match segment {
            "" => return Err("contains `//`: write a single `/`".to_owned()),
            "." | ".." => {
                return Err(format!(
                    "has the segment `{segment}`, which Vault does not resolve: write the full path"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn variables(path: &str) -> Result<(), String> {
    let usage = |problem: &str| Err(format!("{problem}: write a variable as `{{name}}`"));
    let mut rest = path;
    while let Some(at) = rest.find(['{', '}']) {
        let Some(inner) = rest[at..].strip_prefix('{') else {
            return usage("has a `}` without a `{`");
        };
        let Some(end) = inner.find(['{', '}']) else {
            return usage("has a `{` without a `}`");
        };
        if inner[end..].starts_with('{') {
            return usage("has a `{` inside a variable");
        }
        let name = &inner[..end];
        if name.is_empty() {
            return usage("has a variable without a name");
        }
        variable_name(name)?;
        rest = &inner[end + 1..];
    }
    Ok(())
}

fn variable_name(name: &str) -> Result<(), String> {
    match name.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '_') {
        Some(c) => Err(format!(
            "has the variable `{{{name}}}`, whose name contains {c:?}: use only letters, digits and `_`"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_can_exist() {
        for valid in [
            "my-app/api-keys",
            "data/my-app",
            "secret/my-app",
            "{env}/api",
            "a/{env}-{region_2}/b",
            "..a/b..",
            "with space/ü",
        ] {
            assert_eq!(path(valid), Ok(()), "{valid}");
        }
    }

    #[test]
    fn paths_that_can_never_exist() {
        for invalid in [
            "", "/", "/a", "a/", "a//b", ".", "a/./b", "a/../b", "a#k", "a?v=1", "a\nb", "a\0",
            "{", "}", "a}", "{env", "{}", "{a{b}}", "{a-b}", "{a/b}", "{ü}",
        ] {
            assert!(path(invalid).is_err(), "{invalid:?}");
        }
    }

    #[test]
    fn namespaces() {
        for valid in ["team-a", "team-a/billing", "{env}", "team-{env}/x"] {
            assert_eq!(namespace(valid), Ok(()), "{valid}");
        }
        for invalid in ["", " ", "team a", "teäm", "/team-a", "team-a/"] {
            assert!(namespace(invalid).is_err(), "{invalid:?}");
        }
    }

    #[test]
    fn valid_refresh_intervals() {
        for (valid, millis) in [
            ("1s", 1_000),
            ("1000ms", 1_000),
            ("1500ms", 1_500),
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("24h", 86_400_000),
            ("1day", 86_400_000),
        ] {
            assert_eq!(
                refresh_interval(valid),
                Ok(RefreshInterval::EveryMillis(millis)),
                "{valid}"
            );
        }
        assert_eq!(refresh_interval("never"), Ok(RefreshInterval::Never));
    }

    #[test]
    fn what_is_no_refresh_interval() {
        for (invalid, problem) in [
            ("", "is not a duration"),
            ("5", "is not a duration"),
            ("m", "is not a duration"),
            ("-5m", "is not a duration"),
            ("5 parsecs", "is not a duration"),
            ("Never", "is not a duration"),
            (" never", "is not a duration"),
            ("99999999999999999999s", "is not a duration"),
            ("0s", "is shorter than 1s"),
            ("500ms", "is shorter than 1s"),
            ("999ms", "is shorter than 1s"),
            ("999999us", "is shorter than 1s"),
            ("24h 1ns", "is longer than 24h"),
            ("25h", "is longer than 24h"),
            ("500000years", "is longer than 24h"),
        ] {
            let outcome = refresh_interval(invalid);
            assert!(
                matches!(&outcome, Err(message) if message.starts_with(problem) && message.contains("`\"5m\"`")),
                "{invalid}: {outcome:?}"
            );
        }
    }

    #[test]
    fn environment_names() {
        for valid in ["PORT", "APP__PORT", "app.port", "9"] {
            assert_eq!(env_name(valid), Ok(()), "{valid}");
        }
        for invalid in ["", "A=B", "A B", "A\0", " A", "A\t"] {
            assert!(env_name(invalid).is_err(), "{invalid:?}");
        }
    }
}

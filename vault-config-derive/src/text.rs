//! What a text in an attribute must be. Each check says what is wrong and, where one is known, the cure.

use std::time::Duration;

pub(crate) fn not_empty(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    Ok(())
}

pub(crate) fn env_name(name: &str) -> Result<(), String> {
    not_empty(name)?;
    match name.chars().find(|&c| c == '=' || c.is_control() || c.is_whitespace()) {
        Some(c) => Err(format!("is not the name of an environment variable: it contains {c:?}")),
        None => Ok(()),
    }
}

/// A path, role or mount in Vault. Only what can never be right is refused: a first segment `data`, or the
/// mount's own name, may be right.
pub(crate) fn path(path: &str) -> Result<(), String> {
    not_empty(path)?;
    characters(path)?;
    variables(path)?;
    segments(path)
}

/// The path of a namespace: it goes into a header, which holds no other characters.
pub(crate) fn namespace(name: &str) -> Result<(), String> {
    path(name)?;
    match name.chars().find(|c| !c.is_ascii_graphic()) {
        Some(c) => Err(format!("is not the path of a namespace: it contains {c:?}")),
        None => Ok(()),
    }
}

/// What is asked of an engine and is no path: a name, a list of names, a key, a file.
pub(crate) fn wish(text: &str) -> Result<(), String> {
    not_empty(text)?;
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("contains the control character {c:?}")),
        None => variables(text),
    }
}

/// As the server reads a time to live: seconds, or numbers with units.
pub(crate) fn ttl(text: &str) -> Result<(), String> {
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0) {
        let units = ["ms", "s", "m", "h", "d"].iter();
        let Some(after) = units.filter_map(|unit| rest[at..].strip_prefix(unit)).next() else {
            break;
        };
        rest = after;
    }
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match !text.is_empty() && (rest.is_empty() || rest == text && is_number(text)) {
        true => Ok(()),
        false if text.contains('{') => {
            Err("holds no variables: write a time to live, such as `24h`".to_owned())
        }
        false => Err("is not a time to live, such as `24h`, `90m` or `3600` (seconds)".to_owned()),
    }
}

fn characters(path: &str) -> Result<(), String> {
    if path.contains('#') {
        return Err("contains `#`: name the key of the secret with `key = \"..\"`".to_owned());
    }
    if path.contains('?') {
        return Err("contains `?`: a path has no query (a version is `version = N`)".to_owned());
    }
    match path.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("contains the control character {c:?}")),
        None => Ok(()),
    }
}

fn segments(path: &str) -> Result<(), String> {
    if path.starts_with('/') {
        return Err("starts with `/`: leave it out".to_owned());
    }
    if path.ends_with('/') {
        return Err("ends with `/`: leave it out".to_owned());
    }
    for segment in path.split('/') {
        match segment {
            "" => return Err("has an empty segment (`//`)".to_owned()),
            "." | ".." => {
                return Err(format!("has the segment `{segment}`, which Vault does not resolve"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn variables(path: &str) -> Result<(), String> {
    let mut rest = path;
    while let Some(at) = rest.find(['{', '}']) {
        let Some(inner) = rest[at..].strip_prefix('{') else {
            return Err("has a `}` without its `{`".to_owned());
        };
        let Some(end) = inner.find(['{', '}']) else {
            return Err("has a `{` that is never closed".to_owned());
        };
        if inner[end..].starts_with('{') {
            return Err("has a `{` inside of a `{variable}`".to_owned());
        }
        variable(&inner[..end])?;
        rest = &inner[end + 1..];
    }
    Ok(())
}

fn variable(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("has an empty variable (`{}`)".to_owned());
    }
    match name.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '_') {
        Some(c) => Err(format!(
            "has the variable `{{{name}}}` with {c:?} in its name: allowed are letters, digits and `_`"
        )),
        None => Ok(()),
    }
}

/// How often something is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interval {
    Never,
    /// In milliseconds.
    Every(u64),
}

pub(crate) fn interval(text: &str) -> Result<Interval, String> {
    const LEAST: Duration = Duration::from_secs(1);
    const MOST: Duration = Duration::from_secs(24 * 60 * 60);
    const FORM: &str =
        "write a duration such as `\"5m\"`, `\"90s\"` or `\"1h 30m\"`, or `\"never\"`";
    if text == "never" {
        return Ok(Interval::Never);
    }
    let Ok(every) = humantime::parse_duration(text) else {
        return Err(format!("is not a duration: {FORM}"));
    };
    if every < LEAST {
        return Err(format!("is at least 1s: {FORM}"));
    }
    if every > MOST {
        return Err(format!("is at most 24h: {FORM}"));
    }
    Ok(Interval::Every(every.as_secs() * 1_000 + u64::from(every.subsec_millis())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_may_be_right() {
        for good in [
            "my-app/api-keys",
            "data/my-app",
            "secret/my-app",
            "{env}/api",
            "a/{env}-{region_2}/b",
            "..a/b..",
            "with space/ü",
        ] {
            assert_eq!(path(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn paths_that_can_never_be_right() {
        for bad in [
            "", "/", "/a", "a/", "a//b", ".", "a/./b", "a/../b", "a#k", "a?v=1", "a\nb", "a\0",
            "{", "}", "a}", "{env", "{}", "{a{b}}", "{a-b}", "{a/b}", "{ü}",
        ] {
            assert!(path(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn namespaces() {
        for good in ["team-a", "team-a/billing", "{env}", "team-{env}/x"] {
            assert_eq!(namespace(good), Ok(()), "{good}");
        }
        for bad in ["", " ", "team a", "teäm", "/team-a", "team-a/"] {
            assert!(namespace(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn intervals() {
        for (good, millis) in [
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
            assert_eq!(interval(good), Ok(Interval::Every(millis)), "{good}");
        }
        assert_eq!(interval("never"), Ok(Interval::Never));
    }

    #[test]
    fn what_is_no_interval() {
        for (bad, why) in [
            ("", "is not a duration"),
            ("5", "is not a duration"),
            ("m", "is not a duration"),
            ("-5m", "is not a duration"),
            ("5 parsecs", "is not a duration"),
            ("Never", "is not a duration"),
            (" never", "is not a duration"),
            ("99999999999999999999s", "is not a duration"),
            ("0s", "is at least 1s"),
            ("500ms", "is at least 1s"),
            ("999ms", "is at least 1s"),
            ("999999us", "is at least 1s"),
            ("24h 1ns", "is at most 24h"),
            ("25h", "is at most 24h"),
            ("500000years", "is at most 24h"),
        ] {
            let outcome = interval(bad);
            assert!(
                matches!(&outcome, Err(message) if message.starts_with(why) && message.contains("`\"5m\"`")),
                "{bad}: {outcome:?}"
            );
        }
    }

    #[test]
    fn environment_names() {
        for good in ["PORT", "APP__PORT", "app.port", "9"] {
            assert_eq!(env_name(good), Ok(()), "{good}");
        }
        for bad in ["", "A=B", "A B", "A\0", " A", "A\t"] {
            assert!(env_name(bad).is_err(), "{bad:?}");
        }
    }
}

//! `{name}` in paths.

use std::collections::BTreeMap;

use crate::error::{Cause, ErrorKind};
use crate::source::env::Environment;
use crate::text::is_printable;

/// The variables of paths: set on the loader, else `VAULT_CONFIG_VAR_NAME`, else `{profile}` from
/// figment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables {
    pub(crate) given: BTreeMap<String, String>,
    pub(crate) environment: Environment,
    pub(crate) profile: Option<String>,
    pub(crate) unset: Unset,
}

/// No path has it: the object replacement character.
const ANY: char = '\u{fffc}';

/// What stands for a variable; documents are made without loading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Unset {
    #[default]
    Problem,
    /// `+`, as policies write any one segment.
    AnySegment,
    /// `{name}`, as the struct writes it.
    Kept,
}

impl Variables {
    pub(crate) fn fill_text(&self, template: &str) -> Result<String, Cause> {
        let mut filled = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, tail)) = after.split_once('}') else { break };
            filled.push_str(before);
            filled.push_str(&self.get(name, template)?);
            rest = tail;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    pub(crate) fn fill(&self, template: &str) -> Result<String, Cause> {
        let filled = self.fill_text(template)?;
        if self.unset == Unset::AnySegment {
            // `+` stands for a whole segment and for nothing less.
            let segments =
                filled.split('/').map(|segment| if segment.contains(ANY) { "+" } else { segment });
            return Ok(segments.collect::<Vec<_>>().join("/"));
        }
        check(&filled, template)?;
        Ok(filled)
    }

    fn get(&self, name: &str, template: &str) -> Result<String, Cause> {
        match self.unset {
            Unset::Problem => {}
            Unset::AnySegment => return Ok(ANY.to_string()),
            Unset::Kept => return Ok(format!("{{{name}}}")),
        }
        if let Some(value) = self.given.get(name) {
            return Ok(value.clone());
        }
        let variable = format!("VAULT_CONFIG_VAR_{}", name.to_uppercase());
        if let Some(value) = self.environment.get(&variable)? {
            return Ok(value.as_str().to_owned());
        }
        if name == "profile"
            && let Some(profile) = &self.profile
        {
            return Ok(profile.clone());
        }
        Err(Cause::new(
            ErrorKind::Variable,
            format!("the path \"{template}\" needs the variable {{{name}}}, which is unset"),
            format!("set {variable}, or call .var(\"{name}\", ..) on the loader"),
        ))
    }
}

/// A variable must not lead a path elsewhere. Addresses lose control characters on the way, so that
/// `.` and `..` could hide behind them; the server answers all that is not printable with an empty 400.
fn check(path: &str, template: &str) -> Result<(), Cause> {
    let stays = |segment: &str| !matches!(segment, "" | "." | "..");
    if path == template || path.split('/').all(stays) && path.chars().all(is_printable) {
        return Ok(());
    }
    Err(Cause::new(
        ErrorKind::Variable,
        format!(
            "with its variables filled in, the path \"{template}\" has an empty, \".\" or \"..\" \
             segment, or a character that is not printable"
        ),
        "give the variables values that are names, or names joined by /",
    ))
}

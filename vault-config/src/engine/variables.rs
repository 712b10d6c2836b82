//! The values of `{name}` in paths.

use std::collections::BTreeMap;

use crate::error::{Cause, ErrorKind};
use crate::source::env::Environment;
use crate::text::is_printable;

/// Where a variable's value comes from: the loader, else `VAULT_CONFIG_VAR_NAME`, else for `{profile}`
/// figment's profile.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables {
    pub(crate) set_on_loader: BTreeMap<String, String>,
    pub(crate) environment: Environment,
    pub(crate) profile: Option<String>,
    pub(crate) substitution: Substitution,
}

/// Marks a variable in a path until its whole segment is replaced. No path holds this character, the object
/// replacement character.
const ANY: char = '\u{fffc}';

/// What takes a variable's place in a path. Documents of a schema are written without any values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Substitution {
    #[default]
    Value,
    /// `+`, which stands for one segment in a policy.
    AnySegment,
    /// `{name}`, as the struct writes it.
    Name,
}

impl Variables {
    pub(super) fn fill(&self, template: &str) -> Result<String, Cause> {
        let filled = self.fill_text(template)?;
        if self.substitution == Substitution::AnySegment {
            // `+` stands for a whole segment only.
            let segments =
                filled.split('/').map(|segment| if segment.contains(ANY) { "+" } else { segment });
            return Ok(segments.collect::<Vec<_>>().join("/"));
        }
        check(&filled, template)?;
        Ok(filled)
    }

    pub(super) fn fill_text(&self, template: &str) -> Result<String, Cause> {
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

    fn get(&self, name: &str, template: &str) -> Result<String, Cause> {
        match self.substitution {
            Substitution::Value => {}
            Substitution::AnySegment => return Ok(ANY.to_string()),
            Substitution::Name => return Ok(format!("{{{name}}}")),
        }
        if let Some(value) = self.set_on_loader.get(name) {
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

/// A variable must not change which part of the server a path names. URLs lose control characters, so `.`
/// and `..` could be hidden by them. The server answers other characters that are not printable with an
/// empty 400.
fn check(path: &str, template: &str) -> Result<(), Cause> {
    let is_name = |segment: &str| !matches!(segment, "" | "." | "..");
    if path == template || path.split('/').all(is_name) && path.chars().all(is_printable) {
        return Ok(());
    }
    Err(Cause::new(
        ErrorKind::Variable,
        format!(
            "with its variables filled in, the path \"{template}\" has an empty, \".\" or \"..\" \
             segment, or a character that is not printable"
        ),
        "set the variables to names, or to names joined by /",
    ))
}

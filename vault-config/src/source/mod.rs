//! The plain sources: process environment, `.env` file, figment layers. Each is a [`Source`]; the list of them, in the
//! order in which they are asked, is in `load/prepare.rs`.

use std::collections::BTreeMap;

use crate::error::{Cause, ErrorKind};
use crate::report::Provenance;
use crate::value::Value;

pub(crate) mod dotenv;
pub(crate) mod env;
pub(crate) mod file;
pub(crate) mod layers;

/// A place outside of Vault that values come from.
pub(crate) trait Source: Send + Sync {
    fn role(&self) -> SourceRole;

    /// The value of a field, if the source has one. An error is a problem of this field alone.
    fn find(&self, field: &FieldNames) -> Result<Option<SourceValue>, Cause>;

    /// What the error of a missing field says of this source; `None` if the source is empty, so that nothing was there
    /// to look into.
    fn tried(&self, field: &FieldNames) -> Option<String>;

    /// What cannot be read, apart from any field.
    fn problems(&self) -> &[Cause] {
        &[]
    }

    /// All its keys, for the search for unknown ones. Empty for a source that is not searched.
    fn keys(&self) -> Vec<SourceKey> {
        Vec::new()
    }
}

/// What a source may serve besides plain fields. `load/filter.rs` decides by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceRole {
    /// Set on purpose for this one process: it has priority over Vault, unless the program forbids that.
    Override,
    /// Stands in for Vault in local mode. In Vault mode it never serves a field marked for Vault.
    Local,
}

/// A value, and where it was found.
pub(crate) struct SourceValue {
    pub(crate) value: Value,
    pub(crate) provenance: Provenance,
}

/// What the plain sources call one field.
pub(crate) struct FieldNames {
    /// One variable, or one for each part of a pair.
    pub(crate) variables: Vec<String>,
    /// The parts of a pair; empty for any other field.
    pub(crate) parts: &'static [&'static str],
    /// The names that each segment of the path has in files.
    pub(crate) keys: Vec<Vec<&'static str>>,
    /// Whether the field is marked for Vault.
    pub(crate) is_secret: bool,
}

/// One key of a source, without its value.
pub(crate) struct SourceKey {
    pub(crate) name: String,
    /// The file or layer that has it.
    pub(crate) origin: String,
    pub(crate) content: SourceKeyContent,
}

/// What stands at a key.
pub(crate) enum SourceKeyContent {
    Table(Vec<SourceKey>),
    /// A null.
    Empty,
    Value,
}

impl FieldNames {
    /// The field's first name in files.
    pub(crate) fn key(&self) -> String {
        let segments: Vec<_> =
            self.keys.iter().filter_map(|names| names.first().copied()).collect();
        segments.join(".")
    }

    /// The value of the field's variables: one text, or a map of all parts of a pair. Half a pair is an error, since
    /// the other half would come from another source, and the two would make one credential. `origin` is what the
    /// error calls the source.
    pub(crate) fn assemble(
        &self,
        origin: &str,
        read: impl Fn(&str) -> Result<Option<String>, Cause>,
    ) -> Result<Option<Value>, Cause> {
        if self.parts.is_empty() {
            let Some(variable) = self.variables.first() else { return Ok(None) };
            return Ok(read(variable)?.map(Value::text));
        }
        let mut map = BTreeMap::new();
        let (mut set, mut unset) = (Vec::new(), Vec::new());
        for (part, variable) in self.parts.iter().zip(&self.variables) {
            match read(variable)? {
                Some(text) => {
                    map.insert((*part).to_owned(), Value::text(text));
                    set.push(variable.as_str());
                }
                None => unset.push(variable.as_str()),
            }
        }
        match (set.is_empty(), unset.is_empty()) {
            (true, _) => Ok(None),
            (false, true) => Ok(Some(Value::Map(map))),
            (false, false) => Err(half_a_pair(&set, &unset).at(origin)),
        }
    }
}

fn half_a_pair(set: &[&str], unset: &[&str]) -> Cause {
    let (set, unset) = (set.join(", "), unset.join(", "));
    Cause::new(
        ErrorKind::Environment,
        format!("{set} is set and {unset} is not: both must come from one source"),
        "set both, or neither",
    )
}

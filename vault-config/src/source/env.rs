//! The process environment, or variables that the program gives in its place. It is read by name and never written.

use std::collections::BTreeMap;

use secrecy::zeroize::Zeroizing;

use crate::error::{Cause, ErrorKind};
use crate::report::Provenance;
use crate::source::{FieldNames, Source, SourceRole, SourceValue};

#[derive(Clone, Default)]
pub(crate) enum Environment {
    #[default]
    Process,
    Injected(BTreeMap<String, Zeroizing<String>>),
}

impl Environment {
    pub(crate) fn injected<K: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self::Injected(
            variables.into_iter().map(|(k, v)| (k.into(), Zeroizing::new(v.into()))).collect(),
        )
    }

    /// An empty variable counts as unset.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Zeroizing<String>>, Cause> {
        Ok(self.raw(name)?.filter(|value| !value.is_empty()))
    }

    /// Whether the variable is set and not empty. Its value may be no text.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        match self {
            Self::Injected(variables) => variables.get(name).is_some_and(|value| !value.is_empty()),
            Self::Process => std::env::var_os(name).is_some_and(|value| !value.is_empty()),
        }
    }

    /// The value even if it is empty: in the official client an empty `BAO_*` hides its `VAULT_*`.
    pub(crate) fn raw(&self, name: &str) -> Result<Option<Zeroizing<String>>, Cause> {
        match self {
            Self::Injected(variables) => Ok(variables.get(name).cloned()),
            Self::Process => match std::env::var_os(name) {
                None => Ok(None),
                Some(value) => match value.into_string() {
                    Ok(value) => Ok(Some(Zeroizing::new(value))),
                    Err(_) => Err(Cause::new(
                        ErrorKind::Environment,
                        "the value is not UTF-8",
                        format!("set {name} to UTF-8 text, or unset it"),
                    )
                    .at(format!("env {name}"))),
                },
            },
        }
    }
}

impl Source for Environment {
    fn role(&self) -> SourceRole {
        SourceRole::Override
    }

    fn find(&self, field: &FieldNames) -> Result<Option<SourceValue>, Cause> {
        let read = |variable: &str| Ok(self.get(variable)?.map(|text| text.as_str().to_owned()));
        let value = field.assemble("env", read)?;
        let provenance = || Provenance::Env { variable: field.variables.join(", ") };
        Ok(value.map(|value| SourceValue { value, provenance: provenance() }))
    }

    fn tried(&self, field: &FieldNames) -> Option<String> {
        Some(format!("env {}: not set", field.variables.join(", ")))
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Process => f.write_str("Process"),
            Self::Injected(variables) => f.debug_set().entries(variables.keys()).finish(),
        }
    }
}

/// The official client's variables: `BAO_X` has priority over `VAULT_X`, and an empty `BAO_X` hides `VAULT_X`.
pub(crate) struct OfficialEnv<'a>(pub(crate) &'a Environment);

impl OfficialEnv<'_> {
    pub(crate) fn get(&self, name: &str) -> Result<Option<(String, Zeroizing<String>)>, Cause> {
        for prefix in ["BAO", "VAULT"] {
            let variable = format!("{prefix}_{name}");
            if let Some(value) = self.0.raw(&variable)? {
                return Ok((!value.is_empty()).then_some((variable, value)));
            }
        }
        Ok(None)
    }

    /// Parses a variable. The error of `read` must not quote the value; the variable's name is added here.
    pub(crate) fn parse<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Cause> {
        let Some((variable, value)) = self.get(name)? else { return Ok(None) };
        read(&value).map(Some).map_err(|what| {
            Cause::new(ErrorKind::Setting, what, format!("correct {variable}, or unset it"))
                .at(format!("env {variable}"))
        })
    }
}

/// Reads a switch as the official client does, for which any other word is an error.
pub(crate) fn truth(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("is neither true nor false".to_owned()),
    }
}

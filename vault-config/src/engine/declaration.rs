//! What a field's attribute says of its source in Vault, before variables are filled in.

use super::{Variables, VaultSource};
use crate::error::{Cause, ErrorKind};

/// Each row names an engine's file and the struct in it that holds the words of a field's attribute.
/// Generated code builds that struct, and the struct's methods are `bind` and `shape`.
macro_rules! declarations {
    ($($(#[$condition:meta])* $file:ident::$engine:ident,)*) => {
        $($(#[$condition])* pub use super::$file::$engine;)*

        #[doc(hidden)]
        #[derive(Debug)]
        pub enum Declaration {
            $($(#[$condition])* $engine($engine),)*
        }

        impl Declaration {
            pub(crate) fn bind(&self, scope: &FieldScope<'_>) -> Result<VaultSource, Cause> {
                let source = match self {
                    $($(#[$condition])* Self::$engine(declared) => declared.bind(scope)?,)*
                };
                Ok(source.with_namespace(scope.fill_namespace()?))
            }

            pub(crate) fn shape(&self) -> LocalShape {
                match self {
                    $($(#[$condition])* Self::$engine(declared) => declared.shape(),)*
                }
            }
        }
    };
}

declarations! {
    kv::Kv,
    database::Database,
    database::DatabaseStatic,
    read::Read,
    write::Write,
    #[cfg(feature = "pki")]
    pki::Pki,
    #[cfg(feature = "ssh")]
    ssh::Ssh,
    transit::Transit,
}

/// The shape of a field's value in the sources outside of Vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LocalShape {
    /// The field's own type decides.
    OfType,
    /// A map of keys.
    Map,
    /// A map of these keys. The environment has one variable for each.
    Parts(&'static [&'static str]),
}

impl LocalShape {
    /// Of a field that uses one key of a response, or else all of them.
    pub(super) fn of_key(key: Option<&str>) -> Self {
        match key {
            Some(_) => Self::OfType,
            None => Self::Map,
        }
    }

    pub(crate) fn parts(self) -> &'static [&'static str] {
        match self {
            Self::Parts(parts) => parts,
            Self::OfType | Self::Map => &[],
        }
    }

    /// The type that JSON Schema calls it.
    pub(crate) fn json_type(self) -> Option<&'static str> {
        match self {
            Self::OfType => None,
            Self::Map | Self::Parts(_) => Some("object"),
        }
    }
}

/// What a declaration is bound with: its field's name, the defaults of the structs around the field,
/// and the variables.
#[derive(Debug)]
pub(crate) struct FieldScope<'a> {
    pub(crate) field: &'a str,
    pub(crate) kv: Option<&'a str>,
    pub(crate) mount: Option<&'a str>,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) variables: &'a Variables,
}

impl FieldScope<'_> {
    pub(super) fn fill(&self, path: &str) -> Result<String, Cause> {
        self.variables.fill(path)
    }

    /// For texts that are not paths, where a variable may hold anything.
    pub(super) fn fill_text(&self, text: &str) -> Result<String, Cause> {
        self.variables.fill_text(text)
    }

    fn fill_namespace(&self) -> Result<Option<String>, Cause> {
        let Some(namespace) = self.namespace else { return Ok(None) };
        let filled = self.fill(namespace)?;
        // The namespace is sent in a header, which loses spaces at its ends and cannot hold other
        // characters: the request would go to another namespace.
        match filled.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Some(filled)),
            false => Err(Cause::new(
                ErrorKind::Variable,
                format!(
                    "with its variables filled in, the namespace \"{namespace}\" has a space or a \
                     character that is not ASCII"
                ),
                "set the variables to names of namespaces",
            )),
        }
    }
}

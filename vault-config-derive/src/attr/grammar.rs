//! The tables of `#[vault(..)]`. A new source is one entry of [`SOURCES`], with a declaration of the same shape in the
//! runtime crate.

use crate::attr::literal;
use crate::rename_rule;

/// How a field names a source in Vault.
pub(crate) struct SourceSyntax {
    pub(crate) keyword: &'static str,
    pub(crate) value: ArgSyntax,
    /// The struct in `__private` that holds what the field declares, and the variant of `Declaration` that holds the
    /// struct.
    pub(crate) declaration: &'static str,
    /// The field of the declaration that holds the keyword's value. An option's field has the option's own name.
    pub(crate) value_field: &'static str,
    /// The [`OPTIONS`] that the source accepts.
    pub(crate) options: &'static [&'static str],
    /// The trait in `__private` that the type of the field must implement, if not every type is possible.
    pub(crate) field_trait: Option<&'static str>,
}

pub(crate) static SOURCES: &[SourceSyntax] = &[
    SourceSyntax {
        keyword: "kv",
        value: ArgSyntax::FlagOrText(literal::path),
        declaration: "Kv",
        value_field: "path",
        options: &["key", "mount", "version", "kv_version", "whole", "refresh"],
        field_trait: None,
    },
    SourceSyntax {
        keyword: "database",
        value: ArgSyntax::Text(literal::path),
        declaration: "Database",
        value_field: "role",
        options: &["mount"],
        field_trait: None,
    },
    SourceSyntax {
        keyword: "database_static",
        value: ArgSyntax::Text(literal::path),
        declaration: "DatabaseStatic",
        value_field: "role",
        options: &["mount"],
        field_trait: None,
    },
    SourceSyntax {
        keyword: "read",
        value: ArgSyntax::Text(literal::path),
        declaration: "Read",
        value_field: "path",
        options: &["key", "refresh"],
        field_trait: None,
    },
    SourceSyntax {
        keyword: "write",
        value: ArgSyntax::Text(literal::path),
        declaration: "Write",
        value_field: "path",
        options: &["data", "key", "refresh"],
        field_trait: None,
    },
    SourceSyntax {
        keyword: "pki",
        value: ArgSyntax::Text(literal::path),
        declaration: "Pki",
        value_field: "role",
        options: &["mount", "common_name", "alt_names", "ip_sans", "ttl"],
        field_trait: Some("HoldsCertificate"),
    },
    SourceSyntax {
        keyword: "ssh",
        value: ArgSyntax::Text(literal::path),
        declaration: "Ssh",
        value_field: "role",
        options: &["mount", "public_key", "public_key_file", "valid_principals", "ttl"],
        field_trait: Some("HoldsSignedSshKey"),
    },
    SourceSyntax {
        keyword: "transit",
        value: ArgSyntax::Text(literal::path),
        declaration: "Transit",
        value_field: "key",
        options: &["mount"],
        field_trait: None,
    },
];

/// A keyword and the syntax of its value.
pub(crate) type AttributeSyntax = (&'static str, ArgSyntax);

/// The options of sources. [`SourceSyntax::options`] says which source accepts which.
pub(crate) static OPTIONS: &[AttributeSyntax] = &[
    ("key", ArgSyntax::Text(literal::not_empty)),
    ("mount", ArgSyntax::Text(literal::path)),
    ("version", ArgSyntax::Number),
    ("kv_version", ArgSyntax::Number),
    ("whole", ArgSyntax::Flag),
    ("refresh", ArgSyntax::Refresh),
    ("data", ArgSyntax::Pairs),
    ("common_name", ArgSyntax::Text(literal::engine_parameter)),
    ("alt_names", ArgSyntax::Text(literal::engine_parameter)),
    ("ip_sans", ArgSyntax::Text(literal::engine_parameter)),
    ("ttl", ArgSyntax::Text(literal::ttl)),
    ("public_key", ArgSyntax::Text(literal::engine_parameter)),
    ("public_key_file", ArgSyntax::Text(literal::engine_parameter)),
    ("valid_principals", ArgSyntax::Text(literal::engine_parameter)),
];

static FIELD_ATTRIBUTES: &[AttributeSyntax] = &[
    ("nested", ArgSyntax::Flag),
    ("default", ArgSyntax::FlagOrExpr),
    ("env", ArgSyntax::Text(literal::env_name)),
    ("rename", ArgSyntax::Text(literal::not_empty)),
    ("plain", ArgSyntax::Flag),
    ("namespace", ArgSyntax::Text(literal::namespace)),
    ("validate", ArgSyntax::Path),
];

static CONTAINER_ATTRIBUTES: &[AttributeSyntax] = &[
    ("env_prefix", ArgSyntax::Text(literal::env_name)),
    ("kv", ArgSyntax::Text(literal::path)),
    ("mount", ArgSyntax::Text(literal::path)),
    ("namespace", ArgSyntax::Text(literal::namespace)),
    ("rename_all", ArgSyntax::Text(rename_rule::check)),
    ("crate", ArgSyntax::PathOrText),
    ("validate", ArgSyntax::Path),
    ("deny_unknown", ArgSyntax::Flag),
];

/// What can follow a keyword.
#[derive(Clone, Copy)]
pub(crate) enum ArgSyntax {
    Flag,
    Text(TextCheck),
    FlagOrText(TextCheck),
    Number,
    /// A duration, or `never`.
    Refresh,
    /// Names with strings, in parentheses.
    Pairs,
    /// The path of a function.
    Path,
    /// The path of a crate. serde takes it as a string, so a string is accepted too.
    PathOrText,
    FlagOrExpr,
}

/// Returns the problem with a string, as the end of a sentence that starts with the attribute's name.
pub(crate) type TextCheck = fn(&str) -> Result<(), String>;

impl ArgSyntax {
    /// The message about a value of another form.
    pub(crate) fn usage(self, keyword: &str) -> String {
        match self {
            Self::Flag => format!("`{keyword}` takes no value: write only `{keyword}`"),
            Self::Text(_) => {
                format!("`{keyword}` takes a string: write `{keyword} = \"..\"`")
            }
            Self::FlagOrText(_) => format!(
                "`{keyword}` takes a string or nothing: write `{keyword} = \"..\"` or `{keyword}`"
            ),
            Self::Number => {
                format!("`{keyword}` takes a whole number without quotes: write `{keyword} = 2`")
            }
            Self::Refresh => format!(
                "`{keyword}` takes a duration or `never`, in quotes: write `{keyword} = \"5m\"` or `{keyword} = \"never\"`"
            ),
            Self::Pairs => format!(
                "`{keyword}` takes names with strings: write `{keyword}(name = \"..\", other = \"..\")`"
            ),
            Self::Path => format!(
                "`{keyword}` takes a path without quotes: write `{keyword} = path::to::function`"
            ),
            Self::PathOrText => {
                format!("`{keyword}` takes the path of a crate: write `{keyword} = \"..\"`")
            }
            Self::FlagOrExpr => format!(
                "`{keyword}` takes an expression or nothing: write `{keyword} = ..` or `{keyword}`"
            ),
        }
    }
}

/// Where an attribute stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttributeLevel {
    Field,
    Container,
}

impl AttributeLevel {
    pub(crate) fn attributes(self) -> impl Iterator<Item = AttributeSyntax> {
        let (sources, options, others): (&[SourceSyntax], &[AttributeSyntax], &[AttributeSyntax]) =
            match self {
                Self::Field => (SOURCES, OPTIONS, FIELD_ATTRIBUTES),
                Self::Container => (&[], &[], CONTAINER_ATTRIBUTES),
            };
        let sources = sources.iter().map(|source| (source.keyword, source.value));
        sources.chain(options.iter().chain(others).copied())
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Field => Self::Container,
            Self::Container => Self::Field,
        }
    }

    pub(crate) fn place(self) -> &'static str {
        match self {
            Self::Field => "a field",
            Self::Container => "the struct",
        }
    }
}

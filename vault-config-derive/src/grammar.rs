//! The words of `#[vault(..)]`, in tables: a new source is one entry of [`SOURCES`], with a type of the
//! same shape in `vault_config::__private`.

use crate::{case, text};

/// Where a field's value comes from in Vault.
pub(crate) struct Source {
    pub(crate) word: &'static str,
    pub(crate) takes: Takes,
    /// The type in `__private` that holds what the field says.
    pub(crate) declares: &'static str,
    /// The name of the word's own value in that type; companions have their word as name.
    pub(crate) value: &'static str,
    pub(crate) companions: &'static [&'static str],
    /// The trait in `__private` of the types that such a field may have, when not any will do.
    pub(crate) fits: Option<&'static str>,
}

pub(crate) static SOURCES: [Source; 8] = [
    Source {
        word: "kv",
        takes: Takes::FlagOrText(text::path),
        declares: "Kv",
        value: "path",
        companions: &["key", "mount", "version", "kv_version", "whole", "refresh"],
        fits: None,
    },
    Source {
        word: "database",
        takes: Takes::Text(text::path),
        declares: "Database",
        value: "role",
        companions: &["mount"],
        fits: None,
    },
    Source {
        word: "database_static",
        takes: Takes::Text(text::path),
        declares: "DatabaseStatic",
        value: "role",
        companions: &["mount"],
        fits: None,
    },
    Source {
        word: "read",
        takes: Takes::Text(text::path),
        declares: "Read",
        value: "path",
        companions: &["key", "refresh"],
        fits: None,
    },
    Source {
        word: "write",
        takes: Takes::Text(text::path),
        declares: "Write",
        value: "path",
        companions: &["data", "key", "refresh"],
        fits: None,
    },
    Source {
        word: "pki",
        takes: Takes::Text(text::path),
        declares: "Pki",
        value: "role",
        companions: &["mount", "common_name", "alt_names", "ip_sans", "ttl"],
        fits: Some("HoldsCertificate"),
    },
    Source {
        word: "ssh",
        takes: Takes::Text(text::path),
        declares: "Ssh",
        value: "role",
        companions: &["mount", "public_key", "public_key_file", "valid_principals", "ttl"],
        fits: Some("HoldsSignedSshKey"),
    },
    Source {
        word: "transit",
        takes: Takes::Text(text::path),
        declares: "Transit",
        value: "key",
        companions: &["mount"],
        fits: None,
    },
];

type Word = (&'static str, Takes);

/// Words that say more about a source; what [`Source::companions`] refers to.
pub(crate) static COMPANIONS: [Word; 14] = [
    ("key", Takes::Text(text::not_empty)),
    ("mount", Takes::Text(text::path)),
    ("version", Takes::Number),
    ("kv_version", Takes::Number),
    ("whole", Takes::Flag),
    ("refresh", Takes::Interval),
    ("data", Takes::Pairs),
    ("common_name", Takes::Text(text::wish)),
    ("alt_names", Takes::Text(text::wish)),
    ("ip_sans", Takes::Text(text::wish)),
    ("ttl", Takes::Text(text::ttl)),
    ("public_key", Takes::Text(text::wish)),
    ("public_key_file", Takes::Text(text::wish)),
    ("valid_principals", Takes::Text(text::wish)),
];

static GENERAL: [Word; 7] = [
    ("nested", Takes::Flag),
    ("default", Takes::FlagOrExpr),
    ("env", Takes::Text(text::env_name)),
    ("rename", Takes::Text(text::not_empty)),
    ("plain", Takes::Flag),
    ("namespace", Takes::Text(text::namespace)),
    ("validate", Takes::Path),
];

static CONTAINER: [Word; 8] = [
    ("env_prefix", Takes::Text(text::env_name)),
    ("kv", Takes::Text(text::path)),
    ("mount", Takes::Text(text::path)),
    ("namespace", Takes::Text(text::namespace)),
    ("rename_all", Takes::Text(case::check)),
    ("crate", Takes::PathOrText),
    ("validate", Takes::Path),
    ("deny_unknown", Takes::Flag),
];

/// What may follow a word.
#[derive(Clone, Copy)]
pub(crate) enum Takes {
    Flag,
    Text(TextCheck),
    FlagOrText(TextCheck),
    Number,
    /// A duration, or `never`.
    Interval,
    /// Names with texts, in parentheses.
    Pairs,
    Path,
    PathOrText,
    FlagOrExpr,
}

pub(crate) type TextCheck = fn(&str) -> Result<(), String>;

impl Takes {
    /// How the word is written, for the message about one that is written otherwise.
    pub(crate) fn usage(self, word: &str) -> String {
        match self {
            Self::Flag => format!("`{word}` stands alone and takes no value"),
            Self::Text(_) => format!("`{word}` takes a string: `{word} = \"..\"`"),
            Self::FlagOrText(_) => {
                format!("`{word}` takes a string or nothing: `{word} = \"..\"` or `{word}`")
            }
            Self::Number => format!("`{word}` takes a whole number without quotes: `{word} = 2`"),
            Self::Interval => format!(
                "`{word}` takes a duration or `never`, in quotes: `{word} = \"5m\"` or `{word} = \"never\"`"
            ),
            Self::Pairs => {
                format!("`{word}` takes names with texts: `{word}(name = \"..\", other = \"..\")`")
            }
            Self::Path => {
                format!("`{word}` takes a path without quotes: `{word} = path::to::function`")
            }
            Self::PathOrText => format!("`{word}` takes the path of a crate: `{word} = \"..\"`"),
            Self::FlagOrExpr => {
                format!("`{word}` takes an expression or nothing: `{word} = ..` or `{word}`")
            }
        }
    }
}

/// Where an attribute stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Field,
    Container,
}

impl Level {
    pub(crate) fn words(self) -> impl Iterator<Item = Word> {
        let (sources, companions, general): (&[Source], &[Word], &[Word]) = match self {
            Self::Field => (&SOURCES, &COMPANIONS, &GENERAL),
            Self::Container => (&[], &[], &CONTAINER),
        };
        let sources = sources.iter().map(|source| (source.word, source.takes));
        sources.chain(companions.iter().chain(general).copied())
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

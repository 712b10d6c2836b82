//! Where every field came from.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::leased::Facts;

/// Where the value of one field came from. Never the value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Provenance {
    /// A variable of the process environment (two for a pair).
    Env {
        /// The variable's name, or both joined by a comma.
        variable: String,
    },
    /// A variable of the `.env` file.
    Dotenv {
        /// The variable's name, or both joined by a comma.
        variable: String,
        /// The file and the line.
        place: String,
    },
    /// A figment layer.
    Layer {
        /// The layer's name and the key.
        name: String,
    },
    /// Vault or OpenBao.
    Vault {
        /// The source, such as `kv secret/my-app#port`.
        source: String,
        /// The version of a KV v2 secret.
        version: Option<u64>,
        /// How long it is good for, in seconds: a lease, or what ends by itself, such as a
        /// certificate.
        ttl_seconds: Option<u64>,
        /// When it ends, if it is not renewed.
        expires_at: Option<SystemTime>,
        /// Whether its lease can be renewed.
        renewable: bool,
    },
    /// Vault or OpenBao, but it was not made: a check makes no credential, and only asks whether the token may.
    NotMade {
        /// The source, such as `database database/creds/readonly`.
        source: String,
    },
    /// The field's own default.
    Default,
    /// Nowhere: the field is `None`.
    Absent,
}

impl Provenance {
    /// What a [`Leased`](crate::Leased) tells.
    pub(crate) fn facts(&self) -> Option<Facts> {
        let Self::Vault { ttl_seconds, expires_at, renewable, .. } = self else {
            return None;
        };
        let ttl = ttl_seconds.map(Duration::from_secs);
        Some(Facts { ttl, expires_at: *expires_at, renewable: *renewable })
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env { variable } => write!(f, "env {variable}"),
            Self::Dotenv { variable, place } => write!(f, "{place} {variable}"),
            Self::Layer { name } => f.write_str(name),
            Self::Vault { source, version: Some(version), .. } => {
                write!(f, "vault {source} (version {version})")
            }
            Self::Vault { source, ttl_seconds: Some(seconds), .. } => {
                write!(f, "vault {source} (good for {seconds} s)")
            }
            Self::Vault { source, .. } => write!(f, "vault {source}"),
            Self::NotMade { source } => {
                write!(f, "vault {source} (not made; the token may ask for it)")
            }
            Self::Default => f.write_str("default"),
            Self::Absent => f.write_str("nowhere (None)"),
        }
    }
}

/// Where every field of a loaded configuration came from, and what nobody uses.
///
/// `Display` prints a line a field. No value is ever in it.
#[derive(Debug, Clone)]
pub struct Report {
    pub(crate) mode: String,
    pub(crate) fields: Vec<(String, Provenance)>,
    pub(crate) unused: Vec<(String, String)>,
    pub(crate) unknown: Vec<(String, String)>,
}

impl Report {
    /// The mode and why it was chosen, as a sentence.
    #[must_use]
    pub fn mode(&self) -> &str {
        &self.mode
    }

    /// Each field's path and where its value came from, in the order of the struct.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Provenance)> {
        self.fields.iter().map(|(path, provenance)| (path.as_str(), provenance))
    }

    /// Where one field's value came from.
    #[must_use]
    pub fn provenance(&self, field: &str) -> Option<&Provenance> {
        self.fields.iter().find(|(path, _)| path == field).map(|(_, provenance)| provenance)
    }

    /// Keys of secrets that were read and that no field uses: the secret's source and the key.
    pub fn unused_keys(&self) -> impl Iterator<Item = (&str, &str)> {
        self.unused.iter().map(|(source, key)| (source.as_str(), key.as_str()))
    }

    /// Keys of figment layers that no field takes: the key's path and its layer.
    pub fn unknown_keys(&self) -> impl Iterator<Item = (&str, &str)> {
        self.unknown.iter().map(|(path, layer)| (path.as_str(), layer.as_str()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.mode)?;
        let width = self.fields.iter().map(|(path, _)| path.len()).max().unwrap_or_default();
        for (path, provenance) in &self.fields {
            writeln!(f, "  {path:width$}  {provenance}")?;
        }
        for (source, key) in &self.unused {
            writeln!(f, "  unused: key {key} of vault {source}")?;
        }
        for (path, layer) in &self.unknown {
            writeln!(f, "  unknown: key {path} of {layer}")?;
        }
        Ok(())
    }
}

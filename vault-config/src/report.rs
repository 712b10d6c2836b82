//! Where every field came from.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::leased::LeaseInfo;
use crate::text::{self, printable, sentence};

/// Where the value of one field came from. Never contains the value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Provenance {
    /// A variable of the process environment, or two for a user name and a password.
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
        /// The lifetime in seconds, of a lease or of a value that expires without one, such as a certificate.
        ttl_seconds: Option<u64>,
        /// When the value expires, if it is not renewed.
        expires_at: Option<SystemTime>,
        /// Whether its lease can be renewed.
        renewable: bool,
    },
    /// Vault or OpenBao, in a check: the token may request the credential, and none was issued.
    NotMade {
        /// The source, such as `database database/creds/readonly`.
        source: String,
    },
    /// The field's own default.
    Default,
    /// No source has a value: the field is `None`.
    Absent,
}

impl Provenance {
    /// What a [`Leased`](crate::Leased) holds besides the value.
    pub(crate) fn lease_info(&self) -> Option<LeaseInfo> {
        let Self::Vault { ttl_seconds, expires_at, renewable, .. } = self else {
            return None;
        };
        let ttl = ttl_seconds.map(Duration::from_secs);
        Some(LeaseInfo { ttl, expires_at: *expires_at, renewable: *renewable })
    }

    /// With every text on one line and printable.
    fn shown(self) -> Self {
        match self {
            Self::Env { variable } => Self::Env { variable: sentence(variable) },
            Self::Dotenv { variable, place } => {
                Self::Dotenv { variable: sentence(variable), place: sentence(place) }
            }
            Self::Layer { name } => Self::Layer { name: sentence(name) },
            Self::NotMade { source } => Self::NotMade { source: sentence(source) },
            Self::Vault { source, version, ttl_seconds, expires_at, renewable } => Self::Vault {
                source: sentence(source),
                version,
                ttl_seconds,
                expires_at,
                renewable,
            },
            Self::Default | Self::Absent => self,
        }
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
                write!(f, "vault {source} (valid for {seconds} s)")
            }
            Self::Vault { source, .. } => write!(f, "vault {source}"),
            Self::NotMade { source } => {
                write!(f, "vault {source} (not issued; the token may request it)")
            }
            Self::Default => f.write_str("default"),
            Self::Absent => f.write_str("absent (None)"),
        }
    }
}

/// Where every field of a loaded configuration came from, and which keys no field uses.
///
/// `Display` and `Debug` print one line for each field. A report never contains a value. In names that come from
/// outside of the program, such as those of keys, line breaks and characters that are not printable are escaped as by
/// `{:?}`.
#[derive(Clone)]
pub struct Report {
    mode: String,
    fields: Vec<(String, Provenance)>,
    unused: Vec<(String, String)>,
    unknown: Vec<(String, String)>,
}

impl Report {
    /// `unused` has pairs of source and key, `unknown` pairs of path and layer.
    pub(crate) fn new(
        mode: String,
        fields: Vec<(String, Provenance)>,
        unused: Vec<(String, String)>,
        unknown: Vec<(String, String)>,
    ) -> Self {
        let fields = fields.into_iter().map(|(path, provenance)| (path, provenance.shown()));
        let unused = unused.into_iter().map(|(source, key)| (sentence(source), printable(&key)));
        let unknown = unknown.into_iter().map(|(path, layer)| (printable(&path), sentence(layer)));
        Self {
            mode: sentence(mode),
            fields: fields.collect(),
            unused: unused.collect(),
            unknown: unknown.collect(),
        }
    }

    /// Returns the mode and why it was chosen, as a sentence.
    #[must_use]
    pub fn mode(&self) -> &str {
        &self.mode
    }

    /// Returns the path and the provenance of every field, in the order of the struct.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Provenance)> {
        self.fields.iter().map(|(path, provenance)| (path.as_str(), provenance))
    }

    /// Returns the provenance of one field; `None` if there is no such field.
    #[must_use]
    pub fn provenance(&self, field: &str) -> Option<&Provenance> {
        self.fields.iter().find(|(path, _)| path == field).map(|(_, provenance)| provenance)
    }

    /// Returns the keys of secrets that no field uses: the secret's source and the key.
    pub fn unused_keys(&self) -> impl Iterator<Item = (&str, &str)> {
        self.unused.iter().map(|(source, key)| (source.as_str(), key.as_str()))
    }

    /// Returns the keys of figment layers that no field uses: the key's path and its layer.
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
        let unused = self.unused_keys().map(|(source, key)| (format!("vault {source}"), key));
        write_keys(f, "unused", unused)?;
        write_keys(f, "unknown", self.unknown_keys().map(|(path, layer)| (layer.to_owned(), path)))
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One line for each key, and one for the number of keys of a source that are not shown.
fn write_keys<'a>(
    f: &mut fmt::Formatter<'_>,
    label: &str,
    keys: impl Iterator<Item = (String, &'a str)>,
) -> fmt::Result {
    let mut by_source: Vec<(String, Vec<&str>)> = Vec::new();
    for (source, key) in keys {
        match by_source.iter_mut().rfind(|(known, _)| *known == source) {
            Some((_, keys)) => keys.push(key),
            None => by_source.push((source, vec![key])),
        }
    }
    for (source, keys) in by_source {
        let (shown, more) = keys.split_at(keys.len().min(text::MANY));
        for key in shown {
            writeln!(f, "  {label}: key {} of {source}", text::name(key))?;
        }
        match more.len() {
            0 => {}
            1 => writeln!(f, "  {label}: 1 more key of {source}")?,
            more => writeln!(f, "  {label}: {more} more keys of {source}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_of_keys_are_a_few_lines_and_none_is_lost() {
        let keys = |of: &str, count: usize| -> Vec<_> {
            (0..count).map(|n| (of.to_owned(), format!("key{n}"))).collect()
        };
        let unused = [keys("kv a", 2), keys("kv b", 10_000), keys("kv c", 13)].concat();
        // figment orders keys by name, so that those of two files alternate.
        let files = keys("", 10_000).into_iter().zip(["app.toml", "env.toml"].into_iter().cycle());
        let unknown = files.map(|((_, key), file)| (key, file.to_owned())).collect();
        let report = Report::new(String::new(), Vec::new(), unused, unknown);
        assert_eq!(report.unused_keys().count(), 10_015);
        let text = report.to_string();
        assert_eq!(text.lines().count(), 1 + 2 + 13 + 13 + 2 * 13, "{text}");
        for line in [
            "  unused: key key1 of vault kv a\n",
            "  unused: 9988 more keys of vault kv b\n",
            "  unused: 1 more key of vault kv c\n",
            "  unknown: 4988 more keys of env.toml\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}

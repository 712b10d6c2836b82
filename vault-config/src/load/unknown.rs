//! Keys of files that no field takes, and values where a nested struct has its table.

use crate::error::{Cause, ErrorKind, Problem};
use crate::load::lookup::SourceList;
use crate::schema::{Field, Origin, Schema};
use crate::source::{SourceKey, SourceKeyContent};
use crate::text;

/// What the keys of the sources hold that the schema does not.
#[derive(Default)]
pub(crate) struct UnknownKeys {
    pub(crate) problems: Vec<Problem>,
    /// For the report: each path and its layer.
    pub(crate) allowed: Vec<(String, String)>,
}

/// A key that no field takes.
struct UnknownKey<'a> {
    path: String,
    origin: &'a str,
    /// The keys that fields of the same struct take.
    known: Vec<&'static str>,
}

/// One walk through the keys of a source, along the schema.
#[derive(Default)]
struct KeyWalk<'a> {
    denied: Vec<UnknownKey<'a>>,
    allowed: Vec<(String, String)>,
    not_tables: Vec<(String, &'a str)>,
}

impl UnknownKeys {
    pub(crate) fn find(schema: &Schema, sources: &SourceList<'_>) -> Self {
        let mut unknown = Self::default();
        for source in sources {
            let keys = source.keys();
            let mut walk = KeyWalk::default();
            walk.unknown(schema, &keys, "", schema.deny_unknown);
            walk.not_tables(schema, &keys, "");
            unknown.problems.extend(denied(walk.denied));
            unknown.problems.extend(walk.not_tables.into_iter().map(not_a_table));
            unknown.allowed.extend(walk.allowed);
        }
        unknown
    }
}

impl<'a> KeyWalk<'a> {
    /// `is_denied` is whether `deny_unknown` stands on the struct or on one around it.
    fn unknown(&mut self, schema: &Schema, keys: &'a [SourceKey], prefix: &str, is_denied: bool) {
        for key in keys {
            let path = format!("{prefix}{}", key.name);
            let takes = |field: &&Field| names(field).any(|name| name == key.name);
            match schema.fields.iter().find(takes).map(|field| &field.origin) {
                None if is_denied => {
                    let known = schema.fields.iter().flat_map(names).collect();
                    self.denied.push(UnknownKey { path, origin: &key.origin, known });
                }
                None => self.allowed.push((path, key.origin.clone())),
                Some(Origin::Nested { schema, .. }) => {
                    if let SourceKeyContent::Table(keys) = &key.content {
                        let is_denied = is_denied || schema.deny_unknown;
                        self.unknown(schema, keys, &format!("{path}."), is_denied);
                    }
                }
                Some(_) => {}
            }
        }
    }

    fn not_tables(&mut self, schema: &Schema, keys: &'a [SourceKey], prefix: &str) {
        for field in &schema.fields {
            let Origin::Nested { schema, .. } = &field.origin else { continue };
            let mut present =
                names(field).filter_map(|name| keys.iter().find(|key| key.name == name));
            let Some(key) = present.next() else { continue };
            let path = format!("{prefix}{}", field.key);
            match &key.content {
                SourceKeyContent::Table(keys) => self.not_tables(schema, keys, &format!("{path}.")),
                SourceKeyContent::Value => self.not_tables.push((path, &key.origin)),
                SourceKeyContent::Empty => {}
            }
        }
    }
}

fn names(field: &Field) -> impl Iterator<Item = &'static str> {
    std::iter::once(field.key).chain(field.aliases.iter().copied())
}

/// A file of something else has thousands of unknown keys, so that only the first are reported one by one. Likely
/// typing errors go before the others.
fn denied(mut unknown: Vec<UnknownKey<'_>>) -> Vec<Problem> {
    if unknown.len() > text::MANY {
        unknown.sort_by_key(|unknown| unknown.nearest().is_none());
    }
    let more = unknown.split_off(unknown.len().min(text::MANY));
    let mut problems: Vec<_> = unknown.iter().map(UnknownKey::problem).collect();
    if let Some(first) = more.first() {
        let names = text::listed(more.iter().map(|unknown| text::name(&unknown.path)));
        let what = format!("no field takes {} more keys: {names}", more.len());
        let cause = Cause::new(ErrorKind::UnknownKey, what, "remove them");
        problems.push(Problem::general(cause.at(first.origin)));
    }
    problems
}

fn not_a_table((path, origin): (String, &str)) -> Problem {
    let what = format!("the key {path} is not a table, and a struct is read from it");
    let help = format!("write its fields below it: {path}.name");
    Problem::general(Cause::new(ErrorKind::WrongType, what, help).at(origin))
}

impl UnknownKey<'_> {
    fn key(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or(&self.path)
    }

    /// The known key that it is a typing error of.
    fn nearest(&self) -> Option<&str> {
        text::nearest(self.key(), self.known.iter().copied())
    }

    fn problem(&self) -> Problem {
        let help = match self.nearest() {
            Some(near) => format!("did you mean {near}?"),
            None => {
                let known = text::nearest_few(self.key(), self.known.iter().copied());
                format!("remove it; the keys here are {known}")
            }
        };
        let what = format!("no field takes the key {}", text::name(&self.path));
        Problem::general(Cause::new(ErrorKind::UnknownKey, what, help).at(self.origin))
    }
}

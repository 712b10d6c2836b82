//! The user's figment layers, read once.

use figment::value::{Dict, Num, Value as Figured};
use figment::{Figment, Metadata, Profile};

use crate::error::{Cause, ErrorKind};
use crate::report::Provenance;
use crate::source::{FieldNames, Source, SourceKey, SourceKeyContent, SourceRole, SourceValue};
use crate::text::printable;
use crate::value::Value;

pub(crate) struct Layers {
    figment: Figment,
    root: Dict,
    /// One for each layer that could not be read.
    problems: Vec<Cause>,
}

impl Layers {
    pub(crate) fn new(figment: Figment) -> Self {
        match figment.find_value("") {
            Ok(Figured::Dict(_, root)) => Self { figment, root, problems: Vec::new() },
            Ok(_) => Self { figment, root: Dict::new(), problems: Vec::new() },
            Err(error) => Self {
                figment,
                root: Dict::new(),
                problems: error.into_iter().map(|error| unreadable(&error)).collect(),
            },
        }
    }

    pub(crate) fn profile(&self) -> &Profile {
        self.figment.profile()
    }

    /// The value at a path whose segments may have several names each, with its layer and its key.
    fn get(&self, path: &[Vec<&'static str>]) -> Option<(Value, String)> {
        let (last, parents) = path.split_last()?;
        let mut dict = &self.root;
        for names in parents {
            dict = match names.iter().find_map(|name| dict.get(*name))? {
                Figured::Dict(_, dict) => dict,
                _ => return None,
            };
        }
        let (name, value) = last.iter().find_map(|name| Some((*name, dict.get(*name)?)))?;
        Some((convert(value), self.describe(path, name, value)))
    }

    fn describe(&self, path: &[Vec<&'static str>], name: &str, value: &Figured) -> String {
        let parents = path.iter().take(path.len() - 1).filter_map(|names| names.first().copied());
        let key: Vec<_> = parents.chain([name]).collect();
        format!("{} key {}", self.layer(value), key.join("."))
    }

    fn layer(&self, value: &Figured) -> String {
        described(self.figment.get_metadata(value.tag()))
    }

    fn keys_of(&self, table: &Dict) -> Vec<SourceKey> {
        let key = |(name, value): (&String, &Figured)| SourceKey {
            name: name.clone(),
            origin: self.layer(value),
            content: match value {
                Figured::Dict(_, table) => SourceKeyContent::Table(self.keys_of(table)),
                Figured::Empty(..) => SourceKeyContent::Empty,
                _ => SourceKeyContent::Value,
            },
        };
        table.iter().map(key).collect()
    }
}

impl Source for Layers {
    fn role(&self) -> SourceRole {
        SourceRole::Local
    }

    fn find(&self, field: &FieldNames) -> Result<Option<SourceValue>, Cause> {
        let found = self.get(&field.keys);
        Ok(found.map(|(value, name)| SourceValue { value, provenance: Provenance::Layer { name } }))
    }

    fn tried(&self, field: &FieldNames) -> Option<String> {
        (!self.root.is_empty()).then(|| format!("files: no key {}", field.key()))
    }

    fn problems(&self) -> &[Cause] {
        &self.problems
    }

    fn keys(&self) -> Vec<SourceKey> {
        self.keys_of(&self.root)
    }
}

/// What errors and reports call a layer. A file's name may hold characters that are not printable.
fn described(metadata: Option<&Metadata>) -> String {
    let Some(metadata) = metadata else { return "figment".to_owned() };
    match &metadata.source {
        Some(source) => printable(&format!("{source} ({})", metadata.name)),
        None => printable(&metadata.name),
    }
}

fn convert(value: &Figured) -> Value {
    match value {
        Figured::String(_, text) => Value::text(text.as_str()),
        Figured::Char(_, character) => Value::text(*character),
        Figured::Bool(_, value) => Value::Bool(*value),
        Figured::Num(_, number) => Value::Number(secrecy::zeroize::Zeroizing::new(digits(*number))),
        Figured::Empty(..) => Value::Null,
        Figured::Dict(_, dict) => {
            Value::Map(dict.iter().map(|(key, value)| (key.clone(), convert(value))).collect())
        }
        Figured::Array(_, items) => Value::List(items.iter().map(convert).collect()),
    }
}

fn digits(number: Num) -> String {
    match number {
        Num::U8(n) => n.to_string(),
        Num::U16(n) => n.to_string(),
        Num::U32(n) => n.to_string(),
        Num::U64(n) => n.to_string(),
        Num::U128(n) => n.to_string(),
        Num::USize(n) => n.to_string(),
        Num::I8(n) => n.to_string(),
        Num::I16(n) => n.to_string(),
        Num::I32(n) => n.to_string(),
        Num::I64(n) => n.to_string(),
        Num::I128(n) => n.to_string(),
        Num::ISize(n) => n.to_string(),
        Num::F32(n) => n.to_string(),
        Num::F64(n) => n.to_string(),
    }
}

/// Takes only the place from a parser's message, which quotes the line or the value.
fn unreadable(error: &figment::Error) -> Cause {
    let place = match &error.kind {
        figment::error::Kind::Message(text) => place(text),
        _ => None,
    };
    let what = match place {
        Some((line, column)) => format!("it cannot be read at line {line}, column {column}"),
        None => "it cannot be read, or its values do not have the shape of a layer".to_owned(),
    };
    Cause::new(ErrorKind::Figment, what, "correct the file, or remove the layer")
        .at(described(error.metadata.as_ref()))
}

/// `line 3 column 7` or `line 3, column 7`, which the parsers of TOML, JSON and YAML write last.
fn place(message: &str) -> Option<(u32, u32)> {
    let (_, rest) = message.rsplit_once("line ")?;
    let (line, rest) = rest.split_once([' ', ','])?;
    let (_, rest) = rest.split_once("column ")?;
    let column = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((line.parse().ok()?, column.parse().ok()?))
}

//! The user's figment layers, read once.

use figment::value::{Dict, Num, Value as Figured};
use figment::{Figment, Metadata, Profile};

use crate::error::{Cause, ErrorKind};
use crate::schema::{Field, Origin, Schema};
use crate::text::printable;
use crate::value::Value;

pub(crate) struct Layers {
    figment: Figment,
    root: Dict,
    /// Every layer that could not be read.
    pub(crate) problems: Vec<Cause>,
}

/// A key of a layer that no field takes.
pub(crate) struct Unknown {
    pub(crate) path: String,
    pub(crate) layer: String,
    /// The names it could have been meant for.
    pub(crate) known: Vec<&'static str>,
    /// `deny_unknown` stands on the struct or on one around it.
    pub(crate) denied: bool,
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

    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_empty()
    }

    pub(crate) fn profile(&self) -> &Profile {
        self.figment.profile()
    }

    /// The value at a field's path, where each segment may have several names, and the layer it
    /// came from.
    pub(crate) fn get(&self, path: &[Vec<&'static str>]) -> Option<(Value, String)> {
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

    /// Every key that no field takes.
    pub(crate) fn unknown(&self, schema: &Schema) -> Vec<Unknown> {
        let mut unknown = Vec::new();
        self.collect_unknown(schema, &self.root, "", schema.deny_unknown, &mut unknown);
        unknown
    }

    /// Values that stand where a struct inside the struct has its table: their paths and layers.
    pub(crate) fn not_tables(&self, schema: &Schema) -> Vec<(String, String)> {
        let mut wrong = Vec::new();
        self.collect_not_tables(schema, &self.root, "", &mut wrong);
        wrong
    }

    fn collect_not_tables(
        &self,
        schema: &Schema,
        dict: &Dict,
        prefix: &str,
        wrong: &mut Vec<(String, String)>,
    ) {
        for field in &schema.fields {
            let Origin::Nested { schema, .. } = &field.origin else { continue };
            match names(field).find_map(|name| dict.get(name)) {
                Some(Figured::Dict(_, dict)) => {
                    self.collect_not_tables(
                        schema,
                        dict,
                        &format!("{prefix}{}.", field.key),
                        wrong,
                    );
                }
                None | Some(Figured::Empty(..)) => {}
                Some(value) => wrong.push((format!("{prefix}{}", field.key), self.layer(value))),
            }
        }
    }

    fn collect_unknown(
        &self,
        schema: &Schema,
        dict: &Dict,
        prefix: &str,
        denied: bool,
        unknown: &mut Vec<Unknown>,
    ) {
        for (key, value) in dict {
            let path = format!("{prefix}{key}");
            let taken = schema.fields.iter().find(|field| names(field).any(|name| name == key));
            match taken.map(|field| &field.origin) {
                None => {
                    let known = schema.fields.iter().flat_map(names).collect();
                    unknown.push(Unknown { path, layer: self.layer(value), known, denied });
                }
                Some(Origin::Nested { schema, .. }) => {
                    if let Figured::Dict(_, dict) = value {
                        let (prefix, denied) = (format!("{path}."), denied || schema.deny_unknown);
                        self.collect_unknown(schema, dict, &prefix, denied, unknown);
                    }
                }
                Some(_) => {}
            }
        }
    }

    fn describe(&self, path: &[Vec<&'static str>], name: &str, value: &Figured) -> String {
        let parents = path.iter().take(path.len() - 1).filter_map(|names| names.first().copied());
        let key: Vec<_> = parents.chain([name]).collect();
        format!("{} key {}", self.layer(value), key.join("."))
    }

    fn layer(&self, value: &Figured) -> String {
        described(self.figment.get_metadata(value.tag()))
    }
}

/// What errors and reports call a layer. The name of a file may hold anything.
fn described(metadata: Option<&Metadata>) -> String {
    let Some(metadata) = metadata else { return "figment".to_owned() };
    match &metadata.source {
        Some(source) => printable(&format!("{source} ({})", metadata.name)),
        None => printable(&metadata.name),
    }
}

fn names(field: &Field) -> impl Iterator<Item = &'static str> {
    std::iter::once(field.key).chain(field.aliases.iter().copied())
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

/// Never a parser's own message: it shows the offending line or value.
fn unreadable(error: &figment::Error) -> Cause {
    let place = match &error.kind {
        figment::error::Kind::Message(text) => place(text),
        _ => None,
    };
    let what = match place {
        Some((line, column)) => format!("it cannot be read at line {line}, column {column}"),
        None => "it cannot be read, or its values are not of the shape a layer has".to_owned(),
    };
    Cause::new(ErrorKind::Figment, what, "mend the file, or take the layer out")
        .at(described(error.metadata.as_ref()))
}

/// `line 3 column 7` or `line 3, column 7`, as the parsers of TOML, JSON and YAML say it last.
fn place(message: &str) -> Option<(u32, u32)> {
    let (_, rest) = message.rsplit_once("line ")?;
    let (line, rest) = rest.split_once([' ', ','])?;
    let (_, rest) = rest.split_once("column ")?;
    let column = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((line.parse().ok()?, column.parse().ok()?))
}

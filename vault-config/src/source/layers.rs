//! The user's figment layers, read once.

use figment::value::{Dict, Num, Value as Figured};
use figment::{Figment, Profile};

use crate::error::{Cause, ErrorKind};
use crate::schema::{Field, Origin, Schema};
use crate::value::Value;

pub(crate) struct Layers {
    figment: Figment,
    root: Dict,
    /// Every layer that could not be read.
    pub(crate) problems: Vec<Cause>,
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

    /// The value at a field's path, where each segment may have several names, and the layer it came from.
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

    /// Every key that no field takes: its path, and the names it could have been meant for.
    pub(crate) fn unknown(&self, schema: &Schema) -> Vec<(String, Vec<&'static str>, String)> {
        let mut unknown = Vec::new();
        self.collect_unknown(schema, &self.root, "", &mut unknown);
        unknown
    }

    fn collect_unknown(
        &self,
        schema: &Schema,
        dict: &Dict,
        prefix: &str,
        unknown: &mut Vec<(String, Vec<&'static str>, String)>,
    ) {
        for (key, value) in dict {
            let path = format!("{prefix}{key}");
            let taken = schema.fields.iter().find(|field| names(field).any(|name| name == key));
            match taken.map(|field| &field.origin) {
                None => {
                    let known = schema.fields.iter().flat_map(names).collect();
                    unknown.push((path, known, self.layer(value)));
                }
                Some(Origin::Nested { schema, .. }) => {
                    if let Figured::Dict(_, dict) = value {
                        self.collect_unknown(schema, dict, &format!("{path}."), unknown);
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
        let Some(metadata) = self.figment.get_metadata(value.tag()) else {
            return "figment".to_owned();
        };
        match &metadata.source {
            Some(source) => format!("{source} ({})", metadata.name),
            None => metadata.name.clone().into_owned(),
        }
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

/// Only the first line of a parser's message: the rest may show the offending line of the file.
fn unreadable(error: &figment::Error) -> Cause {
    let source = error.metadata.as_ref().map_or_else(
        || "figment".to_owned(),
        |metadata| match &metadata.source {
            Some(source) => format!("{source} ({})", metadata.name),
            None => metadata.name.clone().into_owned(),
        },
    );
    let what = match &error.kind {
        figment::error::Kind::Message(text) => text.lines().next().unwrap_or_default().to_owned(),
        _ => "its values are not of the shape a layer has".to_owned(),
    };
    Cause::new(ErrorKind::Figment, what, "mend the file, or take the layer out").at(source)
}

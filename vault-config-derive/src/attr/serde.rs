//! The attribute `#[serde(..)]`. It is supported where serde and this derive read the same thing, ignored where it
//! concerns serde alone, and refused where a configuration cannot follow it.

use syn::{Attribute, ExprPath, Ident, LitStr, parse_quote};

use crate::attr::grammar::TextCheck;
use crate::attr::item::{AttributeItem, Payload, parse_attribute, parse_list, string_literal};
use crate::attr::literal;
use crate::attr::suggestion::did_you_mean;
use crate::error_collector::ErrorCollector;
use crate::rename_rule;

/// The supported arguments of `#[serde(..)]` on a field.
#[derive(Default)]
pub(crate) struct SerdeFieldArgs {
    pub(crate) rename: Option<LitStr>,
    pub(crate) aliases: Vec<LitStr>,
    pub(crate) default: Option<SerdeDefault>,
    pub(crate) deserialize_with: Option<DeserializeWith>,
}

/// The supported arguments of `#[serde(..)]` on the struct.
#[derive(Default)]
pub(crate) struct SerdeContainerArgs {
    pub(crate) rename_all: Option<LitStr>,
    pub(crate) default: Option<SerdeDefault>,
    pub(crate) deny_unknown: bool,
}

/// `default`, with the function of `default = "path"`.
pub(crate) struct SerdeDefault {
    pub(crate) name: Ident,
    pub(crate) function: Option<ExprPath>,
}

/// `deserialize_with = "path"`, or the function `deserialize` of `with = "module"`.
pub(crate) struct DeserializeWith {
    pub(crate) name: Ident,
    pub(crate) function: ExprPath,
}

/// The names of serde's attributes at one level.
struct SerdeVocabulary {
    supported: &'static [&'static str],
    /// They concern serialization, or the bounds and messages of serde's own derives.
    ignored: &'static [&'static str],
    /// Each with what to do instead.
    refused: &'static [(&'static str, &'static str)],
}

const MOVE_FIELD_OUT: &str = "move the field out of the configuration, where every field is read";
const REMOVE_ENUM_ATTRIBUTE: &str = "remove it, because it is for enums";
const CONVERT: &str =
    "convert after loading, or put `#[serde(deserialize_with = \"..\")]` on the fields";

static FIELD: SerdeVocabulary = SerdeVocabulary {
    supported: &["rename", "alias", "default", "deserialize_with", "with"],
    ignored: &["skip_serializing", "skip_serializing_if", "serialize_with", "bound"],
    refused: &[
        ("flatten", "use `#[vault(nested)]`, or move its fields into this struct"),
        ("skip", MOVE_FIELD_OUT),
        ("skip_deserializing", MOVE_FIELD_OUT),
        ("getter", "remove it, because it is for remote derives"),
        ("borrow", "use a type that owns its value, such as `String`"),
        ("other", REMOVE_ENUM_ATTRIBUTE),
    ],
};

static CONTAINER: SerdeVocabulary = SerdeVocabulary {
    supported: &["rename_all", "default", "deny_unknown_fields"],
    ignored: &["bound", "crate", "expecting", "into", "rename"],
    refused: &[
        ("tag", REMOVE_ENUM_ATTRIBUTE),
        ("content", REMOVE_ENUM_ATTRIBUTE),
        ("untagged", REMOVE_ENUM_ATTRIBUTE),
        ("rename_all_fields", REMOVE_ENUM_ATTRIBUTE),
        ("field_identifier", REMOVE_ENUM_ATTRIBUTE),
        ("variant_identifier", REMOVE_ENUM_ATTRIBUTE),
        (
            "transparent",
            "derive only `Deserialize`, and use the type for a field of a configuration",
        ),
        ("from", CONVERT),
        ("try_from", CONVERT),
        ("remote", "derive `VaultConfig` for a struct of your own"),
    ],
};

impl SerdeFieldArgs {
    pub(crate) fn parse(attrs: &[Attribute], errors: &mut ErrorCollector) -> Self {
        let mut args = Self::default();
        for item in parse_attribute(attrs, "serde", errors) {
            args.add(&item, errors);
        }
        args
    }

    fn add(&mut self, item: &AttributeItem, errors: &mut ErrorCollector) {
        match item.name.to_string().as_str() {
            "rename" => {
                if let Some(key) = deserialize_text(item, literal::not_empty, errors) {
                    set_once(&mut self.rename, key, item, errors);
                }
            }
            "alias" => self.aliases.extend(text(item, literal::not_empty, errors)),
            "default" => set_once(&mut self.default, default(item, errors), item, errors),
            "deserialize_with" => {
                if let Some(function) = path(item, "path::to::function", errors) {
                    self.deserialize_with(function, item, errors);
                }
            }
            "with" => {
                if let Some(module) = path(item, "path::to::module", errors) {
                    self.deserialize_with(parse_quote!(#module::deserialize), item, errors);
                }
            }
            ignored if FIELD.ignored.contains(&ignored) => {}
            _ => FIELD.refuse(&item.name, errors),
        }
    }

    fn deserialize_with(
        &mut self,
        function: ExprPath,
        item: &AttributeItem,
        errors: &mut ErrorCollector,
    ) {
        let value = DeserializeWith { name: item.name.clone(), function };
        set_once(&mut self.deserialize_with, value, item, errors);
    }
}

impl SerdeContainerArgs {
    pub(crate) fn parse(attrs: &[Attribute], errors: &mut ErrorCollector) -> Self {
        let mut args = Self::default();
        for item in parse_attribute(attrs, "serde", errors) {
            args.add(&item, errors);
        }
        args
    }

    fn add(&mut self, item: &AttributeItem, errors: &mut ErrorCollector) {
        match item.name.to_string().as_str() {
            "rename_all" => {
                if let Some(rule) = deserialize_text(item, rename_rule::check, errors) {
                    set_once(&mut self.rename_all, rule, item, errors);
                }
            }
            "default" => set_once(&mut self.default, default(item, errors), item, errors),
            "deny_unknown_fields" => self.deny_unknown = true,
            ignored if CONTAINER.ignored.contains(&ignored) => {}
            _ => CONTAINER.refuse(&item.name, errors),
        }
    }
}

impl SerdeVocabulary {
    fn refuse(&self, name: &Ident, errors: &mut ErrorCollector) {
        let text = name.to_string();
        let message = match self.refused.iter().find(|(refused, _)| *refused == text) {
            Some((_, instead)) => format!("`#[serde({name})]` is not supported here: {instead}"),
            None => {
                let known = self.supported.iter().chain(self.ignored).copied();
                let suggestion = did_you_mean(&text, known);
                format!("unknown serde attribute `{name}`{suggestion}")
            }
        };
        errors.report_at(name, message);
    }
}

fn set_once<T>(slot: &mut Option<T>, value: T, item: &AttributeItem, errors: &mut ErrorCollector) {
    if slot.replace(value).is_some() {
        let name = &item.name;
        errors.report_at(name, format!("duplicate serde attribute `{name}`: set it only once"));
    }
}

/// The text of `name = ".."`, or of `deserialize` in `name(serialize = "..", deserialize = "..")`.
fn deserialize_text(
    item: &AttributeItem,
    check: TextCheck,
    errors: &mut ErrorCollector,
) -> Option<LitStr> {
    let Payload::List(list) = &item.payload else {
        return text(item, check, errors);
    };
    let directions = parse_list(list.clone(), errors);
    let deserialize = directions.iter().find(|direction| direction.name == "deserialize")?;
    text(deserialize, check, errors)
}

fn text(item: &AttributeItem, check: TextCheck, errors: &mut ErrorCollector) -> Option<LitStr> {
    let name = &item.name;
    let usage = format!("serde's `{name}` takes a string: write `{name} = \"..\"`");
    let Payload::Value(value) = &item.payload else {
        errors.report_at(name, usage);
        return None;
    };
    let Some(text) = string_literal(value) else {
        errors.report_at(value, usage);
        return None;
    };
    if let Err(problem) = check(&text.value()) {
        errors.report_at(&text, format!("serde's `{name}` {problem}"));
        return None;
    }
    Some(text)
}

fn path(item: &AttributeItem, example: &str, errors: &mut ErrorCollector) -> Option<ExprPath> {
    let text = text(item, literal::not_empty, errors)?;
    let path = text.parse().ok();
    if path.is_none() {
        let name = &item.name;
        let usage = format!("serde's `{name}` takes a path: write `{name} = \"{example}\"`");
        errors.report_at(&text, usage);
    }
    path
}

fn default(item: &AttributeItem, errors: &mut ErrorCollector) -> SerdeDefault {
    let function = match item.payload {
        Payload::Empty => None,
        Payload::Value(_) | Payload::List(_) => path(item, "path::to::function", errors),
    };
    SerdeDefault { name: item.name.clone(), function }
}

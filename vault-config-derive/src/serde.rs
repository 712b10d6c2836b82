//! The words of `#[serde(..)]`: honoured, none of our business, or impossible here.

use quote::ToTokens;
use syn::{Attribute, ExprPath, Ident, LitStr, parse_quote};

use crate::attr::{Given, Word, list_of_words, nearest, text_of, words};
use crate::case;
use crate::errors::Errors;
use crate::grammar::TextCheck;
use crate::text;

/// What serde's attributes say of a field.
#[derive(Default)]
pub(crate) struct FieldWords {
    pub(crate) rename: Option<LitStr>,
    pub(crate) aliases: Vec<LitStr>,
    pub(crate) default: Option<DefaultWord>,
    pub(crate) read_with: Option<ReadWith>,
}

/// What serde's attributes say of the struct.
#[derive(Default)]
pub(crate) struct ContainerWords {
    pub(crate) rename_all: Option<LitStr>,
    pub(crate) default: Option<DefaultWord>,
    pub(crate) deny_unknown: bool,
}

/// `default`, with the function of `default = "path"`.
pub(crate) struct DefaultWord {
    pub(crate) word: Ident,
    pub(crate) function: Option<ExprPath>,
}

/// `deserialize_with = "path"`, or the same function out of `with = "module"`.
pub(crate) struct ReadWith {
    pub(crate) word: Ident,
    pub(crate) function: ExprPath,
}

const FIELD_WORDS: [&str; 5] = ["rename", "alias", "default", "deserialize_with", "with"];
const CONTAINER_WORDS: [&str; 3] = ["rename_all", "default", "deny_unknown_fields"];

/// They concern serialisation, or the bounds and texts of another derive.
const FIELD_IGNORED: [&str; 4] =
    ["skip_serializing", "skip_serializing_if", "serialize_with", "bound"];
const CONTAINER_IGNORED: [&str; 5] = ["bound", "crate", "expecting", "into", "rename"];

const FIELD_REFUSED: [(&str, &str); 6] = [
    ("flatten", "make the field `#[vault(nested)]`, or write its fields into this struct"),
    ("skip", "every field is read; move this one out of the configuration"),
    ("skip_deserializing", "every field is read; move this one out of the configuration"),
    ("getter", "it belongs to a remote derive; remove it"),
    ("borrow", "values are read into types that own them; use `String` or another such type"),
    ("other", "it belongs to the variants of an enum; remove it"),
];

const ENUMS_ONLY: &str = "it belongs to enums; remove it";
const CONVERSION: &str =
    "convert after loading, or put `#[serde(deserialize_with = \"..\")]` on the fields";
const CONTAINER_REFUSED: [(&str, &str); 10] = [
    ("tag", ENUMS_ONLY),
    ("content", ENUMS_ONLY),
    ("untagged", ENUMS_ONLY),
    ("rename_all_fields", ENUMS_ONLY),
    ("field_identifier", ENUMS_ONLY),
    ("variant_identifier", ENUMS_ONLY),
    ("transparent", "derive only `Deserialize` and use the type as a field of a configuration"),
    ("from", CONVERSION),
    ("try_from", CONVERSION),
    ("remote", "derive `VaultConfig` on a struct of your own"),
];

impl FieldWords {
    pub(crate) fn parse(attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut found = Self::default();
        for word in words(attrs, "serde", errors) {
            found.take(&word, errors);
        }
        found
    }

    fn take(&mut self, word: &Word, errors: &mut Errors) {
        let name = word.name.to_string();
        match name.as_str() {
            "rename" => {
                if let Some(key) = for_deserialize(word, text::not_empty, errors) {
                    once(&mut self.rename, key, word, errors);
                }
            }
            "alias" => self.aliases.extend(text(word, text::not_empty, errors)),
            "default" => once(&mut self.default, default(word, errors), word, errors),
            "deserialize_with" | "with" => {
                if let Some(function) = path(word, errors) {
                    let function = match name.as_str() {
                        "with" => parse_quote!(#function::deserialize),
                        _ => function,
                    };
                    let read_with = ReadWith { word: word.name.clone(), function };
                    once(&mut self.read_with, read_with, word, errors);
                }
            }
            ignored if FIELD_IGNORED.contains(&ignored) => {}
            _ => refuse(word, &FIELD_REFUSED, &[&FIELD_WORDS, &FIELD_IGNORED], errors),
        }
    }
}

impl ContainerWords {
    pub(crate) fn parse(attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut found = Self::default();
        for word in words(attrs, "serde", errors) {
            found.take(&word, errors);
        }
        found
    }

    fn take(&mut self, word: &Word, errors: &mut Errors) {
        match word.name.to_string().as_str() {
            "rename_all" => {
                if let Some(case) = for_deserialize(word, case::check, errors) {
                    once(&mut self.rename_all, case, word, errors);
                }
            }
            "default" => once(&mut self.default, default(word, errors), word, errors),
            "deny_unknown_fields" => self.deny_unknown = true,
            ignored if CONTAINER_IGNORED.contains(&ignored) => {}
            _ => refuse(word, &CONTAINER_REFUSED, &[&CONTAINER_WORDS, &CONTAINER_IGNORED], errors),
        }
    }
}

fn once<T>(slot: &mut Option<T>, value: T, word: &Word, errors: &mut Errors) {
    if slot.replace(value).is_some() {
        errors.at(&word.name, format!("duplicate serde attribute `{}`", word.name));
    }
}

/// `word = ".."`, or the deserialising half of `word(serialize = "..", deserialize = "..")`.
fn for_deserialize(word: &Word, check: TextCheck, errors: &mut Errors) -> Option<LitStr> {
    let Given::List(list) = &word.given else {
        return text(word, check, errors);
    };
    let halves = list_of_words(list.clone(), errors);
    let half = halves.iter().find(|half| half.name == "deserialize")?;
    text(half, check, errors)
}

fn text(word: &Word, check: TextCheck, errors: &mut Errors) -> Option<LitStr> {
    let name = &word.name;
    let Given::Value(value) = &word.given else {
        errors.at(name, format!("serde's `{name}` takes a string: `{name} = \"..\"`"));
        return None;
    };
    let Some(text) = text_of(value) else {
        errors.at(value, format!("serde's `{name}` takes a string: `{name} = \"..\"`"));
        return None;
    };
    if let Err(why) = check(&text.value()) {
        errors.at(&text, format!("serde's `{name}` {why}"));
        return None;
    }
    Some(text)
}

fn path(word: &Word, errors: &mut Errors) -> Option<ExprPath> {
    let text = text(word, text::not_empty, errors)?;
    match text.parse() {
        Ok(path) => Some(path),
        Err(_) => {
            errors.at(&text, format!("serde's `{}` takes the path of a function", word.name));
            None
        }
    }
}

fn default(word: &Word, errors: &mut Errors) -> DefaultWord {
    let function = match word.given {
        Given::Nothing => None,
        _ => path(word, errors),
    };
    DefaultWord { word: word.name.clone(), function }
}

fn refuse(word: &Word, refused: &[(&str, &str)], known: &[&[&str]], errors: &mut Errors) {
    let name = word.name.to_string();
    let message = match refused.iter().find(|(refused, _)| *refused == name) {
        Some((_, instead)) => format!("`#[serde({name})]` cannot be honoured here: {instead}"),
        None => {
            let hint = nearest(&name, known.iter().copied().flatten().copied())
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            format!("unknown serde attribute `{name}`{hint}")
        }
    };
    errors.at(word.name.to_token_stream(), message);
}

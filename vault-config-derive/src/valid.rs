//! What no attribute shows alone: words that do not go together, and fields that collide.

use std::collections::HashMap;

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Ident, LitStr};

use crate::ast::{Field, Input};
use crate::attr::{Arg, Value};
use crate::errors::Errors;
use crate::grammar::{SOURCES, Source};

pub(crate) fn check(input: &Input<'_>, errors: &mut Errors) {
    same_rename(
        "rename_all",
        input.vault.text("rename_all"),
        input.serde.rename_all.as_ref(),
        errors,
    );
    for field in &input.fields {
        same_rename("rename", field.vault.text("rename"), field.serde.rename.as_ref(), errors);
        if field.is_nested() {
            nested(field, errors);
            endless(field, &input.original.ident, errors);
        } else {
            leaf(field, errors);
        }
    }
    unique_env(input, errors);
    unique_keys(input, errors);
}

fn same_rename(word: &str, vault: Option<&LitStr>, serde: Option<&LitStr>, errors: &mut Errors) {
    if let (Some(vault), Some(serde)) = (vault, serde)
        && vault.value() != serde.value()
    {
        let (ours, theirs) = (vault.value(), serde.value());
        errors.at(
            vault,
            format!("`#[vault({word})]` says `{ours}` and `#[serde({word})]` says `{theirs}`"),
        );
    }
}

fn nested(field: &Field<'_>, errors: &mut Errors) {
    for (word, arg) in field.vault.iter() {
        let why = match *word {
            "nested" | "rename" | "mount" | "namespace" => continue,
            "kv" if !matches!(arg.value, Value::Nothing) => continue,
            "kv" => "`kv` on a `nested` field needs a path: the default of the fields inside",
            "default" => "a `nested` field has no `default`: give its own fields theirs",
            "env" => "a `nested` field has no `env`: its own fields have names of their own",
            "plain" => "a `nested` field cannot be `plain`: mark its own fields",
            "validate" => "a `nested` field has no `validate`: put it on the nested struct",
            _ => {
                errors.at(&arg.word, format!("`{word}` cannot stand beside `nested`"));
                continue;
            }
        };
        errors.at(&arg.word, why);
    }
    if let Some(default) = &field.serde.default {
        errors.at(&default.word, "a `nested` field has no `default`: give its own fields theirs");
    }
    if let Some(with) = &field.serde.read_with {
        errors.at(&with.word, format!("`{}` cannot stand beside `nested`", with.word));
    }
}

/// `other::Config` inside of `Config` is another struct; `Config` and `Self` are not.
fn endless(field: &Field<'_>, name: &Ident, errors: &mut Errors) {
    if names(field.ty.to_token_stream(), name) {
        errors.at(field.ty, "a struct cannot be `nested` in itself: it would have no end");
    }
}

fn names(tokens: TokenStream, name: &Ident) -> bool {
    let mut after_colon = false;
    tokens.into_iter().any(|token| {
        let found = match &token {
            TokenTree::Ident(ident) => !after_colon && (ident == name || ident == "Self"),
            TokenTree::Group(group) => names(group.stream(), name),
            TokenTree::Punct(_) | TokenTree::Literal(_) => false,
        };
        after_colon = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ':');
        found
    })
}

fn leaf(field: &Field<'_>, errors: &mut Errors) {
    let sources: Vec<_> = field.sources().collect();
    for (source, arg) in sources.iter().skip(1) {
        let (first, second) = (sources[0].0.word, source.word);
        errors.at(
            &arg.word,
            format!("a field has one source, and this one has `{first}` and `{second}`"),
        );
    }
    for (word, arg) in field.companions() {
        if !sources.iter().any(|(source, _)| source.companions.contains(&word)) {
            errors.at(&arg.word, stray(word, sources.first().map(|(source, _)| *source)));
        }
    }
    if let Some(namespace) = field.vault.get("namespace")
        && sources.is_empty()
    {
        let why =
            "`namespace` is for fields that come from Vault, and this field has no such source";
        errors.at(&namespace.word, why);
    }
    if let Some(plain) = field.vault.get("plain")
        && sources.is_empty()
    {
        let why = "`plain` is for fields that come from Vault; any other field is plain already";
        errors.at(&plain.word, why);
    }
    if field.vault.has("kv") {
        kv(field, errors);
    }
    if let (Some(_), Some(file)) =
        (field.vault.get("public_key"), field.vault.get("public_key_file"))
    {
        errors.at(
            &file.word,
            "`public_key` is the key itself and `public_key_file` names its file: use one",
        );
    }
}

fn stray(word: &str, source: Option<&Source>) -> String {
    let takers = one_of(SOURCES.iter().filter(|source| source.companions.contains(&word)));
    match source {
        Some(source) => {
            format!("`{word}` does not go with `{}`; it belongs to {takers}", source.word)
        }
        None => format!("`{word}` says more about {takers}, and this field has no such source"),
    }
}

fn one_of<'a>(sources: impl Iterator<Item = &'a Source>) -> String {
    let words: Vec<String> = sources.map(|source| format!("`{}`", source.word)).collect();
    words.join(" or ")
}

fn kv(field: &Field<'_>, errors: &mut Errors) {
    let args = &field.vault;
    if let (Some(_), Some(key)) = (args.get("whole"), args.get("key")) {
        errors.at(&key.word, "`key` is one key of the secret and `whole` is all of them: use one");
    }
    let kv_version = args.number("kv_version");
    let number = kv_version.and_then(|literal| literal.base10_parse::<u64>().ok());
    if let (Some(literal), Some(0 | 3..)) = (kv_version, number) {
        errors.at(literal, "`kv_version` is 1 or 2");
    }
    let version = args.number("version");
    if let (Some(literal), Some(0)) = (version, version.and_then(|n| n.base10_parse::<u64>().ok()))
    {
        errors.at(literal, "versions begin at 1; leave out `version` for the newest");
    }
    if let (Some(Arg { word, .. }), Some(1)) = (args.get("version"), number) {
        errors.at(word, "a KV v1 secret has no versions: leave out `version` or `kv_version = 1`");
    }
}

fn unique_env(input: &Input<'_>, errors: &mut Errors) {
    let mut taken: HashMap<String, &Field<'_>> = HashMap::new();
    for field in &input.fields {
        let Some(env) = field.vault.text("env") else {
            continue;
        };
        if let Some(first) = taken.insert(env.value(), field) {
            let (first, second, env_name) = (first.name(), field.name(), env.value());
            errors.at(env, format!("fields `{first}` and `{second}` both read `{env_name}`"));
        }
    }
}

fn unique_keys(input: &Input<'_>, errors: &mut Errors) {
    let mut taken: HashMap<String, &Field<'_>> = HashMap::new();
    for field in &input.fields {
        let aliases = field.serde.aliases.iter().map(|alias| (alias.value(), alias.span()));
        for (key, span) in [(field.key.name.clone(), field.key.span)].into_iter().chain(aliases) {
            match taken.get(&key) {
                Some(first) if first.ident != field.ident => {
                    errors.push(same_key(first, field, &key, span));
                }
                _ => {
                    taken.insert(key, field);
                }
            }
        }
    }
}

fn same_key(first: &Field<'_>, second: &Field<'_>, key: &str, span: Span) -> syn::Error {
    let (first, second) = (first.name(), second.name());
    let message = format!("fields `{first}` and `{second}` have the same key `{key}` in files");
    syn::Error::new(span, message)
}

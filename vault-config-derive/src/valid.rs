//! Checks what no attribute shows alone: attributes that exclude each other, and fields that share a name.

use std::collections::HashMap;

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Ident, LitStr};

use crate::ast::{ConfigField, ConfigStruct};
use crate::attr::ArgValue;
use crate::attr::grammar::{SOURCES, SourceSyntax};
use crate::error_collector::ErrorCollector;

pub(crate) fn check(parsed: &ConfigStruct<'_>, errors: &mut ErrorCollector) {
    let (vault, serde) = (parsed.vault.text("rename_all"), parsed.serde.rename_all.as_ref());
    check_same_rename("rename_all", vault, serde, errors);
    for field in &parsed.fields {
        let (vault, serde) = (field.vault.text("rename"), field.serde.rename.as_ref());
        check_same_rename("rename", vault, serde, errors);
        if field.is_nested() {
            check_nested(field, errors);
            check_not_recursive(field, &parsed.original.ident, errors);
        } else {
            check_leaf(field, errors);
        }
    }
    check_env_names(parsed, errors);
    check_file_keys(parsed, errors);
}

fn check_same_rename(
    keyword: &str,
    vault: Option<&LitStr>,
    serde: Option<&LitStr>,
    errors: &mut ErrorCollector,
) {
    let (Some(vault), Some(serde)) = (vault, serde) else { return };
    let (ours, theirs) = (vault.value(), serde.value());
    if ours != theirs {
        let message = format!(
            "`#[vault({keyword})]` is `{ours}` but `#[serde({keyword})]` is `{theirs}`: use the same value in both"
        );
        errors.report_at(vault, message);
    }
}

// ===== Nested fields =====

const KV_WITHOUT_PATH: &str = "`kv` on a `nested` field takes a path: \
                               write `kv = \"..\"` with the default path of its fields";
const VALIDATE_ON_NESTED: &str =
    "`validate` is not allowed on a `nested` field: set it on the nested struct";

/// A nested field is a place for other fields. Whatever concerns one value belongs to those.
fn check_nested(field: &ConfigField<'_>, errors: &mut ErrorCollector) {
    for (keyword, arg) in field.vault.iter() {
        let message = match *keyword {
            "nested" | "rename" | "mount" | "namespace" => continue,
            "kv" if !matches!(arg.value, ArgValue::Flag) => continue,
            "kv" => KV_WITHOUT_PATH.to_owned(),
            "validate" => VALIDATE_ON_NESTED.to_owned(),
            _ => not_for_nested(keyword),
        };
        errors.report_at(&arg.name, message);
    }
    if let Some(default) = &field.serde.default {
        errors.report_at(&default.name, not_for_nested("#[serde(default)]"));
    }
    if let Some(with) = &field.serde.deserialize_with {
        errors.report_at(&with.name, not_for_nested(&format!("#[serde({})]", with.name)));
    }
}

fn not_for_nested(attribute: &str) -> String {
    format!(
        "`{attribute}` is not allowed on a `nested` field: set it on the fields of the nested struct"
    )
}

fn check_not_recursive(field: &ConfigField<'_>, name: &Ident, errors: &mut ErrorCollector) {
    if mentions_struct(field.ty.to_token_stream(), name) {
        let message = "a struct cannot be `nested` in itself: give the field another type";
        errors.report_at(field.ty, message);
    }
}

/// `other::Config` in the struct `Config` is another struct, so a name after a colon does not count.
fn mentions_struct(tokens: TokenStream, name: &Ident) -> bool {
    let mut after_colon = false;
    tokens.into_iter().any(|token| {
        let found = match &token {
            TokenTree::Ident(ident) => !after_colon && (ident == name || ident == "Self"),
            TokenTree::Group(group) => mentions_struct(group.stream(), name),
            TokenTree::Punct(_) | TokenTree::Literal(_) => false,
        };
        after_colon = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ':');
        found
    })
}

// ===== Fields with one value =====

fn check_leaf(field: &ConfigField<'_>, errors: &mut ErrorCollector) {
    check_one_source(field, errors);
    check_options(field, errors);
    check_namespace_and_plain(field, errors);
    if field.vault.has("kv") {
        check_kv(field, errors);
    }
    if let (true, Some(file)) = (field.vault.has("public_key"), field.vault.get("public_key_file"))
    {
        let message = "`public_key` is the key itself and `public_key_file` is a file that holds it: use only one";
        errors.report_at(&file.name, message);
    }
}

fn check_one_source(field: &ConfigField<'_>, errors: &mut ErrorCollector) {
    let mut sources = field.sources();
    let Some((first, _)) = sources.next() else { return };
    for (second, arg) in sources {
        let message = format!(
            "a field can have only one source, but this field has `{}` and `{}`: remove one of them",
            first.keyword, second.keyword
        );
        errors.report_at(&arg.name, message);
    }
}

fn check_options(field: &ConfigField<'_>, errors: &mut ErrorCollector) {
    for (option, arg) in field.source_options() {
        if !field.sources().any(|(source, _)| source.options.contains(&option)) {
            let source = field.sources().next().map(|(source, _)| source);
            errors.report_at(&arg.name, misplaced_option(option, source));
        }
    }
}

fn misplaced_option(option: &str, source: Option<&SourceSyntax>) -> String {
    let accepting = accepting_sources(option);
    match source {
        Some(source) => format!(
            "`{option}` is not an option of `{}`: remove it, or use {accepting}",
            source.keyword
        ),
        None => format!(
            "`{option}` needs a source, and this field has none: add {accepting}, or remove `{option}`"
        ),
    }
}

fn accepting_sources(option: &str) -> String {
    let sources = SOURCES.iter().filter(|source| source.options.contains(&option));
    let names: Vec<String> = sources.map(|source| format!("`{}`", source.keyword)).collect();
    match names.as_slice() {
        [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => names.concat(),
    }
}

fn check_namespace_and_plain(field: &ConfigField<'_>, errors: &mut ErrorCollector) {
    if field.sources().next().is_some() {
        return;
    }
    if let Some(namespace) = field.vault.get("namespace") {
        let message = "`namespace` is only for a field that comes from Vault: remove it, or add a source such as `kv`";
        errors.report_at(&namespace.name, message);
    }
    if let Some(plain) = field.vault.get("plain") {
        let message = "`plain` is only for a field that comes from Vault: remove it, or add a source such as `kv`";
        errors.report_at(&plain.name, message);
    }
}

fn check_kv(field: &ConfigField<'_>, errors: &mut ErrorCollector) {
    let args = &field.vault;
    if let (true, Some(key)) = (args.has("whole"), args.get("key")) {
        let message = "`key` is one key of the secret and `whole` is all of them: use only one";
        errors.report_at(&key.name, message);
    }
    let number = |keyword| {
        let literal = args.number(keyword)?;
        Some((literal, literal.base10_parse::<u64>().ok()?))
    };
    let kv_version = number("kv_version");
    if let Some((literal, 0 | 3..)) = kv_version {
        errors.report_at(literal, "unknown `kv_version`: write 1 or 2");
    }
    if let Some((literal, 0)) = number("version") {
        let message = "the first `version` is 1: remove `version` to read the newest";
        errors.report_at(literal, message);
    }
    if let (Some(version), Some((_, 1))) = (args.get("version"), kv_version) {
        let message = "a secret in KV v1 has no versions: remove `version` or `kv_version = 1`";
        errors.report_at(&version.name, message);
    }
}

// ===== Fields that share a name =====

fn check_env_names(parsed: &ConfigStruct<'_>, errors: &mut ErrorCollector) {
    let mut readers: HashMap<String, &ConfigField<'_>> = HashMap::new();
    for field in &parsed.fields {
        let Some(env) = field.vault.text("env") else { continue };
        if let Some(first) = readers.insert(env.value(), field) {
            let (first, second, name) = (first.name(), field.name(), env.value());
            let message = format!(
                "fields `{first}` and `{second}` both read the variable `{name}`: change one `env`"
            );
            errors.report_at(env, message);
        }
    }
}

fn check_file_keys(parsed: &ConfigStruct<'_>, errors: &mut ErrorCollector) {
    let mut owners: HashMap<String, &ConfigField<'_>> = HashMap::new();
    for field in &parsed.fields {
        let own = (field.file_key.name.clone(), field.file_key.span);
        let aliases = field.serde.aliases.iter().map(|alias| (alias.value(), alias.span()));
        for (key, span) in std::iter::once(own).chain(aliases) {
            match owners.get(&key) {
                Some(first) if first.ident != field.ident => {
                    errors.report(shared_key(first, field, &key, span));
                }
                _ => {
                    owners.insert(key, field);
                }
            }
        }
    }
}

fn shared_key(
    first: &ConfigField<'_>,
    second: &ConfigField<'_>,
    key: &str,
    span: Span,
) -> syn::Error {
    let (first, second) = (first.name(), second.name());
    let message = format!(
        "fields `{first}` and `{second}` have the same key `{key}` in files: rename one of them"
    );
    syn::Error::new(span, message)
}

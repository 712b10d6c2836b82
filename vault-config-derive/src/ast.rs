//! The typed view of the struct: what was written, and the questions the later stages ask of it.

use proc_macro2::Span;
use syn::ext::IdentExt as _;
use syn::{
    Attribute, Data, DeriveInput, Expr, ExprPath, Fields, Ident, Lit, LitStr, Meta, Path, Type,
};

use crate::attr::{Arg, Args, Value};
use crate::case::Case;
use crate::errors::Errors;
use crate::grammar::{COMPANIONS, Level, SOURCES, Source};
use crate::serde::{ContainerWords, FieldWords};

pub(crate) struct Input<'a> {
    pub(crate) original: &'a DeriveInput,
    pub(crate) doc: String,
    pub(crate) vault: Args,
    pub(crate) serde: ContainerWords,
    pub(crate) fields: Vec<Field<'a>>,
}

pub(crate) struct Field<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) ty: &'a Type,
    pub(crate) doc: String,
    pub(crate) deprecated: bool,
    pub(crate) vault: Args,
    pub(crate) serde: FieldWords,
    /// The field's key in files, which may be the work of the struct's `rename_all`.
    pub(crate) key: Key,
}

pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) span: Span,
}

/// Where a field comes from, once its words are known to fit together.
pub(crate) enum Origin {
    Plain,
    Vault(&'static Source),
    Nested,
}

/// What a field is when no source has it.
pub(crate) enum Fallback<'a> {
    Text(&'a LitStr),
    Expr(&'a Expr),
    /// The type's own default.
    Bare,
    Call(&'a ExprPath),
    /// The field of the struct's own default.
    OfStruct(Option<&'a ExprPath>),
}

impl<'a> Input<'a> {
    pub(crate) fn from_syn(original: &'a DeriveInput, errors: &mut Errors) -> Self {
        let mut input = Self {
            original,
            doc: doc(&original.attrs),
            vault: Args::parse(&original.attrs, Level::Container, errors),
            serde: ContainerWords::parse(&original.attrs, errors),
            fields: Vec::new(),
        };
        let case = input.rename_all().and_then(|name| Case::named(&name.value()));
        input.fields = named_fields(original, errors)
            .filter_map(|field| Field::from_syn(field, case, errors))
            .collect();
        input
    }

    /// The path of the runtime crate.
    pub(crate) fn krate(&self) -> Path {
        match self.vault.path("crate") {
            Some(path) => path.path.clone(),
            None => syn::parse_quote!(::vault_config),
        }
    }

    pub(crate) fn name(&self) -> String {
        self.original.ident.unraw().to_string()
    }

    pub(crate) fn rename_all(&self) -> Option<&LitStr> {
        self.vault.text("rename_all").or(self.serde.rename_all.as_ref())
    }

    pub(crate) fn deny_unknown(&self) -> bool {
        self.vault.has("deny_unknown") || self.serde.deny_unknown
    }
}

impl<'a> Field<'a> {
    fn from_syn(field: &'a syn::Field, case: Option<Case>, errors: &mut Errors) -> Option<Self> {
        let ident = field.ident.as_ref()?;
        let vault = Args::parse(&field.attrs, Level::Field, errors);
        let serde = FieldWords::parse(&field.attrs, errors);
        let key = match vault.text("rename").or(serde.rename.as_ref()) {
            Some(rename) => Key { name: rename.value(), span: rename.span() },
            None => {
                let name = ident.unraw().to_string();
                let name = case.map_or_else(|| name.clone(), |case| case.apply(&name));
                Key { name, span: ident.span() }
            }
        };
        let deprecated = field.attrs.iter().any(|attr| attr.path().is_ident("deprecated"));
        Some(Self { ident, ty: &field.ty, doc: doc(&field.attrs), deprecated, vault, serde, key })
    }

    pub(crate) fn name(&self) -> String {
        self.ident.unraw().to_string()
    }

    pub(crate) fn is_nested(&self) -> bool {
        self.vault.has("nested")
    }

    /// The sources it names: more than one is for `valid` to refuse.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&'static Source, &Arg)> {
        SOURCES.iter().filter_map(|source| Some((source, self.vault.get(source.word)?)))
    }

    pub(crate) fn companions(&self) -> impl Iterator<Item = (&'static str, &Arg)> {
        COMPANIONS.iter().filter_map(|(word, _)| Some((*word, self.vault.get(word)?)))
    }

    pub(crate) fn origin(&self) -> Origin {
        if self.is_nested() {
            return Origin::Nested;
        }
        self.sources().next().map_or(Origin::Plain, |(source, _)| Origin::Vault(source))
    }

    /// Whether its type must hide the value.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self.origin(), Origin::Vault(_)) && !self.vault.has("plain")
    }

    pub(crate) fn fallback<'f>(&'f self, input: &'f Input<'_>) -> Option<Fallback<'f>> {
        if let Some(arg) = self.vault.get("default") {
            return Some(match &arg.value {
                Value::Expr(expr) => written(expr),
                _ => Fallback::Bare,
            });
        }
        if let Some(default) = &self.serde.default {
            return Some(default.function.as_ref().map_or(Fallback::Bare, Fallback::Call));
        }
        let default = input.serde.default.as_ref()?;
        Some(Fallback::OfStruct(default.function.as_ref()))
    }
}

/// A string literal is text like that of any other source, so that it may also be an `IpAddr`.
fn written(mut expr: &Expr) -> Fallback<'_> {
    let whole = expr;
    while let Expr::Group(group) = expr {
        expr = &group.expr;
    }
    match expr {
        Expr::Lit(syn::ExprLit { lit: Lit::Str(text), .. }) => Fallback::Text(text),
        _ => Fallback::Expr(whole),
    }
}

fn named_fields<'a>(
    input: &'a DeriveInput,
    errors: &mut Errors,
) -> impl Iterator<Item = &'a syn::Field> + use<'a> {
    let kind = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => return Some(&fields.named).into_iter().flatten(),
            Fields::Unnamed(_) => "a tuple struct",
            Fields::Unit => "a unit struct",
        },
        Data::Enum(_) => "an enum",
        Data::Union(_) => "a union",
    };
    let message = format!("a configuration is a struct with named fields, and this is {kind}");
    errors.at(&input.ident, message);
    None.into_iter().flatten()
}

fn doc(attrs: &[Attribute]) -> String {
    let texts = attrs.iter().filter_map(|attr| match &attr.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => crate::attr::text_of(&meta.value),
        _ => None,
    });
    let lines: Vec<String> = texts
        .flat_map(|text| text.value().split('\n').map(line_of_doc).collect::<Vec<_>>())
        .collect();
    lines.join("\n").trim().to_owned()
}

fn line_of_doc(line: &str) -> String {
    line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned()
}

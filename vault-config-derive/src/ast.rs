//! The typed view of the struct and of its attributes, which the later stages query.

use proc_macro2::Span;
use syn::ext::IdentExt as _;
use syn::{
    Attribute, Data, DeriveInput, Expr, ExprPath, Fields, Ident, Lit, LitStr, Meta, Path, Type,
};

use crate::attr::grammar::{AttributeLevel, OPTIONS, SOURCES, SourceSyntax};
use crate::attr::{ArgValue, SerdeContainerArgs, SerdeFieldArgs, VaultArg, VaultArgs};
use crate::error_collector::ErrorCollector;
use crate::rename_rule::RenameRule;

/// The struct that derives `VaultConfig`.
pub(crate) struct ConfigStruct<'a> {
    pub(crate) original: &'a DeriveInput,
    pub(crate) doc: String,
    pub(crate) vault: VaultArgs,
    pub(crate) serde: SerdeContainerArgs,
    pub(crate) fields: Vec<ConfigField<'a>>,
}

pub(crate) struct ConfigField<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) ty: &'a Type,
    pub(crate) doc: String,
    pub(crate) deprecated: bool,
    pub(crate) vault: VaultArgs,
    pub(crate) serde: SerdeFieldArgs,
    pub(crate) file_key: FileKey,
}

/// The key of a field in configuration files.
pub(crate) struct FileKey {
    pub(crate) name: String,
    /// The `rename` that sets the key, or the field's name.
    pub(crate) span: Span,
}

/// Where the value of a field comes from. It is exact only after `valid` has passed the field.
pub(crate) enum FieldOrigin {
    Plain,
    Vault(&'static SourceSyntax),
    Nested,
}

/// The value of a field that no source has.
pub(crate) enum FieldDefault<'a> {
    /// Text that is read like the text of an environment variable.
    Text(&'a LitStr),
    Expr(&'a Expr),
    /// The default of the field's type.
    OfType,
    /// The result of a function.
    Call(&'a ExprPath),
    /// The same field in the default of the whole struct, which is the result of the function if there is one.
    OfStruct(Option<&'a ExprPath>),
}

impl<'a> ConfigStruct<'a> {
    pub(crate) fn from_syn(original: &'a DeriveInput, errors: &mut ErrorCollector) -> Self {
        let mut parsed = Self {
            original,
            doc: doc(&original.attrs),
            vault: VaultArgs::parse(&original.attrs, AttributeLevel::Container, errors),
            serde: SerdeContainerArgs::parse(&original.attrs, errors),
            fields: Vec::new(),
        };
        let rule = parsed.rename_all().and_then(|name| RenameRule::from_name(&name.value()));
        parsed.fields = named_fields(original, errors)
            .filter_map(|field| ConfigField::from_syn(field, rule, errors))
            .collect();
        parsed
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

impl<'a> ConfigField<'a> {
    fn from_syn(
        field: &'a syn::Field,
        rule: Option<RenameRule>,
        errors: &mut ErrorCollector,
    ) -> Option<Self> {
        let ident = field.ident.as_ref()?;
        let vault = VaultArgs::parse(&field.attrs, AttributeLevel::Field, errors);
        let serde = SerdeFieldArgs::parse(&field.attrs, errors);
        let file_key = match vault.text("rename").or(serde.rename.as_ref()) {
            Some(rename) => FileKey { name: rename.value(), span: rename.span() },
            None => {
                let name = ident.unraw().to_string();
                let name = rule.map_or_else(|| name.clone(), |rule| rule.apply(&name));
                FileKey { name, span: ident.span() }
            }
        };
        Some(Self {
            ident,
            ty: &field.ty,
            doc: doc(&field.attrs),
            deprecated: field.attrs.iter().any(|attr| attr.path().is_ident("deprecated")),
            vault,
            serde,
            file_key,
        })
    }

    pub(crate) fn name(&self) -> String {
        self.ident.unraw().to_string()
    }

    pub(crate) fn is_nested(&self) -> bool {
        self.vault.has("nested")
    }

    /// The sources that the field names. `valid` refuses more than one.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&'static SourceSyntax, &VaultArg)> {
        SOURCES.iter().filter_map(|source| Some((source, self.vault.get(source.keyword)?)))
    }

    /// The options of sources that the field sets.
    pub(crate) fn source_options(&self) -> impl Iterator<Item = (&'static str, &VaultArg)> {
        OPTIONS.iter().filter_map(|(keyword, _)| Some((*keyword, self.vault.get(keyword)?)))
    }

    pub(crate) fn origin(&self) -> FieldOrigin {
        if self.is_nested() {
            return FieldOrigin::Nested;
        }
        self.sources().next().map_or(FieldOrigin::Plain, |(source, _)| FieldOrigin::Vault(source))
    }

    /// Whether the type of the field must hide the value.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self.origin(), FieldOrigin::Vault(_)) && !self.vault.has("plain")
    }

    /// The attribute that is closest to the field wins, and `vault` wins over `serde`.
    pub(crate) fn default<'f>(&'f self, parent: &'f ConfigStruct<'_>) -> Option<FieldDefault<'f>> {
        if let Some(arg) = self.vault.get("default") {
            return Some(match &arg.value {
                ArgValue::Expr(expr) => explicit_default(expr),
                _ => FieldDefault::OfType,
            });
        }
        if let Some(default) = &self.serde.default {
            let function = default.function.as_ref();
            return Some(function.map_or(FieldDefault::OfType, FieldDefault::Call));
        }
        let default = parent.serde.default.as_ref()?;
        Some(FieldDefault::OfStruct(default.function.as_ref()))
    }
}

/// A string literal is read like the text of any other source, so that it can also be the default of an `IpAddr`.
fn explicit_default(mut expr: &Expr) -> FieldDefault<'_> {
    let whole = expr;
    while let Expr::Group(group) = expr {
        expr = &group.expr;
    }
    match expr {
        Expr::Lit(syn::ExprLit { lit: Lit::Str(text), .. }) => FieldDefault::Text(text),
        _ => FieldDefault::Expr(whole),
    }
}

fn named_fields<'a>(
    input: &'a DeriveInput,
    errors: &mut ErrorCollector,
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
    let message =
        format!("`VaultConfig` cannot be derived for {kind}: use a struct with named fields");
    errors.report_at(&input.ident, message);
    None.into_iter().flatten()
}

fn doc(attrs: &[Attribute]) -> String {
    let texts = attrs.iter().filter_map(|attr| match &attr.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => {
            crate::attr::string_literal(&meta.value)
        }
        _ => None,
    });
    let lines: Vec<String> =
        texts.flat_map(|text| text.value().split('\n').map(doc_line).collect::<Vec<_>>()).collect();
    lines.join("\n").trim().to_owned()
}

/// `/// text` puts one space before the text.
fn doc_line(line: &str) -> String {
    line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned()
}

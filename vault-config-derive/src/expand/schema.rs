//! Writes `__schema()`: the struct as data.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{ExprPath, LitInt};

use super::token_text::token_text;
use super::{Expansion, hygienic, nesting};
use crate::ast::{ConfigField, FieldDefault, FieldOrigin};
use crate::attr::VaultArgs;
use crate::attr::grammar::{ArgSyntax, OPTIONS, SourceSyntax};
use crate::attr::literal::RefreshInterval;

impl Expansion<'_> {
    pub(super) fn schema_body(&self) -> TokenStream {
        let Self { parsed, krate, .. } = self;
        let (name, doc) = (parsed.name(), &parsed.doc);
        let texts = [
            ("env_prefix", "__env_prefix"),
            ("kv", "__kv"),
            ("mount", "__mount"),
            ("namespace", "__namespace"),
        ];
        let texts = texts.into_iter().filter_map(|(keyword, method)| {
            let (text, method) = (parsed.vault.text(keyword)?, hygienic(method));
            Some(quote!(.#method(#text)))
        });
        let deny_unknown = parsed.deny_unknown().then(|| quote!(.__deny_unknown()));
        let fields = parsed.fields.iter().map(|field| self.field_schema(field));
        let (nesting, schema) = (nesting(), hygienic("schema"));
        // One statement a field: a long chain of calls would be a tree too deep for the compiler.
        quote! {
            if #nesting.ends_at::<Self>(#name) {
                return #krate::Schema::__new(#name, #doc);
            }
            let #schema = #krate::Schema::__new(#name, #doc) #(#texts)* #deny_unknown;
            #(let #schema = #schema.__field(#fields);)*
            #schema
        }
    }

    fn field_schema(&self, field: &ConfigField<'_>) -> TokenStream {
        let private = &self.private;
        let (name, ty) = (field.name(), token_text(field.ty));
        let key =
            Some(&field.file_key.name).filter(|key| **key != name).map(|key| quote!(.key(#key)));
        let aliases = &field.serde.aliases;
        let doc = (!field.doc.is_empty()).then_some(&field.doc).map(|doc| quote!(.doc(#doc)));
        let env = field.vault.text("env").map(|env| quote!(.env(#env)));
        let namespace = field.vault.text("namespace");
        let namespace = namespace.map(|namespace| quote!(.namespace(#namespace)));
        let origin = match field.origin() {
            FieldOrigin::Plain => self.leaf(field),
            FieldOrigin::Vault(source) => {
                let (leaf, declaration) =
                    (self.leaf(field), self.declaration(source, &field.vault));
                quote!(#leaf .vault(#declaration))
            }
            FieldOrigin::Nested => self.nested(field),
        };
        quote!(#private::Field::new(#name, #ty) #key #(.alias(#aliases))* #doc #env #namespace #origin)
    }

    fn leaf(&self, field: &ConfigField<'_>) -> TokenStream {
        let private = &self.private;
        let default = field.default(self.parsed).map(|default| {
            let text = self.default_text(field, &default);
            quote!(.default(#text))
        });
        // As in serde, a field with its own function is required unless it has a default.
        let optional = field.serde.deserialize_with.is_none().then(|| {
            let (ty, deserialize) = (field.ty, self.deserialize(field));
            quote!(.optional(#private::accepts_absence::<#ty>(#deserialize)))
        });
        quote!(#default #optional)
    }

    /// The default as documents show it.
    fn default_text(&self, field: &ConfigField<'_>, default: &FieldDefault<'_>) -> String {
        let call = |path: &ExprPath| format!("{}()", token_text(path));
        match default {
            FieldDefault::Text(text) => token_text(text),
            FieldDefault::Expr(expr) => token_text(expr),
            FieldDefault::OfType => "Default::default()".to_owned(),
            FieldDefault::Call(path) => call(path),
            FieldDefault::OfStruct(path) => {
                let whole = path.map_or_else(|| format!("{}::default()", self.parsed.name()), call);
                format!("{whole}.{}", field.name())
            }
        }
    }

    fn nested(&self, field: &ConfigField<'_>) -> TokenStream {
        let (krate, ty) = (&self.krate, field.ty);
        let kv = self.optional(field.vault.text("kv"));
        let mount = self.optional(field.vault.text("mount"));
        let (nesting, name, field) = (nesting(), self.parsed.name(), field.name());
        let within = quote!(&#nesting.within::<Self>(#name, #field));
        quote!(.nested(<#ty as #krate::VaultConfig>::__schema(#within), #kv, #mount))
    }

    fn declaration(&self, source: &SourceSyntax, args: &VaultArgs) -> TokenStream {
        let private = &self.private;
        let (declaration, value_field) =
            (hygienic(source.declaration), hygienic(source.value_field));
        let text = args.text(source.keyword);
        let value = match source.value {
            ArgSyntax::FlagOrText(_) => self.optional(text),
            _ => quote!(#text),
        };
        let accepted = OPTIONS.iter().filter(|(option, _)| source.options.contains(option));
        let options = accepted.map(|(option, syntax)| {
            let (field, value) = (hygienic(option), self.option_value(option, *syntax, args));
            quote!(#field: #value)
        });
        let declared = quote!(#private::#declaration { #value_field: #value, #(#options),* });
        quote!(#private::Declaration::#declaration(#declared))
    }

    fn option_value(&self, option: &str, syntax: ArgSyntax, args: &VaultArgs) -> TokenStream {
        let private = &self.private;
        match syntax {
            ArgSyntax::Flag => {
                let is_set = args.has(option);
                quote!(#is_set)
            }
            ArgSyntax::Number => {
                // A suffix that the user wrote, as in `3u8`, could contradict the type of the declaration.
                let digits = args.number(option).map(|n| LitInt::new(n.base10_digits(), n.span()));
                self.optional(digits.as_ref())
            }
            ArgSyntax::Pairs => {
                let pairs = args.pairs(option).iter().map(|(name, text)| quote!((#name, #text)));
                quote!(&[#(#pairs),*])
            }
            ArgSyntax::Refresh => {
                let refresh = args.refresh(option).map(|interval| match interval {
                    RefreshInterval::Never => quote!(#private::Refresh::Never),
                    RefreshInterval::EveryMillis(millis) => {
                        quote!(#private::Refresh::Every(#millis))
                    }
                });
                self.optional(refresh)
            }
            _ => self.optional(args.text(option)),
        }
    }
}

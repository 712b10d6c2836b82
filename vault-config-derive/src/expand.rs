//! Writes the impl.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{DeriveInput, ExprPath, Ident, LitInt, Type};

use crate::ast::{Fallback, Field, Input, Origin};
use crate::attr::{Args, Value};
use crate::errors::Errors;
use crate::grammar::{COMPANIONS, Source, Takes};
use crate::text::Interval;
use crate::{fallback, generics, tidy, valid};

pub(crate) fn derive(input: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let parsed = Input::from_syn(input, &mut errors);
    valid::check(&parsed, &mut errors);
    match errors.finish() {
        Ok(()) => Expansion::of(&parsed).implement(),
        Err(error) => fallback::expand(input, &parsed.krate(), &error),
    }
}

/// The struct, and the paths that generated code names things by.
struct Expansion<'a> {
    input: &'a Input<'a>,
    krate: TokenStream,
    private: TokenStream,
    option: TokenStream,
}

impl<'a> Expansion<'a> {
    fn of(input: &'a Input<'a>) -> Self {
        let krate = input.krate();
        let private = quote!(#krate::__private);
        let option = quote!(#private::core::option::Option);
        Self { input, krate: quote!(#krate), private, option }
    }

    fn implement(&self) -> TokenStream {
        let Self { input, krate, private, option } = self;
        let name = &input.original.ident;
        let (impl_generics, ty_generics, _) = input.original.generics.split_for_impl();
        let where_clause = generics::where_clause(input, &input.krate());
        let (demands, schema, read) = (self.demands(), self.schema(), self.read());
        let (nesting, reader) = (nesting(), reader());
        quote! {
            #[automatically_derived]
            impl #impl_generics #krate::VaultConfig for #name #ty_generics #where_clause {
                fn schema() -> #krate::Schema {
                    #demands
                    #krate::Schema::__of::<Self>()
                }

                fn __schema(#nesting: &#private::Nesting<'_>) -> #krate::Schema {
                    #schema
                }

                fn __read(#reader: &mut #private::Reader<'_>) -> #option<Self> {
                    #read
                }
            }
        }
    }
}

// ===== schema() =====

impl Expansion<'_> {
    /// Nothing but demands on the types of fields.
    fn demands(&self) -> TokenStream {
        let (secrets, plain_types) = (self.secrets(), self.plain_types());
        let fitting_types = self.fitting_types();
        quote!(#secrets #plain_types #fitting_types)
    }

    fn schema(&self) -> TokenStream {
        let Self { input, krate, .. } = self;
        let (name, doc) = (input.name(), &input.doc);
        let texts = [
            ("env_prefix", "__env_prefix"),
            ("kv", "__kv"),
            ("mount", "__mount"),
            ("namespace", "__namespace"),
        ];
        let texts = texts.into_iter().filter_map(|(word, method)| {
            let (text, method) = (input.vault.text(word)?, Ident::new(method, Span::mixed_site()));
            Some(quote!(.#method(#text)))
        });
        let deny_unknown = input.deny_unknown().then(|| quote!(.__deny_unknown()));
        let fields = input.fields.iter().map(|field| self.schema_of(field));
        let (nesting, schema) = (nesting(), Ident::new("schema", Span::mixed_site()));
        // Statements, since one long chain of calls is a deep tree for the compiler.
        quote! {
            if #nesting.comes_round::<Self>(#name) {
                return #krate::Schema::__new(#name, #doc);
            }
            let #schema = #krate::Schema::__new(#name, #doc) #(#texts)* #deny_unknown;
            #(let #schema = #schema.__field(#fields);)*
            #schema
        }
    }

    /// Nothing but a demand on the types of secret fields, each at the type itself.
    fn secrets(&self) -> Option<TokenStream> {
        let krate = &self.krate;
        let types: Vec<&Type> = self
            .input
            .fields
            .iter()
            .filter(|field| field.is_secret())
            .map(|field| field.ty)
            .collect();
        if types.is_empty() {
            return None;
        }
        let demands = types.iter().map(|ty| quote_spanned!(ty.span()=> hides_its_value::<#ty>();));
        Some(quote! {
            fn hides_its_value<T: #krate::Secret>() {}
            #(#demands)*
        })
    }

    /// Where an engine's answer is of one type, another one would fail when the answer is there.
    fn fitting_types(&self) -> TokenStream {
        let private = &self.private;
        let is_checked = |field: &&Field<'_>| {
            field.serde.read_with.is_none() && !generics::is_generic(field, self.input)
        };
        let checks = self.input.fields.iter().filter(is_checked).filter_map(|field| {
            let Origin::Vault(source) = field.origin() else { return None };
            let (ty, fits) = (field.ty, Ident::new(source.fits?, Span::mixed_site()));
            let call = quote_spanned!(ty.span()=> fits::<#ty>(););
            Some(quote!({
                fn fits<T: #private::#fits>() {}
                #call
            }))
        });
        quote!(#(#checks)*)
    }

    /// A configuration struct without `nested` would be read without its own sources being asked. A type
    /// parameter may be one or not; only its user knows.
    fn plain_types(&self) -> TokenStream {
        let private = &self.private;
        let plain = self.input.fields.iter().filter(|field| {
            matches!(field.origin(), Origin::Plain)
                && field.serde.read_with.is_none()
                && !generics::is_generic(field, self.input)
        });
        let checks = plain.map(|field| {
            let ty = field.ty;
            quote_spanned!(ty.span()=> is_plain::<#ty, _>();)
        });
        quote! {
            #[allow(dead_code)]
            fn is_plain<T: #private::PlainField<Hint>, Hint>() {}
            #(#checks)*
        }
    }

    fn schema_of(&self, field: &Field<'_>) -> TokenStream {
        let private = &self.private;
        let (name, ty) = (field.name(), tidy::text(field.ty));
        let key = (field.key.name != name).then_some(&field.key.name).map(|key| quote!(.key(#key)));
        let aliases = &field.serde.aliases;
        let doc = (!field.doc.is_empty()).then_some(&field.doc).map(|doc| quote!(.doc(#doc)));
        let env = field.vault.text("env").map(|env| quote!(.env(#env)));
        let namespace = field.vault.text("namespace");
        let namespace = namespace.map(|namespace| quote!(.namespace(#namespace)));
        let rest = match field.origin() {
            Origin::Plain => self.leaf(field),
            Origin::Vault(source) => {
                let (leaf, declared) = (self.leaf(field), self.declared(source, &field.vault));
                quote!(#leaf .vault(#declared))
            }
            Origin::Nested => self.nested(field),
        };
        quote!(#private::Field::new(#name, #ty) #key #(.alias(#aliases))* #doc #env #namespace #rest)
    }

    fn leaf(&self, field: &Field<'_>) -> TokenStream {
        let private = &self.private;
        let default = field.fallback(self.input).map(|fallback| {
            let text = self.default_text(field, &fallback);
            quote!(.default(#text))
        });
        // serde's rule: a field with a function of its own is required unless it has a default.
        let optional = field.serde.read_with.is_none().then(|| {
            let (ty, read) = (field.ty, self.deserialize(field));
            quote!(.optional(#private::accepts_absence::<#ty>(#read)))
        });
        quote!(#default #optional)
    }

    fn default_text(&self, field: &Field<'_>, fallback: &Fallback<'_>) -> String {
        let call = |path: &ExprPath| format!("{}()", tidy::text(path));
        match fallback {
            Fallback::Text(text) => tidy::text(text),
            Fallback::Expr(expr) => tidy::text(expr),
            Fallback::Bare => "Default::default()".to_owned(),
            Fallback::Call(path) => call(path),
            Fallback::OfStruct(path) => {
                let whole = path.map_or_else(|| format!("{}::default()", self.input.name()), call);
                format!("{whole}.{}", field.name())
            }
        }
    }

    fn nested(&self, field: &Field<'_>) -> TokenStream {
        let (krate, ty) = (&self.krate, field.ty);
        let kv = self.optional(field.vault.text("kv"));
        let mount = self.optional(field.vault.text("mount"));
        let (nesting, name, field) = (nesting(), self.input.name(), field.name());
        let within = quote!(&#nesting.within::<Self>(#name, #field));
        quote!(.nested(<#ty as #krate::VaultConfig>::__schema(#within), #kv, #mount))
    }

    fn declared(&self, source: &Source, args: &Args) -> TokenStream {
        let private = &self.private;
        let ident = |name: &str| Ident::new(name, Span::mixed_site());
        let (declares, value) = (ident(source.declares), ident(source.value));
        let text = args.text(source.word);
        let text = match source.takes {
            Takes::FlagOrText(_) => self.optional(text),
            _ => quote!(#text),
        };
        let companions = COMPANIONS
            .iter()
            .filter(|(word, _)| source.companions.contains(word))
            .map(|(word, takes)| {
                let (name, value) = (ident(word), self.companion(word, *takes, args));
                quote!(#name: #value)
            });
        quote!(#private::#declares { #value: #text, #(#companions),* })
    }

    fn companion(&self, word: &str, takes: Takes, args: &Args) -> TokenStream {
        let private = &self.private;
        match takes {
            Takes::Flag => {
                let given = args.has(word);
                quote!(#given)
            }
            Takes::Number => {
                // Without the suffix the user may have written: the declared type decides.
                let digits = args.number(word).map(|n| LitInt::new(n.base10_digits(), n.span()));
                self.optional(digits.as_ref())
            }
            Takes::Pairs => {
                let pairs = args.pairs(word).iter().map(|(name, text)| quote!((#name, #text)));
                quote!(&[#(#pairs),*])
            }
            Takes::Interval => {
                let refresh = quote!(#private::Refresh);
                let every = args.interval(word).map(|interval| match interval {
                    Interval::Never => quote!(#refresh::Never),
                    Interval::Every(millis) => quote!(#refresh::Every(#millis)),
                });
                self.optional(every)
            }
            _ => self.optional(args.text(word)),
        }
    }

    fn optional(&self, value: Option<impl quote::ToTokens>) -> TokenStream {
        let option = &self.option;
        match value {
            Some(value) => quote!(#option::Some(#value)),
            None => quote!(#option::None),
        }
    }
}

// ===== __read() =====

impl Expansion<'_> {
    /// Every field is read before the first absent one ends it, so that all problems are collected.
    fn read(&self) -> TokenStream {
        let reader = reader();
        let slots: Vec<Ident> = (0..self.input.fields.len()).map(slot).collect();
        let reads =
            self.input.fields.iter().enumerate().map(|(index, field)| self.read_of(index, field));
        let names = self.input.fields.iter().map(|field| field.ident);
        let validate = self.validator(self.input.vault.get("validate").map(|arg| &arg.value));
        let offsets = self.offsets();
        quote! {
            #offsets
            #(let #slots = #reads;)*
            #reader.finish(Self { #(#names: #slots?),* }, #validate)
        }
    }

    fn read_of(&self, index: usize, field: &Field<'_>) -> TokenStream {
        let (reader, ty) = (reader(), field.ty);
        let offset = offset(index);
        if field.is_nested() {
            let krate = &self.krate;
            // The first line says what `schema` says too: a missing impl is one error and not two.
            return quote!({
                let _ = <#ty as #krate::VaultConfig>::schema;
                #reader.nested::<#ty>(#offset)
            });
        }
        let read = self.deserialize(field);
        let fallback = self.optional(field.fallback(self.input).map(|f| self.fallback(field, &f)));
        let validate = self.validator(field.vault.get("validate").map(|arg| &arg.value));
        quote!(#reader.field::<#ty>(#offset, #read, #fallback, #validate))
    }

    /// Where each field lies in the struct. `offset_of!` counts as a use of the field wherever it stands but
    /// in a derived `Clone`: there, the compiler still tells of a field that the program never reads.
    fn offsets(&self) -> TokenStream {
        let Self { input, private, .. } = self;
        let (name, count) = (&input.original.ident, input.fields.len());
        let (impl_generics, ty_generics, where_clause) = input.original.generics.split_for_impl();
        let fields = input.fields.iter().map(|field| field.ident);
        let offsets: Vec<Ident> = (0..count).map(offset).collect();
        let deprecated = input.fields.iter().any(|field| field.deprecated);
        let allowed = deprecated.then(|| quote!(#[allow(deprecated)]));
        let core = quote!(#private::core);
        quote! {
            struct __Offsets<T>([#core::primitive::usize; #count], #core::marker::PhantomData<T>);

            #[automatically_derived]
            #allowed
            impl #impl_generics #core::clone::Clone for __Offsets<#name #ty_generics> #where_clause {
                fn clone(&self) -> Self {
                    Self([#(#core::mem::offset_of!(#name #ty_generics, #fields)),*], #core::marker::PhantomData)
                }
            }

            let [#(#offsets),*] =
                #core::clone::Clone::clone(&__Offsets::<Self>([0; #count], #core::marker::PhantomData)).0;
        }
    }

    fn deserialize(&self, field: &Field<'_>) -> TokenStream {
        let (private, ty) = (&self.private, field.ty);
        let input = Ident::new("input", Span::mixed_site());
        match &field.serde.read_with {
            Some(with) => {
                let function = &with.function;
                let input = Ident::new("input", function.span().resolved_at(Span::mixed_site()));
                let call = quote_spanned!(function.span()=> #function(#input));
                quote!(|#input| #call)
            }
            None => quote!(|#input| <#ty as #private::serde::Deserialize<'_>>::deserialize(#input)),
        }
    }

    fn fallback(&self, field: &Field<'_>, fallback: &Fallback<'_>) -> TokenStream {
        let (private, name, ty) = (&self.private, field.ident, field.ty);
        let value = match fallback {
            Fallback::Text(text) => return quote!(#private::Fallback::Text(#text)),
            Fallback::Expr(expr) => quote!(#expr),
            Fallback::Bare => quote!(<#ty as #private::core::default::Default>::default()),
            Fallback::Call(path) => quote_spanned!(path.span()=> #path()),
            Fallback::OfStruct(None) => {
                quote!(<Self as #private::core::default::Default>::default().#name)
            }
            Fallback::OfStruct(Some(path)) => quote!({
                let whole: Self = #path();
                whole.#name
            }),
        };
        quote!(#private::Fallback::Value(|| #value))
    }

    fn validator(&self, function: Option<&Value>) -> TokenStream {
        let Some(Value::Path(function)) = function else {
            return self.optional(None::<Ident>);
        };
        let private = &self.private;
        let result = quote!(#private::core::result::Result);
        // At the function, so that one of another signature is an error there.
        let local = function.span().resolved_at(Span::mixed_site());
        let [value, outcome, error] =
            ["value", "outcome", "error"].map(|name| Ident::new(name, local));
        let call =
            quote_spanned!(function.span()=> let #outcome: #result<(), _> = #function(#value););
        let text =
            quote_spanned!(function.span()=> #private::std::string::ToString::to_string(&#error));
        self.optional(Some(quote!(|#value| {
            #call
            match #outcome {
                #result::Ok(()) => #result::Ok(()),
                #result::Err(#error) => #result::Err(#text),
            }
        })))
    }
}

/// Hygienic, so that the text of a type never sees it.
fn nesting() -> Ident {
    Ident::new("nesting", Span::mixed_site())
}

/// Hygienic, so that a default's expression never sees it.
fn reader() -> Ident {
    Ident::new("reader", Span::mixed_site())
}

fn offset(index: usize) -> Ident {
    format_ident!("offset{index}", span = Span::mixed_site())
}

fn slot(index: usize) -> Ident {
    format_ident!("field{index}", span = Span::mixed_site())
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn a_renamed_crate_is_never_named_otherwise() {
        let inputs: [DeriveInput; 2] = [
            parse_quote! {
                #[vault(crate = "renamed", env_prefix = "APP", validate = check)]
                struct Config<T> {
                    #[vault(default = 1, validate = check)]
                    plain: u16,
                    #[vault(kv = "app", default)]
                    secret: T,
                    #[vault(nested)]
                    nested: Option<T>,
                }
            },
            parse_quote! {
                #[vault(crate = "renamed")]
                enum Wrong {}
            },
        ];
        for input in inputs {
            let expansion = derive(&input).to_string();
            assert!(expansion.contains("renamed"), "{expansion}");
            assert!(!expansion.contains("vault_config"), "{expansion}");
        }
    }

    /// Users need neither `serde` nor a prelude, so no path may begin at one.
    #[test]
    fn every_path_begins_at_the_crate() {
        let expansion = derive(&parse_quote! {
            struct Config {
                #[vault(default, validate = check)]
                plain: u16,
                #[vault(kv = "app", refresh = "5m")]
                r#secret: u16,
                #[vault(nested)]
                nested: Inner,
            }
        });
        let expansion = expansion.to_string().replace(":: vault_config :: __private ::", "PRIVATE");
        for root in ["serde ::", "core ::", "std ::"] {
            let bare = expansion.matches(root).count();
            let rooted = expansion.matches(&format!("PRIVATE {root}")).count();
            assert_eq!(bare, rooted, "{root} in {expansion}");
        }
    }
}

//! Writes the impl of `VaultConfig`.
//!
//! `schema` and `read` write the bodies of its functions, `type_checks` the checks that only the compiler can make, and
//! `bounds` its where clause. `fallback` writes the impl of a struct with mistakes.

mod bounds;
mod fallback;
mod read;
mod schema;
mod token_text;
mod type_checks;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{DeriveInput, Ident};

use crate::ast::{ConfigField, ConfigStruct};
use crate::error_collector::ErrorCollector;
use crate::valid;

pub(crate) fn derive(input: &DeriveInput) -> TokenStream {
    let mut errors = ErrorCollector::default();
    let parsed = ConfigStruct::from_syn(input, &mut errors);
    valid::check(&parsed, &mut errors);
    match errors.into_result() {
        Ok(()) => Expansion::new(&parsed).implementation(),
        Err(error) => fallback::expand(input, &parsed.krate(), &error),
    }
}

/// The struct, with the paths that the generated code uses. Every path starts at the runtime crate, because the user's
/// crate may have other dependencies, other names or no prelude.
struct Expansion<'a> {
    parsed: &'a ConfigStruct<'a>,
    krate: TokenStream,
    private: TokenStream,
    option: TokenStream,
}

impl<'a> Expansion<'a> {
    fn new(parsed: &'a ConfigStruct<'a>) -> Self {
        let krate = parsed.krate();
        let private = quote!(#krate::__private);
        let option = quote!(#private::core::option::Option);
        Self { parsed, krate: quote!(#krate), private, option }
    }

    fn implementation(&self) -> TokenStream {
        let Self { parsed, krate, private, option } = self;
        let name = &parsed.original.ident;
        let (impl_generics, ty_generics, _) = parsed.original.generics.split_for_impl();
        let where_clause = bounds::where_clause(parsed, &parsed.krate());
        let type_checks = self.type_checks();
        let (schema, read) = (self.schema_body(), self.read_body());
        let (nesting, reader) = (nesting(), reader());
        quote! {
            #[automatically_derived]
            impl #impl_generics #krate::VaultConfig for #name #ty_generics #where_clause {
                fn schema() -> #krate::Schema {
                    #type_checks
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

    fn optional(&self, value: Option<impl ToTokens>) -> TokenStream {
        let option = &self.option;
        match value {
            Some(value) => quote!(#option::Some(#value)),
            None => quote!(#option::None),
        }
    }

    /// A closure that deserializes the field.
    fn deserialize(&self, field: &ConfigField<'_>) -> TokenStream {
        let (private, ty, input) = (&self.private, field.ty, hygienic("input"));
        let Some(with) = &field.serde.deserialize_with else {
            return quote!(|#input| <#ty as #private::serde::Deserialize<'_>>::deserialize(#input));
        };
        // The call has the span of the function, so that the compiler reports a wrong signature there.
        let function = &with.function;
        let input = hygienic_at("input", function.span());
        let call = quote_spanned!(function.span()=> #function(#input));
        quote!(|#input| #call)
    }
}

/// A name that the user's types and expressions inside the generated code cannot refer to.
fn hygienic(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// The same, reported by the compiler at `span`.
fn hygienic_at(name: &str, span: Span) -> Ident {
    Ident::new(name, span.resolved_at(Span::mixed_site()))
}

fn nesting() -> Ident {
    hygienic("nesting")
}

fn reader() -> Ident {
    hygienic("reader")
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn a_renamed_crate_is_used_everywhere() {
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
                enum Invalid {}
            },
        ];
        for input in inputs {
            let expansion = derive(&input).to_string();
            assert!(expansion.contains("renamed"), "{expansion}");
            assert!(!expansion.contains("vault_config"), "{expansion}");
        }
    }

    /// The crate of the user may have no `serde` and no prelude, so every path starts at `vault_config`.
    #[test]
    fn every_path_starts_at_the_crate() {
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

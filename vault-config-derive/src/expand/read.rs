//! Writes `__read()`: the struct from its values.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{ExprPath, Ident};

use super::{Expansion, hygienic_at, reader};
use crate::ast::{ConfigField, FieldDefault};

impl Expansion<'_> {
    /// All fields are read before the first `?`, so that the reader collects the problems of each.
    pub(super) fn read_body(&self) -> TokenStream {
        let reader = reader();
        let fields = &self.parsed.fields;
        let slots: Vec<Ident> = (0..fields.len()).map(slot).collect();
        let reads = fields.iter().enumerate().map(|(index, field)| self.read_field(index, field));
        let names = fields.iter().map(|field| field.ident);
        let validator = self.validator(self.parsed.vault.path("validate"));
        let offsets = self.field_offsets();
        quote! {
            #offsets
            #(let #slots = #reads;)*
            #reader.finish(Self { #(#names: #slots?),* }, #validator)
        }
    }

    fn read_field(&self, index: usize, field: &ConfigField<'_>) -> TokenStream {
        let (reader, ty) = (reader(), field.ty);
        let offset = offset(index);
        if field.is_nested() {
            let krate = &self.krate;
            // `schema` uses the type in the same way, and the compiler reports equal errors once. Without this line, a
            // missing impl would be two errors.
            return quote!({
                let _ = <#ty as #krate::VaultConfig>::schema;
                #reader.nested::<#ty>(#offset)
            });
        }
        let deserialize = self.deserialize(field);
        let default = field.default(self.parsed);
        let default = self.optional(default.map(|default| self.default_value(field, &default)));
        let validator = self.validator(field.vault.path("validate"));
        quote!(#reader.field::<#ty>(#offset, #deserialize, #default, #validator))
    }

    /// The offset of each field in the struct. `offset_of!` counts as a use of the field everywhere except in a derived
    /// `Clone`, and a use would hide the compiler's warning about a field that the program never reads.
    fn field_offsets(&self) -> TokenStream {
        let Self { parsed, private, .. } = self;
        let (name, count) = (&parsed.original.ident, parsed.fields.len());
        let (impl_generics, ty_generics, where_clause) = parsed.original.generics.split_for_impl();
        let fields = parsed.fields.iter().map(|field| field.ident);
        let offsets: Vec<Ident> = (0..count).map(offset).collect();
        let deprecated = parsed.fields.iter().any(|field| field.deprecated);
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

    fn default_value(&self, field: &ConfigField<'_>, default: &FieldDefault<'_>) -> TokenStream {
        let (private, name, ty) = (&self.private, field.ident, field.ty);
        let value = match default {
            FieldDefault::Text(text) => return quote!(#private::Fallback::Text(#text)),
            FieldDefault::Expr(expr) => quote!(#expr),
            FieldDefault::OfType => quote!(<#ty as #private::core::default::Default>::default()),
            FieldDefault::Call(path) => quote_spanned!(path.span()=> #path()),
            FieldDefault::OfStruct(None) => {
                quote!(<Self as #private::core::default::Default>::default().#name)
            }
            FieldDefault::OfStruct(Some(path)) => quote!({
                let whole: Self = #path();
                whole.#name
            }),
        };
        quote!(#private::Fallback::Value(|| #value))
    }

    /// A closure that calls the function and turns its error into text. Its tokens have the span of the function, so
    /// that the compiler reports a wrong signature there.
    fn validator(&self, function: Option<&ExprPath>) -> TokenStream {
        let private = &self.private;
        let result = quote!(#private::core::result::Result);
        let closure = function.map(|function| {
            let span = function.span();
            let [value, outcome, error] =
                ["value", "outcome", "error"].map(|name| hygienic_at(name, span));
            let call = quote_spanned!(span=> let #outcome: #result<(), _> = #function(#value););
            let text = quote_spanned!(span=> #private::std::string::ToString::to_string(&#error));
            quote!(|#value| {
                #call
                match #outcome {
                    #result::Ok(()) => #result::Ok(()),
                    #result::Err(#error) => #result::Err(#text),
                }
            })
        });
        self.optional(closure)
    }
}

fn offset(index: usize) -> Ident {
    format_ident!("offset{index}", span = Span::mixed_site())
}

/// The variable that holds a field until the struct is complete.
fn slot(index: usize) -> Ident {
    format_ident!("field{index}", span = Span::mixed_site())
}

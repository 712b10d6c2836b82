//! The impl of a struct with mistakes, beside its compile errors. Without an impl, the compiler would also report every
//! use of the trait on that struct. The impl never runs.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Path};

pub(super) fn expand(input: &DeriveInput, krate: &Path, error: &syn::Error) -> TokenStream {
    let name = &input.ident;
    let (impl_generics, ty_generics, where_clause) = input.generics.split_for_impl();
    let errors = error.to_compile_error();
    quote! {
        #errors

        #[automatically_derived]
        impl #impl_generics #krate::VaultConfig for #name #ty_generics #where_clause {
            fn schema() -> #krate::Schema {
                #krate::Schema::__new("", "")
            }

            fn __schema(_: &#krate::__private::Nesting<'_>) -> #krate::Schema {
                #krate::Schema::__new("", "")
            }

            fn __read(
                _: &mut #krate::__private::Reader<'_>,
            ) -> #krate::__private::core::option::Option<Self> {
                #krate::__private::core::option::Option::None
            }
        }
    }
}

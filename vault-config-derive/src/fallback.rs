//! The impl of a struct that cannot have one: it stands beside the errors, so that uses of the trait
//! elsewhere are not errors too. It never runs.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Path};

pub(crate) fn expand(input: &DeriveInput, krate: &Path, error: &syn::Error) -> TokenStream {
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

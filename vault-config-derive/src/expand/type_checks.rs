//! Checks on the types of fields. Only the compiler knows the traits of a type, so each check is a call that compiles
//! if the type is allowed. The call has the span of the type, so that the compiler reports the error there.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned as _;

use super::{Expansion, bounds, hygienic};
use crate::ast::{ConfigField, FieldOrigin};

impl Expansion<'_> {
    pub(super) fn type_checks(&self) -> TokenStream {
        let secrets = self.secret_checks();
        let plain = self.plain_checks();
        let engines = self.engine_checks();
        quote!(#secrets #plain #engines)
    }

    /// The type of a secret field must hide its value.
    fn secret_checks(&self) -> Option<TokenStream> {
        let krate = &self.krate;
        let secrets = self.parsed.fields.iter().filter(|field| field.is_secret());
        let types: Vec<&Type> = secrets.map(|field| field.ty).collect();
        if types.is_empty() {
            return None;
        }
        let calls = types.iter().map(|ty| quote_spanned!(ty.span()=> requires_secret::<#ty>();));
        Some(quote! {
            fn requires_secret<T: #krate::Secret>() {}
            #(#calls)*
        })
    }

    /// A configuration struct in a plain field would deserialize, but without its own sources. It needs `nested`.
    fn plain_checks(&self) -> TokenStream {
        let private = &self.private;
        let plain = self.parsed.fields.iter().filter(|field| {
            matches!(field.origin(), FieldOrigin::Plain) && self.has_known_reader(field)
        });
        let calls = plain.map(|field| {
            let ty = field.ty;
            quote_spanned!(ty.span()=> requires_plain_type::<#ty, _>();)
        });
        quote! {
            #[allow(dead_code)]
            fn requires_plain_type<T: #private::PlainField<Hint>, Hint>() {}
            #(#calls)*
        }
    }

    /// Some engines return values of one type only. Any other type would fail when the configuration loads.
    fn engine_checks(&self) -> TokenStream {
        let private = &self.private;
        let fields = self.parsed.fields.iter().filter(|field| self.has_known_reader(field));
        let checks = fields.filter_map(|field| {
            let FieldOrigin::Vault(source) = field.origin() else { return None };
            let (ty, field_trait) = (field.ty, hygienic(source.field_trait?));
            let call = quote_spanned!(ty.span()=> requires_engine_type::<#ty>(););
            Some(quote!({
                fn requires_engine_type<T: #private::#field_trait>() {}
                #call
            }))
        });
        quote!(#(#checks)*)
    }

    /// Whether the type alone decides how the field is read. A function of the user can read anything, and the type
    /// behind a type parameter is known only where the struct is used.
    fn has_known_reader(&self, field: &ConfigField<'_>) -> bool {
        field.serde.deserialize_with.is_none() && !bounds::is_generic(field, self.parsed)
    }
}

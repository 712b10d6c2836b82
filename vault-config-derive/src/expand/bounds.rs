//! The bounds that the fields of a generic struct need.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens as _, quote};
use syn::{Path, Type, WhereClause, parse_quote};

use crate::ast::{ConfigField, ConfigStruct, FieldDefault, FieldOrigin};

/// The where clause of the struct, with bounds on the type of each field that mentions a type parameter. Any other
/// type is concrete: a bound on it would only replace the compiler's own message, which is better.
pub(super) fn where_clause(parsed: &ConfigStruct<'_>, krate: &Path) -> WhereClause {
    let mut generics = parsed.original.generics.clone();
    let has_type_parameters = generics.type_params().next().is_some();
    let clause = generics.make_where_clause();
    for field in parsed.fields.iter().filter(|field| is_generic(field, parsed)) {
        let ty: &Type = field.ty;
        for bound in bounds(field, parsed, krate) {
            clause.predicates.push(parse_quote!(#ty: #bound));
        }
    }
    let calls_default = parsed.serde.default.as_ref().is_some_and(|d| d.function.is_none());
    if has_type_parameters && calls_default {
        clause.predicates.push(parse_quote!(Self: #krate::__private::core::default::Default));
    }
    clause.clone()
}

/// Whether the type of the field depends on a type parameter of the struct.
pub(super) fn is_generic(field: &ConfigField<'_>, parsed: &ConfigStruct<'_>) -> bool {
    let parameters = parsed.original.generics.type_params();
    let parameters: Vec<String> = parameters.map(|parameter| parameter.ident.to_string()).collect();
    mentions_any(&parameters, field.ty.to_token_stream())
}

fn bounds(field: &ConfigField<'_>, parsed: &ConfigStruct<'_>, krate: &Path) -> Vec<TokenStream> {
    let private = quote!(#krate::__private);
    let mut bounds = Vec::new();
    match field.origin() {
        FieldOrigin::Nested => bounds.push(quote!(#krate::VaultConfig)),
        FieldOrigin::Plain | FieldOrigin::Vault(_) => {
            if field.serde.deserialize_with.is_none() {
                bounds.push(quote!(for<'__de> #private::serde::Deserialize<'__de>));
            }
            if matches!(field.default(parsed), Some(FieldDefault::OfType)) {
                bounds.push(quote!(#private::core::default::Default));
            }
        }
    }
    if field.is_secret() {
        bounds.push(quote!(#krate::Secret));
    }
    bounds
}

fn mentions_any(parameters: &[String], tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => parameters.contains(&ident.to_string()),
        TokenTree::Group(group) => mentions_any(parameters, group.stream()),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

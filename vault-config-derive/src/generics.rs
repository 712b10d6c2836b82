//! The bounds that fields of a generic type need.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens as _, quote};
use syn::{Path, Type, WhereClause, parse_quote};

use crate::ast::{Fallback, Field, Input, Origin};

/// The struct's own where clause, with a bound on the type of each field that mentions a type parameter:
/// any other type is known to the compiler, whose own message about it is better.
pub(crate) fn where_clause(input: &Input<'_>, krate: &Path) -> WhereClause {
    let mut generics = input.original.generics.clone();
    let parameters: Vec<String> =
        generics.type_params().map(|parameter| parameter.ident.to_string()).collect();
    let clause = generics.make_where_clause();
    for field in &input.fields {
        if mentions(&parameters, field.ty.to_token_stream()) {
            for bound in bounds(field, input, krate) {
                let ty: &Type = field.ty;
                clause.predicates.push(parse_quote!(#ty: #bound));
            }
        }
    }
    if !parameters.is_empty() && input.serde.default.as_ref().is_some_and(|d| d.function.is_none())
    {
        clause.predicates.push(parse_quote!(Self: #krate::__private::core::default::Default));
    }
    clause.clone()
}

/// Whether the field's type depends on a type parameter of the struct.
pub(crate) fn is_generic(field: &Field<'_>, input: &Input<'_>) -> bool {
    let parameters = input.original.generics.type_params();
    let parameters: Vec<String> = parameters.map(|parameter| parameter.ident.to_string()).collect();
    mentions(&parameters, field.ty.to_token_stream())
}

fn bounds(field: &Field<'_>, input: &Input<'_>, krate: &Path) -> Vec<TokenStream> {
    let private = quote!(#krate::__private);
    let mut bounds = Vec::new();
    match field.origin() {
        Origin::Nested => bounds.push(quote!(#krate::VaultConfig)),
        Origin::Plain | Origin::Vault(_) => {
            if field.serde.read_with.is_none() {
                bounds.push(quote!(for<'__de> #private::serde::Deserialize<'__de>));
            }
            if matches!(field.fallback(input), Some(Fallback::Bare)) {
                bounds.push(quote!(#private::core::default::Default));
            }
        }
    }
    if field.is_secret() {
        bounds.push(quote!(#krate::Secret));
    }
    bounds
}

fn mentions(parameters: &[String], tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => parameters.contains(&ident.to_string()),
        TokenTree::Group(group) => mentions(parameters, group.stream()),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

//! The items of an attribute, such as `kv = "app"` in `#[vault(kv = "app", plain)]`.

use proc_macro2::{TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream, Parser as _};
use syn::{Attribute, Expr, Ident, Lit, LitStr, Token, parenthesized, token};

use crate::error_collector::ErrorCollector;

/// One item of an attribute: `name`, `name = value` or `name(..)`.
pub(crate) struct AttributeItem {
    pub(crate) name: Ident,
    pub(crate) payload: Payload,
}

/// What follows the name of an item.
pub(crate) enum Payload {
    Empty,
    Value(Expr),
    List(TokenStream),
}

impl Parse for AttributeItem {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if !input.peek(Ident::peek_any) {
            return Err(input.error("expected the name of an attribute, such as `default`"));
        }
        let name = input.call(Ident::parse_any)?;
        let payload = if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            Payload::Value(input.parse()?)
        } else if input.peek(token::Paren) {
            let list;
            parenthesized!(list in input);
            Payload::List(list.parse()?)
        } else {
            Payload::Empty
        };
        Ok(Self { name, payload })
    }
}

/// The items of every `#[attribute(..)]` in `attrs`.
pub(crate) fn parse_attribute(
    attrs: &[Attribute],
    attribute: &str,
    errors: &mut ErrorCollector,
) -> Vec<AttributeItem> {
    let mut items = Vec::new();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident(attribute)) {
        match attr.meta.require_list() {
            Ok(list) => items.extend(parse_list(list.tokens.clone(), errors)),
            Err(error) => errors.report(error),
        }
    }
    items
}

/// A malformed item is reported and skipped, so that mistakes in the items after it are reported too.
pub(crate) fn parse_list(tokens: TokenStream, errors: &mut ErrorCollector) -> Vec<AttributeItem> {
    let mut items = Vec::new();
    let parser = |input: ParseStream<'_>| {
        while !input.is_empty() {
            match input.parse().and_then(|item| end_of_item(input).map(|()| item)) {
                Ok(item) => items.push(item),
                Err(error) => {
                    errors.report(error);
                    skip_item(input)?;
                }
            }
        }
        Ok(())
    };
    let outcome = parser.parse2(tokens);
    if let Err(error) = outcome {
        errors.report(error);
    }
    items
}

/// The literal that `expr` is.
pub(crate) fn literal(expr: &Expr) -> Option<&Lit> {
    match ungrouped(expr) {
        Expr::Lit(literal) => Some(&literal.lit),
        _ => None,
    }
}

pub(crate) fn string_literal(expr: &Expr) -> Option<LitStr> {
    match literal(expr)? {
        Lit::Str(text) => Some(text.clone()),
        _ => None,
    }
}

/// A `macro_rules!` macro passes an expression on in an invisible group.
pub(crate) fn ungrouped(mut expr: &Expr) -> &Expr {
    while let Expr::Group(group) = expr {
        expr = &group.expr;
    }
    expr
}

fn end_of_item(input: ParseStream<'_>) -> syn::Result<()> {
    if input.is_empty() {
        return Ok(());
    }
    input.parse::<Token![,]>().map(|_| ())
}

fn skip_item(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() {
        if input.parse::<TokenTree>()?.to_string() == "," {
            break;
        }
    }
    Ok(())
}

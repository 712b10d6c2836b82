//! Reads attributes: first any list of words, then `#[vault(..)]` against its tables.

use proc_macro2::TokenStream;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream, Parser as _};
use syn::{Attribute, Expr, ExprPath, Ident, Lit, LitInt, LitStr, Token, parenthesized, token};

use crate::errors::Errors;
use crate::grammar::{Level, Takes, TextCheck};
use crate::text::{self, Interval};

/// What the `#[vault(..)]` attributes of one field or of the struct say.
#[derive(Default)]
pub(crate) struct Args(Vec<(&'static str, Arg)>);

pub(crate) struct Arg {
    pub(crate) word: Ident,
    pub(crate) value: Value,
}

pub(crate) enum Value {
    Nothing,
    Text(LitStr),
    Number(LitInt),
    Interval(Interval),
    Pairs(Vec<(String, LitStr)>),
    Path(ExprPath),
    Expr(Expr),
    /// Reported already; it stands here so that the word still counts as given.
    Wrong,
}

impl Args {
    pub(crate) fn parse(attrs: &[Attribute], level: Level, errors: &mut Errors) -> Self {
        let mut args = Self::default();
        for word in words(attrs, "vault", errors) {
            let Some((name, takes)) = level.words().find(|(known, _)| word.name == known) else {
                errors.at(&word.name, unknown(&word.name, level));
                continue;
            };
            if args.has(name) {
                errors.at(&word.name, format!("duplicate attribute `{name}`"));
                continue;
            }
            let value = value(takes, &word, errors);
            args.0.push((name, Arg { word: word.name, value }));
        }
        args
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(&'static str, Arg)> {
        self.0.iter()
    }

    pub(crate) fn get(&self, word: &str) -> Option<&Arg> {
        self.0.iter().find(|(name, _)| *name == word).map(|(_, arg)| arg)
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        self.get(word).is_some()
    }

    pub(crate) fn text(&self, word: &str) -> Option<&LitStr> {
        match &self.get(word)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn number(&self, word: &str) -> Option<&LitInt> {
        match &self.get(word)?.value {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    pub(crate) fn interval(&self, word: &str) -> Option<Interval> {
        match self.get(word)?.value {
            Value::Interval(interval) => Some(interval),
            _ => None,
        }
    }

    pub(crate) fn pairs(&self, word: &str) -> &[(String, LitStr)] {
        match self.get(word).map(|arg| &arg.value) {
            Some(Value::Pairs(pairs)) => pairs,
            _ => &[],
        }
    }

    pub(crate) fn path(&self, word: &str) -> Option<&ExprPath> {
        match &self.get(word)?.value {
            Value::Path(path) => Some(path),
            _ => None,
        }
    }
}

/// One word of an attribute with what follows it: `word`, `word = value` or `word(..)`.
pub(crate) struct Word {
    pub(crate) name: Ident,
    pub(crate) given: Given,
}

pub(crate) enum Given {
    Nothing,
    Value(Expr),
    List(TokenStream),
}

impl Parse for Word {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if !input.peek(Ident::peek_any) {
            return Err(input.error("expected an attribute word, such as `default`"));
        }
        let name = input.call(Ident::parse_any)?;
        let given = if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            Given::Value(input.parse()?)
        } else if input.peek(token::Paren) {
            let list;
            parenthesized!(list in input);
            Given::List(list.parse()?)
        } else {
            Given::Nothing
        };
        Ok(Self { name, given })
    }
}

/// All words of all `#[attribute(..)]` in `attrs`.
pub(crate) fn words(attrs: &[Attribute], attribute: &str, errors: &mut Errors) -> Vec<Word> {
    let mut all = Vec::new();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident(attribute)) {
        match attr.meta.require_list() {
            Ok(list) => all.extend(list_of_words(list.tokens.clone(), errors)),
            Err(error) => errors.push(error),
        }
    }
    all
}

/// The words of a list; one that cannot be read is reported and the next is read all the same.
pub(crate) fn list_of_words(tokens: TokenStream, errors: &mut Errors) -> Vec<Word> {
    let mut words = Vec::new();
    let parser = |input: ParseStream<'_>| {
        while !input.is_empty() {
            match input.parse().and_then(|word| end_of_word(input).map(|()| word)) {
                Ok(word) => words.push(word),
                Err(error) => {
                    errors.push(error);
                    skip_word(input)?;
                }
            }
        }
        Ok(())
    };
    let outcome = parser.parse2(tokens);
    if let Err(error) = outcome {
        errors.push(error);
    }
    words
}

fn end_of_word(input: ParseStream<'_>) -> syn::Result<()> {
    if input.is_empty() {
        return Ok(());
    }
    input.parse::<Token![,]>().map(|_| ())
}

fn skip_word(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() {
        if input.parse::<proc_macro2::TokenTree>()?.to_string() == "," {
            break;
        }
    }
    Ok(())
}

fn value(takes: Takes, word: &Word, errors: &mut Errors) -> Value {
    let name = &word.name;
    match (takes, &word.given) {
        (Takes::Flag | Takes::FlagOrText(_) | Takes::FlagOrExpr, Given::Nothing) => Value::Nothing,
        (Takes::FlagOrExpr, Given::Value(expr)) => Value::Expr(expr.clone()),
        (Takes::Text(check) | Takes::FlagOrText(check), Given::Value(given)) => {
            match text_of(given) {
                Some(text) => checked(name, text, check, errors),
                None => wrong(takes, name, given, errors),
            }
        }
        (Takes::Number, Given::Value(given)) => match number_of(given) {
            Some(number) => Value::Number(number),
            None => wrong(takes, name, given, errors),
        },
        (Takes::Interval, Given::Value(given)) => match text_of(given) {
            Some(text) => interval(name, &text, errors),
            None => wrong(takes, name, given, errors),
        },
        (Takes::Path | Takes::PathOrText, Given::Value(given)) => match path_of(takes, given) {
            Some(path) => Value::Path(path),
            None => wrong(takes, name, given, errors),
        },
        (Takes::Pairs, Given::List(list)) => pairs(name, list.clone(), errors),
        (_, Given::Value(given)) => wrong(takes, name, given, errors),
        (_, Given::List(list)) if !list.is_empty() => wrong(takes, name, list, errors),
        (_, Given::List(_) | Given::Nothing) => wrong(takes, name, name, errors),
    }
}

fn pairs(word: &Ident, list: TokenStream, errors: &mut Errors) -> Value {
    let mut pairs: Vec<(String, LitStr)> = Vec::new();
    for Word { name, given } in list_of_words(list, errors) {
        let key = name.unraw().to_string();
        let text = match &given {
            Given::Value(expr) => text_of(expr),
            _ => None,
        };
        let problem = match &text {
            None => Some(Takes::Pairs.usage(&word.to_string())),
            Some(_) if pairs.iter().any(|(other, _)| *other == key) => {
                Some(format!("duplicate name `{key}`"))
            }
            Some(text) if !text.value().is_empty() => {
                text::wish(&text.value()).err().map(|why| format!("`{key}` {why}"))
            }
            Some(_) => None,
        };
        match (text, problem) {
            (Some(text), None) => pairs.push((key, text)),
            (_, Some(problem)) => errors.at(&name, problem),
            (None, None) => {}
        }
    }
    Value::Pairs(pairs)
}

fn checked(name: &Ident, text: LitStr, check: TextCheck, errors: &mut Errors) -> Value {
    match check(&text.value()) {
        Ok(()) => Value::Text(text),
        Err(why) => {
            errors.at(&text, format!("`{name}` {why}"));
            Value::Wrong
        }
    }
}

fn interval(name: &Ident, text: &LitStr, errors: &mut Errors) -> Value {
    match text::interval(&text.value()) {
        Ok(interval) => Value::Interval(interval),
        Err(why) => {
            errors.at(text, format!("`{name}` {why}"));
            Value::Wrong
        }
    }
}

fn wrong(takes: Takes, name: &Ident, at: impl quote::ToTokens, errors: &mut Errors) -> Value {
    errors.at(at, takes.usage(&name.to_string()));
    Value::Wrong
}

/// The string literal that `expr` is, also when a `macro_rules!` macro passed it on.
pub(crate) fn text_of(expr: &Expr) -> Option<LitStr> {
    match ungrouped(expr) {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn number_of(expr: &Expr) -> Option<LitInt> {
    match ungrouped(expr) {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) if number.base10_parse::<u64>().is_ok() => Some(number.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn path_of(takes: Takes, expr: &Expr) -> Option<ExprPath> {
    match (takes, ungrouped(expr)) {
        (_, Expr::Path(path)) => Some(path.clone()),
        (Takes::PathOrText, expr) => text_of(expr)?.parse_with(module).ok(),
        _ => None,
    }
}

fn module(input: ParseStream<'_>) -> syn::Result<ExprPath> {
    let path = input.call(syn::Path::parse_mod_style)?;
    Ok(ExprPath { attrs: Vec::new(), qself: None, path })
}

fn ungrouped(mut expr: &Expr) -> &Expr {
    while let Expr::Group(group) = expr {
        expr = &group.expr;
    }
    expr
}

fn unknown(word: &Ident, level: Level) -> String {
    let word = word.to_string();
    if level.other().words().any(|(known, _)| known == word) {
        let (here, there) = (level.place(), level.other().place());
        return format!("`{word}` is an attribute of {there}, not of {here}");
    }
    let known: Vec<String> = level.words().map(|(known, _)| format!("`{known}`")).collect();
    let hint = nearest(&word, level.words().map(|(known, _)| known))
        .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    format!("unknown attribute `{word}`{hint}\nknown on {} are {}", level.place(), known.join(", "))
}

/// The known word nearest to `word`, if one is near enough to have been meant.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let enough = (word.chars().count() / 3).max(1);
    known
        .map(|known| (strsim::damerau_levenshtein(word, known), known))
        .filter(|(distance, _)| *distance <= enough)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_near() {
        let known = || Level::Field.words().map(|(word, _)| word);
        for (typed, meant) in [
            ("defualt", Some("default")),
            ("vk", Some("kv")),
            ("databse", Some("database")),
            ("kvversion", Some("kv_version")),
            ("tarnsit", Some("transit")),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, known()), meant, "{typed}");
        }
    }
}

//! The attribute `#[vault(..)]`, read by the tables of `grammar`.

use proc_macro2::TokenStream;
use syn::ext::IdentExt as _;
use syn::parse::ParseStream;
use syn::{Attribute, Expr, ExprPath, Ident, Lit, LitInt, LitStr};

use crate::attr::grammar::{ArgSyntax, AttributeLevel, TextCheck};
use crate::attr::item::{
    AttributeItem, Payload, literal, parse_attribute, parse_list, string_literal, ungrouped,
};
use crate::attr::literal::{self as check, RefreshInterval};
use crate::attr::suggestion::did_you_mean;
use crate::error_collector::ErrorCollector;

/// The arguments of all `#[vault(..)]` on one field or on the struct.
#[derive(Default)]
pub(crate) struct VaultArgs(Vec<(&'static str, VaultArg)>);

pub(crate) struct VaultArg {
    pub(crate) name: Ident,
    pub(crate) value: ArgValue,
}

pub(crate) enum ArgValue {
    /// The name stands alone.
    Flag,
    Text(LitStr),
    Number(LitInt),
    Refresh(RefreshInterval),
    Pairs(Vec<(String, LitStr)>),
    Path(ExprPath),
    Expr(Expr),
    /// A value whose mistake is already reported. The argument stays, so that later checks still know it is set.
    Invalid,
}

impl VaultArgs {
    pub(crate) fn parse(
        attrs: &[Attribute],
        level: AttributeLevel,
        errors: &mut ErrorCollector,
    ) -> Self {
        let mut args = Self::default();
        for item in parse_attribute(attrs, "vault", errors) {
            let known = level.attributes().find(|(keyword, _)| item.name == keyword);
            let Some((keyword, syntax)) = known else {
                errors.report_at(&item.name, unknown(&item.name, level));
                continue;
            };
            if args.has(keyword) {
                let message = format!("duplicate attribute `{keyword}`: set it only once");
                errors.report_at(&item.name, message);
                continue;
            }
            let value = parse_value(syntax, &item, errors);
            args.0.push((keyword, VaultArg { name: item.name, value }));
        }
        args
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(&'static str, VaultArg)> {
        self.0.iter()
    }

    pub(crate) fn get(&self, keyword: &str) -> Option<&VaultArg> {
        self.0.iter().find(|(known, _)| *known == keyword).map(|(_, arg)| arg)
    }

    pub(crate) fn has(&self, keyword: &str) -> bool {
        self.get(keyword).is_some()
    }

    pub(crate) fn text(&self, keyword: &str) -> Option<&LitStr> {
        match &self.get(keyword)?.value {
            ArgValue::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn number(&self, keyword: &str) -> Option<&LitInt> {
        match &self.get(keyword)?.value {
            ArgValue::Number(number) => Some(number),
            _ => None,
        }
    }

    pub(crate) fn refresh(&self, keyword: &str) -> Option<RefreshInterval> {
        match self.get(keyword)?.value {
            ArgValue::Refresh(interval) => Some(interval),
            _ => None,
        }
    }

    pub(crate) fn pairs(&self, keyword: &str) -> &[(String, LitStr)] {
        match self.get(keyword).map(|arg| &arg.value) {
            Some(ArgValue::Pairs(pairs)) => pairs,
            _ => &[],
        }
    }

    pub(crate) fn path(&self, keyword: &str) -> Option<&ExprPath> {
        match &self.get(keyword)?.value {
            ArgValue::Path(path) => Some(path),
            _ => None,
        }
    }
}

fn parse_value(syntax: ArgSyntax, item: &AttributeItem, errors: &mut ErrorCollector) -> ArgValue {
    let name = &item.name;
    let value = match (syntax, &item.payload) {
        (ArgSyntax::Flag | ArgSyntax::FlagOrText(_) | ArgSyntax::FlagOrExpr, Payload::Empty) => {
            Some(ArgValue::Flag)
        }
        (ArgSyntax::FlagOrExpr, Payload::Value(expr)) => Some(ArgValue::Expr(expr.clone())),
        (ArgSyntax::Text(check) | ArgSyntax::FlagOrText(check), Payload::Value(expr)) => {
            string_literal(expr).map(|text| checked_text(name, text, check, errors))
        }
        (ArgSyntax::Number, Payload::Value(expr)) => number_literal(expr).map(ArgValue::Number),
        (ArgSyntax::Refresh, Payload::Value(expr)) => {
            string_literal(expr).map(|text| refresh_interval(name, &text, errors))
        }
        (ArgSyntax::Path, Payload::Value(expr)) => path(expr).map(ArgValue::Path),
        (ArgSyntax::PathOrText, Payload::Value(expr)) => {
            path(expr).or_else(|| path_in_text(expr)).map(ArgValue::Path)
        }
        (ArgSyntax::Pairs, Payload::List(list)) => Some(pairs(name, list.clone(), errors)),
        _ => None,
    };
    value.unwrap_or_else(|| {
        report_usage(syntax, item, errors);
        ArgValue::Invalid
    })
}

fn report_usage(syntax: ArgSyntax, item: &AttributeItem, errors: &mut ErrorCollector) {
    let usage = syntax.usage(&item.name.to_string());
    match &item.payload {
        Payload::Value(expr) => errors.report_at(expr, usage),
        Payload::List(list) if !list.is_empty() => errors.report_at(list, usage),
        Payload::List(_) | Payload::Empty => errors.report_at(&item.name, usage),
    }
}

fn checked_text(
    name: &Ident,
    text: LitStr,
    check: TextCheck,
    errors: &mut ErrorCollector,
) -> ArgValue {
    match check(&text.value()) {
        Ok(()) => ArgValue::Text(text),
        Err(problem) => {
            errors.report_at(&text, format!("`{name}` {problem}"));
            ArgValue::Invalid
        }
    }
}

fn refresh_interval(name: &Ident, text: &LitStr, errors: &mut ErrorCollector) -> ArgValue {
    match check::refresh_interval(&text.value()) {
        Ok(interval) => ArgValue::Refresh(interval),
        Err(problem) => {
            errors.report_at(text, format!("`{name}` {problem}"));
            ArgValue::Invalid
        }
    }
}

/// Valid pairs stay beside invalid ones, so that a duplicate of a valid pair is reported too.
fn pairs(keyword: &Ident, list: TokenStream, errors: &mut ErrorCollector) -> ArgValue {
    let mut pairs: Vec<(String, LitStr)> = Vec::new();
    for item in parse_list(list, errors) {
        match pair(keyword, &item, &pairs) {
            Ok(pair) => pairs.push(pair),
            Err(problem) => errors.report_at(&item.name, problem),
        }
    }
    ArgValue::Pairs(pairs)
}

fn pair(
    keyword: &Ident,
    item: &AttributeItem,
    earlier: &[(String, LitStr)],
) -> Result<(String, LitStr), String> {
    let name = item.name.unraw().to_string();
    let text = match &item.payload {
        Payload::Value(expr) => string_literal(expr),
        Payload::Empty | Payload::List(_) => None,
    };
    let Some(text) = text else {
        return Err(ArgSyntax::Pairs.usage(&keyword.to_string()));
    };
    if earlier.iter().any(|(known, _)| *known == name) {
        return Err(format!("duplicate name `{name}` in `{keyword}`: set it only once"));
    }
    // Unlike the text of an attribute, a parameter of an engine can be empty.
    if !text.value().is_empty() {
        check::engine_parameter(&text.value())
            .map_err(|problem| format!("`{name}` in `{keyword}` {problem}"))?;
    }
    Ok((name, text))
}

/// A number that does not fit into `u64` could not be written into the generated code.
fn number_literal(expr: &Expr) -> Option<LitInt> {
    match literal(expr)? {
        Lit::Int(number) if number.base10_parse::<u64>().is_ok() => Some(number.clone()),
        _ => None,
    }
}

fn path(expr: &Expr) -> Option<ExprPath> {
    match ungrouped(expr) {
        Expr::Path(path) => Some(path.clone()),
        _ => None,
    }
}

fn path_in_text(expr: &Expr) -> Option<ExprPath> {
    let parser = |input: ParseStream<'_>| {
        let path = input.call(syn::Path::parse_mod_style)?;
        Ok(ExprPath { attrs: Vec::new(), qself: None, path })
    };
    string_literal(expr)?.parse_with(parser).ok()
}

fn unknown(name: &Ident, level: AttributeLevel) -> String {
    let name = name.to_string();
    let (here, there) = (level.place(), level.other().place());
    if level.other().attributes().any(|(keyword, _)| keyword == name) {
        return format!("`{name}` is not allowed on {here}: move it to {there}");
    }
    let suggestion = did_you_mean(&name, level.attributes().map(|(keyword, _)| keyword));
    let known: Vec<String> =
        level.attributes().map(|(keyword, _)| format!("`{keyword}`")).collect();
    format!("unknown attribute `{name}`{suggestion}\n{here} accepts {}", known.join(", "))
}

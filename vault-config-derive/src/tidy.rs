//! Types and expressions as text, spaced as a person spaces them: tokens do not remember how they were written.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use quote::ToTokens;

pub(crate) fn text(tokens: impl ToTokens) -> String {
    let mut pieces = Vec::new();
    flatten(tokens.to_token_stream(), &mut pieces);
    let mut text = String::new();
    let mut line = Line::default();
    for piece in pieces {
        if line.next(&piece) {
            text.push(' ');
        }
        text.push_str(&piece);
    }
    text
}

fn flatten(tokens: TokenStream, pieces: &mut Vec<String>) {
    let mut joined = false;
    for token in tokens {
        let joint = matches!(&token, TokenTree::Punct(p) if p.spacing() == Spacing::Joint);
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::None => ("", ""),
                };
                pieces.extend((!open.is_empty()).then(|| open.to_owned()));
                flatten(group.stream(), pieces);
                pieces.extend((!close.is_empty()).then(|| close.to_owned()));
            }
            token => {
                let token = token.to_string();
                match pieces.last_mut() {
                    Some(last) if joined && glued(last, &token) => last.push_str(&token),
                    _ => pieces.push(token),
                }
            }
        }
        joined = joint;
    }
}

/// Whether two tokens that touch are one operator (or a lifetime). `>>` is not: it mostly closes two lists.
fn glued(first: &str, second: &str) -> bool {
    const OPERATORS: [&str; 13] =
        ["::", "->", "=>", "..", "..=", "&&", "||", "==", "!=", "<=", ">=", "<<", "'"];
    first == "'" || OPERATORS.contains(&format!("{first}{second}").as_str())
}

/// What was written last, as far as the next space depends on it.
#[derive(Default)]
struct Line {
    last: String,
    /// The last piece holds on to whatever comes next, as `&` does in `&str`.
    tight: bool,
    angles: usize,
    closure: bool,
}

impl Line {
    /// Whether a space goes before `piece`.
    fn next(&mut self, piece: &str) -> bool {
        let operand = self.after_operand();
        let start = self.last.is_empty();
        let mut space = !self.tight && !start;
        let mut tight = false;
        match piece {
            "," | ";" | ":" | "?" | ")" | "]" => space = false,
            "}" => space = self.last != "{",
            "." | ".." | "..=" => (space, tight) = (false, true),
            "(" | "[" => {
                space &= !self.calls();
                tight = true;
            }
            "::" => {
                space &= !operand;
                tight = true;
            }
            "!" | "#" => {
                space &= !operand;
                tight = true;
            }
            "<" if self.opens_list() => {
                self.angles += 1;
                space &= !operand && self.last != "for";
                tight = true;
            }
            ">" if self.angles > 0 => {
                self.angles -= 1;
                space = false;
            }
            "|" if self.closure => {
                self.closure = false;
                space = false;
            }
            "|" if !operand => {
                self.closure = true;
                tight = true;
            }
            "&" | "&&" | "*" | "-" => tight = !operand,
            _ => {}
        }
        self.tight = tight;
        piece.clone_into(&mut self.last);
        space
    }

    fn after_operand(&self) -> bool {
        let last = self.last.as_str();
        matches!(last, ")" | "]" | "}" | ">" | "?") || (is_word(last) && !is_keyword(last))
    }

    /// Whether a bracket after the last piece belongs to it.
    fn calls(&self) -> bool {
        self.after_operand() && self.last != "}" || self.last == "fn"
    }

    /// `<` is a comparison after an operand of an expression; types have none and turbofish has its `::`.
    fn opens_list(&self) -> bool {
        let name = self.last.starts_with(|c: char| c.is_alphabetic() || c == '_');
        self.angles > 0 || name || !self.after_operand()
    }
}

fn is_word(piece: &str) -> bool {
    piece.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '"' | '\''))
}

fn is_keyword(piece: &str) -> bool {
    matches!(
        piece,
        "as" | "const"
            | "dyn"
            | "else"
            | "fn"
            | "for"
            | "if"
            | "impl"
            | "in"
            | "match"
            | "move"
            | "mut"
            | "return"
    )
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use super::*;

    fn assert_tidy(written: &str) {
        let spaced = TokenStream::from_str(written).map(text);
        assert_eq!(spaced.ok().as_deref(), Some(written));
    }

    #[test]
    fn types() {
        for ty in [
            "u16",
            "Option<SecretString>",
            "HashMap<String, Vec<Option<u8>>>",
            "&'static str",
            "&'a mut [u8]",
            "[u8; 32]",
            "(u8, String)",
            "()",
            "::std::vec::Vec<u8>",
            "<T as Trait<'a>>::Out",
            "Box<dyn Fn(u8) -> u8 + Send>",
            "fn(u8, &str) -> bool",
            "*const u8",
            "for<'a> fn(&'a u8)",
            "Wrapper<{ N }, 3>",
            "r#type::Of<T>",
        ] {
            assert_tidy(ty);
        }
    }

    #[test]
    fn expressions() {
        for expr in [
            "8080",
            "-1",
            "0.5",
            "\"a b\"",
            "Duration::from_secs(30)",
            "Some(5)",
            "vec![1, 2]",
            "Vec::<u8>::new()",
            "60 * 60 + a - b",
            "1 << 20",
            "\"x\".to_owned()",
            "&[\"a\", \"b\"]",
            "Point { x: 1, y: 2 }",
            "Empty {}",
            "(0..10).map(|x| x + 1).collect()",
            "!true",
            "x as u16",
            "parse(\"1\")?",
            "if a { 1 } else { 2 }",
            "Default::default()",
            "*REFERENCE",
        ] {
            assert_tidy(expr);
        }
    }
}

//! Types and expressions as text for documents and error messages, spaced as `rustfmt` would space them. Tokens do not
//! hold the spaces of the source, and `TokenStream::to_string` puts one almost everywhere.

use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};
use quote::ToTokens;

pub(super) fn token_text(tokens: impl ToTokens) -> String {
    let mut pieces = Vec::new();
    flatten(tokens.to_token_stream(), &mut pieces);
    let mut text = String::new();
    let mut spacing = SpacingState::default();
    for piece in pieces {
        if spacing.space_before(&piece) {
            text.push(' ');
        }
        text.push_str(&piece);
    }
    text
}

fn flatten(tokens: TokenStream, pieces: &mut Vec<String>) {
    let mut touches_last = false;
    for token in tokens {
        let joint = matches!(&token, TokenTree::Punct(p) if p.spacing() == Spacing::Joint);
        match token {
            TokenTree::Group(group) => flatten_group(&group, pieces),
            token => {
                let token = token.to_string();
                match pieces.last_mut() {
                    Some(last) if touches_last && is_one_operator(last, &token) => {
                        last.push_str(&token);
                    }
                    _ => pieces.push(token),
                }
            }
        }
        touches_last = joint;
    }
}

fn flatten_group(group: &Group, pieces: &mut Vec<String>) {
    let (open, close) = match group.delimiter() {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::None => return flatten(group.stream(), pieces),
    };
    pieces.push(open.to_owned());
    flatten(group.stream(), pieces);
    pieces.push(close.to_owned());
}

/// Whether two tokens that touch are one operator, or one lifetime. `>>` is missing because it mostly closes two lists
/// of type arguments.
fn is_one_operator(first: &str, second: &str) -> bool {
    const OPERATORS: [&str; 13] =
        ["::", "->", "=>", "..", "..=", "&&", "||", "==", "!=", "<=", ">=", "<<", "'"];
    first == "'" || OPERATORS.contains(&format!("{first}{second}").as_str())
}

/// The text before the next piece, as far as the next space depends on it.
#[derive(Default)]
struct SpacingState {
    last: String,
    /// The last piece takes no space after it, as `&` in `&str`.
    binds_next: bool,
    open_angle_brackets: usize,
    in_closure_parameters: bool,
}

impl SpacingState {
    fn space_before(&mut self, piece: &str) -> bool {
        let after_operand = self.is_after_operand();
        let mut space = !self.binds_next && !self.last.is_empty();
        let mut binds_next = false;
        match piece {
            "," | ";" | ":" | "?" | ")" | "]" => space = false,
            "}" => space = self.last != "{",
            "." | ".." | "..=" => (space, binds_next) = (false, true),
            "(" | "[" => {
                space &= !self.takes_bracket();
                binds_next = true;
            }
            "::" | "!" | "#" => {
                space &= !after_operand;
                binds_next = true;
            }
            "<" if self.starts_type_list() => {
                self.open_angle_brackets += 1;
                space &= !after_operand && self.last != "for";
                binds_next = true;
            }
            ">" if self.open_angle_brackets > 0 => {
                self.open_angle_brackets -= 1;
                space = false;
            }
            "|" if self.in_closure_parameters => {
                self.in_closure_parameters = false;
                space = false;
            }
            "|" if !after_operand => {
                self.in_closure_parameters = true;
                binds_next = true;
            }
            "&" | "&&" | "*" | "-" => binds_next = !after_operand,
            _ => {}
        }
        self.binds_next = binds_next;
        piece.clone_into(&mut self.last);
        space
    }

    fn is_after_operand(&self) -> bool {
        let last = self.last.as_str();
        matches!(last, ")" | "]" | "}" | ">" | "?") || (is_word(last) && !is_keyword(last))
    }

    /// Whether a bracket belongs to the last piece, as in a call or an index.
    fn takes_bracket(&self) -> bool {
        self.is_after_operand() && self.last != "}" || self.last == "fn"
    }

    /// `<` is a comparison only after an operand that is not a name: a comparison of names is rare in a default, and
    /// type arguments are not.
    fn starts_type_list(&self) -> bool {
        let is_name = self.last.starts_with(|c: char| c.is_alphabetic() || c == '_');
        self.open_angle_brackets > 0 || is_name || !self.is_after_operand()
    }
}

fn is_word(piece: &str) -> bool {
    piece.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '"' | '\''))
}

#[rustfmt::skip]
fn is_keyword(piece: &str) -> bool {
    matches!(
        piece,
        "as" | "const" | "dyn" | "else" | "fn" | "for" | "if" | "impl" | "in" | "match" | "move" | "mut" | "return"
    )
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use super::*;

    fn assert_spaced(written: &str) {
        let spaced = TokenStream::from_str(written).map(token_text);
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
            assert_spaced(ty);
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
            assert_spaced(expr);
        }
    }
}

//! What dotenvy's quoting rules do to the text of one variable.

pub(super) struct Scan {
    /// An unescaped `$` stands in it, which dotenvy expands.
    pub(super) expands: bool,
    /// A comment follows a value without quotes. It may be part of a secret.
    pub(super) truncated: bool,
    /// Every quote that opens also closes, and nothing follows the value but a comment.
    pub(super) complete: bool,
}

/// Walks the raw text of one variable by dotenvy's own quoting rules.
pub(super) fn scan(text: &str) -> Scan {
    let mut scan = Scan { expands: false, truncated: false, complete: true };
    let Some((_, value)) = text.split_once('=') else { return scan };
    let mut quote = None;
    let mut characters = value.trim().chars().peekable();
    let (mut blank, mut dangling, mut quoted) = (true, false, false);
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, '#') if blank => {
                scan.truncated = !quoted && !value.trim_start().starts_with('#');
                return scan;
            }
            (None, '\n') => {
                scan.complete = false;
                return scan;
            }
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('\''), _) => {}
            // dotenvy drops a backslash that has nothing to escape.
            (_, '\\') => dangling = characters.next().is_none(),
            (_, '$') => scan.expands = true,
            (None, '\'' | '"') => {
                quoted = true;
                quote = Some(character);
            }
            _ => {}
        }
        blank = matches!(character, ' ' | '\t');
    }
    scan.complete = quote.is_none() && !dangling;
    scan
}

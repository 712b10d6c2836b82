//! Printing names and texts that come from outside: a server, a file, a variable or a validator may hold anything, and
//! a terminal that obeys it, or a line break in the middle, would falsify the report around it.

use std::borrow::Cow;

/// In characters: a text from outside is cut to about a page.
const PAGE: usize = 2000;
/// In characters: a longer name is cut.
const NAME: usize = 100;
/// The most names that are listed whole.
pub(crate) const MANY: usize = 12;
/// How many of the most similar names are listed if there are more.
const FEW: usize = 5;

/// A text on one line, cut to a page. Characters that are not visible by themselves are escaped as `{:?}` does.
pub(crate) fn printable(text: &str) -> String {
    escaped(cut(text, PAGE).as_ref(), |_| false).into_owned()
}

/// A name: [`printable`] and short.
pub(crate) fn name(text: &str) -> String {
    printable(&cut(text, NAME))
}

/// A sentence of this crate, with the texts that were put into it, on one line.
pub(crate) fn sentence(text: String) -> String {
    let cut = match cut(&text, 2 * PAGE) {
        Cow::Borrowed(_) => text,
        Cow::Owned(cut) => cut,
    };
    replaced(cut, |_| false)
}

/// The same for a text that has several lines, such as a policy. Names in it are [`name`]s already.
pub(crate) fn lines(text: String) -> String {
    replaced(text, |c| c == '\n')
}

fn replaced(text: String, keeps: impl Fn(char) -> bool) -> String {
    match escaped(&text, keeps) {
        Cow::Borrowed(_) => text,
        Cow::Owned(escaped) => escaped,
    }
}

fn escaped(text: &str, keeps: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_clean = |c| keeps(c) || is_shown(c);
    if text.chars().all(is_clean) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if is_clean(c) => clean.push(c),
            '\0' | '\t' | '\r' | '\n' => clean.extend(c.escape_debug()),
            c => clean.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(clean)
}

fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most).and_then(|(end, _)| text.get(..end)) {
        Some(start) => Cow::Owned(format!("{start} ..")),
        None => Cow::Borrowed(text),
    }
}

/// Whether it is visible, and does not move what stands around it.
fn is_shown(c: char) -> bool {
    // Drawn as nothing or as a blank, although Unicode lists them as letters, marks and symbols.
    let is_blank = matches!(
        c,
        '\u{34f}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{e0000}'..='\u{e0fff}'
    );
    is_printable(c) && !is_blank
}

/// False for controls, formats (directions, no width), separators other than the blank, private and unassigned
/// characters.
pub(crate) fn is_printable(c: char) -> bool {
    // Uses the standard library's own table. It escapes a combining mark at the start of a text, so a letter stands
    // before it.
    matches!(c, ' '..='~') || String::from_iter(['a', c]).escape_debug().nth(1) == Some(c)
}

/// Names as one text: all, or the first ones and the number of the rest.
pub(crate) fn listed(names: impl IntoIterator<Item = String>) -> String {
    let mut names = names.into_iter();
    let shown: Vec<_> = names.by_ref().take(MANY).collect();
    match names.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Names from outside as one text: all, or those most similar to `wanted` and the number of all.
pub(crate) fn nearest_few<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.into_iter().collect();
    let all = names.len();
    if all <= MANY {
        return listed(names.into_iter().map(name));
    }
    let wanted = Plain::of(wanted);
    names.sort_by_cached_key(|name| wanted.distance(&Plain::of(name)));
    format!("{} (the nearest of {all})", listed(names.into_iter().take(FEW).map(name)))
}

/// The name most similar to `wanted`, if it is similar enough for a typing mistake.
pub(crate) fn nearest<'a>(
    wanted: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let plain = Plain::of(wanted);
    let rank =
        |name: &str| Some((plain.slip(&Plain::of(name))?, name.len().abs_diff(wanted.len())));
    names.into_iter().filter_map(|name| Some((rank(name)?, name))).min().map(|(_, name)| name)
}

/// A name without what is often confused: upper and lower case, and the character between two words.
struct Plain(String);

impl Plain {
    /// Longer names are compared by their lengths alone: the distance costs the product of both lengths.
    const LONGEST: usize = 200;

    fn of(name: &str) -> Self {
        let letters = name.chars().filter(|c| !matches!(c, '_' | '-' | '.' | ' '));
        let plain: String = letters.take(Self::LONGEST + 1).flat_map(char::to_lowercase).collect();
        // A name of separators alone is kept as it is.
        Self(if plain.is_empty() { name.chars().take(Self::LONGEST).collect() } else { plain })
    }

    /// The distance in letters, or `None` if it is too large for a typing mistake.
    fn slip(&self, other: &Self) -> Option<usize> {
        let (one, another) = (self.0.chars().count(), other.0.chars().count());
        let most = 1.max(one.max(another) / 3);
        if one.abs_diff(another) > most || one.max(another) > Self::LONGEST {
            return None;
        }
        Some(strsim::damerau_levenshtein(&self.0, &other.0)).filter(|distance| *distance <= most)
    }

    fn distance(&self, other: &Self) -> usize {
        let (one, another) = (self.0.chars().count(), other.0.chars().count());
        match one.max(another) > Self::LONGEST {
            true => one.abs_diff(another).max(Self::LONGEST),
            false => strsim::damerau_levenshtein(&self.0, &other.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_letters_stay() {
        for (text, shown) in [
            ("api_key", "api_key"),
            ("it's \"C:\\x\"", "it's \"C:\\x\""),
            ("\u{1b}[31mred\u{1b}[0m", "\\u{1b}[31mred\\u{1b}[0m"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\r\nb\tc\0d\u{7f}\u{85}", "a\\r\\nb\\tc\\0d\\u{7f}\\u{85}"),
            ("a\u{2028}b\u{2029}c", "a\\u{2028}b\\u{2029}c"),
            ("\u{202e}gpj.exe\u{2066}", "\\u{202e}gpj.exe\\u{2066}"),
            ("a\u{200b}\u{200d}\u{feff}\u{ad}b", "a\\u{200b}\\u{200d}\\u{feff}\\u{ad}b"),
            ("a\u{a0}b\u{3164}c\u{fe0f}\u{e0041}", "a\\u{a0}b\\u{3164}c\\u{fe0f}\\u{e0041}"),
            // Letters of any script, and the marks on them.
            ("Schlüssel ключ 鍵 e\u{301} चाबी กุญแจ", "Schlüssel ключ 鍵 e\u{301} चाबी กุญแจ"),
        ] {
            assert_eq!(printable(text), shown, "{text:?}");
            assert_eq!(printable(shown), shown, "what is shown is shown as it is");
        }
    }

    #[test]
    fn lines_are_kept_where_they_are_ours() {
        assert_eq!(lines("path {\n  a\r\n\u{1b}}".to_owned()), "path {\n  a\\r\n\\u{1b}}");
        assert_eq!(sentence("a\nb".to_owned()), "a\\nb");
    }

    #[test]
    fn what_is_long_is_cut() {
        let long = "ä".repeat(5000);
        assert_eq!(name(&long).chars().count(), NAME + 3);
        assert_eq!(printable(&long).chars().count(), PAGE + 3);
        assert_eq!(sentence(long).chars().count(), 2 * PAGE + 3);
    }

    #[test]
    fn many_names_are_few_words() {
        let names: Vec<_> = (0..10_000).map(|n| format!("key{n}")).collect();
        assert_eq!(listed(names.iter().take(3).cloned()), "key0, key1, key2");
        assert!(listed(names.clone()).ends_with("key11 and 9988 more"));
        let names = names.iter().map(String::as_str);
        let few = nearest_few("key_777", names.clone());
        assert!(few.starts_with("key777, "), "{few}");
        assert!(few.ends_with(" (the nearest of 10000)"), "{few}");
        assert_eq!(nearest_few("key0", names.take(2)), "key0, key1");
    }

    #[test]
    fn a_slip_is_one_of_letters_case_or_what_joins_words() {
        for (wanted, name) in [
            ("api_key", "API_KEY"),
            ("api_key", "apiKey"),
            ("api_key", "api-key"),
            ("api_key", "Api.Key"),
            ("API_KEY", "api_key"),
            ("password", "PASWORD"),
            ("external_api_key", "external-api-kye"),
            ("schlüssel", "SCHLÜSSEL"),
            ("a", "A"),
        ] {
            assert_eq!(nearest(wanted, ["zzzzzzzzzzzz", name]), Some(name), "{wanted}");
        }
        assert_eq!(nearest("password", ["username", "host", ""]), None);
        assert_eq!(nearest("api_key", ["API_KEYS", "API_KEY"]), Some("API_KEY"));
        // Of two that mean the same, the one that is written alike.
        assert_eq!(nearest("api_key", ["APIKEY", "API-KEY"]), Some("API-KEY"));
    }

    /// A matrix of ten million times seven would take a gigabyte.
    #[test]
    fn a_name_of_megabytes_is_no_slip_and_costs_nothing() {
        let long = "k".repeat(10_000_000);
        let blanks = " ".repeat(10_000_000);
        assert_eq!(nearest("api_key", [long.as_str(), &blanks]), None);
        let many = std::iter::repeat_n(long.as_str(), 20).chain(["api-key"]);
        let few = nearest_few("api_key", many);
        assert!(few.starts_with("api-key, "), "{few}");
        assert!(few.len() < 1000, "{}", few.len());
    }
}

//! A `.env` file, parsed by dotenvy into a map with the line of every variable.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use secrecy::zeroize::Zeroizing;

use crate::error::{Cause, ErrorKind};

#[derive(Default)]
pub(crate) struct Dotenv {
    path: PathBuf,
    entries: BTreeMap<String, Entry>,
    /// Every line that could not be read.
    pub(crate) problems: Vec<Cause>,
}

pub(crate) struct Entry {
    value: Zeroizing<String>,
    line: usize,
    expands: bool,
    cut: bool,
}

/// Which `.env` file to read.
#[derive(Debug, Clone, Default)]
pub(crate) enum Choice {
    /// `.env` in the working directory, if there is one.
    #[default]
    IfPresent,
    Path(PathBuf),
    None,
}

impl Dotenv {
    pub(crate) fn read(choice: &Choice) -> Self {
        let (path, required) = match choice {
            Choice::None => return Self::default(),
            Choice::IfPresent => (Path::new(".env"), false),
            Choice::Path(path) => (path.as_path(), true),
        };
        match std::fs::read(path) {
            Ok(bytes) => Self::parse(path, Zeroizing::new(bytes)),
            Err(error) if !required && error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => Self {
                path: path.to_owned(),
                problems: vec![
                    Cause::new(
                        ErrorKind::Dotenv,
                        error.to_string(),
                        "name a file that can be read with `.dotenv(path)`, or say `.without_dotenv()`",
                    )
                    .at(path.display().to_string()),
                ],
                ..Self::default()
            },
        }
    }

    pub(crate) fn is_present(&self) -> bool {
        !self.path.as_os_str().is_empty()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// An empty variable counts as unset.
    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name).filter(|entry| !entry.value.is_empty())
    }

    /// What dotenvy has altered in a variable's value, and in which line.
    pub(crate) fn altered(&self, name: &str) -> Option<(&'static str, usize)> {
        let entry = self.entries.get(name)?;
        let what = match (entry.expands, entry.cut) {
            (true, _) => "an unescaped $, which would be replaced by the variable it names",
            (false, true) => {
                "a # after a blank and outside of quotes, which would cut it off there"
            }
            (false, false) => return None,
        };
        Some((what, entry.line))
    }

    fn parse(path: &Path, mut bytes: Zeroizing<Vec<u8>>) -> Self {
        let mut dotenv = Self { path: path.to_owned(), ..Self::default() };
        if std::str::from_utf8(&bytes).is_err() {
            dotenv.problems.push(
                Cause::new(ErrorKind::Dotenv, "the file is not UTF-8", "save it as UTF-8 text")
                    .at(path.display().to_string()),
            );
            return dotenv;
        }
        let taken = Rc::new(RefCell::new(Taken::default()));
        // dotenvy refuses blanks at the end of a last line that nothing ends.
        bytes.push(b'\n');
        let lines = Lines { bytes, position: 0, taken: Rc::clone(&taken) };
        let mut parsed = dotenvy::from_read_iter(lines);
        loop {
            let item = parsed.next();
            let (line, text) = taken.borrow_mut().logical_line();
            let scan = scan(&text);
            match item {
                None => return dotenv,
                Some(Ok((name, value))) if scan.whole => {
                    let Scan { expands, cut, .. } = scan;
                    let entry = Entry { value: Zeroizing::new(value), line, expands, cut };
                    dotenv.entries.insert(name, entry);
                }
                Some(_) => dotenv.problems.push(dotenv.bad_line(line, scan.whole)),
            }
        }
    }

    fn bad_line(&self, line: usize, whole: bool) -> Cause {
        let help = if whole {
            "write NAME=value, with single quotes around a value that has blanks or any of # $ \\ \""
        } else {
            "it ends inside of a quote, or in a backslash; dotenvy takes a backslash before a closing quote \
             for an escape, so put such a value in double quotes and double the backslash"
        };
        Cause::new(ErrorKind::Dotenv, "the line cannot be read", help)
            .at(format!("{} line {line}", self.path.display()))
    }
}

impl Entry {
    pub(crate) fn value(&self) -> &Zeroizing<String> {
        &self.value
    }

    pub(crate) fn line(&self) -> usize {
        self.line
    }
}

struct Scan {
    expands: bool,
    /// A comment follows a value without quotes: it may be part of a secret.
    cut: bool,
    /// Every quote that opens also closes, and nothing follows the value but a comment.
    whole: bool,
}

/// Walks the raw text of one variable by dotenvy's own quoting rules.
fn scan(text: &str) -> Scan {
    let mut scan = Scan { expands: false, cut: false, whole: true };
    let Some((_, value)) = text.split_once('=') else { return scan };
    let mut quote = None;
    let mut characters = value.trim().chars().peekable();
    let (mut blank, mut dangling, mut quoted) = (true, false, false);
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, '#') if blank => {
                scan.cut = !quoted && !value.trim_start().starts_with('#');
                return scan;
            }
            (None, '\n') => {
                scan.whole = false;
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
    scan.whole = quote.is_none() && !dangling;
    scan
}

/// Hands out one line a call, so that what was taken tells where the parser stands.
struct Lines {
    bytes: Zeroizing<Vec<u8>>,
    position: usize,
    taken: Rc<RefCell<Taken>>,
}

#[derive(Default)]
struct Taken {
    lines: usize,
    text: Zeroizing<String>,
}

impl Taken {
    /// The number of the first line taken since the last call that is not blank or a comment, and
    /// the text from there.
    fn logical_line(&mut self) -> (usize, Zeroizing<String>) {
        let text = std::mem::take(&mut self.text);
        let count = text.split_inclusive('\n').count();
        let skipped = text
            .split_inclusive('\n')
            .take_while(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
            .count();
        let rest: String = text.split_inclusive('\n').skip(skipped).collect();
        (self.lines - count + skipped.min(count.saturating_sub(1)) + 1, Zeroizing::new(rest))
    }
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == 0 && self.bytes.starts_with(b"\xEF\xBB\xBF") {
            self.position = 3;
        }
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let line = rest.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
        let count = line.len().min(buffer.len());
        buffer[..count].copy_from_slice(&line[..count]);
        self.position += count;
        let mut taken = self.taken.borrow_mut();
        taken.text.push_str(&String::from_utf8_lossy(&line[..count]));
        taken.lines += usize::from(count > 0 && count == line.len());
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Dotenv {
        Dotenv::parse(Path::new(".env"), Zeroizing::new(text.as_bytes().to_vec()))
    }

    #[test]
    fn every_variable_knows_its_line() {
        let file = parse("# a comment\n\nA=1\n  # another\nB='x\ny'\nexport C=\"3\" # tail\n");
        let lines: Vec<_> = file.entries.iter().map(|(k, e)| (k.as_str(), e.line)).collect();
        assert_eq!(lines, [("A", 3), ("B", 5), ("C", 7)]);
        assert_eq!(file.get("B").unwrap().value().as_str(), "x\ny");
        assert!(file.problems.is_empty());
    }

    #[test]
    fn bad_lines_are_told_by_number_and_never_quoted() {
        let file = parse("A=1\nhunter2 hunter3\nB=2\nC='unclosed hunter2\n");
        let told: Vec<_> = file.problems.iter().map(|p| p.source.clone().unwrap()).collect();
        assert_eq!(told, [".env line 2", ".env line 4"]);
        assert!(!format!("{:?}", file.problems).contains("hunter"));
        assert_eq!(file.get("B").unwrap().line(), 3);
    }

    #[test]
    fn an_unescaped_dollar_is_seen() {
        for (text, expands) in [
            ("A=a$B", true),
            ("A=\"a$B c\"", true),
            ("A=$", true),
            ("A='a$B'", false),
            ("A=a\\$B", false),
            ("A=\"a\\$B\"", false),
            ("A=a # $B", false),
            ("A='x'\"$B c\"", true),
            ("A='it'\\''s $B'", false),
        ] {
            assert_eq!(parse(text).entries["A"].expands, expands, "{text}");
        }
    }

    #[test]
    fn a_comment_after_a_value_without_quotes_is_seen() {
        for (text, cut) in [
            ("A=a #b", true),
            ("A=a#b", false),
            ("A='a' # b", false),
            ("A='a #b'", false),
            ("A= # b", false),
        ] {
            assert_eq!(parse(text).entries["A"].cut, cut, "{text}");
        }
    }

    #[test]
    fn a_backslash_before_a_closing_quote_never_swallows_the_next_line() {
        let file = parse("A='abc\\'\nB='x'\n");
        assert_eq!(file.problems.len(), 1);
        assert_eq!(file.problems[0].source.as_deref(), Some(".env line 1"));
        assert!(file.get("A").is_none());
    }

    #[test]
    fn blanks_and_carriage_returns_at_the_end_of_a_line_are_no_part_of_it() {
        let file = parse("A=1 \r\nB='2 ' \t\nC=3  ");
        let values: Vec<_> = file.entries.values().map(|entry| entry.value.as_str()).collect();
        assert_eq!(values, ["1", "2 ", "3"]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_name() {
        assert!(parse("\u{feff}A=1\n").get("A").is_some());
    }
}

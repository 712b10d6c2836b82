//! A `.env` file, parsed by dotenvy into a map with the line of every variable.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use secrecy::zeroize::Zeroizing;

use super::file::{self, Bytes, MOST_OF_TEXT};
use crate::error::{Cause, ErrorKind};
use crate::text::MANY;

#[derive(Default)]
pub(crate) struct Dotenv {
    path: PathBuf,
    entries: BTreeMap<String, Entry>,
    /// Every line that could not be read; of a file that is none, the first ones, and how many there are.
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
    /// A pipe is read if its values are `wanted`, and left alone if not: it gives them once, and may ask a person first.
    pub(crate) async fn read(choice: &Choice, wanted: bool) -> Self {
        let (path, required) = match choice {
            Choice::None => return Self::default(),
            Choice::IfPresent => (Path::new(".env"), false),
            Choice::Path(path) => (path.as_path(), true),
        };
        if !wanted && file::is_pipe(path) {
            return Self::default();
        }
        match file::read(path, MOST_OF_TEXT).await {
            Ok(bytes) => Self::parse(path, bytes),
            Err(error) if !required && error.is_absent() => Self::default(),
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

    fn parse(path: &Path, mut bytes: Bytes) -> Self {
        let mut dotenv = Self { path: path.to_owned(), ..Self::default() };
        // dotenvy refuses blanks at the end of a last line that nothing ends.
        bytes.push(b'\n');
        let Ok(text) = std::str::from_utf8(&bytes) else {
            let cause =
                Cause::new(ErrorKind::Dotenv, "the file is not UTF-8", "save it as UTF-8 text");
            dotenv.problems.push(cause.at(path.display().to_string()));
            return dotenv;
        };
        let taken = Rc::new(RefCell::new(Taken::default()));
        let lines = Lines::new(text.strip_prefix('\u{feff}').unwrap_or(text), Rc::clone(&taken));
        let mut parsed = dotenvy::from_read_iter(lines);
        let mut bad_lines = 0;
        loop {
            let item = parsed.next();
            let (line, text) = taken.borrow_mut().logical_line();
            let scan = scan(&text);
            match item {
                None => break,
                Some(Err(dotenvy::Error::Io(_))) => {
                    dotenv.problems.push(dotenv.too_large(line));
                    break;
                }
                Some(Ok((name, value))) if scan.whole => {
                    let Scan { expands, cut, .. } = scan;
                    taken.borrow_mut().known.insert(name.clone(), value.len());
                    let entry = Entry { value: Zeroizing::new(value), line, expands, cut };
                    dotenv.entries.insert(name, entry);
                }
                Some(_) => {
                    bad_lines += 1;
                    if bad_lines <= MANY {
                        dotenv.problems.push(dotenv.bad_line(line, scan.whole));
                    }
                }
            }
        }
        if bad_lines > MANY {
            dotenv.problems.push(dotenv.more_bad_lines(bad_lines - MANY));
        }
        dotenv
    }

    fn too_large(&self, line: usize) -> Cause {
        Cause::new(
            ErrorKind::Dotenv,
            format!(
                "with each $NAME replaced by what it names, the file is larger than {} MiB, the most that is read",
                MOST_OF_TEXT / 1024 / 1024
            ),
            "put single quotes around a value in which $ is no variable",
        )
        .at(format!("{} line {line}", self.path.display()))
    }

    fn more_bad_lines(&self, count: usize) -> Cause {
        let (what, help) = match count {
            1 => ("1 more line cannot be read".to_owned(), ""),
            count => (format!("{count} more lines cannot be read"), "see that it is a .env file"),
        };
        Cause::new(ErrorKind::Dotenv, what, help).at(self.path.display().to_string())
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
struct Lines<'a> {
    /// What is left of the file, and of that, of the line that is handed out.
    rest: &'a str,
    line: &'a [u8],
    taken: Rc<RefCell<Taken<'a>>>,
}

/// What was handed out since the last variable.
#[derive(Default)]
struct Taken<'a> {
    lines: Vec<&'a str>,
    /// The line of the file that the first of them is, from 0.
    first: usize,
    /// One of them begins a variable, and those after it belong to that.
    is_within: bool,
    /// How long what each variable holds is.
    known: BTreeMap<String, usize>,
    /// What all $NAMEs so far were replaced by.
    expanded: u64,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str, taken: Rc<RefCell<Taken<'a>>>) -> Self {
        Self { rest: text, line: &[], taken }
    }

    /// Moves on to the next line.
    fn advance(&mut self) -> io::Result<()> {
        let Some(line) = self.rest.split_inclusive('\n').next() else { return Ok(()) };
        self.rest = self.rest.get(line.len()..).unwrap_or_default();
        let mut taken = self.taken.borrow_mut();
        // dotenvy skips the blanks before a name once for each line that belongs to it.
        let shown = match taken.is_within {
            true => line,
            false => line.trim_start_matches(|c: char| c.is_whitespace() && c != '\n'),
        };
        taken.is_within |= !says_nothing(line);
        taken.lines.push(line);
        self.line = shown.as_bytes();
        taken.expanded = taken.expanded.saturating_add(expansion(line, &taken.known));
        match taken.expanded > MOST_OF_TEXT {
            true => Err(io::ErrorKind::FileTooLarge.into()),
            false => Ok(()),
        }
    }
}

fn says_nothing(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// How much at most dotenvy puts in the place of every $NAME in a line: values of the file, which may hold those of
/// others, so that a few lines could fill any memory.
fn expansion(line: &str, known: &BTreeMap<String, usize>) -> u64 {
    let length = |rest: &str| {
        let name = match rest.strip_prefix('{') {
            Some(block) => block.split('}').next(),
            None => rest.split(|c: char| !c.is_alphanumeric()).next(),
        };
        let name = name.filter(|name| !name.is_empty() && !name.contains(['=', '\0']))?;
        let of_process = std::env::var_os(name).map(|value| value.len());
        of_process.or_else(|| known.get(name).copied())
    };
    line.split('$').skip(1).filter_map(length).map(|length| length as u64).sum()
}

impl<'a> Taken<'a> {
    /// The number of the first line taken since the last call that is not blank or a comment, and
    /// the text from there.
    fn logical_line(&mut self) -> (usize, Zeroizing<String>) {
        let lines = std::mem::take(&mut self.lines);
        self.is_within = false;
        let skipped = lines.iter().take_while(|line| says_nothing(line)).count();
        let number = self.first + skipped.min(lines.len().saturating_sub(1)) + 1;
        self.first += lines.len();
        (number, Zeroizing::new(lines.get(skipped..).unwrap_or_default().concat()))
    }
}

impl Read for Lines<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.line.is_empty() {
            self.advance()?;
        }
        let count = self.line.len().min(buffer.len());
        let (now, later) = self.line.split_at(count);
        buffer[..count].copy_from_slice(now);
        self.line = later;
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
    fn blanks_before_a_name_are_no_part_of_it_and_those_of_a_value_are() {
        let file = parse("  \t A=1\n\n   \n # c\n\u{3000}B='x\n   y\n  # z'\n   C=3");
        let found: Vec<_> =
            file.entries.iter().map(|(k, e)| (k.as_str(), e.value.as_str(), e.line)).collect();
        assert_eq!(found, [("A", "1", 1), ("B", "x\n   y\n  # z", 5), ("C", "3", 8)]);
        assert!(file.problems.is_empty(), "{:?}", file.problems);
    }

    /// Each of them would take minutes, if not for ever, were any step of the way quadratic.
    #[test]
    fn a_file_of_any_shape_is_read_at_once() {
        let most = usize::try_from(MOST_OF_TEXT).unwrap();
        let half = || "x".repeat(most / 2);
        for (text, variables, problems) in [
            (format!("A='{}'", half()), 1, 0),
            (format!("A=\"{}\"\nB=1", "\\n".repeat(most / 3)), 2, 0),
            (format!("{}A='{}'", " ".repeat(most / 2), "\n".repeat(most / 2 - 4)), 1, 0),
            (format!("{}A=1", "\n".repeat(most - 3)), 1, 0),
            (format!("{}A=1", "#\n".repeat(most / 3)), 1, 0),
            ("x\n".repeat(most / 2), 0, MANY + 1),
            ("A='".repeat(most / 3), 0, 1),
            ("A=1\n".repeat(most / 4), 1, 0),
            (format!("A={}", "$x".repeat(most / 3)), 1, 0),
        ] {
            assert!(text.len() <= most);
            let file = parse(&text);
            assert_eq!(
                (file.entries.len(), file.problems.len()),
                (variables, problems),
                "{:.20}",
                text
            );
        }
    }

    /// A dozen lines of values that name each other would fill any memory.
    #[test]
    fn what_variables_are_replaced_by_is_bounded() {
        let mut text = format!("A0={}\n", "x".repeat(1000));
        for n in 1..12 {
            text.push_str(&format!("A{n}={}\n", format!("${{A{}}}", n - 1).repeat(10)));
        }
        text.push_str("LAST=1\n");
        let file = parse(&text);
        assert_eq!(file.entries.len(), 3, "10 kB, then 100 kB, and no more");
        assert_eq!(file.problems.len(), 1, "{:?}", file.problems);
        assert_eq!(file.problems[0].source.as_deref(), Some(".env line 4"));
        assert!(file.problems[0].message.contains("larger than 1 MiB"), "{:?}", file.problems);

        let many = format!("A={}\n{}", "x".repeat(500_000), "B=$A\n".repeat(10_000));
        assert_eq!(parse(&many).problems.len(), 1);
        // What is no variable of the file or of the process is replaced by nothing.
        let hashes = format!("A={}\nB='{}'", "x".repeat(500_000), "$2b$10$abcdefgh".repeat(10_000));
        assert!(parse(&hashes).problems.is_empty());
    }

    #[test]
    fn of_many_bad_lines_the_first_are_reported_and_how_many_there_are() {
        let file = parse(&"hunter2\n".repeat(1000));
        assert_eq!(file.problems.len(), MANY + 1);
        let last = file.problems.last().unwrap();
        assert_eq!(last.message, "988 more lines cannot be read");
        assert_eq!(file.problems[MANY - 1].source.as_deref(), Some(".env line 12"));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_name() {
        assert!(parse("\u{feff}A=1\n").get("A").is_some());
    }
}

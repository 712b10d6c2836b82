//! A `.env` file, parsed by dotenvy into a map with the line of every variable.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use secrecy::zeroize::Zeroizing;

use crate::error::{Cause, ErrorKind};
use crate::report::Provenance;
use crate::source::file::{self, Bytes, MOST_OF_TEXT};
use crate::source::{FieldNames, Source, SourceRole, SourceValue};
use crate::text::MANY;

mod lines;
mod scan;
#[cfg(test)]
mod tests;

use lines::{ConsumedLines, Lines};
use scan::{Scan, scan};

#[derive(Default)]
pub(crate) struct Dotenv {
    path: PathBuf,
    entries: BTreeMap<String, DotenvEntry>,
    /// One for each line that cannot be read. A file that is no `.env` file has thousands of them: then the first
    /// ones, and how many there are.
    problems: Vec<Cause>,
}

struct DotenvEntry {
    value: Zeroizing<String>,
    line: usize,
    expands: bool,
    truncated: bool,
}

/// Which `.env` file to read.
#[derive(Debug, Clone, Default)]
pub(crate) enum DotenvFile {
    /// `.env` in the working directory, if there is one.
    #[default]
    IfPresent,
    Path(PathBuf),
    None,
}

impl Dotenv {
    /// Reads the file. A pipe is opened only if a field may need its values: it gives them once, and a password
    /// manager behind it may ask a person first.
    pub(crate) async fn read(file: &DotenvFile, is_needed: bool) -> Self {
        let (path, required) = match file {
            DotenvFile::None => return Self::default(),
            DotenvFile::IfPresent => (Path::new(".env"), false),
            DotenvFile::Path(path) => (path.as_path(), true),
        };
        if !is_needed && file::is_pipe(path) {
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
                        "pass a readable file to `.dotenv(path)`, or call `.without_dotenv()`",
                    )
                    .at(path.display().to_string()),
                ],
                ..Self::default()
            },
        }
    }

    fn is_present(&self) -> bool {
        !self.path.as_os_str().is_empty()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file sets the variable to anything.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// An empty variable counts as unset.
    fn get(&self, name: &str) -> Option<&DotenvEntry> {
        self.entries.get(name).filter(|entry| !entry.value.is_empty())
    }

    /// Refuses the value of a secret that dotenvy has altered.
    fn check_unaltered(&self, field: &FieldNames) -> Result<(), Cause> {
        let altered = field.variables.iter().find_map(|variable| {
            let entry = self.entries.get(variable)?;
            Some((entry.alteration()?, entry.line))
        });
        let Some((what, line)) = altered else { return Ok(()) };
        let cause = Cause::new(
            ErrorKind::Dotenv,
            format!("the value holds {what}"),
            "put the value in single quotes: NAME='..'",
        );
        Err(cause.at(self.place(line)))
    }

    fn place(&self, line: usize) -> String {
        format!("{} line {line}", self.path.display())
    }

    fn parse(path: &Path, mut bytes: Bytes) -> Self {
        let mut dotenv = Self { path: path.to_owned(), ..Self::default() };
        // dotenvy refuses blanks at the end of a last line without a line end.
        bytes.push(b'\n');
        let Ok(text) = std::str::from_utf8(&bytes) else {
            let cause =
                Cause::new(ErrorKind::Dotenv, "the file is not UTF-8", "save it as UTF-8 text");
            dotenv.problems.push(cause.at(path.display().to_string()));
            return dotenv;
        };
        let consumed = Rc::new(RefCell::new(ConsumedLines::default()));
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = Lines::new(text, Rc::clone(&consumed));
        let mut parsed = dotenvy::from_read_iter(lines);
        let mut bad_lines = 0;
        loop {
            let item = parsed.next();
            let (line, text) = consumed.borrow_mut().logical_line();
            let scan = scan(&text);
            match item {
                None => break,
                Some(Err(dotenvy::Error::Io(_))) => {
                    dotenv.problems.push(dotenv.too_large(line));
                    break;
                }
                Some(Ok((name, value))) if scan.complete => {
                    let Scan { expands, truncated, .. } = scan;
                    consumed.borrow_mut().defined(&name, value.len());
                    let entry =
                        DotenvEntry { value: Zeroizing::new(value), line, expands, truncated };
                    dotenv.entries.insert(name, entry);
                }
                Some(_) => {
                    bad_lines += 1;
                    if bad_lines <= MANY {
                        dotenv.problems.push(dotenv.bad_line(line, scan.complete));
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
                "with each $NAME replaced by its value, the file is larger than {} MiB, the most that is read",
                MOST_OF_TEXT / 1024 / 1024
            ),
            "put single quotes around a value in which $ is no variable",
        )
        .at(self.place(line))
    }

    fn more_bad_lines(&self, count: usize) -> Cause {
        let (what, help) = match count {
            1 => ("1 more line cannot be read".to_owned(), ""),
            count => (format!("{count} more lines cannot be read"), "check that it is a .env file"),
        };
        Cause::new(ErrorKind::Dotenv, what, help).at(self.path.display().to_string())
    }

    fn bad_line(&self, line: usize, is_complete: bool) -> Cause {
        let help = if is_complete {
            "write NAME=value, with single quotes around a value that has spaces or any of # $ \\ \""
        } else {
            "the line ends inside a quote, or in a backslash; dotenvy reads a backslash before a closing quote as an escape, so put such a value in double quotes and double the backslash"
        };
        Cause::new(ErrorKind::Dotenv, "the line cannot be read", help).at(self.place(line))
    }
}

impl DotenvEntry {
    /// What dotenvy has altered in the value.
    fn alteration(&self) -> Option<&'static str> {
        match (self.expands, self.truncated) {
            (true, _) => Some("an unescaped $, which would be replaced by the variable it names"),
            (false, true) => {
                Some("a # after a space and outside quotes, which would cut the value off there")
            }
            (false, false) => None,
        }
    }
}

impl Source for Dotenv {
    fn role(&self) -> SourceRole {
        SourceRole::Local
    }

    fn find(&self, field: &FieldNames) -> Result<Option<SourceValue>, Cause> {
        if field.is_secret {
            self.check_unaltered(field)?;
        }
        let read =
            |variable: &str| Ok(self.get(variable).map(|entry| entry.value.as_str().to_owned()));
        let Some(value) = field.assemble(&self.path.display().to_string(), read)? else {
            return Ok(None);
        };
        let first = field.variables.iter().find_map(|variable| self.get(variable));
        let place = self.place(first.map_or(0, |entry| entry.line));
        let variable = field.variables.join(", ");
        Ok(Some(SourceValue { value, provenance: Provenance::Dotenv { variable, place } }))
    }

    fn tried(&self, field: &FieldNames) -> Option<String> {
        let variables = || field.variables.join(", ");
        self.is_present().then(|| format!("{}: no {}", self.path.display(), variables()))
    }

    fn problems(&self) -> &[Cause] {
        &self.problems
    }
}

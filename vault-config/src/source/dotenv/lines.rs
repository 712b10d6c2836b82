//! Feeds a file to dotenvy line by line, and bounds what its variables expand to.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::rc::Rc;

use secrecy::zeroize::Zeroizing;

use crate::source::file::MOST_OF_TEXT;

/// Gives the parser one line a call, so that the consumed lines show where it stands.
pub(super) struct Lines<'a> {
    /// The part of the file that is not read yet.
    rest: &'a str,
    /// The part of the current line that is not read yet.
    line: &'a [u8],
    consumed: Rc<RefCell<ConsumedLines<'a>>>,
}

/// The lines that the parser consumed since the last variable.
#[derive(Default)]
pub(super) struct ConsumedLines<'a> {
    lines: Vec<&'a str>,
    /// The number of the first of them in the file, from 0.
    first: usize,
    /// A variable began in one of them, and the lines after it belong to its value.
    is_within: bool,
    /// The length of each variable's value.
    known: BTreeMap<String, usize>,
    /// The length of all expansions so far.
    expanded: u64,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str, consumed: Rc<RefCell<ConsumedLines<'a>>>) -> Self {
        Self { rest: text, line: &[], consumed }
    }

    fn advance(&mut self) -> io::Result<()> {
        let Some(line) = self.rest.split_inclusive('\n').next() else { return Ok(()) };
        self.rest = self.rest.get(line.len()..).unwrap_or_default();
        let mut consumed = self.consumed.borrow_mut();
        // dotenvy skips the blanks before a name once for each line that belongs to it.
        let shown = match consumed.is_within {
            true => line,
            false => line.trim_start_matches(|c: char| c.is_whitespace() && c != '\n'),
        };
        consumed.is_within |= !is_blank_or_comment(line);
        consumed.lines.push(line);
        self.line = shown.as_bytes();
        consumed.expanded = consumed.expanded.saturating_add(expansion(line, &consumed.known));
        match consumed.expanded > MOST_OF_TEXT {
            true => Err(io::ErrorKind::FileTooLarge.into()),
            false => Ok(()),
        }
    }
}

fn is_blank_or_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// The most that dotenvy can put in place of the `$NAME`s of a line. Values that expand other values grow with each
/// line, so that without a bound a few lines fill any memory.
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

impl<'a> ConsumedLines<'a> {
    /// The number of the first line since the last call that is neither blank nor a comment, and the text from there.
    pub(super) fn logical_line(&mut self) -> (usize, Zeroizing<String>) {
        let lines = std::mem::take(&mut self.lines);
        self.is_within = false;
        let skipped = lines.iter().take_while(|line| is_blank_or_comment(line)).count();
        let number = self.first + skipped.min(lines.len().saturating_sub(1)) + 1;
        self.first += lines.len();
        (number, Zeroizing::new(lines.get(skipped..).unwrap_or_default().concat()))
    }

    /// Later lines may expand the variable.
    pub(super) fn defined(&mut self, name: &str, length: usize) {
        self.known.insert(name.to_owned(), length);
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

//! Every problem of one load, in one opaque error.

use std::fmt::{self, Write};
use std::sync::Arc;

use crate::text::{self, listed};

mod cause;
mod kind;

pub(crate) use cause::{Cause, Delivery, Refusal};
pub use kind::ErrorKind;
pub(crate) use kind::Evidence;

/// Everything that kept a configuration from loading.
///
/// `Display` prints a report of several lines: every failing field with its type, the sources that
/// were checked, what happened in the server's own words, and what to do. `Debug` prints the
/// same, so that `fn main() -> Result<(), vault_config::Error>` is legible. Neither ever holds a
/// value of a field marked for Vault, a token or a secret_id, and there is no `source()` that
/// could.
pub struct Error(Box<ErrorInner>);

struct ErrorInner {
    name: &'static str,
    problems: Vec<Problem>,
    /// The credentials that were not requested, and may have problems of their own.
    unseen: Option<String>,
    mode: Option<String>,
}

impl Error {
    pub(crate) fn new(
        name: &'static str,
        mut problems: Vec<Problem>,
        mode: Option<String>,
    ) -> Self {
        if problems.is_empty() {
            problems.push(Problem::general(Cause::new(
                ErrorKind::Protocol,
                "the configuration could not be built, and no field reported a reason",
                "this is a defect of vault-config: please report it",
            )));
        }
        Self(Box::new(ErrorInner { name, problems, unseen: None, mode: mode.map(text::sentence) }))
    }

    pub(crate) fn with_unseen(mut self, unseen: Option<String>) -> Self {
        self.0.unseen = unseen.map(text::sentence);
        self
    }

    pub(crate) fn single(name: &'static str, cause: Cause) -> Self {
        Self::new(name, vec![Problem::general(cause)], None)
    }

    /// Every problem, in the order of the struct's fields; at least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.0.problems
    }

    /// The kind of the first problem.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.problems.first().map_or(ErrorKind::Protocol, Problem::kind)
    }
}

impl std::error::Error for Error {}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = groups(&self.0.problems);
        let count = match groups.len() {
            1 => "1 problem".to_owned(),
            n => format!("{n} problems"),
        };
        write!(f, "cannot load {}: {count}", self.0.name)?;
        for (number, group) in groups.iter().enumerate() {
            let mut text = String::new();
            write_group(&mut text, number + 1, group)?;
            write!(f, "\n\n{}", text.trim_end())?;
        }
        for sentence in self.0.unseen.iter().chain(&self.0.mode) {
            write!(f, "\n\n{sentence}")?;
        }
        Ok(())
    }
}

/// Fields that fail for the same cause are reported once.
fn groups(problems: &[Problem]) -> Vec<Vec<&Problem>> {
    let mut groups: Vec<Vec<&Problem>> = Vec::new();
    for problem in problems {
        let same = groups
            .iter_mut()
            .find(|group| group.iter().any(|other| other.cause.same_as(&problem.cause)));
        match same {
            Some(group) => group.push(problem),
            None => groups.push(vec![problem]),
        }
    }
    groups
}

fn write_group(f: &mut String, number: usize, group: &[&Problem]) -> fmt::Result {
    let Some(first) = group.first() else { return Ok(()) };
    let mut indent = format!("{number}. ");
    if first.field.is_some() {
        writeln!(f, "{indent}{}", title(group))?;
        indent = " ".repeat(indent.len());
    }
    for source in group.iter().filter(|_| group.len() < MANY).flat_map(|problem| &problem.sources) {
        writeln!(f, "{indent}{source}")?;
    }
    match &first.cause.source {
        Some(source) => write_block(f, &indent, &format!("{source}: {}", first.cause.message))?,
        None => write_block(f, &indent, &first.cause.message)?,
    }
    if first.cause.help.is_empty() {
        return Ok(());
    }
    write_block(f, &" ".repeat(indent.len()), &format!("help: {}", first.cause.help))
}

/// A group of this many fields is listed by names alone.
const MANY: usize = 4;

fn title(group: &[&Problem]) -> String {
    let named = |problem: &&Problem| match &problem.field {
        Some((path, ty)) if group.len() < MANY && !ty.is_empty() => Some(format!("{path}: {ty}")),
        Some((path, _)) => Some(path.clone()),
        None => None,
    };
    listed(group.iter().filter_map(named))
}

fn write_block(f: &mut String, indent: &str, text: &str) -> fmt::Result {
    let hanging = " ".repeat(indent.len() + 2);
    for (number, line) in text.lines().enumerate() {
        let lead = if number == 0 { indent } else { &hanging };
        writeln!(f, "{lead}{line}")?;
    }
    Ok(())
}

/// One failing field, or one failing thing that no field owns (a bad `.env` line, an unknown key).
#[derive(Clone)]
pub struct Problem {
    field: Option<(String, &'static str)>,
    sources: Vec<String>,
    cause: Arc<Cause>,
}

impl Problem {
    pub(crate) fn general(cause: Cause) -> Self {
        Self { field: None, sources: Vec::new(), cause: Arc::new(cause) }
    }

    pub(crate) fn general_of(cause: Arc<Cause>) -> Self {
        Self { field: None, sources: Vec::new(), cause }
    }

    pub(crate) fn of_field(
        path: &str,
        ty: &'static str,
        sources: Vec<String>,
        cause: Arc<Cause>,
    ) -> Self {
        let sources = sources.into_iter().map(text::sentence).collect();
        Self { field: Some((path.to_owned(), ty)), sources, cause }
    }

    /// The field's path, such as `smtp.password`.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.field.as_ref().map(|(path, _)| path.as_str())
    }

    /// The field's type as written in the struct.
    #[must_use]
    pub fn type_name(&self) -> Option<&'static str> {
        self.field.as_ref().map(|(_, ty)| *ty)
    }

    /// What kind of problem this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.cause.kind
    }

    /// The sources that were checked before the one that failed, each with what it had.
    #[must_use]
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// The source that failed, such as `vault kv secret/my-app#port`.
    #[must_use]
    pub fn source_name(&self) -> Option<&str> {
        self.cause.source.as_deref()
    }

    /// What happened, in the server's own words where it said some.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.cause.message
    }

    /// What to do.
    #[must_use]
    pub fn help(&self) -> &str {
        &self.cause.help
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        write_group(&mut text, 1, &[self])?;
        f.write_str(text.trim_end())
    }
}

use super::{ErrorKind, Problem};
use crate::text;

/// What happened, where, and what to do. Shared by all fields that fail for it.
#[derive(Debug, Clone)]
pub(crate) struct Cause {
    pub(crate) kind: ErrorKind,
    pub(crate) source: Option<String>,
    /// One line: what happened.
    pub(crate) message: String,
    /// What to do about it, the likeliest first; several lines, or none.
    pub(crate) help: String,
    /// Whether the failed request may have changed anything at the server.
    pub(crate) delivery: Delivery,
    /// The login's secret itself was refused: repeating it may lock the account.
    pub(crate) is_wrong_secret: bool,
    /// The server's refusal, if it is one. Hints are chosen by it: rendered text is never searched.
    pub(crate) refusal: Option<Refusal>,
}

/// The server's refusal of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// The server's own words on one line, escaped.
    pub(crate) words: String,
}

/// Whether a request that failed may have changed anything at the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// No connection took it.
    NotSent,
    /// It may have arrived, and the answer is lost.
    Unanswered,
    /// It was answered, or the failure is not of a request.
    #[default]
    Answered,
}

impl Cause {
    /// `message` is one line, `help` may have several. Invisible characters are escaped in both, whatever they come
    /// from.
    pub(crate) fn new(
        kind: ErrorKind,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let delivery = Delivery::default();
        let (message, help) = (text::sentence(message.into()), text::lines(help.into()));
        Self { kind, source: None, message, help, delivery, is_wrong_secret: false, refusal: None }
    }

    pub(crate) fn delivered(self, delivery: Delivery) -> Self {
        Self { delivery, ..self }
    }

    /// A cause that contains other problems, each on lines of its own.
    pub(crate) fn of_problems(
        kind: ErrorKind,
        message: &str,
        problems: &[Problem],
        help: &str,
    ) -> Self {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        Self { message: format!("{message}: {}", problems.join("\n")), ..Self::new(kind, "", help) }
    }

    pub(crate) fn at(mut self, source: impl Into<String>) -> Self {
        self.source.get_or_insert_with(|| text::sentence(source.into()));
        self
    }

    pub(crate) fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: text::lines(help.into()), ..self }
    }

    pub(crate) fn hint(mut self, help: &str) -> Self {
        if !self.help.is_empty() {
            self.help.push('\n');
        }
        self.help.push_str(&text::lines(help.to_owned()));
        self
    }

    pub(crate) fn refused(self, refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), ..self }
    }

    /// Whether the server's own words hold any of these.
    pub(crate) fn refusal_says(&self, needles: &[&str]) -> bool {
        let words = self.refusal.as_ref().map_or("", |refusal| refusal.words.as_str());
        needles.iter().any(|needle| words.contains(needle))
    }

    pub(crate) fn is_absence(&self) -> bool {
        self.kind.is_absence()
    }

    /// For logs: what happened on one line, what to do on the next.
    pub(crate) fn log_line(&self) -> String {
        let source = self.source.as_ref().map_or_else(String::new, |source| format!("{source}: "));
        let help = match self.help.as_str() {
            "" => String::new(),
            help => format!("\nhelp: {help}"),
        };
        format!("{source}{}{help}", self.message)
    }

    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.source == other.source && self.message == other.message && self.help == other.help
    }
}

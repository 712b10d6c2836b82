use std::error::Error as _;
use std::fmt::Write as _;

use vault_config::{Error, ErrorKind};

/// The problems of an error: for each its source, what happened and the help, and its fields where there are
/// several problems.
///
/// The rest of the report is left out, since `errors/report.rs` tests it: the head, the numbers, the sources
/// that had no value, and the mode.
pub(crate) fn problems(error: &Error, kind: ErrorKind) -> String {
    let report = report(error, kind);
    let (head, rest) = report.split_once("\n\n").expect("a report has a head and problems");
    let mut blocks: Vec<Vec<&str>> = Vec::new();
    for block in rest.split("\n\n") {
        let number = format!("{}. ", blocks.len() + 1);
        if !block.starts_with(&number) {
            break;
        }
        blocks.push(block.lines().map(|line| line.split_at(number.len()).1).collect());
    }
    let plural = if blocks.len() == 1 { "" } else { "s" };
    let count = format!(": {} problem{plural}", blocks.len());
    assert!(head.starts_with("cannot load ") && head.ends_with(&count), "{report}");

    let sources = error.problems().iter().flat_map(|problem| problem.sources());
    let sources: Vec<_> = sources.map(|source| stable(source)).collect();
    let has_title = error.problems()[0].field().is_some();
    if let ([only], true) = (&mut *blocks, has_title) {
        only.remove(0);
    }
    let text = |block: &Vec<&str>| {
        let lines = block.iter().copied();
        lines
            .filter(|line| !sources.iter().any(|source| source == line))
            .collect::<Vec<_>>()
            .join("\n")
    };
    blocks.iter().map(text).collect::<Vec<_>>().join("\n\n")
}

/// The whole report, without what differs from run to run.
pub(crate) fn report(error: &Error, kind: ErrorKind) -> String {
    assert_eq!(error.kind(), kind, "{error}");
    stable(&error.to_string())
}

/// The field and the kind of each problem.
pub(crate) fn field_kinds(error: &Error) -> Vec<(&str, ErrorKind)> {
    let problems = error.problems().iter();
    problems.map(|problem| (problem.field().unwrap_or("-"), problem.kind())).collect()
}

/// Everything that an error shows in any way.
pub(crate) fn every_rendering(error: &Error) -> String {
    let mut text = format!("{error}\n{error:?}\n{error:#?}\n");
    let mut source = error.source();
    while let Some(inner) = source {
        writeln!(text, "{inner}\n{inner:?}").unwrap();
        source = inner.source();
    }
    for problem in error.problems() {
        let (message, sources) = (problem.message(), problem.sources());
        writeln!(text, "{problem}\n{problem:?}\n{message}{sources:?}").unwrap();
    }
    text
}

fn stable(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let words: Vec<_> = line.split(' ').map(stable_word).collect();
        words.join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn stable_word(word: &str) -> String {
    if let (true, Some((_, file))) = (word.contains("/.tmp"), word.rsplit_once('/')) {
        return format!("DIRECTORY/{file}");
    }
    if let Some((before, port)) = word.split_once("127.0.0.1:") {
        let after = port.trim_start_matches(|c: char| c.is_ascii_digit());
        return format!("{before}127.0.0.1:PORT{after}");
    }
    let is_time = word.starts_with("20") && word.contains('T') && word.ends_with('Z');
    if is_time { "TIME".to_owned() } else { word.to_owned() }
}

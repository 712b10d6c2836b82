use super::*;

fn parse(text: &str) -> Dotenv {
    Dotenv::parse(Path::new(".env"), Zeroizing::new(text.as_bytes().to_vec()))
}

#[test]
fn every_variable_knows_its_line() {
    let file = parse("# a comment\n\nA=1\n  # another\nB='x\ny'\nexport C=\"3\" # tail\n");
    let lines: Vec<_> = file.entries.iter().map(|(k, e)| (k.as_str(), e.line)).collect();
    assert_eq!(lines, [("A", 3), ("B", 5), ("C", 7)]);
    assert_eq!(file.get("B").unwrap().value.as_str(), "x\ny");
    assert!(file.problems.is_empty());
}

#[test]
fn bad_lines_are_reported_by_number_and_never_quoted() {
    let file = parse("A=1\nhunter2 hunter3\nB=2\nC='unclosed hunter2\n");
    let places: Vec<_> = file.problems.iter().map(|p| p.source.clone().unwrap()).collect();
    assert_eq!(places, [".env line 2", ".env line 4"]);
    assert!(!format!("{:?}", file.problems).contains("hunter"));
    assert_eq!(file.get("B").unwrap().line, 3);
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
    for (text, truncated) in [
        ("A=a #b", true),
        ("A=a#b", false),
        ("A='a' # b", false),
        ("A='a #b'", false),
        ("A= # b", false),
    ] {
        assert_eq!(parse(text).entries["A"].truncated, truncated, "{text}");
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

//! `rename_all`, exactly as serde applies it to the fields of a struct.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Lower,
    Upper,
    Pascal,
    Camel,
    Snake,
    ScreamingSnake,
    Kebab,
    ScreamingKebab,
}

const NAMES: [(&str, Case); 8] = [
    ("lowercase", Case::Lower),
    ("UPPERCASE", Case::Upper),
    ("PascalCase", Case::Pascal),
    ("camelCase", Case::Camel),
    ("snake_case", Case::Snake),
    ("SCREAMING_SNAKE_CASE", Case::ScreamingSnake),
    ("kebab-case", Case::Kebab),
    ("SCREAMING-KEBAB-CASE", Case::ScreamingKebab),
];

impl Case {
    pub(crate) fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|&(_, case)| case)
    }

    /// Field names are snake case by convention; serde does not look closer either.
    pub(crate) fn apply(self, field: &str) -> String {
        match self {
            Self::Lower | Self::Snake => field.to_owned(),
            Self::Upper | Self::ScreamingSnake => field.to_ascii_uppercase(),
            Self::Pascal => field.split('_').map(capitalized).collect(),
            Self::Camel => decapitalized(&Self::Pascal.apply(field)),
            Self::Kebab => field.replace('_', "-"),
            Self::ScreamingKebab => field.to_ascii_uppercase().replace('_', "-"),
        }
    }
}

/// The check of the attribute's text.
pub(crate) fn check(name: &str) -> Result<(), String> {
    if Case::named(name).is_some() {
        return Ok(());
    }
    let known: Vec<String> = NAMES.iter().map(|(known, _)| format!("`{known}`")).collect();
    Err(format!("is one of {}", known.join(", ")))
}

fn capitalized(word: &str) -> String {
    first_letter(word, |c| c.to_ascii_uppercase())
}

fn decapitalized(word: &str) -> String {
    first_letter(word, |c| c.to_ascii_lowercase())
}

fn first_letter(word: &str, change: impl Fn(char) -> char) -> String {
    let mut letters = word.chars();
    letters.next().map(change).into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// serde_derive's own table (`internals/case.rs`).
    #[test]
    fn fields_as_serde_renames_them() {
        #[rustfmt::skip]
        let table = [
            ("outcome", ["outcome", "OUTCOME", "Outcome", "outcome", "outcome", "OUTCOME", "outcome", "OUTCOME"]),
            ("very_tasty", ["very_tasty", "VERY_TASTY", "VeryTasty", "veryTasty", "very_tasty", "VERY_TASTY", "very-tasty", "VERY-TASTY"]),
            ("a", ["a", "A", "A", "a", "a", "A", "a", "A"]),
            ("z42", ["z42", "Z42", "Z42", "z42", "z42", "Z42", "z42", "Z42"]),
            ("_hidden", ["_hidden", "_HIDDEN", "Hidden", "hidden", "_hidden", "_HIDDEN", "-hidden", "-HIDDEN"]),
        ];
        for (field, renamed) in table {
            for ((name, case), expected) in NAMES.into_iter().zip(renamed) {
                assert_eq!(case.apply(field), expected, "{name} of {field}");
            }
        }
    }

    #[test]
    fn the_name_of_a_case_is_exact() {
        assert_eq!(check("kebab-case"), Ok(()));
        for wrong in ["", "kebab_case", "KebabCase", "camelcase"] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
    }
}

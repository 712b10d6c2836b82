//! The rules of `rename_all`, exactly as serde applies them to the fields of a struct.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RenameRule {
    Lower,
    Upper,
    Pascal,
    Camel,
    Snake,
    ScreamingSnake,
    Kebab,
    ScreamingKebab,
}

const NAMES: [(&str, RenameRule); 8] = [
    ("lowercase", RenameRule::Lower),
    ("UPPERCASE", RenameRule::Upper),
    ("PascalCase", RenameRule::Pascal),
    ("camelCase", RenameRule::Camel),
    ("snake_case", RenameRule::Snake),
    ("SCREAMING_SNAKE_CASE", RenameRule::ScreamingSnake),
    ("kebab-case", RenameRule::Kebab),
    ("SCREAMING-KEBAB-CASE", RenameRule::ScreamingKebab),
];

impl RenameRule {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|&(_, rule)| rule)
    }

    /// Every name is taken for snake case, because serde makes the same assumption.
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

/// The check of the string in the attribute.
pub(crate) fn check(name: &str) -> Result<(), String> {
    if RenameRule::from_name(name).is_some() {
        return Ok(());
    }
    let known: Vec<String> = NAMES.iter().map(|(known, _)| format!("`{known}`")).collect();
    Err(format!("is not a known case: write one of {}", known.join(", ")))
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

    /// The table is serde_derive's own (`internals/case.rs`).
    #[test]
    fn renames_fields_as_serde_does() {
        #[rustfmt::skip]
        let table = [
            ("outcome", ["outcome", "OUTCOME", "Outcome", "outcome", "outcome", "OUTCOME", "outcome", "OUTCOME"]),
            ("very_tasty", ["very_tasty", "VERY_TASTY", "VeryTasty", "veryTasty", "very_tasty", "VERY_TASTY", "very-tasty", "VERY-TASTY"]),
            ("a", ["a", "A", "A", "a", "a", "A", "a", "A"]),
            ("z42", ["z42", "Z42", "Z42", "z42", "z42", "Z42", "z42", "Z42"]),
            ("_hidden", ["_hidden", "_HIDDEN", "Hidden", "hidden", "_hidden", "_HIDDEN", "-hidden", "-HIDDEN"]),
        ];
        for (field, renamed) in table {
            for ((name, rule), expected) in NAMES.into_iter().zip(renamed) {
                assert_eq!(rule.apply(field), expected, "{name} of {field}");
            }
        }
    }

    #[test]
    fn rule_names_are_exact() {
        assert_eq!(check("kebab-case"), Ok(()));
        for wrong in ["", "kebab_case", "KebabCase", "camelcase"] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
    }
}

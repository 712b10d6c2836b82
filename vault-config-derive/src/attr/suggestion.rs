//! The help for an unknown name in an attribute.

/// The end of the message about an unknown name: the known name that the user probably meant.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    closest(name, known).map_or_else(String::new, |known| format!(": did you mean `{known}`?"))
}

/// The known name closest to `name`, unless even that one differs too much to be meant.
fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    known
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::grammar::AttributeLevel;

    #[test]
    fn suggests_only_close_names() {
        let known = || AttributeLevel::Field.attributes().map(|(keyword, _)| keyword);
        for (name, expected) in [
            ("defualt", Some("default")),
            ("vk", Some("kv")),
            ("databse", Some("database")),
            ("kvversion", Some("kv_version")),
            ("tarnsit", Some("transit")),
            ("x", None),
        ] {
            assert_eq!(closest(name, known()), expected, "{name}");
        }
    }
}

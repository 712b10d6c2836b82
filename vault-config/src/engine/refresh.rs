//! How often a field is read again.

/// `refresh = ".."`, as written.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    Never,
    /// In milliseconds: from one second to one day.
    Every(u64),
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::VaultConfig;
    use crate::engine::Variables;
    use crate::schema::plan::{self, LeafOrigin};

    #[test]
    fn a_source_has_the_interval_that_its_field_sets() {
        #[derive(VaultConfig)]
        #[vault(crate = "crate", kv = "app")]
        #[allow(dead_code)]
        struct Config {
            #[vault(kv)]
            silent: SecretString,
            #[vault(kv, refresh = "1500ms")]
            often: SecretString,
            #[vault(kv = "app", version = 2, refresh = "24h")]
            rarely: SecretString,
            #[vault(kv, refresh = "never")]
            never: SecretString,
            #[vault(read = "cubbyhole/app", key = "key")]
            silent_path: SecretString,
            #[vault(read = "cubbyhole/app", key = "key", refresh = "5m")]
            path: SecretString,
            #[vault(database = "readonly")]
            database: crate::DatabaseCredentials,
        }

        let leaves = plan::leaves(&Config::schema(), None, &Variables::default());
        let intervals: Vec<_> = leaves
            .iter()
            .map(|leaf| match &leaf.origin {
                LeafOrigin::Vault(source) => (leaf.path.as_str(), source.refresh()),
                _ => (leaf.path.as_str(), None),
            })
            .collect();
        assert_eq!(
            intervals,
            [
                ("silent", None),
                ("often", Some(Refresh::Every(1_500))),
                ("rarely", Some(Refresh::Every(86_400_000))),
                ("never", Some(Refresh::Never)),
                ("silent_path", None),
                ("path", Some(Refresh::Every(300_000))),
                ("database", None),
            ]
        );
    }
}

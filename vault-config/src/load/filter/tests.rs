use std::collections::BTreeMap;

use secrecy::SecretString;

use super::*;
use crate::VaultConfig;
use crate::engine::Variables;
use crate::report::Provenance;
use crate::schema::plan;
use crate::source::env::Environment;
use crate::value::Value;

const CIPHERTEXT: &str = "vault:v1:8SDd3WHDOjf7mq69CyCq";

#[derive(VaultConfig)]
#[vault(crate = "crate")]
#[allow(dead_code)]
struct Config {
    plain: String,
    #[vault(kv = "app")]
    secret: SecretString,
    #[vault(transit = "key")]
    encrypted: SecretString,
    #[vault(kv = "{unset}")]
    unbound: SecretString,
}

fn leaf(path: &str) -> Leaf {
    let variables =
        Variables { environment: Environment::Injected(BTreeMap::new()), ..Variables::default() };
    let leaves = plan::leaves(&Config::schema(), None, &variables);
    leaves.into_iter().find(|leaf| leaf.path == path).unwrap()
}

fn filter(purpose: Purpose, vault_mode: bool, env_overrides: bool) -> SourceFilter {
    SourceFilter { purpose, vault_mode, env_overrides }
}

/// Every combination, so that none is open by accident.
fn all_filters() -> Vec<SourceFilter> {
    let mut all = Vec::new();
    for purpose in [Purpose::Build, Purpose::Check, Purpose::Provide] {
        for vault_mode in [true, false] {
            all.extend([true, false].map(|overrides| filter(purpose, vault_mode, overrides)));
        }
    }
    all
}

fn accept(filter: SourceFilter, path: &str, text: &str) -> Result<Resolution, Cause> {
    let hit = SourceValue { value: Value::text(text), provenance: Provenance::Default };
    filter.accept(&leaf(path), hit).map(|outcome| outcome.resolution)
}

#[test]
fn in_vault_mode_a_local_source_never_serves_a_secret() {
    for filter in all_filters().into_iter().filter(|filter| filter.vault_mode) {
        for path in ["secret", "unbound"] {
            assert!(!filter.admits(SourceRole::Local, &leaf(path)), "{path} {filter:?}");
            assert_eq!(filter.admits(SourceRole::Override, &leaf(path)), filter.env_overrides);
        }
    }
}

#[test]
fn in_local_mode_every_source_serves_a_secret() {
    for filter in all_filters().into_iter().filter(|filter| !filter.vault_mode) {
        assert!(filter.admits(SourceRole::Override, &leaf("secret")), "{filter:?}");
        let is_local = filter.purpose != Purpose::Provide;
        assert_eq!(filter.admits(SourceRole::Local, &leaf("secret")), is_local, "{filter:?}");
    }
}

#[test]
fn a_provider_reads_no_plain_field_and_no_local_source() {
    for filter in all_filters() {
        let provides = filter.purpose == Purpose::Provide;
        assert_eq!(filter.reads(&leaf("plain")), !provides);
        assert!(filter.reads(&leaf("secret")));
        for path in ["plain", "secret", "encrypted", "unbound"] {
            assert!(
                !provides || !filter.admits(SourceRole::Local, &leaf(path)),
                "{path} {filter:?}"
            );
        }
    }
}

#[test]
fn a_ciphertext_is_never_the_value_and_another_text_never_a_ciphertext() {
    for filter in all_filters() {
        match (filter.vault_mode, accept(filter, "encrypted", CIPHERTEXT)) {
            (true, resolution) => assert!(matches!(resolution, Ok(Resolution::Wanted))),
            (false, resolution) => assert!(resolution.is_err()),
        }
        match (filter.vault_mode, accept(filter, "encrypted", "plain text")) {
            (true, resolution) => assert!(resolution.is_err()),
            (false, resolution) => assert!(matches!(resolution, Ok(Resolution::Value(..)))),
        }
        let hidden = accept(filter, "encrypted", &format!("[\"{CIPHERTEXT}\"]"));
        assert!(hidden.is_err(), "{filter:?}");
        let other = accept(filter, "secret", CIPHERTEXT);
        assert!(matches!(other, Ok(Resolution::Value(..))), "only a transit field is decrypted");
    }
}

#[test]
fn without_a_local_value_vault_is_asked_or_the_field_is_absent() {
    let without = |filter: SourceFilter, path: &str| filter.without_value(&leaf(path));
    let vault = filter(Purpose::Build, true, true);
    let secret = without(vault, "secret").unwrap();
    assert!(matches!(secret.resolution, Resolution::Wanted) && secret.request.is_some());
    let unbound = without(vault, "unbound").unwrap();
    assert!(matches!(unbound.resolution, Resolution::Failed(_)) && unbound.request.is_none());
    let encrypted = without(vault, "encrypted").unwrap();
    assert!(matches!(encrypted.resolution, Resolution::Absent(Some(_))));
    assert!(without(filter(Purpose::Provide, true, true), "encrypted").is_err());

    let local = filter(Purpose::Build, false, true);
    for path in ["plain", "secret", "encrypted", "unbound"] {
        let outcome = without(local, path).unwrap();
        assert!(matches!(outcome.resolution, Resolution::Absent(None)), "{path}");
        assert!(outcome.request.is_none(), "{path}");
    }
}

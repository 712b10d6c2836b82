//! Why a field cannot be read, in sentences that never quote a secret.

use std::sync::Arc;

use crate::error::{Cause, ErrorKind};
use crate::load::slot::{Resolution, Slot};
use crate::report::Provenance;
use crate::schema::plan::Leaf;
use crate::value::Value;
use crate::value::coerce::Fault;

pub(super) fn wrong_type(
    leaf: &Leaf,
    fault: &Fault,
    value: &Value,
    provenance: &Provenance,
) -> Arc<Cause> {
    let what = if leaf.is_vault() { guarded(leaf, fault, value) } else { fault.open() };
    let quotes = match provenance {
        Provenance::Dotenv { .. } if fault.wants_json() => "; in .env, put JSON in single quotes",
        _ => "",
    };
    let help = format!("set a value that can be read as {}{quotes}", leaf.ty);
    Arc::new(Cause::new(ErrorKind::WrongType, what, help).at(provenance.to_string()))
}

/// The fault of a secret. A type may put the value into what it says it expected.
fn guarded<'a>(leaf: &Leaf, fault: &'a Fault, value: &Value) -> &'a str {
    // A shorter value occurs in almost any sentence.
    const SHORTEST: usize = 4;
    let message = fault.guarded();
    let has_known_keys = leaf.is_whole() || !leaf.names.parts.is_empty();
    let repeats = value.appears_in(message, SHORTEST)
        || !has_known_keys && value.has_key_in(message, SHORTEST);
    match repeats {
        true => {
            "the value cannot be read as the field's type (the reason is withheld: it repeats the value)"
        }
        false => message,
    }
}

pub(super) fn missing(leaf: &Leaf) -> Arc<Cause> {
    let variables = leaf.names.variables.join(" and ");
    let help = format!(
        "set {variables} in the environment or in .env, or {} in a file, or give the field a default (or the \
         type Option)",
        leaf.names.key()
    );
    Arc::new(Cause::new(ErrorKind::Missing, "no source has a value for it", help))
}

/// A validator's message, unless it repeats the value of a field marked for Vault.
pub(super) fn unquoted(message: String, slots: &[Slot]) -> String {
    let repeats = slots.iter().any(|slot| match &slot.resolution {
        Resolution::Value(value, _) if slot.leaf.is_vault() => value.appears_in(&message, 1),
        _ => false,
    });
    match repeats {
        true => "the validator refused the value (its message is withheld: it repeats the value)"
            .to_owned(),
        false => message,
    }
}

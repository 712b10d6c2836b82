//! The fields marked for Vault, as a provider for the user's own figment.

use figment::error::Kind;
use figment::value::{Dict, Empty, Map, Num, Tag, Value as Figured};
use figment::{Figment, Metadata, Profile, Provider};

use crate::error::Problem;
use crate::load::slot::{Resolution, Slot, Slots};
use crate::report::{Provenance, Report};
use crate::schema::plan::{Leaf, LeafId};
use crate::text::printable;
use crate::value::Value;

/// The values of a configuration's fields that are marked for Vault, as a provider for a figment of
/// your own.
///
/// [`Vault::resolve`](crate::Vault::resolve) fetches them once. Nothing renews a credential among
/// them; [`Loader::watch`](crate::Loader::watch) does. The struct derives `Deserialize` as well.
///
///  * **Profile**: none is selected. The values are in figment's global profile, which has priority
///    over every other: a file's `[production]` table cannot replace a secret. The process environment
///    has priority over Vault: a field whose variable is set is not fetched.
///  * **Metadata**: one record a field, so an error reads `… for key "default.port" in vault kv
///    secret/my-app/db#port`.
///  * **Data**: each value in the shape its field's type asks for: `"5432"` is a number for a
///    `u16`. An optional field that has no value in Vault is `None`, even if a lower layer has one. A
///    required field with a default is left out, so give it `#[serde(default)]`, and keep its key
///    out of the lower layers. figment merges maps: if a lower layer has a table for a `whole`
///    secret, its keys stay beside those of the secret.
///
/// A value that does not fit its field's type makes `extract` fail with an error that does not quote
/// it. Extract the same type that was resolved: for another type, which asks for another shape,
/// figment's own error quotes the value. The `Debug` of a `Figment` shows its values, and figment
/// does not wipe them. Neither is true of [`VaultConfig::load`](crate::VaultConfig::load).
///
/// figment refuses 128-bit numbers and maps whose keys are numbers.
///
/// ```no_run
/// use figment::{Figment, providers::Serialized};
/// use vault_config::{Vault, VaultConfig, secrecy::SecretString};
///
/// #[derive(Debug, serde::Deserialize, VaultConfig)]
/// struct AppConfig {
///     port: u16,
///     #[vault(kv = "my-app/api-keys")]
///     api_key: SecretString,
/// }
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let secrets = Vault::from_env()?.resolve::<AppConfig>().await?;
/// let plain = Figment::from(Serialized::default("port", 8080));
/// let config: AppConfig = plain.merge(secrets).extract()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Resolved {
    figment: Figment,
    report: Report,
}

impl Resolved {
    pub(crate) fn new(figment: Figment, report: Report) -> Self {
        Self { figment, report }
    }

    /// Where every fetched field came from, and which keys of the secrets no field uses.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }
}

impl std::fmt::Debug for Resolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolved").field("report", &self.report).finish_non_exhaustive()
    }
}

impl Provider for Resolved {
    fn metadata(&self) -> Metadata {
        Metadata::named("vault")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        self.figment.data()
    }

    // Only this method can give a record for each value; `Figment` itself uses it for its own records.
    fn __metadata_map(&self) -> Option<Map<Tag, Metadata>> {
        self.figment.__metadata_map()
    }
}

/// A figment with one layer for each field, in the struct's order. `mismatches` are the values that do not fit their
/// types.
pub(crate) fn figment(
    slots: &Slots,
    shapes: &[(LeafId, Value)],
    mismatches: &[Problem],
) -> Figment {
    let shape = |id| shapes.iter().find(|(of, _)| *of == id).map(|(_, shape)| figured(shape));
    let mut figment = Figment::new();
    for slot in slots.iter() {
        // An absence is a value too: no lower layer may stand in for a secret that was deleted.
        let is_none = matches!(slot.resolution, Resolution::Absent(_)) && slot.leaf.optional;
        let none = is_none.then_some(Figured::Empty(Tag::Default, Empty::None));
        if let Some(value) = shape(slot.leaf.id).or(none) {
            let (path, name) = (path(&slot.leaf), name(slot));
            figment = figment.merge(FieldProvider { path, name, content: Ok(value) });
        }
    }
    let mismatches = mismatches.iter().map(|problem| {
        let slot = slots.iter().find(|slot| Some(slot.leaf.path.as_str()) == problem.field());
        Figment::from(FieldProvider {
            path: slot.map(|slot| path(&slot.leaf)).unwrap_or_default(),
            name: slot.map(name).unwrap_or_default(),
            content: Err(problem.message().to_owned()),
        })
    });
    figment.merge(Mismatches(mismatches.collect()))
}

/// One field. figment keeps one record for each provider.
struct FieldProvider {
    path: Vec<&'static str>,
    name: String,
    content: Result<Figured, String>,
}

impl Provider for FieldProvider {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone()).interpolater(|profile: &Profile, keys: &[&str]| {
            // The value is in the global profile to go before the others; the user did not put it there.
            let profile = if *profile == Profile::Global { &Profile::Default } else { profile };
            format!("{profile}.{}", keys.join("."))
        })
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        match &self.content {
            Ok(value) => Ok(Profile::Global.collect(nested(&self.path, value.clone()))),
            Err(message) => {
                let mut error = figment::Error::from(Kind::Message(message.clone()));
                error.path = self.path.iter().map(|&key| key.to_owned()).collect();
                Err(error)
            }
        }
    }
}

/// The values that do not fit their types, one figment each. Merged one by one, figment would keep only two of their
/// errors.
struct Mismatches(Vec<Figment>);

impl Provider for Mismatches {
    fn metadata(&self) -> Metadata {
        Metadata::named("vault")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let errors = self.0.iter().rev().filter_map(|one| one.data().err());
        match errors.reduce(|later, earlier| later.chain(earlier)) {
            Some(error) => Err(error),
            None => Ok(Map::new()),
        }
    }

    fn __metadata_map(&self) -> Option<Map<Tag, Metadata>> {
        Some(self.0.iter().filter_map(Provider::__metadata_map).flatten().collect())
    }
}

fn path(leaf: &Leaf) -> Vec<&'static str> {
    leaf.names.keys.iter().filter_map(|names| names.first().copied()).collect()
}

/// The source without its version and lease, which are in the report.
fn name(slot: &Slot) -> String {
    match &slot.resolution {
        Resolution::Value(_, Provenance::Vault { source, .. }) => {
            printable(&format!("vault {source}"))
        }
        Resolution::Value(_, provenance) => printable(&provenance.to_string()),
        _ => Provenance::Default.to_string(),
    }
}

fn nested(path: &[&str], value: Figured) -> Dict {
    let Some((last, parents)) = path.split_last() else { return Dict::new() };
    let leaf = Dict::from([((*last).to_owned(), value)]);
    parents
        .iter()
        .rev()
        .fold(leaf, |inner, key| Dict::from([((*key).to_owned(), Figured::from(inner))]))
}

fn figured(value: &Value) -> Figured {
    match value {
        Value::Null => Figured::Empty(Tag::Default, Empty::None),
        Value::Bool(value) => Figured::from(*value),
        Value::Text(text) => Figured::from(text.as_str()),
        Value::Number(text) => number(text),
        Value::List(items) => Figured::from(items.iter().map(figured).collect::<Vec<_>>()),
        Value::Map(entries) => Figured::from(
            entries.iter().map(|(key, value)| (key.clone(), figured(value))).collect::<Dict>(),
        ),
    }
}

fn number(text: &str) -> Figured {
    let parsed = text
        .parse::<u64>()
        .map(Num::from)
        .or_else(|_| text.parse::<i64>().map(Num::from))
        .or_else(|_| text.parse::<u128>().map(Num::from))
        .or_else(|_| text.parse::<f64>().map(Num::from));
    match parsed {
        Ok(number) => Figured::Num(Tag::Default, number),
        Err(_) => Figured::from(text),
    }
}

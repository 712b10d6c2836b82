//! What Vault gave, as a layer of the user's own figment.

use figment::error::Kind;
use figment::value::{Dict, Empty, Map, Num, Tag, Value as Figured};
use figment::{Figment, Metadata, Profile, Provider};

use crate::error::Problem;
use crate::load::read::{Found, Slot};
use crate::report::{Provenance, Report};
use crate::schema::plan::Leaf;
use crate::text::printable;
use crate::value::Value;

/// The values of a configuration's fields that are marked for Vault, as a provider for a figment of
/// your own.
///
/// [`Vault::resolve`](crate::Vault::resolve) fetches them, once: nothing renews a credential among
/// them, which [`Loader::watch`](crate::Loader::watch) does. The struct then derives `Deserialize` as
/// well.
///
///  * **Profile**: none is selected. Values stand in figment's global profile, above every other: a
///    file's `[production]` table cannot replace a secret. The process environment already had its
///    say: a field that its variable overrides was not fetched.
///  * **Metadata**: one record a field, so an error reads `… for key "default.port" in vault kv
///    secret/my-app/db#port`.
///  * **Data**: each value in the shape its field's type asks for: `"5432"` is a number for a
///    `u16`. An optional field that Vault has nothing for is `None`, whatever a layer below says. A
///    required field with a default is left out, so give it `#[serde(default)]`, and keep its key
///    out of the layers below. figment merges maps: keys of a table that a layer below has for a
///    `whole` secret stay beside the secret's.
///
/// A value that does not fit its field's type makes `extract` fail without being quoted. Extract
/// the type that was resolved: another type that asks for another shape gets figment's own error,
/// which quotes. The `Debug` of a `Figment` shows its values, and figment does not wipe them;
/// [`VaultConfig::load`](crate::VaultConfig::load) has neither trait.
///
/// figment has no 128-bit numbers and no maps keyed by numbers; it refuses both.
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
/// let config: AppConfig = Figment::from(Serialized::default("port", 8080)).merge(secrets).extract()?;
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

    // The trait's one channel for a record per value; `Figment` itself passes its own on through it.
    fn __metadata_map(&self) -> Option<Map<Tag, Metadata>> {
        self.figment.__metadata_map()
    }
}

/// One layer a field, in the struct's order.
pub(crate) fn figment(slots: &[Slot], shapes: &[(usize, Value)], wrong: &[Problem]) -> Figment {
    let shape = |index| shapes.iter().find(|(of, _)| *of == index).map(|(_, shape)| figured(shape));
    let mut figment = Figment::new();
    for (index, slot) in slots.iter().enumerate() {
        // Nothing in Vault is an answer too: no layer below may stand in for a secret that is gone.
        let absent = matches!(slot.found, Found::Absent(_)) && slot.leaf.optional;
        let nothing = absent.then_some(Figured::Empty(Tag::Default, Empty::None));
        if let Some(value) = shape(index).or(nothing) {
            let (path, name) = (path(&slot.leaf), name(slot));
            figment = figment.merge(One { path, name, content: Ok(value) });
        }
    }
    let wrong = wrong.iter().map(|problem| {
        let slot = slots.iter().find(|slot| Some(slot.leaf.path.as_str()) == problem.field());
        Figment::from(One {
            path: slot.map(|slot| path(&slot.leaf)).unwrap_or_default(),
            name: slot.map(name).unwrap_or_default(),
            content: Err(problem.message().to_owned()),
        })
    });
    figment.merge(Wrong(wrong.collect()))
}

/// One field: figment keeps one record a provider.
struct One {
    path: Vec<&'static str>,
    name: String,
    content: Result<Figured, String>,
}

impl Provider for One {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone()).interpolater(|profile: &Profile, keys: &[&str]| {
            // The global profile is how the value wins, not where the user put it.
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

/// The values that do not fit, one figment each: merging them one by one keeps two errors of
/// several.
struct Wrong(Vec<Figment>);

impl Provider for Wrong {
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
    leaf.keys.iter().filter_map(|names| names.first().copied()).collect()
}

/// The source alone: versions and leases are in the report.
fn name(slot: &Slot) -> String {
    match &slot.found {
        Found::Value(_, Provenance::Vault { source, .. }) => printable(&format!("vault {source}")),
        Found::Value(_, provenance) => printable(&provenance.to_string()),
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

//! Builds the user's struct from what was found, collecting every problem on the way.

use std::cell::RefCell;
use std::sync::Arc;

use crate::VaultConfig;
use crate::coerce::{Fault, FieldDeserializer};
use crate::error::{Cause, ErrorKind, Problem};
use crate::plan::Leaf;
use crate::report::Provenance;
use crate::value::Value;

/// What the sources had for one leaf.
pub(crate) struct Slot {
    pub(crate) leaf: Leaf,
    /// The sources that had nothing, for the error.
    pub(crate) looked: Vec<String>,
    pub(crate) found: Found,
}

impl Slot {
    pub(crate) fn failure(&self) -> Option<&Cause> {
        match &self.found {
            Found::Failed(cause) => Some(cause),
            _ => None,
        }
    }

    /// It failed for nothing but a server that is not up yet.
    pub(crate) fn waits_for_the_server(&self) -> bool {
        self.failure().is_some_and(|cause| {
            matches!(
                cause.kind,
                ErrorKind::ConnectionRefused | ErrorKind::Sealed | ErrorKind::Standby
            )
        })
    }

    /// A field marked for Vault that a `.env` file serves.
    pub(crate) fn is_served_by_dotenv(&self) -> bool {
        let served = matches!(&self.found, Found::Value(_, Provenance::Dotenv { .. }));
        served && self.leaf.is_vault()
    }
}

pub(crate) enum Found {
    Value(Value, Provenance),
    /// Nothing, and in Vault's case why.
    Absent(Option<Arc<Cause>>),
    Failed(Arc<Cause>),
    /// Not asked for: a plain field of a provider, or a credential that a check does not mint.
    Skipped,
}

/// `validate = path`, with its message as text.
type Validate<T> = fn(&T) -> Result<(), String>;

/// What a plain field's type has to be: anything but a configuration struct, whose fields would be read
/// without being asked where they come from. For such a type two impls fit, and the compiler names them.
#[doc(hidden)]
pub trait PlainField<Hint> {}

#[doc(hidden)]
#[derive(Debug)]
pub struct WriteVaultNestedOnThisField;

impl<T> PlainField<()> for T {}
impl<T: VaultConfig> PlainField<WriteVaultNestedOnThisField> for T {}

/// What a field is when no source has it.
#[doc(hidden)]
#[derive(Debug)]
pub enum Fallback<T> {
    /// `default = "text"`: read as any other text would be.
    Text(&'static str),
    /// `default` or `default = expr`.
    Value(fn() -> T),
}

#[doc(hidden)]
pub struct Reader<'a> {
    slots: &'a [Slot],
    cursor: usize,
    depth: usize,
    purpose: Purpose,
    read: Read,
}

/// What a reading is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Build,
    /// What was left out on purpose counts as there.
    Check,
    /// Every value is kept in the shape its type asks for.
    Provide,
}

/// What is known of an optional struct before it is read.
pub(crate) enum Outlook {
    Found,
    Failed,
    Absent,
}

/// What a reading came to, besides the struct.
#[derive(Default)]
pub(crate) struct Read {
    pub(crate) problems: Vec<Problem>,
    pub(crate) fields: Vec<(String, Provenance)>,
    /// Every value in the shape its type asked for, by the leaf's index.
    pub(crate) shapes: Vec<(usize, Value)>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(slots: &'a [Slot], purpose: Purpose) -> Self {
        Self { slots, cursor: 0, depth: 0, purpose, read: Read::default() }
    }

    pub(crate) fn into_read(self) -> Read {
        self.read
    }

    /// For an optional struct: what is known of its next `count` leaves.
    pub(crate) fn outlook(&self, count: usize) -> Outlook {
        let next = || self.slots.iter().skip(self.cursor).take(count);
        let found = next().any(|slot| match slot.found {
            Found::Value(..) => true,
            Found::Skipped => self.purpose == Purpose::Check,
            Found::Failed(_) | Found::Absent(_) => false,
        });
        match found {
            true => Outlook::Found,
            false if next().any(|slot| slot.failure().is_some()) => Outlook::Failed,
            false => Outlook::Absent,
        }
    }

    /// Tells the failures of an optional struct that nothing says is wanted, and not what it lacks.
    pub(crate) fn fail(&mut self, count: usize) {
        for slot in self.slots.iter().skip(self.cursor).take(count) {
            if let Found::Failed(cause) = &slot.found {
                let problem = slot.leaf.problem(slot.looked.clone(), Arc::clone(cause));
                self.read.problems.push(problem);
            }
        }
        self.cursor += count;
    }

    pub(crate) fn skip(&mut self, count: usize) {
        for slot in self.slots.iter().skip(self.cursor).take(count) {
            self.read.fields.push((slot.leaf.path.clone(), Provenance::Absent));
        }
        self.cursor += count;
    }
}

#[doc(hidden)]
impl Reader<'_> {
    /// Reads the next leaf. `None` when there is a problem, which is then among the others.
    pub fn field<T>(
        &mut self,
        read: impl for<'d> Fn(FieldDeserializer<'d>) -> Result<T, Fault>,
        fallback: Option<Fallback<T>>,
        validate: Option<Validate<T>>,
    ) -> Option<T> {
        let index = self.cursor;
        let slot = self.slots.get(index)?;
        self.cursor += 1;
        let (built, provenance) = match self.build(index, slot, read, fallback) {
            Ok(built) => built?,
            Err(cause) => {
                self.read.problems.push(slot.leaf.problem(slot.looked.clone(), cause));
                return None;
            }
        };
        if let Some(Err(message)) = validate.map(|validate| validate(&built)) {
            let what = unquoted(message, std::slice::from_ref(slot));
            let cause = Cause::new(ErrorKind::Invalid, what, "").at(provenance.to_string());
            self.read.problems.push(slot.leaf.problem(Vec::new(), Arc::new(cause)));
            return None;
        }
        self.read.fields.push((slot.leaf.path.clone(), provenance));
        Some(built)
    }

    /// Reads the leaves of a struct inside the struct.
    pub fn nested<T: VaultConfig>(&mut self) -> Option<T> {
        self.depth += 1;
        let built = T::__read(self);
        self.depth -= 1;
        built
    }

    /// The struct as a whole, after its own validator.
    pub fn finish<T>(&mut self, built: T, validate: Option<Validate<T>>) -> Option<T> {
        let Some(Err(message)) = validate.map(|validate| validate(&built)) else {
            return Some(built);
        };
        let seen = self.slots.get(..self.cursor).unwrap_or_default();
        let cause = Cause::new(ErrorKind::Invalid, unquoted(message, seen), "");
        self.read.problems.push(match seen.last().filter(|_| self.depth > 0) {
            Some(slot) => {
                let path: Vec<_> = slot.leaf.path.split('.').take(self.depth).collect();
                let name = std::any::type_name::<T>().split('<').next().unwrap_or_default();
                let ty = name.rsplit("::").next().unwrap_or_default();
                Problem::of_field(&path.join("."), ty, Vec::new(), Arc::new(cause))
            }
            None => Problem::general(cause),
        });
        None
    }

    fn build<T>(
        &mut self,
        index: usize,
        slot: &Slot,
        read: impl for<'d> Fn(FieldDeserializer<'d>) -> Result<T, Fault>,
        fallback: Option<Fallback<T>>,
    ) -> Result<Option<(T, Provenance)>, Arc<Cause>> {
        let leaf = &slot.leaf;
        match (&slot.found, fallback) {
            (Found::Skipped, _) => {
                if let (Purpose::Check, Some(source)) = (self.purpose, leaf.source()) {
                    self.read.fields.push((leaf.path.clone(), Provenance::NotMade { source }));
                }
                Ok(None)
            }
            (Found::Failed(cause), _) => Err(Arc::clone(cause)),
            (Found::Value(value, provenance), _) => {
                let built = self
                    .read_value(index, value, read)
                    .map_err(|fault| wrong_type(leaf, &fault, value, provenance))?;
                Ok(Some((built, provenance.clone())))
            }
            (Found::Absent(_), Some(Fallback::Value(make))) => {
                Ok(Some((make(), Provenance::Default)))
            }
            (Found::Absent(_), Some(Fallback::Text(text))) => {
                let value = Value::text(text);
                let built = self
                    .read_value(index, &value, read)
                    .map_err(|fault| wrong_type(leaf, &fault, &value, &Provenance::Default))?;
                Ok(Some((built, Provenance::Default)))
            }
            (Found::Absent(cause), None) => {
                let absent =
                    if leaf.optional { read(FieldDeserializer::absent()).ok() } else { None };
                match absent {
                    Some(built) => Ok(Some((built, Provenance::Absent))),
                    None => Err(cause.clone().unwrap_or_else(|| missing(leaf))),
                }
            }
        }
    }
}

impl Reader<'_> {
    fn read_value<T>(
        &mut self,
        index: usize,
        value: &Value,
        read: impl for<'d> Fn(FieldDeserializer<'d>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if self.purpose != Purpose::Provide {
            return read(FieldDeserializer::new(value));
        }
        let shape = RefCell::default();
        let built = read(FieldDeserializer::shaped(value, &shape))?;
        self.read.shapes.push((index, shape.take()));
        Ok(built)
    }
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("at", &self.cursor).finish_non_exhaustive()
    }
}

fn wrong_type(leaf: &Leaf, fault: &Fault, value: &Value, provenance: &Provenance) -> Arc<Cause> {
    // A type may put the value into what it says it expected. Very short values are in any sentence.
    const SHORTEST: usize = 4;
    let guarded = fault.guarded();
    let repeats = value.appears_in(guarded, SHORTEST)
        || !leaf.is_whole() && value.has_key_in(guarded, SHORTEST);
    let what = match leaf.is_vault() {
        false => fault.open(),
        true if repeats => {
            "the value does not read as the field's type (why is withheld: it repeats the value)"
        }
        true => guarded,
    };
    let quotes = match provenance {
        Provenance::Dotenv { .. } if fault.wants_json() => {
            "; in .env, JSON stands in single quotes"
        }
        _ => "",
    };
    let help = format!("give it a value that reads as {}{quotes}", leaf.ty);
    Arc::new(Cause::new(ErrorKind::WrongType, what, help).at(provenance.to_string()))
}

fn missing(leaf: &Leaf) -> Arc<Cause> {
    let variables = leaf.variables.join(" and ");
    let help = format!(
        "set {variables} in the environment or in .env, or {} in a file, or give the field a default (or the \
         type Option)",
        leaf.key()
    );
    Arc::new(Cause::new(ErrorKind::Missing, "no source has a value for it", help))
}

/// A validator's message, unless it repeats a value of a field marked for Vault.
fn unquoted(message: String, slots: &[Slot]) -> String {
    let repeats = slots.iter().any(|slot| match &slot.found {
        Found::Value(value, _) if slot.leaf.is_vault() => value.appears_in(&message, 1),
        _ => false,
    });
    match repeats {
        true => "the validator refuses the value (its message repeats the value and is withheld)"
            .to_owned(),
        false => message,
    }
}

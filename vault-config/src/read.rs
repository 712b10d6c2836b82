//! Builds the user's struct from what was found, collecting every problem on the way.

use std::cell::RefCell;
use std::sync::Arc;

use secrecy::zeroize::Zeroizing;

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
    pub(crate) problems: Vec<Problem>,
    pub(crate) fields: Vec<(String, Provenance)>,
    /// For a provider: every value in the shape its type asked for.
    pub(crate) shapes: Vec<(usize, Value)>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(slots: &'a [Slot]) -> Self {
        Self {
            slots,
            cursor: 0,
            depth: 0,
            problems: Vec::new(),
            fields: Vec::new(),
            shapes: Vec::new(),
        }
    }

    /// For an optional struct: whether any of its next `count` leaves has a value or a failure.
    pub(crate) fn has_any(&self, count: usize) -> bool {
        let next = self.slots.iter().skip(self.cursor).take(count);
        next.into_iter().any(|slot| matches!(slot.found, Found::Value(..) | Found::Failed(_)))
    }

    pub(crate) fn skip(&mut self, count: usize) {
        for slot in self.slots.iter().skip(self.cursor).take(count) {
            self.fields.push((slot.leaf.path.clone(), Provenance::Absent));
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
                self.problems.push(slot.leaf.problem(slot.looked.clone(), cause));
                return None;
            }
        };
        if let Some(Err(message)) = validate.map(|validate| validate(&built)) {
            let what = unquoted(message, std::slice::from_ref(slot));
            let cause = Cause::new(ErrorKind::Invalid, what, "").at(provenance.to_string());
            self.problems.push(slot.leaf.problem(Vec::new(), Arc::new(cause)));
            return None;
        }
        self.fields.push((slot.leaf.path.clone(), provenance));
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
        self.problems.push(match seen.last().filter(|_| self.depth > 0) {
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
            (Found::Skipped, _) => Ok(None),
            (Found::Failed(cause), _) => Err(Arc::clone(cause)),
            (Found::Value(value, provenance), _) => {
                let shape = RefCell::default();
                let built = read(FieldDeserializer::shaped(value, &shape))
                    .map_err(|fault| wrong_type(leaf, &fault, provenance))?;
                self.shapes.push((index, shape.take()));
                Ok(Some((built, provenance.clone())))
            }
            (Found::Absent(_), Some(Fallback::Value(make))) => {
                Ok(Some((make(), Provenance::Default)))
            }
            (Found::Absent(_), Some(Fallback::Text(text))) => {
                let value = Value::text(text);
                let built = read(FieldDeserializer::new(&value))
                    .map_err(|fault| wrong_type(leaf, &fault, &Provenance::Default))?;
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

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("at", &self.cursor).finish_non_exhaustive()
    }
}

fn wrong_type(leaf: &Leaf, fault: &Fault, provenance: &Provenance) -> Arc<Cause> {
    let what = match leaf.is_vault() {
        true => fault.guarded(),
        false => fault.open(),
    };
    let help = format!("give it a value that reads as {}", leaf.ty);
    Arc::new(Cause::new(ErrorKind::WrongType, what, help).at(provenance.to_string()))
}

fn missing(leaf: &Leaf) -> Arc<Cause> {
    let variables = leaf.variables.join(" and ");
    let help = format!(
        "set {variables}, or {} in a file, or give the field a default (or the type Option)",
        leaf.key()
    );
    Arc::new(Cause::new(ErrorKind::Missing, "no source has a value for it", help))
}

/// A validator's message, unless it repeats a value of a field marked for Vault.
fn unquoted(message: String, slots: &[Slot]) -> String {
    let repeats = slots.iter().any(|slot| match &slot.found {
        Found::Value(value, _) if slot.leaf.is_vault() => appears(value, &message),
        _ => false,
    });
    match repeats {
        true => "the validator refuses the value (its message repeats the value and is withheld)"
            .to_owned(),
        false => message,
    }
}

fn appears(value: &Value, message: &str) -> bool {
    match value {
        Value::Text(text) | Value::Number(text) => {
            // The type may have trimmed it, `Debug` escapes it, and JSON in text has parts.
            text.lines().map(str::trim).any(|line| quotes(message, line))
                || Value::from_json(text).is_ok_and(|json| match json {
                    Value::List(_) | Value::Map(_) => appears(&json, message),
                    _ => false,
                })
        }
        Value::List(items) => items.iter().any(|item| appears(item, message)),
        Value::Map(entries) => entries.values().any(|entry| appears(entry, message)),
        Value::Null | Value::Bool(_) => false,
    }
}

fn quotes(message: &str, line: &str) -> bool {
    let escaped = Zeroizing::new(line.escape_debug().to_string());
    !line.is_empty() && (message.contains(line) || message.contains(escaped.as_str()))
}

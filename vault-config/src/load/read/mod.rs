//! Builds the user's struct from what the sources had, and collects every problem on the way.

use std::cell::RefCell;
use std::sync::Arc;

use crate::VaultConfig;
use crate::error::{Cause, ErrorKind, Problem};
use crate::leased::LeaseInfo;
use crate::load::Purpose;
use crate::load::slot::{Resolution, Slot, Slots};
use crate::load::span::{BaseOffset, ByteSpan};
use crate::report::Provenance;
use crate::schema::plan::LeafId;
use crate::value::Value;
use crate::value::coerce::{Fault, FieldDeserializer};

mod causes;
mod optional;

use causes::{missing, unquoted, wrong_type};
use optional::PresentOption;

/// `validate = path`, with its message as text.
type Validate<T> = fn(&T) -> Result<(), String>;

/// A bound on the type of a plain field that every type fulfils in one way, and a configuration struct in two. The
/// fields of such a struct would be read without their sources, so that it is not allowed there: the compiler refuses
/// the ambiguity, and the name of the second impl in its message says what to write.
#[doc(hidden)]
pub trait PlainField<Hint> {}

#[doc(hidden)]
#[derive(Debug)]
pub struct WriteVaultNestedOnThisField;

impl<T> PlainField<()> for T {}
impl<T: VaultConfig> PlainField<WriteVaultNestedOnThisField> for T {}

/// The value of a field that no source has.
#[doc(hidden)]
#[derive(Debug)]
pub enum Fallback<T> {
    /// `default = "text"`: read as any other text is.
    Text(&'static str),
    /// `default` or `default = expr`.
    Value(fn() -> T),
}

/// Reads the leaves of a configuration, in the order of the plan.
#[doc(hidden)]
pub struct Reader<'a> {
    slots: &'a [Slot],
    /// The next slot.
    position: usize,
    /// How many structs are around the one that is read.
    depth: usize,
    base: BaseOffset,
    purpose: Purpose,
    /// The optional structs around, the innermost last.
    present_options: Vec<PresentOption>,
    output: ReadOutput,
}

/// What a reading yields besides the struct.
#[derive(Default)]
pub(crate) struct ReadOutput {
    pub(crate) problems: Vec<Problem>,
    /// Each field's path and where its value came from.
    pub(crate) fields: Vec<(String, Provenance)>,
    /// Each value in the shape its type asked for; filled only for [`Purpose::Provide`].
    pub(crate) shapes: Vec<(LeafId, Value)>,
    /// Where every leaf lies, those of an absent optional struct included.
    pub(crate) spans: Vec<(LeafId, ByteSpan)>,
}

/// What the derive macro's code calls.
#[doc(hidden)]
impl Reader<'_> {
    /// Reads the next leaf, a field at `offset` of its struct. `None` if it has a problem, which is then among the
    /// others.
    pub fn field<T>(
        &mut self,
        offset: usize,
        read: impl for<'d> Fn(FieldDeserializer<'d>) -> Result<T, Fault>,
        fallback: Option<Fallback<T>>,
        validate: Option<Validate<T>>,
    ) -> Option<T> {
        let slot = self.slots.get(self.position)?;
        self.position += 1;
        self.output.spans.push((slot.leaf.id, self.base.span::<T>(offset)));
        let (built, provenance) = match self.build(slot, read, fallback) {
            Ok(built) => built?,
            Err(cause) => {
                self.output.problems.push(slot.problem(cause));
                return None;
            }
        };
        if let Some(Err(message)) = validate.map(|validate| validate(&built)) {
            let what = unquoted(message, std::slice::from_ref(slot));
            let cause = Cause::new(ErrorKind::Invalid, what, "").at(provenance.to_string());
            self.output.problems.push(slot.leaf.problem(Vec::new(), Arc::new(cause)));
            return None;
        }
        self.output.fields.push((slot.leaf.path.clone(), provenance));
        Some(built)
    }

    /// Reads the leaves of a struct inside the struct, at `offset`.
    pub fn nested<T: VaultConfig>(&mut self, offset: usize) -> Option<T> {
        let outer = self.base;
        self.base = outer.inner(offset);
        self.depth += 1;
        let built = T::__read(self);
        self.depth -= 1;
        self.base = outer;
        built
    }

    /// The struct as a whole, after its own validator.
    pub fn finish<T>(&mut self, built: T, validate: Option<Validate<T>>) -> Option<T> {
        let Some(Err(message)) = validate.map(|validate| validate(&built)) else {
            return Some(built);
        };
        let seen = self.slots.get(..self.position).unwrap_or_default();
        let cause = Cause::new(ErrorKind::Invalid, unquoted(message, seen), "");
        self.output.problems.push(match seen.last().filter(|_| self.depth > 0) {
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
}

impl<'a> Reader<'a> {
    pub(crate) fn new(slots: &'a Slots, purpose: Purpose) -> Self {
        Self {
            slots: slots.as_slice(),
            position: 0,
            depth: 0,
            base: BaseOffset::Inline(0),
            purpose,
            present_options: Vec::new(),
            output: ReadOutput::default(),
        }
    }

    pub(crate) fn into_output(self) -> ReadOutput {
        self.output
    }

    /// Reads a struct whose leaves lie somewhere in an `O`, or behind a pointer in it.
    fn behind<O, B>(&mut self, read: impl FnOnce(&mut Self) -> B) -> B {
        let outer = self.base;
        self.base = BaseOffset::Behind(outer.span::<O>(0));
        let built = read(self);
        self.base = outer;
        built
    }

    /// The value and its provenance. `None` if the load has no value to read, which is no problem of the field.
    fn build<T>(
        &mut self,
        slot: &Slot,
        read: impl for<'d> Fn(FieldDeserializer<'d>) -> Result<T, Fault>,
        fallback: Option<Fallback<T>>,
    ) -> Result<Option<(T, Provenance)>, Arc<Cause>> {
        let leaf = &slot.leaf;
        match (&slot.resolution, fallback) {
            (Resolution::Wanted | Resolution::NotOurs | Resolution::Reported, _) => Ok(None),
            (Resolution::NotIssued, _) => {
                if let (Purpose::Check, Some(source)) = (self.purpose, leaf.source()) {
                    self.output.fields.push((leaf.path.clone(), Provenance::NotMade { source }));
                }
                Ok(None)
            }
            (Resolution::Failed(cause), _) => Err(Arc::clone(cause)),
            (Resolution::Value(value, provenance), _) => {
                self.coerce(slot, value, provenance, read).map(Some)
            }
            (Resolution::Absent(_), Some(Fallback::Value(make))) => {
                Ok(Some((make(), Provenance::Default)))
            }
            (Resolution::Absent(_), Some(Fallback::Text(text))) => {
                self.coerce(slot, &Value::text(text), &Provenance::Default, read).map(Some)
            }
            (Resolution::Absent(cause), None) => {
                let absent = leaf.optional.then(|| read(FieldDeserializer::absent()).ok());
                match absent.flatten() {
                    Some(built) => Ok(Some((built, Provenance::Absent))),
                    None => Err(self.explain_need(cause.clone().unwrap_or_else(|| missing(leaf)))),
                }
            }
        }
    }

    fn coerce<T>(
        &mut self,
        slot: &Slot,
        value: &Value,
        provenance: &Provenance,
        read: impl for<'d> Fn(FieldDeserializer<'d>) -> Result<T, Fault>,
    ) -> Result<(T, Provenance), Arc<Cause>> {
        let built = self
            .read_value(slot.leaf.id, value, provenance.lease_info(), read)
            .map_err(|fault| wrong_type(&slot.leaf, &fault, value, provenance))?;
        Ok((built, provenance.clone()))
    }

    fn read_value<T>(
        &mut self,
        id: LeafId,
        value: &Value,
        lease: Option<LeaseInfo>,
        read: impl for<'d> Fn(FieldDeserializer<'d>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if self.purpose != Purpose::Provide {
            return read(FieldDeserializer::new(value).with_lease(lease));
        }
        let shape = RefCell::default();
        let built = read(FieldDeserializer::shaped(value, &shape))?;
        self.output.shapes.push((id, shape.take()));
        Ok(built)
    }
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("at", &self.position).finish_non_exhaustive()
    }
}

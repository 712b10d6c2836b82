//! Builds the user's struct from what was found, collecting every problem on the way.

use std::cell::RefCell;
use std::sync::Arc;

use crate::VaultConfig;
use crate::error::{Cause, ErrorKind, Problem};
use crate::leased::Facts;
use crate::report::Provenance;
use crate::schema::plan::Leaf;
use crate::value::Value;
use crate::value::coerce::{Fault, FieldDeserializer};

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
        self.failure().is_some_and(|cause| cause.kind.waits_for_server())
    }

    /// A field marked for Vault that a `.env` file serves.
    pub(crate) fn is_served_by_dotenv(&self) -> bool {
        let served = matches!(&self.found, Found::Value(_, Provenance::Dotenv { .. }));
        served && self.leaf.is_vault()
    }
}

#[derive(Clone)]
pub(crate) enum Found {
    Value(Value, Provenance),
    /// Nothing, and in Vault's case why.
    Absent(Option<Arc<Cause>>),
    Failed(Arc<Cause>),
    /// Not asked for: a plain field of a provider, or a credential that a check does not mint.
    Skipped,
}

impl Found {
    /// Whether readers would see no difference.
    pub(crate) fn same_value(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Value(one, _), Self::Value(another, _)) => one == another,
            (Self::Value(..), _) | (_, Self::Value(..)) => false,
            _ => true,
        }
    }
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
    place: Place,
    purpose: Purpose,
    /// Of the optional structs around: how deep they stand, and the leaf that switches each on.
    switched_on: Vec<(usize, usize)>,
    read: Read,
}

/// The bytes of the outermost struct that a leaf lies in: a view of any of them sees the leaf change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    /// The first byte after it.
    pub(crate) end: usize,
}

/// Where the struct that is being read is going to lie.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// At this offset in the outermost struct.
    Inline(usize),
    /// Inside of what lies there: where exactly its fields are, such as those of a `Box`, no offset tells.
    Behind(Span),
}

impl Place {
    /// The bytes of a `T` at `offset` of the struct.
    fn span<T>(self, offset: usize) -> Span {
        match self {
            Self::Inline(base) => {
                let start = base + offset;
                Span { start, end: start + size_of::<T>() }
            }
            Self::Behind(span) => span,
        }
    }

    /// The place of a struct at `offset` of the struct.
    fn inner(self, offset: usize) -> Self {
        match self {
            Self::Inline(base) => Self::Inline(base + offset),
            Self::Behind(_) => self,
        }
    }
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
    /// By this leaf, the first that has a value.
    Found(usize),
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
    /// Where every leaf lies, by its index; also those of an optional struct that is absent.
    pub(crate) spans: Vec<(usize, Span)>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(slots: &'a [Slot], purpose: Purpose) -> Self {
        Self {
            slots,
            cursor: 0,
            depth: 0,
            place: Place::Inline(0),
            purpose,
            switched_on: Vec::new(),
            read: Read::default(),
        }
    }

    pub(crate) fn into_read(self) -> Read {
        self.read
    }

    /// For an optional struct: what is known of its next `count` leaves.
    pub(crate) fn outlook(&self, count: usize) -> Outlook {
        let next = || self.slots.iter().enumerate().skip(self.cursor).take(count);
        let found = next().find(|(_, slot)| match slot.found {
            Found::Value(..) => true,
            Found::Skipped => self.purpose == Purpose::Check,
            Found::Failed(_) | Found::Absent(_) => false,
        });
        match found {
            Some((index, _)) => Outlook::Found(index),
            None if next().any(|(_, slot)| slot.failure().is_some()) => Outlook::Failed,
            None => Outlook::Absent,
        }
    }

    /// Reads an optional struct that this leaf switches on.
    pub(crate) fn switched_on<B>(&mut self, by: usize, read: impl FnOnce(&mut Self) -> B) -> B {
        self.switched_on.push((self.depth, by));
        let built = read(self);
        self.switched_on.pop();
        built
    }

    /// What an optional struct lacks, with what switched it on: who set that may not know that the rest is needed.
    fn lacks(&self, cause: Arc<Cause>) -> Arc<Cause> {
        let Some((depth, by)) = self.switched_on.last() else { return cause };
        let Some(slot) = self.slots.get(*by) else { return cause };
        let path: Vec<_> = slot.leaf.path.split('.').take(*depth).collect();
        let optional = match path.is_empty() {
            true => "the configuration".to_owned(),
            false => path.join("."),
        };
        let origin = match &slot.found {
            Found::Value(_, provenance) => provenance.to_string(),
            _ => format!("vault {}", slot.leaf.source().unwrap_or_default()),
        };
        let why = format!(
            "{optional} may be left out, and is needed since {} has a value ({origin}): take that away, or set \
             the rest of it",
            slot.leaf.path
        );
        Arc::new(Cause::clone(&cause).hint(&why))
    }

    /// Reads a struct whose leaves lie somewhere inside of `T`, or behind a pointer of it.
    pub(crate) fn behind<T, B>(&mut self, read: impl FnOnce(&mut Self) -> B) -> B {
        let around = self.place;
        self.place = Place::Behind(around.span::<T>(0));
        let built = read(self);
        self.place = around;
        built
    }

    /// Tells the failures of an optional struct `T` that nothing says is wanted, and not what it lacks.
    pub(crate) fn fail<T>(&mut self, count: usize) {
        for slot in self.slots.iter().skip(self.cursor).take(count) {
            if let Found::Failed(cause) = &slot.found {
                let problem = slot.leaf.problem(slot.looked.clone(), Arc::clone(cause));
                self.read.problems.push(problem);
            }
        }
        self.pass::<T>(count);
    }

    pub(crate) fn skip<T>(&mut self, count: usize) {
        for slot in self.slots.iter().skip(self.cursor).take(count) {
            self.read.fields.push((slot.leaf.path.clone(), Provenance::Absent));
        }
        self.pass::<T>(count);
    }

    fn pass<T>(&mut self, count: usize) {
        let span = self.place.span::<T>(0);
        let leaves = self.cursor..self.cursor + count;
        self.cursor = leaves.end;
        self.read.spans.extend(leaves.map(|leaf| (leaf, span)));
    }
}

#[doc(hidden)]
impl Reader<'_> {
    /// Reads the next leaf, a field at `offset` of its struct. `None` when there is a problem, which
    /// is then among the others.
    pub fn field<T>(
        &mut self,
        offset: usize,
        read: impl for<'d> Fn(FieldDeserializer<'d>) -> Result<T, Fault>,
        fallback: Option<Fallback<T>>,
        validate: Option<Validate<T>>,
    ) -> Option<T> {
        let index = self.cursor;
        let slot = self.slots.get(index)?;
        self.cursor += 1;
        self.read.spans.push((index, self.place.span::<T>(offset)));
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

    /// Reads the leaves of a struct inside the struct, at `offset`.
    pub fn nested<T: VaultConfig>(&mut self, offset: usize) -> Option<T> {
        let around = self.place;
        self.place = around.inner(offset);
        self.depth += 1;
        let built = T::__read(self);
        self.depth -= 1;
        self.place = around;
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
                    .read_value(index, value, provenance.facts(), read)
                    .map_err(|fault| wrong_type(leaf, &fault, value, provenance))?;
                Ok(Some((built, provenance.clone())))
            }
            (Found::Absent(_), Some(Fallback::Value(make))) => {
                Ok(Some((make(), Provenance::Default)))
            }
            (Found::Absent(_), Some(Fallback::Text(text))) => {
                let value = Value::text(text);
                let built = self
                    .read_value(index, &value, None, read)
                    .map_err(|fault| wrong_type(leaf, &fault, &value, &Provenance::Default))?;
                Ok(Some((built, Provenance::Default)))
            }
            (Found::Absent(cause), None) => {
                let absent =
                    if leaf.optional { read(FieldDeserializer::absent()).ok() } else { None };
                match absent {
                    Some(built) => Ok(Some((built, Provenance::Absent))),
                    None => Err(self.lacks(cause.clone().unwrap_or_else(|| missing(leaf)))),
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
        facts: Option<Facts>,
        read: impl for<'d> Fn(FieldDeserializer<'d>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if self.purpose != Purpose::Provide {
            return read(FieldDeserializer::new(value).given_for(facts));
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
    let has_known_keys = leaf.is_whole() || !leaf.parts.is_empty();
    let repeats = value.appears_in(guarded, SHORTEST)
        || !has_known_keys && value.has_key_in(guarded, SHORTEST);
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

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use secrecy::SecretString;

    use super::*;
    use crate::engine::Variables;
    use crate::schema::plan;

    #[derive(VaultConfig)]
    #[vault(crate = "crate")]
    struct Outer {
        first: u8,
        #[vault(nested)]
        inner: Inner,
        #[vault(kv = "app")]
        r#type: Option<SecretString>,
        #[vault(nested)]
        optional: Option<Inner>,
        #[vault(nested)]
        boxed: Box<Inner>,
        #[vault(nested)]
        both: Option<Box<Inner>>,
        last: u64,
    }

    #[derive(VaultConfig)]
    #[vault(crate = "crate")]
    struct Inner {
        flag: bool,
        #[vault(nested)]
        pair: Pair<u16>,
        #[vault(nested)]
        far: Option<Pair<u8>>,
    }

    #[derive(VaultConfig)]
    #[vault(crate = "crate")]
    struct Pair<T> {
        left: T,
        right: u64,
    }

    /// The spans of a reading in which the leaves are what `find` says by their paths.
    fn spans<T: VaultConfig>(find: impl Fn(&str) -> Found) -> Vec<(String, Span)> {
        let leaves = plan::leaves(&T::schema(), None, &Variables::default());
        let slots: Vec<_> = leaves
            .into_iter()
            .map(|leaf| Slot { found: find(&leaf.path), looked: Vec::new(), leaf })
            .collect();
        let mut reader = Reader::new(&slots, Purpose::Build);
        let _ = T::__read(&mut reader);
        let spans = reader.into_read().spans;
        assert!(spans.iter().map(|(leaf, _)| *leaf).eq(0..slots.len()));
        spans.into_iter().map(|(leaf, span)| (slots[leaf].leaf.path.clone(), span)).collect()
    }

    fn one(_: &str) -> Found {
        Found::Value(Value::text("1"), Provenance::Default)
    }

    fn failed(_: &str) -> Found {
        Found::Failed(Arc::new(Cause::new(ErrorKind::Sealed, "", "")))
    }

    fn at<T>(start: usize) -> Span {
        Span { start, end: start + size_of::<T>() }
    }

    fn expected(base: usize) -> Vec<(String, Span)> {
        let inner = base + offset_of!(Outer, inner);
        let pair = inner + offset_of!(Inner, pair);
        let far = at::<Option<Pair<u8>>>(inner + offset_of!(Inner, far));
        let mut spans = vec![
            ("first", at::<u8>(base + offset_of!(Outer, first))),
            ("inner.flag", at::<bool>(inner + offset_of!(Inner, flag))),
            ("inner.pair.left", at::<u16>(pair + offset_of!(Pair<u16>, left))),
            ("inner.pair.right", at::<u64>(pair + offset_of!(Pair<u16>, right))),
            ("inner.far.left", far),
            ("inner.far.right", far),
            ("type", at::<Option<SecretString>>(base + offset_of!(Outer, r#type))),
        ];
        let whole = [
            ("optional", at::<Option<Inner>>(base + offset_of!(Outer, optional))),
            ("boxed", at::<Box<Inner>>(base + offset_of!(Outer, boxed))),
            ("both", at::<Option<Box<Inner>>>(base + offset_of!(Outer, both))),
        ];
        let mut spans: Vec<_> =
            spans.drain(..).map(|(path, span)| (path.to_owned(), span)).collect();
        for (field, span) in whole {
            for leaf in ["flag", "pair.left", "pair.right", "far.left", "far.right"] {
                spans.push((format!("{field}.{leaf}"), span));
            }
        }
        spans.push(("last".to_owned(), at::<u64>(base + offset_of!(Outer, last))));
        spans
    }

    #[test]
    fn every_leaf_has_the_bytes_it_lies_in() {
        assert_eq!(spans::<Outer>(one), expected(0));
    }

    #[test]
    fn what_is_absent_or_failed_has_its_bytes_too() {
        assert_eq!(spans::<Outer>(|_| Found::Absent(None)), expected(0));
        assert_eq!(spans::<Outer>(failed), expected(0));
        assert_eq!(spans::<Outer>(|_| Found::Skipped), expected(0));
        // The absent optional struct inside of a present one.
        assert_eq!(
            spans::<Outer>(|path| match path {
                path if path.contains("far") => Found::Absent(None),
                path => one(path),
            }),
            expected(0)
        );
    }

    #[test]
    fn a_generic_struct_gives_its_fields_where_they_lie() {
        #[derive(VaultConfig)]
        #[vault(crate = "crate")]
        struct Around<T, const SIZE: usize> {
            small: u8,
            #[vault(nested)]
            nested: T,
            #[serde(deserialize_with = "zeroes")]
            array: [u8; SIZE],
        }

        fn zeroes<'de, D, const SIZE: usize>(_: D) -> Result<[u8; SIZE], D::Error>
        where
            D: serde::Deserializer<'de>,
        {
            Ok([0; SIZE])
        }

        let spans = spans::<Around<Outer, 3>>(one);
        let nested = offset_of!(Around<Outer, 3>, nested);
        let inside: Vec<_> = expected(nested)
            .into_iter()
            .map(|(path, span)| (format!("nested.{path}"), span))
            .collect();
        assert_eq!(spans[0].1, at::<u8>(offset_of!(Around<Outer, 3>, small)));
        assert_eq!(spans[1..spans.len() - 1], inside);
        assert_eq!(spans[spans.len() - 1].1, at::<[u8; 3]>(offset_of!(Around<Outer, 3>, array)));
    }

    #[test]
    fn an_optional_or_boxed_configuration_is_one_span() {
        for spans in [spans::<Option<Outer>>(one), spans::<Option<Outer>>(|_| Found::Absent(None))]
        {
            assert!(spans.iter().all(|(_, span)| *span == at::<Option<Outer>>(0)));
        }
        assert!(spans::<Box<Outer>>(one).iter().all(|(_, span)| *span == at::<Box<Outer>>(0)));
    }

    #[test]
    fn a_view_and_its_span_are_the_same_bytes() {
        let mut slots = Vec::new();
        for leaf in plan::leaves(&Outer::schema(), None, &Variables::default()) {
            slots.push(Slot { found: one(&leaf.path), looked: Vec::new(), leaf });
        }
        let mut reader = Reader::new(&slots, Purpose::Build);
        let config = Outer::__read(&mut reader).unwrap();
        let spans = reader.into_read().spans;
        let start = |index: usize| spans[index].1.start;
        let of = |at: *const u8| at.addr() - std::ptr::from_ref(&config).addr();
        assert_eq!(start(0), of(&raw const config.first));
        assert_eq!(start(2), of((&raw const config.inner.pair.left).cast()));
        assert_eq!(start(3), of((&raw const config.inner.pair.right).cast()));
        assert_eq!(start(6), of((&raw const config.r#type).cast()));
        assert_eq!(start(7), of((&raw const config.optional).cast()));
        assert_eq!(start(12), of((&raw const config.boxed).cast()));
        assert_eq!(start(22), of((&raw const config.last).cast()));
    }
}

//! `Option<T>` and `Box<T>` of a configuration struct.

use std::sync::Arc;

use super::Reader;
use crate::VaultConfig;
use crate::error::Cause;
use crate::load::Purpose;
use crate::load::slot::{Resolution, Slot};
use crate::report::Provenance;
use crate::schema::plan::LeafId;
use crate::schema::{Nesting, Schema};

/// What is known of an optional struct before it is read.
enum OptionalState {
    /// This leaf has a value, the first that does.
    Present(LeafId),
    Failed,
    Absent,
}

/// The optional struct that the reader is in.
pub(super) struct PresentOption {
    /// How many structs are around it.
    depth: usize,
    /// The leaf that has a value, so that the rest of the struct is needed.
    because_of: LeafId,
}

/// A struct of which nothing is set anywhere is `None`. As soon as one of its fields is set, all of them have to be.
#[diagnostic::do_not_recommend]
impl<T: VaultConfig> VaultConfig for Option<T> {
    fn schema() -> Schema {
        Schema::__of::<Self>()
    }

    fn __schema(nesting: &Nesting<'_>) -> Schema {
        T::__schema(nesting).all_optional()
    }

    fn __read(reader: &mut Reader<'_>) -> Option<Self> {
        let count = T::schema().leaf_count();
        match reader.optional_state(count) {
            OptionalState::Present(id) => reader.present::<Self, _>(id, T::__read).map(Some),
            OptionalState::Failed => {
                reader.fail::<Self>(count);
                None
            }
            OptionalState::Absent => {
                reader.leave_out::<Self>(count);
                Some(None)
            }
        }
    }
}

#[diagnostic::do_not_recommend]
impl<T: VaultConfig> VaultConfig for Box<T> {
    fn schema() -> Schema {
        Schema::__of::<Self>()
    }

    fn __schema(nesting: &Nesting<'_>) -> Schema {
        T::__schema(nesting)
    }

    fn __read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.behind::<Self, _>(T::__read).map(Box::new)
    }
}

impl<'a> Reader<'a> {
    /// What is known of an optional struct that has the next `count` leaves.
    fn optional_state(&self, count: usize) -> OptionalState {
        if let Some(slot) = self.next_slots(count).find(|slot| self.counts_as_present(slot)) {
            return OptionalState::Present(slot.leaf.id);
        }
        match self.next_slots(count).any(|slot| slot.failure().is_some()) {
            true => OptionalState::Failed,
            false => OptionalState::Absent,
        }
    }

    fn counts_as_present(&self, slot: &Slot) -> bool {
        match slot.resolution {
            Resolution::Value(..) => true,
            Resolution::Wanted | Resolution::NotIssued | Resolution::Reported => {
                self.purpose == Purpose::Check
            }
            Resolution::NotOurs | Resolution::Failed(_) | Resolution::Absent(_) => false,
        }
    }

    /// Reads an optional struct that is present because of this leaf, and lies somewhere in an `O`.
    fn present<O, B>(&mut self, because_of: LeafId, read: impl FnOnce(&mut Self) -> B) -> B {
        self.present_options.push(PresentOption { depth: self.depth, because_of });
        let built = self.behind::<O, B>(read);
        self.present_options.pop();
        built
    }

    /// Reports the failures of an optional struct that nothing shows to be present, and not its missing fields.
    fn fail<O>(&mut self, count: usize) {
        for slot in self.next_slots(count) {
            if let Resolution::Failed(cause) = &slot.resolution {
                self.output.problems.push(slot.problem(Arc::clone(cause)));
            }
        }
        self.skip::<O>(count);
    }

    fn leave_out<O>(&mut self, count: usize) {
        for slot in self.next_slots(count) {
            self.output.fields.push((slot.leaf.path.clone(), Provenance::Absent));
        }
        self.skip::<O>(count);
    }

    /// Moves on past an optional struct. Its leaves lie in the whole `O`: a view of it sees them change.
    fn skip<O>(&mut self, count: usize) {
        let span = self.base.span::<O>(0);
        let spans = self.next_slots(count).map(|slot| (slot.leaf.id, span));
        self.output.spans.extend(spans);
        self.position += count;
    }

    fn next_slots(&self, count: usize) -> impl Iterator<Item = &'a Slot> + use<'a> {
        self.slots.iter().skip(self.position).take(count)
    }

    /// Adds to a missing field of an optional struct which other field makes it needed: the user who set that one may
    /// not know.
    pub(super) fn explain_need(&self, cause: Arc<Cause>) -> Arc<Cause> {
        let Some(PresentOption { depth, because_of }) = self.present_options.last() else {
            return cause;
        };
        let Some(slot) = self.slots.get(because_of.index()) else { return cause };
        let path: Vec<_> = slot.leaf.path.split('.').take(*depth).collect();
        let optional = match path.is_empty() {
            true => "the configuration".to_owned(),
            false => path.join("."),
        };
        let origin = match &slot.resolution {
            Resolution::Value(_, provenance) => provenance.to_string(),
            _ => format!("vault {}", slot.leaf.source().unwrap_or_default()),
        };
        let why = format!(
            "{optional} is optional, but is required because {} has a value ({origin}): remove that, or set the rest of it",
            slot.leaf.path
        );
        Arc::new(Cause::clone(&cause).hint(&why))
    }
}

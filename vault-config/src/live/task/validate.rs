//! Builds a configuration from new values. It is published if it is valid; if not, the last valid one stays, and the
//! new values are kept aside until other values make them valid.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::RefreshTask;
use crate::VaultConfig;
use crate::error::{Cause, ErrorKind, Problem};
use crate::live::events::Event;
use crate::load::read::{ReadOutput, Reader};
use crate::load::{Purpose, Resolution};
use crate::schema::plan::LeafId;
use crate::time::clock::Reading;

/// The new values of one source, by leaf.
pub(super) type StagedValues = Vec<(LeafId, Resolution)>;

impl<T: VaultConfig + Send + Sync + 'static> RefreshTask<T> {
    /// Publishes the new values of a source, and returns the paths of the fields that changed.
    ///
    /// Values that belong together may change in two secrets, one after the other. So the new values are tried first
    /// together with all that were rejected before, and only then each source by itself.
    pub(super) fn publish_or_reject(
        &mut self,
        index: usize,
        staged: StagedValues,
        now: Reading,
    ) -> Vec<String> {
        let before = self.rejected_values.get(&index);
        let is_known = before.is_some_and(|before| have_same_values(before, &staged));
        self.rejected_values.insert(index, staged);
        let all: Vec<usize> = self.rejected_values.keys().copied().collect();
        let mut problems = match self.try_publish(&all) {
            Ok(changed) => {
                all.into_iter().for_each(|index| self.accept_published(index, now));
                return changed;
            }
            Err(problems) => problems,
        };
        let mut changed = Vec::new();
        let others = all.iter().copied().filter(|other| *other != index);
        for one in std::iter::once(index).chain(others) {
            match self.try_publish(&[one]) {
                Ok(more) => {
                    changed.extend(more);
                    self.accept_published(one, now);
                }
                Err(own_problems) if one == index => problems = own_problems,
                Err(_) => {}
            }
        }
        if self.rejected_values.contains_key(&index) {
            self.reject(index, problems, is_known, now);
        }
        changed
    }

    fn accept_published(&mut self, index: usize, now: Reading) {
        self.clear_rejection(index);
        self.start_overlap(index, now);
    }

    /// Logs, counts and publishes a rejection once, until the values or the reason change.
    fn reject(&mut self, index: usize, problems: Vec<Problem>, is_known: bool, now: Reading) {
        let Some(source) = self.sources.get_mut(index) else { return };
        let what: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let what = what.join("\n");
        let cause = Cause::of_problems(
            ErrorKind::Invalid,
            "the new values do not form a valid configuration",
            &problems,
            "the last valid configuration stays in use until this is corrected",
        );
        let before = source.rejection.as_ref().map(|rejection| &rejection.failure.cause);
        let is_new = !is_known || before.is_none_or(|before| before.message != cause.message);
        source.record_rejection(cause, now);
        if !is_new {
            return;
        }
        let name = source.request.name();
        tracing::warn!(source = name, "not published: {what}");
        self.counters.rejected += 1;
        self.shared.publish_event(Event::Rejected { source: name, problems });
    }

    /// Whether an `Option` or a default covers each removed key, as it would after a restart.
    pub(super) fn is_valid_without_removed_keys(&mut self, staged: &StagedValues) -> bool {
        let mut trial = vec![(usize::MAX, staged.clone())];
        self.swap_values(&mut trial);
        let built = self.build();
        self.swap_values(&mut trial);
        built.map_or_else(|problems| !problems.iter().any(|it| it.kind().is_absence()), |_| true)
    }

    /// Builds the configuration with the rejected values of these sources, and publishes it if it is valid. If not,
    /// the values stay rejected.
    fn try_publish(&mut self, indices: &[usize]) -> Result<Vec<String>, Vec<Problem>> {
        let mut staged: Vec<(usize, StagedValues)> = indices
            .iter()
            .filter_map(|index| Some((*index, self.rejected_values.remove(index)?)))
            .collect();
        self.swap_values(&mut staged);
        match self.build() {
            // After the swap, `staged` has the values from before.
            Ok(config) => Ok(self.publish(config, &staged)),
            Err(problems) => {
                self.swap_values(&mut staged);
                self.rejected_values.extend(staged);
                Err(problems)
            }
        }
    }

    fn swap_values(&mut self, staged: &mut [(usize, StagedValues)]) {
        for (leaf, found) in staged.iter_mut().flat_map(|(_, staged)| staged) {
            if let Some(slot) = self.slots.get_mut(*leaf) {
                std::mem::swap(&mut slot.resolution, found);
            }
        }
    }

    /// A validator or a type of the user may panic: then the configuration counts as invalid, and the task goes on.
    fn build(&self) -> Result<T, Vec<Problem>> {
        let read = || {
            let mut reader = Reader::new(&self.slots, Purpose::Build);
            let built = T::__read(&mut reader);
            (built, reader.into_output())
        };
        let panicked = || {
            let what = "a validator or a type of the configuration panicked while it was read";
            Cause::new(
                ErrorKind::Invalid,
                what,
                "correct the code that panics; until then nothing is published",
            )
        };
        match catch_unwind(AssertUnwindSafe(read)) {
            Ok((Some(config), ReadOutput { problems, .. })) if problems.is_empty() => Ok(config),
            Ok((_, ReadOutput { problems, .. })) => Err(problems),
            Err(_) => Err(vec![Problem::general(panicked())]),
        }
    }

    /// Publishes the configuration if a value differs from the one `before`. Returns the paths of the fields that
    /// changed.
    fn publish(&mut self, config: T, before: &[(usize, StagedValues)]) -> Vec<String> {
        let leaves = before.iter().flat_map(|(_, staged)| staged);
        let changed: Vec<LeafId> = leaves
            .filter(|(leaf, before)| {
                self.slots.get(*leaf).is_some_and(|slot| !slot.resolution.same_value(before))
            })
            .map(|(leaf, _)| *leaf)
            .collect();
        if changed.is_empty() {
            return Vec::new();
        }
        self.edition += 1;
        self.counters.published += 1;
        for leaf in &changed {
            if let Some(version) = self.field_versions.get_mut(leaf.index()) {
                version.changed_in = self.edition;
            }
        }
        self.shared.published.publish(config, self.edition, self.field_versions.clone());
        let slots = changed.iter().filter_map(|leaf| self.slots.get(*leaf));
        slots.map(|slot| slot.leaf.path.clone()).collect()
    }
}

fn have_same_values(one: &StagedValues, other: &StagedValues) -> bool {
    let is_same =
        |((leaf, found), (other_leaf, other)): (&(LeafId, Resolution), &(LeafId, Resolution))| {
            leaf == other_leaf && found.same_value(other)
        };
    one.len() == other.len() && one.iter().zip(other).all(is_same)
}

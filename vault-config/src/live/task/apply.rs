//! What was read, and becomes the configuration if it is valid.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::release::{Replacement, RetiredLease};
use super::{Done, Task};
use crate::VaultConfig;
use crate::engine::Answer;
use crate::error::{Cause, ErrorKind, Problem};
use crate::live::events::Event;
use crate::live::watched::{Holding, LeaseState};
use crate::load::read::{Found, Purpose, Read, Reader};
use crate::load::resolve;
use crate::time::clock::Reading;
use crate::vault::{ReservedToken, Session, catch_panic};

/// Found by leaf.
pub(super) type Staged = Vec<(usize, Found)>;

impl<T: VaultConfig + Send + Sync + 'static> Task<T> {
    pub(super) fn take(&mut self, index: usize, answer: Answer, now: Reading) {
        let Some(source) = self.sources.get_mut(index) else { return };
        let staged: Staged = source
            .fields
            .iter()
            .map(|(leaf, engine)| (*leaf, resolve::picked(engine.as_ref(), &answer)))
            .collect();
        if let Some(cause) = self.lost_part(&staged) {
            return self.keep_last(index, answer, cause, now);
        }
        let Some(source) = self.sources.get_mut(index) else { return };
        let before = source.settle(answer.into_facts(), now, false);
        let is_credential = !matches!(source.holding, Holding::Stored { .. });
        let name = source.request.name();
        let was_refused = self.refused.contains_key(&index);
        let changed = self.propose(index, staged, now);
        match self.late_rotation(index) {
            Some(cause) => self.fails(index, cause, now),
            None => self.recovered(index),
        }
        if is_credential {
            self.retire(index, before, was_refused, now);
        }
        match changed.is_empty() {
            true => {}
            false if is_credential => {
                self.counters.rotations += 1;
                self.shared.report(Event::Rotated { source: name, fields: changed });
            }
            false => self.shared.report(Event::Changed { fields: changed }),
        }
    }

    /// What was read or issued cannot be used: the last good value stays.
    fn keep_last(&mut self, index: usize, answer: Answer, cause: Cause, now: Reading) {
        if let (Some(source), Some(lease)) = (self.sources.get_mut(index), answer.lease) {
            source.budget.unanswered(now);
            let source = source.request.name();
            self.end_in_background(lease.id, source);
        }
        self.counters.failures += 1;
        self.with(index, |source| source.failed(now));
        self.fails(index, cause, now);
    }

    /// A static role whose rotation the server has announced, and does not make.
    fn late_rotation(&self, index: usize) -> Option<Cause> {
        let late = self.sources.get(index)?.rotation_is_late_by()?.as_secs();
        Some(Cause::new(
            ErrorKind::Server,
            format!(
                "the rotation of the password is late by {late} s; until the server makes it, the password \
                 that was read last is good"
            ),
            "see in the server's own log why it cannot rotate it: the database may be away, or its \
             connection's user may not be allowed to",
        ))
    }

    /// There is another credential. The one `before` works until its lease ends; the password of a static
    /// role, which has none, does not work any more.
    fn retire(
        &mut self,
        index: usize,
        before: Option<LeaseState>,
        was_refused: bool,
        now: Reading,
    ) {
        let is_refused = self.refused.contains_key(&index);
        let Some(source) = self.sources.get_mut(index) else { return };
        // Only what is published has readers.
        if !was_refused {
            let remaining =
                before.as_ref().map_or(Some(Duration::ZERO), |lease| lease.remaining(now));
            source.keep_published_until(remaining, now);
        }
        let source = source.request.name();
        let Some(lease) = before else { return };
        if lease.deserves_grace(now) && !was_refused {
            self.renew_once_more(&lease);
        }
        let replacement = match (was_refused, is_refused) {
            (true, _) => Replacement::Unpublished,
            (false, true) => Replacement::Refused,
            (false, false) => Replacement::Published { edition: self.edition },
        };
        self.retired.push(RetiredLease { lease, source, index, at: now, replacement });
    }

    fn renew_once_more(&mut self, lease: &LeaseState) {
        let held = self.vault.active_token();
        let (Some(id), Some(token)) =
            (lease.id.clone(), held.and_then(|held| ReservedToken::reserve(held, 1)))
        else {
            return;
        };
        let (vault, full) = (self.vault.clone(), lease.lifetime.full_ttl());
        self.running.spawn(async move {
            let session = Session::with_reserved_token(&vault, &token, vault.timeout());
            let _ = catch_panic(session.renew_lease(&id, full)).await;
            Done::Released
        });
    }

    /// A part that cannot be read, or a key that is gone and that the configuration cannot do without:
    /// then none of the secret is taken.
    fn lost_part(&mut self, staged: &Staged) -> Option<Cause> {
        let failed = staged.iter().find_map(|(_, found)| match found {
            Found::Failed(cause) => Some(cause.as_ref().clone()),
            _ => None,
        });
        if failed.is_some() {
            return failed;
        }
        let lost = staged.iter().find_map(|(leaf, found)| {
            let had = matches!(self.slots.get(*leaf)?.found, Found::Value(..));
            match found {
                Found::Absent(Some(cause)) if had => Some(cause.as_ref().clone()),
                _ => None,
            }
        })?;
        (!self.can_do_without(staged)).then_some(lost)
    }

    /// Whether an `Option` or a default covers each key that is gone, as after a restart.
    fn can_do_without(&mut self, staged: &Staged) -> bool {
        let mut trial = vec![(usize::MAX, staged.clone())];
        self.exchange(&mut trial);
        let built = self.build();
        self.exchange(&mut trial);
        built.map_or_else(|problems| !problems.iter().any(|it| it.kind().is_absence()), |_| true)
    }

    /// Publishes what was read, with all that was refused before if that makes it valid, else
    /// without. The paths of the fields that changed.
    fn propose(&mut self, index: usize, staged: Staged, now: Reading) -> Vec<String> {
        let before = self.refused.get(&index);
        let is_known = before.is_some_and(|before| same_values(before, &staged));
        self.refused.insert(index, staged);
        let all: Vec<usize> = self.refused.keys().copied().collect();
        let mut problems = match self.try_with(&all) {
            Ok(changed) => {
                for index in all {
                    self.accepted(index);
                    self.replacement_is_published(index, now);
                }
                return changed;
            }
            Err(problems) => problems,
        };
        let mut changed = Vec::new();
        let others = all.iter().copied().filter(|other| *other != index);
        for one in std::iter::once(index).chain(others.clone()) {
            match self.try_with(&[one]) {
                Ok(more) => {
                    changed.extend(more);
                    self.accepted(one);
                    self.replacement_is_published(one, now);
                }
                Err(why) if one == index => problems = why,
                Err(_) => {}
            }
        }
        if self.refused.contains_key(&index) {
            self.reject(index, problems, is_known, now);
        }
        changed
    }

    /// Logged, counted and told once, until what was read changes or is refused for something else.
    fn reject(&mut self, index: usize, problems: Vec<Problem>, is_known: bool, now: Reading) {
        let Some(source) = self.sources.get_mut(index) else { return };
        let what: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let what = what.join("\n");
        let cause = Cause::of_problems(
            ErrorKind::Invalid,
            "what was read does not make a valid configuration",
            &problems,
            "the last valid configuration stays until this is mended",
        );
        let before = source.rejected.as_ref().map(|rejected| &rejected.failure.cause);
        let is_news = !is_known || before.is_none_or(|before| before.message != cause.message);
        source.reject(cause, now);
        if !is_news {
            return;
        }
        let name = source.request.name();
        tracing::warn!(source = name, "not published: {what}");
        self.counters.rejected += 1;
        self.shared.report(Event::Rejected { source: name, problems });
    }

    /// Builds the configuration with these staged values in place, and publishes it. They stay
    /// staged when it cannot be built.
    fn try_with(&mut self, indices: &[usize]) -> Result<Vec<String>, Vec<Problem>> {
        let mut staged: Vec<(usize, Staged)> = indices
            .iter()
            .filter_map(|index| Some((*index, self.refused.remove(index)?)))
            .collect();
        self.exchange(&mut staged);
        match self.build() {
            Ok(config) => Ok(self.publish(config, &staged)),
            Err(problems) => {
                self.exchange(&mut staged);
                self.refused.extend(staged);
                Err(problems)
            }
        }
    }

    fn exchange(&mut self, staged: &mut [(usize, Staged)]) {
        for (leaf, found) in staged.iter_mut().flat_map(|(_, staged)| staged) {
            if let Some(slot) = self.slots.get_mut(*leaf) {
                std::mem::swap(&mut slot.found, found);
            }
        }
    }

    /// A validator of the user's may panic: what it was given is then not valid.
    fn build(&self) -> Result<T, Vec<Problem>> {
        let read = || {
            let mut reader = Reader::new(&self.slots, Purpose::Build);
            let built = T::__read(&mut reader);
            (built, reader.into_read())
        };
        let panicked = || {
            let what = "a validator or a type of the configuration panicked while it was read";
            Cause::new(ErrorKind::Invalid, what, "see what it panics at; nothing is published")
        };
        match catch_unwind(AssertUnwindSafe(read)) {
            Ok((Some(config), Read { problems, .. })) if problems.is_empty() => Ok(config),
            Ok((_, Read { problems, .. })) => Err(problems),
            Err(_) => Err(vec![Problem::general(panicked())]),
        }
    }

    fn publish(&mut self, config: T, before: &[(usize, Staged)]) -> Vec<String> {
        let leaves = before.iter().flat_map(|(_, staged)| staged);
        let changed: Vec<usize> = leaves
            .filter(|(leaf, before)| {
                self.slots.get(*leaf).is_some_and(|slot| !slot.found.same_value(before))
            })
            .map(|(leaf, _)| *leaf)
            .collect();
        if changed.is_empty() {
            return Vec::new();
        }
        self.edition += 1;
        self.counters.published += 1;
        for leaf in &changed {
            if let Some(part) = self.parts.get_mut(*leaf) {
                part.changed = self.edition;
            }
        }
        self.shared.published.publish(config, self.edition, self.parts.clone());
        let slots = changed.iter().filter_map(|leaf| self.slots.get(*leaf));
        slots.map(|slot| slot.leaf.path.clone()).collect()
    }
}

fn same_values(one: &Staged, other: &Staged) -> bool {
    let same = |((leaf, found), (other_leaf, other)): (&(usize, Found), &(usize, Found))| {
        leaf == other_leaf && found.same_value(other)
    };
    one.len() == other.len() && one.iter().zip(other).all(same)
}

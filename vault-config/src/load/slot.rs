//! The leaves of one configuration, each with what its sources had for it.

use std::sync::Arc;

use crate::error::{Cause, Problem};
use crate::report::Provenance;
use crate::schema::plan::{Leaf, LeafId};
use crate::value::Value;

/// A leaf and what its sources had for it.
pub(crate) struct Slot {
    pub(crate) leaf: Leaf,
    /// The sources that had no value, for the error.
    pub(crate) tried: Vec<String>,
    pub(crate) resolution: Resolution,
}

/// What the sources had for one leaf.
#[derive(Clone)]
pub(crate) enum Resolution {
    Value(Value, Provenance),
    /// No source has a value. For a leaf that Vault was asked for, with the server's answer.
    Absent(Option<Arc<Cause>>),
    Failed(Arc<Cause>),
    /// Vault is still to be asked.
    Wanted,
    /// A credential that the token may request, and that a check does not.
    NotIssued,
    /// A plain field of a provider: the user's own figment has it.
    NotOurs,
    /// Its problem is among the general ones already, so that no source is asked.
    Reported,
}

impl Resolution {
    /// Whether readers would see no difference.
    pub(crate) fn same_value(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Value(one, _), Self::Value(another, _)) => one == another,
            (Self::Value(..), _) | (_, Self::Value(..)) => false,
            _ => true,
        }
    }

    /// What a failed request means for a leaf: some answers say that there is no value.
    pub(crate) fn without_value(cause: Arc<Cause>) -> Self {
        if cause.is_absence() { Self::Absent(Some(cause)) } else { Self::Failed(cause) }
    }
}

impl Slot {
    pub(crate) fn failure(&self) -> Option<&Cause> {
        match &self.resolution {
            Resolution::Failed(cause) => Some(cause),
            _ => None,
        }
    }

    pub(crate) fn problem(&self, cause: Arc<Cause>) -> Problem {
        self.leaf.problem(self.tried.clone(), cause)
    }

    /// Whether it failed only because the server is not up yet.
    pub(crate) fn waits_for_the_server(&self) -> bool {
        self.failure().is_some_and(|cause| cause.kind.waits_for_server())
    }

    /// Whether it is a credential that was not requested.
    pub(crate) fn is_not_requested(&self) -> bool {
        matches!(self.resolution, Resolution::Wanted | Resolution::NotIssued)
    }

    /// Whether a `.env` file serves a field marked for Vault.
    pub(crate) fn is_served_by_dotenv(&self) -> bool {
        let is_served = matches!(&self.resolution, Resolution::Value(_, Provenance::Dotenv { .. }));
        is_served && self.leaf.is_vault()
    }
}

/// One slot for each leaf, in the order of the plan.
pub(crate) struct Slots(Vec<Slot>);

impl Slots {
    pub(crate) fn get(&self, id: LeafId) -> Option<&Slot> {
        self.0.get(id.index())
    }

    pub(crate) fn get_mut(&mut self, id: LeafId) -> Option<&mut Slot> {
        self.0.get_mut(id.index())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn as_slice(&self) -> &[Slot] {
        &self.0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter()
    }

    pub(crate) fn settle(&mut self, id: LeafId, resolution: Resolution) {
        if let Some(slot) = self.get_mut(id) {
            slot.resolution = resolution;
        }
    }

    pub(crate) fn fail(&mut self, ids: impl IntoIterator<Item = LeafId>, cause: &Arc<Cause>) {
        for id in ids {
            self.settle(id, Resolution::Failed(Arc::clone(cause)));
        }
    }
}

impl FromIterator<Slot> for Slots {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        Self(slots.into_iter().collect())
    }
}

//! Looks every leaf up in the plain sources. What only Vault has stays pending.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::Cause;
use crate::load::fetch::PendingLeaf;
use crate::load::filter::{LookupOutcome, SourceFilter};
use crate::load::slot::{Resolution, Slot, Slots};
use crate::schema::plan::{Leaf, LeafId};
use crate::source::Source;

/// The plain sources in the order in which they are asked: the first that has a value serves the field.
pub(crate) type SourceList<'a> = [&'a dyn Source];

/// Leaves in `reported` have a problem already, and are not looked up.
pub(crate) fn look_up(
    leaves: Vec<Leaf>,
    reported: &BTreeSet<LeafId>,
    sources: &SourceList<'_>,
    filter: SourceFilter,
) -> (Slots, Vec<PendingLeaf>) {
    let mut pending = Vec::new();
    let slots = leaves
        .into_iter()
        .map(|leaf| {
            let mut tried = Vec::new();
            let outcome = match reported.contains(&leaf.id) {
                true => Ok(Resolution::Reported.into()),
                false => find(&leaf, sources, filter, &mut tried),
            };
            let LookupOutcome { resolution, request } =
                outcome.unwrap_or_else(|cause| Resolution::Failed(Arc::new(cause)).into());
            let request = request.map(|vault_source| PendingLeaf { id: leaf.id, vault_source });
            pending.extend(request);
            Slot { leaf, tried, resolution }
        })
        .collect();
    (slots, pending)
}

fn find(
    leaf: &Leaf,
    sources: &SourceList<'_>,
    filter: SourceFilter,
    tried: &mut Vec<String>,
) -> Result<LookupOutcome, Cause> {
    if !filter.reads(leaf) {
        return Ok(Resolution::NotOurs.into());
    }
    for source in sources.iter().filter(|source| filter.admits(source.role(), leaf)) {
        if let Some(hit) = source.find(&leaf.names)? {
            return filter.accept(leaf, hit);
        }
        tried.extend(source.tried(&leaf.names));
    }
    filter.without_value(leaf)
}

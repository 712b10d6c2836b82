//! Applies a read value or an issued credential: it is held from now on, and published if it makes a valid
//! configuration.

use std::time::Duration;

use super::release::{Replacement, RetiredLease};
use super::validate::StagedValues;
use super::{FinishedRequest, RefreshTask};
use crate::VaultConfig;
use crate::engine::EngineResponse;
use crate::error::{Cause, ErrorKind};
use crate::live::events::Event;
use crate::live::watched::{Holding, LeaseState};
use crate::load::{Resolution, picked};
use crate::time::clock::Reading;
use crate::vault::{ReservedToken, Session, catch_panic};

impl<T: VaultConfig + Send + Sync + 'static> RefreshTask<T> {
    pub(super) fn apply_answer(&mut self, index: usize, answer: EngineResponse, now: Reading) {
        let Some(source) = self.sources.get_mut(index) else { return };
        let staged: StagedValues = source
            .fields
            .iter()
            .map(|field| (field.id, picked(field.vault_source.as_ref(), &answer)))
            .collect();
        if let Some(cause) = self.unusable_part(&staged) {
            return self.discard_answer(index, answer, cause, now);
        }
        let Some(source) = self.sources.get_mut(index) else { return };
        let before = source.hold_response(answer.into_meta(), now, false);
        let is_credential = !matches!(source.holding, Holding::Stored(_));
        let name = source.request.name();
        let was_rejected = self.rejected_values.contains_key(&index);
        let changed = self.publish_or_reject(index, staged, now);
        match self.late_rotation(index) {
            Some(cause) => self.set_failing(index, cause, now),
            None => self.clear_failure(index),
        }
        if is_credential {
            self.retire_credential(index, before, was_rejected, now);
        }
        match changed.is_empty() {
            true => {}
            false if is_credential => {
                self.counters.rotations += 1;
                self.shared.publish_event(Event::Rotated { source: name, fields: changed });
            }
            false => self.shared.publish_event(Event::Changed { fields: changed }),
        }
    }

    /// A part that cannot be read, or a key that was removed and that the configuration needs. Then nothing of the
    /// secret is applied, since its parts belong together.
    fn unusable_part(&mut self, staged: &StagedValues) -> Option<Cause> {
        let failed = staged.iter().find_map(|(_, found)| match found {
            Resolution::Failed(cause) => Some(cause.as_ref().clone()),
            _ => None,
        });
        if failed.is_some() {
            return failed;
        }
        let removed = staged.iter().find_map(|(leaf, found)| {
            let had_value = matches!(self.slots.get(*leaf)?.resolution, Resolution::Value(..));
            match found {
                Resolution::Absent(Some(cause)) if had_value => Some(cause.as_ref().clone()),
                _ => None,
            }
        })?;
        (!self.is_valid_without_removed_keys(staged)).then_some(removed)
    }

    /// The last value stays. A credential that cannot be used is ended, and counts like one whose response was lost,
    /// so that a role with unusable credentials does not fill the server with them.
    fn discard_answer(&mut self, index: usize, answer: EngineResponse, cause: Cause, now: Reading) {
        if let (Some(source), Some(lease)) = (self.sources.get_mut(index), answer.lease) {
            source.issue_budget.record_lost_response(now);
            let source = source.request.name();
            self.end_lease_in_background(lease.id, source);
        }
        self.counters.failures += 1;
        self.update_source(index, |source| source.record_failure(now));
        self.set_failing(index, cause, now);
    }

    /// The failure of a static role whose rotation the server has announced and does not complete.
    fn late_rotation(&self, index: usize) -> Option<Cause> {
        let late = self.sources.get(index)?.rotation_is_late_by()?.as_secs();
        Some(Cause::new(
            ErrorKind::Server,
            format!(
                "the rotation of the password is overdue by {late} s; the last password stays valid until the server rotates it"
            ),
            "look in the server's log for the reason: the database may be unreachable, or the user of its connection may lack the permission",
        ))
    }

    /// A credential was replaced. The lease `before` stays valid until its expiry. The old password of a static role
    /// has no lease, and is invalid already.
    fn retire_credential(
        &mut self,
        index: usize,
        before: Option<LeaseState>,
        was_rejected: bool,
        now: Reading,
    ) {
        let is_rejected = self.rejected_values.contains_key(&index);
        let Some(source) = self.sources.get_mut(index) else { return };
        // If `before` was rejected, an even older credential is published, and its expiry is known already.
        if !was_rejected {
            let remaining =
                before.as_ref().map_or(Some(Duration::ZERO), |lease| lease.remaining(now));
            source.keep_published_until(remaining, now);
        }
        let source = source.request.name();
        let Some(lease) = before else { return };
        if lease.deserves_grace(now) && !was_rejected {
            self.renew_for_grace(&lease);
        }
        let replacement = match (was_rejected, is_rejected) {
            (true, _) => Replacement::NeverPublished,
            (false, true) => Replacement::Rejected,
            (false, false) => Replacement::Published { edition: self.edition },
        };
        self.retired.push(RetiredLease { lease, source, index, retired_at: now, replacement });
    }

    /// The result does not matter: without the renewal, users of the old credential have less time to change.
    fn renew_for_grace(&mut self, lease: &LeaseState) {
        let Some(id) = lease.id.clone() else { return };
        let token = self.vault.active_token();
        let Some(token) = token.and_then(|token| ReservedToken::reserve(token, 1)) else { return };
        let (vault, increment) = (self.vault.clone(), lease.lifetime.full_ttl());
        self.running.spawn(async move {
            let session = Session::with_reserved_token(&vault, &token, vault.timeout());
            let _ = catch_panic(session.renew_lease(&id, increment)).await;
            FinishedRequest::Released
        });
    }
}

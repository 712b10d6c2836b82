//! Decides what has to be done for a secret, and when.

use std::time::Duration;

use super::{Holding, WatchedSecret};
use crate::engine::SecretVersion;
use crate::error::Cause;
use crate::time::LifetimeStep;
use crate::time::clock::Reading;
use crate::vault::LeaseId;

/// What one background action does for a secret.
pub(in crate::live) enum DueAction {
    Read {
        /// Read the metadata first, and the secret only if its version is another one than this.
        unless_version: Option<SecretVersion>,
    },
    Issue,
    Renew {
        id: LeaseId,
        increment: Duration,
    },
}

impl DueAction {
    /// The number of requests that it normally sends at most.
    pub(in crate::live) fn max_requests(&self) -> u64 {
        match self {
            Self::Read { unless_version: Some(_) } => 2,
            Self::Read { unless_version: None } | Self::Issue | Self::Renew { .. } => 1,
        }
    }
}

impl WatchedSecret {
    /// The wait until something is due; `None` while an action is under way, or if nothing is planned.
    pub(in crate::live) fn due_in(
        &self,
        now: Reading,
        token_is_being_replaced: bool,
    ) -> Option<Duration> {
        match &self.holding {
            _ if self.is_busy => None,
            Holding::Leased(lease) => {
                lease.next_step(now, token_is_being_replaced).map(|(_, wait)| wait)
            }
            Holding::Rotating(password) => Some(password.next_read.remaining(now)),
            Holding::Stored(stored) => stored.next_read_in(now),
        }
    }

    pub(in crate::live) fn is_due(&self, now: Reading, token_is_being_replaced: bool) -> bool {
        self.due_in(now, token_is_being_replaced).is_some_and(|wait| wait.is_zero())
    }

    /// The action that is due now, if any. `may_read_metadata` is whether a request for the metadata alone is
    /// worth its price.
    ///
    /// # Errors
    /// A replacement is due, but the issue budget is spent, and the held credential does not last until it is
    /// available again.
    pub(in crate::live) fn due_action(
        &mut self,
        now: Reading,
        token_is_being_replaced: bool,
        may_read_metadata: bool,
    ) -> Result<Option<DueAction>, Cause> {
        if self.is_busy {
            return Ok(None);
        }
        if let Holding::Leased(lease) = &mut self.holding {
            lease.plan_replacement_if_orphaned(now);
        }
        if !self.is_due(now, token_is_being_replaced) {
            return Ok(None);
        }
        match &self.holding {
            Holding::Leased(lease) => match lease.next_step(now, token_is_being_replaced) {
                None => Ok(None),
                Some((LifetimeStep::Renew, _)) => {
                    let increment = lease.lifetime.full_ttl();
                    Ok(lease.id.clone().map(|id| DueAction::Renew { id, increment }))
                }
                Some((LifetimeStep::Replace, _)) => self.issue_within_budget(now),
            },
            Holding::Rotating(_) => Ok(Some(DueAction::Read { unless_version: None })),
            Holding::Stored(_) => Ok(Some(self.read_action(may_read_metadata))),
        }
    }

    fn issue_within_budget(&mut self, now: Reading) -> Result<Option<DueAction>, Cause> {
        let Holding::Leased(lease) = &mut self.holding else { return Ok(None) };
        let age = lease.lifetime.age(now);
        let Err(wait) = self.issue_budget.try_spend(now, age, lease.life()) else {
            return Ok(Some(DueAction::Issue));
        };
        lease.lifetime.postpone_replacement(now, wait);
        lease.blocked_cause(now, wait, self.failure.as_ref()).map_or(Ok(None), Err)
    }

    /// The metadata comes first only if the last reads succeeded: after a failure, or on request, the secret itself
    /// shows whether it can be read.
    fn read_action(&self, may_read_metadata: bool) -> DueAction {
        let Holding::Stored(stored) = &self.holding else {
            return DueAction::Read { unless_version: None };
        };
        let reads_metadata = may_read_metadata
            && !self.reads_whole_secret
            && self.metadata_probe.is_worth_it()
            && self.failure.as_ref().is_none_or(|failure| failure.is_held_back);
        DueAction::Read { unless_version: stored.version.clone().filter(|_| reads_metadata) }
    }

    /// A read that leaves nothing at the server if its response is lost, so that it can probe an unreachable server
    /// at any time; `None` for what issues a credential.
    pub(in crate::live) fn safe_probe(&self, may_read_metadata: bool) -> Option<DueAction> {
        match &self.holding {
            _ if self.is_busy => None,
            Holding::Rotating(_) => Some(DueAction::Read { unless_version: None }),
            Holding::Stored(_) if self.interval.is_some() && !self.request.issues_credential() => {
                Some(self.read_action(may_read_metadata))
            }
            _ => None,
        }
    }

    /// Whether its next request repeats one that failed. Retries of all sources share one pace. A lease does not
    /// take part in that: its life sets the pace, and it must not wait for others.
    pub(in crate::live) fn is_retry(&self) -> bool {
        let is_leased = matches!(self.holding, Holding::Leased(_));
        self.failure.is_some() && !self.is_requested && !is_leased
    }
}

//! The limit on requests under way, and a way past it for those that keep credentials alive: a read that hangs must
//! never let a lease expire.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::Poll;

use tokio::sync::{Semaphore, SemaphorePermit};

/// How many requests of each lane but [`Lane::Read`] may exceed an exhausted limit.
const EXTRA: usize = 8;
/// RFC 9113, section 5.1.2, recommends that a server allows a hundred streams on a connection, and a gateway may allow
/// no more. Requests beyond that would wait inside the HTTP client, which knows no lanes.
const STREAMS: usize = 100 - 2 * EXTRA;

/// The purpose of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Lane {
    #[default]
    Read,
    /// It renews or revokes a token or a lease.
    Renew,
    /// It logs in, or issues a credential.
    Issue,
}

#[derive(Debug)]
pub(super) struct Lanes {
    /// Over HTTP/1.1 a connection carries one request at a time.
    connections: Pool,
    streams: Pool,
}

#[derive(Debug)]
struct Pool {
    common: Semaphore,
    renewals: Semaphore,
    issues: Semaphore,
}

impl Lanes {
    pub(super) fn new(max_connections: usize) -> Self {
        Self { connections: Pool::new(max_connections), streams: Pool::new(STREAMS) }
    }

    /// Waits for a permit. The semaphores are never closed, so that there always is one.
    pub(super) async fn enter(&self, lane: Lane, multiplexed: bool) -> Option<SemaphorePermit<'_>> {
        match multiplexed {
            true => self.streams.enter(lane).await,
            false => self.connections.enter(lane).await,
        }
    }
}

impl Pool {
    fn new(common: usize) -> Self {
        Self {
            common: Semaphore::new(common.clamp(1, Semaphore::MAX_PERMITS)),
            renewals: Semaphore::new(EXTRA),
            issues: Semaphore::new(EXTRA),
        }
    }

    /// A common permit if one is free, else the first that becomes free: a common one or one of the lane.
    async fn enter(&self, lane: Lane) -> Option<SemaphorePermit<'_>> {
        let mut common = pin!(self.common.acquire());
        let own = match lane {
            Lane::Read => return common.await.ok(),
            Lane::Renew => &self.renewals,
            Lane::Issue => &self.issues,
        };
        let mut own = pin!(own.acquire());
        let first = poll_fn(|context| match common.as_mut().poll(context) {
            Poll::Pending => own.as_mut().poll(context),
            place => place,
        });
        first.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    /// `None` when it would have to wait.
    fn enter(lanes: &Lanes, lane: Lane, multiplexed: bool) -> Option<SemaphorePermit<'_>> {
        let entering = pin!(lanes.enter(lane, multiplexed));
        match entering.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => place,
            Poll::Pending => None,
        }
    }

    fn enter_all(lanes: &Lanes, lane: Lane, multiplexed: bool) -> Vec<SemaphorePermit<'_>> {
        std::iter::from_fn(|| enter(lanes, lane, multiplexed)).collect()
    }

    #[test]
    fn renewals_and_issues_go_past_reads_that_hang() {
        let lanes = Lanes::new(3);
        for (multiplexed, common) in [(false, 3), (true, STREAMS)] {
            let reads = enter_all(&lanes, Lane::Read, multiplexed);
            assert_eq!(reads.len(), common);
            let renewals = enter_all(&lanes, Lane::Renew, multiplexed);
            let issues = enter_all(&lanes, Lane::Issue, multiplexed);
            assert_eq!((renewals.len(), issues.len()), (EXTRA, EXTRA));
            drop(renewals);
            assert!(enter(&lanes, Lane::Read, multiplexed).is_none());
            assert!(enter(&lanes, Lane::Issue, multiplexed).is_none());
            assert!(enter(&lanes, Lane::Renew, multiplexed).is_some());
        }
    }

    #[test]
    fn renewals_take_common_places_first() {
        let lanes = Lanes::new(3);
        let renewals = enter_all(&lanes, Lane::Renew, false);
        assert_eq!(renewals.len(), 3 + EXTRA);
        assert!(enter(&lanes, Lane::Read, false).is_none());
        assert_eq!(enter_all(&lanes, Lane::Issue, false).len(), EXTRA);
    }

    #[test]
    fn a_lane_that_is_full_waits_for_a_common_place_too() {
        let lanes = Lanes::new(1);
        let read = enter(&lanes, Lane::Read, false);
        let _renewals = enter_all(&lanes, Lane::Renew, false);
        let mut waiting = pin!(lanes.enter(Lane::Renew, false));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        drop(read);
        assert!(matches!(waiting.as_mut().poll(&mut context), Poll::Ready(Some(_))));
    }

    #[test]
    fn no_limit_is_no_place_at_all() {
        for max_connections in [0, 1, usize::MAX] {
            assert!(enter(&Lanes::new(max_connections), Lane::Read, false).is_some());
        }
    }
}

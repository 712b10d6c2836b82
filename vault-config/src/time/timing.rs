use std::sync::Arc;

use super::clock::{Clock, SystemClock};
use super::{Chance, NetworkClock};

/// All that a connection takes its time and its chance from.
#[derive(Debug, Clone)]
pub(crate) struct Timing {
    /// Decides what is due: renewals, rotations, expiry.
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) network: NetworkClock,
    pub(crate) chance: Chance,
}

impl Timing {
    /// What is due is decided by this clock.
    pub(crate) fn by(clock: Arc<dyn Clock>) -> Self {
        Self { clock, network: NetworkClock::default(), chance: Chance::default() }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::by(Arc::new(SystemClock::default()))
    }
}

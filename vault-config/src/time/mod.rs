//! Clocks, and every timing decision that needs nothing but a clock reading: when something is due, and how
//! long to wait. Pure: no I/O, and all randomness is passed in, so that a test repeats a decision exactly.
//!
//! [`Lifetime`] decides when a lease or a token is renewed and when it is replaced.

pub(crate) mod backoff;
pub(crate) mod clock;
mod deadline;
mod lifetime;
pub(crate) mod rfc3339;
mod rotation;

pub(crate) use deadline::Deadline;
pub(crate) use lifetime::{Lifetime, LifetimeStep};
pub(crate) use rotation::RotationSchedule;

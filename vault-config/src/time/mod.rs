//! Clocks and chance, and every decision that depends on them alone: when something is due, and how long to wait.
//! Decisions are pure: the reading and the random number are passed in, so that a test repeats them exactly. No other
//! room reads a clock of the machine, sets a timer or draws a random number.
//!
//! [`Lifetime`] decides when a lease or a token is renewed and when it is replaced.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

pub(crate) mod backoff;
mod chance;
pub(crate) mod clock;
mod deadline;
mod lifetime;
mod network;
pub(crate) mod rfc3339;
mod rotation;
mod timing;

pub(crate) use chance::Chance;
pub(crate) use deadline::Deadline;
pub(crate) use lifetime::{Lifetime, LifetimeStep};
pub(crate) use network::{Moment, NetworkClock};
pub(crate) use rotation::RotationSchedule;
pub(crate) use timing::Timing;

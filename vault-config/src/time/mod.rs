//! Clocks and chance, and what is decided from them alone: when something is due, and how long to wait. Nothing
//! here does I/O. No other room reads a clock of the machine, sets a timer or draws a random number.
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
pub(crate) use lifetime::{Lifetime, Step};
pub(crate) use network::{Moment, NetworkClock};
pub(crate) use rotation::RotationSchedule;
pub(crate) use timing::Timing;

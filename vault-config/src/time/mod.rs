//! Clocks, and what is decided from them alone: when something is due, and how long to wait. Nothing here does I/O.

pub(crate) mod backoff;
pub(crate) mod clock;
mod deadline;
mod lifetime;
pub(crate) mod rfc3339;
mod rotation;

pub(crate) use deadline::Deadline;
pub(crate) use lifetime::{Lifetime, Step};
pub(crate) use rotation::RotationSchedule;

//! Clocks and times.

pub(crate) mod rfc3339;

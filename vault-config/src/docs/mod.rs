//! The long read.
//!
//! * [`attributes`]: every attribute, with an example of each.
//! * [`provenance`]: which source wins, and how to see where a value came from.
//! * [`errors`]: what a failed load prints, and what each kind means.
//! * [`performance`]: how many requests a load makes, and what it costs.

pub mod attributes;
pub mod errors;
pub mod performance;
pub mod provenance;

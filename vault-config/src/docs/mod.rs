//! The long read.
//!
//! * [`attributes`]: every attribute, with an example of each.
//! * [`provenance`]: which source wins, and how to see where a value came from.
//! * [`connecting`]: every way to log in, and what it trusts.
//! * [`engines`]: every engine, its attribute, its type and its policy.
//! * [`errors`]: what a failed load prints, and what each kind means.
//! * [`rotation`]: how a watched configuration stays fresh, and what happens when something fails.
//! * [`threat_model`]: what a secret is protected from, and what is left to you.
//! * [`testing`]: your own tests, with and without a Vault.
//! * [`performance`]: how many requests a load makes, and what it costs.

pub mod attributes;
pub mod connecting;
pub mod engines;
pub mod errors;
pub mod performance;
pub mod provenance;
pub mod rotation;
pub mod testing;
pub mod threat_model;

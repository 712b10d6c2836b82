//! One load: which sources a field is read from, what they have for it, and the struct that comes of it.

mod expiry;
mod fetch;
mod filter;
mod lookup;
pub(crate) mod mode;
mod prepare;
pub(crate) mod provider;
pub(crate) mod read;
mod slot;
mod span;
mod startup;
mod unknown;
mod verify;

pub(crate) use fetch::{Fetched, PendingLeaf, picked};
pub(crate) use prepare::LoadSettings;
pub(crate) use slot::{Resolution, Slots};
pub(crate) use span::ByteSpan;

/// What a load is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The struct.
    Build,
    /// A report of what a load would find. No credential is issued, and one that is left out for this counts as there.
    Check,
    /// The fields marked for Vault, each in the shape that its type asks for, for a figment of the user's own.
    Provide,
}

//! One load: what every field is given, or why it is given nothing.

pub(crate) mod expiry;
pub(crate) mod mode;
pub(crate) mod provider;
pub(crate) mod read;
pub(crate) mod resolve;

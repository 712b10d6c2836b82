//! The plain sources: process environment, `.env` file, figment layers.

pub(crate) mod dotenv;
pub(crate) mod env;
pub(crate) mod file;
pub(crate) mod layers;

//! What the tests share: loaders, sources of values, texts of errors, recorded traces.

mod loaders;
mod rendering;
mod sources;
mod traces;

pub(crate) use loaders::{
    allowed_loader, approle_loader, load_error, loader, request_count, token_loader, until,
};
pub(crate) use rendering::{every_rendering, field_kinds, problems, report};
pub(crate) use sources::{NOTHING, dotenv, pairs, root, toml, with};
pub(crate) use traces::{LogLines, TraceRecorder, assert_no_secret, listen, logged};

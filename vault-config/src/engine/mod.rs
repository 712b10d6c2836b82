//! One file per secrets engine: what a field declares, what is requested from the server, and which
//! part of the response is the field's.
//!
//! The derive macro hands over a [`Declaration`]. [`Declaration::bind`] turns it into a
//! [`VaultSource`] once the variables of its paths are known. Fields whose [`VaultRequest`]s are
//! equal share one [`EngineResponse`].

pub(crate) mod database;
pub(crate) mod declaration;
mod engine_response;
pub(crate) mod kv;
mod operation;
#[cfg(feature = "pki")]
pub(crate) mod pki;
pub(crate) mod read;
pub(crate) mod refresh;
mod refusal;
#[cfg(any(feature = "pki", feature = "ssh"))]
mod role;
#[cfg(feature = "ssh")]
pub(crate) mod ssh;
pub(crate) mod transit;
mod variables;
mod vault_source;
pub(crate) mod write;

pub(crate) use declaration::{Declaration, FieldScope};
pub(crate) use engine_response::{EngineResponse, ResponseMeta, SecretVersion};
pub(crate) use operation::VaultRequest;
use operation::{Operation, OperationFuture};
pub(crate) use refresh::Refresh;
pub(crate) use variables::{Substitution, Variables};
use vault_source::Part;
pub(crate) use vault_source::VaultSource;

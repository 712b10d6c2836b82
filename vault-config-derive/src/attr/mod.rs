//! Parses attributes. `item` reads the items of any attribute, `vault` and `serde` interpret them, `grammar` holds
//! the tables of `#[vault(..)]`, and `literal` checks its strings.

pub(crate) mod grammar;
pub(crate) mod literal;

mod item;
mod serde;
mod suggestion;
mod vault;

pub(crate) use self::item::string_literal;
pub(crate) use self::serde::{SerdeContainerArgs, SerdeFieldArgs};
pub(crate) use self::vault::{ArgValue, VaultArg, VaultArgs};

//! The derive macro of `vault-config`. Its documentation is in that crate.
//!
//! The macro is a pipeline, one module a stage:
//!
//! 1. `attr` parses the attributes and checks each one alone.
//! 2. `ast` is the typed view of the struct, its fields and their attributes.
//! 3. `valid` checks how attributes and fields combine.
//! 4. `expand` writes the impl, or the compile errors with a fallback impl.
//!
//! Every stage reports to one `ErrorCollector`, so that all mistakes in a struct are reported in one compilation.

mod ast;
mod attr;
mod error_collector;
mod expand;
mod rename_rule;
mod valid;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// See `vault_config::VaultConfig`.
#[proc_macro_derive(VaultConfig, attributes(vault, serde))]
pub fn derive_vault_config(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::derive(&input).into()
}

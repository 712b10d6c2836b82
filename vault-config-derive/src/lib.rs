//! The derive macro of `vault-config`; its documentation is in that crate.
//!
//! One stage a file: `attr` reads attributes against the tables of `grammar` and `serde`,
//! `ast` is the typed view of the struct, `valid` checks what one attribute alone cannot show,
//! `expand` writes the impl, and `fallback` writes its stand-in when anything was wrong.

mod ast;
mod attr;
mod case;
mod errors;
mod expand;
mod fallback;
mod generics;
mod grammar;
mod serde;
mod text;
mod tidy;
mod valid;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// See `vault_config::VaultConfig`.
#[proc_macro_derive(VaultConfig, attributes(vault, serde))]
pub fn derive_vault_config(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::derive(&input).into()
}

//! Everything vault-config promises, against real servers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    dead_code,
    missing_docs,
    unreachable_pub
)]

mod abandoned_loads;
mod adversity;
mod coercion;
mod connections;
mod databases;
mod engines;
mod errors;
mod every_engine;
mod expiring_loads;
mod files;
mod foreign_text;
mod kv;
mod live;
mod loads;
mod login_methods;
mod logins;
mod messages;
mod namespaces;
mod nesting;
mod nodes;
mod pki;
mod precedence;
mod provider;
mod requests;
mod settings;
mod ssh;
mod startup;
mod support;
mod transit;
mod write;

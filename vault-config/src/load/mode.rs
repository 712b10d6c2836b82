//! Vault or local, and why.

use crate::error::{Cause, ErrorKind};
use crate::http::settings::{self, Addresses};
use crate::source::dotenv::Dotenv;
use crate::source::env::Environment;
use crate::text;
use crate::vault::Vault;

/// Whether fields marked for Vault are read from Vault or from local sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Mode {
    /// Vault as soon as an address is configured, local otherwise. A login that is configured without
    /// an address, such as `VAULT_ROLE_ID`, is an error where a field is marked for Vault.
    #[default]
    Auto,
    /// Vault, and never `.env` or a file in its place.
    Vault,
    /// Process environment, `.env` and figment layers; nothing is sent.
    Local,
}

pub(crate) struct Chosen {
    pub(crate) vault: bool,
    pub(crate) sentence: Option<String>,
}

/// The mode, before the `.env` file is read: which one it is decides whether that file is looked into.
pub(crate) struct Decision {
    pub(crate) vault: bool,
    why: String,
    other: String,
    is_without_address: bool,
}

enum SaidBy {
    Program,
    Environment,
    Nobody,
}

const VARIABLE: &str = "VAULT_CONFIG_MODE";

/// The mode and why, and how to have the other.
pub(crate) fn decide(
    mode: Mode,
    vault: Option<&Vault>,
    environment: &Environment,
) -> Result<Decision, Cause> {
    let (mode, said_by) = match mode {
        Mode::Auto => from_environment(environment)?,
        mode => (mode, SaidBy::Program),
    };
    let address = match (mode, vault) {
        (Mode::Auto, Some(vault)) => {
            let addresses = vault.addresses();
            Some(said(&addresses.first.said_by, Some(addresses)))
        }
        (Mode::Auto, None) => configured(environment)?,
        _ => None,
    };
    let program = |mode, other, reads| {
        let ask = "the program asks for it with .mode(Mode::";
        (format!("{ask}{mode})"), format!(".mode(Mode::{other}) {reads}"))
    };
    let variable = |other| (format!("{VARIABLE} says so"), format!("{VARIABLE}={other}"));
    let is_without_address = mode == Mode::Auto && address.is_none();
    let (vault, (why, other)) = match (mode, said_by, address) {
        (Mode::Vault, SaidBy::Program, _) => (true, program("Vault", "Local", FILES)),
        (Mode::Local, SaidBy::Program, _) => (false, program("Local", "Vault", SECRETS)),
        (Mode::Vault, ..) => (true, with(variable("local"), FILES)),
        (Mode::Local, ..) => (false, with(variable("vault"), SECRETS)),
        (Mode::Auto, _, Some(said)) => (true, (said, format!("{VARIABLE}=local {FILES}"))),
        (Mode::Auto, _, None) => {
            let why = "no Vault address is configured".to_owned();
            (false, (why, "set VAULT_ADDR to read secrets from Vault".to_owned()))
        }
    };
    Ok(Decision { vault, why, other, is_without_address })
}

impl Decision {
    /// A login that is configured means that secrets come from Vault. That the address is missing, with the variables in
    /// `login`, is an error then: development's secrets may be at hand, and would be served in production.
    pub(crate) fn settle(self, login: &[String], dotenv: &Dotenv) -> Result<Chosen, Cause> {
        let stray = if self.is_without_address { stray(dotenv) } else { String::new() };
        if let Some(first) = login.first().filter(|_| self.is_without_address) {
            let are = if login.len() == 1 { "says" } else { "say" };
            let what = format!(
                "{} {are} how to log in to Vault, and no address of a server is configured{stray}",
                text::listed(login.iter().cloned())
            );
            let help = format!("set VAULT_ADDR, or {VARIABLE}=local to use local sources");
            return Err(Cause::new(ErrorKind::Setting, what, help).at(format!("env {first}")));
        }
        let Self { vault, why, other, .. } = self;
        let name = if vault { "Vault" } else { "Local" };
        let sentence = text::sentence(format!("{name} mode, because {why}{stray}; {other}."));
        Ok(Chosen { vault, sentence: Some(sentence) })
    }
}

const FILES: &str = "reads .env and files instead";
const SECRETS: &str = "reads secrets from Vault";

fn with((why, other): (String, String), reads: &str) -> (String, String) {
    (why, format!("{other} {reads}"))
}

/// A `.env` file names a server, but is not where a connection is configured.
fn stray(dotenv: &Dotenv) -> String {
    let name = ["VAULT_ADDR", "BAO_ADDR"].into_iter().find(|name| dotenv.get(name).is_some());
    name.map_or_else(String::new, |name| {
        let file = dotenv.path().display();
        format!(" ({file} sets {name}, which is read from the process environment only)")
    })
}

fn from_environment(environment: &Environment) -> Result<(Mode, SaidBy), Cause> {
    match environment.get(VARIABLE)?.as_deref().map(String::as_str) {
        None | Some("auto") => Ok((Mode::Auto, SaidBy::Nobody)),
        Some("vault") => Ok((Mode::Vault, SaidBy::Environment)),
        Some("local") => Ok((Mode::Local, SaidBy::Environment)),
        Some(_) => Err(Cause::new(ErrorKind::Setting, "names no mode", "use auto, vault or local")
            .at(format!("env {VARIABLE}"))),
    }
}

fn configured(environment: &Environment) -> Result<Option<String>, Cause> {
    let found = settings::configured_address(environment)?;
    Ok(found.map(|(variable, value)| {
        said(&variable, Addresses::parse(&value, &variable).ok().as_ref())
    }))
}

/// A malformed address is told as a problem of its own, and not quoted.
fn said(by: &str, addresses: Option<&Addresses>) -> String {
    match addresses {
        Some(addresses) => format!("{by} is {}", addresses.shown()),
        None => format!("{by} is set"),
    }
}

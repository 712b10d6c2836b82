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
    /// Vault if an address is configured, else local. A login that is configured without
    /// an address, such as `VAULT_ROLE_ID`, is an error where a field is marked for Vault.
    #[default]
    Auto,
    /// Vault, and never `.env` or a file in its place.
    Vault,
    /// Process environment, `.env` and figment layers; nothing is sent.
    Local,
}

/// The mode of one load.
pub(crate) struct ModeDecision {
    pub(crate) is_vault: bool,
    /// The mode, why it was chosen and how to choose the other. `None` if the choice failed.
    pub(crate) explanation: Option<String>,
}

/// The mode before the `.env` file is read, since the mode decides whether that file is needed.
pub(crate) struct ProvisionalMode {
    pub(crate) is_vault: bool,
    reason: String,
    /// How to choose the other mode.
    alternative: String,
    is_without_address: bool,
}

enum DecidedBy {
    Program,
    Environment,
    Default,
}

const VARIABLE: &str = "VAULT_CONFIG_MODE";

pub(crate) fn decide(
    mode: Mode,
    vault: Option<&Vault>,
    environment: &Environment,
) -> Result<ProvisionalMode, Cause> {
    let (mode, decided_by) = match mode {
        Mode::Auto => from_environment(environment)?,
        mode => (mode, DecidedBy::Program),
    };
    let address = match (mode, vault) {
        (Mode::Auto, Some(vault)) => {
            let addresses = vault.addresses();
            Some(address_reason(&addresses.first.origin, Some(addresses)))
        }
        (Mode::Auto, None) => configured(environment)?,
        _ => None,
    };
    let program = |mode, other, reads| {
        let ask = "the program sets it with .mode(Mode::";
        (format!("{ask}{mode})"), format!(".mode(Mode::{other}) {reads}"))
    };
    let variable = |other| (format!("{VARIABLE} sets it"), format!("{VARIABLE}={other}"));
    let is_without_address = mode == Mode::Auto && address.is_none();
    let (is_vault, (reason, alternative)) = match (mode, decided_by, address) {
        (Mode::Vault, DecidedBy::Program, _) => (true, program("Vault", "Local", FILES)),
        (Mode::Local, DecidedBy::Program, _) => (false, program("Local", "Vault", SECRETS)),
        (Mode::Vault, ..) => (true, with(variable("local"), FILES)),
        (Mode::Local, ..) => (false, with(variable("vault"), SECRETS)),
        (Mode::Auto, _, Some(reason)) => (true, (reason, format!("{VARIABLE}=local {FILES}"))),
        (Mode::Auto, _, None) => {
            let reason = "no Vault address is configured".to_owned();
            (false, (reason, "set VAULT_ADDR to read secrets from Vault".to_owned()))
        }
    };
    Ok(ProvisionalMode { is_vault, reason, alternative, is_without_address })
}

impl ModeDecision {
    /// The mode of a load whose choice of mode failed. Only Vault mode never serves a secret from a file. Nothing is
    /// sent.
    pub(crate) fn failed() -> Self {
        Self { is_vault: true, explanation: None }
    }
}

impl ProvisionalMode {
    /// Refuses a configured login without an address; `login` are its variables. A login means that secrets come from
    /// Vault: in local mode, production would run on the secrets of development.
    pub(crate) fn settle(self, login: &[String], dotenv: &Dotenv) -> Result<ModeDecision, Cause> {
        let misplaced =
            if self.is_without_address { misplaced_login(dotenv) } else { String::new() };
        if let Some(first) = login.first().filter(|_| self.is_without_address) {
            let are = if login.len() == 1 { "is" } else { "are" };
            let what = format!(
                "{} {are} set to log in to Vault, but no server address is configured{misplaced}",
                text::listed(login.iter().cloned())
            );
            let help = format!("set VAULT_ADDR, or {VARIABLE}=local to use local sources");
            return Err(Cause::new(ErrorKind::Setting, what, help).at(format!("env {first}")));
        }
        let Self { is_vault, reason, alternative, .. } = self;
        let name = if is_vault { "Vault" } else { "Local" };
        let explanation = format!("{name} mode, because {reason}{misplaced}; {alternative}.");
        Ok(ModeDecision { is_vault, explanation: Some(text::sentence(explanation)) })
    }
}

const FILES: &str = "reads .env and files instead";
const SECRETS: &str = "reads secrets from Vault";

fn with((reason, alternative): (String, String), reads: &str) -> (String, String) {
    (reason, format!("{alternative} {reads}"))
}

/// A hint, if the `.env` file names a server: a connection is configured by the process environment alone.
fn misplaced_login(dotenv: &Dotenv) -> String {
    let name = ["VAULT_ADDR", "BAO_ADDR"].into_iter().find(|name| dotenv.is_set(name));
    name.map_or_else(String::new, |name| {
        let file = dotenv.path().display();
        format!(" ({file} sets {name}, which is read from the process environment only)")
    })
}

fn from_environment(environment: &Environment) -> Result<(Mode, DecidedBy), Cause> {
    match environment.get(VARIABLE)?.as_deref().map(String::as_str) {
        None | Some("auto") => Ok((Mode::Auto, DecidedBy::Default)),
        Some("vault") => Ok((Mode::Vault, DecidedBy::Environment)),
        Some("local") => Ok((Mode::Local, DecidedBy::Environment)),
        Some(_) => Err(Cause::new(ErrorKind::Setting, "names no mode", "use auto, vault or local")
            .at(format!("env {VARIABLE}"))),
    }
}

fn configured(environment: &Environment) -> Result<Option<String>, Cause> {
    let found = settings::configured_address(environment)?;
    Ok(found.map(|(variable, value)| {
        address_reason(&variable, Addresses::parse(&value, &variable).ok().as_ref())
    }))
}

/// A malformed address is not quoted here: it is a problem of its own.
fn address_reason(origin: &str, addresses: Option<&Addresses>) -> String {
    match addresses {
        Some(addresses) => format!("{origin} is {}", addresses.shown()),
        None => format!("{origin} is set"),
    }
}

//! One file per secrets engine: what a field declares, what is requested, what is read from the
//! answer.

use std::fmt::Debug;
use std::sync::Arc;

use crate::error::{Cause, ErrorKind};
use crate::live::schedule::Rotation;
use crate::value::Value;
use crate::vault::reply::seconds;
use crate::vault::{Lease, Made, Reply, Session};

pub(crate) mod database;
pub(crate) mod kv;
pub(crate) mod read;
pub(crate) mod refresh;
mod template;

pub(crate) use refresh::Refresh;
pub(crate) use template::{Unset, Variables};

/// What a field's attributes say of its engine, before variables are filled in.
#[doc(hidden)]
pub trait Declare: Debug + Send + Sync {
    fn bind(&self, scope: &Scope<'_>) -> Result<Arc<dyn Engine>, Cause>;

    /// A pair is set by one environment variable for each part, or not at all.
    fn parts(&self) -> &'static [&'static str] {
        &[]
    }
}

/// Where a field stands: its name, and what the structs around it say by default.
#[doc(hidden)]
#[derive(Debug)]
pub struct Scope<'a> {
    pub(crate) field: &'a str,
    pub(crate) kv: Option<&'a str>,
    pub(crate) mount: Option<&'a str>,
    pub(crate) variables: &'a Variables,
}

impl Scope<'_> {
    fn fill(&self, template: &str) -> Result<String, Cause> {
        self.variables.fill(template)
    }
}

/// One field's source in Vault, ready to be asked for.
#[doc(hidden)]
pub trait Engine: Debug + Send + Sync {
    /// What errors and reports call it, such as `kv secret/my-app#port`.
    fn source(&self) -> String;

    /// Fields with one request share one answer.
    fn request(&self) -> Request;

    /// This field's part of the answer.
    fn pick(&self, answer: &Answer) -> Result<Value, Cause>;

    /// The key of the answer this field uses; `None` when it uses them all.
    fn key(&self) -> Option<&str> {
        None
    }

    /// How often the field says that it is read again, if it says so.
    fn refresh(&self) -> Option<Refresh> {
        None
    }

    /// What the policy has to allow.
    fn grant(&self) -> Grant;
}

/// One stanza of a policy.
#[doc(hidden)]
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    pub(crate) path: String,
    pub(crate) capability: &'static str,
}

impl Grant {
    pub(crate) fn read(path: impl Into<String>) -> Self {
        Self { path: path.into(), capability: "read" }
    }

    pub(crate) fn hcl(&self) -> String {
        format!("path \"{}\" {{\n  capabilities = [\"{}\"]\n}}", self.path, self.capability)
    }
}

/// What is asked of the server.
#[doc(hidden)]
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Request {
    /// A KV secret, whose path on the wire depends on the mount's version.
    Kv(kv::Location),
    /// A read of a path just as it is.
    Read(String),
}

impl Request {
    pub(crate) async fn send(&self, session: &Session<'_>) -> Result<Answer, Cause> {
        match self {
            Self::Kv(location) => kv::read(session, location).await,
            Self::Read(path) => read::read(session, path).await,
        }
    }

    /// Whether what is stored is no longer of this version; `None` when the token may not look at
    /// the secret's metadata, or there is none.
    pub(crate) async fn has_changed(
        &self,
        session: &Session<'_>,
        version: u64,
    ) -> Result<Option<bool>, Cause> {
        match self {
            Self::Kv(location) => kv::has_changed(session, location, version).await,
            Self::Read(_) => Ok(None),
        }
    }

    /// What is stored there can change.
    pub(crate) fn can_change(&self) -> bool {
        match self {
            Self::Kv(location) => !location.is_pinned(),
            Self::Read(_) => true,
        }
    }

    /// What errors call it when no one field is meant.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Kv(location) => format!("kv {}", location.name()),
            Self::Read(path) => path.clone(),
        }
    }

    /// Whether asking makes a credential that somebody has to let go of.
    pub(crate) fn mints(&self) -> bool {
        matches!(self, Self::Read(_))
    }
}

fn no_data() -> Cause {
    Cause::new(
        ErrorKind::Protocol,
        "the answer has no `data`",
        "see with `vault read` what the path answers, and that the address is Vault's own",
    )
}

/// What the server gave for one request.
#[doc(hidden)]
#[derive(Debug)]
pub struct Answer {
    pub(crate) data: Value,
    /// The version of a KV v2 secret.
    pub(crate) version: Option<u64>,
    pub(crate) lease: Option<Lease>,
    pub(crate) made: Option<Made>,
}

/// What an answer says besides its data.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) version: Option<u64>,
    pub(crate) lease: Option<Lease>,
    pub(crate) rotation: Option<Rotation>,
    pub(crate) made: Option<Made>,
}

impl Answer {
    pub(crate) fn into_facts(self) -> Facts {
        let rotation = self.rotation();
        Facts { version: self.version, lease: self.lease, rotation, made: self.made }
    }

    /// `data` was taken from the reply.
    fn new(data: Value, version: Option<u64>, reply: Reply) -> Self {
        Self { data, version, lease: reply.lease(), made: reply.made }
    }

    pub(crate) fn lease_seconds(&self) -> Option<u64> {
        self.lease.as_ref().map(|lease| lease.ttl.as_secs())
    }

    /// What a static role says of its password.
    fn rotation(&self) -> Option<Rotation> {
        let last = self.data.get("last_vault_rotation")?.as_str()?.to_owned();
        let ttl = seconds(Some(self.data.get("ttl")?));
        self.lease.is_none().then_some(Rotation { ttl, last })
    }

    /// One key of the answer, or why there is none: with the keys that are there and the nearest.
    pub(crate) fn key(&self, key: &str) -> Result<Value, Cause> {
        let Some(entries) = self.data.as_map() else {
            return Err(Cause::new(
                ErrorKind::Protocol,
                format!("the answer holds {} where a map of keys was expected", self.data.kind()),
                "see with `vault read` what the path answers",
            ));
        };
        if let Some(value) = entries.get(key) {
            return Ok(value.clone());
        }
        let version = self.version.map_or_else(String::new, |n| format!(" (version {n})"));
        let what = match entries.len() {
            0 => format!("the secret{version} is empty"),
            _ => {
                let names: Vec<_> = entries.keys().map(String::as_str).collect();
                format!(
                    "the secret{version} has no key \"{key}\"; its keys are {}",
                    names.join(", ")
                )
            }
        };
        let help = match crate::error::nearest(key, entries.keys().map(String::as_str)) {
            Some(near) => {
                format!("did you mean \"{near}\"? Say key = \"{near}\", or add the key \"{key}\"")
            }
            None => {
                format!("add the key \"{key}\" to the secret, or name another with key = \"..\"")
            }
        };
        Err(Cause::new(ErrorKind::KeyAbsent, what, help))
    }
}

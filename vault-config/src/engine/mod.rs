//! One file per secrets engine: what a field declares, what is requested, what is read from the
//! answer.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::error::{Cause, ErrorKind};
use crate::live::schedule::Rotation;
use crate::value::Value;
use crate::vault::reply::seconds;
use crate::vault::{Lease, Made, Reply, Session, Vault};

pub(crate) mod database;
pub(crate) mod kv;
mod namespace;
#[cfg(feature = "pki")]
pub(crate) mod pki;
pub(crate) mod read;
pub(crate) mod refresh;
#[cfg(any(feature = "pki", feature = "ssh"))]
mod role;
#[cfg(feature = "ssh")]
pub(crate) mod ssh;
mod template;
pub(crate) mod transit;
pub(crate) mod write;

use namespace::Within;
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
    pub(crate) fn within(
        &self,
        namespace: &str,
        inner: Arc<dyn Engine>,
    ) -> Result<Arc<dyn Engine>, Cause> {
        let filled = self.fill(namespace)?;
        // Spaces are lost on the way, and no namespace at all is another one.
        match filled.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Arc::new(Within { namespace: filled, inner })),
            false => Err(Cause::new(
                ErrorKind::Variable,
                format!(
                    "with its variables filled in, the namespace \"{namespace}\" has a space or a \
                     character that is not ASCII"
                ),
                "give the variables values that are names of namespaces",
            )),
        }
    }

    fn fill(&self, template: &str) -> Result<String, Cause> {
        self.variables.fill(template)
    }

    /// What is no path may hold anything.
    fn fill_text(&self, template: &str) -> Result<String, Cause> {
        self.variables.fill_text(template)
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

    /// Whether the local sources have a ciphertext, which it decrypts.
    fn decrypts(&self) -> bool {
        false
    }

    /// The same for this ciphertext, which was found at `place`.
    fn of(&self, _ciphertext: &str, _place: &str) -> Option<Arc<dyn Engine>> {
        None
    }

    /// What the policy has to allow.
    fn grant(&self) -> Grant;
}

/// One stanza of a policy.
#[doc(hidden)]
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    pub(crate) namespace: Option<String>,
    pub(crate) path: String,
    pub(crate) capability: &'static str,
}

impl Grant {
    pub(crate) fn read(path: impl Into<String>) -> Self {
        Self { namespace: None, path: path.into(), capability: "read" }
    }

    pub(crate) fn update(path: impl Into<String>) -> Self {
        Self { capability: "update", ..Self::read(path) }
    }

    /// `prefix` leads from the policy's namespace to the path's.
    pub(crate) fn hcl(&self, prefix: &str) -> String {
        let path = format!("{prefix}{}", self.path).replace('\\', "\\\\").replace('"', "\\\"");
        format!("path \"{path}\" {{\n  capabilities = [\"{}\"]\n}}", self.capability)
    }

    /// For a policy of the root namespace.
    pub(crate) fn hcl_of_root(&self) -> String {
        match self.namespace.as_deref() {
            None | Some("root") => self.hcl(""),
            Some(namespace) => self.hcl(&format!("{namespace}/")),
        }
    }
}

/// What is asked of the server, and in which namespace. Requests with one id share one answer.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct Request {
    namespace: Option<String>,
    ask: Arc<dyn Ask>,
}

/// How one kind of request is made.
pub(crate) trait Ask: Debug + Send + Sync {
    /// The same for what gives the same answer.
    fn id(&self) -> String;

    /// What errors call it when no one field is meant.
    fn name(&self) -> String;

    fn send<'a>(&'a self, session: &'a Session<'a>) -> Asked<'a, Answer>;

    /// Whether what is stored is no longer of this version; `None` when the token may not look, or
    /// there is nothing to look at.
    fn has_changed<'a>(&'a self, _: &'a Session<'a>, _version: u64) -> Asked<'a, Option<bool>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// What is stored there can change.
    fn can_change(&self) -> bool {
        true
    }

    /// Whether asking makes a credential that somebody has to let go of.
    fn mints(&self) -> bool {
        true
    }

    /// What is decrypted by this one request.
    fn batch(&self) -> &[String] {
        &[]
    }

    /// The same for all of these.
    fn of(&self, _batch: Vec<String>) -> Option<Arc<dyn Ask>> {
        None
    }
}

pub(crate) type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, Cause>> + Send + 'a>>;

impl Request {
    pub(crate) fn new(ask: impl Ask + 'static) -> Self {
        Self { namespace: None, ask: Arc::new(ask) }
    }

    /// A namespace of its own that is the connection's is none.
    pub(crate) fn over(mut self, vault: &Vault) -> Self {
        self.namespace = self.namespace.filter(|own| own != vault.namespace().unwrap_or("root"));
        self
    }

    /// One request for what both ask for; they have one id.
    pub(crate) fn join(self, other: &Self) -> Self {
        let batch: BTreeSet<_> = self.ask.batch().iter().chain(other.ask.batch()).collect();
        match self.ask.of(batch.into_iter().cloned().collect()) {
            Some(ask) => Self { ask, ..self },
            None => self,
        }
    }

    pub(crate) async fn send(&self, session: &Session<'_>) -> Result<Answer, Cause> {
        let session = session.within(self.namespace.as_deref());
        self.ask.send(&session).await
    }

    pub(crate) async fn has_changed(
        &self,
        session: &Session<'_>,
        version: u64,
    ) -> Result<Option<bool>, Cause> {
        let session = session.within(self.namespace.as_deref());
        self.ask.has_changed(&session, version).await
    }

    pub(crate) fn can_change(&self) -> bool {
        self.ask.can_change()
    }

    pub(crate) fn name(&self) -> String {
        namespace::named(self.ask.name(), self.namespace.as_deref())
    }

    pub(crate) fn mints(&self) -> bool {
        self.ask.mints()
    }

    fn id(&self) -> (Option<&str>, String) {
        (self.namespace.as_deref(), self.ask.id())
    }
}

impl Ord for Request {
    fn cmp(&self, other: &Self) -> Ordering {
        self.id().cmp(&other.id())
    }
}

impl PartialOrd for Request {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Request {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Request {}

/// Why nothing was given; `roles` is where the engine lists its roles.
fn refused(reply: Reply, grant: &Grant, roles: &str) -> Cause {
    let words = reply.words();
    match reply.status {
        403 if reply.speaks_vault() => reply
            .denied(grant)
            .hint("or no engine is mounted there: the server answers 403 for that too"),
        404 if reply.is_miss() => {
            Cause::new(ErrorKind::PathAbsent, "nothing is there", "name the right path")
        }
        405 => Cause::new(
            ErrorKind::Schema,
            "the path does not take this kind of request (HTTP 405)",
            "say `write` in place of `read`, or `read` in place of `write`",
        ),
        400 | 500 if is_of_no_role(&words) => {
            let help = format!("create the role, or name the right one: vault list {roles}");
            Cause::new(ErrorKind::RoleAbsent, words, help)
        }
        _ => reply.into_cause(),
    }
}

/// Each engine has its own words for it.
fn is_of_no_role(words: &str) -> bool {
    let words = words.to_lowercase();
    words.contains("unknown role")
        || words.contains("unknown key:")
        || words.contains("role \"") && words.contains("not found")
}

/// `verb` is the word of the command line that asks the same.
fn no_data(verb: &str) -> Cause {
    Cause::new(
        ErrorKind::Protocol,
        "the answer has no `data`",
        format!(
            "see with `vault {verb}` what the path answers, and that the address is Vault's own"
        ),
    )
}

#[cfg(any(feature = "pki", feature = "ssh"))]
fn ended(end: SystemTime) -> Cause {
    let end = humantime::format_rfc3339_seconds(end);
    Cause::new(
        ErrorKind::Protocol,
        format!("what was made just now ended at {end} already"),
        "see with `vault read` until when the role makes what it makes (not_after), when the \
         authority's own certificate ends, and the server's clock",
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
    /// How long it is good for without being leased.
    pub(crate) life: Option<Duration>,
    pub(crate) made: Option<Made>,
}

/// For how long something was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) ttl: Duration,
    pub(crate) renewable: bool,
    pub(crate) expires_at: Option<SystemTime>,
}

/// What an answer says besides its data.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) version: Option<u64>,
    pub(crate) lease: Option<Lease>,
    pub(crate) life: Option<Duration>,
    pub(crate) rotation: Option<Rotation>,
    pub(crate) made: Option<Made>,
}

impl Answer {
    pub(crate) fn into_facts(self) -> Facts {
        let rotation = self.rotation();
        let Self { version, lease, life, made, .. } = self;
        Facts { version, lease, life, rotation, made }
    }

    /// `data` was taken from the reply.
    fn new(data: Value, version: Option<u64>, reply: Reply) -> Self {
        Self { data, version, lease: reply.lease(), life: None, made: reply.made }
    }

    /// What was made, and is good until `end`. `date` is when it was made by the server's clock,
    /// which wrote both: this machine's may be another one.
    #[cfg(any(feature = "pki", feature = "ssh"))]
    fn good_between(
        self,
        begin: SystemTime,
        end: SystemTime,
        date: Option<SystemTime>,
    ) -> Result<Self, Cause> {
        let asked = self.made.as_ref().map_or_else(SystemTime::now, |made| made.asked.wall);
        // It tells whole seconds.
        let now = date.map_or(asked, |date| asked.clamp(date, date + Duration::from_secs(1)));
        let now = now.max(begin);
        // No life would be one that never ends.
        match end.duration_since(now).ok().filter(|life| !life.is_zero()) {
            Some(life) => Ok(Self { life: Some(life), ..self }),
            None => Err(ended(end)),
        }
    }

    /// How long it is good for, and whether it is a lease that can be renewed.
    pub(crate) fn granted(&self) -> Option<Granted> {
        let (ttl, renewable) = match &self.lease {
            Some(lease) => (lease.ttl, lease.renewable),
            None => (self.life?, false),
        };
        let asked = self.made.as_ref()?.asked.wall;
        let expires_at = (!ttl.is_zero()).then(|| asked.checked_add(ttl)).flatten();
        Some(Granted { ttl, renewable, expires_at })
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

#[cfg(all(test, any(feature = "pki", feature = "ssh")))]
mod tests {
    use super::*;

    /// Seconds of the server's clock; this machine's is decades ahead.
    #[test]
    fn the_servers_clock_says_how_long_it_is_good_for() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let life = |begin, end, date: Option<u64>| {
            let answer =
                Answer { data: Value::Null, version: None, lease: None, life: None, made: None };
            let answer = answer.good_between(at(begin), at(end), date.map(at));
            answer.ok().and_then(|answer| answer.life).map(|life| life.as_secs())
        };
        assert_eq!(life(70, 700, Some(100)), Some(599));
        assert_eq!(life(200, 700, Some(100)), Some(500), "it is not valid yet");
        assert_eq!(life(0, 50_000_000_000, None).map(|life| life > 40_000_000_000), Some(true));
        for (begin, end, date) in [
            (70, 700, Some(700)),
            (70, 700, Some(900)),
            (700, 700, Some(100)),
            (700, 70, Some(10)),
            (70, 700, None),
        ] {
            assert_eq!(life(begin, end, date), None, "{begin} {end} {date:?}");
        }
    }
}

//! Looks every leaf up in its sources, and asks Vault for what is left: every distinct path once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::engine::{Answer, Engine, Facts, Request, transit};
use crate::error::{Cause, ErrorKind, Problem};
use crate::load::read::{Found, Slot};
use crate::report::Provenance;
use crate::schema::plan::{Leaf, LeafOrigin};
use crate::source::dotenv::{Dotenv, Entry};
use crate::source::env::Environment;
use crate::source::layers::Layers;
use crate::value::Value;
use crate::vault::{Grant, LoadRollback, Response, Session, Vault};

/// The sources of one load, in the order they are asked.
pub(crate) struct Sources<'a> {
    pub(crate) environment: &'a Environment,
    /// Whether the environment is asked for fields marked for Vault.
    pub(crate) env_overrides: bool,
    /// `None` for a provider: the user's own figment has the plain fields.
    pub(crate) local: Option<(&'a Dotenv, &'a Layers)>,
    /// Whether fields marked for Vault come from Vault and from nowhere below it.
    pub(crate) vault_mode: bool,
}

/// What is left to ask Vault for, by the leaf's index.
pub(crate) type Pending = Vec<(usize, Arc<dyn Engine>)>;

impl Sources<'_> {
    pub(crate) fn look_up(&self, leaves: Vec<Leaf>) -> (Vec<Slot>, Pending) {
        let mut pending = Pending::new();
        let slots = leaves
            .into_iter()
            .enumerate()
            .map(|(index, leaf)| {
                let mut looked = Vec::new();
                let found = self.find(&leaf, &mut looked).and_then(|found| match &leaf.origin {
                    LeafOrigin::Vault(engine) => {
                        let (found, engine) = self.to_ask(found, engine)?;
                        pending.extend(engine.map(|engine| (index, engine)));
                        Ok(found)
                    }
                    _ => Ok(found),
                });
                let found = found.unwrap_or_else(|cause| Found::Failed(Arc::new(cause)));
                Slot { leaf, looked, found }
            })
            .collect();
        (slots, pending)
    }

    /// What is left to ask Vault for, if anything. A ciphertext is never taken for the value, nor in
    /// Vault mode another text for a ciphertext.
    fn to_ask(
        &self,
        found: Found,
        engine: &Arc<dyn Engine>,
    ) -> Result<(Found, Option<Arc<dyn Engine>>), Cause> {
        let (value, provenance) = match &found {
            Found::Skipped => return Ok((found, Some(Arc::clone(engine)))),
            Found::Value(value, provenance) if engine.decrypts() => (value, provenance),
            _ => return Ok((found, None)),
        };
        let place = provenance.to_string();
        match (self.vault_mode, transit::ciphertext(value)) {
            (true, Some(text)) => Ok((Found::Skipped, engine.of(text, &place))),
            (true, None) => Err(transit::not_encrypted(engine.as_ref(), value).at(place)),
            (false, _) if transit::holds_ciphertext(value) => {
                Err(transit::not_decryptable().at(place))
            }
            (false, _) => Ok((found, None)),
        }
    }

    /// `Skipped` for a leaf that Vault is still to be asked for.
    fn find(&self, leaf: &Leaf, looked: &mut Vec<String>) -> Result<Found, Cause> {
        if self.local.is_none() && !leaf.is_vault() {
            return Ok(Found::Skipped);
        }
        let decrypts = leaf.decrypts();
        let from_vault = leaf.is_vault() && self.vault_mode && !decrypts;
        if !from_vault || self.env_overrides {
            let read = |variable: &str| self.environment.get(variable);
            if let Some(value) = assemble(leaf, "env", read, |text| text.as_str().to_owned())? {
                return Ok(Found::Value(
                    value,
                    Provenance::Env { variable: leaf.variables.join(", ") },
                ));
            }
            looked.push(format!("env {}: not set", leaf.variables.join(", ")));
        }
        if from_vault {
            return Ok(match &leaf.origin {
                LeafOrigin::Unbound(cause) => Found::Failed(Arc::clone(cause)),
                _ => Found::Skipped,
            });
        }
        let Some((dotenv, layers)) = self.local else {
            return if decrypts { Err(transit::not_seen()) } else { Ok(Found::Absent(None)) };
        };
        if let Some(found) = from_dotenv(leaf, dotenv)? {
            return Ok(found);
        }
        if dotenv.is_present() {
            looked.push(format!("{}: no {}", dotenv.path().display(), leaf.variables.join(", ")));
        }
        match layers.get(&leaf.keys) {
            Some((value, name)) => Ok(Found::Value(value, Provenance::Layer { name })),
            None => {
                if !layers.is_empty() {
                    looked.push(format!("files: no key {}", leaf.key()));
                }
                Ok(Found::Absent(self.no_ciphertext(leaf)))
            }
        }
    }

    fn no_ciphertext(&self, leaf: &Leaf) -> Option<Arc<Cause>> {
        let LeafOrigin::Vault(engine) = &leaf.origin else { return None };
        let cause =
            || transit::missing(engine.as_ref(), &leaf.variables.join(" and "), &leaf.key());
        (self.vault_mode && engine.decrypts()).then(cause).map(Arc::new)
    }
}

fn from_dotenv(leaf: &Leaf, dotenv: &Dotenv) -> Result<Option<Found>, Cause> {
    let source = dotenv.path().display().to_string();
    if leaf.is_vault()
        && let Some((what, line)) =
            leaf.variables.iter().find_map(|variable| dotenv.altered(variable))
    {
        return Err(Cause::new(
            ErrorKind::Dotenv,
            format!("the value holds {what}"),
            "put the value in single quotes: NAME='..'",
        )
        .at(format!("{source} line {line}")));
    }
    let read = |variable: &str| Ok(dotenv.get(variable));
    let Some(value) =
        assemble(leaf, &source, read, |entry: &Entry| entry.value().as_str().to_owned())?
    else {
        return Ok(None);
    };
    let first = leaf.variables.iter().find_map(|variable| dotenv.get(variable));
    let line = first.map_or(0, Entry::line);
    let place = format!("{source} line {line}");
    Ok(Some(Found::Value(value, Provenance::Dotenv { variable: leaf.variables.join(", "), place })))
}

/// One text, or a map of all parts of a pair. Half a pair is an error: two sources would make one
/// credential.
fn assemble<V>(
    leaf: &Leaf,
    source: &str,
    read: impl Fn(&str) -> Result<Option<V>, Cause>,
    text: impl Fn(V) -> String,
) -> Result<Option<Value>, Cause> {
    let parts = leaf.parts;
    if parts.is_empty() {
        let Some(variable) = leaf.variables.first() else { return Ok(None) };
        return Ok(read(variable)?.map(|value| Value::text(text(value))));
    }
    let mut map = BTreeMap::new();
    let mut unset = Vec::new();
    for (part, variable) in parts.iter().zip(&leaf.variables) {
        match read(variable)? {
            Some(value) => drop(map.insert((*part).to_owned(), Value::text(text(value)))),
            None => unset.push(variable.as_str()),
        }
    }
    match (map.is_empty(), unset.is_empty()) {
        (true, _) => Ok(None),
        (false, true) => Ok(Some(Value::Map(map))),
        (false, false) => {
            let set: Vec<_> =
                leaf.variables.iter().filter(|v| !unset.contains(&v.as_str())).cloned().collect();
            Err(Cause::new(
                ErrorKind::Environment,
                format!(
                    "{} is set and {} is not: a pair comes from one source",
                    set.join(", "),
                    unset.join(", ")
                ),
                "set both, or neither",
            )
            .at(source.to_owned()))
        }
    }
}

/// What one request gave, besides the values.
pub(crate) struct Given {
    pub(crate) request: Request,
    pub(crate) fields: Pending,
    /// `None` for what is absent, and for what failed.
    pub(crate) facts: Option<Facts>,
}

/// What was asked for, and the keys that no field uses: the secret's name and the key.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) given: Vec<Given>,
    pub(crate) unused: Vec<(String, String)>,
}

/// Asks for every distinct request once, concurrently, and gives each leaf its part.
pub(crate) async fn fetch(
    rollback: &Arc<LoadRollback>,
    pending: Pending,
    slots: &mut [Slot],
) -> Asked {
    let mut asked = Asked::default();
    if pending.is_empty() {
        return asked;
    }
    let (vault, started) = (rollback.vault(), Instant::now());
    if let Err(cause) = ready(rollback, started).await {
        fail_all(slots, &pending, &Arc::new(cause));
        return asked;
    }
    let waiting = by_request(vault, pending);
    let mut answers = ask(rollback, started, waiting.keys().cloned().collect()).await;
    for (request, fields) in waiting {
        let facts = match answers.remove(&request).unwrap_or_else(|| Err(Arc::new(lost()))) {
            Ok(answer) => {
                asked.unused.extend(unused(&request, &answer, &fields));
                if !settle_each(slots, &fields, &answer)
                    && let Some(lease) = &answer.lease
                {
                    rollback.end_unused_lease(&lease.id).await;
                    continue;
                }
                Some(answer.into_facts())
            }
            Err(cause) => {
                for (index, _) in &fields {
                    settle(slots, *index, without(Arc::clone(&cause)));
                }
                None
            }
        };
        asked.given.push(Given { request, fields, facts });
    }
    asked
}

/// Whether any field has something of the answer.
fn settle_each(slots: &mut [Slot], fields: &Pending, answer: &Answer) -> bool {
    let mut is_used = false;
    for (index, engine) in fields {
        let found = picked(engine.as_ref(), answer);
        is_used |= matches!(found, Found::Value(..));
        settle(slots, *index, found);
    }
    is_used
}

/// Every distinct request, with the fields that share its answer.
fn by_request(vault: &Vault, pending: Pending) -> BTreeMap<Request, Pending> {
    let mut all: BTreeMap<Request, Pending> = BTreeMap::new();
    for (index, engine) in pending {
        let request = engine.request().over(vault);
        let (request, mut fields) = match all.remove_entry(&request) {
            Some((earlier, fields)) => (earlier.join(&request), fields),
            None => (request, Pending::new()),
        };
        fields.push((index, engine));
        all.insert(request, fields);
    }
    all
}

async fn ready(rollback: &LoadRollback, started: Instant) -> Result<(), Cause> {
    let Ok(runtime) = Handle::try_current() else {
        return Err(Cause::new(
            ErrorKind::Runtime,
            "the load was awaited outside of a tokio runtime, which requests need",
            "await it inside of one, or call .load_blocking()",
        ));
    };
    rollback.set_runtime(runtime);
    rollback.vault().ensure_logged_in(started).await
}

type Answers = BTreeMap<Request, Result<Answer, Arc<Cause>>>;

async fn ask(rollback: &Arc<LoadRollback>, started: Instant, requests: Vec<Request>) -> Answers {
    let mut answers = Answers::new();
    let mut requests = requests.into_iter();
    if rollback.vault().wants_one_first()
        && let Some(first) = requests.next()
    {
        let answer = send(rollback, started, &first).await;
        answers.insert(first, answer);
    }
    let mut tasks = JoinSet::new();
    for request in requests {
        let rollback = Arc::clone(rollback);
        tasks.spawn(async move {
            let answer = send(&rollback, started, &request).await;
            (request, answer)
        });
    }
    while let Some(done) = tasks.join_next().await {
        if let Ok((request, answer)) = done {
            answers.insert(request, answer);
        }
    }
    answers
}

async fn send(
    rollback: &Arc<LoadRollback>,
    started: Instant,
    request: &Request,
) -> Result<Answer, Arc<Cause>> {
    let answer = match request.mints() {
        true => issue(rollback, started, request).await,
        false => request.send(&Session::started_at(rollback.vault(), started)).await,
    };
    answer.map_err(|cause| Arc::new(cause.at(format!("vault {}", request.name()))))
}

/// On a task of its own: a request that was cancelled half way would leave behind what it issued.
async fn issue(
    rollback: &Arc<LoadRollback>,
    started: Instant,
    request: &Request,
) -> Result<Answer, Cause> {
    let (ticket, request) = (rollback.issue_ticket(request.name()), request.clone());
    let issuing =
        tokio::spawn(async move { request.send(&Session::with_ticket(&ticket, started)).await });
    issuing.await.unwrap_or_else(|_| Err(lost()))
}

pub(crate) fn picked(engine: &dyn Engine, answer: &Answer) -> Found {
    match engine.pick(answer) {
        Ok(value) => {
            let granted = answer.granted();
            let ttl = granted
                .filter(|granted| !granted.ttl.is_zero())
                .map(|granted| granted.ttl.as_secs());
            let provenance = Provenance::Vault {
                source: engine.source(),
                version: answer.version,
                ttl_seconds: ttl,
                expires_at: granted.and_then(|granted| granted.expires_at),
                renewable: granted.is_some_and(|granted| granted.renewable),
            };
            Found::Value(value, provenance)
        }
        Err(cause) => without(Arc::new(cause.at(format!("vault {}", engine.source())))),
    }
}

fn without(cause: Arc<Cause>) -> Found {
    if cause.is_absence() { Found::Absent(Some(cause)) } else { Found::Failed(cause) }
}

fn settle(slots: &mut [Slot], index: usize, found: Found) {
    if let Some(slot) = slots.get_mut(index) {
        slot.found = found;
    }
}

/// Leaves whose one problem is reported already are looked up nowhere.
pub(crate) fn leave_out(slots: &mut [Slot], pending: &mut Pending, leaves: &BTreeSet<usize>) {
    for index in leaves {
        settle(slots, *index, Found::Skipped);
    }
    pending.retain(|(index, _)| !leaves.contains(index));
}

pub(crate) fn fail_all(slots: &mut [Slot], pending: &Pending, cause: &Arc<Cause>) {
    for (index, _) in pending {
        settle(slots, *index, Found::Failed(Arc::clone(cause)));
    }
}

/// Says of what still fails how long it was waited for.
pub(crate) fn waited(slots: &mut [Slot], pending: &Pending, deadline: Duration) {
    if deadline.is_zero() {
        return;
    }
    for (index, _) in pending {
        let Some(cause) = slots.get(*index).and_then(Slot::failure).cloned() else { continue };
        let hint = format!("it was waited for {deadline:?}; .startup_deadline(..) sets how long");
        settle(slots, *index, Found::Failed(Arc::new(cause.hint(&hint))));
    }
}

fn lost() -> Cause {
    Cause::new(ErrorKind::Protocol, "the request ended without an answer", "load again")
}

/// Keys of a secret that was read and that no field uses: the secret's name and the key.
fn unused(request: &Request, answer: &Answer, pending: &Pending) -> Vec<(String, String)> {
    let used: Option<BTreeSet<&str>> = pending.iter().map(|(_, engine)| engine.key()).collect();
    // A field without a key uses them all.
    let (Some(used), Some(entries)) = (used, answer.data.as_map()) else { return Vec::new() };
    let unused = entries.keys().filter(|key| !used.contains(key.as_str()));
    unused.map(|key| (request.name(), key.clone())).collect()
}

/// Like [`fetch`], but credentials are not made: the token's capabilities on their paths are asked
/// for instead.
pub(crate) async fn verify(
    rollback: &Arc<LoadRollback>,
    pending: Pending,
    slots: &mut [Slot],
) -> Asked {
    let (minted, read): (Pending, Pending) =
        pending.into_iter().partition(|(_, engine)| engine.request().mints());
    let asked = fetch(rollback, read, slots).await;
    if minted.is_empty() {
        return asked;
    }
    match capabilities(rollback, &minted).await {
        Ok(reply) => verify_each(rollback.vault(), &minted, &reply, slots),
        Err(cause) => fail_all(slots, &minted, &Arc::new(cause)),
    }
    asked
}

async fn capabilities(rollback: &LoadRollback, minted: &Pending) -> Result<Response, Cause> {
    ready(rollback, Instant::now()).await?;
    let vault = rollback.vault();
    let paths: BTreeSet<String> =
        minted.iter().map(|(_, engine)| path_for_policies(vault, &engine.grant())).collect();
    let paths: Vec<String> = paths.into_iter().collect();
    let reply = Session::new(vault).capabilities(&paths).await?;
    match reply.ok() {
        true => Ok(reply),
        false => Err(reply.into_cause().at("vault sys/capabilities-self")),
    }
}

fn path_for_policies(vault: &Vault, grant: &Grant) -> String {
    format!("{}{}", vault.policy_prefix(grant.namespace.as_deref()), grant.path)
}

fn verify_each(vault: &Vault, minted: &Pending, reply: &Response, slots: &mut [Slot]) {
    for (index, engine) in minted {
        let grant = engine.grant();
        let held = match reply.data().get(&path_for_policies(vault, &grant)) {
            Some(Value::List(items)) => items.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if !held.iter().any(|capability| [grant.capability, "root"].contains(capability)) {
            let hcl = grant.hcl(&vault.policy_prefix(grant.namespace.as_deref()));
            let cause = Cause::new(
                ErrorKind::Denied,
                format!("the token may not {} this path", grant.capability),
                format!("let a policy of the token allow it:\n{hcl}"),
            );
            let cause = cause.at(format!("vault {}", engine.source()));
            settle(slots, *index, Found::Failed(Arc::new(cause)));
        }
    }
}

/// The problems that no field owns.
pub(crate) fn general(dotenv: &Dotenv, layers: &Layers) -> Vec<Problem> {
    dotenv.problems.iter().chain(&layers.problems).cloned().map(Problem::general).collect()
}

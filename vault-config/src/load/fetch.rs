//! Asks Vault for what is pending: every distinct request once, all of them concurrently.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::engine::{EngineResponse, ResponseMeta, VaultRequest, VaultSource};
use crate::error::{Cause, ErrorKind};
use crate::load::slot::{Resolution, Slots};
use crate::report::Provenance;
use crate::schema::plan::LeafId;
use crate::time::Moment;
use crate::vault::{LoadRollback, Session, Vault};

/// A leaf that Vault is to be asked for.
#[derive(Clone)]
pub(crate) struct PendingLeaf {
    pub(crate) id: LeafId,
    pub(crate) vault_source: Arc<VaultSource>,
}

/// One request that was answered, apart from the values.
pub(crate) struct Fetched {
    pub(crate) request: VaultRequest,
    /// The leaves that share the response.
    pub(crate) fields: Vec<PendingLeaf>,
    /// `None` if nothing is stored there, or if the request failed.
    pub(crate) meta: Option<ResponseMeta>,
}

/// What came of the requests of one load.
#[derive(Default)]
pub(crate) struct FetchOutcome {
    pub(crate) fetched: Vec<Fetched>,
    /// Keys that no field uses: the secret's name and the key.
    pub(crate) unused: Vec<(String, String)>,
}

/// Sends every distinct request once and gives each leaf its part of the response.
pub(crate) async fn fetch(
    rollback: &Arc<LoadRollback>,
    pending: Vec<PendingLeaf>,
    slots: &mut Slots,
) -> FetchOutcome {
    let mut outcome = FetchOutcome::default();
    if pending.is_empty() {
        return outcome;
    }
    let (vault, started) = (rollback.vault(), rollback.vault().moment());
    if let Err(cause) = log_in(rollback, started).await {
        slots.fail(ids(&pending), &Arc::new(cause));
        return outcome;
    }
    let by_request = by_request(vault, pending);
    let mut answers = send_all(rollback, started, by_request.keys().cloned().collect()).await;
    for (request, fields) in by_request {
        let meta = match answers.remove(&request).unwrap_or_else(|| Err(Arc::new(lost()))) {
            Ok(answer) => {
                outcome.unused.extend(unused(&request, &answer, &fields));
                if !settle(slots, &fields, &answer)
                    && let Some(lease) = &answer.lease
                {
                    rollback.end_unused_lease(&lease.id).await;
                    continue;
                }
                Some(answer.into_meta())
            }
            Err(cause) => {
                for id in ids(&fields) {
                    slots.settle(id, Resolution::without_value(Arc::clone(&cause)));
                }
                None
            }
        };
        outcome.fetched.push(Fetched { request, fields, meta });
    }
    outcome
}

/// A leaf's part of the response.
pub(crate) fn picked(vault_source: &VaultSource, answer: &EngineResponse) -> Resolution {
    let value = match vault_source.pick(answer) {
        Ok(value) => value,
        Err(cause) => {
            let cause = cause.at(format!("vault {}", vault_source.name()));
            return Resolution::without_value(Arc::new(cause));
        }
    };
    let validity = answer.validity();
    let ttl = validity.map(|validity| validity.ttl).filter(|ttl| !ttl.is_zero());
    let provenance = Provenance::Vault {
        source: vault_source.name(),
        version: answer.version.as_ref().map(|version| version.number),
        ttl_seconds: ttl.map(|ttl| ttl.as_secs()),
        expires_at: validity.and_then(|validity| validity.expires_at),
        renewable: validity.is_some_and(|validity| validity.renewable),
    };
    Resolution::Value(value, provenance)
}

pub(crate) fn ids(pending: &[PendingLeaf]) -> impl Iterator<Item = LeafId> {
    pending.iter().map(|leaf| leaf.id)
}

/// Logs in if there is no token yet. From here on the rollback ends what the load obtains, on this runtime.
pub(crate) async fn log_in(rollback: &LoadRollback, started: Moment) -> Result<(), Cause> {
    let Ok(runtime) = Handle::try_current() else {
        return Err(Cause::new(
            ErrorKind::Runtime,
            "the load was awaited outside a tokio runtime, which requests need",
            "await it inside one, or call .load_blocking()",
        ));
    };
    rollback.set_runtime(runtime);
    rollback.vault().ensure_logged_in(started).await
}

/// Every distinct request, with the leaves that share its response.
fn by_request(
    vault: &Vault,
    pending: Vec<PendingLeaf>,
) -> BTreeMap<VaultRequest, Vec<PendingLeaf>> {
    let mut all: BTreeMap<VaultRequest, Vec<PendingLeaf>> = BTreeMap::new();
    for leaf in pending {
        let request = leaf.vault_source.request().relative_to(vault);
        let (request, mut fields) = match all.remove_entry(&request) {
            Some((earlier, fields)) => (earlier.join(&request), fields),
            None => (request, Vec::new()),
        };
        fields.push(leaf);
        all.insert(request, fields);
    }
    all
}

type Answers = BTreeMap<VaultRequest, Result<EngineResponse, Arc<Cause>>>;

async fn send_all(
    rollback: &Arc<LoadRollback>,
    started: Moment,
    requests: Vec<VaultRequest>,
) -> Answers {
    let mut answers = Answers::new();
    let mut requests = requests.into_iter();
    // Over TLS, the connection that the first request opens may carry all the others.
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
    started: Moment,
    request: &VaultRequest,
) -> Result<EngineResponse, Arc<Cause>> {
    let answer = match request.issues_credential() {
        true => issue(rollback, started, request).await,
        false => request.send(&Session::started_at(rollback.vault(), started)).await,
    };
    answer.map_err(|cause| Arc::new(cause.at(format!("vault {}", request.name()))))
}

/// Runs on a task of its own: a request that is cancelled half way would leave behind what it issued.
async fn issue(
    rollback: &Arc<LoadRollback>,
    started: Moment,
    request: &VaultRequest,
) -> Result<EngineResponse, Cause> {
    let (ticket, request) = (rollback.issue_ticket(request.name()), request.clone());
    let issuing =
        tokio::spawn(async move { request.send(&Session::with_ticket(&ticket, started)).await });
    issuing.await.unwrap_or_else(|_| Err(lost()))
}

/// Gives each leaf its part of the response; whether any of them has a value.
fn settle(slots: &mut Slots, fields: &[PendingLeaf], answer: &EngineResponse) -> bool {
    let mut is_used = false;
    for PendingLeaf { id, vault_source } in fields {
        let resolution = picked(vault_source.as_ref(), answer);
        is_used |= matches!(resolution, Resolution::Value(..));
        slots.settle(*id, resolution);
    }
    is_used
}

/// Keys of a secret that no field uses: the secret's name and the key.
fn unused(
    request: &VaultRequest,
    answer: &EngineResponse,
    fields: &[PendingLeaf],
) -> Vec<(String, String)> {
    let used: Option<BTreeSet<&str>> =
        fields.iter().map(|field| field.vault_source.key()).collect();
    // A field without a key uses them all.
    let (Some(used), Some(entries)) = (used, answer.data.as_map()) else { return Vec::new() };
    let unused = entries.keys().filter(|key| !used.contains(key.as_str()));
    unused.map(|key| (request.name(), key.clone())).collect()
}

fn lost() -> Cause {
    Cause::new(ErrorKind::Protocol, "the request ended without an answer", "load again")
}

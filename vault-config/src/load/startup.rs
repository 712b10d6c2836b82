//! Waits for a server that is not up yet when the program starts.

use std::sync::Arc;
use std::time::Duration;

use crate::error::ErrorKind;
use crate::http::retry;
use crate::load::Purpose;
use crate::load::fetch::{self, FetchOutcome, PendingLeaf};
use crate::load::slot::{Resolution, Slot, Slots};
use crate::load::verify;
use crate::vault::Custody;

/// Asks Vault for what is pending. What fails only because the server is not up yet is asked for again until the
/// deadline; what was answered is not, so that no credential is issued twice.
pub(crate) async fn fetch_when_up(
    custody: &Arc<Custody>,
    mut pending: Vec<PendingLeaf>,
    slots: &mut Slots,
    deadline: Duration,
    purpose: Purpose,
) -> FetchOutcome {
    let timing = custody.vault().timing().clone();
    let end = timing.network.now() + deadline;
    let mut tries = 0;
    let mut logged = None;
    let mut all = FetchOutcome::default();
    loop {
        let outcome = match purpose {
            Purpose::Check => verify::verify(custody, pending.clone(), slots).await,
            Purpose::Build | Purpose::Provide => {
                fetch::fetch(custody, pending.clone(), slots).await
            }
        };
        all.unused.extend(outcome.unused);
        all.fetched.extend(outcome.fetched);
        pending.retain(|leaf| slots.get(leaf.id).is_some_and(Slot::waits_for_the_server));
        let Some(cause) = pending.first().and_then(|leaf| slots.get(leaf.id)?.failure()) else {
            return all;
        };
        tries += 1;
        let left = end.since(timing.network.now());
        let Some(wait) = retry::startup_wait(tries, timing.chance.fraction(), left) else {
            add_hints(slots, &pending, deadline);
            return all;
        };
        log_once(custody, cause.kind, &cause.message, &mut logged);
        timing.network.sleep(wait).await;
    }
}

/// Logs why the load waits, once for each kind of failure in a row.
fn log_once(custody: &Custody, kind: ErrorKind, message: &str, logged: &mut Option<ErrorKind>) {
    if logged.replace(kind) != Some(kind) {
        let address = custody.vault().addresses().shown();
        tracing::warn!(%address, "waiting for Vault: {message}");
    }
}

/// Adds to each failure how long the load waited.
fn add_hints(slots: &mut Slots, pending: &[PendingLeaf], deadline: Duration) {
    if deadline.is_zero() {
        return;
    }
    let hint = format!("it was waited for {deadline:?}; .startup_deadline(..) sets how long");
    for leaf in pending {
        let Some(cause) = slots.get(leaf.id).and_then(Slot::failure).cloned() else { continue };
        slots.settle(leaf.id, Resolution::Failed(Arc::new(cause.hint(&hint))));
    }
}

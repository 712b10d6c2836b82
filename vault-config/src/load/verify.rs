//! A check: secrets are read, and credentials are not issued. Whether the token may request them is asked instead.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::{Cause, ErrorKind};
use crate::load::fetch::{self, FetchOutcome, PendingLeaf};
use crate::load::slot::{Resolution, Slots};
use crate::value::Value;
use crate::vault::{Grant, LoadRollback, Response, Session, Vault};

/// Fetches like [`fetch::fetch`], except that no credential is issued.
pub(crate) async fn verify(
    rollback: &Arc<LoadRollback>,
    pending: Vec<PendingLeaf>,
    slots: &mut Slots,
) -> FetchOutcome {
    let (credentials, secrets): (Vec<_>, Vec<_>) =
        pending.into_iter().partition(|leaf| leaf.vault_source.request().issues_credential());
    let outcome = fetch::fetch(rollback, secrets, slots).await;
    if credentials.is_empty() {
        return outcome;
    }
    match capabilities(rollback, &credentials).await {
        Ok(response) => settle(rollback.vault(), &credentials, &response, slots),
        Err(cause) => slots.fail(fetch::ids(&credentials), &Arc::new(cause)),
    }
    outcome
}

async fn capabilities(
    rollback: &LoadRollback,
    credentials: &[PendingLeaf],
) -> Result<Response, Cause> {
    fetch::log_in(rollback, rollback.vault().moment()).await?;
    let vault = rollback.vault();
    let paths = credentials.iter().map(|leaf| policy_path(vault, &leaf.vault_source.grant()));
    let paths: Vec<String> = paths.collect::<BTreeSet<_>>().into_iter().collect();
    let response = Session::new(vault).capabilities(&paths).await?;
    match response.ok() {
        true => Ok(response),
        false => Err(response.into_cause().at("vault sys/capabilities-self")),
    }
}

fn settle(vault: &Vault, credentials: &[PendingLeaf], response: &Response, slots: &mut Slots) {
    for PendingLeaf { id, vault_source } in credentials {
        let grant = vault_source.grant();
        let resolution = match allows(response, vault, &grant) {
            true => Resolution::NotIssued,
            false => {
                let cause = denied(vault, &grant).at(format!("vault {}", vault_source.name()));
                Resolution::Failed(Arc::new(cause))
            }
        };
        slots.settle(*id, resolution);
    }
}

fn allows(response: &Response, vault: &Vault, grant: &Grant) -> bool {
    let Some(Value::List(capabilities)) = response.data().get(&policy_path(vault, grant)) else {
        return false;
    };
    let mut capabilities = capabilities.iter().filter_map(Value::as_str);
    capabilities.any(|capability| [grant.capability, "root"].contains(&capability))
}

fn denied(vault: &Vault, grant: &Grant) -> Cause {
    let hcl = grant.hcl(&vault.policy_prefix(grant.namespace.as_deref()));
    Cause::new(
        ErrorKind::Denied,
        format!("the token may not {} this path", grant.capability),
        format!("add this to a policy of the token:\n{hcl}"),
    )
}

/// The path as the policies of the connection's namespace write it.
fn policy_path(vault: &Vault, grant: &Grant) -> String {
    format!("{}{}", vault.policy_prefix(grant.namespace.as_deref()), grant.path)
}

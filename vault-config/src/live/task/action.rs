//! Runs one action for a source, beside the task.

use std::time::Duration;

use tracing::Instrument as _;

use crate::engine::{EngineResponse, VaultRequest};
use crate::error::Cause;
use crate::http::{Idempotency, Lane};
use crate::live::watched::DueAction;
use crate::vault::{RenewalOutcome, ReservedToken, Session, Vault, catch_panic};

pub(super) enum ActionOutcome {
    Read {
        /// `Ok(None)`: the metadata shows that the secret has not changed.
        answer: Result<Option<Box<EngineResponse>>, Cause>,
        /// Whether the token may read the metadata; `None` if that was not tried.
        metadata_is_allowed: Option<bool>,
    },
    Issued(Result<Box<EngineResponse>, Cause>),
    Renewed(RenewalOutcome),
}

impl DueAction {
    /// A panic in the request becomes a failure of the action.
    pub(super) async fn run(
        self,
        vault: &Vault,
        request: &VaultRequest,
        token: &ReservedToken,
        timeout: Duration,
    ) -> ActionOutcome {
        let source = request.name();
        let (verb, span) = match self {
            Self::Read { .. } => ("read", tracing::info_span!("read", source)),
            Self::Issue => ("rotate", tracing::info_span!("rotate", source)),
            Self::Renew { .. } => ("renew", tracing::info_span!("renew", source)),
        };
        let began = vault.moment();
        let failed: fn(Cause) -> ActionOutcome = match self {
            Self::Read { .. } => |cause| ActionOutcome::failed_read(cause),
            Self::Issue => |cause| ActionOutcome::Issued(Err(cause)),
            Self::Renew { .. } => |cause| ActionOutcome::Renewed(RenewalOutcome::Failed(cause)),
        };
        let session = Session::with_reserved_token(vault, token, timeout);
        let outcome = catch_panic(self.send(session, request)).instrument(span.clone()).await;
        span.in_scope(|| tracing::debug!(elapsed = ?vault.moment().since(began), "{verb}: done"));
        outcome.unwrap_or_else(failed)
    }

    async fn send(self, mut session: Session<'_>, request: &VaultRequest) -> ActionOutcome {
        match self {
            Self::Issue => {
                // If the server may have received the request, it may have issued a credential: another attempt is
                // left to the issue budget.
                session.request_policy.idempotency = Idempotency::AtMostOnce;
                session.request_policy.lane = Lane::Issue;
                ActionOutcome::Issued(request.send(&session).await.map(Box::new))
            }
            Self::Renew { id, increment } => {
                ActionOutcome::Renewed(session.renew_lease(&id, increment).await)
            }
            Self::Read { unless_version: Some(version) } => {
                let has_changed = match request.has_changed(&session, &version).await {
                    Ok(has_changed) => has_changed,
                    Err(cause) => return ActionOutcome::failed_read(cause),
                };
                let answer = match has_changed {
                    Some(false) => Ok(None),
                    _ => read(&session, request).await,
                };
                ActionOutcome::Read { answer, metadata_is_allowed: Some(has_changed.is_some()) }
            }
            Self::Read { unless_version: None } => ActionOutcome::Read {
                answer: read(&session, request).await,
                metadata_is_allowed: None,
            },
        }
    }
}

async fn read(
    session: &Session<'_>,
    request: &VaultRequest,
) -> Result<Option<Box<EngineResponse>>, Cause> {
    request.send(session).await.map(Box::new).map(Some)
}

impl ActionOutcome {
    fn failed_read(cause: Cause) -> Self {
        Self::Read { answer: Err(cause), metadata_is_allowed: None }
    }

    /// Why the last request of the action failed. A refused renewal is a response, not a failure.
    pub(super) fn failure(&self) -> Option<&Cause> {
        match self {
            Self::Read { answer, .. } => answer.as_ref().err(),
            Self::Issued(answer) => answer.as_ref().err(),
            Self::Renewed(RenewalOutcome::Failed(cause)) => Some(cause),
            Self::Renewed(_) => None,
        }
    }
}

//! One request beside the task.

use std::time::{Duration, Instant};

use tracing::Instrument as _;

use crate::engine::{Answer, Request};
use crate::error::Cause;
use crate::http::{Lane, Repeat};
use crate::live::watched::DueAction;
use crate::vault::{RenewalOutcome, ReservedToken, Session, Vault, catch_panic};

pub(super) enum Outcome {
    /// `may_look` is whether the token may read the secret's metadata; `None` when that was not tried.
    Read {
        answer: Result<Option<Box<Answer>>, Cause>,
        may_look: Option<bool>,
    },
    Issued(Result<Box<Answer>, Cause>),
    Renewed(RenewalOutcome),
}

impl DueAction {
    pub(super) async fn run(
        self,
        vault: &Vault,
        request: &Request,
        token: &ReservedToken,
        limit: Duration,
    ) -> Outcome {
        let source = request.name();
        let (verb, span) = match self {
            Self::Read { .. } => ("read", tracing::info_span!("read", source)),
            Self::Issue => ("rotate", tracing::info_span!("rotate", source)),
            Self::Renew { .. } => ("renew", tracing::info_span!("renew", source)),
        };
        let began = Instant::now();
        let failed: fn(Cause) -> Outcome = match self {
            Self::Read { .. } => |cause| Outcome::Read { answer: Err(cause), may_look: None },
            Self::Issue => |cause| Outcome::Issued(Err(cause)),
            Self::Renew { .. } => |cause| Outcome::Renewed(RenewalOutcome::Failed(cause)),
        };
        let session = Session::with_reserved_token(vault, token, limit);
        let asked = catch_panic(self.ask(session, request)).instrument(span.clone()).await;
        span.in_scope(|| tracing::debug!(elapsed = ?began.elapsed(), "{verb}: done"));
        asked.unwrap_or_else(failed)
    }

    async fn ask(self, mut session: Session<'_>, request: &Request) -> Outcome {
        match self {
            Self::Issue => {
                // What may have been issued already is not asked for again at once.
                session.request_policy.repeat = Repeat::UnlessArrived;
                session.request_policy.lane = Lane::Issue;
                Outcome::Issued(request.send(&session).await.map(Box::new))
            }
            Self::Renew { id, full } => Outcome::Renewed(session.renew_lease(&id, full).await),
            Self::Read { unless: Some(version) } => {
                let changed = match request.has_changed(&session, &version).await {
                    Ok(changed) => changed,
                    Err(cause) => return Outcome::Read { answer: Err(cause), may_look: None },
                };
                let may_look = Some(changed.is_some());
                match changed {
                    Some(false) => Outcome::Read { answer: Ok(None), may_look },
                    _ => Outcome::Read { answer: read(&session, request).await, may_look },
                }
            }
            Self::Read { unless: None } => {
                Outcome::Read { answer: read(&session, request).await, may_look: None }
            }
        }
    }
}

async fn read(session: &Session<'_>, request: &Request) -> Result<Option<Box<Answer>>, Cause> {
    request.send(session).await.map(Box::new).map(Some)
}

impl Outcome {
    /// Why the server was not reached, or did not do what it was asked.
    pub(super) fn failure(&self) -> Option<&Cause> {
        match self {
            Self::Read { answer, .. } => answer.as_ref().err(),
            Self::Issued(answer) => answer.as_ref().err(),
            Self::Renewed(RenewalOutcome::Failed(cause)) => Some(cause),
            Self::Renewed(_) => None,
        }
    }
}

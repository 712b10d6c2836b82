//! One request beside the task.

use std::time::{Duration, Instant};

use tracing::Instrument as _;

use crate::engine::{Answer, Request};
use crate::error::{Cause, ErrorKind};
use crate::live::source::Due;
use crate::vault::{Manner, Renewal, Repeat, Session, Vault};

pub(super) enum Outcome {
    /// `may_look` is whether the token may read the secret's metadata; nothing when that was not
    /// tried.
    Read {
        answer: Result<Option<Box<Answer>>, Cause>,
        may_look: Option<bool>,
    },
    Minted(Result<Box<Answer>, Cause>),
    Renewed(Renewal),
}

impl Due {
    pub(super) async fn run(self, vault: Vault, request: Request, limit: Duration) -> Outcome {
        let verb = match self {
            Self::Read { .. } => "read",
            Self::Mint => "rotate",
            Self::Renew { .. } => "renew",
        };
        let source = request.name();
        let span = match verb {
            "read" => tracing::info_span!("read", source),
            "rotate" => tracing::info_span!("rotate", source),
            _ => tracing::info_span!("renew", source),
        };
        let began = Instant::now();
        let outcome = self.ask(&vault, &request, limit).instrument(span.clone()).await;
        span.in_scope(|| tracing::debug!(elapsed = ?began.elapsed(), "{verb}: done"));
        outcome
    }

    async fn ask(self, vault: &Vault, request: &Request, limit: Duration) -> Outcome {
        let mut session = Session::now(vault);
        let patience = Some(limit);
        session.manner = Manner { patience, logs_in: false, ..session.manner };
        match self {
            Self::Mint => {
                // What may have been made already is not asked for again at once.
                session.manner.repeat = Repeat::UnlessArrived;
                Outcome::Minted(request.send(&session).await.map(Box::new))
            }
            Self::Renew { id, full } => Outcome::Renewed(session.renew_lease(&id, full).await),
            Self::Read { unless: Some(version) } => {
                let changed = match request.has_changed(&session, version).await {
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

/// Whether a credential may have been made although no answer came.
pub(super) fn may_have_been_made(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Timeout
            | ErrorKind::Connection
            | ErrorKind::NotVault
            | ErrorKind::Protocol
            | ErrorKind::TooLarge
    )
}

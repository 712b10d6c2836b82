//! One load's use of a connection.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use secrecy::zeroize::Zeroizing;
use tokio::sync::Mutex;

use super::login::{Held, TokenUse};
use super::response::{ForeignNamespace, Issued, Response};
use super::{IssueTicket, Vault};
use crate::error::Cause;
use crate::http::{Attempts, Call, Lane, Repeat};
use crate::value::Value;

#[derive(Clone, Copy)]
pub(crate) struct Session<'a> {
    pub(crate) vault: &'a Vault,
    /// Another than the connection's.
    namespace: Option<&'a str>,
    /// What was learned before may have changed.
    pub(crate) started: Instant,
    pub(crate) manner: Manner,
    /// What is used instead of the connection's current token; a dead one is then not replaced.
    token: Option<&'a TokenUse>,
    /// For a request of a load that may issue a credential.
    ticket: Option<&'a IssueTicket>,
}

/// How insistent requests are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) repeat: Repeat,
    /// The limit on one request, when it is shorter than the connection's own.
    pub(crate) patience: Option<Duration>,
    pub(crate) attempts: Attempts,
    pub(crate) lane: Lane,
}

impl Manner {
    pub(super) fn of(self, call: Call<'_>) -> Call<'_> {
        let Self { patience, attempts, lane, .. } = self;
        Call { patience, attempts, lane, ..call }
    }
}

/// What is mounted somewhere, as far as the token may know.
#[derive(Debug, Clone)]
pub(crate) enum Mount {
    Kv(u8),
    Other(String),
    Unknown,
}

/// What is known of one mount, and since when; locked while it is asked for.
pub(super) type Learned = Arc<Mutex<Option<(Instant, Mount)>>>;

impl<'a> Session<'a> {
    /// For a load, which may ask again.
    pub(crate) fn now(vault: &'a Vault) -> Self {
        Self::since(vault, Instant::now())
    }

    pub(crate) fn since(vault: &'a Vault, started: Instant) -> Self {
        let manner = Manner {
            repeat: Repeat::Always,
            patience: None,
            attempts: Attempts::Configured,
            lane: Lane::Read,
        };
        Self { vault, namespace: None, started, manner, token: None, ticket: None }
    }

    /// For one action in the background, which uses one token and keeps a pace of its own.
    pub(crate) fn with_token(vault: &'a Vault, token: &'a TokenUse, patience: Duration) -> Self {
        let mut session = Self { token: Some(token), ..Self::now(vault) };
        session.manner.attempts = Attempts::Single;
        session.manner.patience = Some(patience);
        session
    }

    /// What is issued belongs to the load's custody as soon as it is answered.
    pub(crate) fn issuing(ticket: &'a IssueTicket, started: Instant) -> Self {
        Self { ticket: Some(ticket), ..Self::since(ticket.vault(), started) }
    }

    /// The same in this namespace, when one is given.
    pub(crate) fn within<'b>(&'b self, namespace: Option<&'b str>) -> Session<'b> {
        Session { namespace: namespace.or(self.namespace), ..*self }
    }

    fn namespace(&self) -> Option<&str> {
        self.namespace.or_else(|| self.vault.namespace())
    }

    fn foreign_namespace(&self) -> Option<ForeignNamespace> {
        let namespace = self.namespace().filter(|it| Some(*it) != self.vault.login_namespace())?;
        let policy_prefix = self.vault.policy_prefix(Some(namespace));
        Some(ForeignNamespace { name: namespace.to_owned(), policy_prefix })
    }

    pub(crate) async fn get(
        &self,
        path: &str,
        query: Option<(&'static str, String)>,
    ) -> Result<Response, Cause> {
        let call = Call { query, repeat: self.manner.repeat, ..Call::get(path) };
        self.send(self.manner.of(call)).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        body: &serde_json::Value,
        repeat: Repeat,
    ) -> Result<Response, Cause> {
        let body = Zeroizing::new(body.to_string().into_bytes());
        self.send(self.manner.of(Call::post(path, body, repeat))).await
    }

    /// What the token may do on each path, as its own namespace sees them:
    /// <https://openbao.org/api-docs/system/capabilities-self/>.
    pub(crate) async fn capabilities(&self, paths: &[String]) -> Result<Response, Cause> {
        let body = Zeroizing::new(serde_json::json!({ "paths": paths }).to_string().into_bytes());
        let session = self.within(self.vault.login_namespace());
        session.send(Call::post("sys/capabilities-self", body, Repeat::Always)).await
    }

    /// A request with the token. A dead token is replaced once, and the request repeated once.
    pub(super) async fn send(&self, call: Call<'_>) -> Result<Response, Cause> {
        let held = self.usable_token().await?;
        let reply = self.send_with(&held, &call).await?;
        if reply.status != 403 || !reply.speaks_vault() {
            return Ok(reply);
        }
        if self.token.is_some() {
            return match self.vault.is_dead(&held, self.started, self.manner).await? {
                true => Err(self.vault.dead()),
                false => Ok(reply),
            };
        }
        let Some(fresh) = self.vault.replace_dead(&held, self.started, self.manner).await? else {
            return Ok(reply);
        };
        let reply = self.send_with(&fresh, &call).await?;
        match reply.denies_token() {
            true => Err(self.vault.dead()),
            false => Ok(reply),
        }
    }

    async fn usable_token(&self) -> Result<Arc<Held>, Cause> {
        if let Some(token) = self.token {
            return token.take().then(|| Arc::clone(token.held())).ok_or_else(|| self.vault.dead());
        }
        let mut held = self.vault.token(None, self.started).await?;
        while !held.take_use() {
            held = self.vault.token(Some(&held), self.started).await?;
        }
        Ok(held)
    }

    async fn send_with(&self, held: &Arc<Held>, call: &Call<'_>) -> Result<Response, Cause> {
        let call = Call {
            token: held.secret(),
            namespace: self.namespace(),
            query: call.query.clone(),
            body: call.body.clone(),
            method: call.method.clone(),
            ..*call
        };
        let at = self.vault.clock().now();
        let reply = self.vault.0.http.send(&call).await?;
        let issued = Issued { at, token: Arc::clone(held) };
        let reply = Response::new(reply, issued, self.foreign_namespace());
        if let Some(ticket) = self.ticket {
            ticket.keep(&reply);
        }
        Ok(reply)
    }

    /// The version to try first: what was learned by any load before.
    pub(crate) fn known_kv_version(&self, mount: &str) -> Option<u8> {
        let learned = self.learned(mount);
        let known = learned.try_lock().ok()?;
        known.as_ref().and_then(|(_, mount)| mount.kv_version())
    }

    /// What is mounted there, asked for once a load and mount, however many paths wait to know.
    pub(crate) async fn mount(&self, mount: &str, path: &str) -> Result<Mount, Cause> {
        let learned = self.learned(mount);
        let mut known = learned.lock().await;
        if let Some((when, mount)) = &*known
            && *when >= self.started
        {
            return Ok(mount.clone());
        }
        let reply = self.get(&format!("sys/internal/ui/mounts/{mount}/{path}"), None).await?;
        let mount = learn(reply)?;
        *known = Some((Instant::now(), mount.clone()));
        Ok(mount)
    }

    fn learned(&self, mount: &str) -> Learned {
        let mut mounts = self.vault.0.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        let namespace = self.namespace().unwrap_or_default();
        Arc::clone(mounts.entry((namespace.to_owned(), mount.to_owned())).or_default())
    }
}

impl Mount {
    pub(crate) fn kv_version(&self) -> Option<u8> {
        match self {
            Self::Kv(version) => Some(*version),
            _ => None,
        }
    }

    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }
}

/// A refusal leaves the mount unknown; a failure is a failure, and never absence.
fn learn(reply: Response) -> Result<Mount, Cause> {
    if !reply.ok() {
        let refused = matches!(reply.status, 403 | 404) && reply.speaks_vault();
        return if refused { Ok(Mount::Unknown) } else { Err(reply.into_cause()) };
    }
    let text = |key: &str| reply.data().get(key).and_then(Value::as_str);
    let options = reply.data().get("options");
    let version = options.and_then(|options| options.get("version")).and_then(Value::as_str);
    Ok(match text("type") {
        Some("kv" | "generic") => Mount::Kv(if version == Some("2") { 2 } else { 1 }),
        Some(other) => Mount::Other(other.to_owned()),
        None => Mount::Unknown,
    })
}

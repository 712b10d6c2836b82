//! Requests with a token: the connection's active token, or one that the caller has reserved.

use std::sync::Arc;
use std::time::Duration;

use secrecy::zeroize::Zeroizing;

use super::response::{ForeignNamespace, Issued, Response};
use super::{IssueTicket, ReservedToken, TrackedToken, Vault};
use crate::error::Cause;
use crate::http::{Attempts, Call, Idempotency, Lane};
use crate::time::Moment;

/// The use of a connection by one load, or by one action in the background.
#[derive(Clone, Copy)]
pub(crate) struct Session<'a> {
    pub(crate) vault: &'a Vault,
    /// `None`: the connection's own.
    namespace: Option<&'a str>,
    /// Whatever was learned before this moment may have changed.
    pub(super) started: Moment,
    pub(crate) request_policy: RequestPolicy,
    /// Replaces the connection's active token. If the server refuses it, the session does not log in.
    reserved_token: Option<&'a ReservedToken>,
    /// For a request of a load that may issue a credential.
    ticket: Option<&'a IssueTicket>,
}

/// How often and how long a request is tried, and which connections it may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestPolicy {
    pub(crate) idempotency: Idempotency,
    /// The limit on one request, if it is shorter than the connection's own.
    pub(crate) timeout: Option<Duration>,
    pub(crate) attempts: Attempts,
    pub(crate) lane: Lane,
}

impl RequestPolicy {
    pub(super) fn apply_to(self, call: Call<'_>) -> Call<'_> {
        let Self { timeout, attempts, lane, .. } = self;
        Call { patience: timeout, attempts, lane, ..call }
    }
}

impl<'a> Session<'a> {
    /// For a load that starts now.
    pub(crate) fn new(vault: &'a Vault) -> Self {
        Self::started_at(vault, vault.moment())
    }

    pub(crate) fn started_at(vault: &'a Vault, started: Moment) -> Self {
        let request_policy = RequestPolicy {
            idempotency: Idempotency::Safe,
            timeout: None,
            attempts: Attempts::Configured,
            lane: Lane::Read,
        };
        Self { vault, namespace: None, started, request_policy, reserved_token: None, ticket: None }
    }

    /// For one background action. It sends each request once, because the task that started it plans its own
    /// retries.
    pub(crate) fn with_reserved_token(
        vault: &'a Vault,
        token: &'a ReservedToken,
        timeout: Duration,
    ) -> Self {
        let mut session = Self { reserved_token: Some(token), ..Self::new(vault) };
        session.request_policy.attempts = Attempts::Single;
        session.request_policy.timeout = Some(timeout);
        session
    }

    /// For a request that may issue a credential: its lease is recorded for the load's rollback as soon as
    /// the response arrives.
    pub(crate) fn with_ticket(ticket: &'a IssueTicket, started: Moment) -> Self {
        Self { ticket: Some(ticket), ..Self::started_at(ticket.vault(), started) }
    }

    /// The same session in `namespace`, if there is one.
    pub(crate) fn in_namespace<'b>(&'b self, namespace: Option<&'b str>) -> Session<'b> {
        Session { namespace: namespace.or(self.namespace), ..*self }
    }

    pub(super) fn namespace(&self) -> Option<&str> {
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
        let call = Call { query, idempotency: self.request_policy.idempotency, ..Call::get(path) };
        self.send(self.request_policy.apply_to(call)).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        body: &serde_json::Value,
        idempotency: Idempotency,
    ) -> Result<Response, Cause> {
        let body = Zeroizing::new(body.to_string().into_bytes());
        self.send(self.request_policy.apply_to(Call::post(path, body, idempotency))).await
    }

    /// What the token may do on each path. The paths are those that the token's own namespace uses:
    /// <https://openbao.org/api-docs/system/capabilities-self/>.
    pub(crate) async fn capabilities(&self, paths: &[String]) -> Result<Response, Cause> {
        let body = Zeroizing::new(serde_json::json!({ "paths": paths }).to_string().into_bytes());
        let session = self.in_namespace(self.vault.login_namespace());
        session.send(Call::post("sys/capabilities-self", body, Idempotency::Safe)).await
    }

    /// Sends a request with the token. If the server refuses the token itself, the session logs in once and
    /// sends the request once more. A session with a reserved token fails instead.
    pub(super) async fn send(&self, call: Call<'_>) -> Result<Response, Cause> {
        let token = self.usable_token().await?;
        let response = self.send_with_token(&token, &call).await?;
        if response.status != 403 || !response.speaks_vault() {
            return Ok(response);
        }
        let (vault, policy) = (self.vault, self.request_policy);
        if self.reserved_token.is_some() {
            return match vault.is_dead(&token, self.started, policy).await? {
                true => Err(vault.token_invalid()),
                false => Ok(response),
            };
        }
        let Some(new) = vault.replace_if_dead(&token, self.started, policy).await? else {
            return Ok(response);
        };
        let response = self.send_with_token(&new, &call).await?;
        match response.denies_token() {
            true => Err(vault.token_invalid()),
            false => Ok(response),
        }
    }

    async fn usable_token(&self) -> Result<Arc<TrackedToken>, Cause> {
        if let Some(reserved) = self.reserved_token {
            return match reserved.consume_use() {
                true => Ok(Arc::clone(reserved.token())),
                false => Err(self.vault.token_invalid()),
            };
        }
        let mut token = self.vault.obtain_token(None, self.started).await?;
        while !token.consume_use() {
            token = self.vault.obtain_token(Some(&token), self.started).await?;
        }
        Ok(token)
    }

    async fn send_with_token(
        &self,
        token: &Arc<TrackedToken>,
        call: &Call<'_>,
    ) -> Result<Response, Cause> {
        let call = Call {
            token: token.secret(),
            namespace: self.namespace(),
            query: call.query.clone(),
            body: call.body.clone(),
            method: call.method.clone(),
            ..*call
        };
        // Read before the request is sent: a lease starts no earlier than this, so its computed expiry is
        // never after the real one.
        let at = self.vault.clock().now();
        let reply = self.vault.0.http.send(&call).await?;
        let issued = Issued { at, token: Arc::clone(token) };
        let response = Response::new(reply, issued, self.foreign_namespace());
        if let Some(ticket) = self.ticket {
            ticket.record(&response);
        }
        Ok(response)
    }
}

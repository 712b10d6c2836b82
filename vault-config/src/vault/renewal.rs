//! The requests that renew and revoke tokens and leases: <https://openbao.org/api-docs/auth/token/>,
//! <https://openbao.org/api-docs/system/leases/>.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;
use serde_json::json;
use tracing::Instrument as _;

use super::session::Session;
use super::{LeaseId, ReservedToken, TrackedToken, Vault};
use crate::auth::TokenGrant;
use crate::error::{Cause, ErrorKind};
use crate::http::{Attempts, Call, Idempotency, Lane, Reply, seconds};
use crate::time::Lifetime;
use crate::time::clock::Reading;
use crate::value::Value;

/// The result of renewing a lease or a token.
#[derive(Debug)]
pub(crate) enum RenewalOutcome {
    Granted {
        requested_at: Reading,
        ttl: Duration,
    },
    /// The server will not renew it, now or later. It stays valid until its expiry.
    Refused(Cause),
    /// The server does not know it any more.
    Gone(Cause),
    /// A temporary failure.
    Failed(Cause),
}

/// The result of revoking a token.
pub(super) enum RevocationOutcome {
    /// It is dead, with all that was issued under it.
    Revoked,
    /// Tokens of its kind cannot be revoked, such as batch tokens.
    Impossible(Cause),
    /// The policies do not allow it.
    Denied(Cause),
}

impl Vault {
    /// Learns the lifetime of a token that was issued elsewhere.
    pub(super) async fn look_up_token(&self, token: &Arc<TrackedToken>) -> Result<(), Cause> {
        let requested_at = self.clock().now();
        let call = Call { attempts: Attempts::Single, ..Call::get("auth/token/lookup-self") };
        let reply = self.send_with_token(token, call).await?;
        if reply.denies_token() {
            return Err(self.token_invalid());
        }
        if reply.denies_by_policy() {
            tracing::warn!(
                "the token's policies deny auth/token/lookup-self, so its expiry is not known"
            );
            // It counts as a token that never expires. When it does expire, a 403 shows it.
            token.set_lifetime(Lifetime::new(
                requested_at,
                Duration::ZERO,
                Duration::ZERO,
                false,
                0.0,
            ));
            return Ok(());
        }
        let granted = TokenGrant::from_lookup(reply.data());
        if !reply.ok() || !names_token(reply.data().get("id"), token) {
            return Err(reply.into_refusal());
        }
        if let Some(Value::List(policies)) = reply.data().get("policies")
            && policies.iter().any(|policy| policy.as_str() == Some("root"))
        {
            tracing::warn!(
                "a root token is in use: give the service a token with fewer permissions"
            );
        }
        // A renewal of a periodic token grants its period, that of any other token what it was created with.
        let full_ttl = match seconds(reply.data().get("period")) {
            Duration::ZERO => seconds(reply.data().get("creation_ttl")),
            period => period,
        };
        let ttl = granted.ttl.unwrap_or_default();
        let renewable = granted.renewable;
        token.set_lifetime(Lifetime::new(requested_at, ttl, full_ttl, renewable, self.random()));
        Ok(())
    }

    pub(super) async fn renew_token(
        &self,
        token: &Arc<TrackedToken>,
        timeout: Duration,
    ) -> RenewalOutcome {
        let body = Zeroizing::new(b"{}".to_vec());
        let call = Call {
            patience: Some(timeout),
            attempts: Attempts::Single,
            ..Call::post("auth/token/renew-self", body, Idempotency::Safe)
        };
        let requested_at = self.clock().now();
        let reply = match self.send_with_token(token, call).await {
            Ok(reply) => reply,
            Err(cause) => return RenewalOutcome::Failed(cause),
        };
        let auth = reply.json().get("auth").unwrap_or(&Value::Null);
        let ttl = seconds(auth.get("lease_duration"));
        if reply.ok() && !ttl.is_zero() && names_token(auth.get("client_token"), token) {
            return RenewalOutcome::Granted { requested_at, ttl };
        }
        match reply.status {
            403 if reply.denies_by_policy() => RenewalOutcome::Refused(token_not_renewed(&reply)),
            403 if reply.denies_token() => RenewalOutcome::Gone(self.token_invalid()),
            400 if reply.says(NEVER_RENEWED) => RenewalOutcome::Refused(Cause {
                kind: ErrorKind::LeaseLost,
                ..token_not_renewed(&reply)
            }),
            _ => RenewalOutcome::Failed(reply.into_refusal()),
        }
    }

    /// Revokes a token, and with it all that was issued under it.
    ///
    /// # Errors
    /// Tokens of its kind cannot be revoked, its policies do not allow it, or the request failed.
    pub(crate) async fn revoke_token(&self, token: &Arc<TrackedToken>) -> Result<(), Cause> {
        match self.try_revoke_token(token).await? {
            RevocationOutcome::Revoked => Ok(()),
            RevocationOutcome::Impossible(cause) | RevocationOutcome::Denied(cause) => Err(cause),
        }
    }

    /// Like [`revoke_token`](Self::revoke_token), but distinguishes the refusals.
    pub(super) async fn try_revoke_token(
        &self,
        token: &Arc<TrackedToken>,
    ) -> Result<RevocationOutcome, Cause> {
        let body = Zeroizing::new(b"{}".to_vec());
        let call = Call::post("auth/token/revoke-self", body, Idempotency::Safe);
        let reply = self.send_with_token(token, Call { during_pauses: true, ..call }).await?;
        match reply.status {
            204 => Ok(RevocationOutcome::Revoked),
            _ if reply.ok() || reply.denies_token() => Ok(RevocationOutcome::Revoked),
            403 if reply.denies_by_policy() => {
                Ok(RevocationOutcome::Denied(token_not_revoked(reply)))
            }
            400 if reply.says(&["cannot be revoked"]) => {
                Ok(RevocationOutcome::Impossible(token_not_revoked(reply)))
            }
            _ => Err(reply.into_cause()),
        }
    }

    /// The result of counting the use is ignored: a request about the token itself may spend the use that is
    /// kept for the revocation.
    async fn send_with_token(
        &self,
        token: &Arc<TrackedToken>,
        call: Call<'_>,
    ) -> Result<Reply, Cause> {
        token.consume_use();
        let (secret, namespace) = (token.secret(), self.login_namespace());
        let call = Call { token: secret, namespace, lane: Lane::Renew, ..call };
        self.0.http.send(&call).await
    }
}

/// The server's words when it will not renew a lease or a token, now or later.
const NEVER_RENEWED: &[&str] =
    &["not renewable", "max TTL", "cannot renew", "cannot be renewed", "invalid lease ID"];

/// Whether a response is about this token. A response without a token counts, too; one with another token
/// comes from something other than the server, such as an agent that replaced the token in the request.
fn names_token(named: Option<&Value>, token: &TrackedToken) -> bool {
    let named = named.and_then(Value::as_str).filter(|named| !named.is_empty());
    named.is_none_or(|named| token.secret().is_some_and(|own| own.expose_secret() == named))
}

fn token_not_renewed(reply: &Reply) -> Cause {
    Cause::new(
        ErrorKind::Denied,
        format!("the token is not renewed: {} (HTTP {})", reply.words(), reply.status),
        "let its policies allow update on auth/token/renew-self, as `default` does; otherwise a new login has to replace it",
    )
}

fn token_not_revoked(reply: Reply) -> Cause {
    let is_denied = reply.denies_by_policy();
    let is_batch_token = reply.says(&["cannot be revoked"]);
    let cause = reply.into_cause();
    let message = format!("the token is not revoked: {}", cause.message);
    let kind = if is_denied || is_batch_token { ErrorKind::Denied } else { cause.kind };
    let cause = Cause { message, kind, ..cause };
    match is_denied {
        true => {
            cause.hint("let its policies allow update on auth/token/revoke-self, as `default` does")
        }
        false => cause,
    }
}

/// Ends a lease with the given token. It never logs in: when leases are ended, the program often ends, too.
///
/// # Errors
/// The lease stays valid until its expiry, for this reason.
pub(crate) async fn end_lease(
    vault: &Vault,
    token: Option<Arc<TrackedToken>>,
    lease: &LeaseId,
    source: &str,
) -> Result<(), Cause> {
    let Some(token) = token.and_then(|token| ReservedToken::reserve(token, 1)) else {
        return Err(vault.token_invalid());
    };
    let mut session = Session::with_reserved_token(vault, &token, vault.timeout());
    session.request_policy.attempts = Attempts::Configured;
    session.end_lease(lease, source).await
}

impl Session<'_> {
    /// Renews the lease for one second, after which the server revokes it. The `default` policy allows that
    /// renewal, but not a direct revocation.
    pub(super) async fn end_lease(&self, lease: &LeaseId, source: &str) -> Result<(), Cause> {
        let span = tracing::info_span!("revoke", source = "lease");
        let renewal = self.renew_for(lease, Duration::from_secs(1), true).instrument(span).await;
        let cause = match renewal {
            RenewalOutcome::Granted { .. } | RenewalOutcome::Gone(_) => return Ok(()),
            // The server revoked the lease together with its token.
            RenewalOutcome::Failed(cause) if cause.kind == ErrorKind::TokenInvalid => return Ok(()),
            RenewalOutcome::Refused(cause) | RenewalOutcome::Failed(cause) => cause,
        };
        tracing::debug!("a lease of {source} stays valid until it expires: {}", cause.message);
        let message =
            format!("a lease of {source} stays valid until it expires: {}", cause.message);
        Err(Cause { message, ..cause })
    }

    /// Requests a time to live of `increment` from now. The server may grant less. Possession of the id is
    /// enough to renew the lease, so any token of the connection may do it.
    pub(crate) async fn renew_lease(&self, lease: &LeaseId, increment: Duration) -> RenewalOutcome {
        self.renew_for(lease, increment, false).await
    }

    /// `during_pauses`: do not wait for a pause that the server asked for with `Retry-After`.
    async fn renew_for(
        &self,
        lease: &LeaseId,
        increment: Duration,
        during_pauses: bool,
    ) -> RenewalOutcome {
        let body =
            json!({ "lease_id": lease.id.expose_secret(), "increment": increment.as_secs() });
        let body = Zeroizing::new(body.to_string().into_bytes());
        let call =
            self.request_policy.apply_to(Call::post("sys/leases/renew", body, Idempotency::Safe));
        let call = Call { lane: Lane::Renew, during_pauses, ..call };
        let requested_at = self.vault.clock().now();
        let session = self.in_namespace(lease.namespace.as_deref());
        let reply = match session.send(call).await {
            Ok(reply) => reply,
            Err(cause) => return RenewalOutcome::Failed(cause),
        };
        let ttl = seconds(reply.json().get("lease_duration"));
        if reply.ok() && !ttl.is_zero() {
            return RenewalOutcome::Granted { requested_at, ttl };
        }
        let is_gone = reply.says(&["lease not found", "lease expired", "invalid lease"]);
        let is_final = reply.says(NEVER_RENEWED);
        let (status, is_denied) = (reply.status, reply.denies_by_policy());
        let is_refused = status == 403 && reply.speaks_vault();
        let mut cause = reply.into_refusal();
        cause.message = format!("the lease is not renewed: {}", cause.message);
        if is_refused {
            cause.kind = ErrorKind::Denied;
        }
        match status {
            400 | 404 if is_gone => RenewalOutcome::Gone(cause),
            400 if is_final => RenewalOutcome::Refused(cause),
            403 if is_denied => RenewalOutcome::Refused(cause),
            _ => RenewalOutcome::Failed(cause),
        }
    }
}

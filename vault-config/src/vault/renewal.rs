//! Renewing and letting go of tokens and leases: <https://openbao.org/api-docs/auth/token/>,
//! <https://openbao.org/api-docs/system/leases/>.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;
use serde_json::json;
use tracing::Instrument as _;

use super::session::Session;
use super::{Held, LeaseId, TokenUse, Vault};
use crate::auth::TokenGrant;
use crate::error::{Cause, ErrorKind};
use crate::http::{Attempts, Call, Lane, Repeat, Reply, seconds};
use crate::time::Lifetime;
use crate::time::clock::Reading;
use crate::value::Value;

/// How a renewal went.
#[derive(Debug)]
pub(crate) enum Renewal {
    Granted {
        asked: Reading,
        ttl: Duration,
    },
    /// Not now and not later; it lives on to its end.
    Never(Cause),
    /// The server does not know it any more.
    Gone(Cause),
    /// For something that may pass.
    Failed(Cause),
}

/// What became of a token that was to be revoked.
pub(super) enum Revocation {
    /// It is dead, with all that was issued under it.
    Done,
    /// The server never revokes it, as it does no batch token.
    Impossible(Cause),
    Refused(Cause),
}

impl Vault {
    /// Asks the server about a token that was made elsewhere.
    pub(super) async fn look_at_token(&self, held: &Arc<Held>) -> Result<(), Cause> {
        let asked = self.clock().now();
        let call = Call { attempts: Attempts::Single, ..Call::get("auth/token/lookup-self") };
        let reply = self.with_token(held, call).await?;
        if reply.denies_token() {
            return Err(self.dead());
        }
        if reply.denies_by_policy() {
            tracing::warn!(
                "the token's policies do not let it look at itself (auth/token/lookup-self), so that nothing is known of its end"
            );
            held.learn(Lifetime::new(asked, Duration::ZERO, Duration::ZERO, false, 0.0));
            return Ok(());
        }
        let granted = TokenGrant::from_lookup(reply.data());
        if !reply.ok() || !is_of(reply.data().get("id"), held) {
            return Err(reply.into_refusal());
        }
        if let Some(Value::List(policies)) = reply.data().get("policies")
            && policies.iter().any(|policy| policy.as_str() == Some("root"))
        {
            tracing::warn!("a root token is in use: give the service one that may do less");
        }
        let full = match seconds(reply.data().get("period")) {
            Duration::ZERO => seconds(reply.data().get("creation_ttl")),
            period => period,
        };
        let ttl = granted.ttl.unwrap_or_default();
        held.learn(Lifetime::new(asked, ttl, full, granted.renewable, fastrand::f64()));
        Ok(())
    }

    /// Renews the token in use.
    pub(super) async fn renew_token(&self, held: &Arc<Held>, patience: Duration) -> Renewal {
        let body = Zeroizing::new(b"{}".to_vec());
        let call = Call {
            patience: Some(patience),
            attempts: Attempts::Single,
            ..Call::post("auth/token/renew-self", body, Repeat::Always)
        };
        let asked = self.clock().now();
        let reply = match self.with_token(held, call).await {
            Ok(reply) => reply,
            Err(cause) => return Renewal::Failed(cause),
        };
        let auth = reply.json().get("auth").unwrap_or(&Value::Null);
        let ttl = seconds(auth.get("lease_duration"));
        if reply.ok() && !ttl.is_zero() && is_of(auth.get("client_token"), held) {
            return Renewal::Granted { asked, ttl };
        }
        match reply.status {
            403 if reply.denies_by_policy() => Renewal::Never(token_not_renewed(&reply)),
            403 if reply.denies_token() => Renewal::Gone(self.dead()),
            400 if reply.says(NEVER_RENEWED) => {
                Renewal::Never(Cause { kind: ErrorKind::LeaseLost, ..token_not_renewed(&reply) })
            }
            _ => Renewal::Failed(reply.into_refusal()),
        }
    }

    /// Revokes a token, and all that was issued under it.
    ///
    /// # Errors
    /// Why it lives on: it cannot be revoked, as batch tokens cannot, its policies do not allow it, or the
    /// request failed.
    pub(crate) async fn revoke_token(&self, held: &Arc<Held>) -> Result<(), Cause> {
        match self.revocation(held).await? {
            Revocation::Done => Ok(()),
            Revocation::Impossible(cause) | Revocation::Refused(cause) => Err(cause),
        }
    }

    /// The same, and what became of it.
    pub(super) async fn revocation(&self, held: &Arc<Held>) -> Result<Revocation, Cause> {
        let body = Zeroizing::new(b"{}".to_vec());
        let call = Call::post("auth/token/revoke-self", body, Repeat::Always);
        let reply = self.with_token(held, Call { during_pauses: true, ..call }).await?;
        match reply.status {
            204 => Ok(Revocation::Done),
            _ if reply.ok() || reply.denies_token() => Ok(Revocation::Done),
            403 if reply.denies_by_policy() => Ok(Revocation::Refused(token_not_revoked(reply))),
            400 if reply.says(&["cannot be revoked"]) => {
                Ok(Revocation::Impossible(token_not_revoked(reply)))
            }
            _ => Err(reply.into_cause()),
        }
    }

    async fn with_token(&self, held: &Arc<Held>, call: Call<'_>) -> Result<Reply, Cause> {
        held.take_use();
        let (token, namespace) = (held.secret(), self.login_namespace());
        let call = Call { token, namespace, lane: Lane::Renew, ..call };
        self.0.http.send(&call).await
    }
}

/// How the server says that it will not renew a lease or a token, now and later.
const NEVER_RENEWED: &[&str] =
    &["not renewable", "max TTL", "cannot renew", "cannot be renewed", "invalid lease ID"];

/// An answer that names a token has to name this one.
fn is_of(named: Option<&Value>, held: &Held) -> bool {
    let named = named.and_then(Value::as_str).filter(|named| !named.is_empty());
    named.is_none_or(|named| held.secret().is_some_and(|own| own.expose_secret() == named))
}

fn token_not_renewed(reply: &Reply) -> Cause {
    Cause::new(
        ErrorKind::Denied,
        format!("the token is not renewed: {} (HTTP {})", reply.words(), reply.status),
        "let its policies allow update on auth/token/renew-self, as `default` does; without that a \
         new login takes its place",
    )
}

fn token_not_revoked(reply: Reply) -> Cause {
    let is_denied = reply.denies_by_policy();
    // Batch tokens.
    let is_refused = is_denied || reply.says(&["cannot be revoked"]);
    let cause = reply.into_cause();
    let what = format!("the token is not revoked: {}", cause.message);
    let kind = if is_refused { ErrorKind::Denied } else { cause.kind };
    let cause = Cause { message: what, kind, ..cause };
    match is_denied {
        true => {
            cause.hint("let its policies allow update on auth/token/revoke-self, as `default` does")
        }
        false => cause,
    }
}

/// Ends a lease by the current token, or where there is none by the one that it was issued under. No login
/// is made for that.
///
/// # Errors
/// Why it is left to its end.
pub(crate) async fn end_lease(
    vault: &Vault,
    held: Option<Arc<Held>>,
    lease: &LeaseId,
    source: &str,
) -> Result<(), Cause> {
    let Some(token) = held.and_then(|held| TokenUse::reserve(held, 1)) else {
        return Err(vault.dead());
    };
    let mut session = Session::with_token(vault, &token, vault.timeout());
    session.manner.attempts = Attempts::Configured;
    session.end_lease(lease, source).await
}

impl Session<'_> {
    /// A lease that is renewed for a second is over in a second: `default` allows that, and not to
    /// revoke it.
    pub(super) async fn end_lease(&self, lease: &LeaseId, source: &str) -> Result<(), Cause> {
        let span = tracing::info_span!("revoke", source = "lease");
        let renewal = self.renew_for(lease, Duration::from_secs(1), true).instrument(span).await;
        let cause = match renewal {
            Renewal::Granted { .. } | Renewal::Gone(_) => return Ok(()),
            // It died with the token.
            Renewal::Failed(cause) if cause.kind == ErrorKind::TokenInvalid => return Ok(()),
            Renewal::Never(cause) | Renewal::Failed(cause) => cause,
        };
        tracing::debug!("a lease of {source} is left to its end: {}", cause.message);
        let what = format!("a lease of {source} is left to its end: {}", cause.message);
        Err(Cause { message: what, ..cause })
    }

    /// Asks for `increment` from now; the server may give less. Who knows the id may renew it.
    pub(crate) async fn renew_lease(&self, lease: &LeaseId, increment: Duration) -> Renewal {
        self.renew_for(lease, increment, false).await
    }

    async fn renew_for(
        &self,
        lease: &LeaseId,
        increment: Duration,
        during_pauses: bool,
    ) -> Renewal {
        let body =
            json!({ "lease_id": lease.id.expose_secret(), "increment": increment.as_secs() });
        let body = Zeroizing::new(body.to_string().into_bytes());
        let call = self.manner.of(Call::post("sys/leases/renew", body, Repeat::Always));
        let call = Call { lane: Lane::Renew, during_pauses, ..call };
        let asked = self.vault.clock().now();
        let session = self.within(lease.namespace.as_deref());
        let reply = match session.send(call).await {
            Ok(reply) => reply,
            Err(cause) => return Renewal::Failed(cause),
        };
        let ttl = seconds(reply.json().get("lease_duration"));
        if reply.ok() && !ttl.is_zero() {
            return Renewal::Granted { asked, ttl };
        }
        let is_gone = reply.says(&["lease not found", "lease expired", "invalid lease"]);
        let is_never = reply.says(NEVER_RENEWED);
        let (status, is_denied) = (reply.status, reply.denies_by_policy());
        let is_refused = status == 403 && reply.speaks_vault();
        let mut cause = reply.into_refusal();
        cause.message = format!("the lease is not renewed: {}", cause.message);
        if is_refused {
            cause.kind = ErrorKind::Denied;
        }
        match status {
            400 | 404 if is_gone => Renewal::Gone(cause),
            400 if is_never => Renewal::Never(cause),
            403 if is_denied => Renewal::Never(cause),
            _ => Renewal::Failed(cause),
        }
    }
}

//! Renewing and letting go of tokens and leases: <https://openbao.org/api-docs/auth/token/>,
//! <https://openbao.org/api-docs/system/leases/>.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;
use serde_json::json;

use super::reply::{LeaseId, seconds};
use super::request::Call;
use super::session::Session;
use super::{Held, Lane, Repeat, Reply, Vault};
use crate::auth::Granted;
use crate::error::{Cause, ErrorKind};
use crate::live::clock::Reading;
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

impl Vault {
    /// Asks the server about a token that was made elsewhere.
    pub(crate) async fn look_at_token(&self, held: &Arc<Held>) -> Result<(), Cause> {
        let asked = self.clock().now();
        let reply = self.with_token(held, Call::get("auth/token/lookup-self")).await?;
        if reply.status == 403 && !reply.denies_by_policy() && reply.speaks_vault() {
            return Err(self.dead());
        }
        if reply.status == 403 {
            tracing::warn!(
                "the token's policies do not let it look at itself (auth/token/lookup-self), so \
                 that nothing is known of its end"
            );
            held.learn(&Granted::default(), Duration::ZERO, asked);
            return Ok(());
        }
        if !reply.ok() {
            return Err(reply.into_cause());
        }
        if let Some(Value::List(policies)) = reply.data().get("policies")
            && policies.iter().any(|policy| policy.as_str() == Some("root"))
        {
            tracing::warn!("a root token is in use: give the service one that may do less");
        }
        let granted = Granted::read(reply.data(), "ttl", "type");
        let full = match seconds(reply.data().get("period")) {
            Duration::ZERO => seconds(reply.data().get("creation_ttl")),
            period => period,
        };
        held.learn(&granted, full, asked);
        Ok(())
    }

    /// Renews the token in use.
    pub(crate) async fn renew_token(&self, held: &Arc<Held>, patience: Duration) -> Renewal {
        let body = Zeroizing::new(b"{}".to_vec());
        let call = Call {
            patience: Some(patience),
            ..Call::post("auth/token/renew-self", body, Repeat::Always)
        };
        let asked = self.clock().now();
        let reply = match self.with_token(held, call).await {
            Ok(reply) => reply,
            Err(cause) => return Renewal::Failed(cause),
        };
        if reply.ok() {
            let auth = reply.json().get("auth").unwrap_or(&Value::Null);
            return Renewal::Granted { asked, ttl: seconds(auth.get("lease_duration")) };
        }
        match reply.status {
            403 if reply.denies_by_policy() => Renewal::Never(token_not_renewed(&reply)),
            403 if reply.speaks_vault() => Renewal::Gone(self.dead()),
            400 => Renewal::Never(token_not_renewed(&reply)),
            _ => Renewal::Failed(reply.into_cause()),
        }
    }

    /// Revokes a token, and all that was made under it.
    pub(crate) async fn revoke_token(&self, held: &Arc<Held>) -> Result<(), Cause> {
        let body = Zeroizing::new(b"{}".to_vec());
        let call = Call::post("auth/token/revoke-self", body, Repeat::Always);
        let reply = self.with_token(held, Call { during_pauses: true, ..call }).await?;
        // A dead token, or one that cannot be revoked, as batch tokens cannot.
        let is_gone = matches!(reply.status, 400 | 403) && reply.speaks_vault();
        match reply.status {
            204 => Ok(()),
            _ if is_gone || reply.ok() => Ok(()),
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

fn token_not_renewed(reply: &Reply) -> Cause {
    Cause::new(
        ErrorKind::Denied,
        format!("the token is not renewed: {} (HTTP {})", reply.words(), reply.status),
        "let its policies allow update on auth/token/renew-self, as `default` does; without that a \
         new login takes its place",
    )
}

impl Session<'_> {
    /// Asks for `increment` from now; the server may give less. Who knows the id may renew it.
    pub(crate) async fn renew_lease(&self, lease: &LeaseId, increment: Duration) -> Renewal {
        self.renew_for(lease, increment, false).await
    }

    /// A lease that is renewed for a second is over in a second: `default` allows that, and not to
    /// revoke it.
    pub(crate) async fn end_lease(&self, lease: &LeaseId) -> Renewal {
        self.renew_for(lease, Duration::from_secs(1), true).await
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
        if reply.ok() {
            return Renewal::Granted { asked, ttl: seconds(reply.json().get("lease_duration")) };
        }
        let words = reply.words();
        let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
        let cause = |reply: Reply| {
            let cause = reply.into_cause();
            Cause { what: format!("the lease is not renewed: {}", cause.what), ..cause }
        };
        match reply.status {
            400 | 404 if says(&["lease not found", "lease expired", "invalid lease"]) => {
                Renewal::Gone(cause(reply))
            }
            400 if says(&["not renewable", "max TTL", "cannot renew"]) => {
                Renewal::Never(cause(reply))
            }
            403 if reply.speaks_vault() => Renewal::Never(cause(reply)),
            _ => Renewal::Failed(cause(reply)),
        }
    }
}

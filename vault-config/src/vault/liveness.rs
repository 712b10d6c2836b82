//! Whether a token that received a 403 is dead. A dead token and a missing permission give the same status,
//! and only a lookup of the token distinguishes them.

use std::sync::Arc;

use secrecy::SecretString;

use super::session::RequestPolicy;
use super::{TrackedToken, Vault};
use crate::error::Cause;
use crate::http::{Call, Lane};
use crate::time::Moment;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Liveness {
    Alive,
    Dead,
    /// Something other than the server answered. It does not change what is known.
    Unknown,
}

impl Vault {
    /// Called after a 403. Returns a new token if the old one is dead and can be replaced, and `None` if the
    /// old one is alive. The lookup happens once for all requests that were refused since `since`.
    ///
    /// # Errors
    /// The token is dead and no login can replace it, or the lookup or the login failed.
    pub(super) async fn replace_if_dead(
        &self,
        token: &Arc<TrackedToken>,
        since: Moment,
        policy: RequestPolicy,
    ) -> Result<Option<Arc<TrackedToken>>, Cause> {
        match self.is_dead(token, since, policy).await? {
            false => Ok(None),
            true if !self.0.auth.can_repeat() => Err(self.token_invalid()),
            true => self.obtain_token(Some(token), since).await.map(Some),
        }
    }

    /// A result from before `since` is not reused, because the token may have died meanwhile.
    pub(super) async fn is_dead(
        &self,
        token: &TrackedToken,
        since: Moment,
        policy: RequestPolicy,
    ) -> Result<bool, Cause> {
        let Some(secret) = token.secret() else { return Ok(false) };
        let mut last_lookup = token.last_lookup.lock().await;
        if let Some((when, is_alive)) = *last_lookup
            && when >= since
        {
            return Ok(!is_alive);
        }
        // The lookup itself costs a use, and the last use would revoke the token.
        if !token.consume_use() {
            return Ok(false);
        }
        let is_alive = match self.look_up_liveness(secret, policy).await? {
            Liveness::Alive => true,
            Liveness::Dead => false,
            Liveness::Unknown => return Ok(false),
        };
        *last_lookup = Some((self.moment(), is_alive));
        Ok(!is_alive)
    }

    async fn look_up_liveness(
        &self,
        secret: &SecretString,
        policy: RequestPolicy,
    ) -> Result<Liveness, Cause> {
        let namespace = self.login_namespace();
        let call = policy.apply_to(Call::get("auth/token/lookup-self"));
        let call = Call { token: Some(secret), namespace, lane: Lane::Renew, ..call };
        let reply = self.0.http.send(&call).await?;
        // Even a token that its policies do not let look itself up is alive.
        Ok(match reply.ok() || reply.denies_by_policy() {
            true => Liveness::Alive,
            false if reply.denies_token() => Liveness::Dead,
            false => Liveness::Unknown,
        })
    }
}

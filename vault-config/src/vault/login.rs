//! One token for all who share a connection: one login at a time, one failure for all who waited.

use std::sync::Arc;
use std::time::Instant;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::Vault;
use super::request::Call;
use crate::auth::{AuthToken, LoginClient};
use crate::error::{Cause, ErrorKind};

#[derive(Default)]
pub(super) struct Login {
    held: Option<Arc<Held>>,
    failure: Option<(Instant, Cause)>,
}

/// A token in use.
pub(crate) struct Held {
    token: AuthToken,
    /// Whether the token was alive, and when that was asked.
    alive: Mutex<Option<(Instant, bool)>>,
}

impl Held {
    pub(super) fn secret(&self) -> Option<&SecretString> {
        self.token.secret()
    }

    fn is(&self, token: &AuthToken) -> bool {
        match (self.secret(), token.secret()) {
            (Some(held), Some(token)) => held.expose_secret() == token.expose_secret(),
            (held, token) => held.is_none() && token.is_none(),
        }
    }
}

impl Vault {
    /// Logs in now if there is no token yet.
    pub(crate) async fn ready(&self, since: Instant) -> Result<(), Cause> {
        self.token(None, since).await.map(drop)
    }

    /// The token in hand, unless it is the one that was `refused`; then a new one. A login that
    /// failed since `since` is not repeated: several wrong tries lock a role.
    pub(super) async fn token(
        &self,
        refused: Option<&Arc<Held>>,
        since: Instant,
    ) -> Result<Arc<Held>, Cause> {
        let login = self.0.login.lock().await;
        if let Some(settled) = login.settled(refused, since) {
            return settled;
        }
        drop(login);
        // On a task of its own: who stops waiting does not cancel a login that others wait for, nor
        // loses a token that a single-use secret_id has paid for.
        let (vault, refused) = (self.clone(), refused.cloned());
        let login = tokio::spawn(async move { vault.log_in_once(refused, since).await });
        login.await.unwrap_or_else(|_| {
            let help = "see the login method's code: it panicked, or its runtime ended";
            Err(Cause::new(ErrorKind::LoginRefused, "the login ended without an answer", help))
        })
    }

    async fn log_in_once(
        &self,
        refused: Option<Arc<Held>>,
        since: Instant,
    ) -> Result<Arc<Held>, Cause> {
        let mut login = self.0.login.lock().await;
        if let Some(settled) = login.settled(refused.as_ref(), since) {
            return settled;
        }
        let result = match (self.log_in().await, &refused) {
            // A file whose token nobody has replaced.
            (Ok(token), Some(refused)) if refused.is(&token) => Err(self.dead()),
            (result, _) => result,
        };
        match result {
            Ok(token) => {
                let held = Arc::new(Held { token, alive: Mutex::default() });
                *login = Login { held: Some(Arc::clone(&held)), failure: None };
                Ok(held)
            }
            Err(cause) => {
                *login = Login { held: None, failure: Some((Instant::now(), cause.clone())) };
                Err(cause)
            }
        }
    }

    async fn log_in(&self) -> Result<AuthToken, Cause> {
        let auth = &self.0.auth;
        let client = LoginClient::new(&self.0.http);
        let token = auth.login(&client).await.map_err(|error| {
            let place = format!("vault {}, login by {}", self.address().shown(), auth.describe());
            error.into_cause().at(place)
        })?;
        tracing::debug!(method = %auth.describe(), "logged in");
        Ok(token)
    }

    /// After a 403: a new token if the old one is dead and can be replaced, `None` if it is alive.
    /// That is asked once for all who were refused since `since`; a token that was alive may have
    /// died.
    pub(super) async fn replace_dead(
        &self,
        held: &Arc<Held>,
        since: Instant,
    ) -> Result<Option<Arc<Held>>, Cause> {
        let Some(token) = held.secret() else { return Ok(None) };
        let mut asked = held.alive.lock().await;
        let alive = match *asked {
            Some((when, alive)) if when >= since || !alive => alive,
            _ => {
                let alive = self.is_alive(token).await?;
                *asked = Some((Instant::now(), alive));
                alive
            }
        };
        drop(asked);
        match alive {
            true => Ok(None),
            false if !self.0.auth.can_repeat() => Err(self.dead()),
            false => self.token(Some(held), since).await.map(Some),
        }
    }

    /// A dead token and a missing permission are both 403; only a look at the token tells them
    /// apart.
    async fn is_alive(&self, token: &SecretString) -> Result<bool, Cause> {
        let namespace = self.namespace();
        let call = Call { token: Some(token), namespace, ..Call::get("auth/token/lookup-self") };
        let reply = self.0.http.send(&call).await?;
        Ok(reply.status != 403 || reply.denies_by_policy())
    }

    pub(super) fn dead(&self) -> Cause {
        Cause::new(
            ErrorKind::TokenInvalid,
            "the token is expired, revoked, used up or unknown to this server (HTTP 403)",
            format!("give a valid token; the refused one is the {}", self.0.auth.describe()),
        )
        .at(format!("vault {}", self.address().shown()))
    }
}

impl Login {
    /// What needs no login: a token that was not refused, or a failure that is too fresh to repeat.
    fn settled(
        &self,
        refused: Option<&Arc<Held>>,
        since: Instant,
    ) -> Option<Result<Arc<Held>, Cause>> {
        if let Some(held) = &self.held
            && refused.is_none_or(|refused| !Arc::ptr_eq(refused, held))
        {
            return Some(Ok(Arc::clone(held)));
        }
        let (when, cause) = self.failure.as_ref()?;
        (*when >= since).then(|| Err(cause.clone()))
    }
}

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use crate::time::rfc3339;

/// How a watched configuration is doing: made for a health endpoint and for metrics. Times are
/// serialized as RFC 3339 in UTC. Never a value.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The worst of all.
    pub health: Health,
    /// When the first of what is in hand ends, if it is neither renewed nor replaced before.
    #[serde(serialize_with = "moment")]
    pub good_until: Option<SystemTime>,
    /// The token; nothing without a Vault, and where an agent adds it.
    pub token: Option<TokenStatus>,
    /// Every secret and credential that is kept fresh.
    pub sources: Vec<SourceStatus>,
    /// What was done since the start.
    pub counters: Counters,
}

/// One verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// All is well.
    Healthy,
    /// Something fails, and what is in hand is good for a while.
    Degraded,
    /// Something fails, and what is in hand has ended or is about to: less than a sixth of its
    /// life is left. A static role's password is good until its next rotation.
    Failing,
    /// Nothing is kept fresh any more: it was [shut down](crate::Live::shutdown), which revokes what
    /// was made, or its runtime has ended. Nothing is wrong, and the service is not ready.
    Stopped,
}

/// How the token is doing.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct TokenStatus {
    /// What can be done when it ends.
    pub login: Login,
    /// How it is doing.
    #[serde(flatten)]
    pub state: State,
}

/// Whether there can be another token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Login {
    /// As far as anybody knows, a new login works.
    Repeatable,
    /// A new login was refused: the secret_id is spent or expired, the role is gone, or the like.
    /// The token in hand is the last one.
    Refused,
    /// There is no way to log in again: the token was given as it is.
    Impossible,
}

/// How one secret or credential is doing.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SourceStatus {
    /// The source, such as `kv secret/my-app` or `database/creds/readonly`.
    pub source: String,
    /// The paths of the fields that come from it.
    pub fields: Vec<String>,
    /// How it is doing.
    #[serde(flatten)]
    pub state: State,
}

/// How anything is doing.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct State {
    /// The verdict.
    pub health: Health,
    /// When it was read, renewed, made or found unchanged.
    #[serde(serialize_with = "moment")]
    pub last_success: Option<SystemTime>,
    /// What is planned next.
    pub next_action: Option<Action>,
    /// And when.
    #[serde(serialize_with = "moment")]
    pub next_action_at: Option<SystemTime>,
    /// When what is in hand ends, the sooner of its own and its token's end; nothing when it does
    /// not end. The password of a static role ends 10 s after its next rotation was announced for.
    #[serde(serialize_with = "moment")]
    pub expires_at: Option<SystemTime>,
    /// Since when it fails.
    #[serde(serialize_with = "moment")]
    pub failing_since: Option<SystemTime>,
    /// What is wrong, and what to do.
    pub error: Option<String>,
    /// From here on a failure is not degraded but failing.
    #[serde(skip)]
    pub(super) serious_at: Option<SystemTime>,
}

/// What is planned for a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// A new login.
    LogIn,
    /// The token or lease is renewed.
    Renew,
    /// Another credential is made.
    Rotate,
    /// The secret is read again.
    Read,
}

/// What was done since the configuration was loaded. They only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// Logins, without the first.
    pub logins: u64,
    /// Renewals of the token by this configuration.
    pub token_renewals: u64,
    /// Renewals of leases.
    pub renewals: u64,
    /// Credentials that were replaced.
    pub rotations: u64,
    /// Secrets that were read or found unchanged.
    pub reads: u64,
    /// Configurations that were published.
    pub published: u64,
    /// Configurations that were not, because they are not valid: each once.
    pub rejected: u64,
    /// Actions that failed, retries included.
    pub failures: u64,
}

impl Status {
    /// Nothing is watched.
    pub(super) fn at_rest() -> Self {
        Self {
            health: Health::Healthy,
            good_until: None,
            token: None,
            sources: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Nothing is watched any more.
    pub(super) fn stop(&mut self) {
        let counters = self.counters;
        *self = Self { health: Health::Stopped, counters, ..Self::at_rest() };
    }

    pub(super) fn judged(mut self, now: SystemTime) -> Self {
        let token = self.token.iter_mut().map(|token| &mut token.state);
        let states = token.chain(self.sources.iter_mut().map(|source| &mut source.state));
        for state in states {
            state.health = state.judge(now);
            self.health = self.health.max(state.health);
            let ends = [self.good_until, state.expires_at];
            self.good_until = ends.into_iter().flatten().min();
        }
        self
    }
}

impl State {
    fn judge(&self, now: SystemTime) -> Health {
        let ended = self.expires_at.is_some_and(|end| now >= end);
        let serious = self.serious_at.is_some_and(|at| now >= at);
        match self.failing_since {
            None if !ended => Health::Healthy,
            Some(_) if !ended && !serious => Health::Degraded,
            _ => Health::Failing,
        }
    }

    pub(super) fn healthy() -> Self {
        Self {
            health: Health::Healthy,
            last_success: None,
            next_action: None,
            next_action_at: None,
            expires_at: None,
            failing_since: None,
            error: None,
            serious_at: None,
        }
    }

    /// It ends in `left`, of a life of `full`.
    /// Of what is over, `over` is for how long.
    pub(super) fn ends(
        &mut self,
        now: SystemTime,
        left: Option<Duration>,
        over: Duration,
        full: Duration,
    ) {
        self.expires_at = left.and_then(|left| now.checked_add(left)?.checked_sub(over));
        self.serious_at = self.expires_at.and_then(|end| end.checked_sub(full / 6));
    }

    pub(super) fn plan(&mut self, now: SystemTime, action: Action, wait: Duration) {
        self.next_action = Some(action);
        self.next_action_at = now.checked_add(wait);
    }
}

#[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
fn moment<S: Serializer>(moment: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match moment {
        Some(moment) => serializer.serialize_str(&rfc3339::shown(*moment)),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_serialized_whatever_its_times_are() {
        let epoch = SystemTime::UNIX_EPOCH;
        let day = Duration::from_secs(24 * 3600);
        let long_ago = epoch - day;
        let far_ahead = epoch + Duration::from_secs(253_402_300_799) + day;
        let state = State {
            last_success: Some(long_ago),
            next_action_at: Some(far_ahead),
            expires_at: Some(far_ahead),
            failing_since: Some(long_ago),
            ..State::healthy()
        };
        let token = Some(TokenStatus { login: Login::Repeatable, state });
        let status = Status { token, ..Status::at_rest() }.judged(epoch);
        let json = serde_json::to_string(&status).unwrap();
        assert!(json.contains(r#""good_until":"9999-12-31T23:59:59Z""#), "{json}");
        assert!(json.contains(r#""failing_since":"1970-01-01T00:00:00Z""#), "{json}");
    }
}

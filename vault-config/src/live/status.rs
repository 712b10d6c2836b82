use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use crate::time::rfc3339;

/// The state of a watched configuration, for a health endpoint and for metrics. It never contains a secret value.
/// Times are serialized as RFC 3339 in UTC.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The worst health of the token and all sources.
    pub health: Health,
    /// The earliest expiry of the token and all sources, if none of them is renewed or replaced before. `None` if
    /// nothing expires.
    #[serde(serialize_with = "rfc3339_or_none")]
    pub good_until: Option<SystemTime>,
    /// The token. `None` without a Vault, and where an agent adds the token to each request.
    pub token: Option<TokenStatus>,
    /// Every secret and credential that is kept fresh.
    pub sources: Vec<SourceStatus>,
    /// The actions since the start, by kind.
    pub counters: Counters,
}

/// How well a watched configuration, its token or one source works. The order is from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Everything works.
    Healthy,
    /// An action fails, and the last value is still valid.
    Degraded,
    /// The last value has expired, or an action fails and less than a sixth of the value's lifetime remains. The
    /// password of a static role is valid until its next rotation.
    Failing,
    /// Nothing is refreshed any more: the configuration was [shut down](crate::Live::shutdown), which revokes its
    /// credentials, or its runtime has ended. A service in this state is not ready.
    Stopped,
}

/// The state of the token.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct TokenStatus {
    /// Whether a login can replace the token when it expires.
    pub login: Login,
    /// The health, the next action and the expiry.
    #[serde(flatten)]
    pub state: State,
}

/// Whether a login can issue another token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Login {
    /// A new login is expected to work.
    Repeatable,
    /// The last login was refused: for example, the secret_id is used up or expired, or the role was deleted. The
    /// current token is the last one until that is corrected.
    Refused,
    /// No login is configured: the token itself was supplied.
    Impossible,
}

/// The state of one secret or credential.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SourceStatus {
    /// The source, such as `kv secret/my-app` or `database/creds/readonly`.
    pub source: String,
    /// The paths of the fields that come from it.
    pub fields: Vec<String>,
    /// The health, the next action and the expiry.
    #[serde(flatten)]
    pub state: State,
}

/// The state of the token or of one source.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct State {
    /// The health.
    pub health: Health,
    /// When it was last read, found unchanged, renewed or issued.
    #[serde(serialize_with = "rfc3339_or_none")]
    pub last_success: Option<SystemTime>,
    /// The next planned action.
    pub next_action: Option<Action>,
    /// When the next action is planned.
    #[serde(serialize_with = "rfc3339_or_none")]
    pub next_action_at: Option<SystemTime>,
    /// When it expires: its own expiry or that of its token, whichever is earlier. `None` if it does not expire. The
    /// password of a static role expires 10 s after the announced time of its next rotation.
    #[serde(serialize_with = "rfc3339_or_none")]
    pub expires_at: Option<SystemTime>,
    /// Since when it fails; `None` if it does not.
    #[serde(serialize_with = "rfc3339_or_none")]
    pub failing_since: Option<SystemTime>,
    /// The problem, and what to do.
    pub error: Option<String>,
    /// From this time on a failure counts as `Failing` and not as `Degraded`.
    #[serde(skip)]
    pub(super) serious_at: Option<SystemTime>,
}

/// An action that is planned for the token or a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// A login for another token.
    LogIn,
    /// A renewal of the token or lease.
    Renew,
    /// The issue of another credential.
    Rotate,
    /// A read of the secret.
    Read,
}

/// How often each action happened since the configuration was loaded. Counters never decrease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// Logins after the first one.
    pub logins: u64,
    /// Renewals of the token by this configuration.
    pub token_renewals: u64,
    /// Renewals of leases.
    pub renewals: u64,
    /// Replaced credentials.
    pub rotations: u64,
    /// Reads of secrets, including those that found the secret unchanged.
    pub reads: u64,
    /// Published configurations, without the first.
    pub published: u64,
    /// New values that were not published because they do not make a valid configuration. Each value counts once.
    pub rejected: u64,
    /// Failed actions, including retries.
    pub failures: u64,
}

impl Status {
    /// The status of a configuration without anything to refresh.
    pub(super) fn idle() -> Self {
        Self {
            health: Health::Healthy,
            good_until: None,
            token: None,
            sources: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// The configuration is not watched any more. Only the counters stay.
    pub(super) fn stop(&mut self) {
        let counters = self.counters;
        *self = Self { health: Health::Stopped, counters, ..Self::idle() };
    }

    /// Fills in what depends on the time: the health of each part, and the worst of them.
    pub(super) fn evaluated_at(mut self, now: SystemTime) -> Self {
        let token = self.token.iter_mut().map(|token| &mut token.state);
        let states = token.chain(self.sources.iter_mut().map(|source| &mut source.state));
        for state in states {
            state.health = state.health_at(now);
            self.health = self.health.max(state.health);
            let expiries = [self.good_until, state.expires_at];
            self.good_until = expiries.into_iter().flatten().min();
        }
        self
    }
}

impl State {
    fn health_at(&self, now: SystemTime) -> Health {
        let is_expired = self.expires_at.is_some_and(|expiry| now >= expiry);
        let is_serious = self.serious_at.is_some_and(|at| now >= at);
        match self.failing_since {
            None if !is_expired => Health::Healthy,
            Some(_) if !is_expired && !is_serious => Health::Degraded,
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

    /// `remaining` is the time until the expiry, and `None` if there is none. `overdue` is the time since an expiry
    /// that has passed. `life` is the whole lifetime: a failure in its last sixth is serious.
    pub(super) fn set_expiry(
        &mut self,
        now: SystemTime,
        remaining: Option<Duration>,
        overdue: Duration,
        life: Duration,
    ) {
        self.expires_at =
            remaining.and_then(|remaining| now.checked_add(remaining)?.checked_sub(overdue));
        self.serious_at = self.expires_at.and_then(|expiry| expiry.checked_sub(life / 6));
    }

    pub(super) fn set_next_action(&mut self, now: SystemTime, action: Action, wait: Duration) {
        self.next_action = Some(action);
        self.next_action_at = now.checked_add(wait);
    }
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn rfc3339_or_none<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.serialize_str(&rfc3339::shown(*time)),
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
        let status = Status { token, ..Status::idle() }.evaluated_at(epoch);
        let json = serde_json::to_string(&status).unwrap();
        assert!(json.contains(r#""good_until":"9999-12-31T23:59:59Z""#), "{json}");
        assert!(json.contains(r#""failing_since":"1970-01-01T00:00:00Z""#), "{json}");
    }
}

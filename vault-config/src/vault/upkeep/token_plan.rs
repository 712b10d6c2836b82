//! Decides what is done for the token, and when: looking it up, renewing it, or logging in for another one.

use std::sync::Arc;
use std::time::Duration;

use super::file_stamp::FileStamp;
use super::token_action::TokenActionKind;
use super::{TOKEN, UpkeepState};
use crate::time::backoff::Urgency;
use crate::time::clock::Reading;
use crate::time::{Lifetime, LifetimeStep};
use crate::vault::reachability::PlannedRequest;
use crate::vault::{TrackedToken, Vault};

/// How often the token file is checked for a change.
const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(5);

impl UpkeepState {
    /// The action that is due for the token, if any.
    pub(super) fn due_action(&self, vault: &Vault, now: Reading) -> Option<TokenActionKind> {
        let Some(token) = vault.active_token() else {
            return self.login_is_allowed(vault, now).then_some(TokenActionKind::LogIn(None));
        };
        // An agent adds its own token to each request, and maintains that token itself.
        token.secret()?;
        let is_replaceable = self.is_replaceable(vault, &token);
        let log_in = || {
            let is_due = is_replaceable && self.login_is_allowed(vault, now);
            is_due.then(|| TokenActionKind::LogIn(Some(Arc::clone(&token))))
        };
        let look_up =
            || self.lookup_is_due(now).then(|| TokenActionKind::LookUp(Arc::clone(&token)));
        // The file holds another token now: whatever writes the file has replaced this one.
        if is_replaceable && is_from_file(vault, &token) {
            return log_in();
        }
        if token.is_dead() {
            return log_in().or_else(look_up);
        }
        if token.is_used_up() && is_replaceable {
            return log_in();
        }
        let lifetime = token.lifetime();
        let Some(lifetime) = &*lifetime else { return look_up() };
        let renewal_is_due = lifetime.renewal_in(now).is_some_and(|wait| wait.is_zero());
        let renew = || renewal_is_due.then(|| TokenActionKind::Renew(Arc::clone(&token)));
        match lifetime.due_step(now)? {
            LifetimeStep::Renew => renew(),
            // A token that no login can replace, at the moment or ever, is renewed until its expiry.
            LifetimeStep::Replace => log_in().or_else(renew),
        }
    }

    /// The wait until an action is due.
    pub(super) fn wait_for_action(&self, vault: &Vault, now: Reading) -> Option<Duration> {
        let login = self.login_budget.wait(now);
        let lookup = self.next_lookup.map_or(Duration::ZERO, |at| at.remaining(now));
        let Some(token) = vault.active_token() else { return Some(login) };
        token.secret()?;
        let is_replaceable = self.is_replaceable(vault, &token);
        if token.is_dead() {
            return Some(if is_replaceable { login.min(lookup) } else { lookup });
        }
        if token.is_used_up() && is_replaceable {
            return Some(login);
        }
        let lifetime = token.lifetime();
        let Some(lifetime) = &*lifetime else { return Some(lookup) };
        let renewal = lifetime.renewal_in(now);
        let replacement = match is_replaceable {
            true => lifetime.replacement_in(now).map(|wait| wait.max(login)),
            false => {
                final_expiry_report_in(vault, lifetime, now).filter(|_| !self.has_final_expiry)
            }
        };
        renewal.into_iter().chain(replacement).min()
    }

    /// Whether a login can give another token. Reading an unchanged token file again cannot.
    pub(super) fn is_replaceable(&self, vault: &Vault, token: &TrackedToken) -> bool {
        vault.auth().can_repeat() && (!is_from_file(vault, token) || self.file_is_changed(vault))
    }

    fn file_is_changed(&self, vault: &Vault) -> bool {
        self.login_budget.is_changed(FileStamp::of_login(vault.auth()))
    }

    fn login_is_allowed(&self, vault: &Vault, now: Reading) -> bool {
        self.login_budget.allows_login(FileStamp::of_login(vault.auth()), now)
    }

    fn lookup_is_due(&self, now: Reading) -> bool {
        self.next_lookup.is_none_or(|at| at.has_passed(now))
    }

    pub(super) fn planned_request(&self, vault: &Vault, now: Reading) -> PlannedRequest<'static> {
        let urgency = token_urgency(vault, now);
        let is_retry = self.failure.is_some() && !self.is_requested;
        PlannedRequest { source: TOKEN, is_retry, is_only_probe: false, urgency }
    }
}

impl Vault {
    /// Whether an action is due for the token and no task has claimed it.
    pub(crate) fn has_due_token_action(&self, now: Reading) -> bool {
        let state = self.upkeep().state();
        !state.action_is_running && state.due_action(self, now).is_some()
    }

    /// The wait until an action for the token may be claimed; `None` while one is running.
    pub(crate) fn token_action_in(&self, now: Reading) -> Option<Duration> {
        let state = self.upkeep().state();
        if state.action_is_running {
            return None;
        }
        let file_check = self.auth().watched_file().map(|_| FILE_CHECK_INTERVAL);
        let action = match state.due_action(self, now) {
            Some(_) => {
                let request = state.planned_request(self, now);
                let wait = state.reachability.admits_in(request, now);
                Some(wait.max(self.retry_after(now)))
            }
            None => state.wait_for_action(self, now),
        };
        action.into_iter().chain(file_check).min()
    }

    /// Whether another login can replace the token, as far as is known.
    pub(super) fn can_replace(&self, token: &TrackedToken) -> bool {
        let state = self.upkeep().state();
        !state.login_budget.is_refused() && state.is_replaceable(self, token)
    }
}

/// Whether the token was read from a file that the connection watches.
fn is_from_file(vault: &Vault, token: &TrackedToken) -> bool {
    !token.is_from_login() && vault.auth().watched_file().is_some()
}

/// How urgent the end of an outage is for the token.
pub(crate) fn token_urgency(vault: &Vault, now: Reading) -> Urgency {
    let Some(token) = vault.active_token().filter(|token| !token.is_dead()) else {
        return Urgency::EXPIRED;
    };
    let lifetime = token.lifetime();
    lifetime.as_ref().map_or(Urgency::NONE, |lifetime| lifetime.urgency(now))
}

/// The wait until the expiry of an irreplaceable token is reported: when a replacement would be due. An agent
/// replaces the token in a file in the last tenth of its life, so only the last twentieth is reported for a file.
pub(super) fn final_expiry_report_in(
    vault: &Vault,
    lifetime: &Lifetime,
    now: Reading,
) -> Option<Duration> {
    let wait = lifetime.replacement_in(now)?;
    match vault.auth().watched_file() {
        None => Some(wait),
        Some(_) => {
            let late = lifetime.remaining(now)?.saturating_sub(lifetime.full_ttl() / 20);
            Some(wait.max(late))
        }
    }
}

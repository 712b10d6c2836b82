//! When the next login may be tried. Failed logins are retried with a backoff, and wrong secrets are limited so
//! strictly that they never lock an account.

use std::collections::VecDeque;
use std::time::Duration;

use super::file_stamp::FileStamp;
use super::{ConnectionEvent, TOKEN};
use crate::error::{Cause, ErrorKind};
use crate::time::clock::Reading;
use crate::time::{Deadline, backoff};
use crate::vault::Vault;

/// Five wrong secrets within this time lock an account: <https://openbao.org/docs/concepts/user-lockout/>.
const LOCKOUT_WINDOW: Duration = Duration::from_secs(15 * 60);
/// The most wrong secrets that are sent within the window, even if the file with the secret changes each time.
const MAX_WRONG_SECRETS: usize = 4;
/// A token that dies before this age died young: its successor would probably die as soon.
const YOUNG: Duration = Duration::from_secs(60);

/// Pure: the time, the chance and the state of the file are passed in.
#[derive(Default)]
pub(super) struct LoginBudget {
    /// The number of consecutive tokens that died young.
    young_deaths: u32,
    /// Consecutive logins that failed for another reason than a refusal.
    failures: u32,
    /// Consecutive logins that were refused.
    refusals: u32,
    /// When wrong secrets were refused.
    wrong_secrets: VecDeque<Reading>,
    not_before: Option<Deadline>,
    /// The file that the login reads, at the last login.
    file: Option<FileStamp>,
}

impl LoginBudget {
    /// Whether the background may try a login now. A changed file may hold the right secret, so it does not wait
    /// for the backoff, but its secret counts for the lockout like any other.
    pub(super) fn allows_login(&self, file: Option<FileStamp>, now: Reading) -> bool {
        let backoff_is_over = self.not_before.is_none_or(|at| at.has_passed(now));
        backoff_is_over || file != self.file && self.recent_wrong_secrets(now) < MAX_WRONG_SECRETS
    }

    /// Whether a load may try a login now. Loads do not wait for the backoff, so they leave the last attempt to a
    /// changed file.
    fn allows_login_of_load(&mut self, file: Option<FileStamp>, now: Reading) -> bool {
        self.forget_old_wrong_secrets(now);
        let is_changed = file != self.file;
        self.wrong_secrets.len() < MAX_WRONG_SECRETS - 1 + usize::from(is_changed)
    }

    /// The rest of the backoff.
    pub(super) fn wait(&self, now: Reading) -> Duration {
        self.not_before.map_or(Duration::ZERO, |at| at.remaining(now))
    }

    /// Whether the last login was refused.
    pub(super) fn is_refused(&self) -> bool {
        self.refusals > 0
    }

    /// Whether the file that the login reads is another one than at the last login.
    pub(super) fn is_changed(&self, file: Option<FileStamp>) -> bool {
        file != self.file
    }

    fn recent_wrong_secrets(&self, now: Reading) -> usize {
        self.wrong_secrets.iter().filter(|at| now.since(**at) < LOCKOUT_WINDOW).count()
    }

    fn forget_old_wrong_secrets(&mut self, now: Reading) {
        while self.wrong_secrets.front().is_some_and(|at| now.since(*at) >= LOCKOUT_WINDOW) {
            self.wrong_secrets.pop_front();
        }
    }

    fn login_started(&mut self, file: Option<FileStamp>) {
        if file != self.file {
            // The new secret may be right. The wrong ones that were sent before still count for the lockout.
            self.refusals = 0;
        }
        self.file = file;
    }

    fn login_succeeded(&mut self) {
        self.failures = 0;
        self.refusals = 0;
        self.wrong_secrets.clear();
        self.not_before = None;
    }

    fn login_refused(&mut self, is_wrong_secret: bool, now: Reading, random: f64) {
        self.refusals = self.refusals.saturating_add(1);
        if is_wrong_secret {
            self.wrong_secrets.push_back(now);
        }
        let wrong_secrets = u32::try_from(self.wrong_secrets.len()).unwrap_or(u32::MAX);
        let refusals = wrong_secrets.max(self.refusals);
        self.wait_at_least(backoff::refused_login(is_wrong_secret, refusals, random), now);
    }

    fn login_failed(&mut self, now: Reading, random: f64) {
        self.failures = self.failures.saturating_add(1);
        self.wait_at_least(backoff::read_retry(self.failures, Duration::MAX, random), now);
    }

    /// A failure must not shorten the backoff of a refusal.
    fn wait_at_least(&mut self, wait: Duration, now: Reading) {
        self.not_before = Some(Deadline::new(now, wait.max(self.wait(now))));
    }

    /// The login returned the token that was already active. It is asked again after the longest retry.
    pub(super) fn same_token_returned(&mut self, now: Reading, random: f64) {
        let wait = backoff::read_retry(u32::MAX, Duration::MAX, random);
        self.not_before = Some(Deadline::new(now, wait));
        (self.failures, self.refusals) = (0, 0);
    }

    /// A token died at this age. From the second consecutive one that died young, the login waits, so that a
    /// server that revokes every new token does not receive a stream of logins.
    pub(super) fn token_died(&mut self, age: Option<Duration>, now: Reading, random: f64) {
        self.young_deaths = match age {
            Some(age) if age < YOUNG => self.young_deaths.saturating_add(1),
            _ => 0,
        };
        if self.young_deaths > 1 {
            let wait = backoff::read_retry(self.young_deaths, Duration::MAX, random);
            self.not_before = Some(Deadline::new(now, wait));
        }
    }

    /// A refresh was requested. It ends the backoff after a failure, but neither that of a refused secret nor
    /// that of tokens that die young.
    pub(super) fn allow_login_on_request(&mut self) {
        if self.refusals == 0 && self.young_deaths < 2 {
            self.not_before = None;
        }
    }

    /// The outage that made logins fail has ended. The backoff of a refusal stays.
    pub(super) fn outage_ended(&mut self) {
        self.failures = 0;
        self.not_before = self.not_before.filter(|_| self.refusals > 0);
    }
}

impl Vault {
    /// Whether a login may be tried now for a load.
    ///
    /// # Errors
    /// Why the last logins were refused, and until when no login is tried.
    pub(in crate::vault) fn check_login_allowed(&self, now: Reading) -> Result<(), Cause> {
        let file = FileStamp::of_login(self.auth());
        let mut state = self.upkeep().state();
        if state.login_budget.allows_login_of_load(file, now) {
            return Ok(());
        }
        let Some(failure) = &state.failure else { return Ok(()) };
        let hint = "this secret was refused several times and is not sent again for 15 minutes, because more failed logins may lock the account";
        Err((*failure.cause).clone().hint(hint))
    }

    /// Called before the login reads its file: if the file changes during the login, the next check sees it.
    pub(in crate::vault) fn record_login_start(&self) {
        let file = FileStamp::of_login(self.auth());
        self.upkeep().state().login_budget.login_started(file);
    }

    pub(in crate::vault) fn record_login_success(&self, now: Reading, is_first: bool) {
        let mut state = self.upkeep().state();
        state.login_budget.login_succeeded();
        (state.next_lookup, state.failed_lookups) = (None, 0);
        state.has_final_expiry = false;
        state.last_success = Some(now.wall);
        let has_recovered = state.failure.take().is_some();
        let recovery = state.reachability.record_response(TOKEN);
        drop(state);
        if let Some(recovery) = recovery {
            self.upkeep().publish(ConnectionEvent::OutageEnded(recovery));
        }
        if has_recovered {
            self.report_token_recovery();
        }
        if !is_first {
            self.upkeep().publish(ConnectionEvent::LoggedIn);
        }
    }

    /// The kind of the failure decides the backoff: a wrong secret stays wrong and locks the account if it is sent
    /// repeatedly, while any other failure may be temporary.
    pub(in crate::vault) fn record_login_failure(&self, cause: &Cause, now: Reading) {
        let random = self.random();
        let mut state = self.upkeep().state();
        match cause.kind {
            ErrorKind::LoginRefused => {
                let is_wrong_secret = cause.is_wrong_secret && self.auth().locks_accounts();
                state.login_budget.login_refused(is_wrong_secret, now, random);
            }
            _ => state.login_budget.login_failed(now, random),
        }
        drop(state);
        self.report_token_failure(cause.clone(), now);
        self.record_failure(TOKEN, cause, now);
    }
}

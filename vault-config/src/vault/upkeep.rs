//! What all watched configurations over one connection share: whether the server is there, the token's
//! upkeep, what is wrong with it, and when another login may be tried. Whichever of them is awake first
//! does what is due, once for all.

use std::collections::VecDeque;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::broadcast;
use tracing::Instrument as _;

use super::reachability::{Asker, Reachability, Recovery};
use super::{Held, Renewal, Vault, contained};
use crate::error::{Cause, ErrorKind};
use crate::time::backoff::Urgency;
use crate::time::clock::Reading;
use crate::time::{Deadline, Lifetime, LifetimeStep, backoff};

const TOKEN: &str = "token";

/// In this time, five wrong secrets lock an account: <https://openbao.org/docs/concepts/user-lockout/>.
const LOCK_WINDOW: Duration = Duration::from_secs(15 * 60);
/// Even when the file with the secret changes each time.
const MOST_WRONG: usize = 4;

pub(crate) struct Upkeep {
    state: Mutex<State>,
    news: broadcast::Sender<News>,
}

/// What every watched configuration over the connection learns.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// What may be done next has changed.
    Changed,
    /// A request failed, and the server is still away.
    StillAway,
    OutageEnded(Recovery),
    LoggedIn,
    TokenRenewed,
    TokenFailing(Failure),
    TokenRecovered,
}

/// Why something fails, and since when.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) since: SystemTime,
    pub(crate) cause: Arc<Cause>,
    /// Nothing was asked for, since the server was away for everything.
    pub(crate) is_held_back: bool,
}

impl Failure {
    /// Whether it ends with an outage.
    pub(crate) fn is_over(&self, recovery: Recovery) -> bool {
        self.is_held_back || recovery.covers(self.cause.kind)
    }
}

/// When the file to log in with was changed, which file it is, and its size.
type Stamp = (SystemTime, u64, u64);

#[derive(Default)]
struct State {
    watchers: usize,
    reachability: Reachability,
    busy: bool,
    /// A login is under way: what is issued under the token before it dies soon.
    replacing: bool,
    /// How many tokens in a row died young.
    died_young: u32,
    /// Logins in a row that failed, but were not refused.
    failures: u32,
    /// Logins in a row that were refused.
    refusals: u32,
    /// When a wrong secret was refused: several in a quarter of an hour lock an account.
    wrong_secrets: VecDeque<Reading>,
    no_login_before: Option<Deadline>,
    /// When a token that was refused, or could not be looked at, is looked at again.
    look_again: Option<Deadline>,
    looks: u32,
    /// Since when tokens of this login are known not to be allowed to renew themselves.
    may_not_renew: Option<Reading>,
    failure: Option<Failure>,
    /// The failure says that the token ends for good: one more renewal that is cut short is no recovery.
    ends: bool,
    last_success: Option<SystemTime>,
    /// It was asked for, and so does not wait for its turn among retries.
    is_requested: bool,
    /// The file at the last login.
    stamp: Option<Stamp>,
}

/// One thing that is done for the token, by one task at a time.
pub(crate) struct TokenAction {
    kind: Kind,
    turn: Turn,
}

enum Kind {
    LookAt(Arc<Held>),
    Renew(Arc<Held>),
    LogIn(Option<Arc<Held>>),
}

enum Done {
    LookedAt(Arc<Held>, Result<(), Cause>),
    Renewed(Arc<Held>, Renewal),
    /// Whether it is another token than before.
    LoggedIn(Result<bool, Cause>),
}

/// The right to act for the token. It is given back however the action ends, also when the runtime of the
/// task that had it ends.
struct Turn(Vault);

/// One configuration's place among those that watch. The last one that is left takes the token along.
pub(crate) struct Watcher {
    vault: Vault,
    has_left: bool,
}

/// What is known of the token, for a status.
pub(crate) struct TokenView {
    pub(crate) lifetime: Option<Lifetime>,
    /// Since when there is none, or the server refuses it.
    pub(crate) dead_since: Option<Reading>,
    pub(crate) login_is_refused: bool,
    pub(crate) next: Option<(LifetimeStep, Duration)>,
    pub(crate) failure: Option<Failure>,
    pub(crate) last_success: Option<SystemTime>,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self { state: Mutex::default(), news: broadcast::Sender::new(64) }
    }
}

impl Upkeep {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, news: News) {
        // No task may be watching.
        let _ = self.news.send(news);
    }
}

impl Vault {
    pub(crate) fn watch_begins(&self) -> (Watcher, broadcast::Receiver<News>) {
        self.upkeep().state().watchers += 1;
        (Watcher { vault: self.clone(), has_left: false }, self.upkeep().news.subscribe())
    }

    /// Why nothing but a probe is sent at the moment.
    pub(crate) fn outage(&self) -> Option<Arc<Cause>> {
        self.upkeep().state().reachability.outage()
    }

    /// Whether this outage is concluded from failures, and never said by the server.
    pub(crate) fn outage_is_inferred(&self) -> bool {
        self.upkeep().state().reachability.is_inferred()
    }

    /// Whether `source` was a probe in this outage.
    pub(crate) fn was_probe(&self, source: &str) -> bool {
        self.upkeep().state().reachability.was_probe(source)
    }

    pub(crate) fn token_was_probe(&self) -> bool {
        self.was_probe(TOKEN)
    }

    pub(super) fn is_watched(&self) -> bool {
        self.upkeep().state().watchers > 0
    }

    /// Whether this may be asked now; otherwise how long to wait.
    pub(crate) fn admit(&self, asker: Asker<'_>, now: Reading) -> Result<(), Duration> {
        let bound = self.retry_after(now);
        if !bound.is_zero() {
            return Err(bound);
        }
        self.upkeep().state().reachability.admit(asker, now, fastrand::f64())
    }

    /// The wait before [`admit`](Self::admit) can admit it.
    pub(crate) fn admits_in(&self, asker: Asker<'_>, now: Reading) -> Duration {
        let wait = self.upkeep().state().reachability.admits_in(asker, now);
        wait.max(self.retry_after(now))
    }

    /// The server answered a request of `source` in the background.
    pub(crate) fn answered(&self, source: &str) {
        let recovery = self.upkeep().state().reachability.answered(source);
        if let Some(recovery) = recovery {
            self.outage_ended(recovery);
        }
    }

    /// A request of the background failed.
    pub(crate) fn request_failed(&self, source: &str, cause: &Cause, now: Reading) {
        let bound = self.retry_after(now);
        let mut state = self.upkeep().state();
        let recovery = state.reachability.failed(source, cause, bound, now, fastrand::f64());
        let is_away = state.reachability.outage().is_some();
        drop(state);
        match recovery {
            Some(recovery) => self.outage_ended(recovery),
            None if is_away => self.upkeep().publish(News::StillAway),
            None => {}
        }
    }

    fn outage_ended(&self, recovery: Recovery) {
        let now = self.clock().now();
        if let Some(held) = self.held()
            && let Some(lifetime) = held.term().as_mut()
        {
            lifetime.resume_after_outage(now, fastrand::f64());
        }
        let mut state = self.upkeep().state();
        let is_over = state.failure.take_if(|failure| failure.is_over(recovery)).is_some();
        if is_over {
            state.failures = 0;
            state.no_login_before = state.no_login_before.filter(|_| state.refusals > 0);
        }
        drop(state);
        self.upkeep().publish(News::OutageEnded(recovery));
        if is_over {
            self.token_recovered();
        }
    }

    /// Everything is asked for: the next probe, login and look at the token come as soon as they may.
    pub(crate) fn hurry(&self) {
        let mut state = self.upkeep().state();
        state.reachability.hurry();
        // A refused secret, and tokens that die as soon as they are there, keep their pace.
        if state.refusals == 0 && state.died_young < 2 {
            state.no_login_before = None;
        }
        state.look_again = None;
        state.may_not_renew = None;
        state.is_requested = true;
        drop(state);
        self.upkeep().publish(News::Changed);
    }

    /// Whether requests can be made with the token.
    pub(crate) fn has_usable_token(&self) -> bool {
        self.held().is_some_and(|held| !held.is_dead() && !held.is_used_up())
    }

    /// Another token is on its way: what is issued under this one dies soon.
    pub(crate) fn token_is_leaving(&self) -> bool {
        self.upkeep().state().replacing
    }

    /// What keeps a token that cannot be used from being replaced, when nothing can be done about it now.
    pub(crate) fn stuck_token(&self, now: Reading) -> Option<Failure> {
        let state = self.upkeep().state();
        let is_stuck = !state.busy && state.choose(self, now).is_none();
        let failure = state.failure.clone().filter(|_| is_stuck)?;
        drop(state);
        (!self.has_usable_token()).then_some(failure)
    }

    /// What is due for the token, if it is this task's turn.
    pub(crate) fn token_action(&self, now: Reading) -> Option<TokenAction> {
        let bound = self.retry_after(now);
        let mut state = self.upkeep().state();
        if state.busy || !bound.is_zero() {
            return None;
        }
        let kind = state.choose(self, now)?;
        let asker = state.asker(self, now);
        state.reachability.admit(asker, now, fastrand::f64()).ok()?;
        (state.busy, state.is_requested) = (true, false);
        state.replacing = matches!(kind, Kind::LogIn(_));
        Some(TokenAction { kind, turn: Turn(self.clone()) })
    }

    /// The same, only if it can neither use up nor leave behind anything.
    pub(crate) fn harmless_token_action(&self, now: Reading) -> Option<TokenAction> {
        let kind = self.upkeep().state().choose(self, now)?;
        match kind {
            Kind::LogIn(_) => None,
            Kind::LookAt(_) | Kind::Renew(_) => self.token_action(now),
        }
    }

    pub(crate) fn wants_token_action(&self, now: Reading) -> bool {
        let state = self.upkeep().state();
        !state.busy && state.choose(self, now).is_some()
    }

    /// How long there is nothing to do for the token.
    pub(crate) fn token_wait(&self, now: Reading) -> Option<Duration> {
        let state = self.upkeep().state();
        if state.busy {
            return None;
        }
        // The file is looked at as often as that.
        let file = self.auth().watched_file().map(|_| Duration::from_secs(5));
        let own = match state.choose(self, now) {
            Some(_) => {
                let wait = state.reachability.admits_in(state.asker(self, now), now);
                Some(wait.max(self.retry_after(now)))
            }
            None => state.wait(self, now),
        };
        own.into_iter().chain(file).min()
    }

    /// The server refused this very token. Tokens that die young one after the other are not replaced at
    /// once.
    pub(crate) fn token_died(&self, held: &Arc<Held>, now: Reading) {
        let is_current = self.held().is_some_and(|current| Arc::ptr_eq(&current, held));
        if !held.dies(now) || !is_current {
            return;
        }
        let age = held.term().as_ref().map(|lifetime| lifetime.age(now));
        let mut state = self.upkeep().state();
        state.died_young = match age {
            Some(age) if age < Duration::from_secs(60) => state.died_young.saturating_add(1),
            _ => 0,
        };
        if state.died_young > 1 {
            let wait = backoff::read_retry(state.died_young, Duration::MAX, fastrand::f64());
            state.no_login_before = Some(Deadline::new(now, wait));
        }
        drop(state);
        if !self.can_replace(held) {
            self.token_fails(self.dead(), now);
        }
        self.upkeep().publish(News::Changed);
    }

    /// Whether a login may be tried now on request of a load.
    ///
    /// # Errors
    /// Why the last ones were refused, and until when it is not tried.
    pub(super) fn may_log_in(&self, now: Reading) -> Result<(), Cause> {
        const MOST: usize = MOST_WRONG - 1;
        let mut state = self.upkeep().state();
        state.forget_wrong_secrets(now);
        let stamp = stamp(self);
        if state.wrong_secrets.len() < MOST + usize::from(stamp != state.stamp) {
            return Ok(());
        }
        let Some(failure) = &state.failure else { return Ok(()) };
        let hint = "this secret was refused several times and is not sent again for a quarter of an hour, \
                    since more wrong tries lock the account";
        Err((*failure.cause).clone().hint(hint))
    }

    /// A login begins: what it reads is as old as that.
    pub(super) fn login_begins(&self) {
        let stamp = stamp(self);
        let mut state = self.upkeep().state();
        if stamp != state.stamp {
            // Another secret may be right. What the account has seen of wrong ones still counts.
            state.refusals = 0;
        }
        state.stamp = stamp;
    }

    pub(super) fn login_succeeded(&self, now: Reading, is_first: bool) {
        let mut state = self.upkeep().state();
        state.login_worked();
        state.last_success = Some(now.wall);
        let recovered = state.failure.take().is_some();
        let recovery = state.reachability.answered(TOKEN);
        drop(state);
        if let Some(recovery) = recovery {
            self.upkeep().publish(News::OutageEnded(recovery));
        }
        if recovered {
            self.token_recovered();
        }
        if !is_first {
            self.upkeep().publish(News::LoggedIn);
        }
    }

    /// A refusal is remembered for what it says: a wrong secret stays wrong, and locks the account when it
    /// is sent again and again; anything else may pass.
    pub(super) fn login_failed(&self, cause: &Cause, now: Reading) {
        let random = fastrand::f64();
        let mut state = self.upkeep().state();
        let wait = match cause.kind {
            ErrorKind::LoginRefused => {
                state.refusals = state.refusals.saturating_add(1);
                let is_wrong = cause.is_wrong_secret && self.auth().locks_accounts();
                if is_wrong {
                    state.wrong_secrets.push_back(now);
                }
                let wrong = u32::try_from(state.wrong_secrets.len()).unwrap_or(u32::MAX);
                backoff::refused_login(is_wrong, wrong.max(state.refusals), random)
            }
            _ => {
                state.failures = state.failures.saturating_add(1);
                backoff::read_retry(state.failures, Duration::MAX, random)
            }
        };
        // What a refusal asks to wait is not cut short by another failure.
        let before = state.no_login_before.map_or(Duration::ZERO, |at| at.remaining(now));
        state.no_login_before = Some(Deadline::new(now, wait.max(before)));
        drop(state);
        self.token_fails(cause.clone(), now);
        self.request_failed(TOKEN, cause, now);
    }

    /// Logged and reported when it begins, and when it fails for something else than before.
    fn token_fails(&self, cause: Cause, now: Reading) {
        let mut state = self.upkeep().state();
        // Why no login takes its place is the better reason, whatever else fails.
        if state.refusals > 0 && state.failure.is_some() && cause.kind != ErrorKind::LoginRefused {
            return;
        }
        let before = state.failure.take();
        let is_news = before.as_ref().is_none_or(|failure| failure.cause.kind != cause.kind);
        let since = before.map_or(now.wall, |failure| failure.since);
        let failure = Failure { since, cause: Arc::new(cause), is_held_back: false };
        state.failure = Some(failure.clone());
        // Where nothing watches, a load returns the error.
        let is_news = is_news && state.watchers > 0;
        drop(state);
        if is_news {
            tracing::warn!(source = TOKEN, "failing: {}", failure.cause.log_line());
            self.upkeep().publish(News::TokenFailing(failure));
        }
    }

    fn token_recovered(&self) {
        tracing::info!(source = TOKEN, "works again");
        self.upkeep().publish(News::TokenRecovered);
    }

    fn token_succeeded(&self, held: &Held, now: Reading) {
        let still_ends = held.term().as_ref().is_some_and(Lifetime::is_truncated);
        let mut state = self.upkeep().state();
        state.looks = 0;
        state.look_again = None;
        state.last_success = Some(now.wall);
        state.ends &= still_ends;
        // While no login can take its place, that is what fails.
        let stays = state.ends || state.refusals > 0;
        let recovered = state.failure.take_if(|_| !stays).is_some();
        drop(state);
        self.answered(TOKEN);
        if recovered {
            self.token_recovered();
        }
    }

    /// How a renewable token of this login begins its life.
    pub(super) fn may_renew_tokens(&self, now: Reading) -> bool {
        const REMEMBERED: Duration = Duration::from_secs(3600);
        let mut state = self.upkeep().state();
        state.may_not_renew.take_if(|since| now.since(*since) > REMEMBERED);
        state.may_not_renew.is_none()
    }

    pub(crate) fn token_view(&self, now: Reading) -> Option<TokenView> {
        let held = self.held();
        if held.as_ref().is_some_and(|held| held.secret().is_none()) {
            return None;
        }
        let lifetime = held.as_ref().and_then(|held| held.term().clone());
        let dead_since = match &held {
            None => Some(now),
            Some(held) => held.dead_since(),
        };
        let state = self.upkeep().state();
        let login_in = state.no_login_before.map_or(Duration::ZERO, |at| at.remaining(now));
        let next = match (&lifetime, dead_since) {
            (_, Some(_)) => Some((LifetimeStep::Replace, login_in)),
            (Some(lifetime), None) => lifetime.next_step(now).map(|(step, wait)| match step {
                LifetimeStep::Renew => (step, wait),
                LifetimeStep::Replace => (step, wait.max(login_in)),
            }),
            (None, None) => None,
        };
        Some(TokenView {
            lifetime,
            dead_since,
            login_is_refused: state.refusals > 0,
            next,
            failure: state.failure.clone(),
            last_success: state.last_success,
        })
    }

    fn upkeep(&self) -> &Upkeep {
        &self.0.upkeep
    }
}

impl State {
    fn choose(&self, vault: &Vault, now: Reading) -> Option<Kind> {
        let Some(held) = vault.held() else {
            return self.login_is_due(vault, now).then_some(Kind::LogIn(None));
        };
        held.secret()?;
        let log_in = || self.login_is_due(vault, now).then(|| Kind::LogIn(Some(Arc::clone(&held))));
        let look = || self.look_is_due(now).then(|| Kind::LookAt(Arc::clone(&held)));
        let is_replaceable = self.is_replaceable(vault, &held);
        // A token that something else puts into a file was replaced there.
        if is_replaceable && !held.is_ours() && vault.auth().watched_file().is_some() {
            return log_in();
        }
        if held.is_dead() {
            return log_in().filter(|_| is_replaceable).or_else(look);
        }
        if held.is_used_up() && is_replaceable {
            return log_in();
        }
        let lifetime = held.term();
        let Some(lifetime) = &*lifetime else { return look() };
        let renewal_is_due = lifetime.renewal_in(now).is_some_and(|wait| wait.is_zero());
        let renew = || renewal_is_due.then(|| Kind::Renew(Arc::clone(&held)));
        match lifetime.due_step(now)? {
            LifetimeStep::Renew => renew(),
            // What cannot be replaced, for now or ever, is renewed to its very end.
            LifetimeStep::Replace => log_in().filter(|_| is_replaceable).or_else(renew),
        }
    }

    /// Whether a login can give another token: to read a file again that has not changed cannot.
    fn is_replaceable(&self, vault: &Vault, held: &Held) -> bool {
        let auth = vault.auth();
        let is_fixed = !held.is_ours() && auth.watched_file().is_some();
        auth.can_repeat() && !(is_fixed && stamp(vault) == self.stamp)
    }

    fn login_is_due(&self, vault: &Vault, now: Reading) -> bool {
        let is_rested = self.no_login_before.is_none_or(|at| at.has_passed(now));
        is_rested || stamp(vault) != self.stamp && self.wrong_secrets_since(now) < MOST_WRONG
    }

    fn wrong_secrets_since(&self, now: Reading) -> usize {
        self.wrong_secrets.iter().filter(|at| now.since(**at) < LOCK_WINDOW).count()
    }

    fn look_is_due(&self, now: Reading) -> bool {
        self.look_again.is_none_or(|at| at.has_passed(now))
    }

    fn asker(&self, vault: &Vault, now: Reading) -> Asker<'static> {
        let urgency = token_urgency(vault, now);
        let repeats = self.failure.is_some() && !self.is_requested;
        Asker { source: TOKEN, repeats, is_early: false, urgency }
    }

    /// How long there is nothing to choose.
    fn wait(&self, vault: &Vault, now: Reading) -> Option<Duration> {
        let login = self.no_login_before.map_or(Duration::ZERO, |at| at.remaining(now));
        let look = self.look_again.map_or(Duration::ZERO, |at| at.remaining(now));
        let Some(held) = vault.held() else { return Some(login) };
        held.secret()?;
        let is_replaceable = self.is_replaceable(vault, &held);
        if held.is_dead() {
            return Some(if is_replaceable { login.min(look) } else { look });
        }
        if held.is_used_up() && is_replaceable {
            return Some(login);
        }
        let lifetime = held.term();
        let Some(lifetime) = &*lifetime else { return Some(look) };
        let renewal = lifetime.renewal_in(now);
        let replacement = match is_replaceable {
            true => lifetime.replacement_in(now).map(|wait| wait.max(login)),
            false => end_is_reported_in(vault, lifetime, now).filter(|_| !self.ends),
        };
        renewal.into_iter().chain(replacement).min()
    }

    fn forget_wrong_secrets(&mut self, now: Reading) {
        while self.wrong_secrets.front().is_some_and(|at| now.since(*at) >= LOCK_WINDOW) {
            self.wrong_secrets.pop_front();
        }
    }

    fn login_worked(&mut self) {
        self.failures = 0;
        self.refusals = 0;
        self.wrong_secrets.clear();
        self.no_login_before = None;
        self.look_again = None;
        self.looks = 0;
        self.ends = false;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.0.upkeep().state();
        state.busy = false;
        state.replacing = false;
        drop(state);
        self.0.upkeep().publish(News::Changed);
    }
}

impl Watcher {
    /// Gives up the place. Whether no other configuration watches.
    pub(crate) fn leave(&mut self) -> bool {
        self.has_left = true;
        let mut state = self.vault.upkeep().state();
        state.watchers = state.watchers.saturating_sub(1);
        state.watchers == 0
    }
}

/// A configuration that is dropped, or whose runtime ends, watches no longer.
impl Drop for Watcher {
    fn drop(&mut self) {
        if !self.has_left {
            self.leave();
        }
    }
}

impl TokenAction {
    pub(crate) async fn run(self) -> TokenOutcome {
        let vault = self.turn.0.clone();
        let done = match self.kind {
            Kind::LookAt(held) => {
                let span = tracing::info_span!("look up", source = TOKEN);
                let looked = contained(vault.look_at_token(&held).instrument(span)).await;
                Done::LookedAt(Arc::clone(&held), looked.and_then(std::convert::identity))
            }
            Kind::Renew(held) => {
                let span = tracing::info_span!("renew", source = TOKEN);
                let limit = renewal_limit(&vault, &held);
                let renewal = contained(vault.renew_token(&held, limit).instrument(span)).await;
                Done::Renewed(Arc::clone(&held), renewal.unwrap_or_else(Renewal::Failed))
            }
            Kind::LogIn(Some(held)) => {
                let logged_in = vault.log_in_again(&held).await;
                Done::LoggedIn(logged_in.map(|new| !Arc::ptr_eq(&new, &held)))
            }
            Kind::LogIn(None) => Done::LoggedIn(vault.ready(Instant::now()).await.map(|()| true)),
        };
        TokenOutcome { done, turn: self.turn }
    }
}

/// How an action for the token ended.
pub(crate) struct TokenOutcome {
    done: Done,
    turn: Turn,
}

impl TokenOutcome {
    /// Takes it into account. Whether it failed.
    pub(crate) fn finish(self, now: Reading) -> bool {
        let vault = self.turn.0.clone();
        let failed = match self.done {
            Done::LookedAt(held, looked) => vault.looked_at(&held, looked, now),
            Done::Renewed(held, renewal) => vault.token_renewed(&held, renewal, now),
            Done::LoggedIn(Ok(true)) => false,
            Done::LoggedIn(Ok(false)) => vault.same_token_again(now),
            // It was taken into account where it failed, once for all who waited for it.
            Done::LoggedIn(Err(_)) => true,
        };
        drop(self.turn);
        failed
    }
}

impl Vault {
    fn looked_at(&self, held: &Arc<Held>, looked: Result<(), Cause>, now: Reading) -> bool {
        let Err(cause) = looked else {
            held.lives();
            self.token_succeeded(held, now);
            return false;
        };
        if cause.kind == ErrorKind::TokenInvalid {
            self.token_died(held, now);
        }
        let mut state = self.upkeep().state();
        state.looks = state.looks.saturating_add(1);
        let wait = backoff::read_retry(state.looks, Duration::MAX, fastrand::f64());
        state.look_again = Some(Deadline::new(now, wait));
        drop(state);
        self.request_failed(TOKEN, &cause, now);
        self.token_fails(cause, now);
        true
    }

    fn token_renewed(&self, held: &Arc<Held>, renewal: Renewal, now: Reading) -> bool {
        let change = |change: &dyn Fn(&mut Lifetime)| {
            if let Some(lifetime) = held.term().as_mut() {
                change(lifetime);
            }
        };
        match renewal {
            Renewal::Granted { asked, ttl } => {
                change(&|lifetime| lifetime.renewed(asked, ttl, fastrand::f64()));
                self.token_succeeded(held, now);
                self.upkeep().publish(News::TokenRenewed);
                false
            }
            Renewal::Never(cause) => {
                self.answered(TOKEN);
                self.never_renewed(held, cause, now);
                true
            }
            Renewal::Gone(cause) => {
                tracing::info!("{}", cause.message);
                self.answered(TOKEN);
                self.token_died(held, now);
                true
            }
            Renewal::Failed(cause) => {
                change(&|lifetime| lifetime.renewal_failed(now, fastrand::f64()));
                self.request_failed(TOKEN, &cause, now);
                self.token_fails(cause, now);
                true
            }
        }
    }

    /// The server will not renew it. Another login takes its place; a token that nothing replaces is
    /// tried again, since its policies may change while it lives.
    fn never_renewed(&self, held: &Arc<Held>, cause: Cause, now: Reading) {
        let is_replaceable = self.can_replace(held);
        if let Some(lifetime) = held.term().as_mut() {
            match is_replaceable {
                true => lifetime.renewal_refused(),
                false => lifetime.renewal_failed(now, fastrand::f64()),
            }
        }
        if !is_replaceable {
            return self.token_fails(cause, now);
        }
        tracing::info!("{}", cause.message);
        if cause.kind == ErrorKind::Denied {
            self.upkeep().state().may_not_renew = Some(now);
        }
    }

    /// Whether another login can take the token's place, as far as is known.
    fn can_replace(&self, held: &Held) -> bool {
        let state = self.upkeep().state();
        state.refusals == 0 && state.is_replaceable(self, held)
    }

    /// The source of the token gives the same one as before. As long as that one lives, there is time for
    /// another.
    fn same_token_again(&self, now: Reading) -> bool {
        let ends_soon = |held: &Held| {
            let lifetime = held.term();
            let left = lifetime.as_ref().and_then(|it| Some((it.remaining(now)?, it.full_ttl())));
            left.is_some_and(|(remaining, full)| remaining <= full / 20)
        };
        if self.held().is_none_or(|held| held.is_dead() || ends_soon(&held)) {
            self.login_failed(&self.dead(), now);
            return true;
        }
        let mut state = self.upkeep().state();
        let wait = backoff::read_retry(u32::MAX, Duration::MAX, fastrand::f64());
        state.no_login_before = Some(Deadline::new(now, wait));
        (state.failures, state.refusals) = (0, 0);
        let ends = state.ends;
        let recovered = state.failure.take_if(|_| !ends).is_some();
        drop(state);
        if recovered {
            self.token_recovered();
        }
        false
    }

    /// Reports once that the token ends and that nothing can be done about it. A token in a file is
    /// replaced there by an agent, in the last tenth of its life: only one that was not is reported.
    pub(crate) fn report_token_end(&self, now: Reading) {
        let Some(held) = self.held().filter(|held| !held.is_dead()) else { return };
        let state = self.upkeep().state();
        let is_replaceable = state.is_replaceable(self, &held);
        drop(state);
        if is_replaceable || held.secret().is_none() {
            return;
        }
        let ends_in = held.term().as_ref().and_then(|term| end_is_reported_in(self, term, now));
        if ends_in != Some(Duration::ZERO) {
            return;
        }
        let was_reported = std::mem::replace(&mut self.upkeep().state().ends, true);
        if !was_reported {
            self.token_fails(ends_for_good(self), now);
        }
    }
}

pub(crate) fn token_urgency(vault: &Vault, now: Reading) -> Urgency {
    let Some(held) = vault.held().filter(|held| !held.is_dead()) else { return Urgency::EXPIRED };
    let lifetime = held.term();
    lifetime.as_ref().map_or(Urgency::NONE, |lifetime| lifetime.urgency(now))
}

fn renewal_limit(vault: &Vault, held: &Held) -> Duration {
    let lifetime = held.term();
    match &*lifetime {
        Some(lifetime) => backoff::request_timeout(
            Some(lifetime.full_ttl()),
            lifetime.failures(),
            vault.timeout(),
        ),
        None => vault.timeout(),
    }
}

fn end_is_reported_in(vault: &Vault, lifetime: &Lifetime, now: Reading) -> Option<Duration> {
    let wait = lifetime.replacement_in(now)?;
    match vault.auth().watched_file() {
        None => Some(wait),
        Some(_) => {
            let late = lifetime.remaining(now)?.saturating_sub(lifetime.full_ttl() / 20);
            Some(wait.max(late))
        }
    }
}

fn ends_for_good(vault: &Vault) -> Cause {
    Cause::new(
        ErrorKind::TokenInvalid,
        format!(
            "the token ends soon, and can be neither renewed any further nor replaced: it is the {}",
            vault.auth().describe()
        ),
        "give the service a way to log in again, such as an AppRole; or start it with a new token",
    )
}

/// A file is another one when any of these differ; a link that is followed leads to another file.
fn stamp(vault: &Vault) -> Option<Stamp> {
    let metadata = fs::metadata(vault.auth().watched_file()?).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Some((metadata.modified().ok()?, inode, metadata.len()))
}

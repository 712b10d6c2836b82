//! Keeping the token alive, or getting another before it ends.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::Instrument as _;

use super::clock::Reading;
use super::events::Event;
use super::schedule::{self, Step, Term, patience};
use super::source::{Next, Trouble};
use super::status::{Action, Login, State, TokenStatus};
use crate::error::{Cause, ErrorKind, Problem};
use crate::vault::{Held, Renewal, Vault};

const NAME: &str = "token";

pub(super) struct TokenKeeper {
    busy: bool,
    /// The server does not take it any more.
    dead: bool,
    /// How many in a row died young.
    young: u32,
    /// A login is under way that everything waits for.
    replacing: bool,
    failures: u32,
    refusals: u32,
    /// No login before.
    rest: Option<Next>,
    trouble: Option<Trouble>,
    file: Option<Stamp>,
    last_success: Option<SystemTime>,
}

type Stamp = (SystemTime, u64);

/// What is to be done for the token.
pub(super) enum TokenAction {
    LookAt(Arc<Held>),
    Renew(Arc<Held>),
    LogIn(Option<Arc<Held>>),
    /// It can be neither renewed any further nor replaced.
    GiveUp,
}

pub(super) enum Outcome {
    /// Somebody who shares the token was faster.
    Nothing,
    LookedAt(Result<(), Cause>),
    GaveUp,
    Renewed(Arc<Held>, Renewal),
    /// Whether it is another token than before.
    LoggedIn(Result<bool, Cause>),
}

impl TokenKeeper {
    pub(super) fn new(vault: &Vault) -> Self {
        Self {
            busy: false,
            dead: false,
            young: 0,
            replacing: false,
            failures: 0,
            refusals: 0,
            rest: None,
            trouble: None,
            file: stamp(vault),
            last_success: None,
        }
    }

    /// Whether requests can be made with the token.
    pub(super) fn is_usable(&self) -> bool {
        !self.dead
    }

    /// Another is on its way: what is made under this one dies soon.
    pub(super) fn is_leaving(&self) -> bool {
        self.replacing
    }

    /// Whether nothing can be done before somebody mends the login.
    pub(super) fn is_stuck(&self) -> bool {
        self.dead && !self.busy && self.trouble.is_some()
    }

    /// The server refused it. Tokens that die young one after the other are not replaced at once.
    pub(super) fn died(&mut self, vault: &Vault, now: Reading) {
        if self.dead {
            return;
        }
        self.dead = true;
        let age = vault.held().and_then(|held| held.term().as_ref().map(|term| term.age(now)));
        self.young = match age {
            Some(age) if age < Duration::from_secs(60) => self.young.saturating_add(1),
            _ => 0,
        };
        if self.young > 1 {
            let wait = schedule::retry_read(self.young, Duration::MAX, fastrand::f64());
            self.rest = Some(Next::new(now, wait));
        }
    }

    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Somebody asked for all of it now.
    pub(super) fn hurry(&mut self) {
        if self.refusals == 0 {
            self.rest = None;
        }
    }

    pub(super) fn due(&mut self, vault: &Vault, now: Reading) -> Option<TokenAction> {
        if self.busy {
            return None;
        }
        let action = self.choose(vault, now)?;
        self.busy = true;
        self.replacing = matches!(action, TokenAction::LogIn(_));
        Some(action)
    }

    fn choose(&mut self, vault: &Vault, now: Reading) -> Option<TokenAction> {
        let Some(held) = vault.held() else {
            return self.log_in(vault, None, now);
        };
        if held.left().is_some() || held.secret().is_none() {
            return None;
        }
        if self.dead || held.is_used_up() || self.file_says(vault, &held) {
            return self.log_in(vault, Some(held), now);
        }
        let step = match &*held.term() {
            None => return self.rested(now).then(|| TokenAction::LookAt(Arc::clone(&held))),
            Some(term) => term.due(now)?,
        };
        match step {
            Step::Renew => Some(TokenAction::Renew(held)),
            Step::Replace if vault.auth().can_repeat() => self.log_in(vault, Some(held), now),
            Step::Replace => Some(TokenAction::GiveUp),
        }
    }

    fn log_in(&self, vault: &Vault, held: Option<Arc<Held>>, now: Reading) -> Option<TokenAction> {
        let there_is_news = self.trouble.is_some() && stamp(vault) != self.file;
        (self.rested(now) || there_is_news).then_some(TokenAction::LogIn(held))
    }

    fn rested(&self, now: Reading) -> bool {
        self.rest.is_none_or(|rest| rest.wait(now).is_zero())
    }

    /// A token that somebody else puts into a file was replaced there.
    fn file_says(&self, vault: &Vault, held: &Held) -> bool {
        !held.is_ours() && stamp(vault) != self.file
    }

    pub(super) fn wait(&self, vault: &Vault, now: Reading) -> Option<Duration> {
        if self.busy {
            return None;
        }
        // The file is looked at as often as that.
        let file = vault.auth().watched_file().map(|_| Duration::from_secs(5));
        let rest = self.rest.map(|rest| rest.wait(now));
        let own = match vault.held() {
            None => Some(rest.unwrap_or_default()),
            Some(held) if held.secret().is_none() => None,
            Some(_) if self.dead => Some(rest.unwrap_or_default()),
            Some(held) => match &*held.term() {
                None => Some(rest.unwrap_or_default()),
                Some(term) => term.next(now).map(|(step, wait)| match step {
                    Step::Renew => wait,
                    Step::Replace => wait.max(rest.unwrap_or_default()),
                }),
            },
        };
        own.into_iter().chain(file).min()
    }

    pub(super) fn finish(&mut self, vault: &Vault, outcome: Outcome, now: Reading) -> Vec<Event> {
        self.busy = false;
        self.replacing = false;
        match outcome {
            Outcome::Nothing => Vec::new(),
            Outcome::LookedAt(Ok(())) => self.succeeded(now),
            Outcome::GaveUp => {
                if let Some(held) = vault.held() {
                    held.term().as_mut().map(Term::rest);
                }
                self.tell(vault, ends_for_good(vault), now)
            }
            Outcome::LookedAt(Err(cause)) => {
                self.dead = cause.kind == ErrorKind::TokenInvalid;
                self.failed(vault, cause, now)
            }
            Outcome::Renewed(held, renewal) => self.renewed(vault, &held, renewal, now),
            Outcome::LoggedIn(Ok(true)) => {
                self.dead = false;
                self.file = stamp(vault);
                let mut events = self.succeeded(now);
                events.push(Event::LoggedIn);
                events
            }
            // The file has the same token as before.
            Outcome::LoggedIn(Ok(false)) => {
                self.file = stamp(vault);
                let alive = !self.dead
                    && vault.held().is_some_and(|held| {
                        held.term().as_ref().is_none_or(|term| term.due(now).is_none())
                    });
                match alive {
                    true => Vec::new(),
                    false => self.failed(vault, vault.dead(), now),
                }
            }
            Outcome::LoggedIn(Err(cause)) => {
                self.file = stamp(vault);
                self.failed(vault, cause, now)
            }
        }
    }

    fn renewed(
        &mut self,
        vault: &Vault,
        held: &Held,
        renewal: Renewal,
        now: Reading,
    ) -> Vec<Event> {
        let change = |change: &dyn Fn(&mut Term)| {
            if let Some(term) = held.term().as_mut() {
                change(term);
            }
        };
        match renewal {
            // Its term was renewed where it was asked for.
            Renewal::Granted { .. } => {
                let mut events = self.succeeded(now);
                events.push(Event::Renewed { source: NAME.to_owned() });
                events
            }
            Renewal::Never(cause) => {
                tracing::info!("{}", cause.what);
                change(&Term::refused);
                Vec::new()
            }
            Renewal::Gone(cause) => {
                tracing::info!("{}", cause.what);
                self.dead = true;
                Vec::new()
            }
            Renewal::Failed(cause) => {
                change(&|term| term.failed(now, fastrand::f64()));
                self.tell(vault, cause, now)
            }
        }
    }

    fn succeeded(&mut self, now: Reading) -> Vec<Event> {
        self.failures = 0;
        self.refusals = 0;
        self.rest = None;
        self.last_success = Some(now.wall);
        if self.trouble.take().is_none() {
            return Vec::new();
        }
        tracing::info!(source = NAME, "works again");
        vec![Event::Recovered { source: NAME.to_owned() }]
    }

    /// A login failed. One that was refused is not soon tried again.
    fn failed(&mut self, vault: &Vault, cause: Cause, now: Reading) -> Vec<Event> {
        let random = fastrand::f64();
        let wait = match cause.kind {
            ErrorKind::LoginRefused => {
                self.refusals = self.refusals.saturating_add(1);
                schedule::after_refused_login(self.refusals, random)
            }
            _ => {
                self.failures = self.failures.saturating_add(1);
                schedule::retry_read(self.failures, Duration::MAX, random)
            }
        };
        self.rest = Some(Next::new(now, wait));
        self.tell(vault, cause, now)
    }

    /// Logged and told when it begins, and when it fails for something else than before.
    fn tell(&mut self, vault: &Vault, cause: Cause, now: Reading) -> Vec<Event> {
        let before = self.trouble.take();
        let is_news = before.as_ref().is_none_or(|trouble| trouble.cause.kind != cause.kind);
        let since = before.map_or(now.wall, |trouble| trouble.since);
        let cause = Arc::new(cause);
        self.trouble = Some(Trouble { since, cause: Arc::clone(&cause) });
        if !is_news {
            return Vec::new();
        }
        tracing::warn!(source = NAME, "failing: {}", super::told(&cause));
        let good_until = self.status(vault, now).and_then(|status| status.state.expires_at);
        let problem = Problem::general_of(cause);
        vec![Event::Failing { source: NAME.to_owned(), problem, good_until }]
    }

    pub(super) fn status(&self, vault: &Vault, now: Reading) -> Option<TokenStatus> {
        let held = vault.held();
        if held.as_ref().is_some_and(|held| held.secret().is_none()) {
            return None;
        }
        let login = match self.refusals {
            _ if !vault.auth().can_repeat() => Login::Impossible,
            0 => Login::Repeatable,
            _ => Login::Refused,
        };
        let mut state = State::well();
        state.last_success = self.last_success;
        if let Some(term) = held.as_ref().and_then(|held| held.term().clone()) {
            state.ends(now.wall, term.left(now), term.over(now), term.full());
            if let Some((step, wait)) = term.next(now) {
                let rest = self.rest.map_or(Duration::ZERO, |rest| rest.wait(now));
                match step {
                    Step::Renew => state.plan(now.wall, Action::Renew, wait),
                    Step::Replace => state.plan(now.wall, Action::LogIn, wait.max(rest)),
                }
            }
        }
        if self.dead || held.is_none() {
            state.expires_at = Some(now.wall);
        }
        if let Some(trouble) = &self.trouble {
            state.failing_since = Some(trouble.since);
            state.error = Some(super::told(&trouble.cause));
        }
        Some(TokenStatus { login, state })
    }
}

impl TokenAction {
    pub(super) async fn run(self, vault: Vault, limit: Duration) -> Outcome {
        match self {
            Self::GiveUp => Outcome::GaveUp,
            Self::LookAt(held) => Outcome::LookedAt(vault.look_at_token(&held).await),
            Self::Renew(held) => {
                let span = tracing::info_span!("renew", source = NAME);
                renew(vault, held, limit).instrument(span).await
            }
            Self::LogIn(Some(held)) => {
                let logged_in = vault.log_in_again(&held).await;
                Outcome::LoggedIn(logged_in.map(|new| !Arc::ptr_eq(&new, &held)))
            }
            Self::LogIn(None) => {
                Outcome::LoggedIn(vault.ready(Instant::now()).await.map(|()| true))
            }
        }
    }
}

async fn renew(vault: Vault, held: Arc<Held>, limit: Duration) -> Outcome {
    let _turn = held.renewing().await;
    let now = vault.clock().now();
    let due = held.term().as_ref().filter(|term| term.due(now) == Some(Step::Renew)).cloned();
    let Some(due) = due else { return Outcome::Nothing };
    let limit = patience(Some(due.full()), due.failures(), limit);
    let renewal = vault.renew_token(&held, limit).await;
    // Whoever waited for its turn has to see it.
    if let (Renewal::Granted { asked, ttl }, Some(term)) = (&renewal, held.term().as_mut()) {
        term.renewed(*asked, *ttl, fastrand::f64());
    }
    drop(_turn);
    Outcome::Renewed(held, renewal)
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

/// When the file to log in with was changed, and its size.
fn stamp(vault: &Vault) -> Option<Stamp> {
    let metadata = fs::metadata(vault.auth().watched_file()?).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

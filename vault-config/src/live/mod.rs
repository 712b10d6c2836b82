//! A configuration that stays fresh: see [`docs::rotation`](crate::docs::rotation).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, mpsc, oneshot};

mod events;
mod publish;
pub(crate) mod schedule;
#[cfg(test)]
mod simulation;
mod status;
mod task;
mod watched;

pub use crate::time::clock::{Clock, Reading, SystemClock};
pub use events::{Event, Events};
pub use publish::{Selected, Subscription, View};
pub use status::{Action, Counters, Health, Login, SourceStatus, State, Status, TokenStatus};

use publish::{Part, Published};
use task::{Command, Task, Watched};
use watched::WatchedSecret;

use crate::VaultConfig;
use crate::error::{Cause, Error, ErrorKind};
use crate::load::read::{Slot, Span};
use crate::load::resolve::Given;
use crate::vault::Vault;

/// A configuration that is kept fresh in the background. Made by
/// [`Loader::watch`](crate::Loader::watch); cheap to clone.
///
/// Tokens and leases are renewed, credentials are rotated before they end, secrets are read again
/// when they change. What cannot be refreshed stays as it was, and [`status`](Self::status) says so.
/// When the last clone is dropped, the refreshing stops; [`shutdown`](Self::shutdown) also revokes
/// what was made.
///
/// ```no_run
/// use vault_config::{DatabaseCredentials, VaultConfig};
///
/// #[derive(Debug, VaultConfig)]
/// struct AppConfig {
///     #[vault(database = "readonly")]
///     database: DatabaseCredentials,
/// }
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let live = AppConfig::loader().watch().await?;
///
/// // For each use, the newest:
/// let config = live.current();
///
/// // Or be told, of this field alone:
/// let mut database = live.select(|config| &config.database);
/// tokio::spawn(async move {
///     while let Some(credentials) = database.changed().await {
///         println!("connect as {} from now on", credentials.username());
///     }
/// });
///
/// // When the service stops:
/// live.shutdown().await?;
/// # Ok(()) }
/// ```
pub struct Live<T> {
    shared: Arc<Shared<T>>,
    /// Nobody listens in local mode: there is nothing to refresh.
    commands: mpsc::UnboundedSender<Command>,
}

struct Shared<T> {
    name: &'static str,
    clock: Arc<dyn Clock>,
    published: Published<T>,
    /// Nothing once there will be no more.
    events: Mutex<Option<broadcast::Sender<Event>>>,
    status: Mutex<Status>,
}

/// What a watched configuration begins with.
pub(crate) struct LiveStart<T> {
    pub(crate) name: &'static str,
    pub(crate) config: T,
    pub(crate) slots: Vec<Slot>,
    pub(crate) spans: Vec<(usize, Span)>,
    pub(crate) given: Vec<Given>,
    pub(crate) vault: Option<Vault>,
    pub(crate) options: WatchOptions,
}

/// How a configuration is watched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WatchOptions {
    pub(crate) every: std::time::Duration,
    pub(crate) overlap: Option<std::time::Duration>,
}

impl<T: VaultConfig + Send + Sync + 'static> Live<T> {
    pub(crate) fn start(start: LiveStart<T>) -> Self {
        let LiveStart { name, config, slots, spans, given, vault, options } = start;
        let clock: Arc<dyn Clock> = match &vault {
            Some(vault) => Arc::clone(vault.clock()),
            None => Arc::new(SystemClock::default()),
        };
        let now = clock.now();
        let parts = parts(&slots, &spans);
        let shared = Arc::new(Shared {
            name,
            clock,
            published: Published::new(config, parts.clone()),
            events: Mutex::new(Some(broadcast::Sender::new(256))),
            status: Mutex::new(Status::at_rest()),
        });
        let (commands, receiver) = mpsc::unbounded_channel();
        let sources: Vec<WatchedSecret> = given
            .into_iter()
            .map(|given| {
                let leaves = given.fields.iter().filter_map(|(leaf, _)| slots.get(*leaf));
                let names = leaves.map(|slot| slot.leaf.path.clone()).collect();
                WatchedSecret::new(given, names, options.every, now)
            })
            .collect();
        if let Some(vault) = vault.filter(|_| !sources.is_empty()) {
            let shared = Arc::clone(&shared);
            let watched = Watched { slots, parts, sources, overlap: options.overlap };
            let task = Task::new(vault, Arc::clone(&shared), watched);
            shared.set_status(task.status(now));
            tokio::spawn(task.run(receiver));
        }
        Self { shared, commands }
    }
}

impl<T> Live<T> {
    /// The newest valid configuration. Never waits.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        self.shared.published.current()
    }

    /// To be told of every new configuration.
    #[must_use]
    pub fn subscribe(&self) -> Subscription<T> {
        Subscription::new(self.shared.published.subscribe())
    }

    /// To be told when one part changes, and of no other change: `live.select(|c| &c.database)`.
    ///
    /// The part is a field, or a field of a nested struct. For a part that lies elsewhere in
    /// memory, such as what is in a `Box` or a `Vec`, every change counts.
    #[must_use]
    pub fn select<U: ?Sized>(&self, part: impl Fn(&T) -> &U + Send + Sync + 'static) -> View<T, U> {
        View::new(self.shared.published.subscribe(), part)
    }

    /// What happens from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        let events = lock(&self.shared.events);
        Events::new(match &*events {
            Some(events) => events.subscribe(),
            None => broadcast::channel(1).1,
        })
    }

    /// How everything is doing now.
    #[must_use]
    pub fn status(&self) -> Status {
        let status = lock(&self.shared.status).clone();
        status.judged(self.shared.clock.now().wall)
    }

    /// Reads every secret and renews every lease now, and waits for it. What cannot be renewed, such
    /// as a certificate, is made anew.
    ///
    /// # Errors
    /// What fails then. The last good values stay.
    pub async fn refresh(&self) -> Result<(), Error> {
        let (asked, answer) = oneshot::channel();
        let is_asked = self.commands.send(Command::Refresh(asked)).is_ok();
        let answer = if is_asked { answer.await.ok() } else { None };
        match answer {
            Some(problems) if problems.is_empty() => Ok(()),
            Some(problems) => Err(Error::new(self.shared.name, problems, None)),
            // Without a Vault there is nothing to refresh, and nothing that stops.
            None if lock(&self.shared.status).health != Health::Stopped => Ok(()),
            None => Err(Error::single(self.shared.name, stopped())),
        }
    }

    /// Stops refreshing, and revokes the token that was made, and with it all its credentials. It
    /// takes at most 5 s, and goes on when the future is dropped half way. The server drops the
    /// users of a database a moment after it has answered.
    ///
    /// A token that was given (`VAULT_TOKEN`, a file, an agent's) is never revoked, nor one that
    /// another watched configuration shares: then every lease made here that can be renewed is
    /// cut short by a renewal for one second, which the `default` policy allows. What was loaded once
    /// over the same [`Vault`], and is not watched, does not count: its credentials go with the token.
    ///
    /// The last configuration can still be read, by every clone; who waits for another is told
    /// that none will come, and [`status`](Self::status) says [`Health::Stopped`].
    ///
    /// # Errors
    /// What could not be revoked, and why: the first of it. It ends by itself at the end of its
    /// life.
    pub async fn shutdown(self) -> Result<(), Error> {
        let (asked, answer) = oneshot::channel();
        if self.commands.send(Command::Shutdown(asked)).is_err() {
            self.shared.stop();
            return Ok(());
        }
        let result = answer.await.unwrap_or(Ok(()));
        result.map_err(|cause| Error::single(self.shared.name, cause))
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), commands: self.commands.clone() }
    }
}

impl<T> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("config", &self.shared.name).finish_non_exhaustive()
    }
}

impl<T> Shared<T> {
    fn report(&self, event: Event) {
        if let Some(events) = &*lock(&self.events) {
            // Nobody may be listening.
            let _ = events.send(event);
        }
    }

    fn set_status(&self, status: Status) {
        *lock(&self.status) = status;
    }

    /// Whoever waits for a change or an event learns that none will come.
    fn stop(&self) {
        lock(&self.status).stop();
        self.published.close();
        *lock(&self.events) = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every leaf has a part; one that was never read changes with everything.
fn parts(slots: &[Slot], spans: &[(usize, Span)]) -> Vec<Part> {
    let mut parts =
        vec![Part { span: Span { start: 0, end: usize::MAX }, changed: 0 }; slots.len()];
    for (leaf, span) in spans {
        if let Some(part) = parts.get_mut(*leaf) {
            part.span = *span;
        }
    }
    parts
}

fn stopped() -> Cause {
    Cause::new(
        ErrorKind::Stopped,
        "the configuration is not watched any more: it was shut down, or its runtime ended",
        "load it again with `watch()`",
    )
}

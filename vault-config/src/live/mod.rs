//! A configuration that is refreshed in the background: [`docs::rotation`](crate::docs::rotation) explains what
//! happens when.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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

use publish::{FieldVersion, Published};
use task::{RefreshTask, TaskCommand, TaskInput};
use watched::WatchedSecret;

use crate::VaultConfig;
use crate::error::{Cause, Error, ErrorKind};
use crate::load::{ByteSpan, Fetched, Slots};
use crate::schema::plan::LeafId;
use crate::time::Timing;
use crate::vault::Vault;

/// A configuration that always has valid credentials and the newest secrets. Created by
/// [`Loader::watch`](crate::Loader::watch); cheap to clone.
///
/// A background task renews the token and all leases, replaces credentials before they expire, and reads secrets
/// again. If something cannot be refreshed, its last value stays, and [`status`](Self::status) reports the failure.
/// The task stops when the last clone is dropped; [`shutdown`](Self::shutdown) also revokes the token and the
/// credentials.
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
/// // The newest configuration, for each use:
/// let config = live.current();
///
/// // Or wait for changes of one field:
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
    shared: Arc<LiveState<T>>,
    /// Closed from the start in local mode, where there is no task because there is nothing to refresh.
    commands: mpsc::UnboundedSender<TaskCommand>,
}

/// What the task writes and every `Live` reads.
struct LiveState<T> {
    name: &'static str,
    clock: Arc<dyn Clock>,
    published: Published<T>,
    /// `None` once the configuration is not watched any more.
    events: Mutex<Option<broadcast::Sender<Event>>>,
    status: Mutex<Status>,
}

/// What a finished load passes on to the refresh.
pub(crate) struct LiveStart<T> {
    pub(crate) name: &'static str,
    pub(crate) config: T,
    pub(crate) slots: Slots,
    pub(crate) spans: Vec<(LeafId, ByteSpan)>,
    pub(crate) fetched: Vec<Fetched>,
    pub(crate) vault: Option<Vault>,
    pub(crate) options: WatchOptions,
}

/// The settings of the loader for the refresh.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WatchOptions {
    /// The interval between two reads of a secret whose fields set none.
    pub(crate) every: Duration,
    /// How long a replaced credential is kept at least; `None`: until its expiry.
    pub(crate) overlap: Option<Duration>,
}

impl<T: VaultConfig + Send + Sync + 'static> Live<T> {
    pub(crate) fn start(start: LiveStart<T>) -> Self {
        let LiveStart { name, config, slots, spans, fetched, vault, options } = start;
        let Timing { clock, chance, .. } =
            vault.as_ref().map_or_else(Timing::default, |vault| vault.timing().clone());
        let now = clock.now();
        let field_versions = first_field_versions(&slots, &spans);
        let shared = Arc::new(LiveState {
            name,
            clock,
            published: Published::new(config, field_versions.clone()),
            events: Mutex::new(Some(broadcast::Sender::new(256))),
            status: Mutex::new(Status::idle()),
        });
        let (commands, receiver) = mpsc::unbounded_channel();
        let sources: Vec<WatchedSecret> = fetched
            .into_iter()
            .map(|fetched| {
                let leaves = fetched.fields.iter().filter_map(|field| slots.get(field.id));
                let field_paths = leaves.map(|slot| slot.leaf.path.clone()).collect();
                WatchedSecret::new(fetched, field_paths, options.every, now, chance.clone())
            })
            .collect();
        if let Some(vault) = vault.filter(|_| !sources.is_empty()) {
            let shared = Arc::clone(&shared);
            let input = TaskInput { slots, field_versions, sources, overlap: options.overlap };
            let task = RefreshTask::new(vault, Arc::clone(&shared), input);
            shared.set_status(task.status(now));
            tokio::spawn(task.run(receiver));
        }
        Self { shared, commands }
    }
}

impl<T> Live<T> {
    /// Returns the newest valid configuration. Never waits and never fails: call it for each use.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        self.shared.published.current()
    }

    /// Returns a reader that waits for each new configuration.
    #[must_use]
    pub fn subscribe(&self) -> Subscription<T> {
        Subscription::new(self.shared.published.subscribe())
    }

    /// Returns a reader that waits for changes of one part, such as `live.select(|c| &c.database)` for a pool.
    ///
    /// The part is a field, or a field of a nested struct. A part that lies elsewhere in memory, such as the content
    /// of a `Box` or a `Vec`, counts as changed with every change.
    #[must_use]
    pub fn select<U: ?Sized>(&self, part: impl Fn(&T) -> &U + Send + Sync + 'static) -> View<T, U> {
        View::new(self.shared.published.subscribe(), part)
    }

    /// Returns the events from now on: renewals, rotations, failures and others, for logs and metrics.
    #[must_use]
    pub fn events(&self) -> Events {
        let events = lock(&self.shared.events);
        Events::new(match &*events {
            Some(events) => events.subscribe(),
            None => broadcast::channel(1).1,
        })
    }

    /// Returns the state of the token and of every source: health, next action, expiry and error.
    #[must_use]
    pub fn status(&self) -> Status {
        let status = lock(&self.shared.status).clone();
        status.evaluated_at(self.shared.clock.now().wall)
    }

    /// Reads every secret and renews every lease now, and waits until that is done. A credential that cannot be
    /// renewed, such as a certificate, is issued again.
    ///
    /// # Errors
    /// The problem of each source that cannot be refreshed. Its last value stays published.
    pub async fn refresh(&self) -> Result<(), Error> {
        let (reply, problems) = oneshot::channel();
        let is_sent = self.commands.send(TaskCommand::Refresh(reply)).is_ok();
        let problems = if is_sent { problems.await.ok() } else { None };
        match problems {
            Some(problems) if problems.is_empty() => Ok(()),
            Some(problems) => Err(Error::new(self.shared.name, problems, None)),
            // In local mode there is no task and nothing to refresh, which is no error.
            None if lock(&self.shared.status).health != Health::Stopped => Ok(()),
            None => Err(Error::single(self.shared.name, stopped())),
        }
    }

    /// Stops the background task and revokes the token, and with it all credentials that were issued under it. Takes
    /// at most 5 s, and continues if the future is dropped. The server deletes the users of a database shortly after
    /// it has answered.
    ///
    /// Two kinds of token are not revoked: one that was supplied to the process (`VAULT_TOKEN`, a file, an agent's),
    /// and one that another watched configuration still uses. Then every renewable lease of this configuration is
    /// shortened to one second by a renewal, which the `default` policy allows. A configuration that was loaded once
    /// over the same [`Vault`] and is not watched does not count as a user of the token: its credentials end with it.
    ///
    /// All clones still return the last configuration. Subscriptions and events end, and
    /// [`status`](Self::status) returns [`Health::Stopped`].
    ///
    /// # Errors
    /// The first token or lease that could not be revoked, and why. It stays valid until its expiry.
    pub async fn shutdown(self) -> Result<(), Error> {
        let (reply, result) = oneshot::channel();
        if self.commands.send(TaskCommand::Shutdown(reply)).is_err() {
            self.shared.stop();
            return Ok(());
        }
        let result = result.await.unwrap_or(Ok(()));
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

impl<T> LiveState<T> {
    fn publish_event(&self, event: Event) {
        if let Some(events) = &*lock(&self.events) {
            // The send fails if no receiver exists, and then no receiver needs the event.
            let _ = events.send(event);
        }
    }

    fn set_status(&self, status: Status) {
        *lock(&self.status) = status;
    }

    /// Ends all subscriptions and event receivers.
    fn stop(&self) {
        lock(&self.status).stop();
        self.published.close();
        *lock(&self.events) = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One entry for each leaf. A leaf that was never read has no known span, and so counts as a part of everything.
fn first_field_versions(slots: &Slots, spans: &[(LeafId, ByteSpan)]) -> Vec<FieldVersion> {
    let everywhere = ByteSpan { start: 0, end: usize::MAX };
    let mut versions = vec![FieldVersion { span: everywhere, changed_in: 0 }; slots.len()];
    for (leaf, span) in spans {
        if let Some(version) = versions.get_mut(leaf.index()) {
            version.span = *span;
        }
    }
    versions
}

fn stopped() -> Cause {
    Cause::new(
        ErrorKind::Stopped,
        "the configuration is not watched any more: it was shut down, or its runtime ended",
        "load it again with `watch()`",
    )
}

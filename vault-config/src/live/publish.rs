//! From the one who refreshes to all who read.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::load::ByteSpan;

/// What everybody reads.
pub(super) struct Published<T> {
    current: ArcSwap<T>,
    latest: Mutex<Latest<T>>,
    readers: Arc<Readers>,
}

/// By the number of an edition: how many subscribers are done with what was before it, and not yet with
/// itself.
#[derive(Default)]
struct Readers(Mutex<BTreeMap<u64, usize>>);

impl Readers {
    fn count(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, number: u64) {
        *self.count().entry(number).or_default() += 1;
    }

    fn leave(&self, number: u64) {
        let mut count = self.count();
        if let Some(readers) = count.get_mut(&number) {
            *readers -= 1;
            if *readers == 0 {
                count.remove(&number);
            }
        }
    }

    fn slowest(&self) -> Option<u64> {
        self.count().first_key_value().map(|(number, _)| *number)
    }
}

struct Latest<T> {
    edition: Edition<T>,
    /// Nothing once there will be no other.
    sender: Option<watch::Sender<Edition<T>>>,
}

/// One configuration, and when each part of it changed last.
pub(super) struct Edition<T> {
    config: Arc<T>,
    number: u64,
    parts: Arc<Vec<Part>>,
}

/// Where one field lies in the struct, and the number of the edition that changed it last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) span: ByteSpan,
    pub(super) changed: u64,
}

impl<T> Clone for Edition<T> {
    fn clone(&self) -> Self {
        Self {
            config: Arc::clone(&self.config),
            number: self.number,
            parts: Arc::clone(&self.parts),
        }
    }
}

impl<T> Published<T> {
    pub(super) fn new(config: T, parts: Vec<Part>) -> Self {
        let config = Arc::new(config);
        let first = Edition { config: Arc::clone(&config), number: 0, parts: Arc::new(parts) };
        Self {
            current: ArcSwap::new(config),
            latest: Mutex::new(Latest {
                sender: Some(watch::Sender::new(first.clone())),
                edition: first,
            }),
            readers: Arc::default(),
        }
    }

    pub(super) fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// `parts` are those of the edition before with what changed now.
    pub(super) fn publish(&self, config: T, number: u64, parts: Vec<Part>) {
        let config = Arc::new(config);
        self.current.store(Arc::clone(&config));
        let edition = Edition { config, number, parts: Arc::new(parts) };
        let mut latest = self.latest();
        latest.edition = edition.clone();
        if let Some(sender) = &latest.sender {
            sender.send_replace(edition);
        }
    }

    /// There will be no other: who waits for one is told.
    pub(super) fn close(&self) {
        self.latest().sender = None;
    }

    fn latest(&self) -> MutexGuard<'_, Latest<T>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether every subscriber is done with what was before this edition.
    pub(super) fn is_taken(&self, number: u64) -> bool {
        self.readers.slowest().is_none_or(|slowest| slowest >= number)
    }

    pub(super) fn subscribe(&self) -> Cursor<T> {
        let latest = self.latest();
        let edition = latest.edition.clone();
        let receiver = match &latest.sender {
            Some(sender) => sender.subscribe(),
            None => watch::channel(edition.clone()).1,
        };
        // Before another can be published, or its predecessor could be released unseen.
        self.readers.enter(edition.number);
        drop(latest);
        let done = edition.number;
        Cursor { receiver, edition, done, readers: Arc::clone(&self.readers) }
    }
}

/// One subscriber's place among the editions.
pub(super) struct Cursor<T> {
    receiver: watch::Receiver<Edition<T>>,
    edition: Edition<T>,
    /// The last edition that this subscriber is done with.
    done: u64,
    readers: Arc<Readers>,
}

impl<T> Drop for Cursor<T> {
    fn drop(&mut self) {
        self.readers.leave(self.done);
    }
}

impl<T> Cursor<T> {
    /// Asking for the next edition says that one is done with those before.
    async fn next(&mut self) -> bool {
        self.readers.enter(self.edition.number);
        self.readers.leave(std::mem::replace(&mut self.done, self.edition.number));
        let is_there = self.receiver.changed().await.is_ok();
        if is_there {
            self.edition = self.receiver.borrow_and_update().clone();
        }
        is_there
    }
}

/// Every new configuration, to be told of. Made by [`Live::subscribe`](super::Live::subscribe).
///
/// Who asks for the next configuration has taken the one before: until all subscribers have, and
/// [`overlap`](crate::Loader::overlap) has passed, a replaced credential is left to live.
pub struct Subscription<T>(Cursor<T>);

impl<T> Subscription<T> {
    pub(super) fn new(cursor: Cursor<T>) -> Self {
        Self(cursor)
    }

    /// The configuration that was seen last; [`Live::current`](super::Live::current) may have a newer
    /// one.
    #[must_use]
    pub fn seen(&self) -> Arc<T> {
        Arc::clone(&self.0.edition.config)
    }

    /// Waits for a configuration that was not seen yet, and skips those that are old already.
    /// `None` when it is watched no longer.
    ///
    /// Cancel safe: no configuration is lost when the future is dropped.
    pub async fn changed(&mut self) -> Option<Arc<T>> {
        self.0.next().await.then(|| self.seen())
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

type Project<T, U> = dyn Fn(&T) -> &U + Send + Sync;

/// One part of the configuration, told of only when it changes. Made by
/// [`Live::select`](super::Live::select).
pub struct View<T, U: ?Sized> {
    cursor: Cursor<T>,
    project: Arc<Project<T, U>>,
    fields: Vec<usize>,
}

impl<T, U: ?Sized> View<T, U> {
    pub(super) fn new(
        cursor: Cursor<T>,
        project: impl Fn(&T) -> &U + Send + Sync + 'static,
    ) -> Self {
        let Edition { config, parts, .. } = &cursor.edition;
        let part = project(config);
        let fields = touched(&**config, part, parts);
        Self { cursor, project: Arc::new(project), fields }
    }

    /// The part as it was seen last; [`Live::current`](super::Live::current) may have a newer one.
    #[must_use]
    pub fn seen(&self) -> Selected<T, U> {
        let config = Arc::clone(&self.cursor.edition.config);
        Selected { config, project: Arc::clone(&self.project) }
    }

    /// Waits until the part has changed since it was seen last. `None` when the configuration is
    /// watched no longer.
    ///
    /// Cancel safe: no change is lost when the future is dropped.
    pub async fn changed(&mut self) -> Option<Selected<T, U>> {
        loop {
            let before = self.cursor.edition.number;
            if !self.cursor.next().await {
                return None;
            }
            let parts = &self.cursor.edition.parts;
            let changed = |index: &usize| parts.get(*index).is_some_and(|p| p.changed > before);
            if self.fields.iter().any(changed) {
                return Some(self.seen());
            }
        }
    }
}

impl<T, U: ?Sized> fmt::Debug for View<T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

/// One part of one configuration; it dereferences to the part.
pub struct Selected<T, U: ?Sized> {
    config: Arc<T>,
    project: Arc<Project<T, U>>,
}

impl<T, U: ?Sized> Deref for Selected<T, U> {
    type Target = U;

    fn deref(&self) -> &U {
        (self.project)(&self.config)
    }
}

impl<T, U: ?Sized + fmt::Debug> fmt::Debug for Selected<T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// The fields whose memory the part shares; all of them when it lies elsewhere, as what is in a
/// `Box` does.
fn touched<T, U: ?Sized>(config: &T, part: &U, parts: &[Part]) -> Vec<usize> {
    let base = std::ptr::from_ref(config).addr();
    let start = std::ptr::from_ref(part).addr().wrapping_sub(base);
    let end = start.saturating_add(size_of_val(part));
    if end > size_of::<T>() || start == end {
        return (0..parts.len()).collect();
    }
    let shares = |part: &Part| part.span.start < end && start < part.span.end;
    let touched = parts.iter().enumerate().filter(|(_, part)| shares(part));
    touched.map(|(index, _)| index).collect()
}

//! From the one who refreshes to all who read.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::read::Span;

/// What everybody reads.
pub(super) struct Published<T> {
    current: ArcSwap<T>,
    latest: Mutex<Latest<T>>,
    /// The last edition that each subscriber is done with.
    readers: Mutex<Vec<Weak<AtomicU64>>>,
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
    pub(super) span: Span,
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
            readers: Mutex::default(),
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
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|reader| reader.strong_count() > 0);
        let done = |reader: &Weak<AtomicU64>| {
            reader.upgrade().is_none_or(|done| done.load(Ordering::Acquire) >= number)
        };
        readers.iter().all(done)
    }

    pub(super) fn subscribe(&self) -> Reading<T> {
        let latest = self.latest();
        let edition = latest.edition.clone();
        let receiver = match &latest.sender {
            Some(sender) => sender.subscribe(),
            None => watch::channel(edition.clone()).1,
        };
        drop(latest);
        let done = Arc::new(AtomicU64::new(edition.number));
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&done));
        Reading { receiver, edition, done }
    }
}

/// One subscriber's place among the editions.
pub(super) struct Reading<T> {
    receiver: watch::Receiver<Edition<T>>,
    edition: Edition<T>,
    done: Arc<AtomicU64>,
}

impl<T> Reading<T> {
    /// Asking for the next edition says that one is done with those before.
    async fn next(&mut self) -> bool {
        self.done.store(self.edition.number, Ordering::Release);
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
pub struct Subscription<T>(Reading<T>);

impl<T> Subscription<T> {
    pub(super) fn new(reading: Reading<T>) -> Self {
        Self(reading)
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
    reading: Reading<T>,
    project: Arc<Project<T, U>>,
    fields: Vec<usize>,
}

impl<T, U: ?Sized> View<T, U> {
    pub(super) fn new(
        reading: Reading<T>,
        project: impl Fn(&T) -> &U + Send + Sync + 'static,
    ) -> Self {
        let Edition { config, parts, .. } = &reading.edition;
        let part = project(config);
        let fields = touched(&**config, part, parts);
        Self { reading, project: Arc::new(project), fields }
    }

    /// The part as it was seen last; [`Live::current`](super::Live::current) may have a newer one.
    #[must_use]
    pub fn seen(&self) -> Selected<T, U> {
        let config = Arc::clone(&self.reading.edition.config);
        Selected { config, project: Arc::clone(&self.project) }
    }

    /// Waits until the part has changed since it was seen last. `None` when the configuration is
    /// watched no longer.
    ///
    /// Cancel safe: no change is lost when the future is dropped.
    pub async fn changed(&mut self) -> Option<Selected<T, U>> {
        loop {
            let before = self.reading.edition.number;
            if !self.reading.next().await {
                return None;
            }
            let parts = &self.reading.edition.parts;
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

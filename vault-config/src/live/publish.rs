//! Publishes configurations from the one task that refreshes to all readers.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::load::ByteSpan;

pub(super) struct Published<T> {
    /// For reads without waiting.
    current: ArcSwap<T>,
    /// For subscribers.
    latest: Mutex<LatestEdition<T>>,
    positions: Arc<SubscriberPositions>,
}

/// The number of subscribers at each edition. A subscriber at an edition has finished with all editions before it.
#[derive(Default)]
struct SubscriberPositions(Mutex<BTreeMap<u64, usize>>);

impl SubscriberPositions {
    fn counts(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, number: u64) {
        *self.counts().entry(number).or_default() += 1;
    }

    fn leave(&self, number: u64) {
        let mut counts = self.counts();
        if let Some(subscribers) = counts.get_mut(&number) {
            *subscribers -= 1;
            if *subscribers == 0 {
                counts.remove(&number);
            }
        }
    }

    fn oldest(&self) -> Option<u64> {
        self.counts().first_key_value().map(|(number, _)| *number)
    }
}

struct LatestEdition<T> {
    edition: Edition<T>,
    /// `None` once the configuration is not watched any more.
    sender: Option<watch::Sender<Edition<T>>>,
}

/// One published configuration. Editions are numbered from zero.
pub(super) struct Edition<T> {
    config: Arc<T>,
    number: u64,
    /// By leaf.
    field_versions: Arc<Vec<FieldVersion>>,
}

/// Where one field lies in the memory of the struct, and the number of the edition that changed it last.
#[derive(Debug, Clone, Copy)]
pub(super) struct FieldVersion {
    pub(super) span: ByteSpan,
    pub(super) changed_in: u64,
}

impl<T> Clone for Edition<T> {
    fn clone(&self) -> Self {
        Self {
            config: Arc::clone(&self.config),
            number: self.number,
            field_versions: Arc::clone(&self.field_versions),
        }
    }
}

impl<T> Published<T> {
    pub(super) fn new(config: T, field_versions: Vec<FieldVersion>) -> Self {
        let config = Arc::new(config);
        let field_versions = Arc::new(field_versions);
        let first = Edition { config: Arc::clone(&config), number: 0, field_versions };
        Self {
            current: ArcSwap::new(config),
            latest: Mutex::new(LatestEdition {
                sender: Some(watch::Sender::new(first.clone())),
                edition: first,
            }),
            positions: Arc::default(),
        }
    }

    pub(super) fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// `field_versions` are those of the edition before, updated by the fields that changed.
    pub(super) fn publish(&self, config: T, number: u64, field_versions: Vec<FieldVersion>) {
        let config = Arc::new(config);
        self.current.store(Arc::clone(&config));
        let edition = Edition { config, number, field_versions: Arc::new(field_versions) };
        let mut latest = self.latest();
        latest.edition = edition.clone();
        if let Some(sender) = &latest.sender {
            sender.send_replace(edition);
        }
    }

    /// No edition follows. Subscribers that wait for one receive `None`.
    pub(super) fn close(&self) {
        self.latest().sender = None;
    }

    fn latest(&self) -> MutexGuard<'_, LatestEdition<T>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether every subscriber has finished with all editions before this one.
    pub(super) fn is_taken_by_all(&self, number: u64) -> bool {
        self.positions.oldest().is_none_or(|oldest| oldest >= number)
    }

    pub(super) fn subscribe(&self) -> Cursor<T> {
        let latest = self.latest();
        let edition = latest.edition.clone();
        let receiver = match &latest.sender {
            Some(sender) => sender.subscribe(),
            None => watch::channel(edition.clone()).1,
        };
        // The position is recorded while no other edition can be published: otherwise the credential of this edition
        // could be released before its subscriber is counted.
        self.positions.enter(edition.number);
        drop(latest);
        let position = edition.number;
        Cursor { receiver, edition, position, positions: Arc::clone(&self.positions) }
    }
}

/// One subscriber's position among the editions.
pub(super) struct Cursor<T> {
    receiver: watch::Receiver<Edition<T>>,
    /// The edition that was returned last.
    edition: Edition<T>,
    /// The number of the edition that the subscriber has taken. It follows `edition` with the next call.
    position: u64,
    positions: Arc<SubscriberPositions>,
}

impl<T> Drop for Cursor<T> {
    fn drop(&mut self) {
        self.positions.leave(self.position);
    }
}

impl<T> Cursor<T> {
    /// Waits for the next edition. Returns `false` if none follows. The call means that the subscriber has taken the
    /// current edition, and uses none before it any more.
    async fn next(&mut self) -> bool {
        // First enter, then leave: in between, another task must not see the subscriber nowhere.
        self.positions.enter(self.edition.number);
        self.positions.leave(std::mem::replace(&mut self.position, self.edition.number));
        let has_next = self.receiver.changed().await.is_ok();
        if has_next {
            self.edition = self.receiver.borrow_and_update().clone();
        }
        has_next
    }
}

/// Waits for each new configuration. Created by [`Live::subscribe`](super::Live::subscribe).
///
/// Calling [`changed`](Self::changed) again means that the configuration it returned before is in use, and none older
/// than that. A replaced credential is revoked only after every subscriber has done so and
/// [`overlap`](crate::Loader::overlap) has passed.
pub struct Subscription<T>(Cursor<T>);

impl<T> Subscription<T> {
    pub(super) fn new(cursor: Cursor<T>) -> Self {
        Self(cursor)
    }

    /// Returns the configuration that [`changed`](Self::changed) returned last, or the one at the time of the
    /// subscription. [`Live::current`](super::Live::current) may have a newer one.
    #[must_use]
    pub fn seen(&self) -> Arc<T> {
        Arc::clone(&self.0.edition.config)
    }

    /// Waits for a newer configuration and returns the newest one. `None` once the configuration is not watched any
    /// more.
    ///
    /// Cancel safe: no configuration is lost if the future is dropped.
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

/// Waits for changes of one part of the configuration. Created by [`Live::select`](super::Live::select).
///
/// Like [`Subscription`], it keeps a replaced credential from being revoked until
/// [`changed`](Self::changed) is called again.
pub struct View<T, U: ?Sized> {
    cursor: Cursor<T>,
    project: Arc<Project<T, U>>,
    /// The leaves of the part.
    fields: Vec<usize>,
}

impl<T, U: ?Sized> View<T, U> {
    pub(super) fn new(
        cursor: Cursor<T>,
        project: impl Fn(&T) -> &U + Send + Sync + 'static,
    ) -> Self {
        let Edition { config, field_versions, .. } = &cursor.edition;
        let part = project(config);
        let fields = fields_of_part(&**config, part, field_versions);
        Self { cursor, project: Arc::new(project), fields }
    }

    /// Returns the part that [`changed`](Self::changed) returned last, or the one at the time of the call of `select`.
    /// [`Live::current`](super::Live::current) may have a newer one.
    #[must_use]
    pub fn seen(&self) -> Selected<T, U> {
        let config = Arc::clone(&self.cursor.edition.config);
        Selected { config, project: Arc::clone(&self.project) }
    }

    /// Waits until the part has changed and returns its newest value. `None` once the configuration is not watched any
    /// more.
    ///
    /// Cancel safe: no change is lost if the future is dropped.
    pub async fn changed(&mut self) -> Option<Selected<T, U>> {
        loop {
            let before = self.cursor.edition.number;
            if !self.cursor.next().await {
                return None;
            }
            let versions = &self.cursor.edition.field_versions;
            let is_newer = |version: &FieldVersion| version.changed_in > before;
            if self.fields.iter().any(|leaf| versions.get(*leaf).is_some_and(is_newer)) {
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

/// One part of one configuration. It dereferences to the part, and keeps that configuration in memory.
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

/// The leaves whose memory overlaps that of the part. If the part lies outside of the struct, as the content of a
/// `Box` does, its fields cannot be determined, and all leaves are returned.
fn fields_of_part<T, U: ?Sized>(
    config: &T,
    part: &U,
    field_versions: &[FieldVersion],
) -> Vec<usize> {
    let base = std::ptr::from_ref(config).addr();
    let start = std::ptr::from_ref(part).addr().wrapping_sub(base);
    let end = start.saturating_add(size_of_val(part));
    if end > size_of::<T>() || start == end {
        return (0..field_versions.len()).collect();
    }
    let overlaps = |field: &FieldVersion| field.span.start < end && start < field.span.end;
    let fields = field_versions.iter().enumerate().filter(|(_, field)| overlaps(field));
    fields.map(|(leaf, _)| leaf).collect()
}

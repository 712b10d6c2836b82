//! The nodes of a cluster, and which one is asked.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Url;
use tokio::sync::Mutex;

use super::pause::{self, Pause};
use super::settings::{Address, Addresses};
use crate::time::clock::Reading;

#[derive(Debug)]
pub(super) struct Nodes {
    first: Node,
    others: Vec<Node>,
    /// The setting that the addresses come from.
    origin: Arc<str>,
    current: AtomicUsize,
    /// Whether the current node has answered since it became the current one.
    known: AtomicBool,
    pub(super) node_choice: Mutex<()>,
}

#[derive(Debug)]
struct Node {
    url: Url,
    shown: Arc<str>,
    pause: SyncMutex<Option<Pause>>,
}

impl Node {
    fn new(address: &Address) -> Self {
        let shown = address.shown().into();
        Self { url: address.url.clone(), shown, pause: SyncMutex::default() }
    }
}

impl Nodes {
    pub(super) fn new(addresses: &Addresses) -> Self {
        Self {
            first: Node::new(&addresses.first),
            others: addresses.others.iter().map(Node::new).collect(),
            origin: addresses.first.origin.as_str().into(),
            current: AtomicUsize::new(0),
            known: AtomicBool::new(false),
            node_choice: Mutex::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        1 + self.others.len()
    }

    pub(super) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    pub(super) fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    pub(super) fn succeeded(&self, node: usize) {
        if self.current() == node {
            self.known.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn failed(&self, node: usize) {
        if self.current() == node {
            self.known.store(false, Ordering::Relaxed);
        }
    }

    pub(super) fn switch_to(&self, node: usize, known: bool) {
        self.current.store(node, Ordering::Relaxed);
        self.known.store(known, Ordering::Relaxed);
    }

    /// All other nodes, in the order in which they are tried.
    pub(super) fn after(&self, node: usize) -> impl Iterator<Item = usize> {
        let count = self.len();
        (1..count).map(move |step| (node + step) % count)
    }

    /// Records that the node answered with `Retry-After`.
    pub(super) fn record_pause(&self, node: usize, now: Reading, asked: Duration) {
        let mut pause = self.pause(node);
        *pause = Pause::extended(*pause, now, asked);
    }

    /// How long the node still asks not to be sent requests.
    pub(super) fn remaining_pause(&self, node: usize, now: Reading) -> Option<Duration> {
        self.pause(node).and_then(|pause| pause.remaining(now))
    }

    /// How long every node still asks not to be sent requests; `None` while one of them accepts some.
    pub(super) fn shortest_pause(&self, now: Reading) -> Option<Duration> {
        pause::soonest((0..self.len()).map(|node| self.remaining_pause(node, now)))
    }

    /// The current node, unless it asks to wait: then the one whose wait ends first.
    pub(super) fn available(&self, now: Reading) -> usize {
        let current = self.current();
        let all = std::iter::once(current).chain(self.after(current));
        all.min_by_key(|node| self.remaining_pause(*node, now)).unwrap_or(current)
    }

    fn pause(&self, node: usize) -> MutexGuard<'_, Option<Pause>> {
        self.node(node).pause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn url(&self, node: usize) -> Url {
        self.node(node).url.clone()
    }

    /// For messages.
    pub(super) fn shown(&self, node: usize) -> Arc<str> {
        Arc::clone(&self.node(node).shown)
    }

    /// For messages.
    pub(super) fn origin(&self) -> Arc<str> {
        Arc::clone(&self.origin)
    }

    fn node(&self, node: usize) -> &Node {
        node.checked_sub(1).and_then(|other| self.others.get(other)).unwrap_or(&self.first)
    }
}

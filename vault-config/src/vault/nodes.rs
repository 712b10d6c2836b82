//! The nodes of a cluster, and which one is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::Url;
use tokio::sync::Mutex;

use super::settings::{Address, Addresses};

#[derive(Debug)]
pub(super) struct Nodes {
    first: Node,
    others: Vec<Node>,
    current: AtomicUsize,
    /// Whether the current one was seen to be good.
    known: AtomicBool,
    pub(super) choosing: Mutex<()>,
}

#[derive(Debug)]
struct Node {
    url: Url,
    shown: Arc<str>,
}

impl Node {
    fn new(address: &Address) -> Self {
        Self { url: address.url.clone(), shown: address.shown().into() }
    }
}

impl Nodes {
    pub(super) fn new(addresses: &Addresses) -> Self {
        Self {
            first: Node::new(&addresses.first),
            others: addresses.others.iter().map(Node::new).collect(),
            current: AtomicUsize::new(0),
            known: AtomicBool::new(false),
            choosing: Mutex::default(),
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

    pub(super) fn moved(&self, node: usize, known: bool) {
        self.current.store(node, Ordering::Relaxed);
        self.known.store(known, Ordering::Relaxed);
    }

    /// All others, from the next on.
    pub(super) fn after(&self, node: usize) -> impl Iterator<Item = usize> {
        let count = self.len();
        (1..count).map(move |step| (node + step) % count)
    }

    pub(super) fn url(&self, node: usize) -> Url {
        self.node(node).url.clone()
    }

    /// For messages.
    pub(super) fn shown(&self, node: usize) -> Arc<str> {
        Arc::clone(&self.node(node).shown)
    }

    fn node(&self, node: usize) -> &Node {
        node.checked_sub(1).and_then(|other| self.others.get(other)).unwrap_or(&self.first)
    }
}

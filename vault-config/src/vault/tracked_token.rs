//! A token, and what the connection knows of it: its lifetime, its remaining uses, and whether the server
//! still accepts it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, OnceLock, PoisonError};

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use crate::auth::AuthToken;
use crate::time::clock::Reading;
use crate::time::{Lifetime, Moment};

pub(crate) struct TrackedToken {
    auth_token: AuthToken,
    /// The result of the last lookup that followed a 403, and when it was made. The lock is held during the
    /// lookup, so that many refused requests cause one lookup.
    pub(super) last_lookup: Mutex<Option<(Moment, bool)>>,
    /// `None` for a token that was issued elsewhere and has not been looked up yet.
    lifetime: SyncMutex<Option<Lifetime>>,
    dead_since: SyncMutex<Option<Reading>>,
    /// Remaining uses of a use-limited token, without the one that is kept for its revocation.
    uses: Option<AtomicU64>,
    /// An action needed more uses than remain.
    is_short_of_uses: AtomicBool,
    retirement: OnceLock<Retirement>,
}

/// Why a token was replaced by another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retirement {
    /// It has no uses left. It stays valid until its expiry, and so do the leases that were issued under it.
    OutOfUses,
    /// It is dead or about to expire, and its leases with it.
    Ending,
}

impl TrackedToken {
    /// `requested_at` is the time before the login was sent. `may_renew` is whether tokens of this login may
    /// renew themselves, as far as is known.
    pub(super) fn new(
        auth_token: AuthToken,
        requested_at: Reading,
        may_renew: bool,
        random: f64,
    ) -> Self {
        let granted = auth_token.granted().copied();
        let lifetime = granted.and_then(|granted| {
            let ttl = granted.ttl?;
            let renewable = granted.renewable && may_renew;
            Some(Lifetime::new(requested_at, ttl, ttl, renewable, random))
        });
        let uses = granted.map(|granted| granted.uses).filter(|uses| *uses > 0);
        // One use is kept for the revocation. A token with a single use is used for a request instead.
        let uses = uses.map(|uses| AtomicU64::new(uses.saturating_sub(1).max(1)));
        Self {
            auth_token,
            last_lookup: Mutex::default(),
            lifetime: SyncMutex::new(lifetime),
            dead_since: SyncMutex::default(),
            uses,
            is_short_of_uses: AtomicBool::new(false),
            retirement: OnceLock::new(),
        }
    }

    /// `None` where an agent adds the token to each request.
    pub(crate) fn secret(&self) -> Option<&SecretString> {
        self.auth_token.secret()
    }

    /// Whether this connection logged in for it. Only then may this connection revoke it: a token that was
    /// supplied to the process belongs to its issuer.
    pub(crate) fn is_from_login(&self) -> bool {
        self.auth_token.granted().is_some()
    }

    /// `None` for a token that was issued elsewhere and has not been looked up yet.
    pub(crate) fn lifetime(&self) -> MutexGuard<'_, Option<Lifetime>> {
        self.lifetime.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_lifetime(&self, lifetime: Lifetime) {
        *self.lifetime() = Some(lifetime);
    }

    pub(crate) fn has_expired(&self, now: Reading) -> bool {
        let remaining = self.lifetime().as_ref().and_then(|lifetime| lifetime.remaining(now));
        remaining.is_some_and(|remaining| remaining.is_zero())
    }

    /// The server refuses the token. Returns whether that is new.
    pub(super) fn mark_dead(&self, now: Reading) -> bool {
        let mut dead_since = self.dead_since.lock().unwrap_or_else(PoisonError::into_inner);
        dead_since.is_none() && dead_since.replace(now).is_none()
    }

    /// The server accepts the token after all.
    pub(super) fn mark_alive(&self) {
        *self.dead_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Since when the server refuses it.
    pub(crate) fn dead_since(&self) -> Option<Reading> {
        *self.dead_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead_since().is_some()
    }

    /// `None` as long as no other token replaces it.
    pub(crate) fn retirement(&self) -> Option<Retirement> {
        self.retirement.get().copied()
    }

    /// The first reason stays.
    pub(super) fn set_retirement(&self, retirement: Retirement) {
        let _ = self.retirement.set(retirement);
    }

    /// Reserves `count` uses before any of them is spent. Returns `false` if fewer remain; then the token
    /// counts as used up, and a login is due.
    pub(crate) fn reserve_uses(&self, count: u64) -> bool {
        let Some(uses) = &self.uses else { return true };
        let subtract = |uses: u64| uses.checked_sub(count);
        let is_reserved = uses.fetch_update(Ordering::Relaxed, Ordering::Relaxed, subtract).is_ok();
        if !is_reserved {
            self.is_short_of_uses.store(true, Ordering::Relaxed);
        }
        is_reserved
    }

    /// Counts one request. Returns `false` if no use remains for it.
    pub(super) fn consume_use(&self) -> bool {
        self.reserve_uses(1)
    }

    fn return_uses(&self, count: u64) {
        if let Some(uses) = &self.uses {
            uses.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_use_limited(&self) -> bool {
        self.uses.is_some()
    }

    /// Whether nothing remains but the use that revokes it, or less than an action needs.
    pub(crate) fn is_used_up(&self) -> bool {
        self.is_short_of_uses.load(Ordering::Relaxed)
            || self.uses.as_ref().is_some_and(|uses| uses.load(Ordering::Relaxed) == 0)
    }

    pub(super) fn has_same_secret(&self, other: &AuthToken) -> bool {
        match (self.secret(), other.secret()) {
            (Some(own), Some(other)) => own.expose_secret() == other.expose_secret(),
            (own, other) => own.is_none() && other.is_none(),
        }
    }
}

/// The token that one background action uses from its first request to its last, with the uses that were
/// reserved for it. Unneeded uses are returned when it is dropped.
pub(crate) struct ReservedToken {
    token: Arc<TrackedToken>,
    reserved: AtomicU64,
}

impl ReservedToken {
    /// `None` if the token has fewer than `count` uses left.
    pub(crate) fn reserve(token: Arc<TrackedToken>, count: u64) -> Option<Self> {
        let is_reserved = token.reserve_uses(count);
        is_reserved.then(|| Self { token, reserved: AtomicU64::new(count) })
    }

    pub(crate) fn token(&self) -> &Arc<TrackedToken> {
        &self.token
    }

    /// Counts one request. Returns `false` if no use remains for it.
    pub(super) fn consume_use(&self) -> bool {
        let subtract = |uses: u64| uses.checked_sub(1);
        let was_reserved =
            self.reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, subtract);
        was_reserved.is_ok() || self.token.consume_use()
    }
}

impl Drop for ReservedToken {
    fn drop(&mut self) {
        self.token.return_uses(self.reserved.load(Ordering::Relaxed));
    }
}

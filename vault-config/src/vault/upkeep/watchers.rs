//! How many configurations watch over the connection. The last one to stop also revokes the token.

use tokio::sync::broadcast;

use super::ConnectionEvent;
use crate::vault::Vault;

/// Counts one configuration as watching until it is dropped.
pub(crate) struct WatchRegistration {
    vault: Vault,
    is_removed: bool,
}

impl Vault {
    pub(crate) fn register_watcher(
        &self,
    ) -> (WatchRegistration, broadcast::Receiver<ConnectionEvent>) {
        self.upkeep().state().watchers += 1;
        let registration = WatchRegistration { vault: self.clone(), is_removed: false };
        (registration, self.upkeep().events.subscribe())
    }

    pub(in crate::vault) fn is_watched(&self) -> bool {
        self.upkeep().state().watchers > 0
    }
}

impl WatchRegistration {
    /// Ends the registration. Returns whether it was the last one.
    pub(crate) fn remove(&mut self) -> bool {
        self.is_removed = true;
        let mut state = self.vault.upkeep().state();
        state.watchers = state.watchers.saturating_sub(1);
        state.watchers == 0
    }
}

impl Drop for WatchRegistration {
    fn drop(&mut self) {
        if !self.is_removed {
            self.remove();
        }
    }
}

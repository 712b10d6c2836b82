//! What is mounted where, learned once and shared by all loads of a connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as SyncMutex};

use tokio::sync::Mutex;

use super::response::Response;
use super::{Session, lock};
use crate::error::Cause;
use crate::time::Moment;
use crate::value::Value;

/// The engine behind a mount, as far as the token is allowed to know.
#[derive(Debug, Clone)]
pub(crate) enum MountKind {
    /// KV, with its version.
    Kv(u8),
    Other(String),
    Unknown,
}

/// By namespace and mount.
pub(super) type MountCache = SyncMutex<HashMap<(String, String), MountCacheEntry>>;

/// What one mount is, and when the server was asked. The lock is held during the request, so that all paths
/// of one mount cause one request.
type MountCacheEntry = Arc<Mutex<Option<(Moment, MountKind)>>>;

impl MountKind {
    pub(crate) fn kv_version(&self) -> Option<u8> {
        match self {
            Self::Kv(version) => Some(*version),
            _ => None,
        }
    }

    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }

    /// A refusal leaves the mount unknown. Any other failure is an error and never counts as absence.
    fn from_response(response: Response) -> Result<Self, Cause> {
        if !response.ok() {
            let is_refused = matches!(response.status, 403 | 404) && response.speaks_vault();
            return if is_refused { Ok(Self::Unknown) } else { Err(response.into_cause()) };
        }
        let text = |key: &str| response.data().get(key).and_then(Value::as_str);
        let options = response.data().get("options");
        let version = options.and_then(|options| options.get("version")).and_then(Value::as_str);
        Ok(match text("type") {
            Some("kv" | "generic") => Self::Kv(if version == Some("2") { 2 } else { 1 }),
            Some(other) => Self::Other(other.to_owned()),
            None => Self::Unknown,
        })
    }
}

impl Session<'_> {
    /// The KV version to try first: what any earlier load learned. It does not wait for a request that is
    /// under way.
    pub(crate) fn known_kv_version(&self, mount: &str) -> Option<u8> {
        let entry = self.mount_cache_entry(mount);
        let known = entry.try_lock().ok()?;
        known.as_ref().and_then(|(_, kind)| kind.kv_version())
    }

    /// What is mounted at `mount`. Each load asks the server once, since the mount may have changed after an
    /// earlier load.
    pub(crate) async fn mount_kind(&self, mount: &str, path: &str) -> Result<MountKind, Cause> {
        let entry = self.mount_cache_entry(mount);
        let mut known = entry.lock().await;
        if let Some((when, kind)) = &*known
            && *when >= self.started
        {
            return Ok(kind.clone());
        }
        let response = self.get(&format!("sys/internal/ui/mounts/{mount}/{path}"), None).await?;
        let kind = MountKind::from_response(response)?;
        *known = Some((self.vault.moment(), kind.clone()));
        Ok(kind)
    }

    fn mount_cache_entry(&self, mount: &str) -> MountCacheEntry {
        let mut cache = lock(&self.vault.0.mount_cache);
        let namespace = self.namespace().unwrap_or_default();
        Arc::clone(cache.entry((namespace.to_owned(), mount.to_owned())).or_default())
    }
}

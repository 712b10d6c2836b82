use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderValue;

use crate::time::Moment;

pub(super) const INDEX: &str = "x-vault-index";
pub(super) const INCONSISTENT: &str = "x-vault-inconsistent";
/// Nodes lag for moments only. A cluster that was restored from a backup may never reach the index.
const REMEMBERED: Duration = Duration::from_secs(30);

/// The state that the last write reached. A read from another node must not be older, above all not older than the
/// token that it is made with: <https://developer.hashicorp.com/vault/docs/enterprise/consistency>.
#[derive(Debug, Default)]
pub(in crate::http) struct WrittenIndex(Mutex<Option<(Moment, HeaderValue)>>);

impl WrittenIndex {
    pub(super) fn remember(&self, index: Option<HeaderValue>, now: Moment) {
        if let Some(index) = index {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, index));
        }
    }

    pub(super) fn recent(&self, now: Moment) -> Option<HeaderValue> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.take_if(|(when, _)| now.since(*when) > REMEMBERED);
        written.as_ref().map(|(_, index)| index.clone())
    }

    /// Whether there was an index to forget.
    pub(super) fn forget(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }
}

use std::time::SystemTime;

use tokio::sync::broadcast;

use crate::error::Problem;

/// A change of a watched configuration or of its health, for logs and metrics. Never contains a value.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A lease or the token was renewed. The credential stays the same.
    Renewed {
        /// `token`, or the source, such as `database/creds/readonly`.
        source: String,
    },
    /// A login issued another token. Every credential that was issued under the previous token is replaced.
    LoggedIn,
    /// A credential was replaced. The previous one stays valid until its lease expires, or until
    /// [`overlap`](crate::Loader::overlap) has passed.
    Rotated {
        /// The source, such as `database/creds/readonly`.
        source: String,
        /// The paths of the fields that changed.
        fields: Vec<String>,
    },
    /// A stored secret has changed.
    Changed {
        /// The paths of the fields that changed at the same time.
        fields: Vec<String>,
    },
    /// A source cannot be read, renewed or rotated. The last value stays published. Reported when the failure begins,
    /// and when its kind changes.
    Failing {
        /// `token`, or the source, such as `kv secret/my-app`.
        source: String,
        /// The problem, and what to do.
        problem: Problem,
        /// When the published value expires; `None` if it does not expire.
        good_until: Option<SystemTime>,
    },
    /// A source that was failing works again.
    Recovered {
        /// `token`, or the source.
        source: String,
    },
    /// A new value does not make a valid configuration, and so it is not published. Reported once, until the value or
    /// the reason changes.
    Rejected {
        /// The source, such as `kv secret/my-app`.
        source: String,
        /// The problems of the new configuration.
        problems: Vec<Problem>,
    },
    /// This receiver was too slow, and missed events before the next one. [`status`](crate::Live::status) has the
    /// current state.
    Missed {
        /// The number of missed events.
        count: u64,
    },
}

/// Receives the events of a watched configuration from the call of [`Live::events`](crate::Live::events) on.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    pub(super) fn new(receiver: broadcast::Receiver<Event>) -> Self {
        Self(receiver)
    }

    /// Waits for the next event. `None` once the configuration is not watched any more.
    ///
    /// A receiver that falls behind by more than 256 events misses the oldest ones, and receives
    /// [`Event::Missed`] with their number.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Event::Missed { count }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

use std::time::SystemTime;

use tokio::sync::broadcast;

use crate::error::Problem;

/// What happened to a watched configuration. Never a value.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A lease goes on, with the same credential; or the token does.
    Renewed {
        /// `token`, or the source, such as `database/creds/readonly`.
        source: String,
    },
    /// Another token is in use. Every credential that was made under the one before is made anew.
    LoggedIn,
    /// A credential was replaced. The one before still works until its lease ends, or until
    /// [`overlap`](crate::Loader::overlap) has passed.
    Rotated {
        /// The source, such as `database/creds/readonly`.
        source: String,
        /// The paths of the fields that have it.
        fields: Vec<String>,
    },
    /// What is stored has changed.
    Changed {
        /// The paths of the fields that changed, all at once.
        fields: Vec<String>,
    },
    /// A source cannot be read, renewed or rotated. The last good value stays. Told once.
    Failing {
        /// `token`, or the source, such as `kv secret/my-app`.
        source: String,
        /// What is wrong.
        problem: Problem,
        /// When what is in hand ends; nothing when it does not.
        good_until: Option<SystemTime>,
    },
    /// A failing source works again.
    Recovered {
        /// `token`, or the source.
        source: String,
    },
    /// What was read does not make a valid configuration, and is not published. Told once, until it
    /// changes.
    Rejected {
        /// The source, such as `kv secret/my-app`.
        source: String,
        /// What is wrong with it.
        problems: Vec<Problem>,
    },
    /// So many events happened before the next one, and were dropped because nobody took them:
    /// [`status`](crate::Live::status) knows what they led to.
    Missed {
        /// How many.
        count: u64,
    },
}

/// The events of a watched configuration, from the moment it was asked for.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    pub(super) fn new(receiver: broadcast::Receiver<Event>) -> Self {
        Self(receiver)
    }

    /// The next event; `None` when the configuration is watched no longer. Who falls behind by more
    /// than 256 misses the oldest, and is told how many.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Event::Missed { count }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

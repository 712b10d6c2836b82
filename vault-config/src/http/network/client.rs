//! The HTTP client, made anew when a certificate on disk changes, and to leave a connection that
//! does not answer any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Client;
use tokio::sync::Mutex as AsyncMutex;
use tokio::sync::oneshot;

use crate::error::{Cause, ErrorKind};
use crate::http::settings::Settings;
use crate::http::tls::{self, Stamps, Tls};
use crate::http::transport::Limits;
use crate::time::{Moment, NetworkClock};

#[derive(Debug)]
pub(crate) struct Clients(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// `None` with a client of the user's own, which is used as it is.
    settings: Option<Settings>,
    clock: NetworkClock,
    current: Mutex<Current>,
    looking: AtomicBool,
    replacing: AsyncMutex<()>,
}

#[derive(Debug)]
struct Current {
    client: Client,
    edition: u64,
    tls: Tls,
    stamps: Stamps,
    looked: Moment,
    /// The last answer, and of which node.
    answered: Option<(usize, Moment)>,
    left: Option<Moment>,
    /// The next request goes by another client.
    is_over: bool,
}

/// A client, and which one it is.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) client: Client,
    edition: u64,
}

/// How often the files are looked at, and how long that is waited for: a disk may hang.
const PAUSE: Duration = Duration::from_secs(1);
/// At most one connection is left in this time: a server that is slow is not helped by handshakes.
const LEAVES_APART: Duration = Duration::from_secs(5);
/// A connection over HTTP/2 that was silent for so long is sent a ping, and closed when that gets no
/// answer for as long.
pub(super) const PING: Duration = Duration::from_secs(5);

impl Clients {
    pub(super) fn new(settings: &Settings, clock: NetworkClock) -> Result<Self, Cause> {
        let client = client_for(settings, &settings.tls)?;
        let stamps = settings.tls.stamps();
        Ok(Self::of(client, settings.tls.clone(), stamps, Some(settings.clone()), clock))
    }

    /// The user's own, which is used as it is.
    pub(super) fn given(client: Client, clock: NetworkClock) -> Self {
        Self::of(client, Tls::default(), Stamps::default(), None, clock)
    }

    fn of(
        client: Client,
        tls: Tls,
        stamps: Stamps,
        settings: Option<Settings>,
        clock: NetworkClock,
    ) -> Self {
        let current = Mutex::new(Current {
            client,
            edition: 0,
            tls,
            stamps,
            looked: clock.now(),
            answered: None,
            left: None,
            is_over: false,
        });
        let (looking, replacing) = (AtomicBool::new(false), AsyncMutex::default());
        Self(Arc::new(Shared { settings, clock, current, looking, replacing }))
    }

    /// `None` when the time is over before there is one.
    pub(super) async fn current(&self, limits: Limits<'_>) -> Option<Connection> {
        self.look(limits).await;
        if self.0.current().is_over {
            limits.within(self.replace()).await?;
        }
        let current = self.0.current();
        Some(Connection { client: current.client.clone(), edition: current.edition })
    }

    /// Reads certificates again that have changed. What does not wait for it uses the old ones.
    async fn look(&self, limits: Limits<'_>) {
        {
            let mut current = self.0.current();
            let is_due =
                !current.stamps.is_empty() && self.0.clock.now().since(current.looked) >= PAUSE;
            if !is_due || self.0.looking.swap(true, Ordering::AcqRel) {
                return;
            }
            current.looked = self.0.clock.now();
        }
        let looking = Looking(Arc::clone(&self.0));
        let looked = on_a_thread(move || looking.0.look());
        let _ = limits.within(self.0.clock.within(PAUSE, looked)).await;
    }

    /// One for all that wait for it.
    async fn replace(&self) {
        let _turn = self.0.replacing.lock().await;
        let shared = Arc::clone(&self.0);
        // Reads the system's authorities, unless others are configured.
        on_a_thread(move || shared.replace()).await;
    }

    pub(super) fn answered(&self, node: usize) {
        self.0.current().answered = Some((node, self.0.clock.now()));
    }

    /// A request that was `sent` got no answer in time. Those under way over the same connection
    /// end there; new ones go over another.
    pub(super) fn leave(&self, connection: &Connection, node: usize, sent: Moment) {
        if self.0.settings.is_none() {
            return;
        }
        let mut current = self.0.current();
        let now = self.0.clock.now();
        let answered = current.answered.filter(|(by, _)| *by == node).map(|(_, when)| when);
        let is_current = !current.is_over && current.edition == connection.edition;
        if !is_current || is_alive(sent, answered, now) || !is_apart(current.left, now) {
            return;
        }
        (current.is_over, current.left) = (true, Some(now));
        tracing::info!("no answer in time: the next request goes over a new connection");
    }
}

/// A runtime that ends waits for its own blocking threads, and a disk may hang for ever.
async fn on_a_thread(work: impl FnOnce() + Send + 'static) {
    let (done, is_done) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new().name("certificates".to_owned());
    let started = thread.spawn(move || {
        work();
        drop(done);
    });
    if let Err(error) = started {
        tracing::debug!("no thread to read certificates: {error}");
    }
    let _ = is_done.await;
}

/// Whether others were answered meanwhile, up to now: then it is the request that hangs.
fn is_alive(sent: Moment, answered: Option<Moment>, now: Moment) -> bool {
    answered.is_some_and(|when| when > sent && now.since(when) < PING)
}

fn is_apart(left: Option<Moment>, now: Moment) -> bool {
    left.is_none_or(|when| now.since(when) >= LEAVES_APART)
}

/// However the look ends, another one may begin.
struct Looking(Arc<Shared>);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.looking.store(false, Ordering::Release);
    }
}

impl Shared {
    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Files that are half written are read again at the next look.
    fn look(&self) {
        let Some(settings) = &self.settings else { return };
        let stamps = settings.tls.stamps();
        if stamps == self.current().stamps {
            return;
        }
        let made = settings.tls.read_again().and_then(|tls| Ok((client_for(settings, &tls)?, tls)));
        match made {
            Ok((client, tls)) => {
                tracing::info!("a certificate on disk has changed and is used from now on");
                let mut current = self.current();
                current.take(client);
                (current.tls, current.stamps) = (tls, stamps);
            }
            Err(cause) => tracing::warn!(
                "a certificate on disk has changed and cannot be used: {}",
                cause.message
            ),
        }
    }

    fn replace(&self) {
        let Some(settings) = &self.settings else { return };
        let (tls, edition) = match &*self.current() {
            Current { is_over: false, .. } => return,
            current => (current.tls.clone(), current.edition),
        };
        let made = client_for(settings, &tls);
        let mut current = self.current();
        match made {
            // One with a newer certificate may have come first.
            Ok(client) if current.edition == edition => current.take(client),
            Ok(_) => {}
            Err(cause) => {
                current.is_over = false;
                tracing::warn!("no new connection: {}", cause.message);
            }
        }
    }
}

impl Current {
    fn take(&mut self, client: Client) {
        (self.client, self.edition) = (client, self.edition + 1);
        (self.answered, self.is_over) = (None, false);
    }
}

fn client_for(settings: &Settings, tls: &Tls) -> Result<Client, Cause> {
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(settings.connect_timeout())
        .retry(reqwest::retry::never())
        // Idle ones too: what goes over a dead connection first may be a login that cannot be
        // repeated. A connection that is not used is closed within 3 min.
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PING)
        .http2_keep_alive_while_idle(true)
        .tcp_nodelay(true);
    builder = match settings.addresses.are_https() {
        true => tls::apply(tls, builder)?,
        false => tls::without(builder),
    };
    let failed = |error: reqwest::Error| {
        Cause::new(ErrorKind::Setting, format!("the HTTP client cannot be made: {error}"), "")
    };
    builder = match &settings.proxy {
        Some(proxy) => builder.proxy(reqwest::Proxy::all(proxy.clone()).map_err(failed)?),
        None => builder.no_proxy(),
    };
    #[cfg(unix)]
    if let Some(socket) = &settings.addresses.first.socket {
        builder = builder.unix_socket(socket.as_path());
    }
    #[cfg(not(unix))]
    if settings.addresses.first.socket.is_some() {
        return Err(Cause::new(ErrorKind::Setting, "unix:// addresses need a Unix system", ""));
    }
    builder.build().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::settings::Addresses;

    fn clients() -> Clients {
        let addresses = Addresses::parse("http://127.0.0.1:1", "a test").unwrap();
        Clients::new(&Settings::new(addresses), NetworkClock::default()).unwrap()
    }

    async fn connection(clients: &Clients) -> Connection {
        let clock = NetworkClock::default();
        clients.current(Limits::new(&clock, Duration::from_secs(60))).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_under_way_leaves_its_own_connection_and_no_newer_one() {
        let clients = clients();
        let sent = clients.0.clock.now();
        let old = connection(&clients).await;
        clients.leave(&old, 0, sent);
        let new = connection(&clients).await;
        assert_ne!(new.edition, old.edition);
        // Long enough ago that another one may be left.
        clients.0.current().left = None;
        clients.leave(&old, 0, sent);
        assert_eq!(connection(&clients).await.edition, new.edition);
        clients.leave(&new, 0, sent);
        let newest = connection(&clients).await;
        assert_ne!(newest.edition, new.edition);
        clients.leave(&newest, 0, sent);
        assert_eq!(connection(&clients).await.edition, newest.edition, "at once after another");
    }

    #[tokio::test]
    async fn an_answer_of_another_node_says_nothing_of_a_connection() {
        for (answers, is_left) in [(0, false), (1, true)] {
            let clients = clients();
            let sent = clients.0.clock.now();
            let before = connection(&clients).await;
            clients.answered(answers);
            clients.leave(&before, 0, sent);
            let after = connection(&clients).await;
            assert_eq!(after.edition != before.edition, is_left);
        }
    }

    #[tokio::test]
    async fn a_client_of_the_users_own_is_kept() {
        let settings = Settings::new(Addresses::parse("http://127.0.0.1:1", "a test").unwrap());
        let clients =
            Clients::given(client_for(&settings, &settings.tls).unwrap(), NetworkClock::default());
        let before = connection(&clients).await;
        clients.leave(&before, 0, clients.0.clock.now());
        assert_eq!(connection(&clients).await.edition, before.edition);
    }

    #[test]
    fn a_connection_that_answers_others_is_alive() {
        let sent = NetworkClock::default().now();
        let at = |seconds| sent + Duration::from_secs(seconds);
        assert!(!is_alive(sent, None, at(60)));
        assert!(!is_alive(at(10), Some(at(9)), at(12)), "that was before");
        assert!(is_alive(at(10), Some(at(58)), at(60)));
        assert!(!is_alive(at(10), Some(at(11)), at(60)), "it may have died since");
    }

    #[test]
    fn connections_are_not_left_one_after_another() {
        let left = NetworkClock::default().now();
        assert!(is_apart(None, left));
        assert!(!is_apart(Some(left), left + Duration::from_secs(1)));
        assert!(is_apart(Some(left), left + LEAVES_APART));
    }
}

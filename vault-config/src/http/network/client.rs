//! The HTTP client. It is replaced if a certificate on disk changes, and if its connection stops answering.

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
    /// `None` for a client that the user brings: it cannot be built again.
    settings: Option<Settings>,
    clock: NetworkClock,
    current: Mutex<Current>,
    is_checking: AtomicBool,
    replacing: AsyncMutex<()>,
}

#[derive(Debug)]
struct Current {
    client: Client,
    edition: u64,
    tls: Tls,
    stamps: Stamps,
    checked: Moment,
    /// The node that answered last, and when.
    answered: Option<(usize, Moment)>,
    abandoned: Option<Moment>,
    /// The next request builds another client.
    must_replace: bool,
}

/// A client and its number: a request that fails must replace only the client it was sent by.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) client: Client,
    edition: u64,
}

/// The certificates on disk are checked at most this often, and a check that takes longer is not awaited: a disk
/// may hang.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// At most one connection is replaced in this time: handshakes would slow down a slow server further.
const REPLACEMENTS_APART: Duration = Duration::from_secs(5);
/// After this silence a connection over HTTP/2 is pinged, and it is closed if the ping gets no answer for as long
/// again.
pub(super) const PING: Duration = Duration::from_secs(5);

impl Clients {
    pub(super) fn new(settings: &Settings, clock: NetworkClock) -> Result<Self, Cause> {
        let client = client_for(settings, &settings.tls)?;
        let stamps = settings.tls.stamps();
        Ok(Self::of(client, settings.tls.clone(), stamps, Some(settings.clone()), clock))
    }

    /// A client that the user brings, used as it is.
    pub(super) fn from_user(client: Client, clock: NetworkClock) -> Self {
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
            checked: clock.now(),
            answered: None,
            abandoned: None,
            must_replace: false,
        });
        let (is_checking, replacing) = (AtomicBool::new(false), AsyncMutex::default());
        Self(Arc::new(Shared { settings, clock, current, is_checking, replacing }))
    }

    /// `None` if the time is over before a client is ready.
    pub(super) async fn current(&self, limits: Limits<'_>) -> Option<Connection> {
        self.check_files(limits).await;
        if self.0.current().must_replace {
            limits.within(self.replace()).await?;
        }
        let current = self.0.current();
        Some(Connection { client: current.client.clone(), edition: current.edition })
    }

    /// Reads changed certificates again. Requests that come meanwhile use the old ones.
    async fn check_files(&self, limits: Limits<'_>) {
        {
            let mut current = self.0.current();
            let is_due = !current.stamps.is_empty()
                && self.0.clock.now().since(current.checked) >= CHECK_INTERVAL;
            if !is_due || self.0.is_checking.swap(true, Ordering::AcqRel) {
                return;
            }
            current.checked = self.0.clock.now();
        }
        let is_checking = CheckGuard(Arc::clone(&self.0));
        let checked = run_on_own_thread(move || is_checking.0.check_files());
        let _ = limits.within(self.0.clock.within(CHECK_INTERVAL, checked)).await;
    }

    /// Builds one client for all requests that wait for it.
    async fn replace(&self) {
        let _turn = self.0.replacing.lock().await;
        let shared = Arc::clone(&self.0);
        // Building a client reads the system's authorities from disk, unless others are configured.
        run_on_own_thread(move || shared.replace()).await;
    }

    pub(super) fn answered(&self, node: usize) {
        self.0.current().answered = Some((node, self.0.clock.now()));
    }

    /// Replaces the connection of a request that was sent then and got no answer in time. Requests under way
    /// finish on the old connection, new ones use another.
    pub(super) fn abandon(&self, connection: &Connection, node: usize, sent: Moment) {
        if self.0.settings.is_none() {
            return;
        }
        let mut current = self.0.current();
        let now = self.0.clock.now();
        let answered = current.answered.filter(|(by, _)| *by == node).map(|(_, when)| when);
        let is_current = !current.must_replace && current.edition == connection.edition;
        if !is_current || is_alive(sent, answered, now) || !is_apart(current.abandoned, now) {
            return;
        }
        (current.must_replace, current.abandoned) = (true, Some(now));
        tracing::info!("no answer in time: the next request goes over a new connection");
    }
}

/// Not on the runtime's blocking threads: a runtime that shuts down waits for those, and a disk may hang for ever.
async fn run_on_own_thread(work: impl FnOnce() + Send + 'static) {
    let (done, is_done) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new().name("certificates".to_owned());
    let started = thread.spawn(move || {
        work();
        drop(done);
    });
    if let Err(error) = started {
        tracing::debug!("cannot start a thread to read certificates: {error}");
    }
    let _ = is_done.await;
}

/// Whether other requests were answered after this one was sent: then the request hangs and not the connection.
fn is_alive(sent: Moment, answered: Option<Moment>, now: Moment) -> bool {
    answered.is_some_and(|when| when > sent && now.since(when) < PING)
}

fn is_apart(abandoned: Option<Moment>, now: Moment) -> bool {
    abandoned.is_none_or(|when| now.since(when) >= REPLACEMENTS_APART)
}

/// However the check ends, also by a panic, the next one may begin.
struct CheckGuard(Arc<Shared>);

impl Drop for CheckGuard {
    fn drop(&mut self) {
        self.0.is_checking.store(false, Ordering::Release);
    }
}

impl Shared {
    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Files that are half written fail here and are read again at the next check.
    fn check_files(&self) {
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
                "a certificate on disk has changed and cannot be used, the previous one stays in use: {}",
                cause.message
            ),
        }
    }

    fn replace(&self) {
        let Some(settings) = &self.settings else { return };
        let (tls, edition) = match &*self.current() {
            Current { must_replace: false, .. } => return,
            current => (current.tls.clone(), current.edition),
        };
        let made = client_for(settings, &tls);
        let mut current = self.current();
        match made {
            // A client with a newer certificate may have been built first.
            Ok(client) if current.edition == edition => current.take(client),
            Ok(_) => {}
            Err(cause) => {
                current.must_replace = false;
                tracing::warn!("the connection was not replaced: {}", cause.message);
            }
        }
    }
}

impl Current {
    fn take(&mut self, client: Client) {
        (self.client, self.edition) = (client, self.edition + 1);
        (self.answered, self.must_replace) = (None, false);
    }
}

fn client_for(settings: &Settings, tls: &Tls) -> Result<Client, Cause> {
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(settings.connect_timeout())
        .retry(reqwest::retry::never())
        // Idle connections are pinged too: the first request over a dead one may be a login, which must not be
        // repeated. An unused connection is closed within 3 min.
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PING)
        .http2_keep_alive_while_idle(true)
        .tcp_nodelay(true);
    builder = match settings.addresses.are_https() {
        true => tls::apply(tls, builder)?,
        false => tls::without(builder),
    };
    let failed = |error: reqwest::Error| {
        Cause::new(
            ErrorKind::Setting,
            format!("the HTTP client cannot be built: {error}"),
            "check the certificates and the proxy of the connection",
        )
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
        let help = "use an address that begins with https:// or http://";
        return Err(Cause::new(ErrorKind::Setting, "unix:// addresses need a Unix system", help));
    }
    builder.build().map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use reqwest::Method;
    use reqwest::header::HeaderMap;

    use super::*;
    use crate::http::network::{Network, ReqwestNetwork, WireFuture, WireRequest};
    use crate::http::settings::Addresses;
    use crate::http::{Call, Transport};
    use crate::time::Timing;

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
        clients.abandon(&old, 0, sent);
        let new = connection(&clients).await;
        assert_ne!(new.edition, old.edition);
        // Long enough ago that another one may be abandoned.
        clients.0.current().abandoned = None;
        clients.abandon(&old, 0, sent);
        assert_eq!(connection(&clients).await.edition, new.edition);
        clients.abandon(&new, 0, sent);
        let newest = connection(&clients).await;
        assert_ne!(newest.edition, new.edition);
        clients.abandon(&newest, 0, sent);
        assert_eq!(connection(&clients).await.edition, newest.edition, "at once after another");
    }

    #[tokio::test]
    async fn an_answer_of_another_node_says_nothing_of_a_connection() {
        for (answers, is_left) in [(0, false), (1, true)] {
            let clients = clients();
            let sent = clients.0.clock.now();
            let before = connection(&clients).await;
            clients.answered(answers);
            clients.abandon(&before, 0, sent);
            let after = connection(&clients).await;
            assert_eq!(after.edition != before.edition, is_left);
        }
    }

    #[tokio::test]
    async fn a_client_of_the_users_own_is_kept() {
        let settings = Settings::new(Addresses::parse("http://127.0.0.1:1", "a test").unwrap());
        let clients = Clients::from_user(
            client_for(&settings, &settings.tls).unwrap(),
            NetworkClock::default(),
        );
        let before = connection(&clients).await;
        clients.abandon(&before, 0, clients.0.clock.now());
        assert_eq!(connection(&clients).await.edition, before.edition);
    }

    /// Its network, and what the network serves.
    #[derive(Debug)]
    struct Kept(Arc<ReqwestNetwork>);

    impl Network for Kept {
        fn send<'a>(&'a self, request: WireRequest<'a>) -> WireFuture<'a> {
            self.0.send(request)
        }
    }

    /// A network to a server that answers each connection once, after this time.
    fn network_to(answer: &'static str, after: Duration) -> (Arc<ReqwestNetwork>, Settings) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                std::thread::sleep(after);
                let _ = stream.write_all(answer.as_bytes());
                open.push(stream);
            }
        });
        let settings = Settings::new(Addresses::parse(&address, "a test").unwrap());
        let network = ReqwestNetwork::new(&settings, None, NetworkClock::default()).unwrap();
        (Arc::new(network), settings)
    }

    /// The first requests are sent before it is known whether connections carry several requests at once.
    #[tokio::test]
    async fn a_connection_for_one_request_is_not_replaced_if_that_request_gets_no_body() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
        let (network, settings) = network_to(answer, Duration::ZERO);
        let (clock, is_known) = (NetworkClock::default(), AtomicBool::new(false));
        let request = WireRequest {
            node: 0,
            method: Method::GET,
            url: settings.addresses.first.url.clone(),
            headers: HeaderMap::new(),
            body: None,
            limits: Limits::new(&clock, Duration::from_millis(300)),
            patience: Duration::MAX,
            may_be_multiplexed: &|| !is_known.load(Ordering::Relaxed),
        };
        let response = network.send(request).await.unwrap();
        is_known.store(true, Ordering::Relaxed);
        assert!(!response.is_multiplexed && response.body.await.is_err());
        assert!(!network.clients.0.current().must_replace);
    }

    /// An attempt may take 2 s to show that a node is healthy.
    #[tokio::test]
    async fn the_time_of_an_attempt_begins_when_its_client_is_ready() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        let (network, settings) = network_to(answer, Duration::from_secs(1));
        let shared = Arc::clone(&network.clients.0);
        let http = Transport::new(Box::new(Kept(network)), settings, Timing::default());
        shared.current().must_replace = true;
        let turn = shared.replacing.lock().await;
        let other = async {
            NetworkClock::default().sleep(Duration::from_millis(1500)).await;
            drop(turn);
        };
        let (call, clock) = (Call::get("app"), NetworkClock::default());
        let limits = Limits::new(&clock, Duration::from_secs(60));
        let (health, ()) = tokio::join!(http.health(0, &call, limits), other);
        assert_eq!(health, Some(200));
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
        let abandoned = NetworkClock::default().now();
        assert!(is_apart(None, abandoned));
        assert!(!is_apart(Some(abandoned), abandoned + Duration::from_secs(1)));
        assert!(is_apart(Some(abandoned), abandoned + REPLACEMENTS_APART));
    }
}

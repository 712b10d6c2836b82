//! A network that fails: a TCP proxy in front of any server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet, yield_now};
use tokio::time::{Instant, sleep_until};

use crate::port;

/// A failure of the network. It applies to open and new connections, from the moment it is set until another is set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Fault {
    /// No failure.
    #[default]
    None,
    /// Every byte arrives this much later, in each direction. The bandwidth stays the same.
    Delay(Duration),
    /// Connections are refused, and open ones are closed, as if the server had stopped.
    Refuse,
    /// Connections are closed as soon as they are accepted, and open ones too.
    CloseOnAccept,
    /// A connection is closed after this many bytes of answers. The server receives every request.
    CutAfter(usize),
    /// Answers arrive one byte at a time.
    ByteByByte,
    /// These bytes arrive in place of an answer, then the connection is closed. The server receives the request.
    Garbage(Vec<u8>),
    /// No byte passes in either direction, until another fault is set.
    Stall,
    /// Connections that are open now stay open, but no byte passes any more, also after another fault is set. New
    /// connections work. This is how a firewall forgets a connection.
    Forget,
}

/// A proxy on 127.0.0.1, closed with its connections when dropped.
#[derive(Debug)]
pub struct FaultProxy {
    scheme: String,
    address: SocketAddr,
    orders: UnboundedSender<Order>,
    connections: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// A fault to set, and the channel that confirms it.
type Order = (Fault, oneshot::Sender<()>);

impl FaultProxy {
    /// Starts a proxy in front of a server, given as `127.0.0.1:8200` or `http://127.0.0.1:8200`.
    ///
    /// # Panics
    ///
    /// If the address is neither.
    pub async fn in_front_of(server: &str) -> Self {
        let (scheme, server) = match server.split_once("://") {
            Some((scheme, server)) => (format!("{scheme}://"), server),
            None => (String::new(), server),
        };
        let server = server.trim_end_matches('/').parse();
        let server = server.expect("a server is named as 127.0.0.1:port");
        let (listener, address) = first_listener();
        let (orders, orders_given) = unbounded_channel();
        let (connections, closed) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let proxy = ProxyTask {
            server,
            address,
            state: watch::Sender::default(),
            connections: connections.clone(),
            closed: closed.clone(),
            open: JoinSet::new(),
        };
        let task = tokio::spawn(proxy.run(PortState::Open(listener), orders_given));
        Self { scheme, address, orders, connections, closed, task }
    }

    /// The proxy's address, with the scheme of the server's, for example `http://127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}{}", self.scheme, self.address)
    }

    /// The proxy's port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Sets the fault. It applies when this returns; [`Fault::None`] ends it.
    ///
    /// # Panics
    ///
    /// If the proxy has lost its port.
    pub async fn set(&self, fault: Fault) {
        let (done, is_done) = oneshot::channel();
        let sent = self.orders.send((fault, done));
        sent.expect("the proxy runs as long as its owner");
        is_done.await.expect("the proxy keeps its port");
    }

    /// The number of connections that were accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The number of connections that their clients have closed so far.
    #[must_use]
    pub fn closed_by_clients(&self) -> usize {
        self.closed.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The state of the proxy's port.
enum PortState {
    Open(TcpListener),
    /// Bound without listening: connections are refused, and no other process can take the port.
    Shut(TcpSocket),
}

impl PortState {
    async fn accept(&self) -> std::io::Result<TcpStream> {
        match self {
            Self::Open(listener) => listener.accept().await.map(|(client, _)| client),
            Self::Shut(_) => std::future::pending().await,
        }
    }
}

#[derive(Debug, Default)]
struct ProxyState {
    fault: Fault,
    /// The connections before this number are forgotten: see [`Fault::Forget`].
    forgotten: usize,
}

/// The faults of one connection.
#[derive(Clone)]
struct ConnectionFaults {
    number: usize,
    closed: Arc<AtomicUsize>,
    state: watch::Receiver<ProxyState>,
}

impl ConnectionFaults {
    /// Waits until bytes may pass, and returns the fault; `None` after the proxy was dropped.
    async fn wait_until_open(&mut self) -> Option<Fault> {
        let number = self.number;
        let is_blocked =
            |state: &ProxyState| number < state.forgotten || state.fault == Fault::Stall;
        let state = self.state.wait_for(|state| !is_blocked(state)).await;
        state.ok().map(|state| state.fault.clone())
    }
}

struct ProxyTask {
    server: SocketAddr,
    address: SocketAddr,
    state: watch::Sender<ProxyState>,
    connections: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
    /// The tasks of the connections, which stop with the proxy.
    open: JoinSet<()>,
}

impl ProxyTask {
    async fn run(mut self, mut port: PortState, mut orders: UnboundedReceiver<Order>) {
        loop {
            tokio::select! {
                Ok(client) = port.accept() => self.accept(client),
                Some((fault, done)) = orders.recv() => {
                    port = self.apply(fault, port).await;
                    let _receiver_is_gone = done.send(());
                }
                Some(_) = self.open.join_next() => {}
            }
        }
    }

    fn accept(&mut self, client: TcpStream) {
        let number = self.connections.fetch_add(1, Ordering::SeqCst);
        if !closes(&self.state.borrow().fault) {
            let (closed, state) = (self.closed.clone(), self.state.subscribe());
            let faults = ConnectionFaults { number, closed, state };
            let connection = connection(client, self.server, faults);
            self.open.spawn(connection);
        }
    }

    async fn apply(&mut self, fault: Fault, port: PortState) -> PortState {
        let refuse = fault == Fault::Refuse;
        if closes(&fault) {
            self.open.shutdown().await;
        }
        self.state.send_modify(|state| {
            if fault == Fault::Forget {
                state.forgotten = self.connections.load(Ordering::SeqCst);
            }
            state.fault = fault;
        });
        match port {
            PortState::Open(listener) if refuse => {
                drop(listener);
                PortState::Shut(
                    socket(self.address).expect("the port just left can be bound again"),
                )
            }
            PortState::Shut(socket) if !refuse => {
                PortState::Open(socket.listen(1024).expect("a bound port can listen"))
            }
            as_it_is => as_it_is,
        }
    }
}

async fn connection(client: TcpStream, server: SocketAddr, faults: ConnectionFaults) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let _best_effort = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let requests = line(from_client, to_server, faults.clone(), Direction::Request);
    let answers = line(from_server, to_client, faults, Direction::Answer);
    tokio::select! {
        // A client may close its half and still wait for the answer. If the server closes, the connection ends.
        () = async { requests.await; std::future::pending().await } => {}
        () = answers => {}
    }
}

fn closes(fault: &Fault) -> bool {
    matches!(fault, Fault::Refuse | Fault::CloseOnAccept)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Answer,
}

/// Bytes in transit, and their time of arrival.
type Chunk = (Instant, Vec<u8>);

/// One direction of a connection. One half reads and the other writes, so that bytes that wait do not delay the bytes
/// after them.
async fn line(
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    faults: ConnectionFaults,
    direction: Direction,
) {
    let (sender, receiver) = unbounded_channel();
    tokio::join!(depart(from, sender, faults.clone(), direction), async {
        arrive(to, receiver, faults, direction).await.unwrap_or_default()
    },);
}

async fn depart(
    mut from: impl AsyncRead + Unpin,
    line: UnboundedSender<Chunk>,
    faults: ConnectionFaults,
    direction: Direction,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            () = line.closed() => return,
        };
        let delay = match faults.state.borrow().fault {
            Fault::Delay(delay) => delay,
            _ => Duration::ZERO,
        };
        // The end of the stream is delayed too, as an empty chunk.
        let sent = line.send((Instant::now() + delay, buffer[..read].to_vec()));
        if read == 0 && direction == Direction::Request {
            faults.closed.fetch_add(1, Ordering::SeqCst);
        }
        if read == 0 || sent.is_err() {
            return;
        }
    }
}

async fn arrive(
    mut to: impl AsyncWrite + Unpin,
    mut line: UnboundedReceiver<Chunk>,
    mut faults: ConnectionFaults,
    direction: Direction,
) -> std::io::Result<()> {
    let (mut sent, mut last) = (0, Fault::None);
    while let Some((due, mut bytes)) = line.recv().await {
        sleep_until(due).await;
        let Some(fault) = faults.wait_until_open().await else { return Ok(()) };
        if fault != last {
            (sent, last) = (0, fault.clone());
        }
        if bytes.is_empty() {
            return to.shutdown().await;
        }
        if direction == Direction::Request {
            to.write_all(&bytes).await?;
            continue;
        }
        match fault {
            Fault::Garbage(garbage) => {
                to.write_all(&garbage).await?;
                return to.shutdown().await;
            }
            Fault::CutAfter(limit) if sent + bytes.len() >= limit => {
                bytes.truncate(limit - sent);
                to.write_all(&bytes).await?;
                return to.shutdown().await;
            }
            Fault::ByteByByte => {
                for byte in &bytes {
                    to.write_all(&[*byte]).await?;
                    yield_now().await;
                }
            }
            _ => to.write_all(&bytes).await?,
        }
        sent += bytes.len();
    }
    Ok(())
}

fn first_listener() -> (TcpListener, SocketAddr) {
    for _ in 0..10 {
        let address = SocketAddr::from(([127, 0, 0, 1], port::free_pair()));
        if let Ok(listener) = socket(address).and_then(|socket| socket.listen(1024)) {
            return (listener, address);
        }
    }
    panic!("a proxy found its port taken ten times in a row: see what takes ports on 127.0.0.1")
}

fn socket(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

//! A long line: bytes take half a round trip each way, and opening a connection a whole one.
//!
//! Unlike `Fault::Delay` it counts TCP's handshake. The kernel accepts at once, so the line holds
//! what the client sends back until a handshake over that distance would have ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// A proxy on 127.0.0.1, closed when dropped.
#[derive(Debug)]
pub struct Line {
    port: u16,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Line {
    pub async fn to(server: u16, rtt: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(connect(client, server, rtt));
            }
        });
        Self { port, connections, task }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(client: TcpStream, server: u16, rtt: Duration) {
    let opened = Instant::now() + rtt;
    let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        carry(from_client, to_server, opened, rtt / 2),
        carry(from_server, to_client, opened, rtt / 2),
    );
}

/// Carries one direction. Two tasks read and write, so that bytes that wait do not delay the bytes after them.
async fn carry(
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    opened: Instant,
    half: Duration,
) {
    let (sender, receiver) = unbounded_channel();
    tokio::join!(depart(from, sender, opened, half), arrive(to, receiver));
}

/// Bytes on their way, and when they arrive. The end of the stream is an empty chunk.
type Chunk = (Instant, Vec<u8>);

async fn depart(
    mut from: impl AsyncRead + Unpin,
    line: UnboundedSender<Chunk>,
    opened: Instant,
    half: Duration,
) {
    loop {
        let mut chunk = Vec::with_capacity(8 * 1024);
        let read = from.read_buf(&mut chunk).await.unwrap_or(0);
        let sent = line.send((Instant::now().max(opened) + half, chunk));
        if read == 0 || sent.is_err() {
            return;
        }
    }
}

async fn arrive(mut to: impl AsyncWrite + Unpin, mut line: UnboundedReceiver<Chunk>) {
    while let Some((due, chunk)) = line.recv().await {
        sleep_until(due).await;
        if chunk.is_empty() || to.write_all(&chunk).await.is_err() {
            break;
        }
    }
    let _closed_already = to.shutdown().await;
}

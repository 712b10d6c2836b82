//! An HTTP/1.1 server that sends the answers of a test, for answers that no real server sends.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A server on 127.0.0.1, closed with its connections when dropped.
pub struct ScriptedServer {
    address: SocketAddr,
    script: Arc<Script>,
    task: JoinHandle<()>,
}

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptedRequest {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query, for example `/v1/secret/data/app?version=2`.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body; empty if there is none.
    pub body: Vec<u8>,
}

impl ScriptedRequest {
    /// The target without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A header's value. The case of `name` does not matter.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let same = |(header, _): &&(String, String)| header.eq_ignore_ascii_case(name);
        self.headers.iter().find(same).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `null` if it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// An answer to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptedAnswer {
    after: Duration,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Http { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
    Raw(Vec<u8>),
    Close,
    Never,
}

impl ScriptedAnswer {
    /// A status code, without headers and body at first.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::of(Kind::Http { status, headers: Vec::new(), body: Vec::new() })
    }

    /// A status code with a JSON body.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        Self::status(status).header("Content-Type", "application/json").body(body.to_string())
    }

    /// Sends these bytes as they are, then closes the connection.
    #[must_use]
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self::of(Kind::Raw(bytes.into()))
    }

    /// Closes the connection without an answer.
    #[must_use]
    pub fn close() -> Self {
        Self::of(Kind::Close)
    }

    /// Sends no answer, and keeps the connection open.
    #[must_use]
    pub fn never() -> Self {
        Self::of(Kind::Never)
    }

    /// Adds a header to an answer with a status code.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Kind::Http { headers, .. } = &mut self.kind {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Sets the body of an answer with a status code.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        if let Kind::Http { body, .. } = &mut self.kind {
            *body = bytes.into();
        }
        self
    }

    /// Waits before answering.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.after = delay;
        self
    }

    fn of(kind: Kind) -> Self {
        Self { after: Duration::ZERO, kind }
    }
}

struct Script {
    answer: Box<dyn Fn(ScriptedRequest) -> ScriptedAnswer + Send + Sync>,
    requests: Mutex<Vec<ScriptedRequest>>,
    connections: AtomicUsize,
}

impl Script {
    fn record(&self, request: &ScriptedRequest) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
    }
}

impl ScriptedServer {
    /// Starts a server that sends the answer that `answer` returns for a request.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub async fn start(
        answer: impl Fn(ScriptedRequest) -> ScriptedAnswer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let script = Arc::new(Script {
            answer: Box::new(answer),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let task = tokio::spawn(accept(listener, script.clone()));
        Self { address, script, task }
    }

    /// Starts a server that sends this answer to every request.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub async fn always(answer: ScriptedAnswer) -> Self {
        Self::start(move |_| answer.clone()).await
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, in the order of their arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<ScriptedRequest> {
        self.script.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of connections that were accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.script.connections.load(Ordering::SeqCst)
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for ScriptedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedServer").field("address", &self.address).finish_non_exhaustive()
    }
}

async fn accept(listener: TcpListener, script: Arc<Script>) {
    // The server's own set of tasks, so that the connections are closed with it.
    let mut open = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        script.connections.fetch_add(1, Ordering::SeqCst);
        open.spawn(serve(stream, script.clone()));
        while open.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, script: Arc<Script>) {
    let _best_effort = stream.set_nodelay(true);
    let (from, mut to) = stream.into_split();
    let mut from = BufReader::new(from);
    while let Some(request) = read_request(&mut from).await {
        script.record(&request);
        let close = request.header("connection").is_some_and(|value| value == "close");
        let answer = (script.answer)(request);
        tokio::time::sleep(answer.after).await;
        let goes_on = write_answer(&mut to, answer.kind).await.unwrap_or(false);
        if !goes_on || close {
            return;
        }
    }
}

/// Writes the answer. Returns whether the connection stays open.
async fn write_answer(to: &mut OwnedWriteHalf, kind: Kind) -> std::io::Result<bool> {
    let (status, headers, body) = match kind {
        Kind::Http { status, headers, body } => (status, headers, body),
        Kind::Raw(bytes) => {
            to.write_all(&bytes).await?;
            return Ok(false);
        }
        Kind::Close => return Ok(false),
        Kind::Never => return std::future::pending().await,
    };
    let mut answer = format!("HTTP/1.1 {status} Scripted\r\n");
    for (name, value) in headers {
        answer += &format!("{name}: {value}\r\n");
    }
    if status != 204 {
        answer += &format!("Content-Length: {}\r\n", body.len());
    }
    answer += "\r\n";
    to.write_all(&[answer.as_bytes(), &body].concat()).await?;
    Ok(true)
}

/// Reads the next request. `None` at the end of the connection, or if the bytes are no request.
async fn read_request(from: &mut BufReader<OwnedReadHalf>) -> Option<ScriptedRequest> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers = lines.filter_map(header).collect();
    let mut request = ScriptedRequest { method, target, headers, body: Vec::new() };
    let length = request.header("content-length").unwrap_or("0").parse().ok()?;
    request.body = vec![0; length];
    from.read_exact(&mut request.body).await.ok()?;
    Some(request)
}

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use reqwest::header::HeaderMap;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use super::*;
use crate::error::ErrorKind;
use crate::http::ReqwestNetwork;
use crate::http::network::{WireBody, WireFuture, WireRequest, WireResponse};
use crate::http::rate_limit::RateLimit;
use crate::http::settings::Addresses;
use crate::http::{Idempotency, Lane};
use crate::time::NetworkClock;
use crate::time::clock::Clock;
use crate::value::Value;

/// Passes while it is slept by, unless it stands, and at no other time.
#[derive(Debug, Default)]
struct Sleeper {
    now: Mutex<Duration>,
    stands: AtomicBool,
}

impl Sleeper {
    fn pass(&self, time: Duration) {
        *self.now.lock().unwrap() += time;
    }
}

impl Clock for Arc<Sleeper> {
    fn now(&self) -> Reading {
        let monotonic = *self.now.lock().unwrap();
        Reading { monotonic, wall: SystemTime::UNIX_EPOCH + monotonic }
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        if self.stands.load(Ordering::Relaxed) {
            return Box::pin(std::future::pending());
        }
        self.pass(duration);
        Box::pin(std::future::ready(()))
    }
}

/// Answers each path as the test says; `None` is silence.
#[derive(Clone)]
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { address, asked: Arc::default() };
        let (asked, answer) = (Arc::clone(&server.asked), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                thread::spawn(move || serve(stream.ok()?, &asked, answer.as_ref()));
            }
        });
        server
    }

    fn answering(answer: String) -> Self {
        Self::start(move |_| Some(answer.clone()))
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(
    stream: TcpStream,
    asked: &Mutex<Vec<String>>,
    answer: &dyn Fn(&str) -> Option<String>,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut length, mut line) = (String::new(), 0, String::new());
        reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).ok()?;
            if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
                length = text.trim().parse().ok()?;
            }
        }
        reader.read_exact(&mut vec![0; length]).ok()?;
        let path = first.split(' ').nth(1)?.to_owned();
        asked.lock().unwrap().push(path.clone());
        match answer(&path) {
            Some(text) => reader.get_mut().write_all(text.as_bytes()).ok()?,
            None => thread::sleep(Duration::from_secs(600)),
        }
    }
}

fn says(status: u16, headers: &str, body: &str) -> String {
    let json = "Content-Type: application/json\r\n";
    format!(
        "HTTP/1.1 {status} Scripted\r\n{json}{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn good() -> String {
    says(200, "", "{}")
}

fn refused(status: u16, headers: &str) -> String {
    says(status, headers, r#"{"errors": ["no"]}"#)
}

fn http_to(servers: &[&Server], change: impl FnOnce(&mut Settings)) -> (Transport, Arc<Sleeper>) {
    let addresses: Vec<_> = servers.iter().map(|server| server.address.as_str()).collect();
    http_at(&addresses.join(","), change)
}

fn http_at(addresses: &str, change: impl FnOnce(&mut Settings)) -> (Transport, Arc<Sleeper>) {
    let addresses = Addresses::parse(addresses, "a test").unwrap();
    let mut settings = Settings::new(addresses);
    change(&mut settings);
    let clock = Arc::new(Sleeper::default());
    let timing = Timing::by(Arc::new(Arc::clone(&clock)));
    let network = ReqwestNetwork::new(&settings, None, timing.network.clone()).unwrap();
    (Transport::new(Box::new(network), settings, timing), clock)
}

fn single(path: &str) -> Call<'_> {
    Call { attempts: Attempts::Single, ..Call::get(path) }
}

fn body() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(b"{}".to_vec())
}

#[tokio::test]
async fn a_single_attempt_is_one_request() {
    for status in [429, 500, 502, 503] {
        let server = Server::answering(refused(status, ""));
        let (http, _) = http_to(&[&server], |_| {});
        let reply = http.send(&single("app")).await.unwrap();
        assert_eq!((reply.status, server.asked().len()), (status, 1));
    }
}

#[tokio::test]
async fn a_single_attempt_is_made_at_each_node_once() {
    let servers = [503, 500, 503].map(|status| Server::answering(refused(status, "")));
    let (http, _) = http_to(&servers.each_ref(), |_| {});
    for times in 1..3 {
        http.send(&single("app")).await.unwrap();
        for server in &servers {
            assert_eq!(server.asked(), vec!["/v1/app"; times]);
        }
    }
}

#[tokio::test]
async fn a_renewal_goes_past_requests_that_hang() {
    let server = Server::start(|path| (path == "/v1/sys/leases/renew").then(good));
    let (http, _) = http_to(&[&server], |settings| settings.max_connections = 2);
    let renewal = async {
        is_asked(&server, 2).await;
        let short = Some(Duration::from_millis(200));
        let read = http.send(&Call { patience: short, ..Call::get("other") }).await.unwrap_err();
        let call = Call::post("sys/leases/renew", body(), Idempotency::Safe);
        (read, http.send(&Call { lane: Lane::Renew, ..call }).await.unwrap())
    };
    let reads = async { tokio::join!(hangs(&http), hangs(&http)) };
    let (read, renewed) = while_it_hangs(reads, renewal).await;
    assert!(renewed.ok());
    assert_eq!(read.message, "no free connection within 200ms");
    assert_eq!((read.kind, read.delivery), (ErrorKind::Timeout, Delivery::NotSent));
    assert!(!server.asked().contains(&"/v1/other".to_owned()));
}

async fn hangs(http: &Transport) {
    http.send(&Call::get("hangs")).await.unwrap_err();
}

async fn is_asked(server: &Server, times: usize) {
    while server.asked().len() < times {
        NetworkClock::default().sleep(Duration::from_millis(5)).await;
    }
}

/// What comes of the second, while the first goes on.
async fn while_it_hangs<T>(hangs: impl Future, does_not: impl Future<Output = T>) -> T {
    let (mut hangs, mut does_not) = (std::pin::pin!(hangs), std::pin::pin!(does_not));
    std::future::poll_fn(|context| {
        assert!(hangs.as_mut().poll(context).is_pending());
        does_not.as_mut().poll(context)
    })
    .await
}

#[tokio::test]
async fn what_waits_to_be_sent_again_holds_no_connection() {
    let server = Server::start(|path| {
        Some(if path == "/v1/app" { refused(503, "Retry-After: 9\r\n") } else { good() })
    });
    let (http, clock) = http_to(&[&server], |settings| settings.max_connections = 1);
    clock.stands.store(true, Ordering::Relaxed);
    let waits = async { http.send(&Call::get("app")).await };
    let other = async {
        is_asked(&server, 1).await;
        http.send(&Call { during_pauses: true, ..single("other") }).await.unwrap()
    };
    assert!(while_it_hangs(waits, other).await.ok());
}

/// While one asks a node how it is.
#[tokio::test]
async fn waiting_for_the_choice_of_a_node_is_under_the_requests_own_limit() {
    let servers = [Server::answering(refused(500, "")), Server::start(|_| None)];
    let (http, _) = http_to(&servers.each_ref(), |_| {});
    let chooses = async { http.send(&Call::get("app")).await };
    let other = async {
        is_asked(&servers[1], 1).await;
        let patience = Some(Duration::from_millis(100));
        http.send(&Call { patience, ..Call::get("app") }).await
    };
    let cause = while_it_hangs(chooses, other).await.unwrap_err();
    assert_eq!((cause.kind, cause.delivery), (ErrorKind::Timeout, Delivery::NotSent));
    assert_eq!(cause.message, "no healthy node was found within 100ms");
}

#[tokio::test]
async fn waiting_for_the_rate_limit_is_under_the_requests_own_limit() {
    let server = Server::start(|path| {
        Some(if path == "/v1/limited" { refused(429, "Retry-After: 9\r\n") } else { good() })
    });
    let rate = |settings: &mut Settings, rate| settings.rate_limit = RateLimit::parse(rate).ok();
    let (http, _) = http_to(&[&server], |settings| rate(settings, "0.001:1"));
    assert!(http.send(&Call::get("app")).await.unwrap().ok());
    let patience = Some(Duration::from_millis(100));
    let cause = http.send(&Call { patience, ..single("app") }).await.unwrap_err();
    assert_eq!((cause.kind, cause.delivery), (ErrorKind::Timeout, Delivery::NotSent));
    assert_eq!(cause.message, "VAULT_RATE_LIMIT allowed no request within 100ms");

    // What the server asks while others wait for room binds them, and those that come.
    let (http, _) = http_to(&[&server], |settings| rate(settings, "2:1"));
    let (first, second) = (single("limited"), single("app"));
    let (_, cause) = tokio::join!(http.send(&first), http.send(&second));
    assert_eq!(cause.unwrap_err().kind, ErrorKind::RateLimited);
    assert_eq!(server.asked(), ["/v1/app", "/v1/limited"]);
    let (http, _) = http_to(&[&server], |settings| rate(settings, "0.001:1"));
    http.send(&single("limited")).await.unwrap();
    assert_eq!(http.send(&single("app")).await.unwrap_err().kind, ErrorKind::RateLimited);
}

/// A node that answered is good: it is not asked for its health.
#[tokio::test]
async fn a_node_that_answered_is_known() {
    let servers = [Server::answering(refused(503, "")), Server::answering(good())];
    let (http, _) = http_to(&servers.each_ref(), |_| {});
    assert!(http.send(&single("app")).await.unwrap().ok());
    assert!(http.send(&Call::get("app")).await.unwrap().ok());
    assert_eq!(servers[1].asked(), ["/v1/app"; 2]);
}

#[tokio::test]
async fn what_was_asked_to_wait_is_not_sent() {
    let server = Server::start(|path| {
        Some(match path {
            "/v1/limited" => refused(429, "Retry-After: 600\r\n"),
            _ => good(),
        })
    });
    let (http, clock) = http_to(&[&server], |settings| settings.max_retries = 0);
    assert_eq!(http.retry_after(clock.now()), None);
    http.send(&Call::get("limited")).await.unwrap();
    assert_eq!(http.retry_after(clock.now()), Some(Duration::from_secs(600)));

    clock.pass(Duration::from_secs(1));
    let login = Call::post("auth/approle/login", body(), Idempotency::AtMostOnce);
    for call in [single("app"), Call::get("app"), login] {
        let cause = http.send(&call).await.unwrap_err();
        assert_eq!((cause.kind, cause.delivery), (ErrorKind::RateLimited, Delivery::NotSent));
        let until = "the server asked to wait until 1970-01-01T00:10:00Z (Retry-After)";
        assert_eq!(cause.message, until);
    }
    assert_eq!(server.asked(), ["/v1/limited"]);

    // A revocation does not wait for it.
    let revocation = Call::post("auth/token/revoke-self", body(), Idempotency::Safe);
    http.send(&Call { during_pauses: true, ..revocation }).await.unwrap();

    // With less time left than a request may take, it waits.
    clock.pass(Duration::from_secs(570));
    assert_eq!(http.send(&single("app")).await.unwrap_err().kind, ErrorKind::RateLimited);
    assert!(http.send(&Call::get("app")).await.unwrap().ok());
    assert!(clock.now().monotonic >= Duration::from_secs(600));
    assert_eq!(http.retry_after(clock.now()), None);
    assert!(http.send(&single("app")).await.unwrap().ok());
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn any_answer_may_ask_to_wait_and_for_an_hour_at_most() {
    let date =
        "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:49:47 GMT\r\n";
    for (status, headers, expected) in [
        (403, "Retry-After: 5\r\n", Some(5)),
        (503, "Retry-After: 5\r\n", Some(5)),
        (503, "Retry-After: 18446744073709551615\r\n", Some(3600)),
        (429, "Retry-After: 0\r\n", None),
        (503, date, Some(10)),
        (503, "", None),
    ] {
        let server = Server::answering(refused(status, headers));
        let (http, clock) = http_to(&[&server], |_| {});
        http.send(&single("app")).await.unwrap();
        let expected = expected.map(Duration::from_secs);
        assert_eq!(http.retry_after(clock.now()), expected, "{status} {headers}");
    }
}

/// The body of the first answer never comes.
#[tokio::test]
async fn what_was_asked_to_wait_is_not_sent_while_the_body_of_that_answer_is_under_way() {
    let server = Server::start(|path| {
        let endless = "HTTP/1.1 429 Scripted\r\nRetry-After: 60\r\nContent-Length: 100\r\n\r\n";
        Some(if path == "/v1/limited" { endless.to_owned() } else { good() })
    });
    let (http, _) = http_to(&[&server], |_| {});
    let other = async {
        is_asked(&server, 1).await;
        http.timing().network.sleep(Duration::from_millis(200)).await;
        http.send(&single("app")).await
    };
    let limited = async { http.send(&single("limited")).await };
    let cause = while_it_hangs(limited, other).await.unwrap_err();
    assert_eq!(cause.kind, ErrorKind::RateLimited);
    assert_eq!(server.asked(), ["/v1/limited"]);

    // Nor if the request is given up meanwhile.
    let (http, _) = http_to(&[&server], |_| {});
    let limited = single("limited");
    let given_up = http.timing().network.within(Duration::from_millis(200), http.send(&limited));
    assert!(given_up.await.is_none());
    assert_eq!(http.send(&single("app")).await.unwrap_err().kind, ErrorKind::RateLimited);
}

#[tokio::test]
async fn retries_wait_as_long_as_was_asked() {
    let count = Mutex::new(0);
    let server = Server::start(move |_| {
        let mut count = count.lock().unwrap();
        *count += 1;
        Some(if *count == 1 { refused(503, "Retry-After: 9\r\n") } else { good() })
    });
    let (http, clock) = http_to(&[&server], |settings| settings.max_retries = 1);
    assert!(http.send(&Call::get("app")).await.unwrap().ok());
    assert_eq!(clock.now().monotonic, Duration::from_secs(9));
}

#[tokio::test]
async fn another_node_is_asked_while_one_asks_to_wait() {
    let limited = Server::answering(refused(503, "Retry-After: 600\r\n"));
    let free = Server::answering(good());
    for call in [Call::get("app"), single("app")] {
        let (http, clock) = http_to(&[&limited, &free], |settings| settings.max_retries = 0);
        let before = limited.asked().len();
        for _ in 0..3 {
            http.send(&call).await.unwrap();
        }
        let asked = limited.asked();
        let asked = asked[before..].iter().filter(|path| *path == "/v1/app");
        assert!(asked.count() <= 1);
        assert_eq!(http.retry_after(clock.now()), None);
    }
    let both = [&limited, &Server::answering(refused(503, "Retry-After: 60\r\n"))];
    let (http, clock) = http_to(&both, |_| {});
    http.send(&single("app")).await.unwrap();
    assert_eq!(http.retry_after(clock.now()), Some(Duration::from_secs(60)));
}

#[tokio::test]
async fn the_node_that_may_be_asked_first_is_waited_for() {
    let count = Mutex::new(0);
    let first = Server::start(move |_| {
        let mut count = count.lock().unwrap();
        *count += 1;
        Some(if *count == 1 { refused(503, "Retry-After: 60\r\n") } else { good() })
    });
    let second = Server::answering(refused(503, "Retry-After: 600\r\n"));
    let (http, clock) = http_to(&[&second, &first], |settings| settings.timeout *= 2);
    assert!(http.send(&Call::get("app")).await.unwrap().ok());
    assert!(clock.now().monotonic >= Duration::from_secs(60));
    assert_eq!(first.asked(), ["/v1/sys/health", "/v1/app"]);
}

/// Which was found meanwhile.
#[tokio::test]
async fn a_single_attempt_that_failed_goes_on_at_the_node_that_is_good() {
    let good_one = Server::answering(good());
    let asked = Arc::clone(&good_one.asked);
    let slow = Server::start(move |path| {
        while path == "/v1/slow" && asked.lock().unwrap().is_empty() {
            thread::sleep(Duration::from_millis(5));
        }
        Some(refused(503, ""))
    });
    let bad = Server::answering(refused(503, ""));
    let (http, _) = http_to(&[&slow, &bad, &good_one], |_| {});
    let (first, second) = (single("slow"), single("app"));
    let (first, second) = tokio::join!(http.send(&first), http.send(&second));
    assert!(first.unwrap().ok() && second.unwrap().ok());
    assert_eq!(bad.asked(), ["/v1/app"]);
}

/// The login and the health check before it both have priority over reads.
#[tokio::test]
async fn a_login_at_a_cluster_does_not_wait_behind_reads() {
    let nodes = [Server::answering(good()), Server::answering(good())];
    let rate = RateLimit::parse("20:1").ok();
    let (http, _) = http_to(&nodes.each_ref(), |settings| settings.rate_limit = rate);
    let http = Arc::new(http);
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..9 {
        let http = Arc::clone(&http);
        all.spawn(async move { http.send(&single("app")).await.unwrap() });
    }
    all.spawn(async move {
        let login = Call::post("login", body(), Idempotency::AtMostOnce);
        http.send(&Call { lane: Lane::Issue, ..login }).await.unwrap()
    });
    all.join_all().await;
    let asked = nodes[0].asked();
    let position = asked.iter().position(|path| path == "/v1/login").unwrap();
    assert!(position < 5, "{asked:?}");
}

#[tokio::test]
async fn a_failure_says_whether_the_request_may_have_arrived() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = Server::start(|_| None);
    let cut = Server::answering(String::from("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"));
    let lost = Server::answering(says(502, "", "<html>"));
    let denied = Server::answering(refused(403, ""));
    for (address, path, expected) in [
        (&format!("http://{closed}"), "app", Delivery::NotSent),
        (&denied.address, "../app", Delivery::NotSent),
        (&silent.address, "app", Delivery::Unanswered),
        (&cut.address, "app", Delivery::Unanswered),
        (&lost.address, "app", Delivery::Unanswered),
        (&denied.address, "app", Delivery::Answered),
    ] {
        let (http, _) = http_at(address, |_| {});
        let patience = Some(Duration::from_millis(500));
        let sent = http.send(&Call { patience, ..single(path) }).await;
        let cause = sent.map_or_else(|cause| cause, Reply::into_cause);
        assert_eq!(cause.delivery, expected, "{address}: {cause:?}");
    }
}

/// What was lost may have been done, whatever a later try is answered.
#[tokio::test]
async fn a_try_that_was_lost_is_remembered() {
    let count = Mutex::new(0);
    let server = Server::start(move |_| {
        let mut count = count.lock().unwrap();
        *count += 1;
        Some(if *count == 1 { says(504, "", "<html>") } else { refused(403, "") })
    });
    let (http, _) = http_to(&[&server], |_| {});
    let reply = http.send(&Call::get("app")).await.unwrap();
    assert_eq!((reply.status, reply.into_cause().delivery), (403, Delivery::Unanswered));
}

/// A cluster without a socket: it fails as often as it is said, and then answers.
#[derive(Debug)]
struct InMemory {
    failures: Mutex<u32>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Network for InMemory {
    fn send<'a>(&'a self, request: WireRequest<'a>) -> WireFuture<'a> {
        let token = request.headers.get("x-vault-token").is_some();
        self.asked.lock().unwrap().push(format!("{} {} {token}", request.method, request.url));
        let mut failures = self.failures.lock().unwrap();
        let (status, body) = match *failures {
            0 => (200, r#"{"data": {"key": "value"}}"#),
            _ => (503, r#"{"errors": ["Vault is sealed"]}"#),
        };
        *failures = failures.saturating_sub(1);
        let body = Ok(WireBody::Whole(Zeroizing::new(body.as_bytes().to_vec())));
        let headers = HeaderMap::new();
        Box::pin(std::future::ready(Ok(WireResponse {
            status,
            headers,
            is_multiplexed: false,
            body: Box::pin(std::future::ready(body)),
        })))
    }
}

/// One request that is answered by the third try, over memory; how long it took by the only clock there is.
fn time_of_three_tries(seed: u64) -> (Duration, Vec<String>) {
    let settings = Settings::new(Addresses::parse("http://vault.example:8200", "a test").unwrap());
    let (clock, asked) = (Arc::new(Sleeper::default()), Arc::default());
    let network = InMemory { failures: Mutex::new(2), asked: Arc::clone(&asked) };
    let timing = Timing {
        clock: Arc::new(Arc::clone(&clock)),
        network: NetworkClock::by(Arc::new(Arc::clone(&clock))),
        chance: crate::time::Chance::seeded(seed),
    };
    let http = Transport::new(Box::new(network), settings, timing);
    let token = SecretString::from("token");
    let call = Call { token: Some(&token), ..Call::get("secret/data/app") };
    let mut sent = std::pin::pin!(http.send(&call));
    // Without a runtime: no timer and no socket of the machine takes part.
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(reply) = sent.as_mut().poll(&mut context) else {
        panic!("it waits for something outside of the process");
    };
    assert_eq!(reply.unwrap().data().get("key").and_then(Value::as_str), Some("value"));
    let asked = asked.lock().unwrap().clone();
    (clock.now().monotonic, asked)
}

#[test]
fn a_request_needs_no_socket_no_timer_and_no_chance_but_those_it_is_given() {
    let (time, asked) = time_of_three_tries(7);
    assert_eq!(asked, ["GET http://vault.example:8200/v1/secret/data/app true"; 3]);
    assert!(time > Duration::ZERO && time < Duration::from_secs(1), "{time:?}");
    assert_eq!(time_of_three_tries(7).0, time);
    assert_ne!(time_of_three_tries(8).0, time);
}

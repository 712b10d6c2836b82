use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{RequestBuilder, Response, Version};
use secrecy::zeroize::Zeroizing;

use super::client::{Clients, Connection};
use super::failure::{Sent, diagnose};
use super::{Network, WireBody, WireError, WireFuture, WireRequest, WireResponse};
use crate::error::{Cause, Delivery, ErrorKind};
use crate::http::reply::MAX_BYTES;
use crate::http::retry::AttemptOutcome;
use crate::http::settings::Settings;
use crate::time::{Moment, NetworkClock};

/// The real network, by reqwest.
#[derive(Debug)]
pub(crate) struct ReqwestNetwork {
    pub(super) clients: Clients,
    clock: NetworkClock,
    connect_timeout: Duration,
    /// The setting that the addresses come from, and the addresses: for messages.
    origin: String,
    shown: String,
}

impl ReqwestNetwork {
    /// A client that the user brings is used as it is.
    pub(crate) fn new(
        settings: &Settings,
        client: Option<reqwest::Client>,
        clock: NetworkClock,
    ) -> Result<Self, Cause> {
        let clients = match client {
            Some(client) => Clients::from_user(client, clock.clone()),
            None => Clients::new(settings, clock.clone())?,
        };
        Ok(Self {
            clients,
            clock,
            connect_timeout: settings.connect_timeout(),
            origin: settings.addresses.first.origin.clone(),
            shown: settings.addresses.shown(),
        })
    }

    async fn send_one<'a>(
        &'a self,
        mut request: WireRequest<'a>,
    ) -> Result<WireResponse<'a>, WireError> {
        let limits = request.limits;
        let connection = self.clients.current(limits).await;
        let left = limits.for_one_attempt(request.patience).remaining();
        let Some(connection) = connection.filter(|_| !left.is_zero()) else {
            return Err(no_connection(&self.shown, limits.in_all));
        };
        let mut builder = connection
            .client
            .request(request.method.clone(), request.url.clone())
            // Moved: they hold the token, of which no second copy is needed.
            .headers(std::mem::take(&mut request.headers))
            .timeout(left);
        if let Some(body) = request.body {
            builder = builder.header(CONTENT_TYPE, "application/json").body(body.to_vec());
        }
        let exchange = Exchange { network: self, request, connection, sent: self.clock.now() };
        exchange.run(builder).await
    }
}

/// One request under way.
struct Exchange<'a> {
    network: &'a ReqwestNetwork,
    request: WireRequest<'a>,
    connection: Connection,
    sent: Moment,
}

impl<'a> Exchange<'a> {
    async fn run(self, builder: RequestBuilder) -> Result<WireResponse<'a>, WireError> {
        let mut response = builder.send().await.map_err(|error| self.failed(&error))?;
        Ok(WireResponse {
            status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            is_multiplexed: response.version() == Version::HTTP_2,
            body: Box::pin(self.body(response)),
        })
    }

    async fn body(self, mut response: Response) -> Result<WireBody, WireError> {
        let body = read(&mut response).await.map_err(|error| self.failed(&error))?;
        self.network.clients.answered(self.request.node);
        Ok(body)
    }

    fn failed(&self, error: &reqwest::Error) -> WireError {
        let Self { network, request, connection, sent } = self;
        if error.is_timeout() && !error.is_connect() && (request.may_be_multiplexed)() {
            network.clients.abandon(connection, request.node, *sent);
        }
        let sent = Sent {
            url: &request.url,
            limit: request.limits.in_all,
            connect_timeout: network.connect_timeout,
            origin: &network.origin,
        };
        diagnose(error, &sent)
    }
}

impl Network for ReqwestNetwork {
    fn send<'a>(&'a self, request: WireRequest<'a>) -> WireFuture<'a> {
        Box::pin(self.send_one(request))
    }
}

/// Every connection is in use by requests that get no answer.
pub(crate) fn no_connection(addresses: &str, limit: Duration) -> WireError {
    let cause = Cause::new(
        ErrorKind::Timeout,
        format!("no free connection within {limit:?}"),
        "other requests occupy all connections and get no answer: find what the server waits for, or raise Vault::builder().max_connections(..)",
    );
    let cause = cause.at(format!("vault {addresses}")).delivered(Delivery::NotSent);
    WireError { outcome: AttemptOutcome::Hopeless, cause }
}

async fn read(response: &mut Response) -> Result<WireBody, reqwest::Error> {
    let announced = response.content_length().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    if announced > MAX_BYTES {
        return Ok(WireBody::TooLarge);
    }
    // Not more than announced: the whole capacity is wiped byte by byte at the end.
    let mut bytes = Zeroizing::new(Vec::with_capacity(announced));
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > MAX_BYTES {
            return Ok(WireBody::TooLarge);
        }
        append(&mut bytes, &chunk);
    }
    Ok(WireBody::Whole(bytes))
}

/// Grows by copying into a new buffer and wiping the old one, so that no unwiped copy stays behind.
fn append(bytes: &mut Zeroizing<Vec<u8>>, chunk: &[u8]) {
    if bytes.capacity() - bytes.len() < chunk.len() {
        let mut grown = Zeroizing::new(Vec::with_capacity((bytes.len() + chunk.len()) * 2));
        grown.extend_from_slice(bytes);
        *bytes = grown;
    }
    bytes.extend_from_slice(chunk);
}

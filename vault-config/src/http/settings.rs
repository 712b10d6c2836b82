//! The settings of a connection, and how they are read from the environment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::zeroize::Zeroizing;

use super::rate_limit::RateLimit;
use super::tls::{self, Tls};
use crate::error::{Cause, ErrorKind};
use crate::source::env::{Environment, OfficialEnv, truth};
use crate::text::printable;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// Longer waits make no sense, and times near the limit of the clocks would overflow.
pub(crate) const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
const DEFAULT_RETRIES: u32 = 2;
/// Measured: more connections than this no longer shorten a load of a hundred paths.
const DEFAULT_CONNECTIONS: usize = 64;

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) addresses: Addresses,
    pub(crate) namespace: Option<String>,
    pub(crate) login_namespace: Option<String>,
    pub(crate) timeout: Duration,
    pub(crate) max_retries: u32,
    pub(crate) max_connections: usize,
    pub(crate) tls: Tls,
    pub(crate) proxy: Option<Url>,
    /// Sent with every request.
    pub(crate) headers: HeaderMap,
    pub(crate) follow_redirects: bool,
    pub(crate) rate_limit: Option<RateLimit>,
}

/// The server, or the nodes of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    pub(crate) first: Address,
    pub(crate) others: Vec<Address>,
}

/// Where the server is, and which setting says so.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) url: Url,
    pub(crate) socket: Option<PathBuf>,
    pub(crate) origin: String,
}

impl Addresses {
    /// One address, or several joined by commas.
    pub(crate) fn parse(text: &str, origin: &str) -> Result<Self, Cause> {
        let mut all = text.split(',').map(|one| Address::parse(one.trim(), origin));
        let first = all.next().unwrap_or_else(|| Address::parse("", origin))?;
        let others = all.collect::<Result<Vec<_>, _>>()?;
        let is_alike =
            |other: &Address| other.url.scheme() == first.url.scheme() && other.socket.is_none();
        if others.is_empty() || first.socket.is_none() && others.iter().all(is_alike) {
            return Ok(Self { first, others });
        }
        Err(Cause::new(
            ErrorKind::Setting,
            "several addresses must be nodes of one cluster: all with https://, or all with http://",
            format!(
                "set {origin} to addresses such as https://a.example.com:8200,https://b.example.com:8200"
            ),
        ))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Address> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// For messages.
    pub(crate) fn shown(&self) -> String {
        self.iter().map(Address::shown).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn are_https(&self) -> bool {
        self.first.url.scheme() == "https"
    }
}

impl Address {
    pub(crate) fn parse(text: &str, origin: &str) -> Result<Self, Cause> {
        let bad = |what: &str| {
            Cause::new(
                ErrorKind::Setting,
                what.to_owned(),
                format!("set {origin} to an address such as https://vault.example.com:8200"),
            )
        };
        if let Some(path) = text.strip_prefix("unix://") {
            let url =
                Url::parse("http://localhost").map_err(|_| bad("the address is not valid"))?;
            let socket = Some(PathBuf::from(path)).filter(|path| path.is_absolute());
            let socket = socket.ok_or_else(|| bad("a unix:// address needs an absolute path"))?;
            return Ok(Self { url, socket: Some(socket), origin: origin.to_owned() });
        }
        if !["http://", "https://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(bad("the address must start with https://, http:// or unix://"));
        }
        let url =
            Url::parse(text).map_err(|error| bad(&format!("the address is not valid: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("the address must not hold a user name or password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad("the address must not hold a query or a fragment"));
        }
        if url.path().trim_end_matches('/').ends_with("/v1") {
            return Err(bad("the address ends in /v1, which is added automatically"));
        }
        Ok(Self { url, socket: None, origin: origin.to_owned() })
    }

    /// For messages.
    pub(crate) fn shown(&self) -> String {
        match &self.socket {
            Some(path) => printable(&format!("unix://{}", path.display())),
            None => self.url.as_str().trim_end_matches('/').to_owned(),
        }
    }

    /// Whether a token could be read on its way to this address.
    pub(crate) fn is_open(&self) -> bool {
        self.socket.is_none() && self.url.scheme() == "http" && !is_loopback(&self.url)
    }
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

pub(crate) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

impl Settings {
    pub(crate) fn login_namespace(&self) -> Option<&str> {
        self.login_namespace.as_deref().or(self.namespace.as_deref())
    }

    pub(crate) fn new(addresses: Addresses) -> Self {
        Self {
            addresses,
            namespace: None,
            login_namespace: None,
            timeout: DEFAULT_TIMEOUT,
            max_retries: DEFAULT_RETRIES,
            max_connections: DEFAULT_CONNECTIONS,
            tls: Tls::default(),
            proxy: None,
            headers: HeaderMap::new(),
            follow_redirects: true,
            rate_limit: None,
        }
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_secs(10).min(self.timeout)
    }

    /// `None` without an address. Every malformed variable is a problem, not only the first.
    pub(crate) fn from_environment(environment: &Environment) -> Result<Option<Self>, Vec<Cause>> {
        let mut problems = Vec::new();
        let mut keep =
            |result: Result<(), Cause>| result.unwrap_or_else(|cause| problems.push(cause));
        let mut settings = None;
        keep(addresses(environment).map(|found| settings = found.map(Self::new)));
        // Without an address the other variables are still checked, with an address that is never used.
        let has_address = settings.is_some();
        let mut settings = match settings {
            Some(settings) => settings,
            None => match Addresses::parse("http://localhost", "") {
                Ok(address) => Self::new(address),
                Err(cause) => return Err(vec![cause]),
            },
        };
        let env = OfficialEnv(environment);
        keep(env.parse("NAMESPACE", namespace).map(|value| settings.namespace = value));
        keep(env.parse("AUTH_NAMESPACE", namespace).map(|value| settings.login_namespace = value));
        keep(
            env.parse("CLIENT_TIMEOUT", timeout)
                .map(|v| settings.timeout = v.unwrap_or(DEFAULT_TIMEOUT)),
        );
        keep(
            env.parse("MAX_RETRIES", retries)
                .map(|v| settings.max_retries = v.unwrap_or(DEFAULT_RETRIES)),
        );
        keep(proxy(&env).map(|value| settings.proxy = value));
        keep(env.parse("HEADERS", headers).map(|v| settings.headers = v.unwrap_or_default()));
        keep(
            env.parse("DISABLE_REDIRECTS", truth)
                .map(|v| settings.follow_redirects = !v.unwrap_or(false)),
        );
        keep(env.parse("RATE_LIMIT", RateLimit::parse).map(|value| settings.rate_limit = value));
        keep(tls::from_environment(&env).map(|value| settings.tls = value));
        match (problems.is_empty(), has_address) {
            (false, _) => Err(problems),
            (true, false) => Ok(None),
            (true, true) => Ok(Some(settings)),
        }
    }
}

fn addresses(environment: &Environment) -> Result<Option<Addresses>, Cause> {
    let Some((name, value)) = configured_address(environment)? else { return Ok(None) };
    Addresses::parse(value.trim(), &name).map(Some).map_err(|cause| cause.at(format!("env {name}")))
}

/// The variable that names the server, and its text. An empty `BAO_ADDR` that hides `VAULT_ADDR` is an error: local
/// mode has to be chosen and must not begin by accident.
pub(crate) fn configured_address(
    environment: &Environment,
) -> Result<Option<(String, Zeroizing<String>)>, Cause> {
    let env = OfficialEnv(environment);
    for name in ["AGENT_ADDR", "ADDR"] {
        if let Some(found) = env.get(name)? {
            return Ok(Some(found));
        }
        if environment.get(&format!("VAULT_{name}"))?.is_some() {
            return Err(Cause::new(
                ErrorKind::Setting,
                format!("is empty, and so hides VAULT_{name}"),
                format!(
                    "unset BAO_{name}, or set it to the address; {MODE}=local runs without a server"
                ),
            )
            .at(format!("env BAO_{name}")));
        }
    }
    Ok(None)
}

const MODE: &str = "VAULT_CONFIG_MODE";

fn proxy(env: &OfficialEnv<'_>) -> Result<Option<Url>, Cause> {
    let read = |name| {
        env.parse(name, |text| {
            let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            url.ok_or_else(|| "is not the address of a proxy, such as http://proxy:3128".to_owned())
        })
    };
    Ok(read("PROXY_ADDR")?.or(read("HTTP_PROXY")?))
}

pub(crate) fn namespace(text: &str) -> Result<String, String> {
    let trimmed = text.trim_matches('/');
    if trimmed.is_empty() || !trimmed.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("is not the path of a namespace, such as team-a/billing".to_owned());
    }
    Ok(trimmed.to_owned())
}

/// A JSON object of names and values. The headers of Vault's protocol are set by the client alone.
fn headers(text: &str) -> Result<HeaderMap, String> {
    let wrong = || "is not a JSON object of header names and values".to_owned();
    let given: BTreeMap<String, String> = serde_json::from_str(text).map_err(|_| wrong())?;
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        if name.to_ascii_lowercase().starts_with("x-vault-") {
            return Err(
                "sets a header that starts with X-Vault-, which only the client sets".to_owned()
            );
        }
        let name = HeaderName::try_from(name).map_err(|_| wrong())?;
        let mut value = HeaderValue::try_from(value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

fn retries(text: &str) -> Result<u32, String> {
    text.trim().parse().map_err(|_| "is not a whole number of retries".to_owned())
}

/// A number of seconds, or a number with a unit, as the official client reads it.
fn timeout(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| DURATION.to_owned())?;
    let duration = match unit {
        "" | "s" => Duration::from_secs(number),
        "ms" => Duration::from_millis(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        "h" => Duration::from_secs(number.saturating_mul(3600)),
        _ => return Err(DURATION.to_owned()),
    };
    if duration.is_zero() || duration > LONGEST_TIMEOUT {
        return Err("is not a time-out between 1ms and 24h".to_owned());
    }
    Ok(duration)
}

const DURATION: &str = "is not a duration: a number of seconds, or a number with ms, s, m or h";

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Option<Settings>, Vec<Cause>> {
        Settings::from_environment(&Environment::injected(variables.iter().copied()))
    }

    #[test]
    fn bao_is_read_before_vault_and_an_empty_one_hides_it() {
        let address = |variables: &[(&str, &str)]| {
            settings(variables).unwrap().map(|s| (s.addresses.shown(), s.addresses.first.origin))
        };
        let found = |url: &str, by: &str| Some((url.to_owned(), by.to_owned()));
        assert_eq!(
            address(&[("VAULT_ADDR", "http://a:1"), ("BAO_ADDR", "http://b:2")]),
            found("http://b:2", "BAO_ADDR")
        );
        assert_eq!(address(&[("BAO_ADDR", "")]), None);
        let hidden = settings(&[("VAULT_ADDR", "http://a:1"), ("BAO_ADDR", "")]).unwrap_err();
        assert_eq!(hidden[0].source.as_deref(), Some("env BAO_ADDR"));
        assert_eq!(
            address(&[("VAULT_ADDR", "http://a:1"), ("VAULT_AGENT_ADDR", "http://127.0.0.1:9")]),
            found("http://127.0.0.1:9", "VAULT_AGENT_ADDR")
        );
    }

    #[test]
    fn garbage_names_its_variable_and_is_never_quoted() {
        for (name, value) in [
            ("VAULT_ADDR", "garbage-hunter2"),
            ("VAULT_ADDR", "ftp://hunter2"),
            ("VAULT_ADDR", "https://user:hunter2@host"),
            ("VAULT_AGENT_ADDR", "://hunter2"),
            ("BAO_NAMESPACE", "hunter2 \n"),
            ("VAULT_CLIENT_TIMEOUT", "hunter2"),
            ("VAULT_CLIENT_TIMEOUT", "0"),
            ("VAULT_MAX_RETRIES", "hunter2"),
            ("VAULT_SKIP_VERIFY", "hunter2"),
            ("VAULT_CACERT", "/no/such/hunter/file"),
            ("VAULT_CACERT_BYTES", "hunter2"),
            ("VAULT_PROXY_ADDR", "hunter2"),
            ("VAULT_PROXY_ADDR", "user:hunter2@host:3128"),
            ("VAULT_HEADERS", "hunter2"),
            ("VAULT_HEADERS", r#"{"X-Team": "hunter2\n"}"#),
            ("VAULT_HEADERS", r#"{"X-Vault-Token": "hunter2"}"#),
            ("VAULT_DISABLE_REDIRECTS", "hunter2"),
            ("VAULT_RATE_LIMIT", "hunter2"),
        ] {
            let problems = settings(&[(name, value)]).unwrap_err();
            assert_eq!(problems.len(), 1, "{name}");
            let shown = format!("{:?}", problems[0]);
            assert!(shown.contains(name), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn every_malformed_variable_is_reported() {
        let problems = settings(&[
            ("VAULT_ADDR", "x"),
            ("VAULT_MAX_RETRIES", "x"),
            ("VAULT_SKIP_VERIFY", "x"),
        ]);
        assert_eq!(problems.unwrap_err().len(), 3);
    }

    #[test]
    fn durations_read_as_the_official_client_reads_them() {
        for (text, millis) in [("30", 30_000), ("250ms", 250), ("2m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(timeout(text), Ok(Duration::from_millis(millis)));
        }
        for text in ["", "s", "-1", "1d", "1.5s", "99h"] {
            assert!(timeout(text).is_err(), "{text}");
        }
    }
}

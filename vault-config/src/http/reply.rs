//! The server's answer, and the cause that it is if it is not a success.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use secrecy::zeroize::Zeroizing;

use super::retry;
use crate::error::{Cause, Delivery, ErrorKind, Refusal};
pub(crate) use crate::text::printable;
use crate::value::{Malformed, Value};

/// Vault's own default limit for requests; no answer is larger.
pub(crate) const MAX_BYTES: usize = 32 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Body,
    pub(crate) address: Arc<str>,
    /// The setting that the address comes from, for messages.
    pub(crate) origin: Arc<str>,
    /// The time of the answer by the server's clock.
    #[cfg_attr(not(any(feature = "pki", feature = "ssh")), allow(dead_code))]
    pub(crate) date: Option<SystemTime>,
    /// An earlier attempt may have arrived, and its answer was lost.
    pub(crate) lost: bool,
}

#[derive(Debug)]
pub(crate) enum Body {
    Empty,
    Json(Value),
    /// Something else than JSON: its content type. The text is dropped, it may hold anything.
    Other(String),
    Malformed(Malformed),
    TooLarge,
}

const NOTHING: Value = Value::Null;

const TRY_CURL: &str = "a proxy on the way may have changed it: try the address with curl";

impl Reply {
    /// A 2xx whose body is a JSON object.
    pub(crate) fn ok(&self) -> bool {
        (200..300).contains(&self.status) && matches!(self.body, Body::Json(Value::Map(_)))
    }

    /// A 2xx without a body.
    pub(crate) fn says_nothing(&self) -> bool {
        (200..300).contains(&self.status) && matches!(self.body, Body::Empty)
    }

    pub(crate) fn json(&self) -> &Value {
        match &self.body {
            Body::Json(value) => value,
            _ => &NOTHING,
        }
    }

    pub(crate) fn data(&self) -> &Value {
        self.json().get("data").unwrap_or(&NOTHING)
    }

    /// Moves the data out, so that no second copy of a secret exists.
    pub(crate) fn take_data(&mut self) -> Option<Value> {
        match &mut self.body {
            Body::Json(value) => value.remove("data"),
            _ => None,
        }
    }

    pub(crate) fn warnings(&self) -> Vec<&str> {
        match self.json().get("warnings") {
            Some(Value::List(items)) => items.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    fn errors(&self) -> Vec<&str> {
        match self.json().get("errors") {
            Some(Value::List(items)) => items.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// The server's own words on one line, without the decoration of Go's error lists.
    pub(crate) fn words(&self) -> String {
        let errors: Vec<String> = self
            .errors()
            .into_iter()
            .flat_map(str::lines)
            .map(|line| line.trim().trim_start_matches("* ").trim())
            .filter(|line| !line.is_empty() && !line.ends_with("error occurred:"))
            .filter(|line| !line.ends_with("errors occurred:"))
            .map(str::to_owned)
            .collect();
        printable(&errors.join("; "))
    }

    /// The server's words unescaped and whole. Never shown: they are compared with the secrets that were sent.
    pub(crate) fn all_words(&self) -> Zeroizing<String> {
        Zeroizing::new(self.errors().join("\n"))
    }

    /// Whether it is Vault's envelope, and not the JSON of a gateway in front of it.
    pub(crate) fn speaks_vault(&self) -> bool {
        ["errors", "request_id", "wrap_info"].iter().any(|key| self.json().get(key).is_some())
    }

    /// Whether Vault itself says that it did not process the request. A proxy may answer 503 or 429 after Vault
    /// processed it.
    pub(crate) fn was_not_processed(&self) -> bool {
        let says = |words: &[&str]| {
            let said = self.words().to_lowercase();
            words.iter().any(|word| said.contains(word))
        };
        match self.status {
            503 => says(&["sealed", "standby", "not active", "active cluster node not found"]),
            429 => says(&["rate limit quota"]),
            _ => false,
        }
    }

    /// Whether a policy denied the request of a valid token. Vault writes that refusal as a list of errors, and the
    /// refusal of a dead token as a single sentence.
    pub(crate) fn denies_by_policy(&self) -> bool {
        let is_listed = self.errors().iter().any(|text| text.contains("error occurred:"));
        self.status == 403 && is_listed
    }

    /// Whether Vault refused the token itself. A 403 of a gateway says nothing about the token.
    pub(crate) fn denies_token(&self) -> bool {
        let is_refusal = self.says(&["permission denied", "invalid token", "bad token"]);
        self.status == 403 && is_refusal && !self.denies_by_policy()
    }

    /// Whether the server's own words contain any of these.
    pub(crate) fn says(&self, parts: &[&str]) -> bool {
        let words = self.words();
        parts.iter().any(|part| words.contains(part))
    }

    /// The cause for a reply that should have granted a time to live: a success without one is an error too.
    pub(crate) fn into_refusal(self) -> Cause {
        match self.ok() {
            true => Cause::new(ErrorKind::Protocol, "the answer has no time to live", TRY_CURL),
            false => self.into_cause(),
        }
    }

    pub(crate) fn no_route(&self) -> bool {
        self.says(&["no handler for route"])
    }

    pub(crate) fn no_namespace(&self) -> bool {
        self.says(&["namespace not found"])
    }

    /// A 403 or 404 about the requested path, and not about its whole namespace or mount.
    pub(crate) fn is_miss(&self) -> bool {
        let missed = matches!(self.status, 403 | 404) && self.speaks_vault();
        missed && !self.no_namespace() && !self.no_route()
    }

    pub(crate) fn upgrading(&self) -> bool {
        self.status == 400 && self.says(&["upgrade from non-versioned"])
    }

    /// Vault's own refusal; `None` for the page of a gateway.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        let is_refusal = self.status >= 400 && self.speaks_vault();
        is_refusal.then(|| Refusal { status: self.status, words: self.words() })
    }

    /// The server's words and the status, for a message.
    pub(crate) fn said(&self) -> String {
        match self.words() {
            words if words.is_empty() => format!("the server answered HTTP {}", self.status),
            words => format!("{words} (HTTP {})", self.status),
        }
    }

    pub(crate) fn into_cause(self) -> Cause {
        let (delivery, refusal) = (self.delivery(), self.refusal());
        Cause { refusal, ..self.explained().delivered(delivery) }
    }

    /// A success that cannot be parsed counts as lost: the credential in it was issued.
    pub(super) fn delivery(&self) -> Delivery {
        match &self.body {
            _ if self.lost => Delivery::Unanswered,
            Body::Malformed(_) | Body::TooLarge if self.status < 300 => Delivery::Unanswered,
            _ if retry::is_lost_behind_a_gateway(self.status) && !self.speaks_vault() => {
                Delivery::Unanswered
            }
            _ => Delivery::Answered,
        }
    }

    fn explained(self) -> Cause {
        match &self.body {
            Body::TooLarge => return self.too_large(),
            Body::Malformed(malformed) => return self.malformed(*malformed),
            Body::Other(content_type) => return self.foreign(content_type),
            Body::Empty if (200..300).contains(&self.status) => return self.malformed_empty(),
            Body::Empty if self.status < 500 => return self.empty(),
            Body::Json(_) if (300..500).contains(&self.status) && !self.speaks_vault() => {
                return self.foreign("another service's JSON");
            }
            _ => {}
        }
        self.explained_by_status()
    }

    fn explained_by_status(&self) -> Cause {
        let said = self.said();
        let here = |cause: Cause| cause.at(format!("vault {}", self.address));
        match self.status {
            200..300 => {
                Cause::new(ErrorKind::Protocol, "the answer is not a JSON object", TRY_CURL)
            }
            404 if self.no_route() => {
                Cause::new(ErrorKind::WrongMount, said, "mount the engine, or correct the path")
            }
            404 if self.no_namespace() => here(Cause::new(
                ErrorKind::NamespaceAbsent,
                said,
                "check VAULT_NAMESPACE (or BAO_NAMESPACE), or unset it for the root namespace",
            )),
            429 => here(Cause::new(
                ErrorKind::RateLimited,
                said,
                "a rate limit quota of the server refused the request, and waiting did not help: raise the \
                 quota, or start fewer instances at once",
            )),
            472 | 473 => here(Cause::new(
                ErrorKind::Standby,
                format!("the server is a standby that does not serve this (HTTP {})", self.status),
                "use the address of the active node",
            )),
            501 => here(Cause::new(
                ErrorKind::Uninitialised,
                "the server is not initialised",
                "check the address and the server's storage; if the server is new: vault operator init, then unseal it",
            )),
            503 if self.says(&["sealed"]) => here(Cause::new(
                ErrorKind::Sealed,
                said,
                "unseal it: vault operator unseal (each node of a cluster separately); with auto-unseal, see the server's log",
            )),
            500..=599 if self.says(&["active cluster node not found"]) => here(Cause::new(
                ErrorKind::Standby,
                said,
                "the cluster has no active node at the moment: see vault operator raft list-peers",
            )),
            502..=504 if !self.speaks_vault() => {
                Cause::new(ErrorKind::Server, said, self.another_service())
            }
            _ => Cause::new(ErrorKind::Server, said, "see the server's log"),
        }
    }

    fn malformed_empty(&self) -> Cause {
        Cause::new(ErrorKind::Protocol, "the answer is empty", TRY_CURL)
    }

    fn malformed(&self, malformed: Malformed) -> Cause {
        Cause::new(
            ErrorKind::Protocol,
            format!("the answer (HTTP {}) {}", self.status, malformed),
            TRY_CURL,
        )
    }

    fn too_large(&self) -> Cause {
        Cause::new(
            ErrorKind::TooLarge,
            format!("the answer is larger than {} MiB", MAX_BYTES / 1024 / 1024),
            "split the secret",
        )
    }

    fn foreign(&self, content_type: &str) -> Cause {
        let what = format!(
            "HTTP {} with {} instead of Vault's JSON",
            self.status,
            printable(content_type)
        );
        // Every server answers a plain request to its TLS port with a 400 that is not JSON.
        let is_https = self.status == 400
            && self.address.starts_with("http://")
            && matches!(self.body, Body::Other(_));
        let help = match is_https {
            true => format!("{HTTPS}\nor {}", self.another_service()),
            false => self.another_service(),
        };
        Cause::new(ErrorKind::NotVault, what, help).at(format!("vault {}", self.address))
    }

    fn another_service(&self) -> String {
        let origin = &self.origin;
        match self.status {
            502..=504 => format!(
                "the server behind a proxy or a load balancer may not run, or may not answer: check that server\n\
                 or another service answered at this address: check {origin}"
            ),
            _ => format!(
                "a proxy, a load balancer, a login page or another service answered at this address: check that the server behind it \
                 runs, and check {origin}"
            ),
        }
    }

    /// Vault answers an empty 400 also to a path with unprintable characters.
    fn empty(&self) -> Cause {
        let cause = self.foreign("an empty body");
        match self.status {
            400 => cause.with_help(format!("{UNPRINTABLE}\nor {}", self.another_service())),
            _ => cause,
        }
    }
}

const UNPRINTABLE: &str =
    "the path may contain a character that is not printable: correct the path";
const HTTPS: &str = "the server may speak https here: use https:// in the address";

/// A time to live. Zero if it is absent: the server writes zero for one that never expires.
pub(crate) fn seconds(value: Option<&Value>) -> Duration {
    // A thousand years: no sum of such times overflows.
    const LONGEST: u64 = 1000 * 366 * 24 * 3600;
    Duration::from_secs(value.and_then(Value::as_u64).unwrap_or_default().min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: Body) -> Reply {
        let (address, origin) = (Arc::from("http://127.0.0.1:8200"), Arc::from("BAO_ADDR"));
        Reply { status, body, address, origin, date: None, lost: false }
    }

    fn json(text: &str) -> Body {
        Body::Json(Value::from_json(text).unwrap())
    }

    #[test]
    fn what_a_gateway_answers_for_a_silent_server_may_have_arrived() {
        let html = || Body::Other("text/html".to_owned());
        let sealed = || json(r#"{"errors": ["Vault is sealed"]}"#);
        let malformed = || Body::Malformed(Value::from_json("{").unwrap_err());
        for (status, body, expected) in [
            (502, html(), Delivery::Unanswered),
            (504, Body::Empty, Delivery::Unanswered),
            (504, json(r#"{"message": "upstream timed out"}"#), Delivery::Unanswered),
            (524, html(), Delivery::Unanswered),
            (502, sealed(), Delivery::Answered),
            (403, html(), Delivery::Answered),
            (429, html(), Delivery::Answered),
            (500, html(), Delivery::Answered),
            (503, html(), Delivery::Answered),
            (503, sealed(), Delivery::Answered),
            (200, html(), Delivery::Answered),
            (200, malformed(), Delivery::Unanswered),
            (200, Body::TooLarge, Delivery::Unanswered),
            (403, malformed(), Delivery::Answered),
        ] {
            let shown = format!("{status} {body:?}");
            let cause = reply(status, body).into_cause().at("vault elsewhere").hint("and more");
            assert_eq!(cause.delivery, expected, "{shown}");
        }
    }

    #[test]
    fn an_answer_of_another_service_names_the_setting_of_the_address() {
        let html = || Body::Other("text/html".to_owned());
        let gateway = || json(r#"{"message": "no upstream"}"#);
        let help = |status, body| reply(status, body).into_cause().help;
        for (status, body) in [(200, html()), (403, gateway()), (404, Body::Empty)] {
            let help = help(status, body);
            assert!(help.starts_with("a proxy, a load balancer, a login page"), "{help}");
            assert!(help.ends_with("and check BAO_ADDR"), "{help}");
        }
        for (status, body) in [(502, html()), (503, Body::Empty), (504, gateway())] {
            let help = help(status, body);
            assert!(help.starts_with("the server behind a proxy or a load balancer"), "{help}");
            assert!(help.ends_with("or another service answered at this address: check BAO_ADDR"));
        }
        let own = json(r#"{"errors": ["internal error"]}"#);
        assert_eq!(help(502, own), "see the server's log");
    }

    #[test]
    fn only_vaults_own_words_are_a_refusal() {
        let words = |status, body| reply(status, body).into_cause().refusal.map(|it| it.words);
        let refused = || json(r#"{"errors": ["invalid role name"]}"#);
        assert_eq!(words(400, refused()), Some("invalid role name".to_owned()));
        assert_eq!(words(200, refused()), None);
        assert_eq!(words(403, json(r#"{"message": "invalid role name"}"#)), None);
        assert_eq!(words(403, Body::Other("text/html".to_owned())), None);
    }
}

//! What the server answered to one request.

use std::time::{Duration, SystemTime};

use crate::error::{Cause, ErrorKind};
use crate::http::reply::seconds;
use crate::text;
use crate::time::RotationSchedule;
use crate::value::Value;
use crate::vault::{Issued, Lease, Response};

/// The response to one request. Each field that shares the request picks its part.
#[derive(Debug)]
pub(crate) struct EngineResponse {
    pub(crate) data: Value,
    pub(crate) version: Option<SecretVersion>,
    pub(crate) lease: Option<Lease>,
    /// How long the data is valid without a lease, or at most with one.
    pub(super) life: Option<Duration>,
    pub(crate) issued: Issued,
}

/// How long a value is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    /// Zero: it never expires.
    pub(crate) ttl: Duration,
    pub(crate) renewable: bool,
    pub(crate) expires_at: Option<SystemTime>,
}

/// A version of a KV v2 secret. The numbers start again at 1 after the secret's metadata was deleted: only
/// the time distinguishes two versions of one number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretVersion {
    pub(crate) number: u64,
    pub(crate) created: Option<String>,
}

/// A response without its data.
#[derive(Debug)]
pub(crate) struct ResponseMeta {
    pub(crate) version: Option<SecretVersion>,
    pub(crate) lease: Option<Lease>,
    /// How long the data is valid without a lease, or at most with one.
    pub(crate) life: Option<Duration>,
    pub(crate) rotation: Option<RotationSchedule>,
    pub(crate) issued: Issued,
}

impl EngineResponse {
    /// `data` was taken from the reply.
    pub(super) fn new(data: Value, reply: Response) -> Self {
        Self { data, version: None, lease: reply.lease(), life: None, issued: reply.issued }
    }

    /// The data is valid between these times of the server's clock. `date` is when that clock answered.
    #[cfg(any(feature = "pki", feature = "ssh"))]
    pub(super) fn valid_between(
        self,
        begin: SystemTime,
        end: SystemTime,
        date: Option<SystemTime>,
    ) -> Result<Self, Cause> {
        match remaining_life(self.issued.at.wall, begin, end, date) {
            Some(life) => Ok(Self { life: Some(life), ..self }),
            None => Err(already_expired(end)),
        }
    }

    pub(crate) fn into_meta(self) -> ResponseMeta {
        let rotation = self.rotation();
        let Self { version, lease, life, issued, .. } = self;
        ResponseMeta { version, lease, life, rotation, issued }
    }

    /// `None` for data without an end that the server states.
    pub(crate) fn validity(&self) -> Option<Validity> {
        let (ttl, renewable) = match &self.lease {
            Some(lease) => (lease.ttl, lease.renewable),
            None => (self.life?, false),
        };
        let issued_at = self.issued.at.wall;
        let expires_at = (!ttl.is_zero()).then(|| issued_at.checked_add(ttl)).flatten();
        Some(Validity { ttl, renewable, expires_at })
    }

    /// The rotation that a static role states for its password.
    fn rotation(&self) -> Option<RotationSchedule> {
        let last = self.data.get("last_vault_rotation")?.as_str()?.to_owned();
        let ttl = seconds(Some(self.data.get("ttl")?));
        self.lease.is_none().then_some(RotationSchedule { ttl, last })
    }

    /// One key of the data. The error names the keys that are there, the nearest one first.
    pub(crate) fn key(&self, key: &str) -> Result<Value, Cause> {
        let Some(entries) = self.data.as_map() else {
            return Err(Cause::new(
                ErrorKind::Protocol,
                format!("the answer holds {} where a map of keys was expected", self.data.kind()),
                "run `vault read` to see what the path returns",
            ));
        };
        if let Some(value) = entries.get(key) {
            return Ok(value.clone());
        }
        let version = self
            .version
            .as_ref()
            .map_or_else(String::new, |version| format!(" (version {})", version.number));
        let names = || entries.keys().map(String::as_str);
        let message = match entries.len() {
            0 => format!("the secret{version} is empty"),
            _ => format!(
                "the secret{version} has no key \"{key}\"; its keys are {}",
                text::nearest_few(key, names())
            ),
        };
        let help = match text::nearest(key, names()).map(text::name) {
            Some(near) => {
                format!("did you mean \"{near}\"? Write key = \"{near}\", or add the key \"{key}\"")
            }
            None => {
                format!("add the key \"{key}\" to the secret, or name another with key = \"..\"")
            }
        };
        Err(Cause::new(ErrorKind::KeyAbsent, message, help))
    }
}

/// `None` if nothing remains. The server's clock set both ends, and this machine's clock may differ.
#[cfg(any(feature = "pki", feature = "ssh"))]
fn remaining_life(
    issued_at: SystemTime,
    begin: SystemTime,
    end: SystemTime,
    date: Option<SystemTime>,
) -> Option<Duration> {
    // The date is in whole seconds.
    let now = date.map_or(issued_at, |date| issued_at.clamp(date, date + Duration::from_secs(1)));
    // A life of zero would mean one that never ends.
    end.duration_since(now.max(begin)).ok().filter(|life| !life.is_zero())
}

#[cfg(any(feature = "pki", feature = "ssh"))]
fn already_expired(end: SystemTime) -> Cause {
    let end = crate::time::rfc3339::shown(end);
    Cause::new(
        ErrorKind::Protocol,
        format!("the credential issued just now expired at {end} already"),
        "check the role's not_after (vault read), when the authority's own certificate expires, and the server's clock",
    )
}

#[cfg(all(test, any(feature = "pki", feature = "ssh")))]
mod tests {
    use super::*;

    /// In seconds of the server's clock. This machine's clock is decades ahead.
    #[test]
    fn the_servers_clock_decides_how_long_it_is_valid() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let life = |begin, end, date: Option<u64>| {
            let issued_at = at(1_800_000_000);
            remaining_life(issued_at, at(begin), at(end), date.map(at)).map(|life| life.as_secs())
        };
        assert_eq!(life(70, 700, Some(100)), Some(599));
        assert_eq!(life(200, 700, Some(100)), Some(500), "it is not valid yet");
        assert_eq!(life(0, 50_000_000_000, None).map(|life| life > 40_000_000_000), Some(true));
        for (begin, end, date) in [
            (70, 700, Some(700)),
            (70, 700, Some(900)),
            (700, 700, Some(100)),
            (700, 70, Some(10)),
            (70, 700, None),
        ] {
            assert_eq!(life(begin, end, date), None, "{begin} {end} {date:?}");
        }
    }
}

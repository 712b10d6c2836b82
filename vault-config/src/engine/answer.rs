use std::time::{Duration, SystemTime};

use crate::error::{Cause, ErrorKind};
use crate::http::reply::seconds;
use crate::text;
use crate::time::RotationSchedule;
use crate::value::Value;
use crate::vault::{Issued, Lease, Response};

#[cfg(any(feature = "pki", feature = "ssh"))]
fn ended(end: SystemTime) -> Cause {
    let end = crate::time::rfc3339::shown(end);
    Cause::new(
        ErrorKind::Protocol,
        format!("what was made just now ended at {end} already"),
        "see with `vault read` until when the role makes what it makes (not_after), when the \
         authority's own certificate ends, and the server's clock",
    )
}

/// What the server gave for one request.
#[doc(hidden)]
#[derive(Debug)]
pub struct Answer {
    pub(crate) data: Value,
    /// The version of a KV v2 secret.
    pub(crate) version: Option<u64>,
    /// When that version was written, as the server writes it.
    pub(crate) created: Option<String>,
    pub(crate) lease: Option<Lease>,
    /// How long it is good for without being leased.
    pub(crate) life: Option<Duration>,
    pub(crate) issued: Option<Issued>,
}

/// For how long something was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) ttl: Duration,
    pub(crate) renewable: bool,
    pub(crate) expires_at: Option<SystemTime>,
}

/// A version of a KV v2 secret. A secret whose metadata was deleted begins at 1 again: only its time
/// separates the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretVersion {
    pub(crate) number: u64,
    pub(crate) created: Option<String>,
}

/// What an answer says besides its data.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) version: Option<SecretVersion>,
    pub(crate) lease: Option<Lease>,
    pub(crate) life: Option<Duration>,
    pub(crate) rotation: Option<RotationSchedule>,
    pub(crate) issued: Option<Issued>,
}

impl Answer {
    pub(crate) fn into_facts(self) -> Facts {
        let rotation = self.rotation();
        let Self { version, created, lease, life, issued, .. } = self;
        let version = version.map(|number| SecretVersion { number, created });
        Facts { version, lease, life, rotation, issued }
    }

    /// `data` was taken from the reply.
    pub(super) fn new(data: Value, version: Option<u64>, reply: Response) -> Self {
        Self {
            data,
            version,
            created: None,
            lease: reply.lease(),
            life: None,
            issued: Some(reply.issued),
        }
    }

    /// What was made, and is good until `end`. `date` is when it was made by the server's clock,
    /// which wrote both: this machine's may be another one.
    #[cfg(any(feature = "pki", feature = "ssh"))]
    pub(super) fn good_between(
        self,
        begin: SystemTime,
        end: SystemTime,
        date: Option<SystemTime>,
    ) -> Result<Self, Cause> {
        let asked = self.issued.as_ref().map_or_else(SystemTime::now, |issued| issued.at.wall);
        // It tells whole seconds.
        let now = date.map_or(asked, |date| asked.clamp(date, date + Duration::from_secs(1)));
        let now = now.max(begin);
        // No life would be one that never ends.
        match end.duration_since(now).ok().filter(|life| !life.is_zero()) {
            Some(life) => Ok(Self { life: Some(life), ..self }),
            None => Err(ended(end)),
        }
    }

    /// How long it is good for, and whether it is a lease that can be renewed.
    pub(crate) fn granted(&self) -> Option<Granted> {
        let (ttl, renewable) = match &self.lease {
            Some(lease) => (lease.ttl, lease.renewable),
            None => (self.life?, false),
        };
        let asked = self.issued.as_ref()?.at.wall;
        let expires_at = (!ttl.is_zero()).then(|| asked.checked_add(ttl)).flatten();
        Some(Granted { ttl, renewable, expires_at })
    }

    /// What a static role says of its password.
    fn rotation(&self) -> Option<RotationSchedule> {
        let last = self.data.get("last_vault_rotation")?.as_str()?.to_owned();
        let ttl = seconds(Some(self.data.get("ttl")?));
        self.lease.is_none().then_some(RotationSchedule { ttl, last })
    }

    /// One key of the answer, or why there is none: with the keys that are there and the nearest.
    pub(crate) fn key(&self, key: &str) -> Result<Value, Cause> {
        let Some(entries) = self.data.as_map() else {
            return Err(Cause::new(
                ErrorKind::Protocol,
                format!("the answer holds {} where a map of keys was expected", self.data.kind()),
                "see with `vault read` what the path answers",
            ));
        };
        if let Some(value) = entries.get(key) {
            return Ok(value.clone());
        }
        let version = self.version.map_or_else(String::new, |n| format!(" (version {n})"));
        let names = || entries.keys().map(String::as_str);
        let what = match entries.len() {
            0 => format!("the secret{version} is empty"),
            _ => format!(
                "the secret{version} has no key \"{key}\"; its keys are {}",
                text::nearest_few(key, names())
            ),
        };
        let help = match text::nearest(key, names()).map(text::name) {
            Some(near) => {
                format!("did you mean \"{near}\"? Say key = \"{near}\", or add the key \"{key}\"")
            }
            None => {
                format!("add the key \"{key}\" to the secret, or name another with key = \"..\"")
            }
        };
        Err(Cause::new(ErrorKind::KeyAbsent, what, help))
    }
}

#[cfg(all(test, any(feature = "pki", feature = "ssh")))]
mod tests {
    use super::*;

    /// Seconds of the server's clock; this machine's is decades ahead.
    #[test]
    fn the_servers_clock_says_how_long_it_is_good_for() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let life = |begin, end, date: Option<u64>| {
            let answer = Answer {
                data: Value::Null,
                version: None,
                created: None,
                lease: None,
                life: None,
                issued: None,
            };
            let answer = answer.good_between(at(begin), at(end), date.map(at));
            answer.ok().and_then(|answer| answer.life).map(|life| life.as_secs())
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

//! Warns of what a load obtained that expires, and that nothing renews.

use std::time::Duration;

use crate::engine::ResponseMeta;
use crate::load::fetch::Fetched;
use crate::load::slot::{Resolution, Slot, Slots};
use crate::report::Provenance;
use crate::time::clock::Reading;

/// One secret or credential, and when it expires.
struct Expiry {
    fields: Vec<String>,
    source: String,
    after: Duration,
    cause: ExpiryCause,
}

/// What ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExpiryCause {
    Itself,
    Token,
    Rotation,
}

/// Warns once, of everything that expires.
pub(crate) fn warn<'a>(
    name: &str,
    slots: &Slots,
    fetched: impl Iterator<Item = &'a Fetched>,
    now: Reading,
) {
    let mut all: Vec<_> = fetched.filter_map(|fetched| expiry(slots, fetched, now)).collect();
    all.sort_by_key(|expiry| expiry.after);
    if !all.is_empty() {
        tracing::warn!(config = name, "{}", message(&all));
    }
}

fn expiry(slots: &Slots, fetched: &Fetched, now: Reading) -> Option<Expiry> {
    let (after, cause) = expires_after(fetched.meta.as_ref()?, now)?;
    let is_held =
        |slot: &&Slot| matches!(slot.resolution, Resolution::Value(_, Provenance::Vault { .. }));
    let slots = fetched.fields.iter().filter_map(|field| slots.get(field.id));
    let fields: Vec<_> = slots.filter(is_held).map(|slot| slot.leaf.path.clone()).collect();
    (!fields.is_empty()).then(|| Expiry { fields, source: fetched.request.name(), after, cause })
}

/// `None` if it does not expire. A lease expires with its token at the latest.
fn expires_after(meta: &ResponseMeta, now: Reading) -> Option<(Duration, ExpiryCause)> {
    let own = |ttl: Duration| (!ttl.is_zero()).then_some((ttl, ExpiryCause::Itself));
    let life = meta.life.and_then(own);
    let rotation = meta.rotation.as_ref().map(|rotation| (rotation.ttl, ExpiryCause::Rotation));
    let Some(lease) = &meta.lease else { return life.or(rotation) };
    let token = meta.issued.token.lifetime().as_ref().and_then(|term| term.remaining(now));
    let token = token.map(|left| (left, ExpiryCause::Token));
    // If both expire within the same second, the lease is named.
    let all = own(lease.ttl).into_iter().chain(life).chain(token);
    all.min_by_key(|(after, _)| whole_seconds(*after))
}

/// Rounded up: a lease of an hour that was issued a moment ago shows as an hour.
fn whole_seconds(after: Duration) -> u64 {
    after.as_secs() + u64::from(after.subsec_nanos() > 0)
}

fn message(all: &[Expiry]) -> String {
    const NAMED: usize = 8;
    let mut named: Vec<_> = all.iter().take(NAMED).map(Expiry::shown).collect();
    if let Some(rest) = all.len().checked_sub(NAMED).filter(|rest| *rest > 0) {
        named.push(format!("{rest} more later"));
    }
    format!(
        "loaded once: the following expire and are not renewed: {}; use .watch() to keep them current, or load \
         again before then",
        named.join("; ")
    )
}

impl Expiry {
    fn shown(&self) -> String {
        let fields = self.fields.join(", ");
        let after = humantime::format_duration(Duration::from_secs(whole_seconds(self.after)));
        let source = &self.source;
        match self.cause {
            ExpiryCause::Itself => format!("{fields} ({source}) in {after}"),
            ExpiryCause::Token => format!("{fields} ({source}) in {after}, with its token"),
            ExpiryCause::Rotation => {
                format!("{fields} ({source}) in {after}, when its password is rotated")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiry(number: u64, cause: ExpiryCause) -> Expiry {
        Expiry {
            fields: vec![format!("field{number}")],
            source: format!("path/{number}"),
            after: Duration::from_secs(60 * number),
            cause,
        }
    }

    #[test]
    fn what_expires_is_named_with_its_time_and_the_way_out() {
        let mut token = expiry(2, ExpiryCause::Token);
        token.fields.push("other".to_owned());
        let all = [expiry(1, ExpiryCause::Itself), token, expiry(3, ExpiryCause::Rotation)];
        assert_eq!(
            message(&all),
            "loaded once: the following expire and are not renewed: field1 (path/1) in 1m; field2, other \
             (path/2) in 2m, with its token; field3 (path/3) in 3m, when its password is rotated; \
             use .watch() to keep them current, or load again before then"
        );
    }

    #[test]
    fn of_many_the_first_are_named_and_the_others_counted() {
        let all = |count| (1..=count).map(|n| expiry(n, ExpiryCause::Itself)).collect::<Vec<_>>();
        assert!(message(&all(8)).contains("field8 (path/8) in 8m; use"));
        let shown = message(&all(10));
        assert!(shown.contains("field8 (path/8) in 8m; 2 more later; use"), "{shown}");
        assert!(!shown.contains("field9"), "{shown}");
    }

    #[test]
    fn a_life_that_has_just_begun_is_a_whole_one() {
        for (milliseconds, seconds) in [(0, 0), (1, 1), (3_599_999, 3600), (3_600_000, 3600)] {
            assert_eq!(whole_seconds(Duration::from_millis(milliseconds)), seconds);
        }
    }
}

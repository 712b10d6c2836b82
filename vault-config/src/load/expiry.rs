//! What a load holds that expires, and that nothing renews.

use std::time::Duration;

use crate::engine::Facts;
use crate::load::read::{Found, Slot};
use crate::load::resolve::Given;
use crate::report::Provenance;
use crate::time::clock::Reading;

/// What one request gave, and when it expires.
struct Expiry {
    fields: Vec<String>,
    source: String,
    after: Duration,
    cause: Cause,
}

/// Why it expires then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Itself,
    Token,
    Rotation,
}

/// Warns once of all that expires.
pub(crate) fn warn<'a>(
    name: &str,
    slots: &[Slot],
    given: impl Iterator<Item = &'a Given>,
    now: Reading,
) {
    let mut all: Vec<_> = given.filter_map(|given| expiry(slots, given, now)).collect();
    all.sort_by_key(|expiry| expiry.after);
    if !all.is_empty() {
        tracing::warn!(config = name, "{}", message(&all));
    }
}

fn expiry(slots: &[Slot], given: &Given, now: Reading) -> Option<Expiry> {
    let (after, cause) = expires_after(given.facts.as_ref()?, now)?;
    let is_held = |slot: &&Slot| matches!(slot.found, Found::Value(_, Provenance::Vault { .. }));
    let fields = given.fields.iter().filter_map(|(leaf, _)| slots.get(*leaf)).filter(is_held);
    let fields: Vec<_> = fields.map(|slot| slot.leaf.path.clone()).collect();
    (!fields.is_empty()).then(|| Expiry { fields, source: given.request.name(), after, cause })
}

/// A lease ends with its token, if not before. `None` for what does not expire.
fn expires_after(facts: &Facts, now: Reading) -> Option<(Duration, Cause)> {
    let own = |ttl: Duration| (!ttl.is_zero()).then_some((ttl, Cause::Itself));
    let life = facts.life.and_then(own);
    let rotation = facts.rotation.as_ref().map(|rotation| (rotation.ttl, Cause::Rotation));
    let Some(lease) = &facts.lease else { return life.or(rotation) };
    let token =
        facts.issued.as_ref().and_then(|issued| issued.token.lifetime().as_ref()?.remaining(now));
    let token = token.map(|left| (left, Cause::Token));
    // Of two that end within one second, the lease is what is named.
    let all = own(lease.ttl).into_iter().chain(life).chain(token);
    all.min_by_key(|(after, _)| whole_seconds(*after))
}

/// Rounded up: a life of an hour that has just begun is an hour.
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
        "loaded once, and nothing renews what expires: {}; use .watch() to keep it fresh, or load \
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
            Cause::Itself => format!("{fields} ({source}) in {after}"),
            Cause::Token => format!("{fields} ({source}) in {after}, with its token"),
            Cause::Rotation => {
                format!("{fields} ({source}) in {after}, when its password is rotated")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiry(number: u64, cause: Cause) -> Expiry {
        Expiry {
            fields: vec![format!("field{number}")],
            source: format!("path/{number}"),
            after: Duration::from_secs(60 * number),
            cause,
        }
    }

    #[test]
    fn what_expires_is_named_with_its_time_and_the_way_out() {
        let mut token = expiry(2, Cause::Token);
        token.fields.push("other".to_owned());
        let all = [expiry(1, Cause::Itself), token, expiry(3, Cause::Rotation)];
        assert_eq!(
            message(&all),
            "loaded once, and nothing renews what expires: field1 (path/1) in 1m; field2, other \
             (path/2) in 2m, with its token; field3 (path/3) in 3m, when its password is rotated; \
             use .watch() to keep it fresh, or load again before then"
        );
    }

    #[test]
    fn of_many_the_first_are_named_and_the_others_counted() {
        let all = |count| (1..=count).map(|n| expiry(n, Cause::Itself)).collect::<Vec<_>>();
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

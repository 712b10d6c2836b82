//! Times as they are printed: RFC 3339, in UTC, whole seconds.

use std::time::{Duration, SystemTime};

/// 9999-12-31T23:59:59Z: RFC 3339 has four digits for a year.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// A time beyond what RFC 3339 can write is the nearest that it can: `humantime` panics before 1970, and its
/// `to_string` after 9999, where certificates without an end have theirs.
pub(crate) fn shown(moment: SystemTime) -> String {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().min(LAST);
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_printed() {
        let epoch = SystemTime::UNIX_EPOCH;
        for (moment, text) in [
            (epoch, "1970-01-01T00:00:00Z"),
            (epoch + Duration::from_millis(1_500), "1970-01-01T00:00:01Z"),
            (epoch - Duration::from_secs(1), "1970-01-01T00:00:00Z"),
            (epoch - Duration::from_secs(100_000_000_000), "1970-01-01T00:00:00Z"),
            (epoch + LAST, "9999-12-31T23:59:59Z"),
            (epoch + LAST + Duration::from_nanos(1), "9999-12-31T23:59:59Z"),
            (epoch + LAST + Duration::from_secs(1), "9999-12-31T23:59:59Z"),
            (epoch + LAST * 10, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(shown(moment), text);
        }
    }
}

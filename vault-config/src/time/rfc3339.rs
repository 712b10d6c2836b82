//! Times as text: RFC 3339, in UTC, in whole seconds.

use std::time::{Duration, SystemTime};

/// 9999-12-31T23:59:59Z, the last time that RFC 3339 can express with its four digits for the year.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// A time outside of the range of RFC 3339 becomes the nearest one inside. `humantime` would panic before
/// 1970, and its `to_string` after 9999, which is the expiry of certificates that never expire.
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

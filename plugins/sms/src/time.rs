//! The vendors' ways to write a moment.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, NaiveDateTime};

/// `Tue, 28 Jul 2026 15:00:00 +0000`: Twilio.
pub(crate) fn rfc2822(text: &str) -> Option<SystemTime> {
    DateTime::parse_from_rfc2822(text).ok().map(SystemTime::from)
}

/// `2026-07-28 15:00:03`, meant as UTC: Vonage.
pub(crate) fn utc(text: &str) -> Option<SystemTime> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").ok().map(|time| SystemTime::from(time.and_utc()))
}

/// `2026-07-28T15:00:03.000+0000`, with or without a colon in the offset: Infobip.
pub(crate) fn iso(text: &str) -> Option<SystemTime> {
    let parsed = DateTime::parse_from_rfc3339(text);
    parsed.or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z")).ok().map(SystemTime::from)
}

/// Unix seconds.
pub(crate) fn unix(text: &str) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(text.parse().ok()?))
}

/// How long ago a moment of our clock was.
#[expect(clippy::disallowed_methods, reason = "look-ups are about the vendor's real time")]
pub(crate) fn age(ours: SystemTime) -> Duration {
    SystemTime::now().duration_since(ours).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_ways_agree() {
        let moment = unix("1785250803");
        assert_eq!(rfc2822("Tue, 28 Jul 2026 15:00:03 +0000"), moment);
        assert_eq!(utc("2026-07-28 15:00:03"), moment);
        for text in ["2026-07-28T15:00:03.000+0000", "2026-07-28T17:00:03.000+02:00", "2026-07-28T15:00:03Z"] {
            assert_eq!(iso(text), moment, "{text}");
        }
        assert!(moment.is_some());
        for text in ["", "soon", "2026-02-30 10:00:00", "-5", "99999999999999999999"] {
            assert_eq!((rfc2822(text), utc(text), iso(text), unix(text)), (None, None, None, None), "{text}");
        }
    }
}

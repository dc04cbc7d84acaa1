//! The vendors' ways to write a moment.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, NaiveDateTime};
use plugin_api::http::Answer;

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

/// A moment of our clock as the vendor's clock showed it, judged by the date of an answer that just came; two seconds
/// earlier, for what the rounding of both may lose.
pub(crate) fn by_their_clock(answer: &Answer, ours: SystemTime) -> SystemTime {
    let now = now();
    let shifted = match date(answer).unwrap_or(now).duration_since(now) {
        Ok(ahead) => ours.checked_add(ahead),
        Err(behind) => ours.checked_sub(behind.duration()),
    };
    shifted.and_then(|time| time.checked_sub(Duration::from_secs(2))).unwrap_or(UNIX_EPOCH)
}

/// How long ago a moment of our clock was.
pub(crate) fn age(ours: SystemTime) -> Duration {
    now().duration_since(ours).unwrap_or_default()
}

/// When an answer was given, by its own account.
fn date(answer: &Answer) -> Option<SystemTime> {
    let date = answer.headers.get(http::header::DATE)?.to_str().ok()?;
    httpdate::parse_http_date(date).ok()
}

#[expect(clippy::disallowed_methods, reason = "look-ups are about the vendor's real time")]
fn now() -> SystemTime {
    SystemTime::now()
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

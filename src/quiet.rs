//! Quiet hours: local times between which marketing waits. Clock changes are taken as the wall shows them: what counts
//! is what somebody there reads off the clock.

use std::time::Duration;

use chrono::{NaiveTime, Offset, TimeZone, Timelike};
use chrono_tz::Tz;

use crate::clock::Timestamp;
use crate::settings::QuietHours;

/// Why a message waits for their end.
pub const QUIET_HOURS: &str = "quiet_hours";

const DAY: i64 = 24 * 3600;

/// A window of the day, in seconds after midnight; one that ends before it begins goes on into the next morning, and
/// one that ends as it begins is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quiet {
    start: i64,
    end: i64,
    zone: Tz,
}

impl Quiet {
    /// `None` where the settings mean nothing; they are checked when they are saved.
    pub fn new(hours: &QuietHours, zone: &str) -> Option<Self> {
        let seconds = |text: &str| {
            let time = NaiveTime::parse_from_str(text, "%H:%M").ok()?;
            Some(i64::from(time.num_seconds_from_midnight()))
        };
        Some(Self { start: seconds(&hours.start)?, end: seconds(&hours.end)?, zone: zone.parse().ok()? })
    }

    /// How long a window is on an ordinary day.
    pub fn length(self) -> Duration {
        Duration::from_secs((self.end - self.start).rem_euclid(DAY).unsigned_abs())
    }

    /// The first moment from `at` on that is not quiet; `at` itself, when that isn't.
    pub fn end_of(self, at: Timestamp) -> Timestamp {
        let mut at = at;
        // Between two changes of the clock local time runs straight, so the end is either a count of seconds away or
        // the clock changes before; nowhere does it change more than twice a day.
        for _ in 0..4 {
            if !self.holds(at) {
                return at;
            }
            let end = Self::after(at, (self.end - self.time_of_day(at)).rem_euclid(DAY));
            match self.first_change(at, end) {
                None => return end,
                Some(change) => at = change,
            }
        }
        at
    }

    /// Whether this moment is quiet.
    pub fn holds(self, at: Timestamp) -> bool {
        let now = self.time_of_day(at);
        if self.start <= self.end { self.start <= now && now < self.end } else { now >= self.start || now < self.end }
    }

    /// Seconds after midnight on the wall, and what the wall's clock is ahead of UTC.
    fn time_of_day(self, at: Timestamp) -> i64 {
        (at.0.div_euclid(1000) + self.ahead(at)).rem_euclid(DAY)
    }

    fn ahead(self, at: Timestamp) -> i64 {
        i64::from(self.zone.offset_from_utc_datetime(&at.to_datetime().naive_utc()).fix().local_minus_utc())
    }

    /// On the full second, `seconds` later.
    fn after(at: Timestamp, seconds: i64) -> Timestamp {
        Timestamp((at.0.div_euclid(1000) + seconds) * 1000)
    }

    /// The first moment after `from`, up to `to`, at which the clock shows something else than it would by running on.
    fn first_change(self, from: Timestamp, to: Timestamp) -> Option<Timestamp> {
        let ahead = self.ahead(from);
        if self.ahead(to) == ahead {
            return None;
        }
        let (mut before, mut changed) = (from.0.div_euclid(1000), to.0.div_euclid(1000));
        while changed - before > 1 {
            let middle = before + (changed - before) / 2;
            if self.ahead(Timestamp(middle * 1000)) == ahead { before = middle } else { changed = middle }
        }
        Some(Timestamp(changed * 1000))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quiet(start: &str, end: &str, zone: &str) -> Quiet {
        Quiet::new(&QuietHours { start: start.into(), end: end.into() }, zone).expect("a window")
    }

    #[test]
    fn the_end_is_where_the_wall_says_so() {
        let rows = [
            // Over midnight, from both sides of it, and at its edges.
            ("21:00", "09:00", "America/Mexico_City", "2026-03-03T02:59:59Z", "2026-03-03T02:59:59Z"),
            ("21:00", "09:00", "America/Mexico_City", "2026-03-03T03:00:00Z", "2026-03-03T15:00:00Z"),
            ("21:00", "09:00", "America/Mexico_City", "2026-03-03T12:30:00Z", "2026-03-03T15:00:00Z"),
            ("21:00", "09:00", "America/Mexico_City", "2026-03-03T15:00:00Z", "2026-03-03T15:00:00Z"),
            // Within a day, and none at all.
            ("14:00", "16:00", "America/Bogota", "2026-03-03T20:15:30Z", "2026-03-03T21:00:00Z"),
            ("00:00", "00:00", "America/Bogota", "2026-03-03T05:00:00Z", "2026-03-03T05:00:00Z"),
            // Madrid loses the hour from two to three on 29 March 2026 and has it twice on 25 October.
            ("22:00", "08:00", "Europe/Madrid", "2026-03-28T22:00:00Z", "2026-03-29T06:00:00Z"),
            ("22:00", "08:00", "Europe/Madrid", "2026-10-24T22:00:00Z", "2026-10-25T07:00:00Z"),
            // The end is in the hour that is not there: the clock jumps over it.
            ("22:00", "02:30", "Europe/Madrid", "2026-03-28T23:30:00Z", "2026-03-29T01:00:00Z"),
            // The end comes twice: at its first time, and for who asks after it at the second.
            ("22:00", "02:30", "Europe/Madrid", "2026-10-24T23:00:00Z", "2026-10-25T00:30:00Z"),
            ("22:00", "02:30", "Europe/Madrid", "2026-10-25T01:10:00Z", "2026-10-25T01:30:00Z"),
            // The clock goes back out of the window, and in again.
            ("02:30", "08:00", "Europe/Madrid", "2026-10-25T00:45:00Z", "2026-10-25T01:00:00Z"),
            ("02:30", "08:00", "Europe/Madrid", "2026-10-25T01:30:00Z", "2026-10-25T07:00:00Z"),
            // Clocks that go on by half an hour, or change at midnight.
            ("21:00", "09:00", "Australia/Lord_Howe", "2026-10-03T14:00:00Z", "2026-10-03T22:00:00Z"),
            ("21:00", "00:30", "America/Santiago", "2026-09-06T02:00:00Z", "2026-09-06T04:00:00Z"),
        ];
        for (start, end, zone, at, wanted) in rows {
            let [at, wanted] = [at, wanted].map(|t| Timestamp::parse(t).expect("a time"));
            let found = quiet(start, end, zone).end_of(at);
            assert_eq!(
                found.to_datetime(),
                wanted.to_datetime(),
                "{start} to {end} in {zone} from {}",
                at.to_datetime()
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        /// Never inside the window, and never a minute further than needed.
        #[test]
        fn a_message_waits_as_long_as_it_must_and_no_longer(
            start in 0_i64..1440,
            end in 0_i64..1440,
            // Around the clock changes of these zones, and elsewhere.
            day in prop::sample::select(vec![1_774_656_000_i64, 1_792_800_000, 1_788_652_800, 1_791_040_000, 1_772_400_000]),
            second in 0_i64..2 * DAY,
            zone in prop::sample::select(vec!["Europe/Madrid", "America/Santiago", "Australia/Lord_Howe", "America/Mexico_City"]),
        ) {
            let clock = |minutes: i64| format!("{:02}:{:02}", minutes / 60, minutes % 60);
            let quiet = quiet(&clock(start), &clock(end), zone);
            let at = Timestamp((day + second) * 1000 + 7);
            let found = quiet.end_of(at);
            prop_assert!(found >= at && !quiet.holds(found));
            let mut minute = at;
            while minute < found {
                prop_assert!(quiet.holds(minute), "{:?} was free, {:?} was found", minute, found);
                minute = Timestamp((minute.0.div_euclid(60_000) + 1) * 60_000);
            }
        }
    }
}

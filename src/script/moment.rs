//! Points in time as scripts see them: in a zone, comparable, and never asked of a clock.

use chrono::{DateTime, Datelike, NaiveDate, Timelike};
use chrono_tz::Tz;
use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString};

use crate::clock::Timestamp;
use crate::config::read_duration;

/// A moment, and the zone in which its day and hour are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub at: Timestamp,
    pub zone: Tz,
}

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

impl Moment {
    pub fn new(at: Timestamp, zone: Tz) -> Self {
        Self { at, zone }
    }

    fn local(self) -> DateTime<Tz> {
        self.at.to_datetime().with_timezone(&self.zone)
    }

    /// RFC 3339, or a date alone, which is read as its midnight in UTC.
    fn parse(text: &str) -> Option<Self> {
        let midnight = || {
            let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
            Some(Timestamp(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis()))
        };
        Timestamp::parse(text).or_else(midnight).map(|at| Self { at, zone: Tz::UTC })
    }

    /// Whole days of 24 hours from `earlier` to here.
    pub(super) fn days_since(self, earlier: Timestamp) -> i64 {
        self.at.0.saturating_sub(earlier.0).div_euclid(DAY)
    }
}

pub(super) fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<Moment>("Moment")
        .register_get("year", |m: &mut Moment| i64::from(m.local().year()))
        .register_get("month", |m: &mut Moment| i64::from(m.local().month()))
        .register_get("day", |m: &mut Moment| i64::from(m.local().day()))
        // Monday is 1.
        .register_get("weekday", |m: &mut Moment| i64::from(m.local().weekday().number_from_monday()))
        .register_get("hour", |m: &mut Moment| i64::from(m.local().hour()))
        .register_get("minute", |m: &mut Moment| i64::from(m.local().minute()))
        .register_get("date", |m: &mut Moment| m.local().format("%Y-%m-%d").to_string())
        .register_get("time", |m: &mut Moment| m.local().format("%H:%M").to_string())
        .register_get("unix", |m: &mut Moment| m.at.0.div_euclid(1000))
        .register_fn("<", |a: Moment, b: Moment| a.at < b.at)
        .register_fn("<=", |a: Moment, b: Moment| a.at <= b.at)
        .register_fn(">", |a: Moment, b: Moment| a.at > b.at)
        .register_fn(">=", |a: Moment, b: Moment| a.at >= b.at)
        .register_fn("==", |a: Moment, b: Moment| a.at == b.at)
        .register_fn("!=", |a: Moment, b: Moment| a.at != b.at)
        .register_fn("to_string", |m: &mut Moment| m.at.to_string())
        .register_fn("to_debug", |m: &mut Moment| m.at.to_string())
        .register_fn("days_since", |m: Moment, earlier: Moment| m.days_since(earlier.at))
        .register_fn("hours_since", |m: Moment, earlier: Moment| m.at.0.saturating_sub(earlier.at.0).div_euclid(HOUR))
        // Of what never was, nobody can say how long ago it is.
        .register_fn("days_since", |_: Moment, (): ()| ())
        .register_fn("hours_since", |_: Moment, (): ()| ())
        .register_fn("plus", |m: Moment, text: &str| -> Result<Moment, Box<EvalAltResult>> {
            Ok(Moment { at: m.at.plus(read_duration(text)?), ..m })
        })
        .register_fn("minus", |m: Moment, text: &str| -> Result<Moment, Box<EvalAltResult>> {
            Ok(Moment { at: m.at.minus(read_duration(text)?), ..m })
        })
        .register_fn("moment", |text: ImmutableString| Moment::parse(&text).map_or(Dynamic::UNIT, Dynamic::from))
        .register_fn("moment", |(): ()| ());
}

//! Dates and times as a reader writes them: in their language, in the branch's zone.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};
use icu_calendar::Gregorian;
use icu_datetime::fieldsets::{MDE, T, YMD, YMDE};
use icu_datetime::input;
use icu_datetime::pattern::{DateTimePattern, FixedCalendarDateTimeNames};
use icu_datetime::{DateTimeFormatterPreferences, FixedCalendarDateTimeFormatter, NoCalendarFormatter};
use serde_json::Value;
use writeable::TryWriteable;

use super::{Setting, plain_spaces};

/// Letters of a pattern.
const LONGEST_PATTERN: usize = 64;

/// `{{date at}}`, `{{date at "full"}}`, `{{date at "d 'de' MMMM"}}`.
pub(super) fn date(setting: &Setting, value: &Value, style: Option<&str>) -> Result<String, String> {
    let at = local(setting, value)?;
    styled(setting, at, style.unwrap_or("long"))
}

/// `{{time at}}`, `{{time at "HH:mm"}}`.
pub(super) fn time(setting: &Setting, value: &Value, style: Option<&str>) -> Result<String, String> {
    let at = match value.as_str().map(|text| NaiveTime::parse_from_str(text, "%H:%M")) {
        Some(Ok(time)) => NaiveDate::default().and_time(time),
        _ => local(setting, value)?,
    };
    if let Some(pattern) = style {
        return styled(setting, at, pattern);
    }
    let formatter = NoCalendarFormatter::try_new(preferences(setting), T::hm()).map_err(said)?;
    Ok(plain_spaces(formatter.format(&clock(at.time())?).to_string()))
}

/// `{{relative at}}`: hoy, mañana, pasado mañana; the day and its date when it is farther away.
pub(super) fn relative(setting: &Setting, value: &Value, style: Option<&str>) -> Result<String, String> {
    let at = local(setting, value)?;
    let now = DateTime::<Utc>::from_timestamp_millis(setting.now.0).unwrap_or_default();
    let today = now.with_timezone(&setting.zone).date_naive();
    let days = (at.date() - today).num_days();
    let word = match (setting.language(), days) {
        ("es", -2) => "anteayer",
        ("es", -1) => "ayer",
        ("es", 0) => "hoy",
        ("es", 1) => "mañana",
        ("es", 2) => "pasado mañana",
        ("en", -1) => "yesterday",
        ("en", 0) => "today",
        ("en", 1) => "tomorrow",
        _ => return styled(setting, at, style.unwrap_or(if days.abs() < 180 { "day" } else { "full" })),
    };
    Ok(word.to_owned())
}

fn styled(setting: &Setting, at: NaiveDateTime, style: &str) -> Result<String, String> {
    let prefs = preferences(setting);
    let date = calendar(at.date())?;
    let ymd = |length| -> Result<String, String> {
        let formatter = FixedCalendarDateTimeFormatter::<Gregorian, _>::try_new(prefs, length).map_err(said)?;
        Ok(formatter.format(&date).to_string())
    };
    let text = match style {
        "short" => ymd(YMD::short())?,
        "medium" => ymd(YMD::medium())?,
        "long" => ymd(YMD::long())?,
        "full" => {
            let formatter =
                FixedCalendarDateTimeFormatter::<Gregorian, _>::try_new(prefs, YMDE::long()).map_err(said)?;
            formatter.format(&date).to_string()
        }
        "day" => {
            let formatter =
                FixedCalendarDateTimeFormatter::<Gregorian, _>::try_new(prefs, MDE::long()).map_err(said)?;
            formatter.format(&date).to_string()
        }
        pattern => of_pattern(prefs, pattern, &input::DateTime { date, time: clock(at.time())? })?,
    };
    Ok(plain_spaces(text))
}

fn of_pattern(
    prefs: DateTimeFormatterPreferences,
    pattern: &str,
    at: &input::DateTime<Gregorian>,
) -> Result<String, String> {
    let wrong = |why: String| {
        let styles = "short, medium, long, full, or letters such as \"EEEE d 'de' MMMM\"";
        format!("{pattern:?} is no way to write a date ({why}); there are {styles}")
    };
    if pattern.len() > LONGEST_PATTERN {
        return Err(wrong(format!("longer than {LONGEST_PATTERN} bytes")));
    }
    let parsed = DateTimePattern::try_from_pattern_str(pattern).map_err(|e| wrong(e.to_string()))?;
    let mut names: FixedCalendarDateTimeNames<Gregorian> = FixedCalendarDateTimeNames::try_new(prefs).map_err(said)?;
    let formatter = names.include_for_pattern(&parsed).map_err(|e| wrong(e.to_string()))?;
    let formatted = formatter.format(at);
    formatted.try_write_to_string().map(std::borrow::Cow::into_owned).map_err(|(e, _)| wrong(e.to_string()))
}

/// In the branch's zone; what has no zone of its own is taken as it is.
fn local(setting: &Setting, value: &Value) -> Result<NaiveDateTime, String> {
    let here = |at: DateTime<Utc>| at.with_timezone(&setting.zone).naive_local();
    match value {
        Value::Number(n) => n.as_i64().and_then(DateTime::<Utc>::from_timestamp_millis).map(here),
        Value::String(text) => DateTime::parse_from_rfc3339(text).ok().map(|at| here(at.to_utc())).or_else(|| {
            let formats = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
            let whole = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
            whole.or_else(|| Some(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN)))
        }),
        _ => None,
    }
    .filter(|at| (1..=9999).contains(&at.year()))
    .ok_or_else(|| {
        let given: String = value.to_string().chars().take(40).collect();
        format!("{given} is no date; write it as 2026-03-02T15:00:00Z or 2026-03-02")
    })
}

fn calendar(date: NaiveDate) -> Result<input::Date<Gregorian>, String> {
    input::Date::try_new_gregorian(date.year(), date.month() as u8, date.day() as u8).map_err(said)
}

fn clock(time: NaiveTime) -> Result<input::Time, String> {
    input::Time::try_new(time.hour() as u8, time.minute() as u8, time.second() as u8, 0).map_err(said)
}

fn preferences(setting: &Setting) -> DateTimeFormatterPreferences {
    setting.icu().into()
}

fn said(e: impl std::fmt::Display) -> String {
    e.to_string()
}

//! The only place that asks the time. Everything else is given a `Clock`, and tests own theirs.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, TimeZone, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Unix milliseconds. As JSON: RFC 3339 with milliseconds, in UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// By so many milliseconds, in either direction.
    #[must_use]
    pub fn moved(self, by: i64) -> Self {
        Self(self.0.saturating_add(by))
    }

    /// Zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    pub fn to_datetime(self) -> DateTime<Utc> {
        Utc.timestamp_millis_opt(self.0).single().unwrap_or_default()
    }

    pub fn from_system(time: SystemTime) -> Self {
        let ms = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
        Self(i64::try_from(ms).unwrap_or(i64::MAX))
    }

    pub fn to_system(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }

    /// RFC 3339 with an offset, as the API takes it.
    pub fn parse(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text).ok().map(|t| Self(t.timestamp_millis()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_datetime().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(d)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom("timestamp|must be a date and time with an offset, e.g. 2026-03-01T09:00:00-06:00")
        })
    }
}

/// Answers what time it is.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;

    /// Time that passes at its pace whatever clocks are set to; it begins anywhere.
    fn monotonic(&self) -> Duration {
        static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
        BEGAN.elapsed()
    }
}

pub type SharedClock = Arc<dyn Clock>;

/// Notices when a clock was set: it has moved otherwise than time has passed.
pub struct Steps {
    clock: SharedClock,
    read: (Timestamp, Duration),
}

/// Less is a clock that is being steered.
const STEP: i64 = 1000;

impl Steps {
    pub fn new(clock: &SharedClock) -> Self {
        Self { clock: Arc::clone(clock), read: (clock.now(), clock.monotonic()) }
    }

    /// The time, and by how many milliseconds the clock was set since this was asked last.
    pub fn read(&mut self) -> (Timestamp, i64) {
        let read = (self.clock.now(), self.clock.monotonic());
        let (before, then) = std::mem::replace(&mut self.read, read);
        let step = read.0.0.saturating_sub(before.plus(read.1.saturating_sub(then)).0);
        (read.0, if step.abs() < STEP { 0 } else { step })
    }
}

/// The machine's wall clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is given")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The store server's clock, carried by this machine's monotonic one between readings: nodes agree on leases even
/// when their wall clocks don't, and a stepped wall clock steals nothing.
pub struct AnchoredClock {
    began: Instant,
    /// Server time minus monotonic time, in milliseconds.
    offset: AtomicI64,
}

impl AnchoredClock {
    pub fn new(server: Timestamp) -> Self {
        Self { began: Instant::now(), offset: AtomicI64::new(server.0) }
    }

    /// Takes a fresh reading of the server's clock.
    pub fn anchor(&self, server: Timestamp) {
        self.offset.store(server.0 - self.elapsed(), Ordering::Relaxed);
    }

    fn elapsed(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

impl Clock for AnchoredClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.offset.load(Ordering::Relaxed) + self.elapsed())
    }
}

/// A clock that stands still until a test moves it.
pub struct FakeClock {
    now: AtomicI64,
    passed: AtomicI64,
}

impl FakeClock {
    pub fn at(text: &str) -> Arc<Self> {
        let now = Timestamp::parse(text).expect("a test names a valid time").0;
        Arc::new(Self { now: now.into(), passed: 0.into() })
    }

    /// Time passes.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(0);
        self.passed.fetch_add(by, Ordering::SeqCst);
        self.now.fetch_add(by, Ordering::SeqCst);
    }

    /// Time passes until then.
    pub fn advance_to(&self, to: Timestamp) {
        self.advance(to.since(self.now()));
    }

    /// Somebody sets the clock, by so many milliseconds.
    pub fn set_by(&self, by: i64) {
        self.now.fetch_add(by, Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.passed.load(Ordering::SeqCst)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_once_and_passing_time_never() {
        let clock = FakeClock::at("2026-03-02T15:00:00Z");
        let mut steps = Steps::new(&(Arc::clone(&clock) as SharedClock));
        clock.advance(Duration::from_hours(30));
        assert_eq!(steps.read().1, 0);
        clock.set_by(-86_400_000);
        clock.advance(Duration::from_secs(5));
        assert_eq!(steps.read(), (clock.now(), -86_400_000));
        assert_eq!(steps.read().1, 0);
        // Steered, not set.
        clock.set_by(300);
        assert_eq!(steps.read().1, 0);
    }
}

//! What happens after an attempt: a pure function of values, so that the whole policy can be read and tested here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::status::{Category, Outcome};

/// What a tenant wants done when nobody knows whether the provider took a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnUnknown {
    /// Look up if the provider can say, then try once more.
    Retry,
    /// Stay `unknown` until a callback, a look-up or a person decides.
    Hold,
    Fail,
}

/// How the provider deals with a repeated message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Repeat {
    /// It drops repeats of the same id until then; `None`: it has no such key.
    pub key_holds_until: Option<Timestamp>,
    /// It can be asked whether it took a message.
    pub lookup: bool,
    /// How long to wait before looking up or trying again.
    pub wait: Duration,
}

/// One finished attempt and its circumstances.
#[derive(Debug, Clone, Copy)]
pub struct Attempted {
    pub outcome: Outcome,
    pub category: Category,
    /// Attempts at this step, this one included.
    pub tries: u32,
    pub step_began_at: Timestamp,
    pub now: Timestamp,
    pub retry_after: Option<Duration>,
    /// This attempt was itself the one retry after an unknown outcome.
    pub after_unknown: bool,
    /// An earlier one may have been taken for all that is known: then this one's refusal is no word about it.
    pub unresolved: bool,
    pub repeat: Repeat,
    pub on_unknown: Option<OnUnknown>,
    /// From 0 to 1: where in the jitter's range the delay falls.
    pub chance: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Next {
    Sent,
    /// Certainly not taken: queue it again.
    RetryAt(Timestamp),
    /// Nobody knows: be `unknown`, and find out or try again then.
    ResolveAt(Timestamp),
    /// Nobody knows, and nothing more is done about it.
    Hold,
    /// This channel is done with: the next of the chain, or `failed` with this reason (`None`: the provider's own).
    GiveUp(Option<&'static str>),
}

const BASE: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(3600);

/// How often and how long a step is tried.
fn limits(category: Category) -> (u32, Duration) {
    match category {
        Category::Transactional => (8, Duration::from_secs(24 * 3600)),
        Category::Marketing => (4, Duration::from_secs(6 * 3600)),
    }
}

/// Exponential with full jitter, and never at once.
pub fn backoff(tries: u32, chance: f64) -> Duration {
    let top = BASE.saturating_mul(1 << tries.saturating_sub(1).min(20)).min(LONGEST);
    top.mul_f64(chance.clamp(0.0, 1.0)).max(Duration::from_millis(500))
}

pub fn next(a: &Attempted) -> Next {
    match a.outcome {
        Outcome::Accepted => Next::Sent,
        Outcome::Rejected if a.unresolved => Next::Hold,
        Outcome::Rejected => Next::GiveUp(None),
        Outcome::NotSent | Outcome::Throttled => match again(a) {
            Some(at) if a.unresolved => Next::ResolveAt(at),
            Some(at) => Next::RetryAt(at),
            None if a.unresolved => Next::Hold,
            None => Next::GiveUp(Some("attempts_exhausted")),
        },
        Outcome::Unknown => unknown(a),
    }
}

/// When to try again, unless the step has had its share.
fn again(a: &Attempted) -> Option<Timestamp> {
    let (most, span) = limits(a.category);
    let delay = backoff(a.tries, a.chance).max(a.retry_after.unwrap_or_default());
    let at = a.now.plus(delay);
    // A provider's own wish for patience is honoured up to a day even when the step's time would be over.
    let end = a.step_began_at.plus(span).0.max(a.retry_after.map_or(0, |after| a.now.plus(after).0));
    (a.tries < most && at.0 <= end).then_some(at)
}

fn unknown(a: &Attempted) -> Next {
    if a.on_unknown == Some(OnUnknown::Fail) {
        return Next::GiveUp(Some("unknown_outcome"));
    }
    let held = a.on_unknown == Some(OnUnknown::Hold);
    if let Some(until) = a.repeat.key_holds_until.filter(|_| !held) {
        // A repeat does no harm while the provider remembers the key.
        return match again(a) {
            Some(at) if at < until => Next::ResolveAt(at),
            _ => Next::Hold,
        };
    }
    let wanted = a.on_unknown == Some(OnUnknown::Retry) || (a.category == Category::Transactional && !held);
    // A look-up costs nobody anything, so it is worth one even where no retry would follow.
    if (wanted || a.repeat.lookup) && !a.after_unknown {
        Next::ResolveAt(a.now.plus(a.repeat.wait))
    } else {
        Next::Hold
    }
}

/// After a look-up that did not find the message: may it be sent once more?
pub fn may_repeat(category: Category, on_unknown: Option<OnUnknown>, certainly_not_taken: bool) -> bool {
    match on_unknown {
        Some(OnUnknown::Retry) => true,
        Some(OnUnknown::Hold | OnUnknown::Fail) => certainly_not_taken,
        None => certainly_not_taken || category == Category::Transactional,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn attempted(outcome: Outcome) -> Attempted {
        Attempted {
            outcome,
            category: Category::Transactional,
            tries: 1,
            step_began_at: NOW,
            now: NOW,
            retry_after: None,
            after_unknown: false,
            unresolved: false,
            repeat: Repeat { key_holds_until: None, lookup: false, wait: Duration::from_secs(60) },
            on_unknown: None,
            chance: 1.0,
        }
    }

    #[test]
    fn delays_double_up_to_an_hour_and_are_never_zero() {
        let delays: Vec<u64> = (1..=12).map(|n| backoff(n, 1.0).as_secs()).collect();
        assert_eq!(delays, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
        assert_eq!(backoff(1, 0.0), Duration::from_millis(500));
    }

    #[test]
    fn a_retry_after_is_a_floor() {
        let a = Attempted { retry_after: Some(Duration::from_secs(120)), ..attempted(Outcome::Throttled) };
        assert_eq!(next(&a), Next::RetryAt(NOW.plus(Duration::from_secs(120))));
        let day = Attempted { retry_after: Some(Duration::from_secs(86_400)), category: Category::Marketing, ..a };
        assert_eq!(next(&day), Next::RetryAt(NOW.plus(Duration::from_secs(86_400))));
    }

    #[test]
    fn the_share_of_attempts_ends() {
        let last = Attempted { tries: 8, ..attempted(Outcome::NotSent) };
        assert_eq!(next(&last), Next::GiveUp(Some("attempts_exhausted")));
        let marketing = Attempted { tries: 4, category: Category::Marketing, ..last };
        assert_eq!(next(&marketing), Next::GiveUp(Some("attempts_exhausted")));
        let late = Attempted { tries: 2, now: NOW.plus(Duration::from_secs(86_400)), ..last };
        assert_eq!(next(&late), Next::GiveUp(Some("attempts_exhausted")));
    }

    #[test]
    fn an_unknown_outcome_is_looked_into_once_and_then_held() {
        let a = attempted(Outcome::Unknown);
        assert_eq!(next(&a), Next::ResolveAt(NOW.plus(Duration::from_secs(60))));
        assert_eq!(next(&Attempted { after_unknown: true, ..a }), Next::Hold);
        assert_eq!(next(&Attempted { category: Category::Marketing, ..a }), Next::Hold);
    }

    #[test]
    fn what_may_have_been_taken_goes_no_other_way() {
        let a = Attempted { after_unknown: true, unresolved: true, ..attempted(Outcome::Rejected) };
        assert_eq!(next(&a), Next::Hold);
        let later = Attempted { outcome: Outcome::Throttled, ..a };
        assert_eq!(next(&later), Next::ResolveAt(NOW.plus(Duration::from_secs(5))));
        assert_eq!(next(&Attempted { tries: 8, ..later }), Next::Hold);
        // Known not to have been taken, it is like any other.
        assert_eq!(next(&Attempted { unresolved: false, ..a }), Next::GiveUp(None));
    }

    #[test]
    fn the_tenant_may_want_it_otherwise() {
        let a = attempted(Outcome::Unknown);
        let held = Attempted { on_unknown: Some(OnUnknown::Hold), ..a };
        assert_eq!(next(&held), Next::Hold);
        // To ask is no retry.
        let asked = Attempted { repeat: Repeat { lookup: true, ..a.repeat }, ..held };
        assert_eq!(next(&asked), Next::ResolveAt(NOW.plus(Duration::from_secs(60))));
        let keyed = Attempted { repeat: Repeat { key_holds_until: Some(Timestamp(i64::MAX)), ..a.repeat }, ..held };
        assert_eq!(next(&keyed), Next::Hold);
        let fail = Attempted { on_unknown: Some(OnUnknown::Fail), ..a };
        assert_eq!(next(&fail), Next::GiveUp(Some("unknown_outcome")));
        let retry = Attempted { on_unknown: Some(OnUnknown::Retry), category: Category::Marketing, ..a };
        assert_eq!(next(&retry), Next::ResolveAt(NOW.plus(Duration::from_secs(60))));
    }

    #[test]
    fn a_provider_with_a_key_is_simply_asked_again_while_it_remembers() {
        let repeat =
            Repeat { key_holds_until: Some(NOW.plus(Duration::from_secs(7))), ..attempted(Outcome::Unknown).repeat };
        let a = Attempted { repeat, ..attempted(Outcome::Unknown) };
        assert_eq!(next(&a), Next::ResolveAt(NOW.plus(Duration::from_secs(5))));
        assert_eq!(next(&Attempted { tries: 2, ..a }), Next::Hold);
        let marketing = Attempted { category: Category::Marketing, after_unknown: true, ..a };
        assert_eq!(next(&marketing), Next::ResolveAt(NOW.plus(Duration::from_secs(5))));
    }
}

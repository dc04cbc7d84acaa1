#![allow(clippy::unwrap_used)]

use std::iter::from_fn;

use super::*;
use crate::status::{Category, Status};

const NOW: Timestamp = Timestamp(1_000_000_000);
const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(1);
/// Half-way between the shortest and the longest pause.
const MIDDLE: f64 = 0.5;

const FAILURE: Option<(Outcome, bool)> = Some((Outcome::NotSent, false));
const SUCCESS: Option<(Outcome, bool)> = Some((Outcome::Accepted, false));

fn lane(concurrency: u32, rate_per_minute: Option<u32>) -> State {
    let mut state = Lane::new("a".into(), "sms".into()).state.into_inner().unwrap();
    state.owned = Some(1);
    state.set_limits(Limits { concurrency, rate_per_minute, call_span: 30 * SECOND });
    state
}

/// To somebody else for each number.
fn delivery(n: usize) -> Delivery {
    Delivery {
        tenant: "a".into(),
        id: format!("n{n}").into(),
        request_id: "r".into(),
        branch: None,
        kind: "note".into(),
        category: Category::Transactional,
        recipient: Arc::default(),
        chain: Arc::new([]),
        step: 0,
        channel: "sms".into(),
        address: Some(format!("+52{n}").into()),
        lane: "sms".into(),
        status: Status::Queued,
        attempts: 0,
        step_attempts: 0,
        step_began_at: None,
        attempt_began_at: None,
        expires_at: None,
        send_at: None,
        created_at: NOW,
        content: None,
        lease: "l".into(),
    }
}

/// One that was tried before.
fn retried() -> Delivery {
    Delivery { attempts: 1, step_attempts: 1, ..delivery(0) }
}

fn push(state: &mut State, count: usize) {
    (0..count).for_each(|n| state.push(delivery(n)));
}

/// Everything that may start now.
fn start(state: &mut State, now: Timestamp) -> Vec<Delivery> {
    from_fn(|| state.pop(now)).collect()
}

/// A lane in which so much waits, after five failures at `NOW`: open for 8 s.
fn open_lane(concurrency: u32, waiting: usize) -> State {
    let mut state = lane(concurrency, None);
    push(&mut state, 5);
    for _ in 0..5 {
        let delivery = state.pop(NOW).unwrap();
        state.done(&delivery, FAILURE, MIDDLE, NOW);
    }
    push(&mut state, waiting);
    assert!(state.circuit_open());
    state
}

#[test]
fn the_fifth_failure_in_a_row_opens_the_circuit() {
    for outcome in [Outcome::NotSent, Outcome::Throttled, Outcome::Unknown] {
        let mut state = lane(1, None);
        push(&mut state, 9);
        for failures in 1..=5 {
            let delivery = state.pop(NOW).unwrap();
            state.done(&delivery, Some((outcome, false)), MIDDLE, NOW);
            assert_eq!(state.circuit_open(), failures == 5, "{failures} times {outcome:?}");
        }
        assert!(state.pop(NOW).is_none() && !state.may_start(NOW), "nothing goes out");
        assert_eq!(state.admit(&delivery(10), NOW, true), Admission::Store, "nor is anything fresh let in");
    }
}

#[test]
fn only_failures_in_a_row_count() {
    for (between, opens) in [
        (SUCCESS, false),
        (Some((Outcome::Rejected, false)), false), // The provider answers.
        (None, true),                              // No call, no news.
    ] {
        let mut state = lane(1, None);
        push(&mut state, 9);
        for outcome in [FAILURE, FAILURE, FAILURE, FAILURE, between, FAILURE] {
            let delivery = state.pop(NOW).unwrap();
            state.done(&delivery, outcome, MIDDLE, NOW);
        }
        assert_eq!(state.circuit_open(), opens, "{between:?}");
    }
}

#[test]
fn wrong_settings_open_it_at_once() {
    let mut state = lane(1, None);
    push(&mut state, 1);
    let delivery = state.pop(NOW).unwrap();
    state.done(&delivery, Some((Outcome::Rejected, true)), MIDDLE, NOW);
    assert!(state.circuit_open());
}

#[test]
fn one_probe_at_a_time_goes_after_pauses_that_double_up_to_a_minute() {
    let mut state = open_lane(8, 20);
    let mut at = NOW;
    for pause in [8, 16, 32, 64, 64] {
        assert!(state.pop(at.plus(pause * SECOND).minus(MOMENT)).is_none(), "before {pause} s");
        at = at.plus(pause * SECOND);
        let probe = start(&mut state, at);
        assert_eq!(probe.len(), 1, "after {pause} s");
        assert!(start(&mut state, at.plus(3600 * SECOND)).is_empty(), "while the probe is under way");
        state.done(&probe[0], FAILURE, MIDDLE, at);
    }
}

#[test]
fn pauses_differ_by_a_quarter_either_way() {
    for (chance, seconds) in [(0.0, 6), (1.0, 10)] {
        let mut state = lane(1, None);
        push(&mut state, 6);
        for _ in 0..5 {
            let delivery = state.pop(NOW).unwrap();
            state.done(&delivery, FAILURE, chance, NOW);
        }
        assert!(state.pop(NOW.plus(seconds * SECOND).minus(MOMENT)).is_none());
        assert!(state.pop(NOW.plus(seconds * SECOND)).is_some(), "{seconds} s");
    }
}

#[test]
fn no_probe_goes_while_a_call_from_before_is_under_way() {
    let mut state = lane(6, None);
    push(&mut state, 9);
    let mut calls = start(&mut state, NOW);
    let last = calls.pop().unwrap();
    for call in &calls {
        state.done(call, FAILURE, MIDDLE, NOW);
    }
    let later = NOW.plus(60 * SECOND);
    assert!(state.circuit_open() && state.pop(later).is_none());
    state.done(&last, None, MIDDLE, later);
    assert_eq!(start(&mut state, later).len(), 1);
}

#[test]
fn a_probe_that_was_not_made_leaves_its_turn_to_another() {
    let mut state = open_lane(8, 20);
    let at = NOW.plus(8 * SECOND);
    let probe = state.pop(at).unwrap();
    state.done(&probe, None, MIDDLE, at);
    assert!(state.circuit_open());
    assert_eq!(start(&mut state, at).len(), 1);
}

#[test]
fn concurrency_falls_to_two_and_doubles_with_each_success() {
    let mut state = open_lane(16, 60);
    let at = NOW.plus(8 * SECOND);
    let mut calls = start(&mut state, at);
    // The probe is the first success, so 2 become 4.
    for allowed in [4, 8, 16, 16] {
        state.done(&calls.pop().unwrap(), SUCCESS, MIDDLE, at);
        assert!(!state.circuit_open());
        calls.extend(start(&mut state, at));
        assert_eq!((calls.len(), state.in_flight()), (allowed, allowed as u32));
    }
}

#[test]
fn after_a_failure_two_calls_at_once_are_enough() {
    let mut state = lane(4, None);
    push(&mut state, 20);
    let mut calls = start(&mut state, NOW);
    assert_eq!(calls.len(), 4);
    state.done(&calls.pop().unwrap(), FAILURE, MIDDLE, NOW);
    assert!(!state.circuit_open());
    for started in [0, 1] {
        state.done(&calls.pop().unwrap(), None, MIDDLE, NOW);
        let fresh = start(&mut state, NOW);
        assert_eq!((fresh.len(), state.in_flight()), (started, 2));
    }
}

#[test]
fn a_circuit_that_closed_takes_five_failures_to_open_and_its_shortest_pause_again() {
    let mut state = open_lane(1, 20);
    let mut at = NOW.plus(8 * SECOND);
    for outcome in [FAILURE, SUCCESS] {
        let probe = state.pop(at).unwrap();
        state.done(&probe, outcome, MIDDLE, at);
        at = at.plus(16 * SECOND);
    }
    for failures in 1..=5 {
        let delivery = state.pop(at).unwrap();
        state.done(&delivery, FAILURE, MIDDLE, at);
        assert_eq!(state.circuit_open(), failures == 5);
    }
    assert!(state.pop(at.plus(8 * SECOND).minus(MOMENT)).is_none());
    assert!(state.pop(at.plus(8 * SECOND)).is_some());
}

#[test]
fn patience_that_was_asked_for_is_kept() {
    let mut state = lane(4, None);
    push(&mut state, 4);
    state.pause_until(NOW.plus(30 * SECOND));
    state.pause_until(NOW.plus(20 * SECOND));
    assert!(state.pop(NOW.plus(30 * SECOND).minus(MOMENT)).is_none(), "the longer one counts");
    assert_eq!(start(&mut state, NOW.plus(30 * SECOND)).len(), 1, "and one call finds out whether it was enough");
}

#[test]
fn ten_retries_may_go_and_then_ten_a_minute() {
    let mut state = lane(4, None);
    let mut granted = |at: Timestamp| (0..1000).filter(|_| state.may_retry(&retried(), at)).count();
    assert_eq!(granted(NOW), 10);
    assert_eq!(granted(NOW.plus(5900 * MOMENT)), 0);
    assert_eq!(granted(NOW.plus(6100 * MOMENT)), 1);
    assert_eq!(granted(NOW.plus(66_200 * MOMENT)), 10);
    assert_eq!(granted(NOW.plus(24 * 3600 * SECOND)), 60, "a quiet day is not saved up");
}

#[test]
fn every_fifth_first_attempt_allows_a_retry() {
    let mut state = lane(4, None);
    while state.may_retry(&retried(), NOW) {}
    for first in 1..=20 {
        assert!(state.may_retry(&delivery(0), NOW), "a first attempt always may");
        assert_eq!(state.may_retry(&retried(), NOW), first % 5 == 0, "after {first}");
    }
    // Those that are called as soon as they are accepted count like the others.
    for first in 1..=10 {
        assert_eq!(state.admit(&delivery(0), NOW, true), Admission::Send);
        state.done(&delivery(0), SUCCESS, MIDDLE, NOW);
        assert_eq!(state.may_retry(&retried(), NOW), first % 5 == 0, "after {first}");
    }
}

#[test]
fn retries_stay_below_a_fifth_of_first_attempts_and_ten_a_minute() {
    let mut state = lane(4, None);
    let (mut firsts, mut retries) = (0_u32, 0_u32);
    for second in 0..600 {
        let at = NOW.plus(second * SECOND);
        for _ in 0..3 {
            firsts += u32::from(state.may_retry(&delivery(0), at));
            retries += (0..9).map(|_| u32::from(state.may_retry(&retried(), at))).sum::<u32>();
        }
    }
    let most = firsts / 5 + 10 * 10 + 10;
    assert!(firsts == 1800 && retries <= most && retries + 3 >= most, "{retries} retries, {most} at most");
}

#[test]
fn calls_keep_to_the_rate() {
    let mut state = lane(100, Some(120));
    push(&mut state, 20);
    assert_eq!(start(&mut state, NOW).len(), 2);
    assert_eq!(start(&mut state, NOW.plus(499 * MOMENT)).len(), 0);
    assert_eq!(start(&mut state, NOW.plus(500 * MOMENT)).len(), 1);
    assert!(!state.may_start(NOW.plus(500 * MOMENT)) && state.may_start(NOW.plus(SECOND)));
    assert_eq!(start(&mut state, NOW.plus(60 * SECOND)).len(), 2, "a quiet minute is not saved up");
    // Slower than one a second, the first need not wait.
    let mut slow = lane(100, Some(6));
    assert_eq!(slow.admit(&delivery(0), NOW, true), Admission::Send);
    assert_eq!(slow.admit(&delivery(1), NOW, true), Admission::Queue);
    slow.push_admitted(delivery(1));
    assert!(slow.pop(NOW.plus(9 * SECOND)).is_none());
    assert!(slow.pop(NOW.plus(10_001 * MOMENT)).is_some());
}

#[test]
fn a_clock_that_was_set_back_neither_gives_nor_takes() {
    let mut state = lane(100, Some(60));
    push(&mut state, 9);
    assert_eq!(start(&mut state, NOW).len(), 1);
    let before = NOW.minus(3600 * SECOND);
    assert_eq!(start(&mut state, before).len(), 0);
    assert_eq!(start(&mut state, before.plus(SECOND)).len(), 1);
}

#[test]
fn as_many_calls_as_are_allowed_and_one_to_a_person() {
    let mut state = lane(3, None);
    state.push(delivery(0));
    push(&mut state, 9);
    let calls = start(&mut state, NOW);
    let ids: Vec<_> = calls.iter().map(|d| d.id.as_str()).collect();
    assert_eq!(ids, ["n0", "n1", "n2"], "the second to the same person waits, and holds up nobody");
    state.done(&calls[0], SUCCESS, MIDDLE, NOW);
    assert_eq!(state.pop(NOW).unwrap().id.as_str(), "n0");
}

#[test]
fn what_was_asked_for_goes_before_marketing() {
    let mut state = lane(1, None);
    state.push(Delivery { category: Category::Marketing, ..delivery(0) });
    state.push(delivery(1));
    assert_eq!(state.pop(NOW).unwrap().id.as_str(), "n1");
}

#[test]
fn what_is_fresh_is_called_queued_or_left_in_the_store() {
    let mut state = lane(2, None);
    assert_eq!(state.admit(&delivery(0), NOW, true), Admission::Send);
    assert_eq!(state.admit(&delivery(1), NOW, true), Admission::Send);
    for n in 0..QUEUE {
        assert_eq!(state.admit(&delivery(n), NOW, true), Admission::Queue, "{n}");
        state.push_admitted(delivery(n));
    }
    assert_eq!(state.admit(&delivery(999), NOW, true), Admission::Store, "the queue is full");
    assert!(state.backlog);
    let mut forgetful = lane(2, None);
    assert_eq!(forgetful.admit(&delivery(0), NOW, false), Admission::Store, "no memory is left");
    assert_eq!(forgetful.admit(&delivery(1), NOW, true), Admission::Store, "nobody overtakes what waits there");
    let mut other = lane(2, None);
    other.owned = None;
    assert_eq!(other.admit(&delivery(0), NOW, true), Admission::Store, "another node works it");
}

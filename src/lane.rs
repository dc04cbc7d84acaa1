//! One lane in memory: what waits, what is under way, and whether the next call may start. No I/O, no clock of its
//! own; `deliver` drives it.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::TenantId;
use crate::status::Outcome;
use crate::store::notifications::Delivery;

/// A (tenant, channel account) with its own concurrency, rate and circuit.
pub struct Lane {
    pub tenant: TenantId,
    /// `channel`, or `channel/branch` where the branch has settings of its own; with `#account` for all but the first
    /// of several accounts.
    pub name: Arc<str>,
    state: Mutex<State>,
}

/// The account's limits, after plugin, operator and tenant had their say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    pub concurrency: u32,
    pub rate_per_minute: Option<u32>,
    /// How long one call may last.
    pub call_span: Duration,
}

#[derive(Default)]
pub struct State {
    /// This node works the lane; the version of the lane's row it knows.
    pub owned: Option<i64>,
    /// Rows wait in the store beyond what is queued here.
    pub backlog: bool,
    pub loading: bool,
    /// The earliest moment known at which a row in the store falls due.
    pub next_due: Option<Timestamp>,
    pub active_at: Option<Timestamp>,
    /// The operator switched the channel off: nothing starts.
    pub off: bool,
    /// When to look for what can be led around this lane, while it is stranded.
    pub look_around_at: Option<Timestamp>,
    /// Since when the circuit has been open without a success between.
    open_since: Option<Timestamp>,
    queue: [VecDeque<Delivery>; 2],
    reserved: usize,
    in_flight: u32,
    limits: Option<Limits>,
    /// Concurrency now: restarts small after failures and doubles on success.
    allowed: u32,
    busy: HashSet<Arc<str>>,
    rate: Option<Bucket>,
    retries: Bucket,
    failures: u32,
    closed_until: Option<Timestamp>,
    probes: u32,
    probing: bool,
}

/// Where a fresh delivery goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// A slot is reserved: call as soon as the row is durable.
    Send,
    /// A place in memory is reserved.
    Queue,
    /// It waits in the store.
    Store,
}

/// Most deliveries of one lane held in memory.
const QUEUE: usize = 256;
/// Consecutive failures after which the circuit opens.
const FAILURES: u32 = 5;

impl Lane {
    pub fn new(tenant: TenantId, name: Arc<str>) -> Self {
        Self { tenant, name, state: Mutex::new(State { retries: Bucket::retries(), ..State::default() }) }
    }

    pub fn channel(&self) -> &str {
        let whole = self.without_account();
        whole.split_once('/').map_or(whole, |(channel, _)| channel)
    }

    pub fn branch(&self) -> Option<&str> {
        self.without_account().split_once('/').map(|(_, branch)| branch)
    }

    fn without_account(&self) -> &str {
        self.name.split_once('#').map_or(&*self.name, |(lane, _)| lane)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub fn set_limits(&mut self, limits: Limits) {
        if self.limits == Some(limits) {
            return;
        }
        self.limits = Some(limits);
        self.allowed = limits.concurrency.max(1);
        self.rate = limits.rate_per_minute.map(Bucket::per_minute);
    }

    /// How long an attempt that begins now must be left alone.
    pub fn call_span(&self) -> Duration {
        self.limits.map_or(Duration::ZERO, |l| l.call_span)
    }

    /// Decides where a fresh delivery goes and reserves its place.
    pub fn admit(&mut self, delivery: &Delivery, now: Timestamp, memory_left: bool) -> Admission {
        self.active_at = Some(now);
        let open = !self.off && self.closed_until.is_none() && !self.backlog && self.owned.is_some();
        if !open || !memory_left {
            self.backlog = true;
            return Admission::Store;
        }
        let idle = self.queued() == 0 && self.reserved == 0;
        if idle && self.slot_free() && self.free_address(delivery) && self.take_rate(now) {
            self.occupy(delivery);
            self.retries.earn(0.2);
            return Admission::Send;
        }
        if self.queued() + self.reserved < QUEUE {
            self.reserved += 1;
            return Admission::Queue;
        }
        self.backlog = true;
        Admission::Store
    }

    /// The commit that was to follow an admission failed.
    pub fn unadmit(&mut self, delivery: &Delivery, admission: Admission) {
        match admission {
            Admission::Send => self.vacate(delivery),
            Admission::Queue => self.reserved = self.reserved.saturating_sub(1),
            Admission::Store => {}
        }
    }

    pub fn push_admitted(&mut self, delivery: Delivery) {
        self.reserved = self.reserved.saturating_sub(1);
        self.push(delivery);
    }

    pub fn push(&mut self, delivery: Delivery) {
        self.queue[delivery.category.priority() as usize].push_back(delivery);
    }

    /// The next delivery that may start now; its slot is taken.
    pub fn pop(&mut self, now: Timestamp) -> Option<Delivery> {
        if self.off || !self.slot_free() || !self.circuit_lets_through(now) {
            return None;
        }
        for priority in 0..self.queue.len() {
            let Some(at) = self.queue[priority].iter().position(|d| self.free_address(d)) else { continue };
            if !self.take_rate(now) {
                return None;
            }
            let delivery = self.queue[priority].remove(at)?;
            self.active_at = Some(now);
            self.occupy(&delivery);
            if self.closed_until.is_some() {
                self.probing = true;
            }
            return Some(delivery);
        }
        None
    }

    /// Retries must stay below a fifth of first attempts plus ten a minute.
    pub fn may_retry(&mut self, delivery: &Delivery, now: Timestamp) -> bool {
        if delivery.step_attempts == 0 {
            self.retries.earn(0.2);
            return true;
        }
        self.retries.take(now)
    }

    /// A call ended (or was never made: `None`).
    pub fn done(&mut self, delivery: &Delivery, outcome: Option<(Outcome, bool)>, chance: f64, now: Timestamp) {
        self.vacate(delivery);
        self.active_at = Some(now);
        let Some((outcome, misconfigured)) = outcome else {
            self.probing = false;
            return;
        };
        let failed = misconfigured || matches!(outcome, Outcome::NotSent | Outcome::Throttled | Outcome::Unknown);
        if !failed {
            self.failures = 0;
            self.closed_until = None;
            self.open_since = None;
            self.probes = 0;
            self.probing = false;
            let most = self.limits.map_or(1, |l| l.concurrency.max(1));
            self.allowed = (self.allowed.max(1) * 2).min(most);
            return;
        }
        self.failures += 1;
        self.allowed = self.allowed.min(2);
        if self.failures >= FAILURES || misconfigured || self.probing {
            self.probing = false;
            self.probes = (self.probes + 1).min(5);
            let pause = Duration::from_secs(4 << self.probes.min(4)).mul_f64(0.75 + chance / 2.0);
            self.closed_until = Some(now.plus(pause));
            self.open_since.get_or_insert(now);
        }
    }

    /// Nothing goes out here and nobody should wait for it any longer, if there is another way: the channel is switched
    /// off, or its circuit has been open for longer than `patience`.
    pub fn stranded(&self, now: Timestamp, patience: Duration) -> Option<&'static str> {
        if self.off {
            return Some("disabled_by_operator");
        }
        // When a probe may go, one of those that wait is it.
        let open = self.open_since.filter(|since| now.since(*since) >= patience && !self.circuit_lets_through(now));
        open.map(|_| "circuit_open")
    }

    /// The next delivery that may be led around a stranded lane; a slot is taken for it.
    pub fn pop_stranded(&mut self, now: Timestamp) -> Option<Delivery> {
        let (priority, at) = (0..self.queue.len()).find_map(|priority| {
            let at = self.queue[priority].iter().position(|d| self.free_address(d))?;
            Some((priority, at))
        })?;
        let delivery = self.queue[priority].remove(at)?;
        self.active_at = Some(now);
        self.occupy(&delivery);
        Some(delivery)
    }

    /// The clock was set by so many milliseconds: what was to happen in a while still happens after that while.
    pub fn clock_was_set(&mut self, by: i64) {
        let own = [&mut self.active_at, &mut self.look_around_at, &mut self.open_since, &mut self.closed_until];
        let buckets = [self.rate.as_mut(), Some(&mut self.retries)].into_iter().flatten().map(|b| &mut b.filled_at);
        for at in own.into_iter().chain(buckets).flatten() {
            *at = at.moved(by);
        }
        self.queue.iter_mut().flatten().for_each(|delivery| delivery.clock_was_set(by));
        // When the next row in the store falls due is no longer known.
        self.backlog |= self.owned.is_some();
    }

    /// The provider asked for patience: nothing starts before then.
    pub fn pause_until(&mut self, until: Timestamp) {
        self.closed_until = Some(self.closed_until.map_or(until, |t| t.max(until)));
    }

    pub fn circuit_open(&self) -> bool {
        self.closed_until.is_some()
    }

    fn circuit_lets_through(&self, now: Timestamp) -> bool {
        match self.closed_until {
            None => true,
            Some(until) => now >= until && !self.probing && self.in_flight == 0,
        }
    }

    /// `stranded`: what waits here may have to be led around, which is looked into now and then.
    pub fn wants_load(&self, now: Timestamp, stranded: bool) -> bool {
        if self.owned.is_none() || self.loading || self.queued() >= QUEUE / 4 {
            return false;
        }
        if stranded {
            return self.look_around_at.is_none_or(|at| at <= now);
        }
        !self.off && self.circuit_lets_through(now) && (self.backlog || self.next_due.is_some_and(|due| due <= now))
    }

    /// Something that waits here could start now.
    pub fn may_start(&mut self, now: Timestamp) -> bool {
        !self.off
            && self.slot_free()
            && self.circuit_lets_through(now)
            && self.queue.iter().flatten().any(|d| self.free_address(d))
            && self.rate.as_mut().is_none_or(|bucket| bucket.has_one(now))
    }

    pub fn queued(&self) -> usize {
        self.queue[0].len() + self.queue[1].len()
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Nothing here, nothing known to be due.
    pub fn is_idle(&self) -> bool {
        self.queued() == 0 && self.in_flight == 0 && self.reserved == 0 && !self.loading && !self.backlog
    }

    /// Takes everything that waits, to be given back to the store.
    pub fn drain(&mut self) -> Vec<Delivery> {
        let [first, second] = &mut self.queue;
        first.drain(..).chain(second.drain(..)).collect()
    }

    pub fn room(&self) -> usize {
        (QUEUE / 2).saturating_sub(self.queued())
    }

    fn slot_free(&self) -> bool {
        self.in_flight < self.allowed.max(1)
    }

    fn free_address(&self, delivery: &Delivery) -> bool {
        delivery.address.as_ref().is_none_or(|a| !self.busy.contains(a))
    }

    fn occupy(&mut self, delivery: &Delivery) {
        self.in_flight += 1;
        if let Some(address) = &delivery.address {
            self.busy.insert(Arc::clone(address));
        }
    }

    fn vacate(&mut self, delivery: &Delivery) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(address) = &delivery.address {
            self.busy.remove(address);
        }
    }

    fn take_rate(&mut self, now: Timestamp) -> bool {
        self.rate.as_mut().is_none_or(|bucket| bucket.take(now))
    }
}

/// A token bucket on the injected clock.
#[derive(Debug, Default)]
struct Bucket {
    tokens: f64,
    most: f64,
    per_ms: f64,
    filled_at: Option<Timestamp>,
}

impl Bucket {
    fn per_minute(rate: u32) -> Self {
        let most = (f64::from(rate) / 60.0).max(1.0);
        Self { tokens: most, most, per_ms: f64::from(rate) / 60_000.0, filled_at: None }
    }

    fn retries() -> Self {
        Self { tokens: 10.0, most: 60.0, ..Self::per_minute(10) }
    }

    fn take(&mut self, now: Timestamp) -> bool {
        let there = self.has_one(now);
        if there {
            self.tokens -= 1.0;
        }
        there
    }

    fn has_one(&mut self, now: Timestamp) -> bool {
        let before = *self.filled_at.get_or_insert(now);
        if now > before {
            self.tokens = (self.tokens + now.since(before).as_millis() as f64 * self.per_ms).min(self.most);
            self.filled_at = Some(now);
        } else if now < before {
            self.filled_at = Some(now); // The clock was set back: start counting from here.
        }
        self.tokens >= 1.0
    }

    fn earn(&mut self, tokens: f64) {
        self.tokens = (self.tokens + tokens).min(self.most);
    }
}

#[cfg(test)]
mod tests;

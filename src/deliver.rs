//! Delivery: lanes are filled, calls are made, outcomes are recorded and decided upon.

mod compose;
mod fallback;
mod work;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::app::SharedConfig;
use crate::clock::{SharedClock, Timestamp};
use crate::ids::{NotificationId, TenantId};
use crate::lane::{Admission, Lane};
use crate::status::Status;
use crate::store::Db;
use crate::store::callbacks::ripe_reports_any_tenant;
use crate::store::notifications::Delivery;
use crate::store::unread;
use crate::tenant::{Tenant, Tenants};
use crate::writer::{Events, Finished, LoadOp, Op, ReportOp, Writer};

pub use compose::{ComposeError, OUTSIDE_WINDOW, compose, form, render, sms_cost, with_name};
pub use fallback::Around;

type LaneMap = HashMap<TenantId, HashMap<Arc<str>, Arc<Lane>>>;

/// Most deliveries of a stranded lane that look for another way at the same time.
const AROUND: u32 = 8;
/// How often a stranded lane is looked through for what has another way.
const LOOK_AROUND: Duration = Duration::from_secs(5);
/// Beats of the production loop.
const HOUR: u32 = 36_000;
/// How long a report may wait for its message to be known.
pub const KEPT_FOR: Duration = Duration::from_secs(3600);
/// Most reports that are tried again at once.
const MATCHED_AT_ONCE: usize = 256;

/// What is to be done with a delivery whose lane slot is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Its attempt is open and durable already: call.
    Opened,
    /// Open an attempt and call.
    Call,
    /// No call: nothing goes out here, for this reason. Look for another way.
    Around(&'static str),
}

/// Everything that sends. One per process.
pub struct Engine {
    pub writer: Writer,
    clock: SharedClock,
    config: SharedConfig,
    db: Db,
    tenants: Arc<Tenants>,
    lanes: Mutex<LaneMap>,
    /// Deliveries held in memory, in all lanes.
    held: AtomicUsize,
    /// Tasks under way: calls and loads.
    active: AtomicUsize,
    became_idle: Notify,
    waiters: Mutex<HashMap<NotificationId, Vec<oneshot::Sender<()>>>>,
    stopping: AtomicBool,
}

impl Engine {
    pub fn new(writer: Writer, clock: SharedClock, config: SharedConfig, db: Db, tenants: Arc<Tenants>) -> Arc<Self> {
        Arc::new(Self {
            writer,
            clock,
            config,
            db,
            tenants,
            lanes: Mutex::default(),
            held: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
            became_idle: Notify::new(),
            waiters: Mutex::default(),
            stopping: AtomicBool::new(false),
        })
    }

    /// The lane of this name; made when it is first asked for.
    pub fn lane(&self, tenant: &TenantId, name: &Arc<str>) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(tenant).and_then(|of| of.get(name)) {
            return Arc::clone(lane);
        }
        let lane = Arc::new(Lane::new(tenant.clone(), Arc::clone(name)));
        lanes.entry(tenant.clone()).or_default().insert(Arc::clone(name), Arc::clone(&lane));
        lane
    }

    /// A settled lane needs no place in memory.
    pub fn forget(&self, lane: &Arc<Lane>) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lane.state().owned = None;
        if let Some(of) = lanes.get_mut(&lane.tenant) {
            // Somebody may hold the lane at this moment to admit to it; then it stays, unowned.
            if Arc::strong_count(lane) <= 2 {
                of.remove(&lane.name);
            }
            if of.is_empty() {
                lanes.remove(&lane.tenant);
            }
        }
    }

    fn all_lanes(&self) -> Vec<Arc<Lane>> {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.values().flat_map(HashMap::values).cloned().collect()
    }

    /// How many deliveries more may be held.
    pub fn memory_left(&self) -> usize {
        if self.stopping.load(Ordering::Relaxed) {
            return 0;
        }
        self.config.load().delivery.max_in_memory.saturating_sub(self.held.load(Ordering::Relaxed))
    }

    /// A fresh delivery is durable: it goes where its admission says.
    pub fn admitted(self: &Arc<Self>, delivery: Delivery, admission: Admission, now: Timestamp) {
        let lane = self.lane(&delivery.tenant, &delivery.lane);
        match admission {
            Admission::Send => {
                self.held.fetch_add(1, Ordering::Relaxed);
                let delivery = Delivery {
                    status: Status::Sending,
                    attempts: 1,
                    step_attempts: 1,
                    step_began_at: Some(now),
                    attempt_began_at: Some(now),
                    ..delivery
                };
                self.spawn(lane, delivery, How::Opened);
            }
            Admission::Queue => {
                self.held.fetch_add(1, Ordering::Relaxed);
                lane.state().push_admitted(delivery);
                self.pump(&lane);
            }
            Admission::Store => {
                {
                    let mut state = lane.state();
                    match delivery.send_at.filter(|at| *at > now) {
                        Some(at) => state.next_due = Some(state.next_due.map_or(at, |due| due.min(at))),
                        None => state.backlog = true,
                    }
                }
                self.pump(&lane);
            }
        }
    }

    /// An outcome is durable.
    pub fn finished(self: &Arc<Self>, finished: &Finished) {
        let tenant = &finished.delivery.tenant;
        if let Some(next) = &finished.next {
            let lane = self.lane(tenant, &next.lane);
            lane.state().backlog = true;
            self.pump(&lane);
        } else if let Some(due) = finished.due_at {
            let lane = self.lane(tenant, &finished.delivery.lane);
            let mut state = lane.state();
            state.next_due = Some(state.next_due.map_or(due, |known| known.min(due)));
        }
        if finished.status.is_terminal() {
            self.tell_waiters(&finished.delivery.id);
        }
    }

    /// Leases were given back: their rows fall due again.
    pub fn released(&self, deliveries: &[(Delivery, Timestamp)]) {
        for (delivery, due) in deliveries {
            let lane = self.lane(&delivery.tenant, &delivery.lane);
            let mut state = lane.state();
            state.next_due = Some(state.next_due.map_or(*due, |known| known.min(*due)));
        }
    }

    /// The clock was set by so many milliseconds.
    pub fn clock_was_set(&self, by: i64) {
        for lane in self.all_lanes() {
            lane.state().clock_was_set(by);
        }
    }

    /// Work was added to a lane by other means.
    pub fn wake(self: &Arc<Self>, tenant: &TenantId, lane: &Arc<str>) {
        let lane = self.lane(tenant, lane);
        lane.state().backlog = true;
        self.pump(&lane);
    }

    pub async fn tenant(&self, id: &TenantId) -> crate::error::Result<Arc<Tenant>> {
        self.tenants.get(id).await
    }

    /// Something was written that changes how this tenant's messages are sent.
    pub fn tenant_changed(&self, id: &TenantId) {
        self.tenants.refresh(id);
    }

    /// Resolves when the notification is sent or ends.
    pub fn wait_for(&self, id: &NotificationId) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        waiters.entry(id.clone()).or_default().push(tell);
        told
    }

    pub fn stop_waiting(&self, id: &NotificationId) {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    pub fn tell_waiters(&self, id: &NotificationId) {
        let waiting = self.waiters.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        for tell in waiting.into_iter().flatten() {
            let _ = tell.send(());
        }
    }

    /// Starts whatever may start in a lane, and fetches more when little is left.
    pub fn pump(self: &Arc<Self>, lane: &Arc<Lane>) {
        if self.stopping.load(Ordering::Relaxed) || !self.db.has_room_for_calls() {
            return;
        }
        let now = self.clock.now();
        let (room, stranded) = {
            let mut state = lane.state();
            while let Some(delivery) = state.pop(now) {
                self.spawn(Arc::clone(lane), delivery, How::Call);
            }
            let stranded = state.stranded(now, self.patience());
            // A few at a time: looking for another way asks the store, too.
            while let Some(reason) = stranded.filter(|_| state.in_flight() < AROUND) {
                let Some(delivery) = state.pop_stranded(now) else { break };
                self.spawn(Arc::clone(lane), delivery, How::Around(reason));
            }
            let stranded = stranded.is_some();
            let left = self.memory_left();
            if !state.wants_load(now, stranded) || (left == 0 && state.queued() > 0) {
                return;
            }
            state.loading = true;
            // Every lane gets on, if only by one at a time while memory is full.
            let most = state.room().min(left).max(1);
            (if state.circuit_open() && !stranded { 1 } else { most }, stranded)
        };
        self.begin();
        let (engine, lane) = (Arc::clone(self), Arc::clone(lane));
        tokio::spawn(async move {
            engine.load(&lane, room, stranded).await;
            engine.pump(&lane);
            engine.end();
        });
    }

    /// Fetches waiting rows; of a stranded lane only those that may have another way.
    async fn load(self: &Arc<Self>, lane: &Arc<Lane>, limit: usize, stranded: bool) {
        let siblings = match self.prepare(lane).await {
            Ok(siblings) => siblings,
            Err(e) => {
                tracing::warn!(tenant.id = %lane.tenant, lane = %lane.name, error = %e, "lane not prepared");
                false
            }
        };
        let (reply, loaded) = oneshot::channel();
        let only_chains = stranded && !siblings;
        self.writer.send(Op::Load(LoadOp { lane: Arc::clone(lane), reply, limit, only_chains })).await;
        let loaded = loaded.await;
        let mut state = lane.state();
        state.loading = false;
        let Ok(Ok(loaded)) = loaded else {
            // The store is away; the next tick tries again.
            state.next_due = Some(self.clock.now().plus(Duration::from_secs(1)));
            return;
        };
        if stranded {
            // The rest waits for the lane itself.
            state.backlog = true;
            state.look_around_at = loaded.exhausted.then(|| self.clock.now().plus(LOOK_AROUND));
        } else {
            state.backlog = !loaded.exhausted;
            if loaded.exhausted {
                state.next_due = loaded.next_due;
            }
        }
        for delivery in loaded.deliveries {
            match delivery {
                Ok(delivery) => {
                    self.held.fetch_add(1, Ordering::Relaxed);
                    state.push(delivery);
                }
                // The lease keeps it out of the way; the reason is in the log until somebody mends the row.
                Err(e) => {
                    tracing::error!(tenant.id = %lane.tenant, lane = %lane.name, error = %e, "a row is set aside");
                }
            }
        }
    }

    /// Brings a lane's limits and switch up to date; true when its channel has another account to turn to.
    async fn prepare(&self, lane: &Lane) -> crate::error::Result<bool> {
        let tenant = self.tenants.get(&lane.tenant).await?;
        let limits = tenant.limits(lane, &self.config.load());
        let mut state = lane.state();
        state.set_limits(limits);
        state.off = !self.config.load().channel(lane.channel()).enabled;
        Ok(tenant.account_after(lane.channel(), lane.branch(), &lane.name).is_some())
    }

    /// Applies the limits before the first delivery of a lane is admitted, so that it starts with the right ones.
    pub fn prepare_with(&self, tenant: &Tenant, name: &Arc<str>) {
        let lane = self.lane(&tenant.id, name);
        let config = self.config.load();
        let limits = tenant.limits(&lane, &config);
        lane.state().set_limits(limits);
    }

    fn spawn(self: &Arc<Self>, lane: Arc<Lane>, delivery: Delivery, how: How) {
        self.begin();
        let engine = Arc::clone(self);
        tokio::spawn(async move {
            work::run(&engine, &lane, delivery, how).await;
            engine.held.fetch_sub(1, Ordering::Relaxed);
            engine.pump(&lane);
            engine.end();
        });
    }

    fn patience(&self) -> Duration {
        self.config.load().delivery.fallback_after
    }

    fn begin(&self) {
        self.active.fetch_add(1, Ordering::SeqCst);
    }

    fn end(&self) {
        if self.active.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.became_idle.notify_waiters();
        }
    }

    /// Looks for lanes with due work in the store, and moves everything that may move. True when there was any.
    pub async fn tick(self: &Arc<Self>) -> bool {
        let (reply, taken) = oneshot::channel();
        self.writer.send(Op::Acquire(reply)).await;
        let found = taken.await.unwrap_or_default() > 0;
        // Now the writer would have noticed it if the clock had been set, and nothing seems older than it is.
        self.match_reports().await;
        self.stir() || found
    }

    /// Reports that came before their message was known are tried again.
    async fn match_reports(&self) {
        let expired = self.clock.now().minus(KEPT_FOR);
        let ripe = ripe_reports_any_tenant(&self.db.pool, expired, MATCHED_AT_ONCE).await;
        match ripe {
            Ok(ripe) if ripe.is_empty() => {}
            Ok(ripe) => {
                let (reply, done) = oneshot::channel();
                self.writer
                    .send(Op::Report(ReportOp {
                        events: Events { reports: ripe, ..Events::default() },
                        kept: true,
                        reply,
                    }))
                    .await;
                let _ = done.await;
            }
            Err(e) => tracing::warn!(error = %e, "reports of providers can't be read"),
        }
    }

    /// Lets go of what was kept for people to read and nobody will read any more.
    pub async fn tidy(&self) {
        if let Err(e) = unread::expire_any_tenant(&self.db.pool, self.clock.now()).await {
            tracing::warn!(error = %e, "callbacks that were set aside are kept for longer");
        }
    }

    /// Moves everything in memory that may move; asks the store nothing. True when there was any.
    pub fn stir(self: &Arc<Self>) -> bool {
        let now = self.clock.now();
        let mut moved = false;
        for lane in self.all_lanes() {
            let wants = {
                let mut state = lane.state();
                state.off = !self.config.load().channel(lane.channel()).enabled;
                let stranded = state.stranded(now, self.patience()).is_some();
                state.may_start(now) || state.wants_load(now, stranded) || (stranded && state.queued() > 0)
            };
            if wants {
                moved = true;
                self.pump(&lane);
            }
        }
        moved
    }

    /// Lets lanes sleep that have had nothing to do for a while.
    async fn settle_idle(&self, idle_for: Duration) {
        let now = self.clock.now();
        for lane in self.all_lanes() {
            let settles = {
                let state = lane.state();
                state.owned.is_some() && state.is_idle() && state.active_at.is_none_or(|at| now.since(at) >= idle_for)
            };
            if settles {
                self.writer.send(Op::Settle(lane)).await;
            }
        }
    }

    /// Works until nothing is due any more at the present moment: what tests call instead of sleeping.
    pub async fn run_until_idle(self: &Arc<Self>) {
        loop {
            let found = self.tick().await;
            loop {
                let idle = self.became_idle.notified();
                if self.active.load(Ordering::SeqCst) == 0 {
                    break;
                }
                idle.await;
            }
            self.writer.flush().await;
            if !found && self.active.load(Ordering::SeqCst) == 0 && !self.stuck_or_moving() {
                return;
            }
        }
    }

    /// Something in memory could start right now.
    fn stuck_or_moving(self: &Arc<Self>) -> bool {
        let now = self.clock.now();
        self.all_lanes().iter().any(|lane| {
            let state = lane.state();
            let stranded = state.stranded(now, self.patience()).is_some();
            state.wants_load(now, stranded)
        })
    }

    /// The production loop: a quick look at memory ten times a second, at the store twice a second.
    pub async fn run(self: Arc<Self>) {
        let mut beat = tokio::time::interval(Duration::from_millis(100));
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut round, mut look) = (0_u32, 0);
        loop {
            beat.tick().await;
            if self.stopping.load(Ordering::Relaxed) {
                return;
            }
            round = round.wrapping_add(1);
            if round % HOUR == 1 {
                let engine = Arc::clone(&self);
                tokio::spawn(async move { engine.tidy().await });
            }
            if round.is_multiple_of(50) {
                self.writer.send(Op::Renew).await;
                self.settle_idle(Duration::from_secs(10)).await;
            }
            if round >= look {
                // Nodes started together would otherwise stay in step, and the same one always come first.
                look = round + rand::random_range(3..=7);
                self.tick().await;
            } else {
                self.stir();
            }
        }
    }

    /// Stops claiming, gives back what was not begun, and waits for calls under way.
    pub async fn stop(self: &Arc<Self>, grace: Duration) {
        self.stopping.store(true, Ordering::SeqCst);
        let now = self.clock.now();
        for lane in self.all_lanes() {
            let waiting = lane.state().drain();
            self.held.fetch_sub(waiting.len(), Ordering::Relaxed);
            let release: Vec<_> =
                waiting.into_iter().filter(|d| d.status != Status::Sending).map(|d| (d, now)).collect();
            if !release.is_empty() {
                self.writer.send(Op::Release(release)).await;
            }
        }
        let finished = async {
            loop {
                let idle = self.became_idle.notified();
                if self.active.load(Ordering::SeqCst) == 0 {
                    return;
                }
                idle.await;
            }
        };
        if tokio::time::timeout(grace, finished).await.is_err() {
            tracing::warn!(calls = self.active.load(Ordering::SeqCst), "calls cut by the end of the grace period");
        }
        self.writer.flush().await;
    }

    /// For `/metrics`: deliveries in memory, calls under way, open circuits.
    pub fn figures(&self) -> (usize, u64, usize) {
        self.all_lanes().iter().fold((0, 0, 0), |(queued, calls, open), lane| {
            let state = lane.state();
            (queued + state.queued(), calls + u64::from(state.in_flight()), open + usize::from(state.circuit_open()))
        })
    }
}

//! Elastic pools: what the scaler is shown, and what its decisions change.

use std::time::{Duration, Instant};

use super::entry::Entry;
use super::task::Supervisor;
use crate::broker::Overview;
use crate::config::Count;
use crate::model::FunctionName;
use crate::pool::{Gate, GateRequest, PoolCommand, PoolView, SlotRole, SlotState};
use crate::scaler::{HostGate, HostRoom, Samples, ScalerSettings, decide};

/// Events within this time are answered by one look.
const COALESCE: Duration = Duration::from_millis(20);

/// When pools are looked at, and what the host said last.
#[derive(Debug, Default)]
pub(super) struct Scaling {
    gate: HostGate,
    last: Option<Instant>,
    due: Option<Instant>,
}

impl Scaling {
    /// Something happened: look soon.
    pub(super) fn ask(&mut self, now: Instant) {
        self.due.get_or_insert(now + COALESCE);
    }

    pub(super) fn last(&self) -> Option<Instant> {
        self.last
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }
}

impl Supervisor {
    pub(super) async fn scale(&mut self, now: Instant) {
        self.scaling.due = None;
        self.scaling.last = Some(now);
        let none_elastic = !self.pools.values().any(Entry::is_elastic);
        let Some(broker) = self.rooms.broker.clone().filter(|_| !none_elastic) else { return };
        let Ok(overview) = broker.overview().await else { return };
        let limit = self.scaling.gate.judge(&self.host.sample());
        let mut spare = self.spare_workers();
        for entry in self.pools.values_mut().filter(|entry| entry.is_elastic()) {
            let before = entry.target;
            scale_one(entry, now, &overview, HostRoom { spare, limit }).await;
            let more = entry.target.saturating_sub(before);
            spare = spare.map(|spare| spare.saturating_sub(more));
        }
    }

    /// How many workers `[host] max_workers` leaves.
    fn spare_workers(&self) -> Option<u32> {
        let targets = self.pools.values().map(|entry| entry.target).sum();
        self.settings.host.workers_max.map(|max| max.saturating_sub(targets))
    }

    pub(super) async fn end_holds(&mut self, now: Instant) {
        for entry in self.pools.values_mut() {
            let over = entry.hold.and_then(|hold| hold.until).is_some_and(|until| until <= now);
            if over {
                entry.set_hold(None, &self.rooms.intents);
                entry.explain("the hold is over: the file decides again".to_owned(), true);
                entry.follow_bounds(&self.rooms.gate).await;
            }
        }
    }
}

impl Entry {
    /// Puts the target into the bounds in force; an order, so busy workers above it go too.
    ///
    /// The lock on jobs in hand follows: a hold above the file's max is to run that many.
    pub(super) async fn follow_bounds(&mut self, gate: &Gate) {
        let Count { min, max } = self.bounds();
        let workers_max = usize::try_from(max.max(1)).unwrap_or(usize::MAX);
        let limit = GateRequest::Limit { pool: self.settings.name.clone(), workers_max };
        if gate.send(limit).await.is_err() {
            tracing::debug!(pool = %self.settings.name, "nobody hands out jobs any more");
        }
        let target = self.target.clamp(min, max);
        self.wanted = target;
        self.set_target(target, true).await;
    }

    async fn set_target(&mut self, target: u32, drain_busy: bool) {
        self.target = target;
        let command = PoolCommand::SetTarget { target, drain_busy };
        if self.handle.tell(command).await.is_err() {
            tracing::debug!(pool = %self.settings.name, "the pool has been closed");
        }
    }
}

async fn scale_one(entry: &mut Entry, now: Instant, overview: &Overview, host: HostRoom) {
    let Count { min, max } = entry.bounds();
    let settings = ScalerSettings { min, max, ..ScalerSettings::default() };
    let samples = samples(entry, overview, &settings);
    let decision = decide(&mut entry.scaling, now, &samples, &settings, host);
    entry.wanted = decision.wanted;
    let changes = decision.target != entry.target;
    if changes {
        let pool = &entry.settings.name;
        tracing::info!(%pool, "{}", decision.reason);
    }
    entry.explain(decision.reason, changes);
    if changes {
        entry.set_target(decision.target, false).await;
    }
}

fn samples(entry: &mut Entry, overview: &Overview, settings: &ScalerSettings) -> Samples {
    let view = entry.handle.view();
    let mut samples = Samples::default();
    let mut ended = Vec::new();
    for slot in view.slots.iter().filter(|slot| slot.role == SlotRole::Current) {
        let seen = slot.worker.and_then(|worker| overview.workers.get(&worker));
        if let (Some(worker), Some(seen)) = (slot.worker, seen) {
            ended.push((worker, seen.done));
        }
        let busy = seen.is_some_and(|seen| !seen.jobs.is_empty());
        match slot.state {
            SlotState::Starting | SlotState::Running if busy => samples.running += 1,
            SlotState::Running => {
                samples.idle += 1;
                let idle = seen.and_then(|seen| seen.idle).unwrap_or_default();
                samples.idle_long += usize::from(idle >= settings.idle_ttl);
            }
            SlotState::Starting | SlotState::Backoff => samples.starting += 1,
            SlotState::Stopped | SlotState::Stopping | SlotState::Exited | SlotState::Fatal => {}
        }
    }
    samples.ended = entry.ended.count(&ended);
    for function in functions_of(&view, overview) {
        // Jobs of a paused function are no demand: nobody would be given them.
        if let Some(queue) = overview.functions.get(&function).filter(|queue| !queue.paused) {
            samples.queued += queue.queued.iter().sum::<usize>();
            samples.oldest = samples.oldest.max(queue.oldest.unwrap_or_default());
        }
    }
    samples
}

/// What the pool serves: from the file, or what its workers have registered.
fn functions_of(view: &PoolView, overview: &Overview) -> Vec<FunctionName> {
    let named = &view.settings.program.functions;
    if !named.is_empty() {
        return named.iter().map(|name| FunctionName::from(name.as_str())).collect();
    }
    let workers = view.slots.iter().filter_map(|slot| overview.workers.get(&slot.worker?));
    let mut learned: Vec<_> = workers.flat_map(|worker| worker.functions.clone()).collect();
    learned.sort_unstable();
    learned.dedup();
    learned
}

//! Elastic pools: when the scaler looks, and what its decisions change.

use std::time::{Duration, Instant};

use super::entry::Entry;
use super::fleet::leave_out_lone;
use super::look::Eyes;
use super::task::Supervisor;
use crate::config::Count;
use crate::pool::{Gate, GateRequest, PoolCommand};
use crate::scaler::{Decision, ScalerState, decide};

/// Events within this time are answered by one look.
const COALESCE: Duration = Duration::from_millis(20);
/// A look this long after the last one is a tick.
const TICK: Duration = Duration::from_secs(1);

/// When pools are looked at, and what is remembered of them.
#[derive(Debug, Default)]
pub(super) struct Scaling {
    state: ScalerState,
    eyes: Eyes,
    last: Option<Instant>,
    ticked: Option<Instant>,
    /// Counts the ticks, for other hosts to see.
    beat: u64,
    due: Option<Instant>,
}

impl Scaling {
    /// Something happened: look soon.
    pub(super) fn ask(&mut self, now: Instant) {
        self.ask_at(now + COALESCE);
    }

    fn ask_at(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
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
        if none_elastic {
            // With a beat that stands still others would take this host for a dead one.
            self.fleet = None;
            return;
        }
        let Some(demand) = self.rooms.source.demand().await else { return };
        if self.fleet.is_none() {
            self.watch_fleet();
        }
        let ticked = &mut self.scaling.ticked;
        let is_tick = ticked.is_none_or(|at| now.saturating_duration_since(at) >= TICK);
        if is_tick {
            *ticked = Some(now);
            self.scaling.beat += 1;
        }
        let pools = self.pools.values_mut();
        let mut look = self.scaling.eyes.look(now, &mut self.host, pools, &demand, is_tick);
        for entry in self.pools.values_mut() {
            entry.remember(&self.rooms.tasks);
        }
        if let Some(fleet) = &mut self.fleet {
            let others = fleet.fleet(now);
            leave_out_lone(&mut look.functions, &others);
            look.fleet = Some(others);
        }
        let plan = decide(&mut self.scaling.state, now, &look, &self.settings.host);
        if let Some(fleet) = &self.fleet {
            fleet.publish(self.scaling.beat, &plan, look.pools.iter());
        }
        if let Some(after) = plan.again_after {
            self.scaling.ask_at(now + after);
        }
        for (name, decision) in &plan.decisions {
            if let Some(entry) = self.pools.get_mut(name).filter(|entry| entry.is_elastic()) {
                entry.follow(decision, is_tick).await;
            }
        }
    }

    pub(super) async fn end_holds(&mut self, now: Instant) {
        for entry in self.pools.values_mut() {
            let over = entry.hold.and_then(|hold| hold.until).is_some_and(|until| until <= now);
            if over {
                entry.set_hold(None);
                entry.change("the hold is over: the file decides again".to_owned(), None);
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
        self.decision = None;
        self.set_target(target, true).await;
    }

    /// Carries out what was decided, and remembers why.
    ///
    /// At a tick a pool that has more than its target is told again: what tells it that a busy
    /// worker has become free is a hint, and hints may be lost.
    async fn follow(&mut self, decision: &Decision, is_tick: bool) {
        self.wanted = decision.wanted;
        self.decision = Some(*decision);
        let changes = decision.target != self.target;
        let mut reason = decision.reason();
        if self.learned.is_unknown() {
            reason.push_str("; its first worker tells what it serves");
        }
        if changes {
            tracing::info!(pool = %self.settings.name, "{reason}");
            self.drain_busy = decision.take.takes_busy();
            self.change(reason, Some(*decision));
        } else {
            self.explain(reason);
        }
        if changes || is_tick && decision.inputs.have > decision.target {
            self.set_target(decision.target, self.drain_busy).await;
        }
    }

    async fn set_target(&mut self, target: u32, drain_busy: bool) {
        self.target = target;
        let command = PoolCommand::SetTarget { target, drain_busy };
        if self.handle.tell(command).await.is_err() {
            tracing::debug!(pool = %self.settings.name, "the pool has been closed");
        }
    }
}

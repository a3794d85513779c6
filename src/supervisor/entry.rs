//! One pool as the supervisor holds it: its handle, its bounds, its scaling history.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;

use super::carrier::Demand;
use super::counts::{CountChange, CountNews};
use super::floor::Floor;
use super::handle::{Brief, RaisedMin};
use super::learned::Learned;
use super::look::SeenReady;
use super::timing::Timing;
use crate::config::{Count, PoolSettings};
use crate::pool::{HoldIntent, Intents, Memory, Page, PoolHandle, PoolIntent};
use crate::scaler::Decision;

/// Changes kept for `explain`, the oldest dropped first: those of an hour, and so many at most.
const CHANGES_MAX: usize = 1000;
const CHANGES_AGE_MAX: Duration = Duration::from_hours(1);

/// A pool and what the supervisor knows of it beyond what the pool publishes.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) handle: PoolHandle,
    intents: Page<Intents>,
    pub(super) memory: Page<Memory>,
    pub(super) settings: Arc<PoolSettings>,
    pub(super) hold: Option<Hold>,
    pub(super) target: u32,
    pub(super) wanted: u32,
    /// The last decision; `None` while an order holds.
    pub(super) decision: Option<Decision>,
    pub(super) seen_ready: SeenReady,
    pub(super) learned: Learned,
    /// Whether the last decision took busy workers too.
    pub(super) drain_busy: bool,
    /// Tells the pool of those that it comes after.
    pub(super) usher: Option<DropGuard>,
    pub(super) timing: Option<Timing>,
    /// What `min_at` makes of its min.
    pub(super) floor: Floor,
    reason: String,
    changes: VecDeque<Arc<CountChange>>,
    news: CountNews,
}

/// An operator's `scale`, over the file's count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    pub(super) bounds: Count,
    /// When it ends by itself.
    pub(super) until: Option<Instant>,
}

impl From<HoldIntent> for Hold {
    fn from(intent: HoldIntent) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // A hold that outlasts the clock has no end.
        let until = intent.until.and_then(|until| {
            Instant::now().checked_add(Duration::from_secs(until).saturating_sub(now))
        });
        Self { bounds: Count { min: intent.min, max: intent.max }, until }
    }
}

impl From<Hold> for HoldIntent {
    fn from(hold: Hold) -> Self {
        let until = hold.until.and_then(|until| {
            let left = until.saturating_duration_since(Instant::now());
            let at = SystemTime::now().checked_add(left)?;
            Some(at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs())
        });
        Self { min: hold.bounds.min, max: hold.bounds.max, until }
    }
}

impl Entry {
    pub(super) fn new(
        handle: PoolHandle,
        settings: Arc<PoolSettings>,
        (intents, memory): (Page<Intents>, Page<Memory>),
        news: CountNews,
    ) -> Self {
        let floor = Floor::at(&settings.min_at, Timestamp::now());
        let target = settings.count.min.max(floor.min());
        let timing = Timing::of(&settings);
        Self {
            handle,
            intents,
            memory,
            settings,
            hold: None,
            target,
            wanted: target,
            decision: None,
            seen_ready: SeenReady::default(),
            learned: Learned::default(),
            drain_busy: false,
            usher: None,
            timing,
            floor,
            reason: String::new(),
            changes: VecDeque::new(),
            news,
        }
    }

    /// Sets or releases an operator's hold, on disk too.
    pub(super) fn set_hold(&mut self, hold: Option<Hold>) {
        self.hold = hold;
        self.intents.change(|intents| intents.hold = hold.map(HoldIntent::from));
    }

    /// Takes up what was known before the daemon started.
    pub(super) fn recall(&mut self, tasks: &TaskTracker, demand: &mpsc::Sender<Demand>) {
        if let Some((timing, last)) = self.timing.as_mut().zip(self.memory.read().last) {
            timing.recall(last);
        }
        self.learned.recall(&self.memory, &self.settings, (tasks, demand));
    }

    /// Puts on disk what was learned since.
    pub(super) fn remember(&mut self, tasks: &TaskTracker) {
        let view = self.handle.view();
        self.learned.remember(&self.memory, &self.settings, &view.slots, tasks);
    }

    /// The bounds in force: a hold goes before the file and its `min_at`.
    pub(super) fn bounds(&self) -> Count {
        let Count { min, max } = self.settings.count;
        let count = Count { min: min.max(self.floor.min()).min(max), max };
        self.hold.map_or(count, |hold| hold.bounds)
    }

    /// True when demand decides the count.
    pub(super) fn is_elastic(&self) -> bool {
        !self.bounds().is_fixed() && self.handle.view().intent == PoolIntent::Up
    }

    /// Remembers why the pool has the count it has.
    pub(super) fn explain(&mut self, reason: String) {
        self.reason = reason;
    }

    /// The same, and tells of it: the pool is to have another count than before, by a decision or,
    /// without one, by an order.
    pub(super) fn change(&mut self, reason: String, decision: Option<Decision>) {
        if self.changes.len() == CHANGES_MAX {
            self.changes.pop_front();
        }
        let at = SystemTime::now();
        self.forget_old(at);
        let pool = self.settings.name.clone();
        let change = Arc::new(CountChange { at, pool, reason: reason.clone(), decision });
        self.changes.push_back(Arc::clone(&change));
        self.news.tell(change);
        self.explain(reason);
    }

    fn forget_old(&mut self, now: SystemTime) {
        // A clock that was set back makes nothing old.
        let age = |at: SystemTime| now.duration_since(at).unwrap_or_default();
        self.changes.retain(|change| age(change.at) <= CHANGES_AGE_MAX);
    }

    pub(super) fn brief(&mut self) -> Brief {
        self.forget_old(SystemTime::now());
        Brief {
            view: self.handle.view(),
            wanted: self.wanted,
            decision: self.decision,
            reason: self.reason.clone(),
            bounds: self.bounds(),
            raised: self.floor.raised.filter(|_| self.hold.is_none()).and_then(|raised| {
                let until = SystemTime::try_from(raised.until).ok()?;
                Some(RaisedMin { min: raised.min, until })
            }),
            outlook: self.timing.as_ref().map(Timing::outlook),
            hold: self.hold.map(|hold| (hold.bounds.min, hold.bounds.max)),
            changes: self.changes.iter().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_for_longer_than_the_clock_lasts_has_no_end() {
        let (min, max) = (1, 2);
        let longest = Duration::from_secs(i64::MAX.unsigned_abs());
        let mut left = longest;
        let until = loop {
            match Instant::now().checked_add(left) {
                Some(until) => break until,
                None => left -= Duration::from_mins(1),
            }
        };
        let hold = Hold { bounds: Count { min, max }, until: Some(until) };
        assert_eq!(HoldIntent::from(hold), HoldIntent { min, max, until: None });
        let hold = Hold::from(HoldIntent { min, max, until: Some(u64::MAX) });
        assert_eq!(hold.until, None);
    }
}

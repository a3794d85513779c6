//! Worker processes, what they hold, and the lock that a pool's max is.
//!
//! A process that asks a server for a job counts as if it held one: the answer may be a job. So
//! jobs in the hands of one pool never exceed its max, and a process whose last question was
//! answered can be told to be idle.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::effects::{Effects, News};
use crate::model::{BusyClock, FunctionName, PoolName, SessionId, Tally, WorkerId, WorkerName};

/// One process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) name: WorkerName,
    pub(super) sessions: BTreeSet<SessionId>,
    pub(super) holding: usize,
    asking: usize,
    pub(super) done: u64,
    /// Since when it holds no job, once it has registered a function.
    idle_since: Option<Instant>,
    has_registered: bool,
    pub(super) duty: Duty,
    /// Whether somebody was told that it is busy, and waits to hear of its job's end.
    pub(super) awaited: bool,
}

/// Whether a process is given jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    Serving,
    /// It is not, and somebody waits to hear that it holds none.
    Draining,
    Drained,
}

/// How a job left a worker's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Completed,
    Failed,
    /// Somebody else gets it.
    GivenBack,
}

/// One pool.
#[derive(Debug, Default)]
struct Pool {
    limit: Option<usize>,
    /// Processes that hold a job or ask for one.
    occupied: usize,
    busy: BusyClock,
}

/// One function in the hands of our workers.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) running: usize,
    pub(super) ended: u64,
    pub(super) busy: BusyClock,
}

/// All processes and pools.
#[derive(Debug, Default)]
pub(super) struct Crews {
    pub(super) processes: BTreeMap<WorkerId, Process>,
    pools: BTreeMap<PoolName, Pool>,
    pub(super) functions: BTreeMap<FunctionName, Work>,
    /// Pools with room for a process that was kept waiting, perhaps.
    pub(super) freed: BTreeSet<PoolName>,
}

impl Process {
    fn is_occupied(&self) -> bool {
        self.holding + self.asking > 0
    }

    pub(super) fn idle(&self, now: Instant) -> Option<Duration> {
        let since = self.idle_since.filter(|_| self.holding == 0)?;
        Some(now.saturating_duration_since(since))
    }
}

impl Crews {
    pub(super) fn admit(&mut self, worker: WorkerId, name: WorkerName) {
        self.pools.entry(name.pool.clone()).or_default();
        let process = Process {
            name,
            sessions: BTreeSet::new(),
            holding: 0,
            asking: 0,
            done: 0,
            idle_since: None,
            has_registered: false,
            duty: Duty::Serving,
            awaited: false,
        };
        self.processes.insert(worker, process);
    }

    /// Forgets a process that ended; connections of it may last a moment longer.
    pub(super) fn gone(&mut self, now: Instant, worker: WorkerId) {
        let Some(process) = self.processes.remove(&worker) else { return };
        let Some(pool) = self.pools.get_mut(&process.name.pool) else { return };
        if process.holding > 0 {
            pool.busy.stop(now);
        }
        if process.is_occupied() {
            pool.occupied = pool.occupied.saturating_sub(1);
            self.freed.insert(process.name.pool);
        }
    }

    pub(super) fn limit(&mut self, pool: PoolName, workers_max: usize) {
        self.pools.entry(pool.clone()).or_default().limit = Some(workers_max);
        self.freed.insert(pool);
    }

    /// Whether the process may be given a job now.
    pub(super) fn may_take(&self, worker: WorkerId) -> bool {
        self.processes.get(&worker).is_some_and(|process| {
            let pool = self.pools.get(&process.name.pool);
            let has_room = pool.is_none_or(|pool| pool.limit.is_none_or(|max| pool.occupied < max));
            process.duty == Duty::Serving && (process.is_occupied() || has_room)
        })
    }

    /// Whether it may be given one sooner or later.
    pub(super) fn is_serving(&self, worker: WorkerId) -> bool {
        self.processes.get(&worker).is_some_and(|process| process.duty == Duty::Serving)
    }

    /// The process has registered a function.
    pub(super) fn registered(&mut self, now: Instant, worker: WorkerId, fx: &mut Effects) {
        let Some(process) = self.processes.get_mut(&worker) else { return };
        if !process.has_registered {
            process.has_registered = true;
            process.idle_since.get_or_insert(now);
            fx.news.push(News::Registered(worker));
        }
    }

    /// A server is asked for a job.
    pub(super) fn ask(&mut self, worker: WorkerId) {
        self.change(worker, |process| process.asking += 1);
    }

    /// The question is over.
    pub(super) fn asked(&mut self, worker: WorkerId, fx: &mut Effects) {
        self.change(worker, |process| process.asking = process.asking.saturating_sub(1));
        self.settle(worker, fx);
    }

    /// A job came into its hands.
    pub(super) fn hold(&mut self, now: Instant, worker: WorkerId, function: &FunctionName) {
        let work = self.work(function);
        work.running += 1;
        work.busy.start(now);
        let first = self.processes.get(&worker).is_some_and(|process| process.holding == 0);
        self.change(worker, |process| process.holding += 1);
        if first && let Some(pool) = self.pool_of(worker) {
            pool.busy.start(now);
        }
    }

    /// A job left them.
    pub(super) fn let_go(
        &mut self,
        now: Instant,
        worker: WorkerId,
        (function, end): (&FunctionName, End),
        fx: &mut Effects,
    ) {
        let work = self.work(function);
        work.running = work.running.saturating_sub(1);
        work.ended += u64::from(end != End::GivenBack);
        work.busy.stop(now);
        let Some(process) = self.processes.get_mut(&worker) else { return };
        process.done += u64::from(end != End::GivenBack);
        if std::mem::take(&mut process.awaited) {
            fx.news.push(News::JobEnded { worker, well: end == End::Completed });
        }
        let is_last = process.holding == 1;
        if is_last {
            process.idle_since = Some(now);
        }
        self.change(worker, |process| process.holding = process.holding.saturating_sub(1));
        if is_last && let Some(pool) = self.pool_of(worker) {
            pool.busy.stop(now);
        }
        self.settle(worker, fx);
    }

    /// What a pool's workers have done.
    pub(super) fn tally(&self, now: Instant, pool: &PoolName) -> Vec<Tally> {
        let of_pool = self.processes.iter().filter(|(_, process)| process.name.pool == *pool);
        let tally = |(worker, process): (&WorkerId, &Process)| Tally {
            worker: *worker,
            done: process.done,
            is_busy: process.is_occupied(),
            idle: process.idle(now),
        };
        of_pool.map(tally).collect()
    }

    /// For how long the processes of each pool have held jobs.
    pub(super) fn busy(&self, now: Instant) -> BTreeMap<PoolName, Duration> {
        self.pools.iter().map(|(name, pool)| (name.clone(), pool.busy.total(now))).collect()
    }

    /// Whether no question of the process is open.
    pub(super) fn is_settled(&self, worker: WorkerId) -> bool {
        self.processes.get(&worker).is_none_or(|process| process.asking == 0)
    }

    /// Gives the process no further job; says so at once if it holds none.
    pub(super) fn drain(&mut self, worker: WorkerId, fx: &mut Effects) {
        match self.processes.get_mut(&worker) {
            None => fx.drained.push(worker),
            Some(process) if process.is_occupied() => process.duty = Duty::Draining,
            Some(process) => {
                process.duty = Duty::Drained;
                fx.drained.push(worker);
            }
        }
    }

    fn settle(&mut self, worker: WorkerId, fx: &mut Effects) {
        let Some(process) = self.processes.get_mut(&worker) else { return };
        if process.asking == 0 {
            fx.settled.push(worker);
        }
        if process.duty == Duty::Draining && !process.is_occupied() {
            process.duty = Duty::Drained;
            fx.drained.push(worker);
        }
    }

    /// Changes what a process holds or asks for, and counts its pool anew.
    fn change(&mut self, worker: WorkerId, change: impl FnOnce(&mut Process)) {
        let Some(process) = self.processes.get_mut(&worker) else { return };
        let was_occupied = process.is_occupied();
        change(process);
        let is_occupied = process.is_occupied();
        let Some(pool) = self.pools.get_mut(&process.name.pool) else { return };
        if is_occupied && !was_occupied {
            pool.occupied += 1;
        } else if was_occupied && !is_occupied {
            pool.occupied = pool.occupied.saturating_sub(1);
            // With more room than this nobody was kept waiting.
            if pool.limit.is_some_and(|max| pool.occupied + 1 >= max) {
                self.freed.insert(process.name.pool.clone());
            }
        }
    }

    fn work(&mut self, function: &FunctionName) -> &mut Work {
        if !self.functions.contains_key(function) {
            self.functions.insert(function.clone(), Work::default());
        }
        self.functions.entry(function.clone()).or_default()
    }

    fn pool_of(&mut self, worker: WorkerId) -> Option<&mut Pool> {
        let process = self.processes.get(&worker)?;
        self.pools.get_mut(&process.name.pool)
    }
}

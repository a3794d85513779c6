//! The workers of a simulated pool: starting, stopping, their memory.

use std::collections::{BTreeSet, VecDeque};

use super::policy::Shrink;
use super::world::{What, World};

/// Pauses between starts that fail, in seconds; they double from the first.
const BACKOFF_FIRST: f64 = 0.2;
const BACKOFF_MAX: f64 = 30.0;
/// Seconds for which a worker that has done no job counts as young.
const YOUNG: f64 = 5.0;
/// Sizes that are read for one look.
const SIZES_MAX: usize = 8;

/// How many of something are busy, and for how long they were, all added up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    count: usize,
    seconds: f64,
    at: f64,
    /// What it shows too much, since the machine was asleep.
    slept: f64,
}

/// One pool's workers.
#[derive(Debug)]
pub(super) struct Crew {
    alive: BTreeSet<usize>,
    /// The longest idle first.
    pub(super) idle: VecDeque<usize>,
    pub(super) target: u32,
    pub(super) shrink: Shrink,
    pub(super) clock: Clock,
    /// When it took a job last.
    pub(super) last_start: f64,
    /// A start failed; nothing is started before the pause is over.
    pub(super) paused: bool,
    failures: u32,
    startups: Vec<f64>,
    /// Workers of the program before a deploy, whose successors are still to come.
    pub(super) old: Vec<usize>,
    /// Whether the target moved up last; `None` before it moved.
    rose: Option<bool>,
}

/// One process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Worker {
    pub(super) pool: usize,
    pub(super) state: WorkerState,
    pub(super) since: f64,
    started: f64,
    pub(super) done: u32,
    pub(super) draining: bool,
    /// The worker that it takes the place of when it is ready.
    pub(super) predecessor: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkerState {
    Starting,
    Idle,
    Busy(usize),
    Gone,
}

/// One pool's workers as a policy sees them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CrewView {
    /// Workers with a job.
    pub running: usize,
    /// Seconds that they had one, all added up.
    pub busy_seconds: f64,
    /// Workers without one.
    pub idle: usize,
    /// Of those, the ones that have been idle long.
    pub idle_long: usize,
    /// Workers that are not ready.
    pub starting: usize,
    /// Of those, the ones that were started just now.
    pub fresh: usize,
    /// Workers that go after their job.
    pub leaving: usize,
    /// Whether starts fail.
    pub failing: bool,
    /// Seconds that workers took to become ready, of those that did since the last look.
    pub startups: Vec<f64>,
    /// Resident bytes of some that have worked.
    pub sizes: Vec<u64>,
    /// Workers that still grow.
    pub young: usize,
    /// Their resident bytes.
    pub young_bytes: u64,
}

impl Clock {
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn seconds(&self, now: f64) -> f64 {
        let count = u32::try_from(self.count).unwrap_or(u32::MAX);
        self.seconds + f64::from(count) * (now - self.at)
    }

    /// The same as a policy sees it.
    pub(super) fn shown(&self, now: f64) -> f64 {
        self.seconds(now) + self.slept
    }

    pub(super) fn sleep(&mut self, seconds: f64) {
        self.slept += f64::from(u32::try_from(self.count).unwrap_or(u32::MAX)) * seconds;
    }

    pub(super) fn change(&mut self, now: f64, by: isize) {
        self.seconds = self.seconds(now);
        self.at = now;
        self.count = self.count.saturating_add_signed(by);
    }
}

impl Crew {
    pub(super) fn new(target: u32) -> Self {
        Self {
            alive: BTreeSet::new(),
            idle: VecDeque::new(),
            target,
            shrink: Shrink::Idle,
            clock: Clock::default(),
            last_start: 0.0,
            paused: false,
            failures: 0,
            startups: Vec::new(),
            old: Vec::new(),
            rose: None,
        }
    }

    pub(super) fn alive(&self) -> impl Iterator<Item = usize> {
        self.alive.iter().copied()
    }

    /// Its processes, leaving ones too.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.alive.len()).unwrap_or(u32::MAX)
    }

    /// True when a new target moves the other way than the last one did.
    pub(super) fn turned(&mut self, target: u32) -> bool {
        if target == self.target {
            return false;
        }
        let rises = target > self.target;
        self.rose.replace(rises).is_some_and(|rose| rose != rises)
    }
}

impl World {
    /// One pool's workers; `idle_ttl` is long, `fresh` is just now.
    pub fn crew(&mut self, pool: usize, idle_ttl: f64, fresh: f64) -> CrewView {
        let now = self.now;
        let Some(crew) = self.crews.get_mut(pool) else { return CrewView::default() };
        let mut view = CrewView {
            busy_seconds: crew.clock.shown(now),
            failing: crew.failures > 2,
            startups: std::mem::take(&mut crew.startups),
            ..CrewView::default()
        };
        let Some(crew) = self.crews.get(pool) else { return view };
        for id in &crew.alive {
            let Some(worker) = self.workers.get(*id) else { continue };
            match worker.state {
                _ if worker.draining || worker.predecessor.is_some() => view.leaving += 1,
                WorkerState::Starting => {
                    view.starting += 1;
                    view.fresh += usize::from(now - worker.started < fresh);
                }
                WorkerState::Idle => {
                    view.idle += 1;
                    view.idle_long += usize::from(now - worker.since >= idle_ttl);
                }
                WorkerState::Busy(_) => view.running += 1,
                WorkerState::Gone => {}
            }
            let bytes = self.resident(worker);
            if worker.done > 0 || now - worker.started > YOUNG {
                if view.sizes.len() < SIZES_MAX {
                    view.sizes.push(bytes);
                }
            } else {
                view.young += 1;
                view.young_bytes += bytes;
            }
        }
        view
    }

    /// Starts and stops until the pool has what it is to have.
    pub(super) fn staff(&mut self, pool: usize) {
        let stays = |world: &Self| {
            let alive = world.crews.get(pool).map(|crew| &crew.alive);
            let workers = alive.into_iter().flatten().filter_map(|id| world.workers.get(*id));
            let counts = |worker: &&Worker| !worker.draining && worker.predecessor.is_none();
            u32::try_from(workers.filter(counts).count()).unwrap_or(u32::MAX)
        };
        let Some((target, shrink)) = self.crews.get(pool).map(|c| (c.target, c.shrink)) else {
            return;
        };
        let have = stays(self);
        for _ in have..target {
            if self.crews.get(pool).is_some_and(|crew| crew.paused) {
                break;
            }
            self.start(pool);
        }
        for _ in target..have {
            let worker = match shrink {
                Shrink::Idle => self.idle_or_starting(pool),
                Shrink::AfterJob => self.idle_or_starting(pool).or_else(|| self.oldest(pool)),
                Shrink::Oldest(_) => self.oldest(pool),
            };
            let Some(worker) = worker else { break };
            self.stop(worker, shrink);
        }
    }

    pub(super) fn start(&mut self, pool: usize) -> usize {
        let id = self.workers.len();
        let Some(stage) = self.stage.pools.get(pool) else { return id };
        let spread = stage.startup_spread;
        let startup = stage.startup * self.chance.between(1.0 - spread, 1.0 + spread);
        self.workers.push(Worker {
            pool,
            state: WorkerState::Starting,
            since: self.now,
            started: self.now,
            done: 0,
            draining: false,
            predecessor: None,
        });
        if let Some(crew) = self.crews.get_mut(pool) {
            crew.alive.insert(id);
        }
        if let Some(outcome) = self.outcome.pools.get_mut(pool) {
            outcome.starts += 1;
        }
        self.later(startup, What::Ready(id));
        id
    }

    /// A worker has started, if its program lets it.
    pub(super) fn ready(&mut self, id: usize) {
        let Some(worker) = self.workers.get(id).filter(|w| w.state == WorkerState::Starting) else {
            return;
        };
        let (pool, started) = (worker.pool, worker.started);
        let Some(stage) = self.stage.pools.get(pool) else { return };
        let broken = stage.broken.contains(&self.now);
        let fails = broken || self.chance.unit() * 100.0 < f64::from(stage.failing_percent);
        let Some(crew) = self.crews.get_mut(pool) else { return };
        if fails {
            crew.failures += 1;
            crew.paused = true;
            let doublings = i32::try_from(crew.failures).unwrap_or(i32::MAX).min(16) - 1;
            let pause = (BACKOFF_FIRST * 2.0_f64.powi(doublings)).min(BACKOFF_MAX);
            self.outcome.crashes += 1;
            self.later(pause, What::Retry(pool));
            return self.die(id);
        }
        crew.failures = 0;
        crew.startups.push(self.now - started);
        self.stirred = true;
        self.replace(id);
        self.grab(id);
    }

    fn idle_or_starting(&self, pool: usize) -> Option<usize> {
        let crew = self.crews.get(pool)?;
        let starting = |id: &&usize| {
            self.workers.get(**id).is_some_and(|worker| worker.state == WorkerState::Starting)
        };
        crew.idle.front().or_else(|| crew.alive.iter().rev().find(starting)).copied()
    }

    fn oldest(&self, pool: usize) -> Option<usize> {
        let stays = |id: &&usize| self.workers.get(**id).is_some_and(|worker| !worker.draining);
        self.crews.get(pool)?.alive.iter().find(stays).copied()
    }

    pub(super) fn stop(&mut self, id: usize, shrink: Shrink) {
        let Some(worker) = self.workers.get_mut(id) else { return };
        if let WorkerState::Busy(job) = worker.state {
            worker.draining = true;
            if let Shrink::Oldest(patience) = shrink {
                self.later(patience, What::Kill { worker: id, job });
            }
        } else {
            self.set_state(id, WorkerState::Gone);
            self.stirred = true;
        }
    }

    /// Moves a worker on, with all that is counted by its state.
    pub(super) fn set_state(&mut self, id: usize, state: WorkerState) {
        let now = self.now;
        let Some(worker) = self.workers.get_mut(id) else { return };
        let before = std::mem::replace(&mut worker.state, state);
        worker.since = now;
        let Some(crew) = self.crews.get_mut(worker.pool) else { return };
        match before {
            WorkerState::Idle => crew.idle.retain(|idle| *idle != id),
            WorkerState::Busy(_) => crew.clock.change(now, -1),
            WorkerState::Starting => {}
            WorkerState::Gone => return,
        }
        match state {
            WorkerState::Idle => crew.idle.push_back(id),
            WorkerState::Busy(_) => crew.clock.change(now, 1),
            WorkerState::Starting => {}
            WorkerState::Gone => {
                crew.alive.remove(&id);
                if let Some(outcome) = self.outcome.pools.get_mut(worker.pool) {
                    outcome.worker_seconds += now - worker.started;
                }
            }
        }
    }

    /// Resident bytes: a fifth at first, half of it when ready, all within a second of work.
    fn resident(&self, worker: &Worker) -> u64 {
        let Some(pool) = self.stage.pools.get(worker.pool) else { return 0 };
        let age = self.now - worker.since;
        let tenths = match worker.state {
            WorkerState::Gone => 0.0,
            WorkerState::Starting => 2.0 + 3.0 * (age / pool.startup).min(1.0),
            WorkerState::Idle | WorkerState::Busy(_) if worker.done > 0 => 10.0,
            WorkerState::Idle => 5.0,
            WorkerState::Busy(_) => 5.0 + 5.0 * age.min(1.0),
        };
        let part = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10].into_iter().rev();
        let whole = part.filter(|n| f64::from(*n) <= tenths).max().unwrap_or(0_u32);
        let leaked = pool.leak_per_job.saturating_mul(u64::from(worker.done));
        pool.size / 10 * u64::from(whole) + leaked
    }

    /// Resident bytes of all.
    pub(super) fn memory_used(&self) -> u64 {
        let alive = self.crews.iter().flat_map(|crew| &crew.alive);
        alive.filter_map(|id| self.workers.get(*id)).map(|worker| self.resident(worker)).sum()
    }

    /// The kernel kills the largest while there is too little memory.
    pub(super) fn reclaim_memory(&mut self) {
        let Some(total) = self.stage.memory else { return };
        loop {
            let used = self.memory_used();
            self.outcome.memory_peak = self.outcome.memory_peak.max(used);
            if used <= total {
                return;
            }
            let alive = self.crews.iter().flat_map(|crew| &crew.alive).copied();
            let size = |id: &usize| self.workers.get(*id).map_or(0, |w| self.resident(w));
            let Some(largest) = alive.max_by_key(size) else { return };
            self.outcome.oom_kills += 1;
            self.die(largest);
        }
    }
}

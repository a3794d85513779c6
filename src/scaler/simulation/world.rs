//! The simulated world: queues, workers and a virtual clock.
//!
//! It does what broker and pools do: a free worker takes the oldest job of its functions, a job
//! that comes is given to the worker that went idle last, a dead worker's job goes back to its
//! place, and a pool starts and stops workers until it has as many as its target.

use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use super::Chance;
use super::crew::{Clock, Crew, Worker, WorkerState};
use super::happening::{Condition, Happening};
use super::outcome::{Moment, Outcome, PoolOutcome};
use super::policy::{Policy, Shrink};
use super::stage::Stage;
use super::trace::Trace;
use crate::host::HostSample;

/// Events within this time are answered by one look.
const COALESCE: f64 = 0.02;
/// Between two times that memory is added up.
const MEMORY_EVERY: f64 = 0.5;

/// Queues, workers and the time.
#[derive(Debug)]
pub struct World {
    pub(super) stage: Stage,
    trace: Trace,
    pub(super) chance: Chance,
    pub(super) now: f64,
    next_job: usize,
    jobs: Vec<JobState>,
    last_place: u64,
    pub(super) queues: Vec<Queue>,
    pub(super) crews: Vec<Crew>,
    pub(super) workers: Vec<Worker>,
    events: BinaryHeap<Event>,
    last_event: u64,
    pub(super) outcome: Outcome,
    /// A policy that follows events is to look.
    pub(super) stirred: bool,
    pub(super) condition: Condition,
}

/// One function's queue as a policy sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct QueueView {
    /// Jobs that wait.
    pub queued: usize,
    /// Seconds that the oldest has waited.
    pub oldest: f64,
    /// Jobs in workers' hands.
    pub running: usize,
    /// Jobs ended.
    pub ended: u64,
    /// Seconds that jobs have run, all added up.
    pub busy_seconds: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct JobState {
    deaths: u32,
    started: bool,
    /// Its place in the queue, the same when its worker dies with it.
    place: u64,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Places and jobs.
    waiting: BTreeSet<(u64, usize)>,
    pub(super) clock: Clock,
    ended: u64,
}

/// Something that will happen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Event {
    at: f64,
    seq: u64,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum What {
    Ready(usize),
    Done {
        worker: usize,
        job: usize,
    },
    Kill {
        worker: usize,
        job: usize,
    },
    Retry(usize),
    /// A worker is killed for a job that takes too long.
    Overdue {
        worker: usize,
        job: usize,
    },
    Happening(Happening),
    Memory,
    Moment,
}

/// Runs a trace on a stage under the policy that `choose` makes, to the trace's end.
pub fn run<P: Policy>(
    stage: Stage,
    trace: Trace,
    seed: u64,
    choose: impl FnOnce(&World) -> P,
) -> Outcome {
    let mut world = World::new(stage, trace, seed);
    let mut policy = choose(&world);
    let end = world.trace.seconds;
    let (mut tick, mut soon) = (0.0, f64::INFINITY);
    loop {
        let happens = world.next_at();
        let looks = soon.min(tick);
        if happens.min(looks) > end {
            break;
        }
        if happens <= looks {
            world.step();
            if std::mem::take(&mut world.stirred) && policy.follows_events() {
                soon = soon.min(world.now + COALESCE);
            }
            continue;
        }
        world.now = looks;
        if looks >= tick {
            tick = looks + policy.period();
        }
        soon = policy.look(&mut world).map_or(f64::INFINITY, |after| looks + after);
    }
    world.close(end)
}

impl World {
    fn new(stage: Stage, trace: Trace, seed: u64) -> Self {
        let queues = trace.functions.iter().map(|_| Queue::default()).collect();
        let crews = stage.pools.iter().map(|pool| Crew::new(pool.count.min)).collect();
        let pools = stage.pools.iter().map(|pool| PoolOutcome {
            name: pool.name.clone(),
            max_wait: pool.scaling.max_wait.as_secs_f64(),
            workers_min: u32::MAX,
            ..PoolOutcome::default()
        });
        let outcome = Outcome { pools: pools.collect(), ..Outcome::default() };
        let mut world = Self {
            chance: Chance::new(seed ^ 0x5eed),
            now: 0.0,
            next_job: 0,
            jobs: vec![JobState::default(); trace.jobs.len()],
            last_place: 0,
            queues,
            crews,
            workers: Vec::new(),
            events: BinaryHeap::new(),
            last_event: 0,
            outcome,
            stirred: false,
            condition: Condition::default(),
            stage,
            trace,
        };
        world.later(0.0, What::Moment);
        world.plan_happenings();
        if world.stage.memory.is_some() {
            world.later(MEMORY_EVERY, What::Memory);
        }
        for pool in 0..world.crews.len() {
            world.staff(pool);
        }
        world
    }

    /// Seconds since the start.
    #[must_use]
    pub fn now(&self) -> f64 {
        self.now
    }

    /// Pools and host.
    #[must_use]
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Names of the functions.
    #[must_use]
    pub fn functions(&self) -> &[String] {
        &self.trace.functions
    }

    /// All that will come: for policies that know the future.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// One function's queue.
    #[must_use]
    pub fn queue(&self, function: usize) -> QueueView {
        let Some(queue) = self.queues.get(function) else { return QueueView::default() };
        let seen = self.waiting(function).filter(|_| self.condition.is_open(function));
        let (queued, oldest) = seen.unwrap_or_default();
        QueueView {
            queued,
            oldest,
            running: queue.clock.count(),
            ended: queue.ended,
            busy_seconds: queue.clock.shown(self.now),
        }
    }

    /// How many jobs of a function wait, and for how long the oldest has.
    fn waiting(&self, function: usize) -> Option<(usize, f64)> {
        let waiting = &self.queues.get(function)?.waiting;
        let oldest = waiting.first().and_then(|(_, job)| self.trace.jobs.get(*job));
        Some((waiting.len(), oldest.map_or(0.0, |job| self.now - job.at)))
    }

    /// The host as a reader would see it.
    #[must_use]
    pub fn host_sample(&self) -> HostSample {
        let total = self.stage.memory.unwrap_or(0);
        HostSample {
            cores: self.stage.cores,
            mem_total: total,
            mem_available: total.saturating_sub(self.memory_used()),
            ..HostSample::default()
        }
    }

    /// Sets how many workers a pool is to have, and which go if it has more.
    pub fn set_target(&mut self, pool: usize, target: u32, shrink: Shrink) {
        let Some(crew) = self.crews.get_mut(pool) else { return };
        let turned = crew.turned(target);
        crew.target = target;
        crew.shrink = shrink;
        if let Some(outcome) = self.outcome.pools.get_mut(pool) {
            outcome.reversals += u64::from(turned);
        }
        self.staff(pool);
    }

    pub(super) fn later(&mut self, after: f64, what: What) {
        self.last_event += 1;
        self.events.push(Event { at: self.now + after, seq: self.last_event, what });
    }

    fn next_at(&self) -> f64 {
        let job = self.trace.jobs.get(self.next_job).map_or(f64::INFINITY, |job| job.at);
        self.events.peek().map_or(job, |event| event.at.min(job))
    }

    /// The next thing happens.
    fn step(&mut self) {
        let event_at = self.events.peek().map_or(f64::INFINITY, |event| event.at);
        if let Some(job) = self.trace.jobs.get(self.next_job).filter(|job| job.at <= event_at) {
            self.now = job.at;
            let index = self.next_job;
            self.next_job += 1;
            return self.arrive(index);
        }
        let Some(event) = self.events.pop() else { return };
        self.now = event.at;
        match event.what {
            What::Ready(worker) => self.ready(worker),
            What::Done { worker, job } => self.done(worker, job),
            What::Kill { worker, job } => {
                if self.holds(worker, job) {
                    self.outcome.kills += 1;
                    self.die(worker);
                }
            }
            What::Overdue { worker, job } => {
                if self.holds(worker, job) {
                    self.outcome.crashes += 1;
                    self.die(worker);
                }
            }
            What::Happening(what) => self.happen(what),
            What::Retry(pool) => {
                if let Some(crew) = self.crews.get_mut(pool) {
                    crew.paused = false;
                }
                self.staff(pool);
            }
            What::Memory => {
                self.reclaim_memory();
                self.later(MEMORY_EVERY, What::Memory);
            }
            What::Moment => {
                self.note_moment();
                self.later(1.0, What::Moment);
            }
        }
    }

    /// A job comes, or comes back: whoever went idle last takes it.
    pub(super) fn arrive(&mut self, job: usize) {
        let Some(function) = self.trace.jobs.get(job).map(|job| job.function) else { return };
        let Some(state) = self.jobs.get_mut(job) else { return };
        if state.place == 0 {
            self.last_place += 1;
            state.place = self.last_place;
        }
        if let Some(queue) = self.queues.get_mut(function) {
            queue.waiting.insert((state.place, job));
        }
        if !self.condition.is_open(function) {
            return;
        }
        let serves = |pool: &usize| {
            self.stage.pools.get(*pool).is_some_and(|pool| pool.functions.contains(&function))
        };
        let idle = (0..self.crews.len()).filter(serves).filter_map(|pool| {
            let worker = *self.crews.get(pool)?.idle.back()?;
            Some((self.workers.get(worker)?.since, worker))
        });
        let last = idle.max_by(|(one, _), (other, _)| one.total_cmp(other));
        match last {
            Some((_, worker)) => self.grab(worker),
            None => self.stirred = true,
        }
    }

    /// A free worker takes the oldest job of its functions, or goes idle.
    pub(super) fn grab(&mut self, worker: usize) {
        let Some(pool) = self.workers.get(worker).map(|worker| worker.pool) else { return };
        self.set_state(worker, WorkerState::Idle);
        let Some(served) = self.stage.pools.get(pool).map(|pool| &pool.functions) else { return };
        let open = served.iter().filter(|function| self.condition.is_open(**function));
        let heads = open.filter_map(|function| self.queues.get(*function));
        let first = heads.filter_map(|queue| queue.waiting.first()).min().copied();
        let Some((place, job)) = first else {
            return self.staff(pool);
        };
        self.set_state(worker, WorkerState::Busy(job));
        let (Some(spec), Some(state)) = (self.trace.jobs.get(job), self.jobs.get_mut(job)) else {
            return;
        };
        let (spec, first) = (*spec, !std::mem::replace(&mut state.started, true));
        if let Some(queue) = self.queues.get_mut(spec.function) {
            queue.waiting.remove(&(place, job));
            queue.clock.change(self.now, 1);
        }
        if let Some(crew) = self.crews.get_mut(pool) {
            crew.last_start = self.now;
        }
        if first && !spec.poison {
            self.note_wait(pool, self.now - spec.at);
        }
        match self.stage.job_timeout.filter(|timeout| *timeout < spec.service) {
            Some(timeout) => self.later(timeout, What::Overdue { worker, job }),
            None => self.later(spec.service, What::Done { worker, job }),
        }
    }

    fn done(&mut self, worker: usize, job: usize) {
        if !self.holds(worker, job) {
            return;
        }
        let poison = self.trace.jobs.get(job).is_some_and(|job| job.poison);
        if poison {
            self.outcome.crashes += 1;
            return self.die(worker);
        }
        if self.fails(worker, job) {
            return;
        }
        self.let_go(job, true);
        let Some(state) = self.workers.get_mut(worker) else { return };
        state.done += 1;
        let (pool, done, draining) = (state.pool, state.done, state.draining);
        let most = self.stage.pools.get(pool).and_then(|pool| pool.jobs_max);
        if draining || most.is_some_and(|most| done >= most) {
            self.set_state(worker, WorkerState::Gone);
            self.stirred = true;
            self.staff(pool);
        } else {
            self.grab(worker);
        }
    }

    /// A worker's process ends; a job in its hands goes back, until it has cost too many workers.
    pub(super) fn die(&mut self, worker: usize) {
        let Some((pool, state)) = self.workers.get(worker).map(|w| (w.pool, w.state)) else {
            return;
        };
        self.set_state(worker, WorkerState::Gone);
        self.stirred = true;
        if let WorkerState::Busy(job) = state {
            let deaths = self.jobs.get_mut(job).map_or(0, |job| {
                job.deaths += 1;
                job.deaths
            });
            let over = deaths >= self.stage.attempts_max;
            self.outcome.given_up += u64::from(over);
            self.let_go(job, over);
            if !over {
                self.arrive(job);
            }
        }
        self.staff(pool);
    }

    /// A job comes back as a new one, behind all that wait.
    pub(super) fn come_back(&mut self, job: usize) {
        if let Some(state) = self.jobs.get_mut(job) {
            state.place = 0;
        }
        self.arrive(job);
    }

    pub(super) fn let_go(&mut self, job: usize, ended: bool) {
        let Some(function) = self.trace.jobs.get(job).map(|job| job.function) else { return };
        if let Some(queue) = self.queues.get_mut(function) {
            queue.clock.change(self.now, -1);
            queue.ended += u64::from(ended);
        }
    }

    fn holds(&self, worker: usize, job: usize) -> bool {
        self.workers.get(worker).is_some_and(|worker| worker.state == WorkerState::Busy(job))
    }

    fn note_wait(&mut self, pool: usize, wait: f64) {
        if let Some(outcome) = self.outcome.pools.get_mut(pool) {
            outcome.waits.push(wait);
        }
    }

    fn note_moment(&mut self) {
        let mut moment = Moment::default();
        for pool in 0..self.crews.len() {
            let Some(served) = self.stage.pools.get(pool).map(|pool| &pool.functions) else {
                continue;
            };
            let queues: Vec<_> =
                served.iter().filter_map(|function| self.waiting(*function)).collect();
            let waiting = queues.iter().map(|(waiting, _)| waiting).sum();
            let oldest = queues.iter().map(|(_, oldest)| *oldest).fold(0.0, f64::max);
            let Some(crew) = self.crews.get(pool) else { continue };
            let (count, busy) = (crew.len(), crew.clock.count());
            moment.pools.push((waiting, count, u32::try_from(busy).unwrap_or(u32::MAX), oldest));
            let idled = self.now - crew.last_start;
            if let Some(outcome) = self.outcome.pools.get_mut(pool) {
                if oldest > 0.0 {
                    outcome.starved = outcome.starved.max(oldest.min(idled));
                }
                outcome.workers_min = outcome.workers_min.min(count);
                outcome.workers_max = outcome.workers_max.max(count);
            }
        }
        self.outcome.moments.push(moment);
        let all: u32 = self.crews.iter().map(Crew::len).sum();
        if let Some(max) = self.stage.host.workers_max {
            let over = all.saturating_sub(max);
            self.outcome.over_commit = self.outcome.over_commit.max(over);
        }
    }

    /// Adds up what lives, and those that never started.
    fn close(mut self, end: f64) -> Outcome {
        self.now = end;
        for pool in 0..self.crews.len() {
            let Some(served) = self.stage.pools.get(pool).map(|pool| pool.functions.clone()) else {
                continue;
            };
            let shared = |function: &usize| {
                self.stage.pools.iter().position(|pool| pool.functions.contains(function))
            };
            let own = served.iter().filter(|function| shared(function) == Some(pool));
            let waiting: VecDeque<usize> = (own.filter_map(|function| self.queues.get(*function)))
                .flat_map(|queue| queue.waiting.iter().map(|(_, job)| *job))
                .collect();
            for job in waiting {
                let Some(spec) = self.trace.jobs.get(job).filter(|job| !job.poison) else {
                    continue;
                };
                if self.jobs.get(job).is_some_and(|job| !job.started) {
                    self.note_wait(pool, end - spec.at);
                }
            }
        }
        for worker in 0..self.workers.len() {
            self.set_state(worker, WorkerState::Gone);
        }
        for (pool, crew) in self.outcome.pools.iter_mut().zip(&self.crews) {
            pool.busy_seconds = crew.clock.seconds(end);
            pool.waits.sort_by(f64::total_cmp);
        }
        self.outcome
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The earliest is the greatest, as the heap wants it.
impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.total_cmp(&self.at).then(other.seq.cmp(&self.seq))
    }
}

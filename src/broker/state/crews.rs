//! Worker processes of ours, and the lock that a pool's max is.
//!
//! A process is known by its id; its sessions come through its private listener or are tied to it
//! later. Jobs are given to a session only when its process may have one: it is alive, it does
//! not drain, and either it holds a job already or fewer of its pool's processes hold some than
//! the pool's max says. Sessions of nobody's are free.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::State;
use super::effects::{Effects, Outgoing};
use super::functions::Sleeper;
use super::sessions::{Identity, Rest};
use super::timers::Timer;
use crate::broker::BrokerEvent;
use crate::model::{BusyClock, Drain, JobId, PoolName, SessionId, WorkerId, WorkerName};
use crate::protocol::{ErrorCode, Response};

/// One process.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) name: WorkerName,
    pub(super) sessions: BTreeSet<SessionId>,
    /// How many jobs its sessions hold.
    pub(super) holding: usize,
    /// Jobs it ended.
    pub(super) done: u64,
    /// Whether somebody was told that it is busy, and waits to hear of its job's end.
    pub(super) awaited: bool,
    /// Since when it holds none, once it has registered a function.
    pub(super) idle_since: Option<Instant>,
    pub(super) duty: Duty,
    /// Its jobs are charged when it ends, though it may drain.
    pub(super) is_charged: bool,
}

/// Whether a process is given jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// It is.
    Serving,
    /// It is not, and somebody waits to hear that it holds none.
    Draining,
    /// It is not, and everybody knows that it holds none.
    Drained,
}

/// One pool.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// Most processes that may hold jobs at once.
    limit: Option<usize>,
    /// Processes that do.
    holders: usize,
    /// For how long they have.
    busy: BusyClock,
    /// Listed sleepers of its processes.
    sleepers: BTreeSet<Sleeper>,
}

/// All processes and pools.
#[derive(Debug, Default)]
pub(super) struct Crews {
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    pools: BTreeMap<PoolName, Pool>,
}

impl Pool {
    /// How many more processes may take jobs.
    fn room(&self) -> usize {
        self.limit.map_or(usize::MAX, |limit| limit.saturating_sub(self.holders))
    }
}

impl Crews {
    /// Whether the process may be given a job now.
    pub(super) fn may_take(&self, worker: WorkerId) -> bool {
        self.workers.get(&worker).is_some_and(|worker| {
            worker.duty == Duty::Serving
                && (worker.holding > 0
                    || self.pools.get(&worker.name.pool).is_none_or(|pool| pool.room() > 0))
        })
    }

    /// Whether it may be given one sooner or later.
    pub(super) fn is_serving(&self, worker: WorkerId) -> bool {
        self.workers.get(&worker).is_some_and(|worker| worker.duty == Duty::Serving)
    }

    /// For how long the processes of each pool have held jobs.
    pub(super) fn busy(&self, now: Instant) -> impl Iterator<Item = (PoolName, Duration)> {
        self.pools.iter().map(move |(name, pool)| (name.clone(), pool.busy.total(now)))
    }

    /// Whether jobs that it loses are charged.
    pub(super) fn is_answerable(&self, worker: WorkerId) -> bool {
        let is_charged = |worker: &Worker| worker.duty == Duty::Serving || worker.is_charged;
        self.workers.get(&worker).is_some_and(is_charged)
    }

    fn pool_of(&mut self, worker: WorkerId) -> Option<&mut Pool> {
        let worker = self.workers.get(&worker)?;
        self.pools.get_mut(&worker.name.pool)
    }

    /// Counts jobs that came into the process's hands.
    fn hold(&mut self, now: Instant, worker: WorkerId, jobs: usize) {
        let Some(holder) = self.workers.get_mut(&worker) else { return };
        let was_free = holder.holding == 0;
        holder.holding += jobs;
        if was_free && jobs > 0 {
            holder.idle_since = None;
            if let Some(pool) = self.pool_of(worker) {
                pool.holders += 1;
                pool.busy.start(now);
            }
        }
    }

    /// Counts one that left them; true when it was the last.
    fn let_go(&mut self, now: Instant, worker: WorkerId) -> bool {
        let Some(holder) = self.workers.get_mut(&worker) else { return false };
        holder.holding = holder.holding.saturating_sub(1);
        if holder.holding > 0 {
            return false;
        }
        holder.idle_since = Some(now);
        if let Some(pool) = self.pool_of(worker) {
            pool.holders = pool.holders.saturating_sub(1);
            pool.busy.stop(now);
        }
        true
    }

    pub(super) fn list(&mut self, worker: WorkerId, sleeper: Sleeper) {
        if let Some(pool) = self.pool_of(worker) {
            pool.sleepers.insert(sleeper);
        }
    }

    pub(super) fn unlist(&mut self, worker: WorkerId, sleeper: Sleeper) {
        if let Some(pool) = self.pool_of(worker) {
            pool.sleepers.remove(&sleeper);
        }
    }
}

impl State {
    /// A worker process of ours will come.
    pub fn admit(&mut self, _now: Instant, worker: WorkerId, name: WorkerName) {
        self.crews.pools.entry(name.pool.clone()).or_default();
        let process = Worker {
            name,
            sessions: BTreeSet::new(),
            holding: 0,
            done: 0,
            awaited: false,
            idle_since: None,
            duty: Duty::Serving,
            is_charged: false,
        };
        self.crews.workers.insert(worker, process);
    }

    /// The process is about to be killed for what it does with its job: that counts against the
    /// job, whether it drains or not.
    pub fn charge_at_end(&mut self, worker: WorkerId) {
        if let Some(process) = self.crews.workers.get_mut(&worker) {
            process.is_charged = true;
        }
    }

    /// Has [`BrokerEvent::JobEnded`] told of the next job that the process ends.
    ///
    /// [`BrokerEvent::JobEnded`]: crate::broker::BrokerEvent::JobEnded
    pub fn await_job(&mut self, worker: WorkerId) {
        if let Some(process) = self.crews.workers.get_mut(&worker) {
            process.awaited = true;
        }
    }

    /// Stops giving jobs to the process if it holds none; atomic with dispatch.
    ///
    /// Once the answer is [`Drain::Drained`] no present or later session of it gets a job.
    pub fn drain_if_idle(&mut self, now: Instant, worker: WorkerId) -> Drain {
        if let Some(job) = self.first_in_hand(worker) {
            if let Some(process) = self.crews.workers.get_mut(&worker) {
                process.awaited = true;
            }
            return Drain::Busy(self.handles.text(job));
        }
        self.bar(now, worker, Duty::Drained);
        Drain::Drained
    }

    /// Stops giving jobs to the process; [`Effects::drained`] names it once it holds none.
    pub fn drain(&mut self, now: Instant, worker: WorkerId, fx: &mut Effects) {
        if self.first_in_hand(worker).is_some() {
            self.bar(now, worker, Duty::Draining);
        } else {
            self.bar(now, worker, Duty::Drained);
            fx.drained.push(worker);
        }
    }

    /// Wakes the sleeping sessions of a draining process with an ERROR packet.
    ///
    /// libgearman's worker returns from its wait at any packet but a NOOP, so the process comes to
    /// look at the signal that it was sent.
    pub fn nudge(&mut self, worker: WorkerId, fx: &mut Effects) {
        let Some(process) = self.crews.workers.get(&worker) else { return };
        if process.duty == Duty::Serving {
            return;
        }
        for id in &process.sessions {
            let asleep = self
                .sessions
                .get(id)
                .is_some_and(|session| session.rest == Rest::Asleep && session.answers.len() == 0);
            if asleep {
                let error = Response::error(ErrorCode::Shutdown, "this worker is being stopped");
                fx.sends.push((*id, Outgoing::Packet(error)));
            }
        }
    }

    /// Sets how many processes of the pool may hold jobs at once.
    pub fn limit(&mut self, now: Instant, pool: PoolName, workers_max: usize, fx: &mut Effects) {
        let entry = self.crews.pools.entry(pool);
        let name = entry.key().clone();
        entry.or_default().limit = Some(workers_max);
        self.rouse_pool(now, &name, fx);
    }

    /// Tells whose a performing session is; `None` when it is no worker of ours.
    pub fn tie(
        &mut self,
        now: Instant,
        session: SessionId,
        worker: Option<WorkerId>,
        fx: &mut Effects,
    ) {
        let Some(tied) = self.sessions.get_mut(&session) else { return };
        tied.identity = Identity::Known;
        self.timers.clear(Timer::Ask(session));
        if let Some(worker) = worker
            && tied.worker.is_none()
        {
            self.unlist(session);
            self.attach(now, session, worker, fx);
        }
        self.release(now, session, fx);
    }

    /// Counts a session as one of the process's.
    pub(super) fn attach(
        &mut self,
        now: Instant,
        session: SessionId,
        worker: WorkerId,
        fx: &mut Effects,
    ) {
        let Some(tied) = self.sessions.get_mut(&session) else { return };
        tied.worker = Some(worker);
        tied.identity = Identity::Known;
        let (jobs, performs) = (tied.in_hand.len(), !tied.abilities.is_empty());
        if let Some(process) = self.crews.workers.get_mut(&worker) {
            process.sessions.insert(session);
        }
        if performs {
            self.registered(now, worker, fx);
        }
        self.crews.hold(now, worker, jobs);
        if jobs > 0
            && let Some(pool) = self.crews.pool_of(worker)
        {
            // As a holder of jobs the process passes the lock with its other sessions too.
            let sleepers = pool.sleepers.clone();
            self.rouse(now, &sleepers, 1, fx);
        }
    }

    /// Forgets a closed session, which holds no job any more.
    pub(super) fn detach(&mut self, session: SessionId, worker: WorkerId) {
        if let Some(process) = self.crews.workers.get_mut(&worker) {
            process.sessions.remove(&session);
        }
    }

    /// The process has registered a function; news the first time.
    pub(super) fn registered(&mut self, now: Instant, worker: WorkerId, fx: &mut Effects) {
        let Some(process) = self.crews.workers.get_mut(&worker) else { return };
        if process.idle_since.is_none() && process.holding == 0 {
            process.idle_since = Some(now);
            fx.events.push(BrokerEvent::Registered(worker));
        }
    }

    /// Puts a job into a session's hands.
    pub(super) fn hold(&mut self, now: Instant, session: SessionId, job: JobId) {
        let Some(performer) = self.sessions.get_mut(&session) else { return };
        performer.in_hand.insert(job);
        if let Some(worker) = performer.worker {
            self.crews.hold(now, worker, 1);
        }
    }

    /// Takes a job out of a session's hands, and lets others of its pool take its place.
    pub(super) fn let_go(
        &mut self,
        now: Instant,
        session: SessionId,
        job: JobId,
        fx: &mut Effects,
    ) {
        let Some(performer) = self.sessions.get_mut(&session) else { return };
        performer.in_hand.remove(&job);
        let (worker, idle) = (performer.worker, performer.in_hand.is_empty());
        if idle {
            self.went_idle(session);
        }
        let Some(worker) = worker else { return };
        if !self.crews.let_go(now, worker) {
            return;
        }
        let Some(process) = self.crews.workers.get_mut(&worker) else { return };
        if process.duty == Duty::Draining {
            process.duty = Duty::Drained;
            fx.drained.push(worker);
        }
        let name = process.name.pool.clone();
        // With more room than this nobody was kept waiting by the lock.
        if self.crews.pools.get(&name).is_some_and(|pool| pool.room() == 1) {
            self.rouse_pool(now, &name, fx);
        }
    }

    /// Takes the process out of dispatch.
    pub(super) fn bar(&mut self, now: Instant, worker: WorkerId, duty: Duty) {
        let Some(process) = self.crews.workers.get(&worker) else { return };
        // Unlisting needs the process to be found in its pool, so it comes before the change.
        for session in process.sessions.clone() {
            // Soon asleep, it can be nudged.
            self.cut_hold(now, session);
            self.unlist(session);
            if let Rest::Woken(Some(function)) = self.forget_wake(session) {
                // What it was woken for is to go to another one, at the next deadline.
                self.timers.set(Timer::Wake(function), now);
            }
        }
        if let Some(process) = self.crews.workers.get_mut(&worker) {
            process.duty = duty;
        }
    }

    fn first_in_hand(&self, worker: WorkerId) -> Option<JobId> {
        let process = self.crews.workers.get(&worker)?;
        let sessions = process.sessions.iter().filter_map(|id| self.sessions.get(id));
        sessions.filter_map(|session| session.in_hand.first().copied()).min()
    }

    /// Looks again at the jobs that sleepers of a pool could not take before and may now.
    fn rouse_pool(&mut self, now: Instant, name: &PoolName, fx: &mut Effects) {
        let Some(pool) = self.crews.pools.get(name) else { return };
        let room = pool.room().min(pool.sleepers.len());
        if pool.limit.is_some() && room > 0 {
            self.rouse(now, &pool.sleepers.clone(), room, fx);
        }
    }
}

#[cfg(test)]
impl Crews {
    /// Checks that the pools count what their processes hold.
    pub(super) fn assert_consistent(&self) {
        for (name, pool) in &self.pools {
            let ours = self.workers.values().filter(|worker| worker.name.pool == *name);
            let holders = ours.filter(|worker| worker.holding > 0).count();
            assert_eq!(pool.holders, holders, "pool {name}");
        }
    }
}

//! Worker processes of ours: draining them, and how many of a pool may hold jobs at once.

use std::collections::{BTreeSet, HashSet};
use std::time::Instant;

use bytes::Bytes;

use super::sessions::Session;
use super::{Effects, Outgoing, State};
use crate::broker::BrokerEvent;
use crate::model::{Drain, JobId, PoolName, SessionId, WorkerId, WorkerName};
use crate::protocol::{ErrorCode, Response};

/// One worker process.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) name: WorkerName,
    pub(super) sessions: BTreeSet<SessionId>,
    /// Jobs in the hands of its sessions.
    pub(super) jobs: HashSet<JobId>,
    pub(super) draining: Draining,
    pub(super) registered: bool,
    pub(super) done: u64,
    pub(super) idle_since: Instant,
    /// Jobs it hung up on; whether that was its death is not known yet.
    pub(super) doubts: Vec<JobId>,
}

/// Whether a worker still gets jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Draining {
    /// It does.
    No,
    /// It does not, and somebody waits for the end of the job in hand.
    Watched,
    /// It does not, and holds none.
    Done,
}

/// The workers of one pool.
#[derive(Debug, Default)]
pub(super) struct Crew {
    limit: Option<usize>,
    holding: HashSet<WorkerId>,
}

impl Crew {
    fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.holding.len() >= limit)
    }
}

impl State {
    /// A worker process of ours will come.
    pub fn admit(&mut self, now: Instant, worker: WorkerId, name: WorkerName) {
        self.crews.entry(name.pool.clone()).or_default();
        let fresh = Worker {
            name,
            sessions: BTreeSet::new(),
            jobs: HashSet::new(),
            draining: Draining::No,
            registered: false,
            done: 0,
            idle_since: now,
            doubts: Vec::new(),
        };
        self.workers.insert(worker, fresh);
    }

    /// Sets how many processes of the pool may hold jobs at once.
    pub fn limit(&mut self, now: Instant, pool: PoolName, workers_max: usize, fx: &mut Effects) {
        self.crews.entry(pool).or_default().limit = Some(workers_max);
        self.wake_for_ready(now, fx);
    }

    /// Tells whose a performing session is.
    pub fn tie(
        &mut self,
        now: Instant,
        session: SessionId,
        worker: Option<WorkerId>,
        fx: &mut Effects,
    ) {
        self.settle_identity(now, session, worker, fx);
        let performs = self.sessions.get(&session).is_some_and(|s| !s.abilities.is_empty());
        if let Some(worker) = worker.filter(|_| performs) {
            self.registered(now, worker, fx);
        }
    }

    /// Makes the session one of the worker's.
    pub(super) fn join(&mut self, id: SessionId, worker: Option<WorkerId>, _fx: &mut Effects) {
        let known = worker.filter(|worker| self.workers.contains_key(worker));
        if let Some(session) = self.sessions.get_mut(&id) {
            session.worker = known;
        }
        if let Some(worker) = known.and_then(|worker| self.workers.get_mut(&worker)) {
            worker.sessions.insert(id);
        }
    }

    /// Stops giving jobs to the process if it holds none; atomic with dispatch.
    pub fn drain_if_idle(&mut self, _now: Instant, worker: WorkerId) -> Drain {
        let busy = self.workers.get(&worker).and_then(|worker| worker.jobs.iter().min().copied());
        if let Some(job) = busy {
            return Drain::Busy(format!("{}:{job}", self.settings.handle_prefix));
        }
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.draining = Draining::Done;
        }
        Drain::Drained
    }

    /// Stops giving jobs to the process; [`Effects::drained`] names it once it holds none.
    pub fn drain(&mut self, _now: Instant, worker: WorkerId, fx: &mut Effects) {
        match self.workers.get_mut(&worker) {
            Some(found) if !found.jobs.is_empty() => found.draining = Draining::Watched,
            Some(found) => {
                found.draining = Draining::Done;
                fx.drained.push(worker);
            }
            None => fx.drained.push(worker),
        }
    }

    /// Wakes the sleeping sessions of a draining process with an ERROR packet.
    ///
    /// An idle php-gearman worker with a signal handler does not notice TERM inside `work()`; the
    /// packet makes `work()` return, and the handler runs.
    pub fn nudge(&mut self, worker: WorkerId, fx: &mut Effects) {
        let Some(worker) = self.workers.get(&worker) else { return };
        if worker.draining == Draining::No {
            return;
        }
        for session in &worker.sessions {
            if self.sessions.get(session).is_some_and(|session| session.asleep.is_some()) {
                let text = Bytes::from_static(b"this worker is to stop");
                let error = Response::error(ErrorCode::Shutdown, text);
                fx.sends.push((*session, Outgoing::Packet(error)));
            }
        }
    }

    pub(super) fn registered(&mut self, now: Instant, id: WorkerId, fx: &mut Effects) {
        if let Some(worker) = self.workers.get_mut(&id)
            && !worker.registered
        {
            worker.registered = true;
            worker.idle_since = now;
            fx.events.push(BrokerEvent::Registered(id));
        }
    }

    /// Whether the session may be given a job now.
    ///
    /// A process that holds a job may take more of them: one worker may have many sessions. A
    /// process without one waits while its pool's max of others hold some.
    pub(super) fn may_take(&self, session: &Session) -> bool {
        let Some(id) = session.worker else { return true };
        let Some(worker) = self.workers.get(&id) else { return true };
        if worker.draining != Draining::No {
            return false;
        }
        let crew = self.crews.get(&worker.name.pool);
        !worker.jobs.is_empty() || crew.is_none_or(|crew| !crew.is_full())
    }

    pub(super) fn took_job(&mut self, worker: Option<WorkerId>, job: JobId) {
        let Some(id) = worker else { return };
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.jobs.insert(job);
        if let Some(crew) = self.crews.get_mut(&worker.name.pool) {
            crew.holding.insert(id);
        }
    }

    /// A job has left the worker's hands.
    pub(super) fn gave_back_job(
        &mut self,
        now: Instant,
        worker: Option<WorkerId>,
        job: JobId,
        ended: bool,
        fx: &mut Effects,
    ) {
        let Some(id) = worker else { return };
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.jobs.remove(&job);
        if ended {
            worker.done += 1;
            fx.events.push(BrokerEvent::JobEnded(id));
        }
        if !worker.jobs.is_empty() {
            return;
        }
        worker.idle_since = now;
        if worker.draining == Draining::Watched {
            worker.draining = Draining::Done;
            fx.drained.push(id);
        }
        let pool = worker.name.pool.clone();
        self.release_crew(now, &pool, id, fx);
    }

    /// The process holds no job any more; if its pool was full, others may begin now.
    pub(super) fn release_crew(
        &mut self,
        now: Instant,
        pool: &PoolName,
        worker: WorkerId,
        fx: &mut Effects,
    ) {
        let Some(crew) = self.crews.get_mut(pool) else { return };
        let was_full = crew.is_full();
        crew.holding.remove(&worker);
        if was_full && !crew.is_full() {
            self.wake_for_ready(now, fx);
        }
    }

    /// Somebody may be able to take what nobody could.
    fn wake_for_ready(&mut self, now: Instant, fx: &mut Effects) {
        let ready: Vec<_> = self.functions.ready().iter().copied().collect();
        for function in ready {
            self.wake_one(now, function, fx);
        }
    }

    /// A grab was refused though jobs wait: the pool is at its max, or the worker is draining.
    pub(super) fn starved_of_limit(&self, id: SessionId, fx: &mut Effects) {
        let Some(session) = self.sessions.get(&id) else { return };
        if self.may_take(session) {
            return;
        }
        let waiting =
            session.abilities.keys().find(|function| self.functions.ready().contains(function));
        if let Some(function) = waiting.and_then(|function| self.functions.get(*function)) {
            fx.events.push(BrokerEvent::Starved(function.name.clone()));
        }
    }
}

//! Jobs whose worker went away.
//!
//! A worker that merely hangs up gives its job back uncharged; one that dies charges it. Which of
//! the two it was is known only when the process is reaped, so a job that was held by a worker of
//! ours is charged when its connection ends and refunded if the worker is alive 250 ms later. A
//! job for which this death would be the last one waits in limbo until that is known.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::jobs::Phase;
use super::sessions::Session;
use super::workers::Draining;
use super::{Effects, State, Timer};
use crate::broker::record::Change;
use crate::broker::{JobLoss, LossOutcome};
use crate::model::{Exit, JobId, SessionId, WorkerId};
use crate::protocol::WorkReport;

/// How long after a connection's end its process may be reaped.
const DEATH_KNOWN: Duration = Duration::from_millis(250);
/// Dead workers that are remembered with the jobs they held; the oldest is forgotten first.
const LOSSES_MAX: usize = 1000;

/// What became of the jobs of workers that died.
#[derive(Debug, Default)]
pub(super) struct Losses {
    by_worker: HashMap<WorkerId, JobLoss>,
    order: VecDeque<WorkerId>,
}

impl Losses {
    pub(super) fn all(&self) -> &HashMap<WorkerId, JobLoss> {
        &self.by_worker
    }

    pub(super) fn moved(&mut self, lost_by: WorkerId, to: Option<WorkerId>) {
        if let Some(loss) = self.by_worker.get_mut(&lost_by) {
            loss.outcome = LossOutcome::Moved(to);
        }
    }

    fn record(&mut self, worker: WorkerId, loss: JobLoss) {
        if self.by_worker.insert(worker, loss).is_some() {
            return;
        }
        self.order.push_back(worker);
        if self.order.len() > LOSSES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_worker.remove(&oldest);
        }
    }
}

impl State {
    /// The jobs of a session that was closed.
    pub(super) fn lose_jobs(
        &mut self,
        now: Instant,
        _id: SessionId,
        session: &Session,
        fx: &mut Effects,
    ) {
        let charges = session.worker.filter(|worker| {
            self.workers.get(worker).is_some_and(|worker| worker.draining == Draining::No)
        });
        for job in &session.in_hand {
            match charges {
                None => self.requeue(now, *job, fx),
                Some(worker) => self.doubt(now, *job, worker, fx),
            }
            self.gave_back_job(now, session.worker, *job, false, fx);
        }
    }

    /// The worker may have died with this job.
    fn doubt(&mut self, now: Instant, id: JobId, worker: WorkerId, fx: &mut Effects) {
        let attempts_max = self.settings.attempts_max;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.attempts += 1;
        let last = job.attempts >= attempts_max;
        self.save_attempts(id, fx);
        if last {
            self.put_in_limbo(id);
        } else {
            self.requeue(now, id, fx);
        }
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.doubts.push(id);
        }
        self.set_timer(now + DEATH_KNOWN, Timer::Alive(worker));
    }

    /// A worker process ended.
    pub fn gone(&mut self, now: Instant, id: WorkerId, _exit: Exit, fx: &mut Effects) {
        let Some(mut worker) = self.workers.remove(&id) else { return };
        let charges = worker.draining == Draining::No;
        let mut dead_with = std::mem::take(&mut worker.doubts);
        for session_id in &worker.sessions {
            let Some(session) = self.sessions.get_mut(session_id) else { continue };
            session.worker = None;
            for job in std::mem::take(&mut session.in_hand) {
                if charges {
                    if let Some(job) = self.jobs.get_mut(&job) {
                        job.attempts += 1;
                    }
                    self.save_attempts(job, fx);
                    self.put_in_limbo(job);
                    dead_with.push(job);
                } else {
                    self.requeue(now, job, fx);
                }
            }
        }
        for job in dead_with {
            self.died_with(now, id, job, fx);
        }
        self.release_crew(now, &worker.name.pool, id, fx);
        if worker.draining == Draining::Watched {
            fx.drained.push(id);
        }
    }

    /// It is certain that the worker died with the job, which is charged already.
    fn died_with(&mut self, now: Instant, worker: WorkerId, id: JobId, fx: &mut Effects) {
        let handle = format!("{}:{id}", self.settings.handle_prefix);
        let attempts_max = self.settings.attempts_max;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.lost_by = Some(worker);
        let (attempts, phase, function) = (job.attempts, job.phase, job.function);
        let outcome = match phase {
            Phase::Limbo if attempts >= attempts_max => LossOutcome::GivenUp,
            Phase::Running { worker, .. } => LossOutcome::Moved(worker),
            Phase::Limbo | Phase::Ready | Phase::Pending(_) => LossOutcome::Waiting,
        };
        if let Some(function) = self.functions.get(function).map(|f| f.name.clone()) {
            let loss =
                JobLoss { handle, function, attempts, attempts_max, outcome: outcome.clone() };
            self.losses.record(worker, loss);
        }
        if outcome == LossOutcome::GivenUp {
            self.end_job(id, &WorkReport::Fail, fx);
        } else if phase == Phase::Limbo {
            self.requeue(now, id, fx);
        }
    }

    /// The worker hung up and lives: what it was charged for is given back.
    pub(super) fn lives_on(&mut self, now: Instant, id: WorkerId, fx: &mut Effects) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        for job_id in std::mem::take(&mut worker.doubts) {
            let Some(job) = self.jobs.get_mut(&job_id) else { continue };
            job.attempts = job.attempts.saturating_sub(1);
            let in_limbo = job.phase == Phase::Limbo;
            self.save_attempts(job_id, fx);
            if in_limbo {
                self.requeue(now, job_id, fx);
            }
        }
    }

    /// A job ran for longer than its worker had promised: another one gets it.
    pub(super) fn overdue(
        &mut self,
        now: Instant,
        id: JobId,
        session: SessionId,
        fx: &mut Effects,
    ) {
        let attempts_max = self.settings.attempts_max;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Phase::Running { session: holder, worker, since, timeout } = job.phase else { return };
        // An earlier run's timer: the job has come back to the same session since.
        let due = timeout.is_some_and(|timeout| since + timeout <= now);
        if holder != session || !due {
            return;
        }
        job.attempts += 1;
        let last = job.attempts >= attempts_max;
        self.save_attempts(id, fx);
        if last {
            self.end_job(id, &WorkReport::Fail, fx);
        } else {
            self.requeue(now, id, fx);
        }
        self.gave_back_job(now, worker, id, false, fx);
    }

    /// Takes a job out of a session's hands and back to where it stood in its queue.
    fn requeue(&mut self, now: Instant, id: JobId, fx: &mut Effects) {
        self.put_in_limbo(id);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.progress = None;
        if job.clients.is_empty() && !job.background {
            self.remove_job(id, fx);
        } else {
            self.make_ready(now, id, fx);
        }
    }

    fn put_in_limbo(&mut self, id: JobId) {
        let Some(mut job) = self.jobs.remove(&id) else { return };
        if job.phase != Phase::Limbo {
            self.leave_phase(id, &job);
            job.phase = Phase::Limbo;
            if let Some(function) = self.functions.get_mut(job.function) {
                function.pending += 1;
            }
        }
        self.jobs.insert(id, job);
    }

    fn save_attempts(&mut self, id: JobId, fx: &mut Effects) {
        if let Some(job) = self.jobs.get(&id)
            && job.background
        {
            let attempts = job.attempts;
            self.change(Change::Attempts { id, attempts }, fx);
        }
    }
}

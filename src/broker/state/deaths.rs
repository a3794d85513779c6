//! Jobs whose worker was lost: given back, charged, or given up.
//!
//! A connection that ends with a job in hand may mean that its process died, or that it only left.
//! The job is charged at once and goes on; what follows within 250 ms decides: if the process is
//! gone the charge stands, else it is taken back. A job that the charge would end waits for that
//! verdict. Connections of nobody's, and processes that were told to go, are never charged.
//!
//! A job that comes back takes its old place in the queue, by its number. gearmand puts it at the
//! tail; but it has waited longest of all, and a job that goes to the tail at each death would
//! never end on a busy queue.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::{Duration, Instant};

use super::State;
use super::crews::Duty;
use super::effects::Effects;
use super::habits::Charges;
use super::jobs::{Job, Place};
use super::losses::Losses;
use super::timers::Timer;
use crate::broker::record::{Death, DeathCause};
use crate::broker::{BrokerEvent, JobLoss, LossOutcome};
use crate::model::{Exit, JobId, SessionId, WorkerId};
use crate::protocol::WorkReport;

/// How long after its connection's end a process may turn out dead.
pub(super) const VERDICT_AFTER: Duration = Duration::from_millis(250);

/// Charges without a verdict, and the losses.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    charges: BTreeSet<(WorkerId, JobId)>,
    pub(super) losses: Losses,
}

/// Why a job comes back.
#[derive(Clone, Copy, Debug)]
enum Blame {
    /// Its connection ended, and nobody is to blame.
    Nobody,
    /// The connection of this process ended.
    Suspect(WorkerId),
    /// This process is dead.
    Dead(WorkerId, Exit),
    /// It took longer than its worker allows.
    Time,
    /// Its connection ended, and every such end counts.
    Loss,
}

/// How the last attempt at a job was lost.
#[derive(Clone, Copy, Debug)]
enum Lost {
    /// Its worker died so.
    Died(WorkerId, Exit),
    /// Its time ran out, in the hands of this worker if it is one of ours.
    Late(Option<WorkerId>),
    /// The connection of a worker that is none of ours ended.
    Left,
}

impl State {
    /// A worker process ended: its jobs are charged, and charges of its closed sessions stand.
    pub fn gone(&mut self, now: Instant, worker: WorkerId, exit: Exit, fx: &mut Effects) {
        let Some(process) = self.crews.workers.get(&worker) else { return };
        let (duty, sessions) = (process.duty, process.sessions.clone());
        let is_charged = process.is_charged;
        self.bar(now, worker, if duty == Duty::Serving { Duty::Drained } else { duty });
        let blame = match duty {
            Duty::Serving => Blame::Dead(worker, exit),
            Duty::Draining | Duty::Drained if is_charged => Blame::Dead(worker, exit),
            Duty::Draining | Duty::Drained => Blame::Nobody,
        };
        for session in sessions {
            self.take_back_all(now, session, blame, fx);
        }
        self.convict(now, worker, exit, fx);
        self.crews.workers.remove(&worker);
    }

    /// A performing session closed.
    pub(super) fn lose(&mut self, now: Instant, session: SessionId, fx: &mut Effects) {
        let worker = self.sessions.get(&session).and_then(|session| session.worker);
        let blame = match worker {
            Some(worker) if self.crews.is_answerable(worker) => Blame::Suspect(worker),
            None if self.settings.habits.charges == Charges::EveryLoss => Blame::Loss,
            Some(_) | None => Blame::Nobody,
        };
        self.take_back_all(now, session, blame, fx);
    }

    /// The worker's own time-out for a job ran out. The worker is not told; its late report will
    /// find that it no longer holds the job.
    pub(super) fn timed_out(&mut self, now: Instant, id: JobId, fx: &mut Effects) {
        self.take_back(now, id, Blame::Time, fx);
    }

    /// The process lives, so it gave the job back of its own will.
    pub(super) fn acquit(&mut self, now: Instant, worker: WorkerId, id: JobId, fx: &mut Effects) {
        self.deaths.losses.acquit(worker, id);
        if !self.deaths.charges.remove(&(worker, id)) {
            return;
        }
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.attempts = job.attempts.saturating_sub(1);
        let place = job.place;
        let (attempts, key) = (job.attempts, job.function);
        let goes_on = match place {
            // No other verdict is to come, though the file may allow fewer attempts by now.
            Place::Limbo(suspect) => suspect == worker || attempts < self.attempts_max(key),
            Place::Storing | Place::Delayed | Place::Queued | Place::Running { .. } => false,
        };
        self.update_record(id, fx);
        if goes_on {
            self.enqueue(now, id, fx);
        }
    }

    /// The job is in new hands.
    pub(super) fn moved(&mut self, id: JobId, session: SessionId) {
        let worker = self.sessions.get(&session).and_then(|session| session.worker);
        self.deaths.losses.update(id, &LossOutcome::Moved(worker));
    }

    /// Charges of this process stand.
    fn convict(&mut self, now: Instant, worker: WorkerId, exit: Exit, fx: &mut Effects) {
        self.deaths.losses.confirm(worker);
        let range =
            (Bound::Included((worker, JobId(0))), Bound::Included((worker, JobId(u64::MAX))));
        let charged: Vec<_> = self.deaths.charges.range(range).copied().collect();
        for charge in charged {
            let (_, id) = charge;
            self.deaths.charges.remove(&charge);
            self.timers.clear(Timer::Verdict(worker, id));
            if self.jobs.get(id).is_some_and(|job| job.place == Place::Limbo(worker)) {
                self.give_up(now, id, Lost::Died(worker, exit), fx);
            }
        }
    }

    fn take_back_all(&mut self, now: Instant, session: SessionId, blame: Blame, fx: &mut Effects) {
        let Some(performer) = self.sessions.get(&session) else { return };
        for id in performer.in_hand.clone() {
            self.take_back(now, id, blame, fx);
        }
    }

    /// Takes a job out of a worker's hands without a result.
    fn take_back(&mut self, now: Instant, id: JobId, blame: Blame, fx: &mut Effects) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let Place::Running { session, .. } = job.place else { return };
        let holder = self.sessions.get(&session).and_then(|session| session.worker);
        job.set_progress(None);
        // Of no place until it is decided where it goes.
        job.place = Place::Storing;
        let unwanted = job.is_unwanted();
        if let Some(function) = self.functions.get_mut(job.function) {
            function.running -= 1;
            function.busy.stop(now);
        }
        self.timers.clear(Timer::Timeout(id));
        self.let_go(now, session, id, fx);
        if unwanted {
            self.end(id, fx);
            return;
        }
        match blame {
            Blame::Nobody => self.requeue(now, id, fx),
            Blame::Time | Blame::Loss => {
                if self.charge(id, fx) {
                    let is_late = matches!(blame, Blame::Time);
                    let how = if is_late { Lost::Late(holder) } else { Lost::Left };
                    self.give_up(now, id, how, fx);
                } else {
                    self.requeue(now, id, fx);
                }
            }
            Blame::Dead(worker, exit) => {
                let is_last = self.charge(id, fx);
                self.suspect(worker, id);
                if is_last {
                    self.give_up(now, id, Lost::Died(worker, exit), fx);
                } else {
                    self.requeue(now, id, fx);
                }
            }
            Blame::Suspect(worker) => self.accuse(now, worker, id, fx),
        }
    }

    /// Charges a job to a process that may be dead.
    fn accuse(&mut self, now: Instant, worker: WorkerId, id: JobId, fx: &mut Effects) {
        self.timers.set(Timer::Verdict(worker, id), now + VERDICT_AFTER);
        // A process that lost the same job twice within the delay is charged once.
        let is_new = self.deaths.charges.insert((worker, id));
        let is_last = is_new && self.charge(id, fx);
        self.suspect(worker, id);
        if is_last {
            if let Some(job) = self.jobs.get_mut(id) {
                job.place = Place::Limbo(worker);
            }
        } else {
            self.requeue(now, id, fx);
        }
    }

    /// Counts a death; true when it was the last that the job may cost.
    fn charge(&mut self, id: JobId, fx: &mut Effects) -> bool {
        let Some(job) = self.jobs.get_mut(id) else { return false };
        job.attempts += 1;
        let (attempts, key) = (job.attempts, job.function);
        self.update_record(id, fx);
        attempts >= self.attempts_max(key)
    }

    fn requeue(&mut self, now: Instant, id: JobId, fx: &mut Effects) {
        self.deaths.losses.update(id, &LossOutcome::Waiting);
        self.enqueue(now, id, fx);
    }

    fn suspect(&mut self, worker: WorkerId, id: JobId) {
        if let Some(loss) = self.loss(id, LossOutcome::Waiting) {
            self.deaths.losses.suspect(worker, id, loss);
        }
    }

    /// Ends a job that cost too many workers, or took too long too often.
    fn give_up(&mut self, now: Instant, id: JobId, how: Lost, fx: &mut Effects) {
        let Some(loss) = self.loss(id, LossOutcome::GivenUp) else { return };
        self.deaths.losses.update(id, &LossOutcome::GivenUp);
        let (cause, worker, exit, end) = match how {
            Lost::Died(worker, exit) => {
                (DeathCause::Died, Some(worker), exit.to_string(), Some((worker, exit)))
            }
            Lost::Late(worker) => (DeathCause::TimedOut, worker, String::new(), None),
            Lost::Left => (DeathCause::Died, None, String::new(), None),
        };
        if cause == DeathCause::Died {
            self.note_poison(now, id, fx);
        }
        fx.events.push(BrokerEvent::GivenUp { loss, death: end });
        let worker = worker.map(|worker| self.worker_name(worker)).unwrap_or_default();
        let at = self.settings.wall_clock(now);
        let death = Death { at, cause, worker, exit, output: String::new() };
        self.bury(id, death, &WorkReport::Fail, fx);
    }

    /// The name of the worker that holds the job; empty when it is none of ours.
    pub(super) fn holder_name(&self, job: &Job) -> String {
        let Place::Running { session, .. } = job.place else { return String::new() };
        let worker = self.sessions.get(&session).and_then(|session| session.worker);
        worker.map(|worker| self.worker_name(worker)).unwrap_or_default()
    }

    fn worker_name(&self, worker: WorkerId) -> String {
        self.crews.workers.get(&worker).map(|worker| worker.name.to_string()).unwrap_or_default()
    }

    pub(super) fn loss(&self, id: JobId, outcome: LossOutcome) -> Option<JobLoss> {
        let job = self.jobs.get(id)?;
        Some(JobLoss {
            handle: self.handles.text(id),
            function: self.functions.get(job.function)?.name.clone(),
            attempts: job.attempts,
            attempts_max: self.attempts_max(job.function),
            outcome,
        })
    }
}

//! Changes on their way to the store, and what follows when they arrive or do not.
//!
//! A background job is told to its client, and becomes assignable, when its record is durable. A
//! change that ends or charges a job needs no answer, but must not be forgotten when it fails, or
//! a finished job would come back at the next start: it is made again until it is stored.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::State;
use super::answers::SlotNo;
use super::effects::{Effects, Outgoing};
use super::jobs::{Job, Place, Record};
use super::timers::Timer;
use crate::broker::BrokerEvent;
use crate::broker::record::{
    Change, ChangeSeq, Content, Death, JobRecord, JobUpdate, ScheduleRecord,
};
use crate::model::{JobId, SessionId};
use crate::protocol::{ErrorCode, Response};

/// How long a failed change waits before it is made again.
pub(super) const REDO_AFTER: Duration = Duration::from_secs(1);

/// The changes that the store has not answered, and those that it could not keep.
#[derive(Debug, Default)]
pub(super) struct Commits {
    last: ChangeSeq,
    /// One entry for each change up to `last` that is unanswered.
    pending: VecDeque<Pending>,
    /// Jobs whose records are behind.
    pub(super) redo: BTreeSet<Redo>,
    /// Why the last commit failed; nothing when it did not.
    pub(super) error: Option<String>,
}

/// A record that is behind, to be written as things are when it is written again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Redo {
    /// A job or a dead letter.
    Job(JobId),
    /// A recurring job.
    Schedule(JobId),
    /// A pattern of paused functions.
    Pause(String),
}

#[derive(Debug)]
enum Pending {
    Put {
        job: JobId,
        waiters: Waiters,
    },
    /// A change of a record or its end.
    Update(Redo),
    Reserve {
        through: JobId,
    },
}

/// An answer that waits for a commit.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    session: SessionId,
    slot: SlotNo,
}

/// The answers that wait for one change; rarely more than one, which needs no memory of its own.
#[derive(Debug, Default)]
struct Waiters {
    first: Option<Waiter>,
    others: Vec<Waiter>,
}

impl Waiters {
    fn push(&mut self, waiter: Waiter) {
        match self.first {
            None => self.first = Some(waiter),
            Some(_) => self.others.push(waiter),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Waiter> {
        self.first.iter().chain(&self.others)
    }
}

impl Commits {
    pub(super) fn push(&mut self, change: Change, fx: &mut Effects) -> ChangeSeq {
        self.last.0 += 1;
        self.pending.push_back(match &change {
            Change::Put(JobRecord { id, .. }) | Change::PutSchedule(ScheduleRecord { id, .. }) => {
                Pending::Put { job: *id, waiters: Waiters::default() }
            }
            Change::Update(JobUpdate { id, .. }) | Change::Delete(id) | Change::Purge(id) => {
                Pending::Update(Redo::Job(*id))
            }
            Change::DeleteSchedule(id) => Pending::Update(Redo::Schedule(*id)),
            Change::Pause(pattern) | Change::Resume(pattern) => {
                Pending::Update(Redo::Pause(pattern.clone()))
            }
            Change::ReserveHandles { through } => Pending::Reserve { through: *through },
        });
        fx.changes.push((self.last, change));
        self.last
    }

    /// The oldest unanswered change, if it is not after `through`.
    fn pop(&mut self, through: ChangeSeq) -> Option<Pending> {
        let first = self.last.0 + 1 - self.pending.len() as u64;
        if first > through.0 { None } else { self.pending.pop_front() }
    }

    fn waiters(&mut self, seq: ChangeSeq) -> Option<&mut Waiters> {
        let first = self.last.0 + 1 - self.pending.len() as u64;
        let index = usize::try_from(seq.0.checked_sub(first)?).ok()?;
        match self.pending.get_mut(index)? {
            Pending::Put { waiters, .. } => Some(waiters),
            Pending::Update(_) | Pending::Reserve { .. } => None,
        }
    }
}

impl State {
    /// Asks the store for the next block of handles when it is time.
    pub(super) fn reserve_handles(&mut self, fx: &mut Effects) {
        if let Some(through) = self.handles.ask_for_block() {
            self.commits.push(Change::ReserveHandles { through }, fx);
        }
    }

    /// Lets the store look at itself: it mends what a reader found damaged at the next commit.
    pub fn probe_store(&mut self, fx: &mut Effects) {
        self.commits.push(Change::ReserveHandles { through: self.handles.reserved() }, fx);
    }

    /// Keeps a job until it has run; `session` is answered when that is sure.
    pub(super) fn keep(&mut self, now: Instant, session: SessionId, id: JobId, fx: &mut Effects) {
        match self.store_job(now, id, fx) {
            Some(seq) => self.answer_after(session, id, seq),
            None => self.answer_created(session, id, fx),
        }
    }

    /// Keeps a job until it has run; tells the change that makes it durable, if it is to be.
    pub(super) fn store_job(
        &mut self,
        now: Instant,
        id: JobId,
        fx: &mut Effects,
    ) -> Option<ChangeSeq> {
        let job = self.jobs.get(id)?;
        if self.is_in_memory(job.function) {
            let is_new = job.place == Place::Storing;
            self.jobs.get_mut(id)?.record = Record::Memory;
            if is_new {
                self.line_up(now, id, fx);
            }
            return None;
        }
        // Of a job that is no record yet, the content is in memory.
        let record = self.record_of(id, job, job.content()?)?;
        let seq = self.commits.push(Change::Put(record), fx);
        self.jobs.get_mut(id)?.record = Record::Pending(seq);
        Some(seq)
    }

    /// The job as the store keeps it.
    pub(super) fn record_of(&self, id: JobId, job: &Job, content: &Content) -> Option<JobRecord> {
        Some(JobRecord {
            id,
            function: self.functions.get(job.function)?.name.clone(),
            unique: content.unique.clone(),
            priority: job.priority,
            attempts: job.attempts,
            enqueued_at: self.settings.wall_of(job.enqueued),
            run_at: job.run_at(),
            reducer: job.reducer().cloned(),
            payload: content.payload.clone(),
        })
    }

    /// What may have changed of the job since it was stored.
    pub(super) fn update_of(&self, id: JobId, job: &Job, death: Option<Death>) -> JobUpdate {
        let enqueued_at = self.settings.wall_of(job.enqueued);
        JobUpdate { id, attempts: job.attempts, enqueued_at, death }
    }

    /// Answers a submission of `job` when this change is durable.
    pub(super) fn answer_after(&mut self, session: SessionId, job: JobId, seq: ChangeSeq) {
        let Some(waiters) = self.commits.waiters(seq) else { return };
        let Some(submitter) = self.sessions.get_mut(&session) else { return };
        let slot = submitter.answers.push_pending(job);
        waiters.push(Waiter { session, slot });
    }

    /// Stores what changed of the job, if it is a record.
    pub(super) fn update_record(&mut self, id: JobId, fx: &mut Effects) {
        let Some(job) = self.jobs.get(id).filter(|job| job.is_stored()) else { return };
        let update = self.update_of(id, job, None);
        self.commits.redo.remove(&Redo::Job(id));
        self.commits.push(Change::Update(update), fx);
    }

    /// Ends a record.
    pub(super) fn delete_record(&mut self, id: JobId, fx: &mut Effects) {
        // What failed to be stored may be that it is no dead letter any more.
        let is_behind = self.commits.redo.remove(&Redo::Job(id));
        let change = if is_behind { Change::Purge(id) } else { Change::Delete(id) };
        self.commits.push(change, fx);
    }

    pub(super) fn committed(&mut self, now: Instant, through: ChangeSeq, fx: &mut Effects) {
        self.recorded(now, through, fx);
        if self.commits.error.take().is_some() {
            fx.events.push(BrokerEvent::Store(None));
            self.timers.clear(Timer::Redo);
            self.redo(now, fx);
        }
    }

    /// Changes are durable; whether the store works again is another question.
    pub(super) fn recorded(&mut self, now: Instant, through: ChangeSeq, fx: &mut Effects) {
        while let Some(pending) = self.commits.pop(through) {
            match pending {
                Pending::Put { job, waiters } => {
                    self.stored(now, job, &waiters, fx);
                    self.serve_waiters(now, &waiters, fx);
                }
                Pending::Update(_) => {}
                Pending::Reserve { through } => self.handles.granted(through),
            }
        }
    }

    pub(super) fn not_committed(
        &mut self,
        now: Instant,
        through: ChangeSeq,
        reason: String,
        fx: &mut Effects,
    ) {
        while let Some(pending) = self.commits.pop(through) {
            match pending {
                Pending::Put { job, waiters } => {
                    self.refused(job, &waiters, &reason, fx);
                    self.serve_waiters(now, &waiters, fx);
                }
                Pending::Update(record) => {
                    self.commits.redo.insert(record);
                }
                Pending::Reserve { .. } => self.handles.refused(),
            }
        }
        self.timers.set_unless_set(Timer::Redo, now + REDO_AFTER);
        if self.commits.error.is_none() {
            fx.events.push(BrokerEvent::Store(Some(reason.clone())));
        }
        self.commits.error = Some(reason);
    }

    /// Makes failed changes again. While the store fails there is always one change to try it
    /// with, so that its recovery is noticed on an idle broker too.
    pub(super) fn redo(&mut self, now: Instant, fx: &mut Effects) {
        for record in std::mem::take(&mut self.commits.redo) {
            self.write_again(record, fx);
        }
        if self.commits.error.is_some() {
            self.commits.push(Change::ReserveHandles { through: self.handles.reserved() }, fx);
            self.timers.set(Timer::Redo, now + REDO_AFTER);
        }
    }

    fn write_again(&mut self, record: Redo, fx: &mut Effects) {
        match record {
            Redo::Job(id) if self.dead.by_id.contains_key(&id) => self.update_dead(id, fx),
            Redo::Job(id) if self.jobs.get(id).is_some() => self.update_record(id, fx),
            Redo::Job(id) => {
                self.commits.push(Change::Purge(id), fx);
            }
            Redo::Schedule(id) => self.write_schedule(id, fx),
            Redo::Pause(pattern) => {
                let is_paused = self.pauses().contains(&pattern);
                let change =
                    if is_paused { Change::Pause(pattern) } else { Change::Resume(pattern) };
                self.commits.push(change, fx);
            }
        }
    }

    fn stored(&mut self, now: Instant, id: JobId, waiters: &Waiters, fx: &mut Effects) {
        let created = Response::JobCreated(self.handles.bytes(id));
        self.resolve_all(waiters, &created, fx);
        if let Some(dead) = self.dead.by_id.get_mut(&id) {
            dead.job.record = Record::Kept;
            dead.job.forget_content();
        }
        self.schedule_stored(id);
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.record = Record::Kept;
        if job.place == Place::Storing {
            self.line_up(now, id, fx);
            self.spare_memory(id);
        }
    }

    /// A record could not be stored: those who wait for it are told, and the job is what it was
    /// before, which for most jobs is nothing.
    fn refused(&mut self, id: JobId, waiters: &Waiters, reason: &str, fx: &mut Effects) {
        if let Some(dead) = self.dead.by_id.get_mut(&id) {
            // It stays known for as long as we live.
            dead.job.record = Record::None;
        }
        if self.drop_schedule(id) {
            let error = Response::error(ErrorCode::QueueError, reason.to_owned());
            return self.resolve_all(waiters, &error, fx);
        }
        let Some(job) = self.jobs.get_mut(id) else {
            // It ran and ended meanwhile, so it needs no record any more.
            let created = Response::JobCreated(self.handles.bytes(id));
            return self.resolve_all(waiters, &created, fx);
        };
        job.record = Record::None;
        if job.place == Place::Storing {
            self.end(id, fx);
        } else {
            self.drop_if_unwanted(id, fx);
        }
        let error = Response::error(ErrorCode::QueueError, reason.to_owned());
        self.resolve_all(waiters, &error, fx);
    }

    /// Answers the grabs that stood behind these answers.
    fn serve_waiters(&mut self, now: Instant, waiters: &Waiters, fx: &mut Effects) {
        for waiter in waiters.iter() {
            self.serve_grabs(now, waiter.session, fx);
        }
    }

    fn resolve_all(&mut self, waiters: &Waiters, answer: &Response, fx: &mut Effects) {
        for waiter in waiters.iter() {
            if let Some(session) = self.sessions.get_mut(&waiter.session) {
                let answer = Outgoing::Packet(answer.clone());
                session.answers.resolve(waiter.session, waiter.slot, answer, fx);
            }
        }
    }
}

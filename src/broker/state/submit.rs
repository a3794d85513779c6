//! Submissions: what becomes a job, what joins one, what is refused.

use std::time::Instant;

use super::jobs::{Job, Phase};
use super::sessions::Answer;
use super::{Effects, Outgoing, State};
use crate::broker::record::{Change, JobRecord};
use crate::model::{JobId, SessionId};
use crate::protocol::{ErrorCode, Response, Submission, SubmitMode, UNIQUE_LEN_MAX};

impl State {
    pub(super) fn submit(
        &mut self,
        now: Instant,
        client: SessionId,
        submission: Submission,
        fx: &mut Effects,
    ) {
        if submission.unique.0.len() > UNIQUE_LEN_MAX {
            let error = Response::error(ErrorCode::ArgumentTooLarge, "Unique value too large");
            return self.answer(client, error, fx);
        }
        let function = self.functions.find_or_add(&submission.function);
        let key = Self::coalescing_key(&submission.unique, &submission.payload);
        let same = key.and_then(|key| self.functions.uniques.get(&(function, key)).copied());
        if let Some(job) = same {
            return self.join_job(now, client, job, submission.mode, fx);
        }
        if self.is_full(&submission) {
            let error = Response::error(ErrorCode::QueueError, "Job queue is full");
            return self.answer(client, error, fx);
        }
        let Some(id) = self.new_id(fx) else {
            let text = "no handle could be reserved on disk; try again";
            return self.answer(client, Response::error(ErrorCode::QueueError, text), fx);
        };
        let background = submission.mode == SubmitMode::Background;
        let job = Job {
            function,
            unique: submission.unique,
            priority: submission.priority,
            payload: submission.payload,
            background,
            attempts: 0,
            submitted: now,
            phase: Phase::Limbo,
            clients: if background { Vec::new() } else { vec![client] },
            progress: None,
            lost_by: None,
        };
        self.remember_unique(id, &job);
        if let Some(function) = self.functions.get_mut(function) {
            function.pending += 1;
        }
        let record = background.then(|| self.record_of(now, id, &job));
        self.jobs.insert(id, job);
        if let Some(record) = record.flatten() {
            let change = self.change(Change::Put(record), fx);
            self.set_phase(id, Phase::Pending(change));
            self.commits.wait_for_job(change, id);
            self.answer_created(client, id, fx);
        } else {
            if let Some(session) = self.sessions.get_mut(&client) {
                session.waits_for.insert(id);
            }
            self.answer_created(client, id, fx);
            self.make_ready(now, id, fx);
        }
    }

    /// A submission of a job that is there already. Its payload and priority do not count.
    fn join_job(
        &mut self,
        now: Instant,
        client: SessionId,
        id: JobId,
        mode: SubmitMode,
        fx: &mut Effects,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match mode {
            SubmitMode::Foreground => {
                job.clients.push(client);
                if let Some(session) = self.sessions.get_mut(&client) {
                    session.waits_for.insert(id);
                }
                self.answer_created(client, id, fx);
            }
            SubmitMode::Background if job.background => self.answer_created(client, id, fx),
            SubmitMode::Background => {
                // The job was only a promise to its clients; now it must survive them too.
                job.background = true;
                let record = self.jobs.get(&id).and_then(|job| self.record_of(now, id, job));
                let Some(record) = record else { return };
                let change = self.change(Change::Put(record), fx);
                self.commits.wait_for_promise(change, id);
                self.created_after(client, id, change, fx);
            }
        }
    }

    /// JOB_CREATED, once the job is durable if it is a record.
    fn answer_created(&mut self, client: SessionId, id: JobId, fx: &mut Effects) {
        match self.jobs.get(&id).map(|job| job.phase) {
            Some(Phase::Pending(change)) => self.created_after(client, id, change, fx),
            _ => self.answer(client, Response::JobCreated(self.handle_of(id)), fx),
        }
    }

    fn created_after(
        &mut self,
        client: SessionId,
        id: JobId,
        change: crate::broker::record::ChangeSeq,
        fx: &mut Effects,
    ) {
        let packet = Outgoing::Packet(Response::JobCreated(self.handle_of(id)));
        self.commits.wake_session(change, client);
        self.answer_with(client, Answer::After(change, packet), fx);
    }

    fn record_of(&self, now: Instant, id: JobId, job: &Job) -> Option<JobRecord> {
        let since_start = now.saturating_duration_since(self.settings.started);
        Some(JobRecord {
            id,
            function: self.functions.get(job.function)?.name.clone(),
            unique: job.unique.clone(),
            priority: job.priority,
            attempts: job.attempts,
            enqueued_at: self.settings.started_at + since_start,
            payload: job.payload.clone(),
        })
    }

    fn is_full(&self, submission: &Submission) -> bool {
        let id = self.functions.find(&submission.function);
        let Some(function) = id.and_then(|id| self.functions.get(id)) else { return false };
        let limit = function.limit(submission.priority);
        limit.is_some_and(|limit| u64::try_from(function.total()).is_ok_and(|n| n >= limit))
    }

    pub(super) fn set_phase(&mut self, id: JobId, phase: Phase) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.phase = phase;
        }
    }
}

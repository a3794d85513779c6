//! Submitting jobs, and joining a job that is there already.

use std::time::Instant;

use super::State;
use super::effects::{Effects, Outgoing};
use super::functions::FunctionKey;
use super::jobs::{Job, Place, Record};
use crate::broker::record::Content;
use crate::model::{JobId, Priority, SessionId};
use crate::protocol::{ErrorCode, Response, Submission, SubmitMode, UNIQUE_LEN_MAX};

impl State {
    pub(super) fn submit(
        &mut self,
        now: Instant,
        session: SessionId,
        submission: Submission,
        fx: &mut Effects,
    ) {
        // gearmand takes one byte more than it keeps whole; here that byte works too.
        if submission.unique.0.len() > UNIQUE_LEN_MAX + 1 {
            let text = "Unique value too large";
            return self.refuse(session, ErrorCode::ArgumentTooLarge, text, fx);
        }
        let mode = submission.mode;
        let function = self.functions.ensure(&submission.function);
        let content = Content { unique: submission.unique, payload: submission.payload };
        let same = self.jobs.sameness(&content);
        if let Some(job) = same.and_then(|same| self.jobs.same(function, same)) {
            return self.join(session, job, mode, fx);
        }
        if self.is_full(function, submission.priority) {
            return self.refuse(session, ErrorCode::QueueError, "Job queue is full", fx);
        }
        let Some(id) = self.create(now, function, submission.priority, content) else {
            let text = "no job handle is reserved, the store is late; try again";
            return self.refuse(session, ErrorCode::QueueError, text, fx);
        };
        match mode {
            SubmitMode::Background => self.put_record(session, id, fx),
            SubmitMode::Foreground => {
                self.add_client(session, id);
                self.answer_created(session, id, fx);
                self.enqueue(now, id, fx);
            }
        }
    }

    /// Makes a job that is in no queue yet; nothing when no number is left for it.
    fn create(
        &mut self,
        now: Instant,
        function: FunctionKey,
        priority: Priority,
        content: Content,
    ) -> Option<JobId> {
        let id = self.handles.take()?;
        let job = Job::new(function, priority, self.settings.moment(now));
        self.jobs.insert(id, job, content);
        if let Some(function) = self.functions.get_mut(function) {
            function.held.insert(id);
        }
        Some(id)
    }

    /// A second submission of a job: its payload and priority do not count.
    fn join(&mut self, session: SessionId, id: JobId, mode: SubmitMode, fx: &mut Effects) {
        let Some(job) = self.jobs.get(id) else { return };
        let (record, place) = (job.record, job.place);
        if mode == SubmitMode::Foreground {
            self.add_client(session, id);
        }
        match record {
            Record::Pending(seq) if mode == SubmitMode::Background || place == Place::Storing => {
                self.answer_after(session, id, seq);
            }
            Record::None if mode == SubmitMode::Background => self.put_record(session, id, fx),
            Record::None | Record::Pending(_) | Record::Kept => {
                self.answer_created(session, id, fx);
            }
        }
    }

    fn add_client(&mut self, session: SessionId, id: JobId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let Some(client) = self.sessions.get_mut(&session) else { return };
        *job.clients_mut().entry(session).or_default() += 1;
        client.waits_for.insert(id);
    }

    fn answer_created(&mut self, session: SessionId, id: JobId, fx: &mut Effects) {
        let created = Outgoing::Packet(Response::JobCreated(self.handles.bytes(id)));
        if let Some(client) = self.sessions.get_mut(&session) {
            client.answers.push_about(session, Some(id), created, fx);
        }
    }

    fn is_full(&self, function: FunctionKey, priority: Priority) -> bool {
        self.functions.get(function).is_some_and(|function| {
            let limit = *function.limits.get(priority);
            limit.is_some_and(|limit| function.total() as u64 >= limit)
        })
    }
}

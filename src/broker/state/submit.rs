//! Submitting jobs, and joining a job that is there already.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::State;
use super::effects::{Effects, Outgoing};
use super::functions::FunctionKey;
use super::jobs::{Job, Place, Record};
use super::sameness::Sameness;
use crate::broker::record::Content;
use crate::model::{JobId, SessionId};
use crate::protocol::{
    ErrorCode, REDUCER_LEN_MAX, Response, Submission, SubmitMode, UNIQUE_LEN_MAX,
};

/// Latest time that SUBMIT_JOB_EPOCH may ask for, the end of the year 9999; whoever sends a later
/// one counts in other units.
const EPOCH_MAX: u64 = 253_402_300_799;

impl State {
    /// A submission, with its reducer.
    pub(super) fn submit(
        &mut self,
        now: Instant,
        session: SessionId,
        (submission, reducer): (Submission, Option<Bytes>),
        fx: &mut Effects,
    ) {
        if let Some(text) = too_large(&submission, reducer.as_ref()) {
            return self.refuse(session, ErrorCode::ArgumentTooLarge, text, fx);
        }
        let mode = submission.mode;
        let function = self.ensure_function(&submission.function);
        let same = self.jobs.sameness(&submission.unique, &submission.payload);
        if let Some(job) = same.and_then(|same| self.jobs.same(function, same)) {
            return self.join(now, session, (job, mode), fx);
        }
        if self.is_too_long(function, submission.payload.len()) {
            let text = "Payload value too large";
            return self.refuse(session, ErrorCode::ArgumentTooLarge, text, fx);
        }
        if self.is_full(function, submission.priority) {
            return self.refuse(session, ErrorCode::QueueError, "Job queue is full", fx);
        }
        let Some(id) = self.create(now, function, (submission, reducer), same) else {
            let text = "no job handle is reserved, the store is late; try again";
            return self.refuse(session, ErrorCode::QueueError, text, fx);
        };
        match mode {
            SubmitMode::Background | SubmitMode::At(_) => self.keep(now, session, id, fx),
            SubmitMode::Foreground => {
                self.add_client(session, id);
                self.answer_created(session, id, fx);
                self.enqueue(now, id, fx);
            }
        }
    }

    /// Makes a job that is in no queue yet; nothing when no number is left for it.
    pub(super) fn create(
        &mut self,
        now: Instant,
        function: FunctionKey,
        (submission, reducer): (Submission, Option<Bytes>),
        same: Option<Sameness>,
    ) -> Option<JobId> {
        let id = self.handles.take()?;
        let run_at = match submission.mode {
            SubmitMode::At(epoch) => Some(SystemTime::UNIX_EPOCH + Duration::from_secs(epoch)),
            SubmitMode::Foreground | SubmitMode::Background => None,
        };
        let mut job = Job::new(function, submission.priority, self.settings.moment(now));
        job.set_special(run_at, reducer);
        let content = Content { unique: submission.unique, payload: submission.payload };
        self.jobs.insert(id, job, content, same);
        if let Some(function) = self.functions.get_mut(function) {
            function.held.insert(id);
        }
        Some(id)
    }

    /// A second submission of a job: its payload, priority and time do not count.
    fn join(
        &mut self,
        now: Instant,
        session: SessionId,
        (id, mode): (JobId, SubmitMode),
        fx: &mut Effects,
    ) {
        let Some(job) = self.jobs.get(id) else { return };
        let (record, place) = (job.record, job.place);
        let waits = mode == SubmitMode::Foreground;
        if waits {
            self.add_client(session, id);
        }
        match record {
            Record::Pending(seq) if !waits || place == Place::Storing => {
                self.answer_after(session, id, seq);
            }
            Record::None if !waits => self.keep(now, session, id, fx),
            Record::None | Record::Pending(_) | Record::Kept | Record::Memory => {
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

    pub(super) fn answer_created(&mut self, session: SessionId, id: JobId, fx: &mut Effects) {
        let created = Outgoing::Packet(Response::JobCreated(self.handles.bytes(id)));
        if let Some(client) = self.sessions.get_mut(&session) {
            client.answers.push_about(session, Some(id), created, fx);
        }
    }
}

/// What to answer when an argument is longer than may be.
fn too_large(submission: &Submission, reducer: Option<&Bytes>) -> Option<&'static str> {
    // gearmand takes one byte more than it keeps whole; here that byte works too.
    if submission.unique.0.len() > UNIQUE_LEN_MAX + 1 {
        return Some("Unique value too large");
    }
    if reducer.is_some_and(|reducer| reducer.len() > REDUCER_LEN_MAX) {
        return Some("Reducer value too large");
    }
    matches!(submission.mode, SubmitMode::At(epoch) if epoch > EPOCH_MAX)
        .then_some("Epoch value too large")
}

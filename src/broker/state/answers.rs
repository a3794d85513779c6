//! The order of one session's answers: first in, first out.
//!
//! libgearman pairs JOB_CREATED with its tasks by order alone, so an answer that is ready waits
//! for those before it that are not: submissions until they are durable, grabs until it is known
//! whose session this is. A grab is given its job only when nothing is before it, so no job lies
//! in the hands of a worker that has not heard of it. News of jobs (WORK_*) and NOOP are no answers
//! and overtake, with one exception: no client may hear of a job before it was told its handle.
//! A listing of jobs is an answer that goes out in pieces, and later ones wait for its end.

use std::collections::{BTreeMap, VecDeque};

use super::effects::{Effects, Outgoing};
use super::job_lists::JobList;
use crate::model::{JobId, SessionId};
use crate::protocol::GrabStyle;

/// The position of an answer among all answers of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SlotNo(u64);

/// Answers that could not be sent yet.
#[derive(Debug, Default)]
pub(super) struct Answers {
    slots: VecDeque<Slot>,
    /// How many slots have been sent.
    sent: u64,
    /// How many slots speak of each job.
    jobs: BTreeMap<JobId, usize>,
}

#[derive(Debug)]
struct Slot {
    job: Option<JobId>,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    Ready(Outgoing),
    /// Until a commit.
    Pending,
    /// A grab: until it is the first, and it is known whose session this is.
    Held(GrabStyle),
    /// Piece by piece: [`Answers::job_list`] tells where it is.
    Jobs(JobList),
    /// Nothing more to say: the connection is to be closed.
    Close,
}

impl Answers {
    /// How many answers are still owed.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// An answer that is ready.
    pub(super) fn push(&mut self, session: SessionId, answer: Outgoing, fx: &mut Effects) {
        self.push_about(session, None, answer, fx);
    }

    /// An answer that is ready and tells the client the handle of `job`.
    pub(super) fn push_about(
        &mut self,
        session: SessionId,
        job: Option<JobId>,
        answer: Outgoing,
        fx: &mut Effects,
    ) {
        if self.slots.is_empty() {
            self.sent += 1;
            fx.sends.push((session, answer));
        } else {
            self.append(job, Answer::Ready(answer));
        }
    }

    /// An answer about `job` that [`Answers::resolve`] brings later.
    pub(super) fn push_pending(&mut self, job: JobId) -> SlotNo {
        self.append(Some(job), Answer::Pending)
    }

    /// A grab; [`Answers::held`] names it when it is its turn.
    pub(super) fn push_held(&mut self, style: GrabStyle) {
        self.append(None, Answer::Held(style));
    }

    /// A listing; the effects name the session when it is its turn.
    pub(super) fn push_job_list(&mut self, session: SessionId, list: JobList, fx: &mut Effects) {
        self.append(None, Answer::Jobs(list));
        if self.slots.len() == 1 {
            fx.job_lists.push(session);
        }
    }

    /// Closes the connection after the answers so far.
    pub(super) fn push_close(&mut self, session: SessionId, fx: &mut Effects) {
        self.append(None, Answer::Close);
        self.flush(session, fx);
    }

    /// News of a job; it overtakes unless the client has yet to hear of the job.
    pub(super) fn news(
        &mut self,
        session: SessionId,
        job: JobId,
        news: Outgoing,
        fx: &mut Effects,
    ) {
        if self.jobs.contains_key(&job) {
            self.append(Some(job), Answer::Ready(news));
        } else {
            fx.sends.push((session, news));
        }
    }

    /// Fills a slot and sends what has become ready.
    pub(super) fn resolve(
        &mut self,
        session: SessionId,
        no: SlotNo,
        answer: Outgoing,
        fx: &mut Effects,
    ) {
        let index = no.0.checked_sub(self.sent).and_then(|index| usize::try_from(index).ok());
        if let Some(slot) = index.and_then(|index| self.slots.get_mut(index)) {
            slot.answer = Answer::Ready(answer);
        }
        self.flush(session, fx);
    }

    /// The first answer owed, if that is a grab's.
    pub(super) fn held(&self) -> Option<(SlotNo, GrabStyle)> {
        match self.slots.front()?.answer {
            Answer::Held(style) => Some((SlotNo(self.sent), style)),
            Answer::Ready(_) | Answer::Pending | Answer::Jobs(_) | Answer::Close => None,
        }
    }

    /// The first answer owed, if that is a listing.
    pub(super) fn job_list(&mut self) -> Option<&mut JobList> {
        match &mut self.slots.front_mut()?.answer {
            Answer::Jobs(list) => Some(list),
            Answer::Ready(_) | Answer::Pending | Answer::Held(_) | Answer::Close => None,
        }
    }

    /// The listing that is the first answer owed has gone out.
    pub(super) fn end_job_list(&mut self, session: SessionId, fx: &mut Effects) {
        if self.job_list().is_some() {
            self.slots.pop_front();
            self.sent += 1;
            self.flush(session, fx);
        }
    }

    fn append(&mut self, job: Option<JobId>, answer: Answer) -> SlotNo {
        let no = SlotNo(self.sent + self.slots.len() as u64);
        if let Some(job) = job {
            *self.jobs.entry(job).or_default() += 1;
        }
        self.slots.push_back(Slot { job, answer });
        no
    }

    fn flush(&mut self, session: SessionId, fx: &mut Effects) {
        while let Some(slot) = self.slots.pop_front() {
            match slot.answer {
                Answer::Ready(answer) => fx.sends.push((session, answer)),
                Answer::Close => fx.closes.push(session),
                Answer::Jobs(_) => {
                    self.slots.push_front(slot);
                    fx.job_lists.push(session);
                    return;
                }
                Answer::Pending | Answer::Held(_) => {
                    self.slots.push_front(slot);
                    return;
                }
            }
            self.sent += 1;
            if let Some(job) = slot.job {
                self.sent_about(job);
            }
        }
    }

    fn sent_about(&mut self, job: JobId) {
        if let Some(count) = self.jobs.get_mut(&job) {
            *count -= 1;
            if *count == 0 {
                self.jobs.remove(&job);
            }
        }
    }
}

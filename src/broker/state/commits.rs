//! Changes under way to the disk, and who waits for them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::jobs::Phase;
use super::sessions::Answer;
use super::{Effects, Outgoing, State, Timer};
use crate::broker::BrokerEvent;
use crate::broker::record::{Change, ChangeSeq};
use crate::model::{JobId, SessionId};
use crate::protocol::{ErrorCode, Response};

/// Handles are reserved on disk in blocks of so many, the next one when half of it is used.
const HANDLE_BLOCK: u64 = 65_536;
/// Pause before changes that failed are tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Changes in the order in which they were made.
#[derive(Debug)]
pub(super) struct Commits {
    last: ChangeSeq,
    settled: ChangeSeq,
    waiting: VecDeque<(ChangeSeq, Waiting)>,
    /// Changes that must come about and are not durable yet; puts are not among them.
    unsettled: VecDeque<(ChangeSeq, Change)>,
    /// Those that failed.
    failed: Vec<Change>,
    /// Handles up to this one may be given out.
    reserved: JobId,
    /// The end of the block that is being reserved.
    reserving: JobId,
    broken: Option<String>,
}

/// Who is to hear of a change.
#[derive(Clone, Copy, Debug)]
enum Waiting {
    /// A job that becomes ready.
    Job(JobId),
    /// A foreground job that a background submission has joined.
    Promise(JobId),
    /// A session with an answer that waits.
    Session(SessionId),
}

impl Commits {
    pub(super) fn new(reserved: JobId) -> Self {
        Self {
            last: ChangeSeq(0),
            settled: ChangeSeq(0),
            waiting: VecDeque::new(),
            unsettled: VecDeque::new(),
            failed: Vec::new(),
            reserved,
            reserving: reserved,
            broken: None,
        }
    }

    /// Changes up to this one are durable or have failed.
    pub(super) fn settled(&self) -> ChangeSeq {
        self.settled
    }

    /// Why changes fail just now.
    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    pub(super) fn wait_for_job(&mut self, change: ChangeSeq, job: JobId) {
        self.waiting.push_back((change, Waiting::Job(job)));
    }

    pub(super) fn wait_for_promise(&mut self, change: ChangeSeq, job: JobId) {
        self.waiting.push_back((change, Waiting::Promise(job)));
    }

    /// A session that joins an older change is told in the order of the queue, which is not by
    /// change any more; so the place is searched from the end.
    pub(super) fn wake_session(&mut self, change: ChangeSeq, session: SessionId) {
        let at = self.waiting.iter().rposition(|(other, _)| *other <= change);
        self.waiting.insert(at.map_or(0, |at| at + 1), (change, Waiting::Session(session)));
    }

    fn take_waiting(&mut self, through: ChangeSeq) -> Option<Waiting> {
        let (change, _) = self.waiting.front()?;
        if *change > through {
            return None;
        }
        self.waiting.pop_front().map(|(_, waiting)| waiting)
    }
}

impl State {
    /// Hands a change to the store.
    pub(super) fn change(&mut self, change: Change, fx: &mut Effects) -> ChangeSeq {
        self.commits.last.0 += 1;
        let seq = self.commits.last;
        if !matches!(change, Change::Put(_)) {
            self.commits.unsettled.push_back((seq, change.clone()));
        }
        fx.changes.push((seq, change));
        seq
    }

    /// The next handle's number; `None` while none is durably reserved.
    pub(super) fn new_id(&mut self, fx: &mut Effects) -> Option<JobId> {
        let id = JobId(self.next_job);
        let left = self.commits.reserving.0.saturating_sub(id.0);
        if left < HANDLE_BLOCK / 2 {
            self.commits.reserving = JobId(id.0 + HANDLE_BLOCK);
            self.change(Change::ReserveHandles { through: self.commits.reserving }, fx);
        }
        if id > self.commits.reserved {
            return None;
        }
        self.next_job += 1;
        Some(id)
    }

    pub(super) fn committed(&mut self, now: Instant, through: ChangeSeq, fx: &mut Effects) {
        self.commits.settled = through;
        while let Some((_, change)) =
            self.commits.unsettled.pop_front_if(|(seq, _)| *seq <= through)
        {
            if let Change::ReserveHandles { through } = change {
                self.commits.reserved = self.commits.reserved.max(through);
            }
        }
        while let Some(waiting) = self.commits.take_waiting(through) {
            match waiting {
                Waiting::Job(job) => self.make_ready(now, job, fx),
                Waiting::Promise(_) => {}
                Waiting::Session(session) => self.flush(session, fx),
            }
        }
        if self.commits.failed.is_empty() && self.commits.broken.take().is_some() {
            fx.events.push(BrokerEvent::Store(None));
        }
    }

    pub(super) fn not_committed(
        &mut self,
        now: Instant,
        through: ChangeSeq,
        reason: &str,
        fx: &mut Effects,
    ) {
        let before = self.commits.settled;
        self.commits.settled = through;
        while let Some((_, change)) =
            self.commits.unsettled.pop_front_if(|(seq, _)| *seq <= through)
        {
            self.commits.failed.push(change);
        }
        while let Some(waiting) = self.commits.take_waiting(through) {
            match waiting {
                // Whoever joined it has an answer that waits for the same change.
                Waiting::Job(job) => drop(self.remove_job(job, fx)),
                Waiting::Promise(job) => {
                    if let Some(job) = self.jobs.get_mut(&job) {
                        job.background = false;
                    }
                }
                Waiting::Session(session) => {
                    self.refuse_answers(session, before, reason);
                    self.flush(session, fx);
                }
            }
        }
        if self.commits.broken.replace(reason.to_owned()).is_none() {
            fx.events.push(BrokerEvent::Store(Some(reason.to_owned())));
        }
        self.set_timer(now + RETRY_AFTER, Timer::Retry);
    }

    /// Answers that waited for a change after `before` become refusals in their places.
    fn refuse_answers(&mut self, id: SessionId, before: ChangeSeq, reason: &str) {
        let settled = self.commits.settled;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        for answer in &mut session.answers {
            if let Answer::After(change, _) = answer
                && *change > before
                && *change <= settled
            {
                let error = Response::error(ErrorCode::QueueError, reason.to_owned());
                *answer = Answer::Ready(Outgoing::Packet(error));
            }
        }
    }

    /// Changes that must come about are made again: a job that has run must not come back.
    pub(super) fn retry_changes(&mut self, fx: &mut Effects) {
        for change in std::mem::take(&mut self.commits.failed) {
            self.change(change, fx);
        }
    }

    /// The job joins its queue, and somebody is woken for it.
    pub(super) fn make_ready(&mut self, now: Instant, id: JobId, fx: &mut Effects) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let (function, priority) = (job.function, job.priority);
        if matches!(job.phase, Phase::Pending(_) | Phase::Limbo)
            && let Some(function) = self.functions.get_mut(function)
        {
            function.pending -= 1;
        }
        job.phase = Phase::Ready;
        self.functions.enqueue(function, priority, id);
        self.wake_one(now, function, fx);
    }
}

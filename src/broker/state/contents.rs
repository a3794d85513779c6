//! Which jobs' contents are in memory: those near the heads of their queues, up to a budget.
//!
//! A stored job's content (unique and payload) is dropped when many jobs are before it, or when
//! memory is short, and read back ahead of its turn. Jobs that are in no store keep theirs. A grab
//! whose job has to be read first waits for it, and so does every later answer to that session.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::State;
use super::effects::Effects;
use super::functions::{FunctionKey, Queue};
use super::jobs::{Place, Record};
use super::timers::Timer;
use crate::broker::BrokerEvent;
use crate::broker::LossOutcome;
use crate::broker::record::Fetched;
use crate::model::{JobId, Priority, SessionId};
use crate::protocol::WorkReport;

/// Jobs at the head of a queue that are read ahead of their turn.
pub(super) const READ_AHEAD_JOBS: usize = 512;
/// Jobs of a queue behind which a new one leaves its content to the disk at once.
pub(super) const KEPT_JOBS: usize = 256;
/// The part of the budget that new jobs may fill, in quarters; the rest is for reading ahead.
const NEW_JOBS_QUARTERS: usize = 2;
/// How long after a failed read the disk is left alone.
pub(super) const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Reads under way, and who waits for them.
#[derive(Debug, Default)]
pub(super) struct Contents {
    asked: BTreeSet<JobId>,
    waiting: BTreeMap<JobId, Vec<SessionId>>,
    /// Until then nothing is read: the disk failed.
    rests_until: Option<Instant>,
}

impl State {
    /// Leaves the content of a job that has just been stored to the disk, if it is far from its
    /// turn or memory is short.
    pub(super) fn spare_memory(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(id).filter(|job| job.record == Record::Kept) else { return };
        let Some(function) = self.functions.get(job.function) else { return };
        let before = match job.place {
            Place::Queued => function.queued(job.priority).len(),
            Place::Delayed => *function.delayed.get(job.priority),
            Place::Storing | Place::Running { .. } | Place::Limbo(_) => return,
        };
        let budget = self.settings.held_bytes_max / 4 * NEW_JOBS_QUARTERS;
        if before > KEPT_JOBS || self.jobs.held_bytes() > budget {
            self.jobs.release(id);
        }
    }

    /// Lets a grab wait for the content of the first job of a queue.
    pub(super) fn await_content(
        &mut self,
        session: SessionId,
        (key, priority): Queue,
        fx: &mut Effects,
    ) {
        let Some(function) = self.functions.get_mut(key) else { return };
        let Some(first) = function.queued(priority).first() else { return };
        let waiting = self.contents.waiting.entry(first).or_default();
        if !waiting.contains(&session) {
            waiting.push(session);
        }
        if !self.contents.asked.contains(&first) {
            function.look_in = 0;
            self.read_ahead(key, priority, fx);
        }
    }

    /// Whether the first job of a queue cannot be had now, since the disk does not read.
    pub(super) fn is_unreadable(&self, now: Instant, (key, priority): Queue) -> bool {
        let first = || {
            let first = self.functions.get(key)?.queued(priority).first()?;
            self.jobs.get(first)
        };
        self.rests_until(now).is_some() && first().is_some_and(|job| job.content().is_none())
    }

    /// A session sleeps on although there may be jobs for it, which cannot be read: it would grab,
    /// get none and come back at once. Their functions wake somebody when the disk is tried again.
    pub(super) fn sleep_until_read(&mut self, now: Instant, id: SessionId) {
        let Some(until) = self.rests_until(now) else { return };
        let Some(session) = self.sessions.get(&id) else { return };
        for key in self.functions.ready_for(&session.abilities) {
            self.timers.set_unless_set(Timer::Wake(key), until);
        }
    }

    fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.contents.rests_until.filter(|until| *until > now)
    }

    /// Asks for the contents of the next jobs of a queue, if they are not in memory.
    pub(super) fn read_ahead(&mut self, key: FunctionKey, priority: Priority, fx: &mut Effects) {
        if !self.jobs.any_on_disk() {
            return;
        }
        let Some(function) = self.functions.get_mut(key) else { return };
        if let Some(less) = function.look_in.checked_sub(1) {
            function.look_in = less;
            return;
        }
        function.look_in = READ_AHEAD_JOBS / 2;
        let has_room = self.jobs.held_bytes() < self.settings.held_bytes_max;
        let count = if has_room { READ_AHEAD_JOBS } else { 1 };
        for id in function.queued(priority).iter().take(count) {
            let is_on_disk = self.jobs.get(id).is_some_and(|job| job.content().is_none());
            if is_on_disk && self.contents.asked.insert(id) {
                fx.fetches.push(id);
            }
        }
    }

    /// A read is done: goes on with the grabs that waited for it.
    pub(super) fn fetched_content(
        &mut self,
        now: Instant,
        id: JobId,
        outcome: Fetched,
        fx: &mut Effects,
    ) {
        self.contents.asked.remove(&id);
        match outcome {
            Fetched::Content(content) => {
                self.contents.rests_until = None;
                self.jobs.hold(id, content);
            }
            Fetched::Later => self.look_again(id),
            Fetched::Failed => self.contents.rests_until = Some(now + READ_AGAIN_AFTER),
            Fetched::Lost => self.lose_content(id, fx),
        }
        for session in self.contents.waiting.remove(&id).unwrap_or_default() {
            self.serve_grabs(now, session, fx);
        }
    }

    /// Has the next grab ask for what was left out of an answer.
    fn look_again(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(id) else { return };
        if let Some(function) = self.functions.get_mut(job.function) {
            function.look_in = 0;
        }
    }

    /// Ends a job whose content cannot be read, for it would block its queue for ever.
    fn lose_content(&mut self, id: JobId, fx: &mut Effects) {
        let Some(job) = self.jobs.get(id) else { return };
        if job.content().is_some() || job.place != Place::Queued {
            return;
        }
        if let Some(loss) = self.loss(id, LossOutcome::GivenUp) {
            fx.events.push(BrokerEvent::Lost(loss));
        }
        if let Some(job) = self.end(id, fx) {
            self.tell(id, &job, &WorkReport::Fail, fx);
        }
    }
}

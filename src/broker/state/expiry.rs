//! Jobs that wait longer than the file allows for their function are dropped.
//!
//! Such a job is stale, as a check is whose time is over: its clients are told that it failed, and
//! it is no dead letter. The time counts from when the job could have run first.

use std::time::{Duration, Instant};

use super::State;
use super::delayed::{LATER_MAX, NEXT_AFTER};
use super::effects::Effects;
use super::functions::FunctionKey;
use super::jobs::{Job, Place};
use super::timers::Timer;
use crate::model::{JobId, Priority};
use crate::protocol::WorkReport;

impl State {
    /// A job has joined its queue.
    pub(super) fn will_expire(&mut self, now: Instant, key: FunctionKey, id: JobId) {
        let Some(at) = self.expires(now, key, id) else { return };
        let Some(function) = self.functions.get_mut(key) else { return };
        function.note_expiry(at, id);
        if let Some((first, _)) = function.expiring.first() {
            self.timers.set(Timer::Expire(key), *first);
        }
    }

    /// The file may say another time for the function.
    pub(super) fn look_at_expiry(&mut self, now: Instant, key: FunctionKey) {
        let Some(function) = self.functions.get_mut(key) else { return };
        function.expiring.clear();
        let queued = Priority::ALL.iter().flat_map(|priority| function.queued(*priority).iter());
        let ids: Vec<JobId> = queued.collect();
        self.timers.clear(Timer::Expire(key));
        for id in ids {
            self.will_expire(now, key, id);
        }
    }

    /// Drops the jobs of the function whose time is over.
    pub(super) fn expire(&mut self, now: Instant, key: FunctionKey, fx: &mut Effects) {
        for _ in 0..LATER_MAX {
            let Some(function) = self.functions.get_mut(key) else { return };
            let Some((at, id)) = function.expiring.first().copied() else { return };
            if at > now {
                return self.timers.set(Timer::Expire(key), at);
            }
            function.expiring.pop_first();
            // It may run or be over; one that came back since has an entry of its own.
            let waits = self.jobs.get(id).is_some_and(|job| job.place == Place::Queued);
            if waits && self.expires(now, key, id).is_some_and(|at| at <= now) {
                if let Some(function) = self.functions.get_mut(key) {
                    function.expired += 1;
                }
                if let Some(job) = self.end(id, fx) {
                    self.tell(id, &job, &WorkReport::Fail, fx);
                }
            }
        }
        self.timers.set(Timer::Expire(key), now + NEXT_AFTER);
    }

    fn expires(&self, now: Instant, key: FunctionKey, id: JobId) -> Option<Instant> {
        let after = self.functions.get(key)?.rule.expire_after?;
        let job = self.jobs.get(id)?;
        now.checked_add(after.saturating_sub(self.waited(now, job)))
    }

    /// How long it could have run by now.
    fn waited(&self, now: Instant, job: &Job) -> Duration {
        let waited = self.settings.since(now, job.enqueued);
        let due = job.run_at().and_then(|at| self.settings.wall_clock(now).duration_since(at).ok());
        due.map_or(waited, |due| due.min(waited))
    }
}

//! Jobs that are not due yet.
//!
//! They wait beside their queues, in the order of their times, so that a future job hides nothing
//! and costs its performers no wake-up. Their times are the wall clock's, which may be set: it is
//! looked at again at least every half minute while a job waits for it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use super::State;
use super::effects::Effects;
use super::jobs::{Job, Place};
use super::timers::Timer;
use crate::model::JobId;

/// How long the clock is trusted while jobs wait for it.
pub(super) const LOOK_AFTER: Duration = Duration::from_secs(30);
/// Jobs whose time comes in one turn; the others follow in the next.
pub(super) const LATER_MAX: usize = 256;
/// How long others have between two such turns.
pub(super) const NEXT_AFTER: Duration = Duration::from_millis(1);

/// Times that are waited for.
#[derive(Debug, Default)]
pub(super) struct Delayed {
    jobs: BTreeSet<(SystemTime, JobId)>,
}

impl State {
    /// Tells what the wall clock says; it may have been set since.
    pub fn set_clock(&mut self, now: Instant, wall: SystemTime) {
        let passed = now.saturating_duration_since(self.settings.started);
        self.settings.started_at = wall.checked_sub(passed).unwrap_or(wall);
    }

    /// Puts a job into its queue, or beside it while its time has not come.
    pub(super) fn line_up(&mut self, now: Instant, id: JobId, fx: &mut Effects) {
        let run_at = self.jobs.get(id).and_then(Job::run_at);
        match run_at.filter(|at| *at > self.settings.wall_clock(now)) {
            Some(at) => self.delay(now, id, at),
            None => self.enqueue(now, id, fx),
        }
    }

    /// Keeps a job beside its queue until `at`.
    pub(super) fn delay(&mut self, now: Instant, id: JobId, at: SystemTime) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.place = Place::Delayed;
        if let Some(function) = self.functions.get_mut(job.function) {
            function.held.insert(id);
            *function.delayed.get_mut(job.priority) += 1;
        }
        self.delayed.jobs.insert((at, id));
        self.look_at_clock(now);
    }

    /// Takes a job out that waits for its time.
    pub(super) fn undelay(&mut self, id: JobId, job: &Job) {
        if let Some(at) = job.run_at() {
            self.delayed.jobs.remove(&(at, id));
        }
        if let Some(function) = self.functions.get_mut(job.function) {
            *function.delayed.get_mut(job.priority) -= 1;
        }
    }

    /// Puts the jobs whose time has come into their queues.
    pub(super) fn due(&mut self, now: Instant, fx: &mut Effects) {
        let wall = self.settings.wall_clock(now);
        for _ in 0..LATER_MAX {
            let Some((_, id)) = self.delayed.jobs.first().copied().filter(|(at, _)| *at <= wall)
            else {
                return self.look_at_clock(now);
            };
            self.delayed.jobs.pop_first();
            let Some(job) = self.jobs.get(id) else { continue };
            if let Some(function) = self.functions.get_mut(job.function) {
                *function.delayed.get_mut(job.priority) -= 1;
            }
            self.enqueue(now, id, fx);
        }
        self.timers.set(Timer::Due, now + NEXT_AFTER);
    }

    /// Sets the timer for the first job that is waited for.
    fn look_at_clock(&mut self, now: Instant) {
        match self.delayed.jobs.first() {
            None => self.timers.clear(Timer::Due),
            Some((at, _)) => {
                let wait = at.duration_since(self.settings.wall_clock(now)).unwrap_or_default();
                self.timers.set(Timer::Due, now + wait.min(LOOK_AFTER));
            }
        }
    }
}

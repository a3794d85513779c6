//! Jobs that end, told while somebody records them: what a load can be played back from.

use std::time::{Duration, Instant};

use super::State;
use super::effects::Effects;
use super::jobs::{Job, Place};
use crate::broker::JobEnding;
use crate::model::JobId;

impl State {
    /// Whether jobs that end are told from now on.
    pub fn record(&mut self, records: bool) {
        self.is_recorded = records;
    }

    /// A job's work is over.
    pub(super) fn note_end(&self, now: Instant, id: JobId, fx: &mut Effects) {
        let Some(job) = self.jobs.get(id).filter(|_| self.is_recorded) else { return };
        let Place::Running { since, .. } = job.place else { return };
        let service = now.saturating_duration_since(since);
        self.tell_end(now, job, Some(service), fx);
    }

    /// A job is given up, since it ended its workers.
    pub(super) fn note_poison(&self, now: Instant, id: JobId, fx: &mut Effects) {
        let Some(job) = self.jobs.get(id).filter(|_| self.is_recorded) else { return };
        self.tell_end(now, job, None, fx);
    }

    fn tell_end(&self, now: Instant, job: &Job, service: Option<Duration>, fx: &mut Effects) {
        let Some(function) = self.functions.get(job.function) else { return };
        let wall = self.settings.wall_clock(now);
        // One with a time of its own came when it was due.
        let due = job.run_at().map(|at| wall.duration_since(at).unwrap_or_default());
        let age = self.settings.since(now, job.enqueued);
        let age = due.map_or(age, |due| due.min(age));
        let function = function.name.clone();
        fx.endings.push(JobEnding { function, at: now, age, service });
    }
}

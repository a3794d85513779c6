//! Dead letters: jobs that ended without a result and are kept for an operator.
//!
//! A job becomes one when it cost too many workers or took too long too often, and a background job
//! also when its worker says that it failed, since nobody else would hear of it. It is out of the
//! queues and its unique is free; it keeps its handle, its payload and its record.

use std::collections::BTreeMap;
use std::time::Instant;

use super::State;
use super::commits::Redo;
use super::effects::Effects;
use super::functions::FunctionKey;
use super::jobs::{Job, Place, Record};
use super::sameness::Sameness;
use crate::broker::JobView;
use crate::broker::record::{Change, Death, JobRecord};
use crate::model::{FunctionName, JobId};
use crate::protocol::WorkReport;

/// Dead letters of one function; the oldest is dropped for one more.
pub(super) const DEAD_MAX: usize = 1000;
/// What is kept of the text of an exception, or of a worker's last lines.
const OUTPUT_LEN_MAX: usize = 4096;

/// One dead letter.
#[derive(Debug)]
pub(super) struct DeadJob {
    /// Its content is in memory only while it is on no disk.
    pub(super) job: Job,
    /// What made it the same as another job.
    same: Option<Sameness>,
    pub(super) death: Death,
}

/// All dead letters.
#[derive(Debug, Default)]
pub(super) struct Dead {
    pub(super) by_id: BTreeMap<JobId, DeadJob>,
}

impl State {
    /// Ends a job without a result: its clients get `report`, and it becomes a dead letter.
    pub(super) fn bury(
        &mut self,
        id: JobId,
        mut death: Death,
        report: &WorkReport,
        fx: &mut Effects,
    ) -> Option<Place> {
        let mut job = self.take_out(id)?;
        self.tell(id, &job, report, fx);
        let place = job.place;
        shorten(&mut death.output);
        job.forget_audience();
        job.place = Place::Storing;
        // It was in a worker's hands, so its content is in memory.
        let content = job.content()?;
        let same = self.jobs.sameness(&content.unique, &content.payload);
        if job.record == Record::None && !self.is_in_memory(job.function) {
            let record = self.record_of(id, &job, content)?;
            job.record = self.commits.push(Change::Put(record), fx).into();
        }
        if job.record == Record::Kept {
            job.forget_content();
        }
        let key = job.function;
        self.dead.by_id.insert(id, DeadJob { job, same, death });
        self.update_dead(id, fx);
        self.file_dead(id, key, fx);
        Some(place)
    }

    /// A dead letter that the store kept; its content stays on disk.
    pub fn restore_dead(
        &mut self,
        now: Instant,
        record: JobRecord,
        death: Death,
        fx: &mut Effects,
    ) {
        let id = record.id;
        let (job, content) = self.job_of(now, record);
        let same = self.jobs.sameness(&content.unique, &content.payload);
        let key = job.function;
        self.dead.by_id.insert(id, DeadJob { job, same, death });
        self.file_dead(id, key, fx);
    }

    /// Adds a dead letter to those of its function, which keeps only so many.
    fn file_dead(&mut self, id: JobId, key: FunctionKey, fx: &mut Effects) {
        let Some(function) = self.functions.get_mut(key) else { return };
        function.dead.insert(id);
        if function.dead.len() > DEAD_MAX
            && let Some(oldest) = function.dead.first().copied()
        {
            self.purge(oldest, fx);
        }
    }

    /// Adds the last lines of the worker that died with the job, if it is a dead letter still.
    pub fn annotate(&mut self, handle: &str, output: String, fx: &mut Effects) {
        let Some(id) = self.parse_handle(handle) else { return };
        let Some(dead) = self.dead.by_id.get_mut(&id) else { return };
        dead.death.output = output;
        shorten(&mut dead.death.output);
        self.update_dead(id, fx);
    }

    /// Puts a dead letter back into its queue, as though nothing had happened to it.
    pub(super) fn retry(&mut self, now: Instant, id: JobId, fx: &mut Effects) -> bool {
        let Some(dead) = self.exhume(id) else { return false };
        let mut job = dead.job;
        job.attempts = 0;
        job.enqueued = self.settings.moment(now);
        if !job.is_stored() {
            job.record = Record::Memory;
        }
        if let Some(function) = self.functions.get_mut(job.function) {
            function.held.insert(id);
        }
        self.jobs.put_back(id, job, dead.same);
        self.update_record(id, fx);
        self.line_up(now, id, fx);
        true
    }

    /// Drops a dead letter.
    pub(super) fn purge(&mut self, id: JobId, fx: &mut Effects) -> bool {
        let Some(dead) = self.exhume(id) else { return false };
        if dead.job.is_stored() {
            self.commits.redo.remove(&Redo::Job(id));
            self.commits.push(Change::Purge(id), fx);
        }
        true
    }

    /// Dead letters, the oldest handle first, at most `limit`.
    #[must_use]
    pub fn dead_jobs(
        &self,
        now: Instant,
        function: Option<&FunctionName>,
        limit: usize,
    ) -> Vec<JobView> {
        let only = function.map(|name| self.functions.key(name));
        let meant = |dead: &DeadJob| only.is_none_or(|key| key == Some(dead.job.function));
        let all = self.dead.by_id.iter().filter(|(_, dead)| meant(dead));
        all.filter_map(|(id, _)| self.dead_view(now, *id)).take(limit).collect()
    }

    pub(super) fn dead_view(&self, now: Instant, id: JobId) -> Option<JobView> {
        let dead = self.dead.by_id.get(&id)?;
        let view = self.view_of(now, id, &dead.job)?;
        Some(JobView { death: Some(dead.death.clone()), attempt: dead.job.attempts, ..view })
    }

    /// Writes the state of a dead letter anew, if it has a record.
    pub(super) fn update_dead(&mut self, id: JobId, fx: &mut Effects) {
        let Some(dead) = self.dead.by_id.get(&id) else { return };
        if dead.job.is_stored() {
            let update = self.update_of(id, &dead.job, Some(dead.death.clone()));
            self.commits.redo.remove(&Redo::Job(id));
            self.commits.push(Change::Update(update), fx);
        }
    }

    fn exhume(&mut self, id: JobId) -> Option<DeadJob> {
        let dead = self.dead.by_id.remove(&id)?;
        if let Some(function) = self.functions.get_mut(dead.job.function) {
            function.dead.remove(&id);
        }
        Some(dead)
    }
}

/// Keeps the end, which tells most.
fn shorten(output: &mut String) {
    if let Some(mut from) = output.len().checked_sub(OUTPUT_LEN_MAX) {
        while !output.is_char_boundary(from) {
            from += 1;
        }
        output.drain(..from);
        output.shrink_to_fit();
    }
}

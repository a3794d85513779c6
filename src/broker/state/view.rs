//! What is told of jobs, functions and workers to whoever asks.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::State;
use super::functions::Function;
use super::jobs::{Job, Phase};
use super::workers::{Draining, Worker};
use crate::broker::{FunctionView, JobView, Overview, WorkerView};
use crate::model::{FunctionName, JobId};
use crate::protocol::JobStatus;

impl State {
    /// The broker at this moment.
    #[must_use]
    pub fn overview(&self, now: Instant) -> Overview {
        let functions = self.functions.iter();
        Overview {
            functions: functions.map(|f| (f.name.clone(), self.function_view(now, f))).collect(),
            workers: self.workers.iter().map(|(id, w)| (*id, self.worker_view(now, w))).collect(),
            losses: self.losses.all().clone(),
            sessions: self.sessions.len(),
            untied_performers: self
                .sessions
                .values()
                .filter(|session| session.worker.is_none() && !session.abilities.is_empty())
                .count(),
            store_error: self.commits.broken().map(str::to_owned),
        }
    }

    /// Jobs that wait or run, the oldest first, at most `limit`.
    #[must_use]
    pub fn jobs(
        &self,
        now: Instant,
        function: Option<&FunctionName>,
        limit: usize,
    ) -> Vec<JobView> {
        let only = function.map(|name| self.functions.find(name));
        let wanted = |id: &JobId| {
            let job = self.jobs.get(id)?;
            let fits = only.is_none_or(|only| only == Some(job.function));
            fits.then(|| self.job_view(now, *id, job))
        };
        self.job_ids().iter().filter_map(wanted).take(limit).collect()
    }

    /// One job by its handle.
    #[must_use]
    pub fn job(&self, now: Instant, handle: &str) -> Option<JobView> {
        let id = self.job_of(handle.as_bytes())?;
        Some(self.job_view(now, id, self.jobs.get(&id)?))
    }

    pub(super) fn job_ids(&self) -> Vec<JobId> {
        let mut ids: Vec<_> = self.jobs.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    pub(super) fn status_of(&self, id: JobId) -> JobStatus {
        let Some(job) = self.jobs.get(&id) else { return JobStatus::default() };
        let (numerator, denominator) = job.progress.clone().unwrap_or_default();
        let running = matches!(job.phase, Phase::Running { .. });
        JobStatus { known: true, running, numerator, denominator }
    }

    fn function_view(&self, now: Instant, function: &Function) -> FunctionView {
        let age = |job: &JobId| self.jobs.get(job).map(|job| since(now, job.submitted));
        FunctionView {
            queued: function.queued(),
            oldest: function.queue.iter().filter_map(|(_, job)| age(job)).max(),
            running: function.running,
            performers: function.performers.len(),
            ended: function.ended,
        }
    }

    fn worker_view(&self, now: Instant, worker: &Worker) -> WorkerView {
        let sessions = worker.sessions.iter().filter_map(|id| self.sessions.get(id));
        let abilities = sessions.flat_map(|session| session.abilities.keys());
        let names = abilities.filter_map(|function| self.functions.get(*function));
        let mut functions: Vec<_> = names.map(|function| function.name.clone()).collect();
        functions.sort_unstable();
        functions.dedup();
        let mut jobs: Vec<_> = worker.jobs.iter().copied().collect();
        jobs.sort_unstable();
        let job = |id: &JobId| Some(self.job_view(now, *id, self.jobs.get(id)?));
        let idle = worker.registered && worker.jobs.is_empty();
        WorkerView {
            sessions: worker.sessions.len(),
            functions,
            jobs: jobs.iter().filter_map(job).collect(),
            done: worker.done,
            idle: idle.then(|| since(now, worker.idle_since)),
            draining: worker.draining != Draining::No,
        }
    }

    fn job_view(&self, now: Instant, id: JobId, job: &Job) -> JobView {
        let function = self.functions.get(job.function);
        let (running, worker) = match job.phase {
            Phase::Running { since: start, worker, .. } => (Some(since(now, start)), worker),
            Phase::Pending(_) | Phase::Ready | Phase::Limbo => (None, None),
        };
        JobView {
            handle: format!("{}:{id}", self.settings.handle_prefix),
            function: function.map_or_else(|| FunctionName::from(""), |f| f.name.clone()),
            unique: job.unique.clone(),
            priority: job.priority,
            background: job.background,
            age: since(now, job.submitted),
            running,
            worker,
            attempt: job.attempts + 1,
            clients: job.clients.len(),
            progress: job.progress.as_ref().and_then(numbers),
            payload_len: job.payload.len(),
        }
    }
}

fn since(now: Instant, then: Instant) -> Duration {
    now.saturating_duration_since(then)
}

/// Progress as numbers, when the worker wrote numbers.
fn numbers((numerator, denominator): &(Bytes, Bytes)) -> Option<(u32, u32)> {
    let number = |text: &Bytes| std::str::from_utf8(text).ok()?.trim().parse().ok();
    Some((number(numerator)?, number(denominator)?))
}

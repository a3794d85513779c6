//! What the broker tells of itself when asked; nothing here changes anything.

use std::collections::BTreeSet;
use std::time::Instant;

use bytes::Bytes;

use super::State;
use super::crews::{Duty, Worker};
use super::functions::{Function, FunctionKey};
use super::jobs::{Job, Place, Record};
use crate::broker::{FunctionView, JobView, JobsOf, JobsQuery, Overview, WorkerView};
use crate::model::{
    FunctionName, InHand, JobId, PoolName, Priority, SessionId, Tally, Unique, WorkerId,
};
use crate::protocol::{JobStatus, Response};

/// Where a payload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// In memory: this.
    Held(Bytes),
    /// With the stored job of this number.
    OnDisk(JobId),
}

impl State {
    /// The broker at this moment.
    #[must_use]
    pub fn overview(&self, now: Instant) -> Overview {
        let performs = |session: &&super::sessions::Session| {
            session.worker.is_none() && !session.abilities.is_empty()
        };
        let functions = self.functions.iter();
        let workers = self.crews.workers.iter();
        Overview {
            functions: functions
                .map(|function| (function.name.clone(), self.function_view(now, function)))
                .collect(),
            workers: workers.map(|(id, worker)| (*id, self.worker_view(now, worker))).collect(),
            losses: self.deaths.losses.view(),
            sessions: self.sessions.len(),
            untied_performers: self.sessions.values().filter(performs).count(),
            store_error: self.commits.error.clone(),
        }
    }

    /// Jobs that wait or run, and recurring ones, the oldest first, at most `limit`.
    #[must_use]
    pub fn jobs(
        &self,
        now: Instant,
        function: Option<&FunctionName>,
        limit: usize,
    ) -> Vec<JobView> {
        let Some(name) = function else {
            let jobs = self.jobs.iter().filter_map(|(id, _)| self.job_view(now, id)).take(limit);
            let recurring = self.schedule_ids().filter_map(|id| self.schedule_view(now, id));
            return jobs.chain(recurring).take(limit).collect();
        };
        let Some(function) = self.functions.key(name).and_then(|key| self.functions.get(key))
        else {
            return Vec::new();
        };
        let queued = Priority::ALL.iter().flat_map(|p| function.queued(*p).iter().take(limit));
        let mut ids: Vec<JobId> = queued.chain(function.held.iter()).collect();
        ids.sort_unstable();
        let jobs = ids.into_iter().filter_map(|id| self.job_view(now, id));
        let recurring = &function.schedules;
        let recurring = recurring.iter().filter_map(|id| self.schedule_view(now, *id));
        jobs.chain(recurring).take(limit).collect()
    }

    /// Jobs as a query asks for them.
    #[must_use]
    pub fn query(&self, now: Instant, query: &JobsQuery) -> Vec<JobView> {
        let function = query.function.as_ref();
        match query.of {
            JobsOf::Oldest => self.jobs(now, function, query.limit),
            JobsOf::Newest => self.newest_jobs(now, function, query.limit),
            JobsOf::Dead => self.dead_jobs(now, function, query.limit),
        }
    }

    fn newest_jobs(
        &self,
        now: Instant,
        function: Option<&FunctionName>,
        limit: usize,
    ) -> Vec<JobView> {
        let Some(name) = function else {
            let recurring = self.schedule_ids().filter_map(|id| self.schedule_view(now, id));
            let jobs = self.jobs.newest().filter_map(|(id, _)| self.job_view(now, id));
            return recurring.chain(jobs).take(limit).collect();
        };
        let Some(function) = self.functions.key(name).and_then(|key| self.functions.get(key))
        else {
            return Vec::new();
        };
        let newest = |p: &Priority| function.queued(*p).iter().rev().take(limit);
        let queued = Priority::ALL.iter().flat_map(newest);
        let mut ids: Vec<JobId> = queued.chain(function.held.iter()).collect();
        ids.sort_unstable_by_key(|id| std::cmp::Reverse(*id));
        let recurring = function.schedules.iter().filter_map(|id| self.schedule_view(now, *id));
        let jobs = ids.into_iter().filter_map(|id| self.job_view(now, id));
        recurring.chain(jobs).take(limit).collect()
    }

    /// One job by its handle, also a dead letter and a recurring job.
    #[must_use]
    pub fn job(&self, now: Instant, handle: &str) -> Option<JobView> {
        let id = self.parse_handle(handle)?;
        self.job_view(now, id)
            .or_else(|| self.dead_view(now, id))
            .or_else(|| self.schedule_view(now, id))
    }

    /// The payload of a job, of a dead letter, or of each run of a recurring job.
    #[must_use]
    pub fn payload(&self, handle: &str) -> Option<Payload> {
        let id = self.parse_handle(handle)?;
        let dead = || self.dead.by_id.get(&id).map(|dead| &dead.job);
        let place_of = |job: &Job| match job.content() {
            Some(content) => Payload::Held(content.payload.clone()),
            None => Payload::OnDisk(id),
        };
        let recurring = || self.schedule_payload(id).map(Payload::Held);
        self.jobs.get(id).or_else(dead).map(place_of).or_else(recurring)
    }

    pub(super) fn parse_handle(&self, handle: &str) -> Option<JobId> {
        self.handles.parse(handle.as_bytes())
    }

    /// The jobs in the hands of a pool's processes.
    #[must_use]
    pub fn in_hands(&self, now: Instant, pool: &PoolName) -> Vec<InHand> {
        let ours = self.crews.workers.iter().filter(|(_, worker)| worker.name.pool == *pool);
        let held = ours.flat_map(|(worker, process)| {
            let sessions = process.sessions.iter().filter_map(|id| self.sessions.get(id));
            sessions.flat_map(|session| &session.in_hand).map(|id| (*worker, *id))
        });
        held.filter_map(|(worker, id)| match self.jobs.get(id)?.place {
            Place::Running { since, .. } => Some(InHand {
                worker,
                handle: self.handles.text(id),
                running: now.saturating_duration_since(since),
            }),
            Place::Storing | Place::Queued | Place::Delayed | Place::Limbo(_) => None,
        })
        .collect()
    }

    /// What a pool's processes have done.
    #[must_use]
    pub fn tally(&self, now: Instant, pool: &PoolName) -> Vec<Tally> {
        let ours = self.crews.workers.iter().filter(|(_, worker)| worker.name.pool == *pool);
        ours.map(|(id, worker)| Tally {
            worker: *id,
            done: worker.done,
            is_busy: worker.holding > 0,
            idle: worker.idle_since.map(|since| now.saturating_duration_since(since)),
        })
        .collect()
    }

    /// GET_STATUS.
    pub(super) fn status_of(&self, handle: Bytes) -> Response {
        let id = self.handles.parse(&handle);
        let job = id.and_then(|id| self.jobs.get(id)).map(job_status);
        let status = job.or_else(|| self.schedule_status(id?)).unwrap_or_default();
        Response::Status { handle, status }
    }

    /// GET_STATUS_UNIQUE.
    pub(super) fn status_of_unique(&self, unique: Unique) -> Response {
        let job = self.jobs.with_unique(&unique).and_then(|id| self.jobs.get(id));
        Response::StatusUnique {
            unique,
            status: job.map(job_status).unwrap_or_default(),
            clients: job.map_or(0, clients),
        }
    }

    fn function_view(&self, now: Instant, function: &Function) -> FunctionView {
        let first = |priority| {
            let id: Option<JobId> = function.queued(priority).first();
            id.and_then(|id| self.jobs.get(id)).map(|job| job.enqueued)
        };
        let oldest = Priority::ALL.into_iter().filter_map(first).min();
        FunctionView {
            queued: Priority::ALL.map(|priority| function.queued(priority).len()),
            delayed: function.delayed_len(),
            oldest: oldest.map(|since| self.settings.since(now, since)),
            running: function.running,
            performers: function.performers.len(),
            ended: function.ended,
            expired: function.expired,
            dead: function.dead.len(),
            paused: function.paused,
        }
    }

    fn worker_view(&self, now: Instant, worker: &Worker) -> WorkerView {
        let sessions = || worker.sessions.iter().filter_map(|id| self.sessions.get(id));
        let keys: BTreeSet<FunctionKey> =
            sessions().flat_map(|session| session.abilities.keys().copied()).collect();
        let functions = keys.into_iter().filter_map(|key| self.functions.get(key));
        let jobs = sessions().flat_map(|session| &session.in_hand);
        WorkerView {
            sessions: worker.sessions.len(),
            functions: functions.map(|function| function.name.clone()).collect(),
            jobs: jobs.filter_map(|id| self.job_view(now, *id)).collect(),
            done: worker.done,
            idle: worker.idle_since.map(|since| now.saturating_duration_since(since)),
            draining: worker.duty != Duty::Serving,
        }
    }

    /// Nothing for jobs that nobody was told of yet.
    fn job_view(&self, now: Instant, id: JobId) -> Option<JobView> {
        let job = self.jobs.get(id).filter(|job| job.place != Place::Storing)?;
        self.view_of(now, id, job)
    }

    pub(super) fn view_of(&self, now: Instant, id: JobId, job: &Job) -> Option<JobView> {
        let wall = self.settings.wall_clock(now);
        let (running, worker) = match job.place {
            Place::Storing | Place::Queued | Place::Delayed | Place::Limbo(_) => (None, None),
            Place::Running { session, since } => {
                (Some(now.saturating_duration_since(since)), self.worker_of(session))
            }
        };
        Some(JobView {
            handle: self.handles.text(id),
            function: self.functions.get(job.function)?.name.clone(),
            unique: job.content().map_or_else(|| "".into(), |content| content.unique.clone()),
            priority: job.priority,
            background: job.record != Record::None,
            age: self.settings.since(now, job.enqueued),
            running,
            worker,
            attempt: job.attempts + 1,
            clients: clients(job),
            progress: job.progress(),
            death: None,
            times: None,
            due: job.run_at().and_then(|at| at.duration_since(wall).ok()),
            payload_len: job.content().map_or(0, |content| content.payload.len()),
            on_disk: job.content().is_none().then_some(id),
        })
    }

    fn worker_of(&self, session: SessionId) -> Option<WorkerId> {
        self.sessions.get(&session)?.worker
    }
}

fn clients(job: &Job) -> usize {
    job.clients().values().sum()
}

fn job_status(job: &Job) -> JobStatus {
    let (numerator, denominator) = job.progress().unwrap_or_default();
    JobStatus {
        known: true,
        running: matches!(job.place, Place::Running { .. }),
        numerator: numerator.to_string().into(),
        denominator: denominator.to_string().into(),
    }
}

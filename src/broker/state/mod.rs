//! Every rule about jobs, queues and sessions, as a value that is driven from outside.
//!
//! [`State::handle`] takes one input and the time, and appends what is to be done to [`Effects`].
//! It knows sessions and workers by their ids only: no sockets, no files, no clock, no tokio.
//!
//! A job: *pending* (its record is not durable yet) → *ready* (in its function's queue) →
//! *running* (in a session's hands) → ended. A worker's death takes it back to ready, or to *limbo*
//! while it is open whether the worker died or merely hung up.

mod admin;
mod commits;
mod deaths;
mod dispatch;
mod effects;
mod functions;
mod input;
mod jobs;
mod sessions;
mod submit;
mod view;
mod workers;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant, SystemTime};

use super::record::JobRecord;
use crate::model::{JobId, PoolName, SessionId, WorkerId};

pub use effects::{Effects, Outgoing};
pub use input::Input;

use commits::Commits;
use deaths::Losses;
use functions::{FunctionId, Functions};
use jobs::{Job, Phase};
use sessions::Session;
use workers::{Crew, Worker};

/// What the rules are told once, at the start.
#[derive(Clone, Debug)]
pub struct StateSettings {
    /// What handles begin with, `H:host`; the number follows after a colon.
    pub handle_prefix: String,
    /// The first number to give out: one above what the store had reserved.
    pub next: JobId,
    /// The last number that the store has durably reserved; below `next` when there is none.
    pub reserved: JobId,
    /// Our process id, for `getpid`.
    pub pid: u32,
    /// Our version, for `version`.
    pub version: String,
    /// Deaths of workers with one job in hand at which the job is given up.
    pub attempts_max: u32,
    /// The moment of the start, on the clock that every `now` is read from.
    pub started: Instant,
    /// The same moment on the wall clock; records carry wall-clock times.
    pub started_at: SystemTime,
}

/// The broker's jobs, queues and sessions.
#[derive(Debug)]
pub struct State {
    settings: StateSettings,
    next_job: u64,
    sessions: HashMap<SessionId, Session>,
    /// Sessions that wait for NOOP, by when they fell asleep: the last one is woken first.
    sleepers: std::collections::BTreeMap<u64, SessionId>,
    sleeps: u64,
    functions: Functions,
    jobs: HashMap<JobId, Job>,
    workers: HashMap<WorkerId, Worker>,
    crews: HashMap<PoolName, Crew>,
    commits: Commits,
    losses: Losses,
    timers: BTreeSet<(Instant, Timer)>,
}

/// Something that is due at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A woken sleeper has not grabbed: wake one more.
    Wake(FunctionId),
    /// It stays unknown whose the session is.
    Unknown(SessionId),
    /// A job ran for as long as its worker had promised at most.
    Overdue(JobId, SessionId),
    /// A worker that hung up with a job lives on.
    Alive(WorkerId),
    /// Changes that failed are to be tried again.
    Retry,
}

impl State {
    /// An empty broker.
    #[must_use]
    pub fn new(settings: StateSettings) -> Self {
        let next_job = settings.next.0;
        let commits = Commits::new(settings.reserved);
        Self {
            settings,
            next_job,
            sessions: HashMap::new(),
            sleepers: std::collections::BTreeMap::new(),
            sleeps: 0,
            functions: Functions::default(),
            jobs: HashMap::new(),
            workers: HashMap::new(),
            crews: HashMap::new(),
            commits,
            losses: Losses::default(),
            timers: BTreeSet::new(),
        }
    }

    /// Puts a job that the store kept back into its queue; at start, in the order of ids.
    pub fn restore(&mut self, now: Instant, record: JobRecord, waited: Duration) {
        let function = self.functions.find_or_add(&record.function);
        let job = Job {
            function,
            unique: record.unique,
            priority: record.priority,
            payload: record.payload,
            background: true,
            attempts: record.attempts,
            submitted: now.checked_sub(waited).unwrap_or(now),
            phase: Phase::Ready,
            clients: Vec::new(),
            progress: None,
            lost_by: None,
        };
        self.remember_unique(record.id, &job);
        self.functions.enqueue(function, job.priority, record.id);
        self.jobs.insert(record.id, job);
    }

    /// Takes one input and appends what is to be done about it.
    pub fn handle(&mut self, now: Instant, input: Input, fx: &mut Effects) {
        match input {
            Input::Opened { session, peer, worker } => self.open(session, peer, worker),
            Input::Request { session, request } => self.request(now, session, request, fx),
            Input::Malformed { session, error } => self.malformed(session, error, fx),
            Input::WrongMagic { session } => self.wrong_magic(session, fx),
            Input::Unreadable { session, reason } => self.unreadable(session, reason, fx),
            Input::Admin { session, command } => self.admin(now, session, command, fx),
            Input::Closed { session } => self.close(now, session, fx),
            Input::Committed(through) => self.committed(now, through, fx),
            Input::NotCommitted { through, reason } => {
                self.not_committed(now, through, &reason, fx);
            }
            Input::Deadline => self.run_timers(now, fx),
        }
    }

    /// When [`Input::Deadline`] is due next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn run_timers(&mut self, now: Instant, fx: &mut Effects) {
        while let Some((at, timer)) = self.timers.first().copied() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            match timer {
                Timer::Wake(function) => self.wake_again(now, function, fx),
                Timer::Unknown(session) => self.settle_identity(now, session, None, fx),
                Timer::Overdue(job, session) => self.overdue(now, job, session, fx),
                Timer::Alive(worker) => self.lives_on(now, worker, fx),
                Timer::Retry => self.retry_changes(fx),
            }
        }
    }

    fn set_timer(&mut self, at: Instant, timer: Timer) {
        self.timers.insert((at, timer));
    }

    fn handle_of(&self, job: JobId) -> bytes::Bytes {
        format!("{}:{job}", self.settings.handle_prefix).into()
    }

    /// The job that a handle names, if there is one.
    fn job_of(&self, handle: &[u8]) -> Option<JobId> {
        let number = handle.strip_prefix(self.settings.handle_prefix.as_bytes())?;
        let number = std::str::from_utf8(number.strip_prefix(b":")?).ok()?;
        // `H:host:07` is not how job 7 was called.
        let canonical = number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with('0');
        let id = JobId(number.parse().ok().filter(|_| canonical)?);
        self.jobs.contains_key(&id).then_some(id)
    }
}

//! Every rule about jobs, queues and sessions, as a value that is driven from outside.
//!
//! [`State::handle`] takes one input and the time, and appends what is to be done to [`Effects`].
//! It knows sessions and workers by their ids only: no sockets, no files, no clock, no tokio.

mod effects;
mod input;

use std::time::{Duration, Instant, SystemTime};

use super::record::JobRecord;
use super::{Drain, JobView, Overview};
use crate::model::{Exit, FunctionName, JobId, PoolName, SessionId, WorkerId, WorkerName};

pub use effects::{Effects, Outgoing};
pub use input::Input;

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
}

impl State {
    /// An empty broker.
    #[must_use]
    pub fn new(settings: StateSettings) -> Self {
        Self { settings }
    }

    /// Puts a job that the store kept back into its queue; at start, in the order of ids.
    pub fn restore(&mut self, _now: Instant, _record: JobRecord, _waited: Duration) {}

    /// Takes one input and appends what is to be done about it.
    pub fn handle(&mut self, _now: Instant, _input: Input, _fx: &mut Effects) {}

    /// When [`Input::Deadline`] is due next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// A worker process of ours will come.
    pub fn admit(&mut self, _now: Instant, _worker: WorkerId, _name: WorkerName) {}

    /// A worker process ended.
    pub fn gone(&mut self, _now: Instant, _worker: WorkerId, _exit: Exit, _fx: &mut Effects) {}

    /// Stops giving jobs to the process if it holds none; atomic with dispatch.
    pub fn drain_if_idle(&mut self, _now: Instant, _worker: WorkerId) -> Drain {
        Drain::Drained
    }

    /// Stops giving jobs to the process; [`Effects::drained`] names it once it holds none.
    pub fn drain(&mut self, _now: Instant, _worker: WorkerId, _fx: &mut Effects) {}

    /// Wakes the sleeping sessions of a draining process with an ERROR packet.
    pub fn nudge(&mut self, _worker: WorkerId, _fx: &mut Effects) {}

    /// Sets how many processes of the pool may hold jobs at once.
    pub fn limit(&mut self, _now: Instant, _pool: PoolName, _max: usize, _fx: &mut Effects) {}

    /// Tells whose a performing session is.
    pub fn tie(
        &mut self,
        _now: Instant,
        _session: SessionId,
        _worker: Option<WorkerId>,
        _fx: &mut Effects,
    ) {
    }

    /// The broker at this moment.
    #[must_use]
    pub fn overview(&self, _now: Instant) -> Overview {
        let _ = &self.settings;
        Overview::default()
    }

    /// Jobs that wait or run, the oldest first, at most `limit`.
    #[must_use]
    pub fn jobs(
        &self,
        _now: Instant,
        _function: Option<&FunctionName>,
        _limit: usize,
    ) -> Vec<JobView> {
        Vec::new()
    }

    /// One job by its handle.
    #[must_use]
    pub fn job(&self, _now: Instant, _handle: &str) -> Option<JobView> {
        None
    }

    /// Cancels a job that waits, and tells whether there was one.
    pub fn cancel(&mut self, _now: Instant, _handle: &str, _fx: &mut Effects) -> bool {
        false
    }
}

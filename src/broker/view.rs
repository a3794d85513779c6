//! What the broker tells of itself when asked: counts and ages, no payloads.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::record::Death;
use crate::model::{FunctionName, JobId, PoolName, Priority, Unique, WorkerId};

/// The broker at one moment.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// Every function with a queue, a performer or a rule.
    pub functions: BTreeMap<FunctionName, FunctionView>,
    /// Every worker process that is known to the broker.
    pub workers: HashMap<WorkerId, WorkerView>,
    /// What became of jobs whose workers died lately, by the dead worker.
    pub losses: HashMap<WorkerId, JobLoss>,
    /// Open connections.
    pub sessions: usize,
    /// Performing connections that belong to no worker of ours.
    pub untied_performers: usize,
    /// Why background jobs cannot be stored just now.
    pub store_error: Option<String>,
}

/// What the counts of workers are decided from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DemandView {
    /// Every function with a queue, a performer or a rule.
    pub functions: BTreeMap<FunctionName, FunctionDemand>,
    /// For how long the workers of each pool have had jobs, all added up.
    pub pools: BTreeMap<PoolName, Duration>,
    /// Every worker process that is known to the broker.
    pub workers: HashMap<WorkerId, WorkerDemand>,
}

/// One function's demand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionDemand {
    /// Jobs that wait.
    pub queued: usize,
    /// How long the oldest of them has waited.
    pub oldest: Duration,
    /// Jobs in workers' hands.
    pub running: usize,
    /// Jobs in the hands of other hosts' workers, where servers outside hand them out.
    pub elsewhere: usize,
    /// Jobs ended since the start, in any way.
    pub ended: u64,
    /// For how long jobs of it have run, all added up.
    pub busy: Duration,
}

/// One worker process, as far as its pool's count depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerDemand {
    /// Whether it holds a job.
    pub busy: bool,
    /// How long it has held none; `None` while it holds one or has registered nothing.
    pub idle: Option<Duration>,
    /// Jobs it ended.
    pub done: u64,
    /// What it performs.
    pub functions: Vec<FunctionName>,
}

/// A job that has ended, as far as a load can be played back from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobEnding {
    /// Its function.
    pub function: FunctionName,
    /// When it ended.
    pub at: Instant,
    /// How long before that it came, or was due.
    pub age: Duration,
    /// How long its worker took; `None` for a job that was given up because its workers died.
    pub service: Option<Duration>,
}

/// One function's queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionView {
    /// Jobs that wait: high, normal, low.
    pub queued: [usize; 3],
    /// Jobs whose time has not come.
    pub delayed: usize,
    /// How long the oldest of those that wait has waited.
    pub oldest: Option<Duration>,
    /// Jobs in workers' hands.
    pub running: usize,
    /// Connections that perform it.
    pub performers: usize,
    /// Jobs ended since the start, in any way.
    pub ended: u64,
    /// Those of them that waited too long.
    pub expired: u64,
    /// Dead letters.
    pub dead: usize,
    /// Whether an operator paused it.
    pub paused: bool,
}

/// One worker process as the broker sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerView {
    /// Its open connections.
    pub sessions: usize,
    /// What it performs.
    pub functions: Vec<FunctionName>,
    /// The jobs in its hands.
    pub jobs: Vec<JobView>,
    /// Jobs it ended.
    pub done: u64,
    /// How long it has held no job; `None` while it holds one or has registered nothing.
    pub idle: Option<Duration>,
    /// Whether it gets no further job.
    pub draining: bool,
}

/// One job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobView {
    /// Its handle.
    pub handle: String,
    /// Its function.
    pub function: FunctionName,
    /// Its unique; may be empty.
    pub unique: Unique,
    /// Its priority.
    pub priority: Priority,
    /// Whether it is kept until it has run.
    pub background: bool,
    /// How long ago it was submitted.
    pub age: Duration,
    /// How long it has run, when it runs.
    pub running: Option<Duration>,
    /// Who runs it, when that is a worker of ours.
    pub worker: Option<WorkerId>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Clients that wait for it.
    pub clients: usize,
    /// How long it is until it may run; `None` when it may.
    pub due: Option<Duration>,
    /// How it ended without a result, for a dead letter; `attempt` is then the last one.
    pub death: Option<Death>,
    /// When it recurs, as in crontab(5), for a recurring job.
    pub times: Option<String>,
    /// Progress as the worker reported it: how much of how much.
    pub progress: Option<(u32, u32)>,
    /// Payload length in bytes.
    pub payload_len: usize,
    /// Its number, when its unique and payload are on disk only and have yet to be added here.
    pub on_disk: Option<JobId>,
}

/// What became of the job of a worker that died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobLoss {
    /// The job's handle.
    pub handle: String,
    /// Its function.
    pub function: FunctionName,
    /// Deaths so far.
    pub attempts: u32,
    /// Deaths at which it is given up.
    pub attempts_max: u32,
    /// Where it is now.
    pub outcome: LossOutcome,
}

/// Where a job went after its worker had died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LossOutcome {
    /// Back in the queue.
    Waiting,
    /// In another worker's hands; `None` when that is no worker of ours.
    Moved(Option<WorkerId>),
    /// Given up: its clients were told that it failed.
    GivenUp,
}

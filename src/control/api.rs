//! The one vocabulary of the command line and everything else that talks to the daemon.
//!
//! Requests and responses as they stand in JSON. Durations are seconds, sizes are bytes, times are
//! RFC 3339 with an offset. Fields may be added; clients ignore those they do not know.

mod queue;
mod status;
mod terminal;
mod trace;

use serde::{Deserialize, Serialize};

pub use queue::{ExportedJob, Functions, QueueDone, QueueRequest, Text};
pub use status::{
    BrokerStatus, CanaryStatus, ConfigStatus, CronStatus, DaemonState, DeathStatus, FunctionStatus,
    HostStatus, Intent, JobStatus, LogLossStatus, PoolStatus, RejectedStatus, ServerStatus, Status,
    WorkerStatus,
};
pub use terminal::{SendRequest, SizeRequest, TerminalRecord};
pub use trace::TraceRecord;

/// `POST /v1/start`, `/v1/stop`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Pools, workers, `all`, patterns or `@LABEL`.
    pub names: Vec<String>,
}

/// `POST /v1/restart`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartRequest {
    /// Pools, workers, `all`, or patterns.
    pub names: Vec<String>,
    /// All at once, each after its job, instead of one by one.
    #[serde(default)]
    pub now: bool,
}

/// `POST /v1/signal`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalRequest {
    /// Whom.
    pub names: Vec<String>,
    /// `HUP`, `SIGHUP` or a number.
    pub signal: String,
}

/// `POST /v1/scale`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleRequest {
    /// Which pools.
    pub names: Vec<String>,
    /// Bounds of the hold; absent releases it.
    pub bounds: Option<(u32, u32)>,
    /// Seconds until the hold ends by itself.
    pub hold_seconds: Option<u64>,
}

/// `POST /v1/reload`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReloadRequest {
    /// Whether a file without any pool may be applied.
    pub allow_empty: bool,
}

/// `GET /v1/plan?allow_empty=…`: what a reload would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanStatus {
    /// Each change; none when the file says what is in force.
    pub steps: Vec<PlanStep>,
}

/// One change that a reload would make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanStep {
    /// The pool; absent for the daemon itself.
    pub pool: Option<String>,
    /// `wordcount 2→4: 2 to start`
    pub text: String,
    /// Workers to start.
    pub start: u32,
    /// Workers to replace.
    pub replace: u32,
    /// Workers to stop.
    pub stop: u32,
}

/// The answer to a command: what was done, a sentence each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// `wordcount 2→4: 2 started, 0 restarted`
    pub done: Vec<String>,
}

/// Any refusal, with an HTTP status that fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable, for programs.
    pub code: FailureCode,
    /// For people.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Stable codes of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// Nothing has that name.
    NoSuchName,
    /// It was tried and did not come about.
    Failed,
    /// The request is not understood.
    BadRequest,
    /// The file has mistakes.
    BadFile,
    /// The daemon is stopping.
    Stopping,
}

/// `GET /v1/logs?name=…&lines=…&since=…&follow=…`: one of these per line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LogRecord {
    /// A line of output.
    Line {
        /// When.
        time: String,
        /// `POOL:N`
        worker: String,
        /// `stdout`, `stderr` or `mark`.
        stream: String,
        /// The text, when it is UTF-8.
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// The bytes, when it is not.
        #[serde(skip_serializing_if = "Option::is_none")]
        base64: Option<String>,
        /// True for a part of a line whose rest comes later.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        part: bool,
        /// True for a line that belongs to the one before it, as in a stack trace.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        continues: bool,
    },
    /// The reader was too slow: so many lines were dropped here.
    Missed {
        /// How many.
        missed: u64,
    },
}

/// `GET /v1/events`: one of these per line, from now on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EventRecord {
    /// A worker's state changed.
    Moved {
        /// When.
        time: String,
        /// `POOL:N`
        worker: String,
        /// True for a process whose successor runs.
        outgoing: bool,
        /// Its process id.
        pid: Option<i32>,
        /// The state before.
        from: String,
        /// The state since.
        to: String,
        /// Why.
        why: String,
    },
    /// A pool is to run another number of workers.
    Count(CountRecord),
    /// The canary of a roll has come further.
    Deployed {
        /// When.
        time: String,
        /// The canary, `POOL:N`.
        worker: String,
        /// `canary began`, `canary proved itself` or `canary failed`.
        deploy: String,
        /// Why it failed.
        reason: Option<String>,
    },
    /// An edit of the file changes this.
    Edited {
        /// When.
        time: String,
        /// `slow 3→2`, `host.max_workers changed`.
        edit: String,
    },
    /// The reader was too slow: so many changes were dropped here.
    Missed {
        /// How many.
        missed: u64,
    },
}

/// `GET /v1/explain/NAME`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The pool.
    pub pool: String,
    /// Why it has the count it has.
    pub now: String,
    /// What that rests on; absent for a pool that demand does not decide.
    #[serde(default)]
    pub numbers: Option<ScalingNumbers>,
    /// Changes of the last hour, the oldest first.
    pub history: Vec<CountRecord>,
    /// How its workers ended last, and their last lines.
    #[serde(default)]
    pub exits: Vec<ExitStory>,
}

/// A pool was to run another number of workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CountRecord {
    /// When.
    pub time: String,
    /// The pool.
    pub pool: String,
    /// `40 wait, oldest 1.2 s, 0.80 s a job: 14 workers meet max_wait = 5s; 6→9, limited by memory`
    pub reason: String,
    /// What that rests on; absent for an operator's order.
    #[serde(default)]
    pub numbers: Option<ScalingNumbers>,
}

/// How the last process of a worker ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStory {
    /// `POOL:N`
    pub worker: String,
    /// `exit 3; job H:x:3 moved to slow:2, attempt 2 of 3`
    pub exit: String,
    /// Its last lines, if it failed.
    pub lines: Vec<String>,
}

/// The numbers that a scaling decision rests on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScalingNumbers {
    /// What demand asks for.
    pub wanted: u32,
    /// What limits allow.
    pub target: u32,
    /// Workers there are: busy, idle or starting.
    pub have: u32,
    /// What keeps the target below what is wanted.
    pub limit: Option<String>,
    /// Jobs that wait and fall to this pool.
    pub queued: f64,
    /// Seconds that the oldest of them has waited.
    pub oldest: f64,
    /// Jobs that arrive in a second.
    pub arrivals: f64,
    /// Seconds that a job takes.
    pub service: f64,
    /// Busy workers now.
    pub running: u32,
    /// Busy workers on average.
    pub busy: f64,
    /// Seconds from a start until the worker takes jobs.
    pub startup: f64,
    /// Seconds that the shrink rule looks back.
    pub window: f64,
    /// Hosts that share the work, this one among them.
    #[serde(default)]
    pub hosts: u32,
    /// Workers that all of them need.
    #[serde(default)]
    pub needed: u32,
}

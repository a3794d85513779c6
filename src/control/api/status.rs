//! What `GET /v1/status` tells, and the jobs and dead letters of other answers.

use serde::{Deserialize, Serialize};

/// `GET /v1/status`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime: f64,
    /// `running` or `stopping`.
    pub state: DaemonState,
    /// The file and what became of it.
    pub config: ConfigStatus,
    /// The broker, or the servers in its place; absent when neither can be asked.
    pub broker: Option<BrokerStatus>,
    /// The host.
    pub host: HostStatus,
    /// Every pool, by name.
    pub pools: Vec<PoolStatus>,
}

/// What the daemon does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DaemonState {
    /// It serves.
    Running,
    /// It drains and will end.
    Stopping,
}

/// The file and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// Its path.
    pub file: String,
    /// When the settings in force were read.
    pub loaded_at: String,
    /// Whether they are those of an earlier file, since the present one was broken at the start.
    #[serde(default)]
    pub is_copy: bool,
    /// A later version that was not applied.
    pub rejected: Option<RejectedStatus>,
}

/// A version of the file that was not applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedStatus {
    /// When it was read.
    pub at: String,
    /// `file:line:column: key: what is wrong; what to write`.
    pub errors: Vec<String>,
}

/// The broker, or the servers in its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BrokerStatus {
    /// Where it listens, as in the file; nowhere when there are servers.
    pub listen: Vec<String>,
    /// The servers of `[broker] servers`.
    #[serde(default)]
    pub servers: Vec<ServerStatus>,
    /// Whether workers connect to them by themselves: then jobs in hand are not known.
    #[serde(default)]
    pub direct: bool,
    /// Open connections.
    pub connections: usize,
    /// Performing connections that belong to no worker of ours.
    pub untied_performers: usize,
    /// Why background jobs cannot be stored just now.
    pub store_error: Option<String>,
    /// Every function.
    pub functions: Vec<FunctionStatus>,
}

/// A Gearman server outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// `HOST:PORT`
    pub address: String,
    /// Whether it answers.
    pub up: bool,
    /// Why it does not.
    pub trouble: Option<String>,
    /// Seconds since it is so.
    pub since: f64,
}

/// A function's queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FunctionStatus {
    /// Its name; bytes that are no UTF-8 are replaced.
    pub name: String,
    /// Jobs that wait: high, normal, low.
    pub queued: [usize; 3],
    /// Jobs whose time has not come.
    #[serde(default)]
    pub delayed: usize,
    /// Dead letters.
    #[serde(default)]
    pub dead: usize,
    /// Jobs dropped since the start because they waited too long.
    #[serde(default)]
    pub expired: u64,
    /// Whether it is paused.
    #[serde(default)]
    pub paused: bool,
    /// Seconds that the oldest of them has waited.
    pub oldest: Option<f64>,
    /// Jobs in workers' hands.
    pub running: usize,
    /// Connections that perform it.
    pub performers: usize,
    /// Jobs ended since the start.
    pub ended: u64,
}

/// The host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostStatus {
    /// Processors.
    pub cores: usize,
    /// One-minute load average.
    pub load1: f64,
    /// Bytes that programs could take.
    pub mem_available: u64,
    /// All bytes.
    pub mem_total: u64,
    /// Percent of the last 10 s in which something waited for a processor.
    pub cpu_pressure: Option<f64>,
    /// Percent of the last 10 s in which something waited for memory.
    pub mem_pressure: Option<f64>,
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// `up` or `stopped`.
    pub intent: Intent,
    /// What demand asks for.
    pub wanted: u32,
    /// What limits allow.
    pub target: u32,
    /// What keeps the target below what is wanted: `memory`.
    #[serde(default)]
    pub limit: Option<String>,
    /// Processes that are ready.
    pub running: u32,
    /// From the file or a hold.
    pub min: u32,
    /// From the file or a hold.
    pub max: u32,
    /// An operator's `scale`, while it holds.
    pub hold: Option<(u32, u32)>,
    /// The sentence of the last scaling decision.
    pub reason: String,
    /// What it shares with other pools: `@LABEL` in place of a name.
    #[serde(default)]
    pub labels: Vec<String>,
    /// What it serves, from the file or learned.
    pub functions: Vec<String>,
    /// How jobs reach it: `gearman`, `exec`, `lines`, `none`.
    pub protocol: String,
    /// What keeps it from starting: `waits for db: db:1 is STARTING`.
    #[serde(default)]
    pub waits: Option<String>,
    /// Whether that goes away only by somebody's help.
    #[serde(default)]
    pub stuck: bool,
    /// Whether its workers run to their end, once.
    #[serde(default)]
    pub oneshot: bool,
    /// Its timetable.
    #[serde(default)]
    pub cron: Option<CronStatus>,
    /// The canary of its last roll, while it proves itself or has failed.
    #[serde(default)]
    pub canary: Option<CanaryStatus>,
    /// What it has lost of its log: the disk was full, or the place that it goes to too slow.
    #[serde(default)]
    pub log_loss: Option<LogLossStatus>,
    /// Its workers.
    pub workers: Vec<WorkerStatus>,
}

impl PoolStatus {
    /// Whether its worker runs when it is time, so that nothing is to be there in between.
    #[must_use]
    pub fn runs_at_times(&self) -> bool {
        self.cron.as_ref().is_some_and(|cron| cron.function.is_none())
    }
}

/// A pool's timetable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronStatus {
    /// Minute, hour, day of the month, month and day of the week.
    pub times: String,
    /// By whose clock.
    pub timezone: String,
    /// The function whose job is submitted; absent when the pool's worker runs.
    pub function: Option<String>,
    /// The next time.
    pub next: Option<String>,
    /// When the last run ended, was skipped, or its job submitted.
    pub last_at: Option<String>,
    /// What came of it: `exit 0`, `skipped: …`, `submitted job H:x:3`.
    pub last: Option<String>,
}

/// The first new worker of a roll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryStatus {
    /// `POOL:N`
    pub worker: String,
    /// Since when it is as it is.
    pub at: String,
    /// Why it failed, so that the old workers serve on; absent while it proves itself.
    pub failed: Option<String>,
}

/// Output that did not reach a pool's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLossStatus {
    /// Bytes, since the daemon started.
    pub bytes: u64,
    /// When the last of them were lost.
    pub at: String,
}

/// What an operator or the file wants of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Intent {
    /// Its workers are to run.
    Up,
    /// An operator stopped it.
    Stopped,
}

/// A worker process, or the empty place of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// `POOL:N`
    pub name: String,
    /// STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED or FATAL.
    pub state: String,
    /// The state in more words.
    pub detail: String,
    /// True for a process that finishes its job while its successor runs.
    pub outgoing: bool,
    /// Its process id.
    pub pid: Option<i32>,
    /// Seconds since it started.
    pub uptime: Option<f64>,
    /// Jobs it ended.
    pub done: u64,
    /// The jobs in its hands.
    pub jobs: Vec<JobStatus>,
    /// Whether the broker knows its connections; `None` for pools without jobs.
    pub tied: Option<bool>,
    /// Whether it has ever registered a function; `None` where that cannot be known.
    #[serde(default)]
    pub registered: Option<bool>,
    /// Percent of one core.
    pub cpu_percent: Option<f32>,
    /// Resident bytes.
    pub rss: Option<u64>,
    /// Who has the keyboard of its terminal.
    #[serde(default)]
    pub keyboard: Option<String>,
    /// Whether it is down against what is wanted.
    #[serde(default)]
    pub failed: bool,
    /// How often its slot's process was replaced after it had died by itself.
    pub restarts: u64,
    /// `killed by KILL; job moved to slow:2, attempt 2 of 3`
    pub last_exit: Option<String>,
    /// Seconds since that exit.
    pub last_exit_age: Option<f64>,
    /// The last lines of that process, if it failed.
    #[serde(default)]
    pub last_lines: Vec<String>,
    /// Whether it still runs settings that are no longer the pool's.
    pub outdated: bool,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobStatus {
    /// Its handle.
    pub handle: String,
    /// Its function.
    pub function: String,
    /// Its unique.
    pub unique: String,
    /// `high`, `normal` or `low`.
    pub priority: String,
    /// Whether it is kept until it has run.
    pub background: bool,
    /// Seconds since it was submitted.
    pub age: f64,
    /// Seconds that it has run.
    pub running: Option<f64>,
    /// `POOL:N`, when a worker of ours runs it.
    pub worker: Option<String>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Clients that wait for it.
    pub clients: usize,
    /// How much of how much is done.
    pub progress: Option<(u32, u32)>,
    /// Seconds until its time comes; absent when it has none or it has come.
    #[serde(default)]
    pub due: Option<f64>,
    /// Minute, hour, day of the month, month and day of the week, for a recurring job.
    #[serde(default)]
    pub times: Option<String>,
    /// How it ended without a result, for a dead letter.
    #[serde(default)]
    pub death: Option<DeathStatus>,
    /// Payload length in bytes.
    pub payload_len: usize,
}

/// How a job became a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeathStatus {
    /// When.
    pub at: String,
    /// `died`, `timed out`, `failed` or `raised`.
    pub cause: String,
    /// The last worker that had it, when that was one of ours.
    pub worker: Option<String>,
    /// How that worker ended, as in `killed by KILL`.
    pub exit: Option<String>,
    /// Its last lines, or the text of its exception.
    pub output: String,
}

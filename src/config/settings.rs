//! What a file says, checked: every value is usable as it stands.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::deploys::{Deploys, WorkerFiles};
use super::function::FunctionRules;
use super::limits::Limits;
use super::log::LogSettings;
use super::min_at::MinAt;
use super::order::Order;
use super::run::RunSettings;
use super::sources::Sources;
use super::upkeep::Upkeep;
use crate::model::{Network, PoolName};

/// How long a function that nobody uses is shown.
const STALE_AFTER: Duration = Duration::from_hours(1);

/// A whole file with its includes.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The file that was named on the command line.
    pub file: PathBuf,
    /// Every file that was read: it, its includes and env files. These are watched.
    pub sources: Sources,
    /// `[supervisor]`
    pub supervisor: SupervisorSettings,
    /// `[broker]`
    pub broker: BrokerSettings,
    /// `[host]`
    pub host: HostSettings,
    /// `[pool.NAME]`, each with `[defaults]` filled in.
    pub pools: BTreeMap<PoolName, Arc<PoolSettings>>,
}

/// `[supervisor]`: the daemon itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupervisorSettings {
    /// Part of every default path; the file's stem unless set.
    pub name: String,
    /// Where the queue and the list of processes are kept.
    pub state_dir: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// Permission bits of the control socket.
    pub socket_mode: u32,
    /// Group of the control socket, when set.
    pub socket_group: Option<u32>,
    /// Where workers' output goes.
    pub log_dir: PathBuf,
    /// A tracing filter for the daemon's own log.
    pub log_level: String,
    /// Shape of the daemon's own log.
    pub log_format: LogFormat,
    /// How long the daemon waits for jobs in hand before it kills their workers, when it stops.
    pub shutdown_grace: Duration,
    /// What a changed file does.
    pub reload_on_edit: ReloadOnEdit,
    /// What a start with a broken file does.
    pub on_bad_file: OnBadFile,
}

/// What an edit of the file does while the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadOnEdit {
    /// It is applied.
    Apply,
    /// It is checked and reported.
    Check,
    /// Nothing.
    Off,
}

/// What a start with a broken file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBadFile {
    /// The daemon does not start.
    Refuse,
    /// It runs the files that were applied last.
    LastGood,
}

/// Shape of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Time, worker, stream, text.
    Text,
    /// The bytes as they came; only for workers' output.
    Raw,
    /// One JSON object a line.
    Json,
}

/// `[broker]`
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerSettings {
    /// Where clients and workers connect.
    pub listen: Vec<ListenAddress>,
    /// Not empty: these Gearman servers are used (`HOST:PORT`) and no broker is started.
    pub servers: Vec<String>,
    /// How workers come to them.
    pub way: ServersWay,
    /// Where background jobs are kept.
    pub store: StoreKind,
    /// Largest packet body, in bytes.
    pub packet_len_max: usize,
    /// Bytes of payloads of stored jobs that are held in memory.
    pub memory_budget: usize,
    /// What handles begin with, when that was set.
    pub handle_prefix: Option<String>,
    /// What may change while it runs.
    pub rules: Arc<BrokerRules>,
}

/// How workers come to Gearman servers outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServersWay {
    /// Through us, so that it is known who holds which job.
    Forward,
    /// By themselves.
    Direct,
}

/// What may change while the broker runs: doors, bounds, rules for functions.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerRules {
    /// Networks that may connect besides this host.
    pub allow: Vec<Network>,
    /// Most jobs that wait or run.
    pub queued_max: Option<u64>,
    /// How long a function that nobody uses stays in `status`; zero: for ever.
    pub stale_after: Duration,
    /// Whether a grab that finds nothing may be answered a moment later.
    pub hold_grab: bool,
    /// `[function."PATTERN"]`
    pub functions: FunctionRules,
}

impl Default for BrokerRules {
    fn default() -> Self {
        let functions = FunctionRules::default();
        let (allow, queued_max) = (Vec::new(), None);
        Self { allow, queued_max, stale_after: STALE_AFTER, hold_grab: true, functions }
    }
}

/// Where clients and workers connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// `IP:PORT`
    Tcp(SocketAddr),
    /// `unix:/path`
    Unix(PathBuf),
}

/// Where background jobs are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// On disk before they are acknowledged.
    Disk,
    /// In memory: a restart loses them.
    Memory,
}

/// `[host]`: what all pools together may ask of the host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostSettings {
    /// Most workers of all pools together.
    pub workers_max: Option<u32>,
    /// Memory that workers leave to others; `None`: the larger of 256 MiB and a twentieth of all.
    pub memory_reserve: Option<MemoryReserve>,
    /// Runnable tasks for each core above which no worker is added.
    pub load_max: f64,
    /// Percent of time in which some task waits for memory, above which no worker is added.
    pub memory_pressure_max: f64,
    /// The same of a processor.
    pub cpu_pressure_max: f64,
}

/// Memory that workers leave to others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MemoryReserve {
    /// So many bytes.
    Bytes(u64),
    /// So much of all memory, in percent.
    Percent(f64),
}

/// `[pool.NAME]`
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSettings {
    /// Its name.
    pub name: PoolName,
    /// What runs, in which surroundings. A difference here rolls the workers.
    pub program: Program,
    /// How many.
    pub count: Count,
    /// When its min is higher.
    pub min_at: Vec<MinAt>,
    /// How the count is found between its bounds.
    pub scaling: ScalingSettings,
    /// What an idle worker gets when it is to stop, in order.
    pub stop: Vec<StopStep>,
    /// When workers are ready, started again, or given up.
    pub upkeep: Upkeep,
    /// How long its workers run, and when.
    pub run: RunSettings,
    /// How it relates to other pools.
    pub order: Order,
    /// How a new program reaches its workers.
    pub deploys: Deploys,
    /// Where its output goes.
    pub log: LogSettings,
}

/// What a pool's workers run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Program and arguments; never empty.
    pub command: Vec<String>,
    /// What a runner makes its workers of; they are looked at where changed files are.
    pub worker_files: WorkerFiles,
    /// Functions it serves; empty: learned from what its workers register.
    pub functions: Vec<String>,
    /// How jobs reach it.
    pub protocol: PoolProtocol,
    /// Whether `exec` results are sent in parts as they come.
    pub stream: bool,
    /// Who it runs as; `None`: as the daemon does.
    pub account: Option<Account>,
    /// Whose name, home and shell it is told; `None`: as the daemon was.
    pub login: Option<Login>,
    /// Where it runs, resolved at each start; the folder of the file unless set.
    pub directory: PathBuf,
    /// Added to the daemon's own environment.
    pub env: BTreeMap<String, String>,
    /// Whether it gets next to nothing of the daemon's own environment.
    pub clean_env: bool,
    /// File-mode mask.
    pub umask: Option<u32>,
    /// Its priorities and what it may use.
    pub limits: Limits,
    /// Whether each worker has a terminal.
    pub tty: bool,
}

/// How jobs reach a pool's workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolProtocol {
    /// The program speaks Gearman itself.
    Gearman,
    /// One process per job: payload on stdin, result on stdout.
    Exec,
    /// One long-lived process: a JSON line per job.
    Lines,
    /// A plain program without jobs.
    None,
}

/// Who a worker runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids, `gid` among them.
    pub groups: Vec<u32>,
}

/// What the account that `user` names says of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// For USER and LOGNAME.
    pub user: String,
    /// For HOME.
    pub home: PathBuf,
    /// For SHELL.
    pub shell: PathBuf,
}

/// How many workers; `min == max` is a fixed pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// At least so many.
    pub min: u32,
    /// At most so many.
    pub max: u32,
}

/// How a pool's count is found between its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScalingSettings {
    /// How long a job may wait: the objective.
    pub max_wait: Duration,
    /// What is preferred where wait and cost differ.
    pub mode: ScalingMode,
    /// The pool's share among those of its priority when the host is short.
    pub weight: u32,
    /// Pools of higher priority come first when the host is short.
    pub priority: i32,
    /// Places on the host that other pools leave free for this one.
    pub reserve: u32,
    /// Workers kept idle beyond what demand asks for, while there is any demand.
    pub spare: u32,
    /// How long a worker must be idle before it counts as surplus.
    pub idle_ttl: Duration,
    /// How long a pool of min = 0 keeps its last worker without work.
    pub zero_after: Duration,
    /// From the start of a process until it takes a job; `None`: learned.
    pub startup: Option<Duration>,
}

/// What is preferred where wait and cost differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScalingMode {
    /// Short waits.
    Latency,
    /// Both.
    #[default]
    Balanced,
    /// Few workers.
    Economy,
}

/// One step of stopping a worker: a signal, and how long to wait for its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopStep {
    /// What is sent.
    pub signal: Signal,
    /// How long to wait before the next step; of no meaning in the last, which waits for ever.
    pub wait: Duration,
}

/// Pauses between starts of a worker that dies before it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first such death.
    pub initial: Duration,
    /// The pause doubles up to this.
    pub max: Duration,
    /// So many such deaths make the pool broken: one worker is tried at a time.
    pub limit: u32,
    /// Only deaths within this time count for the limit.
    pub window: Duration,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self {
            workers_max: None,
            memory_reserve: None,
            load_max: 2.0,
            memory_pressure_max: 10.0,
            cpu_pressure_max: 50.0,
        }
    }
}

impl Default for ScalingSettings {
    fn default() -> Self {
        Self {
            max_wait: Duration::from_secs(5),
            mode: ScalingMode::Balanced,
            weight: 1,
            priority: 0,
            reserve: 0,
            spare: 0,
            idle_ttl: Duration::from_secs(20),
            zero_after: Duration::from_mins(2),
            startup: None,
        }
    }
}

impl Count {
    /// True when the count never changes by itself.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        self.min == self.max
    }
}

/// As in the file: `127.0.0.1:4730`, `unix:/run/gearman.sock`.
impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `2`, `1..8`.
impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min, max } = self;
        if self.is_fixed() { write!(f, "{max}") } else { write!(f, "{min}..{max}") }
    }
}

//! Opening everything, and closing it again.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use signal_hook_tokio::Signals;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::carrier::{Carrier, Names};
use super::counts::CountNews;
use super::handle::{ConfigState, Rejected, SupervisorHandle};
use super::source::JobSource;
use super::task::{Inbox, Rooms, Supervisor};
use crate::broker::server::{Broker, BrokerOptions, BrokerStartError, BrokerThread, SocketOptions};
use crate::broker::state::Habits;
use crate::broker::store::{StateDir, StateDirError};
use crate::broker::{BrokerEvent, Command};
use crate::config::{
    self, ConfigErrors, LastGood, ProgramChanged, ProgramWatcher, ServersWay, Settings,
    Surroundings, Watcher,
};
use crate::control::server::{BindError, ControlServer};
use crate::forward::ForwardEvent;
use crate::forward::server::{Forward, ForwardOptions, ForwardStartError, ForwardThread};
use crate::host::ControlGroup;
use crate::identity::{Identity, IdentityStartError};
use crate::logs::{Logs, LogsHandle, LogsRequest, LogsStartError, LogsThread};
use crate::model::PoolName;
use crate::pool::process::{Leftover, OpenError, Processes, ProcessesOptions, raise_file_limit};
use crate::pool::{Book, Intents, Memory, PoolFailure, PoolNews, WorkerIds};
use crate::telemetry::{self, TelemetryError};

/// Requests of pools under way at most; a pool waits for room.
const GATE_REQUESTS_MAX: usize = 1024;
/// News of the broker under way at most; the broker drops what does not fit.
const BROKER_EVENTS_MAX: usize = 4096;
/// Pools whose files changed and are still to be told; the watch waits for room.
const DEPLOYS_MAX: usize = 16;
/// The same of the way to servers outside; registrations wait for room.
const FORWARD_EVENTS_MAX: usize = 1024;
/// Deaths of its workers at which a job is given up.
const ATTEMPTS_MAX: u32 = 3;

/// Jobs of timetables whose handles have come and are not noted; one more waits.
const SUBMITTED_MAX: usize = 64;

/// Our own program, whatever has become of its file since: an upgrade puts another one there.
const OWN_BINARY: &str = "/proc/self/exe";
/// How long what is left may take once everything was told to end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Called once with the handle of the running daemon.
pub type OnStart = Box<dyn FnOnce(SupervisorHandle, &TaskTracker) + Send>;

/// What to run.
pub struct RunOptions {
    /// The file.
    pub file: PathBuf,
    /// How much of the broker is shown: 0, 1 or 2.
    pub verbosity: u8,
    /// Told when the daemon runs.
    pub on_start: OnStart,
}

impl std::fmt::Debug for RunOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunOptions").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Why the daemon did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The file has mistakes.
    #[error("{}", .0.lines().join("\n"))]
    BadFile(ConfigErrors),
    /// The state folder is held or cannot be used.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The broker did not start.
    #[error(transparent)]
    Broker(#[from] BrokerStartError),
    /// The way to servers outside did not start.
    #[error(transparent)]
    Forward(#[from] ForwardStartError),
    /// The control socket is held or cannot be made.
    #[error(transparent)]
    Control(#[from] BindError),
    /// The logs did not start.
    #[error(transparent)]
    Logs(#[from] LogsStartError),
    /// Connections cannot be told apart.
    #[error(transparent)]
    Identity(#[from] IdentityStartError),
    /// Processes cannot be watched over.
    #[error(transparent)]
    Processes(#[from] OpenError),
    /// The daemon's own log did not start.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// A pool without which the daemon is not to run has failed.
    #[error("the essential pool {pool} has failed: {reason}")]
    EssentialFailed {
        /// The pool.
        pool: PoolName,
        /// Why.
        reason: String,
    },
    /// The system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl From<PoolFailure> for DaemonError {
    fn from(PoolFailure { pool, reason }: PoolFailure) -> Self {
        Self::EssentialFailed { pool, reason }
    }
}

impl DaemonError {
    /// True when another process holds what the daemon needs.
    #[must_use]
    pub fn is_held(&self) -> bool {
        match self {
            Self::StateDir(error) => matches!(error, StateDirError::Held { .. }),
            Self::Broker(error) => error.is_held(),
            Self::Control(error) => matches!(error, BindError::Held { .. }),
            Self::BadFile(_)
            | Self::Forward(_)
            | Self::Logs(_)
            | Self::Identity(_)
            | Self::Processes(_)
            | Self::Telemetry(_)
            | Self::EssentialFailed { .. }
            | Self::Io { .. } => false,
        }
    }
}

/// Runs the daemon in the foreground until it is told to stop.
///
/// # Errors
/// When it cannot start.
pub fn run(options: RunOptions) -> Result<(), DaemonError> {
    let (settings, config) = read(&options.file)?;
    let own = &settings.supervisor;
    telemetry::start(&own.log_level, own.log_format, options.verbosity)?;
    let failed = |source| DaemonError::Io { what: "the runtime cannot be started", source };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime.block_on(serve(Arc::new(settings), config, options.on_start))
}

/// Reads the file, or what was kept of it while it is broken.
fn read(file: &Path) -> Result<(Settings, ConfigState), DaemonError> {
    let surroundings = Surroundings::of_process();
    let now = SystemTime::now();
    let errors = match config::load(file, &surroundings) {
        Ok(settings) => {
            let config = ConfigState { loaded_at: now, is_copy: false, rejected: None };
            return Ok((settings, config));
        }
        Err(errors) => errors,
    };
    let Some(LastGood { settings, applied_at }) = config::last_good(file, &surroundings) else {
        return Err(DaemonError::BadFile(errors));
    };
    let rejected = Some(Rejected { at: now, errors: errors.lines() });
    // What is watched for an edit is the file that is broken.
    let settings = Settings { sources: errors.sources, ..settings };
    Ok((settings, ConfigState { loaded_at: applied_at, is_copy: true, rejected }))
}

async fn serve(
    settings: Arc<Settings>,
    config: ConfigState,
    on_start: OnStart,
) -> Result<(), DaemonError> {
    let own = &settings.supervisor;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let state_dir = Arc::new(StateDir::open(&own.state_dir)?);
    let control = ControlServer::bind(&own.socket, own.socket_mode, own.socket_group)?;
    let (logs, logs_thread) = Logs::start()?;
    let (intents, memory) = open_books(&state_dir)?;
    let processes = open_processes(&state_dir, &tasks, stop.clone()).await?;
    let (events_in, events) = mpsc::channel(BROKER_EVENTS_MAX);
    let (forward_in, forward_events) = mpsc::channel(FORWARD_EVENTS_MAX);
    let (source, source_thread) = open_source(&settings, &state_dir, (events_in, forward_in))?;
    let (gate, requests) = mpsc::channel(GATE_REQUESTS_MAX);
    let (routes_in, routes) = watch::channel(Arc::new(BTreeMap::new()));
    let (demand_in, demand) = mpsc::channel(1);
    let identity = Identity::start()?;
    let carrier = Carrier {
        source: source.clone(),
        requests,
        events,
        forward_events,
        routes,
        identity,
        demand: demand_in.clone(),
        tasks: tasks.clone(),
        logs: logs.clone(),
        names: Names::default(),
        owners: HashMap::new(),
    };
    tasks.spawn(carrier.run());
    let (commands_in, commands) = mpsc::channel(SupervisorHandle::COMMANDS_MAX);
    let (news, failures) = PoolNews::new();
    let (broker, counts) = (source.broker().cloned(), CountNews::default());
    let handle =
        SupervisorHandle::new(commands_in, broker, logs.clone(), news.clone(), counts.clone());
    let (submitted_in, submitted) = mpsc::channel(SUBMITTED_MAX);
    let Watching { watcher, programs, edits, deploys } = watch_files(&settings, &tasks);
    let control_stop = CancellationToken::new();
    let control = tasks.spawn(control.run(handle.clone(), control_stop.clone(), tasks.clone()));
    on_start(handle, &tasks);
    let rooms = Rooms {
        source: source.clone(),
        logs: logs.clone(),
        processes,
        gate,
        ids: WorkerIds::default(),
        tasks: tasks.clone(),
        routes: routes_in,
        watcher,
        programs,
        news,
        counts,
        intents,
        memory,
        submitted: submitted_in,
        demand: demand_in,
        state_dir: state_dir.path().to_owned(),
    };
    let inbox =
        Inbox { commands, demand, edits, deploys, signals: signals()?, failures, submitted };
    let failure = Supervisor::new(settings, config, rooms).run(inbox).await;
    control_stop.cancel();
    close_control(control).await;
    close_source(source, source_thread).await;
    close_logs(&logs, logs_thread).await;
    stop.cancel();
    end_tasks(&tasks).await;
    info!("stopped");
    failure.map_or(Ok(()), |failure| Err(failure.into()))
}

/// How processes are started and known again; raises the limit of open files.
fn processes_of(state_dir: &StateDir) -> Result<ProcessesOptions, DaemonError> {
    let what = "the limit of open files is unknown";
    let file_limit = raise_file_limit().map_err(|source| DaemonError::Io { what, source })?;
    Ok(ProcessesOptions {
        own_binary: OWN_BINARY.into(),
        ledger: Some(state_dir.path().join("workers")),
        file_limit: Some(file_limit),
        cgroup: ControlGroup::of_process().ok().map(|group| group.folder),
    })
}

/// What tells of edits and of changed programs.
struct Watching {
    watcher: Option<Watcher>,
    programs: Option<ProgramWatcher>,
    edits: mpsc::Receiver<()>,
    deploys: mpsc::Receiver<ProgramChanged>,
}

/// Without a watch of the kernel edits and deploys go by commands alone.
fn watch_files(settings: &Settings, tasks: &TaskTracker) -> Watching {
    let (edits_in, edits) = mpsc::channel(1);
    let watcher = Watcher::start(settings.sources.clone(), edits_in, tasks)
        .inspect_err(|error| warn!(%error, "edits of the file are applied only by reload"))
        .ok();
    let (deploys_in, deploys) = mpsc::channel(DEPLOYS_MAX);
    let programs = ProgramWatcher::start(deploys_in, tasks)
        .inspect_err(|error| warn!(%error, "the key watch has no effect"))
        .ok();
    Watching { watcher, programs, edits, deploys }
}

fn signals() -> Result<Signals, DaemonError> {
    let what = "signals cannot be listened to";
    super::stop::signals().map_err(|source| DaemonError::Io { what, source })
}

/// The table of processes, once those of an earlier life of the daemon have ended.
async fn open_processes(
    state_dir: &StateDir,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> Result<Processes, DaemonError> {
    let processes = Processes::open(processes_of(state_dir)?, tasks, stop)?;
    end_leftovers(&processes).await;
    Ok(processes)
}

fn open_books(state_dir: &StateDir) -> Result<(Book<Intents>, Book<Memory>), DaemonError> {
    let failed = |what| move |source| DaemonError::Io { what, source };
    let intents = Book::open(state_dir.path()).map_err(failed("the intents cannot be read"))?;
    let memory = Book::open(state_dir.path()).map_err(failed("the memory cannot be read"))?;
    Ok((intents, memory))
}

/// The thread of who hands out jobs.
enum SourceThread {
    Broker(BrokerThread),
    Forward(ForwardThread),
}

/// Starts the broker, or the way to servers outside.
fn open_source(
    settings: &Settings,
    state_dir: &Arc<StateDir>,
    (events, forward_events): (mpsc::Sender<BrokerEvent>, mpsc::Sender<ForwardEvent>),
) -> Result<(JobSource, SourceThread), DaemonError> {
    if !settings.broker.servers.is_empty() {
        let servers = settings.broker.servers.clone();
        let options = ForwardOptions { servers, events: forward_events };
        let (forward, thread) = Forward::start(options)?;
        let source = match settings.broker.way {
            ServersWay::Forward => JobSource::Forward(forward),
            ServersWay::Direct => JobSource::Direct(forward),
        };
        return Ok((source, SourceThread::Forward(thread)));
    }
    let options = BrokerOptions {
        listen: settings.broker.listen.clone(),
        packet_len_max: settings.broker.packet_len_max,
        memory_budget: settings.broker.memory_budget,
        store: settings.broker.store,
        state_dir: Arc::clone(state_dir),
        attempts_max: ATTEMPTS_MAX,
        habits: Habits::default(),
        handle_prefix: settings.broker.handle_prefix.clone(),
        rules: Arc::clone(&settings.broker.rules),
        sockets: SocketOptions::default(),
        events,
    };
    let (broker, thread) = Broker::start(options)?;
    Ok((JobSource::Broker(broker), SourceThread::Broker(thread)))
}

async fn close_control(control: JoinHandle<()>) {
    if let Err(error) = control.await {
        warn!(%error, "the control socket ended badly");
    }
}

/// Who hands out jobs goes last: until then background jobs are still stored and acknowledged, or
/// passed on.
async fn close_source(source: JobSource, thread: SourceThread) {
    let closed = match source {
        JobSource::Broker(broker) => broker.ask(Command::Shutdown).await.is_ok(),
        JobSource::Forward(forward) | JobSource::Direct(forward) => {
            forward.ask(crate::forward::Command::Shutdown).await.is_ok()
        }
    };
    let joined = match thread {
        SourceThread::Broker(thread) => thread.join().is_ok(),
        SourceThread::Forward(thread) => thread.join().is_ok(),
    };
    if !closed || !joined {
        warn!("the thread that hands out jobs ended badly");
    }
}

/// Writes what is there; the pipes of all workers have ended.
async fn close_logs(logs: &LogsHandle, thread: LogsThread) {
    if logs.ask(LogsRequest::Shutdown).await.is_err() || !thread.join() {
        warn!("the logs had ended before");
    }
}

/// Everything was told to end; what does not is named, and ends with the process.
async fn end_tasks(tasks: &TaskTracker) {
    tasks.close();
    if tokio::time::timeout(FAREWELL, tasks.wait()).await.is_err() {
        warn!(tasks = tasks.len(), "some tasks did not end in time");
    }
}

/// What an earlier daemon left behind when it was killed goes before our own workers come.
async fn end_leftovers(processes: &Processes) {
    for Leftover { worker, pid } in processes.end_leftovers().await {
        info!(worker, pid, "ended a worker that an earlier daemon had left behind");
    }
}

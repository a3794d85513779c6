//! A daemon whose control server is real and whose inside answers by rote.
//!
//! `start` and `scale` succeed, `stop` never ends, `restart` fails, `signal` finds nobody and
//! `reload` finds a bad file. The pool `slow` has a worker in BACKOFF and one that runs; the pool
//! `flood` writes without an end.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use gear_supervisor::config::{Count, Settings, Surroundings, load_text};
use gear_supervisor::control::server::ControlServer;
use gear_supervisor::host::HostSample;
use gear_supervisor::logs::{
    LogEntry, LogFilter, LogLine, LogStream, LogsHandle, LogsRequest, LogsSnapshot, Subscription,
};
use gear_supervisor::model::{NamePattern, PoolName, WorkerId, WorkerName};
use gear_supervisor::pool::{PoolIntent, PoolNews, PoolView, SlotRole, SlotState, SlotView};
use gear_supervisor::supervisor::{
    Answer, Brief, CommandError, ConfigState, CountNews, Rejected, Snapshot, SupervisorCommand,
    SupervisorHandle,
};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const FILE: &str = r#"
[supervisor]
state_dir = "/srv/state"

[pool]
slow = { command = "/usr/bin/env slow", count = 2 }
flood = { command = "/usr/bin/env flood" }
"#;

/// Lives until it is dropped.
pub(crate) struct Daemon {
    _runtime: Runtime,
    home: tempfile::TempDir,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let guard = runtime.enter();
        let tasks = TaskTracker::new();
        let (command_sender, commands) = mpsc::channel(SupervisorHandle::COMMANDS_MAX);
        let (log_sender, requests) = mpsc::channel(LogsHandle::REQUESTS_MAX);
        let handle = SupervisorHandle::new(
            command_sender,
            None,
            LogsHandle::new(log_sender, watch::channel(LogsSnapshot::default()).1),
            PoolNews::new().0,
            CountNews::default(),
        );
        let server = ControlServer::bind(&home.path().join("control.sock"), 0o600, None).unwrap();
        tasks.spawn(server.run(handle, CancellationToken::new(), tasks.clone()));
        tasks.spawn(supervise(commands));
        tasks.spawn(log(requests, tasks.clone()));
        drop(guard);
        Self { _runtime: runtime, home }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home.path().join("control.sock")
    }
}

async fn supervise(mut commands: mpsc::Receiver<SupervisorCommand>) {
    // Held, so that those who wait for them wait for ever.
    let mut unanswered: Vec<Answer> = Vec::new();
    let failed = |text: &str| Err(CommandError::Failed(text.to_owned()));
    while let Some(command) = commands.recv().await {
        let (answer, outcome) = match command {
            SupervisorCommand::Snapshot(reply) => {
                reply.send(snapshot()).ok();
                continue;
            }
            SupervisorCommand::Plan { reply, .. } => {
                reply.send(Ok(Vec::new())).ok();
                continue;
            }
            SupervisorCommand::Stop(_, _, answer) => {
                unanswered.push(answer);
                continue;
            }
            SupervisorCommand::Start(_, _, answer) => {
                (answer, Ok(vec!["slow: 2 started".to_owned()]))
            }
            SupervisorCommand::Restart { answer, .. } => {
                (answer, failed("slow:1 did not become ready"))
            }
            SupervisorCommand::Signal(names, _, _, answer) => {
                let name = names[0].to_string();
                (answer, Err(CommandError::NoSuchName { name, hint: Some("slow".to_owned()) }))
            }
            SupervisorCommand::Scale { names, to, hold, answer, .. } => {
                let hold = hold.unwrap_or_default().as_secs();
                (answer, Ok(vec![format!("{}: held at {to:?} for {hold}s", names[0])]))
            }
            SupervisorCommand::Reload { answer, .. } => {
                let errors = ["a.toml:1:1: no", "a.toml:2:1: no"].map(str::to_owned);
                (answer, Err(CommandError::BadFile(errors.to_vec())))
            }
            SupervisorCommand::KillJob { handle, answer, .. } => {
                (answer, Ok(vec![format!("slow:2 was killed for {handle}")]))
            }
            SupervisorCommand::Shutdown(_, answer) => (answer, Ok(Vec::new())),
        };
        answer.send(outcome).ok();
    }
}

async fn log(mut requests: mpsc::Receiver<LogsRequest>, tasks: TaskTracker) {
    while let Some(request) = requests.recv().await {
        let LogsRequest::Subscribe { filter, reply } = request else { continue };
        let (sender, entries) = mpsc::channel(2);
        tasks.spawn(write(filter, sender));
        reply.send(Subscription { entries }).ok();
    }
}

/// Sends what a subscriber is to see until it has gone, or at once when it does not follow.
async fn write(filter: LogFilter, sender: mpsc::Sender<Vec<LogEntry>>) {
    let line = |worker: &str, stream, text: &'static [u8]| {
        LogEntry::Line(LogLine {
            at: SystemTime::now(),
            worker: worker.parse().unwrap(),
            stream,
            text: Bytes::from_static(text),
            part: false,
            continues: false,
        })
    };
    if filter.names == [NamePattern::new("flood")] {
        let batch = || vec![line("flood:1", LogStream::Stdout, b"again and again"); 100];
        while sender.send(batch()).await.is_ok() {}
        return;
    }
    let batch = vec![
        line("slow:2", LogStream::Stdout, b"one"),
        LogEntry::Missed(1234),
        line("slow:2", LogStream::Stderr, b"t\xffwo"),
        line("slow:2", LogStream::Stdout, b""),
        line("slow:2", LogStream::Mark, b"started, pid 4712"),
    ];
    sender.send(batch).await.ok();
    if filter.follow {
        sender.closed().await;
    }
}

fn snapshot() -> Snapshot {
    let somebody = Surroundings { uid: 1000, gid: 1000, ..Surroundings::default() };
    let settings = load_text(Path::new("/srv/workers.toml"), FILE, &somebody).unwrap();
    let rejected = Rejected { at: SystemTime::now(), errors: vec!["a.toml:1:1: no".to_owned()] };
    let slow = ["slow:1", "slow:2"].map(slot).to_vec();
    Snapshot {
        pools: vec![
            brief(&settings, "slow", slow),
            brief(&settings, "flood", vec![slot("flood:1")]),
        ],
        settings: Arc::new(settings),
        config: ConfigState {
            loaded_at: SystemTime::now(),
            is_copy: false,
            rejected: Some(rejected),
        },
        started: Instant::now(),
        broker: None,
        servers: Vec::new(),
        host: HostSample::default(),
        usage: HashMap::new(),
        logs: LogsSnapshot::default(),
        stopping: false,
    }
}

fn brief(settings: &Settings, name: &str, slots: Vec<SlotView>) -> Brief {
    let name: PoolName = name.parse().unwrap();
    let target = u32::try_from(slots.len()).unwrap();
    let settings = Arc::clone(&settings.pools[&name]);
    let view = PoolView {
        name,
        settings,
        intent: PoolIntent::Up,
        target,
        hurdle: None,
        past: None,
        deploy: None,
        former: None,
        slots,
    };
    Brief {
        view: Arc::new(view),
        wanted: target,
        decision: None,
        reason: String::new(),
        hold: None,
        outlook: None,
        bounds: Count { min: target, max: target },
        raised: None,
        changes: Vec::new(),
    }
}

/// `slow:1` is in BACKOFF, all others run.
fn slot(name: &str) -> SlotView {
    let name: WorkerName = name.parse().unwrap();
    let is_down = name.to_string() == "slow:1";
    SlotView {
        state: if is_down { SlotState::Backoff } else { SlotState::Running },
        detail: String::new(),
        worker: (!is_down).then_some(WorkerId(2)),
        pid: (!is_down).then_some(4712),
        since: Instant::now(),
        started: Instant::now().checked_sub(Duration::from_secs(9)),
        role: SlotRole::Current,
        failed: false,
        restarts: 0,
        last_exit: None,
        last_lines: Vec::new(),
        outdated: false,
        name,
    }
}

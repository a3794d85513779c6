//! One daemon at one moment: `slow:1` was killed, and `slow:2` has its job.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;

use crate::broker::{JobLoss, JobView, LossOutcome, Overview, WorkerView};
use crate::config::{
    Backoff, BrokerSettings, Count, HostSettings, ListenAddress, LogFormat, LogSettings,
    PoolProtocol, PoolSettings, Program, ReloadOnEdit, Settings, StoreKind, SupervisorSettings,
};
use crate::host::{HostSample, ProcessUsage};
use crate::model::{Exit, PoolName, Priority, WorkerId};
use crate::pool::{LastExit, PoolIntent, PoolView, SlotRole, SlotState, SlotView};
use crate::supervisor::{Brief, ConfigState, Rejected, Snapshot};

const PID: i32 = 4711;

pub(super) fn snapshot() -> Snapshot {
    let usage = ProcessUsage { cpu_percent: 12.5, rss: 84_000_000 };
    let rejected = Rejected {
        at: SystemTime::now(),
        errors: vec!["workers.toml:9:1: pool.x.cout: unknown".to_owned()],
    };
    Snapshot {
        settings: Arc::new(settings()),
        config: ConfigState { loaded_at: SystemTime::now(), rejected: Some(rejected) },
        started: Instant::now(),
        pools: vec![brief()],
        broker: Some(overview()),
        host: HostSample { cores: 2, ..HostSample::default() },
        usage: HashMap::from([(PID, usage)]),
        stopping: false,
    }
}

pub(super) fn job() -> JobView {
    JobView {
        handle: "H:x:3".to_owned(),
        function: "slow".into(),
        unique: "a".into(),
        priority: Priority::Normal,
        background: true,
        age: Duration::from_secs(9),
        running: Some(Duration::from_secs(4)),
        worker: Some(WorkerId(2)),
        attempt: 2,
        clients: 0,
        progress: Some((3, 10)),
        payload_len: 1,
    }
}

fn overview() -> Overview {
    let holder = WorkerView {
        sessions: 1,
        functions: vec!["slow".into()],
        jobs: vec![job()],
        done: 5,
        ..WorkerView::default()
    };
    let loss = JobLoss {
        handle: "H:x:3".to_owned(),
        function: "slow".into(),
        attempts: 1,
        attempts_max: 3,
        outcome: LossOutcome::Moved(Some(WorkerId(2))),
    };
    Overview {
        workers: HashMap::from([(WorkerId(2), holder)]),
        losses: HashMap::from([(WorkerId(1), loss)]),
        sessions: 3,
        ..Overview::default()
    }
}

fn brief() -> Brief {
    let settings = Arc::new(pool());
    let name = settings.name.clone();
    let killed = LastExit {
        worker: WorkerId(1),
        exit: Exit::Signal { signal: Signal::SIGKILL, core: false },
        at: Instant::now(),
        asked: false,
    };
    let slot = |index, state| SlotView {
        name: name.worker(index),
        role: SlotRole::Current,
        state,
        detail: String::new(),
        worker: None,
        pid: None,
        since: Instant::now(),
        started: None,
        restarts: 0,
        last_exit: None,
        outdated: false,
    };
    let empty = SlotView { restarts: 1, last_exit: Some(killed), ..slot(1, SlotState::Backoff) };
    let running = SlotView {
        worker: Some(WorkerId(2)),
        pid: Some(PID),
        started: Some(Instant::now()),
        ..slot(2, SlotState::Running)
    };
    let slots = vec![empty, running];
    let view = PoolView { name: name.clone(), intent: PoolIntent::Up, target: 2, slots, settings };
    Brief {
        view: Arc::new(view),
        wanted: 2,
        reason: String::new(),
        hold: None,
        decisions: vec![(SystemTime::now(), "1→2: 3 jobs wait".to_owned())],
    }
}

fn pool() -> PoolSettings {
    let program = Program {
        command: vec!["slow".to_owned()],
        functions: Vec::new(),
        protocol: PoolProtocol::Gearman,
        stream: false,
        account: None,
        directory: "/".into(),
        env: BTreeMap::new(),
        umask: None,
    };
    PoolSettings {
        name: "slow".parse::<PoolName>().unwrap(),
        program,
        count: Count { min: 2, max: 2 },
        stop: Vec::new(),
        backoff: Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(9) },
        log: LogSettings { file: None, size_max: 0, keep: 0, format: LogFormat::Text },
    }
}

fn settings() -> Settings {
    let supervisor = SupervisorSettings {
        name: "workers".to_owned(),
        state_dir: "/state".into(),
        socket: "/run/x.sock".into(),
        socket_mode: 0o600,
        socket_group: None,
        log_dir: "/log".into(),
        log_level: "info".to_owned(),
        log_format: LogFormat::Text,
        shutdown_grace: Duration::from_mins(1),
        reload_on_edit: ReloadOnEdit::Apply,
    };
    let broker = BrokerSettings {
        listen: vec![ListenAddress::Tcp(([127, 0, 0, 1], 4730).into())],
        servers: Vec::new(),
        store: StoreKind::Disk,
        packet_len_max: 64 << 20,
    };
    let pool = Arc::new(pool());
    Settings {
        file: "workers.toml".into(),
        sources: Vec::new(),
        supervisor,
        broker,
        host: HostSettings::default(),
        pools: BTreeMap::from([(pool.name.clone(), pool)]),
    }
}

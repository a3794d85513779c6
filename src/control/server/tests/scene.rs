//! One daemon at one moment: `slow:1` was killed, and `slow:2` has its job.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;

use crate::broker::{JobLoss, JobView, LossOutcome, Overview, WorkerView};
use crate::config::{Count, Settings, Surroundings, load_text};
use crate::host::{HostSample, ProcessUsage};
use crate::logs::LogsSnapshot;
use crate::model::{Exit, Priority, WorkerId};
use crate::pool::{LastExit, PoolIntent, PoolView, SlotRole, SlotState, SlotView};
use crate::supervisor::{Brief, ConfigState, CountChange, Rejected, Snapshot};

const PID: i32 = 4711;
const FILE: &str = r#"
[supervisor]
state_dir = "/srv/state"

[pool.slow]
command = "/usr/bin/env slow"
count = 2
"#;

pub(super) fn snapshot() -> Snapshot {
    let usage = ProcessUsage { cpu_percent: 12.5, rss: 84_000_000 };
    let rejected = Rejected {
        at: SystemTime::now(),
        errors: vec!["workers.toml:9:1: pool.x.cout: unknown".to_owned()],
    };
    Snapshot {
        settings: Arc::new(settings()),
        config: ConfigState {
            loaded_at: SystemTime::now(),
            is_copy: false,
            rejected: Some(rejected),
        },
        started: Instant::now(),
        pools: vec![brief()],
        broker: Some(overview()),
        servers: Vec::new(),
        host: HostSample { cores: 2, ..HostSample::default() },
        usage: HashMap::from([(PID, usage)]),
        logs: LogsSnapshot::default(),
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
        due: None,
        death: None,
        times: None,
        payload_len: 1,
        on_disk: None,
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
    let settings = settings().pools.into_values().next().unwrap();
    let name = settings.name.clone();
    let killed = LastExit {
        worker: WorkerId(1),
        exit: Exit::Signal { signal: Signal::SIGKILL, core: false },
        at: Instant::now(),
        asked: false,
        blame: String::new(),
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
        failed: false,
        restarts: 0,
        last_exit: None,
        last_lines: Vec::new(),
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
    let view = PoolView {
        name: name.clone(),
        intent: PoolIntent::Up,
        target: 2,
        hurdle: None,
        past: None,
        deploy: None,
        former: None,
        slots,
        settings,
    };
    Brief {
        view: Arc::new(view),
        wanted: 2,
        decision: None,
        reason: String::new(),
        hold: None,
        bounds: Count { min: 2, max: 2 },
        raised: None,
        outlook: None,
        changes: vec![Arc::new(CountChange {
            at: SystemTime::now(),
            pool: name,
            reason: "1→2: 3 jobs wait".to_owned(),
            decision: None,
        })],
    }
}

fn settings() -> Settings {
    let somebody = Surroundings { uid: 1000, gid: 1000, ..Surroundings::default() };
    load_text(Path::new("/srv/workers.toml"), FILE, &somebody).unwrap()
}

//! A daemon for tests: `slow:1` was killed, `slow:2` has its job, and the file has a typo.

use crate::control::api::{
    BrokerStatus, ConfigStatus, DaemonState, FunctionStatus, HostStatus, Intent, JobStatus,
    PoolStatus, RejectedStatus, Status, WorkerStatus,
};

pub(in crate::cli) fn status() -> Status {
    let mut status = healthy();
    status.config.rejected = Some(RejectedStatus {
        at: "2026-11-24T14:05:03.000+01:00".to_owned(),
        errors: vec![
            "workers.toml:9:1: pool.slow.cout: unknown key; did you mean count?".to_owned(),
        ],
    });
    let [slow, _] = &mut status.pools[..] else { panic!("not two pools") };
    slow.running = 1;
    slow.workers[0] = WorkerStatus {
        state: "BACKOFF".to_owned(),
        failed: true,
        detail: "next try in 1.2 s".to_owned(),
        restarts: 2,
        last_exit: Some("killed by KILL; job H:x:3 moved to slow:2, attempt 2 of 3".to_owned()),
        last_exit_age: Some(4.0),
        keyboard: None,
        ..empty("slow:1")
    };
    status
}

pub(in crate::cli) fn healthy() -> Status {
    Status {
        name: "workers".to_owned(),
        version: "0.1.0".to_owned(),
        pid: 812,
        uptime: 11_520.0,
        state: DaemonState::Running,
        config: ConfigStatus {
            file: "/etc/gear-supervisor/workers.toml".to_owned(),
            loaded_at: "2026-11-24T14:02:11.250+01:00".to_owned(),
            is_copy: false,
            rejected: None,
        },
        broker: Some(broker()),
        host: HostStatus {
            cores: 2,
            load1: 0.4,
            mem_available: 12_000_000_000,
            mem_total: 16_000_000_000,
            cpu_pressure: None,
            mem_pressure: None,
        },
        pools: vec![slow(), wordcount()],
    }
}

pub(in crate::cli) fn job() -> JobStatus {
    JobStatus {
        handle: "H:x:3".to_owned(),
        function: "slow".to_owned(),
        unique: "a".to_owned(),
        priority: "normal".to_owned(),
        background: true,
        age: 9.0,
        running: Some(4.0),
        worker: Some("slow:2".to_owned()),
        attempt: 2,
        clients: 0,
        progress: Some((3, 10)),
        due: None,
        times: None,
        death: None,
        payload_len: 1,
    }
}

fn broker() -> BrokerStatus {
    let function = |name: &str, queued| FunctionStatus {
        name: name.to_owned(),
        queued,
        delayed: 0,
        dead: 0,
        expired: 0,
        paused: false,
        oldest: Some(42.0),
        running: 1,
        performers: 2,
        ended: 1_234,
    };
    BrokerStatus {
        listen: vec!["127.0.0.1:4730".to_owned()],
        servers: Vec::new(),
        direct: false,
        connections: 12,
        untied_performers: 1,
        store_error: None,
        functions: vec![function("slow", [2, 12, 0]), function("wordcount", [0; 3])],
    }
}

fn slow() -> PoolStatus {
    let busy = WorkerStatus {
        done: 1_234,
        jobs: vec![job()],
        cpu_percent: Some(12.4),
        rss: Some(84_000_000),
        ..running("slow:2", 4712, 192.0)
    };
    pool("slow", vec![running("slow:1", 4711, 192.0), busy])
}

fn wordcount() -> PoolStatus {
    let worker = WorkerStatus {
        done: 17,
        cpu_percent: Some(0.0),
        rss: Some(3_100_000),
        ..running("wordcount:1", 4713, 11_520.0)
    };
    PoolStatus { protocol: "exec".to_owned(), ..pool("wordcount", vec![worker]) }
}

fn pool(name: &str, workers: Vec<WorkerStatus>) -> PoolStatus {
    let count = u32::try_from(workers.len()).unwrap();
    PoolStatus {
        name: name.to_owned(),
        intent: Intent::Up,
        wanted: count,
        target: count,
        limit: None,
        running: count,
        min: count,
        max: count,
        hold: None,
        reason: format!("count = {count} in the file"),
        labels: Vec::new(),
        functions: vec![name.to_owned()],
        protocol: "gearman".to_owned(),
        waits: None,
        stuck: false,
        oneshot: false,
        cron: None,
        canary: None,
        log_loss: None,
        workers,
    }
}

fn running(name: &str, pid: i32, uptime: f64) -> WorkerStatus {
    WorkerStatus {
        state: "RUNNING".to_owned(),
        pid: Some(pid),
        uptime: Some(uptime),
        tied: Some(true),
        registered: Some(true),
        ..empty(name)
    }
}

fn empty(name: &str) -> WorkerStatus {
    WorkerStatus {
        name: name.to_owned(),
        state: "STOPPED".to_owned(),
        detail: String::new(),
        outgoing: false,
        pid: None,
        uptime: None,
        done: 0,
        jobs: Vec::new(),
        tied: None,
        registered: None,
        cpu_percent: None,
        rss: None,
        failed: false,
        restarts: 0,
        last_exit: None,
        last_exit_age: None,
        keyboard: None,
        last_lines: Vec::new(),
        outdated: false,
    }
}

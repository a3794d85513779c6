//! What the program knows of itself, in the words of the API.

mod fate;
mod pool;

use std::collections::HashMap;
use std::time::{Instant, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::broker::record::{Death, DeathCause, JobRecord};
use crate::broker::{FunctionView, JobView, Overview};
use crate::config::ServersWay;
use crate::control::api::{
    BrokerStatus, ConfigStatus, CountRecord, DaemonState, DeathStatus, ExitStory, Explanation,
    ExportedJob, FunctionStatus, HostStatus, JobStatus, PlanStep, RejectedStatus, ScalingNumbers,
    ServerStatus, Status, Text, WorkerStatus,
};
use crate::control::spelled_out;
use crate::forward::ServerView;
use crate::host::HostSample;
use crate::model::{FunctionName, NamePattern, WorkerId, WorkerName};
use crate::scaler::Decision;
use crate::supervisor::{Brief, ConfigState, CountChange, PlannedStep, Snapshot};

/// The slots' names by their processes, for jobs that know their worker by its id.
#[derive(Debug)]
pub(super) struct WorkerNames(HashMap<WorkerId, WorkerName>);

impl WorkerNames {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let slots = snapshot.pools.iter().flat_map(|brief| &brief.view.slots);
        Self(slots.filter_map(|slot| Some((slot.worker?, slot.name.clone()))).collect())
    }

    fn name(&self, worker: WorkerId) -> Option<&WorkerName> {
        self.0.get(&worker)
    }
}

/// The whole daemon at `now`.
pub(super) fn status(snapshot: &Snapshot, now: Instant) -> Status {
    let names = WorkerNames::of(snapshot);
    let scene = pool::Scene { snapshot, names: &names, now };
    let mut pools: Vec<_> = snapshot.pools.iter().map(|brief| scene.pool(brief)).collect();
    pools.sort_by(|one, other| one.name.cmp(&other.name));
    Status {
        name: snapshot.settings.supervisor.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime: now.saturating_duration_since(snapshot.started).as_secs_f64(),
        state: if snapshot.stopping { DaemonState::Stopping } else { DaemonState::Running },
        config: config(&snapshot.settings.file.to_string_lossy(), &snapshot.config),
        broker: snapshot.broker.as_ref().map(|overview| broker(overview, snapshot)),
        host: host(&snapshot.host),
        pools,
    }
}

/// One job.
pub(super) fn job(job: &JobView, names: &WorkerNames) -> JobStatus {
    JobStatus {
        handle: job.handle.clone(),
        function: job.function.to_string(),
        unique: job.unique.to_string(),
        priority: job.priority.to_string(),
        background: job.background,
        age: job.age.as_secs_f64(),
        running: job.running.map(|running| running.as_secs_f64()),
        worker: job.worker.and_then(|worker| names.name(worker)).map(ToString::to_string),
        attempt: job.attempt,
        clients: job.clients,
        progress: job.progress,
        due: job.due.map(|due| due.as_secs_f64()),
        times: job.times.clone(),
        death: job.death.as_ref().map(death),
        payload_len: job.payload_len,
    }
}

/// One job that moves out.
pub(super) fn exported(handle: &str, record: &JobRecord) -> ExportedJob {
    let seconds = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).ok();
    ExportedJob {
        handle: handle.to_owned(),
        function: Text::of(&record.function.0),
        unique: Text::of(&record.unique.0),
        priority: record.priority.to_string(),
        run_at: record.run_at.and_then(seconds).map(|at| at.as_secs()),
        reducer: record.reducer.as_deref().map(Text::of),
        payload: Text::of(&record.payload),
    }
}

fn death(death: &Death) -> DeathStatus {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let cause = match death.cause {
        DeathCause::Died => "died",
        DeathCause::TimedOut => "timed out",
        DeathCause::Failed => "failed",
        DeathCause::Raised => "raised",
    };
    DeathStatus {
        at: rfc3339(death.at),
        cause: cause.to_owned(),
        worker: some(&death.worker),
        exit: some(&death.exit),
        output: death.output.clone(),
    }
}

/// Why a pool has the count it has.
pub(super) fn explanation(snapshot: &Snapshot, brief: &Brief) -> Explanation {
    let names = WorkerNames::of(snapshot);
    let scene = pool::Scene { snapshot, names: &names, now: Instant::now() };
    let workers = scene.pool(brief).workers.into_iter().filter(|worker| !worker.outgoing);
    let story = |worker: WorkerStatus| {
        let (worker, exit, lines) = (worker.name, worker.last_exit?, worker.last_lines);
        Some(ExitStory { worker, exit, lines })
    };
    Explanation {
        pool: brief.view.name.to_string(),
        now: pool::reason(brief),
        numbers: brief.decision.as_ref().map(numbers),
        history: brief.changes.iter().map(|change| count(change)).collect(),
        exits: workers.filter_map(story).collect(),
    }
}

/// A change of what a pool is to run.
pub(super) fn count(change: &CountChange) -> CountRecord {
    CountRecord {
        time: rfc3339(change.at),
        pool: change.pool.to_string(),
        reason: change.reason.clone(),
        numbers: change.decision.as_ref().map(numbers),
    }
}

fn numbers(decision: &Decision) -> ScalingNumbers {
    let inputs = &decision.inputs;
    ScalingNumbers {
        wanted: decision.wanted,
        target: decision.target,
        have: inputs.have,
        limit: decision.limit.map(|limit| limit.to_string()),
        queued: inputs.queued,
        oldest: inputs.oldest.as_secs_f64(),
        arrivals: inputs.arrivals,
        service: inputs.service,
        running: inputs.running,
        busy: inputs.busy,
        startup: inputs.startup.as_secs_f64(),
        window: inputs.window.as_secs_f64(),
        hosts: decision.inputs.hosts,
        needed: decision.inputs.needed,
    }
}

/// What names mean in a daemon.
pub(super) fn patterns(snapshot: &Snapshot, names: &[String]) -> Vec<NamePattern> {
    let pools: Vec<_> = snapshot
        .pools
        .iter()
        .map(|Brief { view, .. }| (view.name.as_str(), view.settings.order.labels.as_slice()))
        .collect();
    spelled_out(names, &pools).iter().map(|name| NamePattern::new(name)).collect()
}

/// True when the pattern means the pool or a slot that it has or may have.
pub(super) fn is_meant(brief: &Brief, pattern: &NamePattern) -> bool {
    let view = &brief.view;
    if pattern.is_pool() {
        return pattern.matches_pool(&view.name);
    }
    // Slots that are scaled away for now keep their names and their logs.
    let held = brief.hold.map_or(0, |(_, max)| max);
    let numbers_max = view.settings.count.max.max(held);
    view.slots.iter().any(|slot| pattern.matches_worker(&slot.name))
        || (1..=numbers_max).any(|index| pattern.matches_worker(&view.name.worker(index)))
}

/// Local time with its offset, to the millisecond.
pub(super) fn rfc3339(at: SystemTime) -> String {
    match Timestamp::try_from(at) {
        Ok(stamp) => stamp
            .to_zoned_datetime(TimeZone::system())
            .strftime("%Y-%m-%dT%H:%M:%S%.3f%:z")
            .to_string(),
        // Only a clock that is set outside of the years -9999 to 9999.
        Err(_) => Timestamp::UNIX_EPOCH.to_string(),
    }
}

/// One change that a reload would make.
pub(super) fn planned(step: PlannedStep) -> PlanStep {
    PlanStep {
        pool: step.pool.map(|pool| pool.to_string()),
        text: step.text,
        start: step.start,
        replace: step.replace,
        stop: step.stop,
    }
}

fn config(file: &str, state: &ConfigState) -> ConfigStatus {
    ConfigStatus {
        file: file.to_owned(),
        loaded_at: rfc3339(state.loaded_at),
        is_copy: state.is_copy,
        rejected: state.rejected.as_ref().map(|rejected| RejectedStatus {
            at: rfc3339(rejected.at),
            errors: rejected.errors.clone(),
        }),
    }
}

fn broker(overview: &Overview, snapshot: &Snapshot) -> BrokerStatus {
    let listen = &snapshot.settings.broker.listen;
    let listen = listen.iter().filter(|_| snapshot.servers.is_empty());
    let is_direct = snapshot.settings.broker.way == ServersWay::Direct;
    BrokerStatus {
        listen: listen.map(ToString::to_string).collect(),
        servers: snapshot.servers.iter().map(server).collect(),
        direct: is_direct && !snapshot.servers.is_empty(),
        connections: overview.sessions,
        untied_performers: overview.untied_performers,
        store_error: overview.store_error.clone(),
        functions: overview.functions.iter().map(|(name, view)| function(name, view)).collect(),
    }
}

fn server(view: &ServerView) -> ServerStatus {
    ServerStatus {
        address: view.address.clone(),
        up: view.is_up,
        trouble: Some(view.trouble.clone()).filter(|trouble| !trouble.is_empty()),
        since: view.since.as_secs_f64(),
    }
}

fn function(name: &FunctionName, view: &FunctionView) -> FunctionStatus {
    FunctionStatus {
        name: name.to_string(),
        queued: view.queued,
        delayed: view.delayed,
        dead: view.dead,
        expired: view.expired,
        paused: view.paused,
        oldest: view.oldest.map(|oldest| oldest.as_secs_f64()),
        running: view.running,
        performers: view.performers,
        ended: view.ended,
    }
}

fn host(sample: &HostSample) -> HostStatus {
    HostStatus {
        cores: sample.cores,
        load1: sample.load1,
        mem_available: sample.mem_available,
        mem_total: sample.mem_total,
        cpu_pressure: sample.cpu_pressure,
        mem_pressure: sample.mem_pressure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_back_as_the_same_instant() {
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_732_424_142_250);
        let text = rfc3339(at);
        let back: Timestamp = text.parse().unwrap();
        assert_eq!(SystemTime::try_from(back).unwrap(), at, "{text}");
    }
}

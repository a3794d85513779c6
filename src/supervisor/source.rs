//! Who hands out jobs, and what is known of them: our broker, or Gearman servers outside.
//!
//! What the forwarding tells is put into the broker's words here, so that everything behind, the
//! scaler and `status` among them, need not know where jobs come from.

use std::collections::HashMap;
use std::time::Duration;

use crate::broker::{
    BrokerHandle, DemandView, FunctionDemand, FunctionView, JobView, Overview, WorkerDemand,
    WorkerView,
};
use crate::forward::{ForwardHandle, ForwardView, FunctionDepth, HeldJob, ProcessView, ServerView};
use crate::model::{Priority, WorkerId};

/// Who hands out jobs.
#[derive(Clone, Debug)]
pub(super) enum JobSource {
    /// Our broker.
    Broker(BrokerHandle),
    /// Servers outside, through us.
    Forward(ForwardHandle),
    /// Servers outside, to which workers connect by themselves; only their queues are known.
    Direct(ForwardHandle),
}

impl JobSource {
    pub(super) fn broker(&self) -> Option<&BrokerHandle> {
        match self {
            Self::Broker(broker) => Some(broker),
            Self::Forward(_) | Self::Direct(_) => None,
        }
    }

    /// What counts of workers are decided from; `None` where it cannot be known.
    pub(super) async fn demand(&self) -> Option<DemandView> {
        match self {
            Self::Broker(broker) => broker.demand().await.ok(),
            Self::Forward(forward) => forward.view().await.ok().map(demand_of),
            // Nobody knows which workers are idle, and so may be stopped.
            Self::Direct(_) => None,
        }
    }

    /// Queues, workers and servers at this moment.
    pub(super) async fn overview(&self) -> Option<(Overview, Vec<ServerView>)> {
        match self {
            Self::Broker(broker) => Some((broker.overview().await.ok()?, Vec::new())),
            Self::Forward(forward) | Self::Direct(forward) => {
                let mut view = forward.view().await.ok()?;
                let servers = std::mem::take(&mut view.servers);
                Some((overview_of(view, &servers), servers))
            }
        }
    }
}

fn demand_of(view: ForwardView) -> DemandView {
    let functions = view.functions.into_iter().map(|(name, depth)| {
        let FunctionDepth { queued, oldest, running, elsewhere, ended, busy, .. } = depth;
        (name, FunctionDemand { queued, oldest, running, elsewhere, ended, busy })
    });
    let workers = view.processes.into_iter().map(|(worker, process)| {
        let ProcessView { functions, jobs, done, idle, .. } = process;
        (worker, WorkerDemand { busy: !jobs.is_empty(), idle, done, functions })
    });
    DemandView { functions: functions.collect(), pools: view.pools, workers: workers.collect() }
}

fn overview_of(view: ForwardView, servers: &[ServerView]) -> Overview {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for job in view.processes.values().flat_map(|process| &process.jobs) {
        *seen.entry(job.handle.clone()).or_default() += 1;
    }
    // Servers number their jobs each for itself; a handle that two have is told with its server.
    let handle_of = |job: &HeldJob| match (seen.get(&job.handle), servers.get(job.server)) {
        (Some(2..), Some(server)) => format!("{}@{}", job.handle, server.address),
        _ => job.handle.clone(),
    };
    let workers = view.processes.into_iter().map(|(worker, process)| {
        let jobs = process.jobs.iter().map(|job| job_view(worker, handle_of(job), job)).collect();
        let ProcessView { sessions, functions, done, idle, draining, .. } = process;
        (worker, WorkerView { sessions, functions, jobs, done, idle, draining })
    });
    let functions = view.functions.into_iter().map(|(name, depth)| (name, function_view(&depth)));
    Overview {
        functions: functions.collect(),
        workers: workers.collect(),
        sessions: view.sessions,
        ..Overview::default()
    }
}

/// Servers do not tell a queue's priorities apart.
fn function_view(depth: &FunctionDepth) -> FunctionView {
    FunctionView {
        queued: [0, depth.queued, 0],
        oldest: (depth.queued > 0).then_some(depth.oldest),
        // The listing may be older than what our workers have been given since.
        running: depth.running_anywhere.max(depth.running),
        performers: depth.performers,
        ended: depth.ended,
        ..FunctionView::default()
    }
}

/// What a server does not tell a worker of its job is left out, or as it mostly is.
fn job_view(worker: WorkerId, handle: String, job: &HeldJob) -> JobView {
    JobView {
        handle,
        function: job.function.clone(),
        unique: job.unique.clone(),
        priority: Priority::Normal,
        background: false,
        age: job.running,
        running: Some(job.running),
        worker: Some(worker),
        attempt: 1,
        clients: 0,
        due: None::<Duration>,
        death: None,
        times: None,
        progress: job.progress,
        payload_len: job.payload_len,
        on_disk: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_handle_of_two_servers_is_told_with_its_server() {
        let server = |address: &str| ServerView {
            address: address.to_owned(),
            is_up: true,
            trouble: String::new(),
            since: Duration::ZERO,
        };
        let process = |handle: &str, server| ProcessView {
            jobs: vec![HeldJob {
                handle: handle.to_owned(),
                server,
                function: "f".into(),
                unique: "".into(),
                running: Duration::ZERO,
                progress: None,
                payload_len: 0,
            }],
            ..ProcessView::default()
        };
        let processes = [process("H:x:1", 0), process("H:x:1", 1), process("H:x:2", 0)];
        let processes = (1..).map(WorkerId).zip(processes).collect();
        let view = ForwardView { processes, ..ForwardView::default() };
        let overview = overview_of(view, &[server("gm1:4730"), server("gm2:4730")]);
        let mut handles: Vec<_> =
            overview.workers.values().flat_map(|w| &w.jobs).map(|job| &job.handle[..]).collect();
        handles.sort_unstable();
        assert_eq!(handles, ["H:x:1@gm1:4730", "H:x:1@gm2:4730", "H:x:2"]);
    }
}

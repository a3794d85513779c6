//! What the rest of the program asks of the core.

use tokio::sync::oneshot;
use tracing::debug;

use super::core::{Core, now};
use super::show::TARGET;
use crate::broker::{JobView, Overview};
use crate::model::{Drain, Exit, FunctionName, PoolName, SessionId, WorkerId, WorkerName};

impl Core {
    pub(super) fn admit(&mut self, worker: WorkerId, name: WorkerName) {
        self.names.insert(worker, name.clone());
        self.state.admit(now(), worker, name);
        self.deliver(now());
    }

    pub(super) fn gone(&mut self, worker: WorkerId, exit: Exit) {
        let now = now();
        if let Some(name) = self.names.remove(&worker) {
            debug!(target: TARGET, "{name} ended: {exit}");
        }
        self.state.gone(now, worker, exit, &mut self.fx);
        // Whoever waits for it to be idle waits no longer.
        self.fx.drained.push(worker);
        self.deliver(now);
    }

    pub(super) fn drain_if_idle(&mut self, worker: WorkerId) -> Drain {
        let now = now();
        let answer = self.state.drain_if_idle(now, worker);
        self.deliver(now);
        answer
    }

    pub(super) fn drain(&mut self, worker: WorkerId, reply: oneshot::Sender<()>) {
        let now = now();
        self.drains.entry(worker).or_default().push(reply);
        self.state.drain(now, worker, &mut self.fx);
        self.deliver(now);
    }

    pub(super) fn nudge(&mut self, worker: WorkerId) {
        self.state.nudge(worker, &mut self.fx);
        self.deliver(now());
    }

    pub(super) fn limit(&mut self, pool: PoolName, workers_max: usize) {
        let now = now();
        self.state.limit(now, pool, workers_max, &mut self.fx);
        self.deliver(now);
    }

    pub(super) fn tie(&mut self, session: SessionId, worker: Option<WorkerId>) {
        let now = now();
        self.state.tie(now, session, worker, &mut self.fx);
        if let Some(name) = worker.and_then(|worker| self.names.get(&worker)) {
            debug!(target: TARGET, "conn {session} belongs to {name}");
        }
        self.deliver(now);
    }

    pub(super) fn overview(&self) -> Overview {
        self.state.overview(now())
    }

    pub(super) fn jobs(&self, function: Option<&FunctionName>, limit: usize) -> Vec<JobView> {
        self.state.jobs(now(), function, limit)
    }

    pub(super) fn job(&self, handle: &str) -> Option<JobView> {
        self.state.job(now(), handle)
    }

    pub(super) fn cancel(&mut self, handle: &str) -> bool {
        let now = now();
        let found = self.state.cancel(now, handle, &mut self.fx);
        self.deliver(now);
        found
    }
}

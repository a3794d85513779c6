//! What the counts of workers are decided from: no job is looked at but the oldest of each queue.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::State;
use super::crews::Worker;
use super::functions::FunctionKey;
use crate::broker::{DemandView, FunctionDemand, WorkerDemand};
use crate::model::{JobId, Priority};

impl State {
    /// Queues and workers at this moment.
    #[must_use]
    pub fn demand(&self, now: Instant) -> DemandView {
        let functions = self.functions.iter().map(|function| {
            let queues = Priority::ALL.map(|priority| function.queued(priority));
            let oldest = queues.iter().filter_map(|queue| {
                let id: JobId = queue.first()?;
                self.jobs.get(id).map(|job| job.enqueued)
            });
            let waited = |then| self.settings.since(now, then);
            // Jobs of a paused function are no demand: nobody would be given them.
            let oldest = oldest.min().filter(|_| !function.paused);
            let demand = FunctionDemand {
                queued: function.ready_len(),
                oldest: oldest.map_or(Duration::ZERO, waited),
                running: function.running,
                elsewhere: 0,
                ended: function.ended,
                busy: function.busy.total(now),
            };
            (function.name.clone(), demand)
        });
        let workers = self.crews.workers.iter();
        DemandView {
            functions: functions.collect(),
            pools: self.crews.busy(now).collect(),
            workers: workers.map(|(id, worker)| (*id, self.worker_demand(now, worker))).collect(),
        }
    }

    fn worker_demand(&self, now: Instant, worker: &Worker) -> WorkerDemand {
        let sessions = worker.sessions.iter().filter_map(|id| self.sessions.get(id));
        let keys: BTreeSet<FunctionKey> =
            sessions.flat_map(|session| session.abilities.keys().copied()).collect();
        let functions = keys.into_iter().filter_map(|key| self.functions.get(key));
        WorkerDemand {
            busy: worker.holding > 0,
            idle: worker.idle_since.map(|since| now.saturating_duration_since(since)),
            done: worker.done,
            functions: functions.map(|function| function.name.clone()).collect(),
        }
    }
}

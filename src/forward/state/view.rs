//! What is shown of queues and workers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use super::crews::{Duty, Process};
use super::{State, taken};
use crate::forward::view::{ForwardView, FunctionDepth, HeldJob, ProcessView};
use crate::model::{FunctionName, WorkerId};

impl State {
    /// Queues and workers at this moment; the servers are known to the shell.
    #[must_use]
    pub fn view(&self, now: Instant) -> ForwardView {
        let processes = self.crews.processes.iter();
        ForwardView {
            servers: Vec::new(),
            functions: self.functions(now),
            pools: self.crews.busy(now),
            processes: processes
                .map(|(worker, process)| (*worker, self.process(now, *worker, process)))
                .collect::<HashMap<_, _>>(),
            sessions: self.sessions.len(),
        }
    }

    fn functions(&self, now: Instant) -> BTreeMap<FunctionName, FunctionDepth> {
        let mut functions: BTreeMap<FunctionName, FunctionDepth> = BTreeMap::new();
        for (name, depth) in self.queues.iter() {
            let all = depth.all();
            let taken = taken(&self.crews.functions, name);
            let seen = FunctionDepth {
                queued: depth.queued(taken),
                oldest: depth.oldest(now, taken),
                running_anywhere: all.running,
                elsewhere: depth.elsewhere(),
                performers: all.performers,
                ..FunctionDepth::default()
            };
            functions.insert(name.clone(), seen);
        }
        for (name, work) in &self.crews.functions {
            let seen = functions.entry(name.clone()).or_default();
            seen.running = work.running;
            seen.ended = work.ended;
            seen.busy = work.busy.total(now);
        }
        functions
    }

    fn process(&self, now: Instant, worker: WorkerId, process: &Process) -> ProcessView {
        let sessions = process.sessions.iter().filter_map(|id| self.sessions.get(id));
        let functions: BTreeSet<_> =
            sessions.flat_map(|session| session.functions().cloned()).collect();
        let jobs = self.held_by(worker).map(|held| HeldJob {
            handle: String::from_utf8_lossy(&held.handle).into_owned(),
            server: held.server,
            function: held.function.clone(),
            unique: held.unique.clone(),
            running: now.saturating_duration_since(held.since),
            progress: held.progress,
            payload_len: held.payload_len,
        });
        ProcessView {
            sessions: process.sessions.len(),
            functions: functions.into_iter().collect(),
            jobs: jobs.collect(),
            done: process.done,
            idle: process.idle(now),
            draining: process.duty != Duty::Serving,
        }
    }
}

//! Functions and their queues.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use bytes::Bytes;
use slab::Slab;

use crate::model::{FunctionName, JobId, Priority, SessionId, Unique};

/// A function's place in the table; used again after the function was dropped.
pub(super) type FunctionId = usize;

/// Every function, with an index by name and one of those that have ready jobs.
#[derive(Debug, Default)]
pub(super) struct Functions {
    table: Slab<Function>,
    by_name: HashMap<FunctionName, FunctionId>,
    ready: BTreeSet<FunctionId>,
    /// Jobs by what makes two submissions the same job: the unique, and for `-` the workload.
    pub(super) uniques: HashMap<(FunctionId, (Unique, Bytes)), JobId>,
}

/// One function.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: FunctionName,
    /// Ready jobs in the order of service: priority, then age. A job that comes back after a
    /// worker's death stands where it stood, so that a crash does not cost it its turn.
    pub(super) queue: BTreeSet<(Priority, JobId)>,
    /// Sessions that perform it, and how often each registered it.
    pub(super) performers: BTreeSet<SessionId>,
    /// Jobs in workers' hands.
    pub(super) running: usize,
    /// Jobs whose records are not durable yet, or whose worker may have died.
    pub(super) pending: usize,
    /// Jobs ended since the start.
    pub(super) ended: u64,
    /// Most jobs that wait or run, by the priority of the one that comes.
    pub(super) limits: [Option<u64>; 3],
    /// When one more sleeper is woken if nobody has grabbed.
    pub(super) wake_at: Option<Instant>,
}

impl Functions {
    pub(super) fn get(&self, id: FunctionId) -> Option<&Function> {
        self.table.get(id)
    }

    pub(super) fn get_mut(&mut self, id: FunctionId) -> Option<&mut Function> {
        self.table.get_mut(id)
    }

    pub(super) fn find(&self, name: &FunctionName) -> Option<FunctionId> {
        self.by_name.get(name).copied()
    }

    pub(super) fn find_or_add(&mut self, name: &FunctionName) -> FunctionId {
        if let Some(id) = self.find(name) {
            return id;
        }
        let id = self.table.insert(Function {
            name: name.clone(),
            queue: BTreeSet::new(),
            performers: BTreeSet::new(),
            running: 0,
            pending: 0,
            ended: 0,
            limits: [None; 3],
            wake_at: None,
        });
        self.by_name.insert(name.clone(), id);
        id
    }

    pub(super) fn remove(&mut self, id: FunctionId) {
        if let Some(function) = self.table.try_remove(id) {
            self.by_name.remove(&function.name);
            self.ready.remove(&id);
        }
    }

    /// Every function in the order of the table.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Function> {
        self.table.iter().map(|(_, function)| function)
    }

    /// Functions with ready jobs.
    pub(super) fn ready(&self) -> &BTreeSet<FunctionId> {
        &self.ready
    }

    pub(super) fn enqueue(&mut self, id: FunctionId, priority: Priority, job: JobId) {
        if let Some(function) = self.table.get_mut(id) {
            function.queue.insert((priority, job));
            self.ready.insert(id);
        }
    }

    pub(super) fn dequeue(&mut self, id: FunctionId, priority: Priority, job: JobId) {
        if let Some(function) = self.table.get_mut(id) {
            function.queue.remove(&(priority, job));
            if function.queue.is_empty() {
                self.ready.remove(&id);
                function.wake_at = None;
            }
        }
    }
}

impl Function {
    /// Jobs that wait, run or are about to.
    pub(super) fn total(&self) -> usize {
        self.queue.len() + self.running + self.pending
    }

    /// Jobs that wait: high, normal, low.
    pub(super) fn queued(&self) -> [usize; 3] {
        // Ready jobs of one priority stand together, so most counts come from two look-ups; the
        // walk is over what is listed anyway.
        let mut queued = [0; 3];
        for (priority, _) in &self.queue {
            let [high, normal, low] = &mut queued;
            *match priority {
                Priority::High => high,
                Priority::Normal => normal,
                Priority::Low => low,
            } += 1;
        }
        queued
    }

    /// The limit for a job of this priority.
    pub(super) fn limit(&self, priority: Priority) -> Option<u64> {
        let [high, normal, low] = self.limits;
        match priority {
            Priority::High => high,
            Priority::Normal => normal,
            Priority::Low => low,
        }
    }
}

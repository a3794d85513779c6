//! What pools tell of themselves without being asked.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{broadcast, mpsc};

use super::view::{SlotRole, SlotState};
use crate::model::{PoolName, WorkerName};

/// Transitions kept for a reader that is slow; one that falls further behind is told how many it
/// missed.
const EVENTS_MAX: usize = 4096;
/// Failures under way at most; the first is enough to end the daemon, so more are dropped.
const FAILURES_MAX: usize = 16;

/// A worker's state changed.
#[derive(Clone, Debug)]
pub struct PoolEvent {
    /// When.
    pub at: SystemTime,
    /// `POOL:N`
    pub worker: WorkerName,
    /// Whether its slot's present or outgoing process is meant.
    pub role: SlotRole,
    /// The process, if it is known.
    pub pid: Option<i32>,
    /// The state before.
    pub from: SlotState,
    /// The state since.
    pub to: SlotState,
    /// Why.
    pub why: String,
}

/// No worker of a pool runs, and none can be started.
#[derive(Clone, Debug)]
pub struct PoolFailure {
    /// The pool.
    pub pool: PoolName,
    /// Why.
    pub reason: String,
}

/// Where a pool sends its news; clones share the channels.
#[derive(Clone, Debug)]
pub struct PoolNews {
    events: broadcast::Sender<Arc<PoolEvent>>,
    failures: mpsc::Sender<PoolFailure>,
}

impl PoolNews {
    /// New channels; the receiver gets the failures of essential pools.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<PoolFailure>) {
        let (failures, failed) = mpsc::channel(FAILURES_MAX);
        (Self { events: broadcast::Sender::new(EVENTS_MAX), failures }, failed)
    }

    /// Every transition from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<PoolEvent>> {
        self.events.subscribe()
    }

    pub(super) fn moved(&self, event: PoolEvent) {
        // Nobody needs to listen.
        self.events.send(Arc::new(event)).ok();
    }

    pub(super) fn failed(&self, failure: PoolFailure) {
        if self.failures.try_send(failure).is_err() {
            tracing::debug!("the daemon ends already");
        }
    }
}

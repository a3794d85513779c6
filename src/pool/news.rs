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

/// The canary of a roll has come further.
#[derive(Clone, Debug)]
pub struct DeployEvent {
    /// When.
    pub at: SystemTime,
    /// The canary, `POOL:N`.
    pub worker: WorkerName,
    /// `canary began`, `canary proved itself`, `canary failed`.
    pub what: &'static str,
    /// Why it failed.
    pub reason: Option<String>,
}

/// Something that an edit of the file changes.
#[derive(Clone, Debug)]
pub struct EditEvent {
    /// When.
    pub at: SystemTime,
    /// `slow 3→2`, `host.max_workers changed`.
    pub said: String,
}

/// Something that happened to pools.
#[derive(Clone, Debug)]
pub enum PoolNewsItem {
    /// A worker's state changed.
    Moved(PoolEvent),
    /// The canary of a roll has come further.
    Deployed(DeployEvent),
    /// An edit of the file was applied.
    Edited(EditEvent),
}

/// Where a pool sends its news; clones share the channels.
#[derive(Clone, Debug)]
pub struct PoolNews {
    events: broadcast::Sender<Arc<PoolNewsItem>>,
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
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<PoolNewsItem>> {
        self.events.subscribe()
    }

    /// Tells of a change that an edit of the file makes.
    pub fn edited(&self, said: String) {
        self.send(PoolNewsItem::Edited(EditEvent { at: SystemTime::now(), said }));
    }

    pub(super) fn moved(&self, event: PoolEvent) {
        self.send(PoolNewsItem::Moved(event));
    }

    pub(super) fn deployed(&self, event: DeployEvent) {
        self.send(PoolNewsItem::Deployed(event));
    }

    fn send(&self, item: PoolNewsItem) {
        // Nobody needs to listen.
        self.events.send(Arc::new(item)).ok();
    }

    pub(super) fn failed(&self, failure: PoolFailure) {
        if self.failures.try_send(failure).is_err() {
            tracing::debug!("the daemon ends already");
        }
    }
}

//! What the logs publish for everybody to look at: who types, and what was lost.

use std::collections::HashMap;
use std::time::SystemTime;

use tokio::sync::watch;

use crate::model::{PoolName, WorkerName};

/// The logs at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogsSnapshot {
    /// Who has the keyboards of workers' terminals.
    pub typists: HashMap<WorkerName, String>,
    /// What pools have lost of their logs.
    pub losses: HashMap<PoolName, LogLoss>,
}

/// Output that did not reach the place where a pool's log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLoss {
    /// Bytes, since the daemon started.
    pub bytes: u64,
    /// When the last of them were lost.
    pub at: SystemTime,
}

/// Where it is written; the outlets' threads write on it, too.
#[derive(Clone, Debug)]
pub(super) struct Board(watch::Sender<LogsSnapshot>);

impl Board {
    /// An empty board, and an end to look at it.
    pub(super) fn new() -> (Self, watch::Receiver<LogsSnapshot>) {
        let (sender, receiver) = watch::channel(LogsSnapshot::default());
        (Self(sender), receiver)
    }

    /// So many bytes of a pool's log are lost; none is no news.
    pub(super) fn lost(&self, pool: &PoolName, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let at = SystemTime::now();
        self.0.send_modify(|snapshot| match snapshot.losses.get_mut(pool) {
            Some(loss) => *loss = LogLoss { bytes: loss.bytes + bytes, at },
            None => drop(snapshot.losses.insert(pool.clone(), LogLoss { bytes, at })),
        });
    }

    /// A pool is gone.
    pub(super) fn forget(&self, pool: &PoolName) {
        self.0.send_if_modified(|snapshot| snapshot.losses.remove(pool).is_some());
    }

    /// Who types now.
    pub(super) fn type_by(&self, typists: HashMap<WorkerName, String>) {
        self.0.send_if_modified(|snapshot| {
            let is_new = snapshot.typists != typists;
            snapshot.typists = typists;
            is_new
        });
    }
}

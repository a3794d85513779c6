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
    /// What each pool has lost of its log; `None` while that is nothing.
    pub losses: HashMap<PoolName, Option<LogLoss>>,
}

/// Output that did not reach the place where a pool's log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLoss {
    /// Bytes, since the daemon knows the pool.
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

    /// A pool is there from now on.
    pub(super) fn admit(&self, pool: &PoolName) {
        self.0.send_if_modified(|snapshot| {
            let is_new = !snapshot.losses.contains_key(pool);
            if is_new {
                snapshot.losses.insert(pool.clone(), None);
            }
            is_new
        });
    }

    /// So many bytes of a pool's log are lost; none is no news, nor is what outlets lose of a pool
    /// that is gone.
    pub(super) fn lost(&self, pool: &PoolName, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.0.send_if_modified(|snapshot| {
            let Some(loss) = snapshot.losses.get_mut(pool) else { return false };
            let before = loss.map_or(0, |loss| loss.bytes);
            *loss = Some(LogLoss { bytes: before + bytes, at: SystemTime::now() });
            true
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_comes_after_its_pool_is_no_later_pools() {
        let (board, published) = Board::new();
        let pool: PoolName = "a".parse().unwrap();
        let bytes = || published.borrow().losses.get(&pool).map(|loss| loss.map(|loss| loss.bytes));
        board.admit(&pool);
        assert_eq!(bytes(), Some(None));
        board.lost(&pool, 3);
        board.admit(&pool);
        board.lost(&pool, 4);
        assert_eq!(bytes(), Some(Some(7)));
        board.forget(&pool);
        board.lost(&pool, 5);
        assert_eq!(bytes(), None);
        board.admit(&pool);
        assert_eq!(bytes(), Some(None));
    }
}

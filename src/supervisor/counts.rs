//! Changes of what pools are to run, for `explain` and for whoever listens.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::broadcast;

use crate::model::PoolName;
use crate::scaler::Decision;

/// Changes that a listener may be behind; one that falls further behind is told how many it missed.
const BEHIND_MAX: usize = 1024;

/// A pool is to run another number of workers, or other bounds hold for it.
#[derive(Clone, Debug)]
pub struct CountChange {
    /// When.
    pub at: SystemTime,
    /// The pool.
    pub pool: PoolName,
    /// The sentence that tells why.
    pub reason: String,
    /// The numbers that it rests on; `None`: it was an order.
    pub decision: Option<Decision>,
}

/// Where changes are told; clones share the channel.
#[derive(Clone, Debug)]
pub struct CountNews(broadcast::Sender<Arc<CountChange>>);

impl Default for CountNews {
    fn default() -> Self {
        Self(broadcast::Sender::new(BEHIND_MAX))
    }
}

impl CountNews {
    /// Every change from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<CountChange>> {
        self.0.subscribe()
    }

    pub(super) fn tell(&self, change: Arc<CountChange>) {
        // Nobody needs to listen.
        self.0.send(change).ok();
    }
}

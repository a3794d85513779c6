//! The one source of worker ids.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::WorkerId;

/// Gives every process of every pool its own, ever greater id. Clones share the source.
#[derive(Clone, Debug, Default)]
pub struct WorkerIds(Arc<AtomicU64>);

impl WorkerIds {
    /// An id that was never given before; greater than all that were.
    pub fn next(&self) -> WorkerId {
        WorkerId(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The greatest id given so far.
    pub fn last(&self) -> WorkerId {
        WorkerId(self.0.load(Ordering::Relaxed))
    }
}

//! What a worker process has done.

use std::time::Duration;

use super::WorkerId;

/// What a worker process has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The process.
    pub worker: WorkerId,
    /// Jobs it ended.
    pub done: u64,
    /// Whether it holds a job.
    pub is_busy: bool,
    /// How long it has held none; `None` while it holds one or has registered nothing.
    pub idle: Option<Duration>,
}

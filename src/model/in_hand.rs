//! A job in the hands of a worker process.

use std::time::Duration;

use super::WorkerId;

/// Who holds which job, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InHand {
    /// The process.
    pub worker: WorkerId,
    /// The job.
    pub handle: String,
    /// Since it was given to the process.
    pub running: Duration,
}

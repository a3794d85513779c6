//! What the scaler is shown: queues, workers and the host at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::fleet::Fleet;
use crate::config::{Count, ScalingSettings};
use crate::host::HostSample;
use crate::model::{FunctionName, PoolName};

/// Everything that one decision is made from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// Every function that a pool serves.
    pub functions: BTreeMap<FunctionName, FunctionSample>,
    /// Every pool that is to run, fixed ones too: they take room on the host.
    pub pools: BTreeMap<PoolName, PoolSample>,
    /// The host.
    pub host: HostSample,
    /// Other hosts at the same servers; `None`: the queues are ours alone.
    pub fleet: Option<Fleet>,
}

/// One function's queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionSample {
    /// Jobs that could run now and wait.
    pub queued: usize,
    /// How long the oldest of them has waited.
    pub oldest: Duration,
    /// Jobs in the hands of this host's workers.
    pub running: usize,
    /// Jobs in the hands of other hosts' workers.
    pub elsewhere: usize,
    /// Jobs that this host's workers ended since the start.
    pub ended: u64,
    /// Time that jobs of it have been in their hands since the start, all added up.
    pub busy: Duration,
}

/// One pool's bounds and workers.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSample {
    /// Bounds in force.
    pub count: Count,
    /// How the count is found between them.
    pub scaling: ScalingSettings,
    /// What it serves.
    pub functions: Arc<[FunctionName]>,
    /// Its workers with a job in hand.
    pub running: usize,
    /// Time that its workers have had a job since the start, all added up.
    pub busy: Duration,
    /// Its workers that are ready and have none.
    pub idle: usize,
    /// Of those, how many have been idle for `idle_ttl`.
    pub idle_long: usize,
    /// Its workers that are not ready yet.
    pub starting: usize,
    /// Of those, how many were started so lately that they may still keep a processor busy.
    pub fresh: usize,
    /// Its processes that are on their way out: they take room and no jobs.
    pub leaving: usize,
    /// Whether its workers die before they are ready: only one is tried at a time.
    pub failing: bool,
    /// How long workers took to become ready, of those that did since the last look.
    pub startups: Vec<Duration>,
    /// Resident bytes of workers that have done work, as far as they were read for this look.
    pub sizes: Vec<u64>,
    /// Workers that have not grown to their size yet.
    pub young: usize,
    /// Resident bytes of those.
    pub young_bytes: u64,
}

impl PoolSample {
    /// A pool without workers.
    #[must_use]
    pub fn new(count: Count, scaling: ScalingSettings, functions: Arc<[FunctionName]>) -> Self {
        Self {
            count,
            scaling,
            functions,
            running: 0,
            busy: Duration::ZERO,
            idle: 0,
            idle_long: 0,
            starting: 0,
            fresh: 0,
            leaving: 0,
            failing: false,
            startups: Vec::new(),
            sizes: Vec::new(),
            young: 0,
            young_bytes: 0,
        }
    }

    /// Workers that take jobs, or will: one that starts counts as capacity, lest every look at a
    /// queue starts another.
    #[must_use]
    pub fn have(&self) -> u32 {
        to_workers(self.running + self.idle + self.starting)
    }
}

/// A count of workers; pools stay far below the limit.
pub(super) fn to_workers(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// A count as a number to calculate with; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "queues and pools stay far below 2^53")]
pub(super) fn real(n: usize) -> f64 {
    n as f64
}

/// Bytes or jobs as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "ratios need no exact bytes")]
pub(super) fn real64(n: u64) -> f64 {
    n as f64
}

/// Workers from a number: rounded up, never below zero.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the range of u32 before"
)]
pub(super) fn workers(n: f64) -> u32 {
    // A hair above a whole number is that number: 3.0000000001 workers are 3.
    (n - 1e-9).ceil().clamp(0.0, f64::from(u32::MAX)) as u32
}

//! What the forwarding tells of itself when asked.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::model::{FunctionName, PoolName, Unique, WorkerId};

/// Servers, queues and workers at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardView {
    /// The servers in the order of the file.
    pub servers: Vec<ServerView>,
    /// Every function that a server or a worker of ours has named.
    pub functions: BTreeMap<FunctionName, FunctionDepth>,
    /// For how long the workers of each pool have had jobs, all added up.
    pub pools: BTreeMap<PoolName, Duration>,
    /// Every worker process that was admitted.
    pub processes: HashMap<WorkerId, ProcessView>,
    /// Open connections of workers.
    pub sessions: usize,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerView {
    /// As in the file.
    pub address: String,
    /// Whether it answers.
    pub is_up: bool,
    /// Why it does not; empty before the first try has ended.
    pub trouble: String,
    /// For how long it has been so.
    pub since: Duration,
}

/// One function at all servers, and in the hands of our workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionDepth {
    /// Jobs that wait at the servers.
    pub queued: usize,
    /// How long the oldest of them has waited, as far as it can be told from outside.
    pub oldest: Duration,
    /// Jobs in anybody's hands, as the servers tell.
    pub running_anywhere: usize,
    /// Of those, the ones that are in others' hands.
    pub elsewhere: usize,
    /// Connections that perform it, as the servers tell.
    pub performers: usize,
    /// Jobs in the hands of our workers.
    pub running: usize,
    /// Jobs that our workers ended.
    pub ended: u64,
    /// For how long our workers have run jobs of it, all added up.
    pub busy: Duration,
}

/// One worker process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessView {
    /// Its open connections.
    pub sessions: usize,
    /// What it performs.
    pub functions: Vec<FunctionName>,
    /// The jobs in its hands.
    pub jobs: Vec<HeldJob>,
    /// Jobs it ended.
    pub done: u64,
    /// How long it has held none; `None` while it holds one or has registered nothing.
    pub idle: Option<Duration>,
    /// Whether it gets no further job.
    pub draining: bool,
}

/// A job in a worker's hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldJob {
    /// Its handle at its server.
    pub handle: String,
    /// Its server, by its place in the file.
    pub server: usize,
    /// Its function.
    pub function: FunctionName,
    /// Its unique, where the worker asked for it.
    pub unique: Unique,
    /// How long it has run.
    pub running: Duration,
    /// Progress as the worker reported it: how much of how much.
    pub progress: Option<(u32, u32)>,
    /// Payload length in bytes.
    pub payload_len: usize,
}

//! Load for any Gearman server, and what it did to it: rates, latencies, CPU time and memory.
//!
//! | mode | what is timed |
//! |---|---|
//! | submit | connections submit background jobs, so many in flight; until JOB_CREATED |
//! | drain | workers do jobs that were queued before; from GRAB_JOB to the job |
//! | flow | submit and drain at once |
//! | roundtrip | clients wait for the results of workers |
//! | idle | workers connect, register and sleep, while a client submits urgent jobs; then nothing |
//! | mixed | roundtrip beside background jobs |
//!
//! All load comes from one thread. Jobs of `submit` stay in the server.
//!
//! Peers do as libgearman's do: each packet is a write of its own, a background job has a unique of
//! its own, and workers ask by GRAB_JOB_ALL. A server that is sent one packet at a time cannot save
//! by taking many, and one that looks a unique up slowly shows it. Either can be turned off.

mod drive;
mod gauge;
mod peers;
mod report;
mod watch;

use std::time::Duration;

use crate::gearman::{ConnectError, ConnectionError, ServerAddress};

pub use drive::run;
pub use report::{Latency, Report, ServerUse};

/// What to do to which server.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// The server.
    pub server: ServerAddress,
    /// The kind of load.
    pub mode: Mode,
    /// Connections that submit.
    pub connections: usize,
    /// Jobs of each that are not answered yet.
    pub in_flight: usize,
    /// Connections that perform.
    pub workers: usize,
    /// Functions that each worker registers.
    pub functions: usize,
    /// Bytes of a job's payload.
    pub payload_len: usize,
    /// What makes background jobs different.
    pub uniques: Uniques,
    /// How packets are written.
    pub writes: Writes,
    /// How much.
    pub amount: Amount,
    /// The server's process, to tell what it used.
    pub server_pid: Option<u32>,
}

/// What makes background jobs different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uniques {
    /// A text of 36 letters each, as libgearman gives to those that have none.
    Own,
    /// None.
    None,
}

/// How packets are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// One by one, as libgearman does.
    Single,
    /// Those that are ready at once with one write.
    Shared,
}

/// How much load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many jobs.
    Count(u64),
    /// As many as come in this time.
    Time(Duration),
}

/// The kinds of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Submit background jobs
    Submit,
    /// Do jobs that were queued before
    Drain,
    /// Submit and do jobs at once
    Flow,
    /// Submit jobs and wait for their results
    Roundtrip,
    /// Register workers that have nothing to do
    Idle,
    /// Wait for results while background jobs are submitted and done
    Mixed,
}

/// Why a run did not end.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The server cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A connection ended.
    #[error("a connection ended: {0}")]
    Connection(#[from] ConnectionError),
    /// The server refused something.
    #[error("the server refused: {code} {text}")]
    Refused {
        /// One of the protocol's codes.
        code: String,
        /// The server's sentence.
        text: String,
    },
    /// The settings make no sense together.
    #[error("{0}")]
    Senseless(&'static str),
    /// Nothing is known of the process.
    #[error("process {0} cannot be watched")]
    NoProcess(u32),
    /// The system has no room.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

#[cfg(test)]
mod tests;

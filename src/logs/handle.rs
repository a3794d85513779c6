//! How the rest of the program reaches the thread that owns workers' output.

use std::os::fd::OwnedFd;
use std::time::SystemTime;

use bytes::Bytes;
use regex::bytes::Regex;
use tokio::sync::{mpsc, oneshot, watch};

use super::board::LogsSnapshot;
use super::chunk::LogChunk;
use super::terminals::TerminalRequest;
use crate::config::LogSettings;
use crate::model::{NamePattern, PoolName, WorkerName};

/// Which of a worker's streams a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The supervisor's own marks: started, exited.
    Mark,
}

/// One line without its line end; any bytes, any length.
///
/// A line of more than 256 KiB that is not read at once, or one whose writer pauses in the middle of
/// it, comes in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was read.
    pub at: SystemTime,
    /// Who wrote it.
    pub worker: WorkerName,
    /// Where to.
    pub stream: LogStream,
    /// What.
    pub text: Bytes,
    /// True for a part of a line whose rest comes later.
    pub part: bool,
    /// True for a line that belongs to the record of the line before it.
    pub continues: bool,
}

/// What a subscriber receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEntry {
    /// A line of the past.
    Line(LogLine),
    /// Lines as they came.
    Lines(LogChunk),
    /// The subscriber was too slow: so many lines were dropped here.
    Missed(u64),
}

/// Which lines a subscriber wants.
#[derive(Clone, Debug)]
pub struct LogFilter {
    /// Whose; any of these.
    pub names: Vec<NamePattern>,
    /// So many recent lines first, over all of them.
    pub lines: usize,
    /// Of the recent lines only those not older.
    pub since: Option<SystemTime>,
    /// Whether to go on with new lines.
    pub follow: bool,
}

/// A subscriber's end: recent lines, then new ones if it follows. Ends when the logs do.
#[derive(Debug)]
pub struct Subscription {
    /// Bounded; when it is full, lines are dropped and counted, never waited for.
    pub entries: mpsc::Receiver<Vec<LogEntry>>,
}

impl LogStream {
    /// The stream's word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Mark => "mark",
        }
    }
}

/// One request to the logs' thread.
#[derive(Debug)]
pub enum LogsRequest {
    /// A pool has output to be kept in this way from now on.
    Configure {
        /// The pool.
        pool: PoolName,
        /// Where its output goes.
        settings: LogSettings,
    },
    /// A pool is gone; its file is closed and its recent lines are forgotten.
    Forget(PoolName),
    /// Read this worker's output until it ends.
    Attach {
        /// Who writes.
        worker: WorkerName,
        /// Its process id, for the lines.
        pid: i32,
        /// Where it comes from.
        source: LogSource,
        /// A line to look for.
        line: Option<LineWatch>,
    },
    /// Write a mark of the supervisor into a worker's log.
    Mark {
        /// Whose log.
        worker: WorkerName,
        /// What to say.
        text: String,
    },
    /// The worker's last lines on its two streams, oldest first; what its pipes hold is read first.
    Tail {
        /// Whose.
        worker: WorkerName,
        /// At most so many.
        lines: usize,
        /// The answer.
        reply: oneshot::Sender<Vec<LogLine>>,
    },
    /// Send lines from now on.
    Subscribe {
        /// Which.
        filter: LogFilter,
        /// The answer.
        reply: oneshot::Sender<Subscription>,
    },
    /// Look at a worker's terminal, or type into it.
    Terminal(TerminalRequest),
    /// Open every file again, after an outside program moved them.
    Reopen,
    /// Write what is there and end the thread.
    Shutdown(oneshot::Sender<()>),
}

/// A line that somebody waits for.
#[derive(Debug)]
pub struct LineWatch {
    /// What it matches.
    pub pattern: Regex,
    /// Told when a line does.
    pub found: oneshot::Sender<()>,
}

/// Where a worker's output comes from.
#[derive(Debug)]
pub enum LogSource {
    /// The read ends of two pipes.
    Pipes {
        /// Its standard output.
        stdout: OwnedFd,
        /// Its standard error.
        stderr: OwnedFd,
    },
    /// Our end of its terminal, which does not block.
    Terminal(OwnedFd),
}

/// The logs' thread is no more; only during shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the logs have been closed")]
pub struct LogsGone;

/// Sends requests to the logs' thread.
#[derive(Clone, Debug)]
pub struct LogsHandle {
    requests: mpsc::Sender<LogsRequest>,
    published: watch::Receiver<LogsSnapshot>,
}

impl LogsHandle {
    /// Requests under way at most; a sender waits for room.
    pub const REQUESTS_MAX: usize = 1024;

    /// A handle that sends to `requests`, and sees what is published.
    #[must_use]
    pub fn new(
        requests: mpsc::Sender<LogsRequest>,
        published: watch::Receiver<LogsSnapshot>,
    ) -> Self {
        Self { requests, published }
    }

    /// What the logs published last; it waits for nothing.
    #[must_use]
    pub fn snapshot(&self) -> LogsSnapshot {
        self.published.borrow().clone()
    }

    /// Sends a request that has no answer.
    ///
    /// # Errors
    /// When the logs have been closed.
    pub async fn tell(&self, request: LogsRequest) -> Result<(), LogsGone> {
        self.requests.send(request).await.or(Err(LogsGone))
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// When the logs have been closed.
    pub async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> LogsRequest,
    ) -> Result<T, LogsGone> {
        let (reply, answer) = oneshot::channel();
        self.tell(request(reply)).await?;
        answer.await.or(Err(LogsGone))
    }
}

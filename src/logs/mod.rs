//! Workers' output: chunks, rings, fan-out, files, slow readers.
//!
//! One thread owns every worker's pipes, so that reading them never waits for a reader of the log.

mod handle;

pub use handle::{
    LogEntry, LogFilter, LogLine, LogSource, LogStream, LogsGone, LogsHandle, LogsRequest,
    Subscription,
};

//! Workers' output: chunks, rings, fan-out, files, slow readers.
//!
//! One thread owns every worker's pipes, so that reading them never waits for a reader of the log.
//!
//! ```text
//! pipe → cutter (whole lines, or parts of long ones) → ring of recent output, per worker
//!                                                    → rotated file, per pool; or stdout, syslog,
//!                                                      the journal, each by a thread of its own
//!                                                    → queue of each follower
//! ```
//! A worker with a terminal has one end to read in place of two pipes, and beside it a screen, viewers
//! and a keyboard; its lines go the same way.
//!
//! What a worker writes travels in chunks of many lines; single lines are looked at when a file
//! wants a prefix for each, and when somebody reads them. A full queue drops its oldest chunks and
//! counts their lines; a failing disk costs lines of the file, counted too; neither is waited for.
//! Rotated files are compressed on a thread beside, and read back as the others are.

mod ansi;
mod board;
mod buffers;
mod chunk;
mod compress;
mod cutter;
mod file;
mod files;
mod follower;
mod handle;
mod history;
mod hub;
mod older;
mod outlet;
mod past;
mod pipe;
mod pipes;
mod pump;
mod record;
mod records;
mod ring;
mod rotation;
mod sink;
mod stamp;
mod terminals;
mod thread;

#[cfg(test)]
mod tests;

pub use board::{LogLoss, LogsSnapshot};
pub use chunk::LogChunk;
pub use handle::{
    LineWatch, LogEntry, LogFilter, LogLine, LogSource, LogStream, LogsGone, LogsHandle,
    LogsRequest, Subscription,
};
pub use records::RecordRule;
pub use terminals::{
    KeyboardError, KeyboardId, KeyboardWish, TerminalNews, TerminalRequest, TerminalView,
};
pub use thread::{Logs, LogsStartError, LogsThread};

//! The adapter behind exec and lines workers, also a command of its own: it makes a Gearman worker
//! of a program that knows nothing of Gearman, at any Gearman server.
//!
//! One job at a time. *exec*: a process per job; the payload is its stdin, stdout the result, the
//! exit status decides. *lines*: one long-lived process that is handed a JSON line per job. The
//! program's stderr is the adapter's own. Which processes run as adapters, and how many, is the
//! supervisor's business; here is only one.
//!
//! The first TERM, INT or QUIT lets the job in hand finish and ends the adapter with success; while
//! idle it ends at once. A second one ends it now, and the job goes back to its server unanswered.
//! The program dies with its adapter, however that dies ([`child_shim`]).

mod adapter;
mod child;
mod exec;
mod lines;
mod outcome;
mod progress;
mod shim;
mod signals;

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};

use crate::gearman::ServerAddress;
use crate::model::{Exit, FunctionName};
pub use child::SpawnError;
pub use shim::child_shim;

/// Largest result, in bytes: what a broker takes in one packet by default, less room for the handle.
const RESULT_LEN_MAX: usize = (64 << 20) - 128;

/// What an adapter serves, where, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkOptions {
    /// The Gearman servers; jobs are taken from all of them.
    pub servers: Vec<ServerAddress>,
    /// The functions.
    pub functions: Vec<FunctionName>,
    /// How jobs reach the program.
    pub mode: Mode,
    /// The program and its arguments; not empty.
    pub command: Vec<OsString>,
    /// The name under which servers list the worker.
    pub client_id: Option<String>,
}

/// How jobs reach the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A process per job.
    Exec(Output),
    /// A JSON line per job to one process.
    Lines,
}

/// How an exec program's stdout reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// As one result at the end.
    Whole,
    /// In parts, as it comes.
    Streamed,
}

/// Why an adapter ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// No runtime or no signals.
    #[error("cannot set up the adapter")]
    Setup(#[source] io::Error),
    /// The program cannot be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// A pipe to the program broke.
    #[error("cannot talk to the program")]
    Pipe(#[source] io::Error),
    /// A lines program died in the middle of a job.
    #[error("the program ended ({exit}) with job {handle} in hand, which goes back to its server")]
    Died {
        /// The job.
        handle: String,
        /// How.
        exit: Exit,
    },
    /// A second signal came while a job was in hand.
    #[error("ended by a second signal; job {handle} goes back to its server")]
    Interrupted {
        /// The job.
        handle: String,
    },
}

/// Serves until a signal ends it. Blocks the thread, which must be the process's main thread: a
/// program is killed when the thread that started it ends.
///
/// # Errors
/// When the adapter cannot go on; its end gives the job in hand back to its server.
pub fn run(options: WorkOptions) -> Result<(), WorkError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(WorkError::Setup)?;
    runtime.block_on(adapter::Adapter::run(options))
}

/// Writes a line to stderr, in one piece so that the program's own lines do not cut it.
fn tell(message: impl Display) {
    let line = format!("gear-supervisor work: {message}\n");
    // When stderr is closed there is nobody left to tell.
    io::stderr().write_all(line.as_bytes()).unwrap_or_default();
}

/// An error and its causes in one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

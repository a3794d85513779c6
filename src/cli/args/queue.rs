//! What can be typed about functions and many jobs: `queue`, `pause`, `resume`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};

#[derive(Debug, Args)]
pub(in crate::cli) struct FunctionsArgs {
    /// Functions, or patterns with * and ?
    #[arg(required = true, value_name = "FN")]
    pub(in crate::cli) functions: Vec<String>,
    /// Print the API's JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct QueueArgs {
    #[command(subcommand)]
    pub(in crate::cli) verb: QueueVerb,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum QueueVerb {
    /// List functions: what waits, runs and is dead
    List(QueueListArgs),
    /// Put dead letters back into their queues
    Retry(SweepArgs),
    /// Drop dead letters
    Purge(SweepArgs),
    /// Withdraw jobs that wait
    Cancel(SweepArgs),
    /// Take in jobs: gearmand's libsqlite3 file, an exported file, or those of a running server
    Import(ImportArgs),
    /// Write background jobs that wait to a file, or hand them to another Gearman server
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ImportArgs {
    /// A file of gearmand's or of `queue export`, or HOST:PORT of a server
    #[arg(long, value_name = "FILE|HOST:PORT")]
    pub(in crate::cli) from: String,
    /// With a server: the functions whose jobs move, with commas; stop its clients first
    #[arg(long, value_delimiter = ',', value_name = "FN")]
    pub(in crate::cli) functions: Vec<String>,
    /// With gearmand's file: its table
    #[arg(long, default_value = "gearman_queue", value_name = "NAME")]
    pub(in crate::cli) table: String,
    /// A Gearman server that takes them, instead of the running daemon's
    #[arg(long, value_name = "HOST:PORT")]
    pub(in crate::cli) to: Option<String>,
}

#[derive(Debug, Args)]
#[group(id = "where", required = true, multiple = false, args = ["file", "to"])]
pub(in crate::cli) struct ExportArgs {
    /// A new file of JSON lines; - is stdout. The jobs stay here
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: Option<PathBuf>,
    /// A Gearman server that takes them; each is withdrawn here once it is there
    #[arg(long, value_name = "HOST:PORT")]
    pub(in crate::cli) to: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct QueueListArgs {
    /// Only functions of this name or pattern
    #[arg(value_name = "FN")]
    pub(in crate::cli) function: Option<String>,
    /// Print the API's JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// Which jobs; all that is given must hold.
#[derive(Debug, Args)]
#[command(group(
    ArgGroup::new("which").required(true).multiple(true).args(["handles", "function", "older"])
))]
pub(in crate::cli) struct SweepArgs {
    /// Only these jobs
    #[arg(value_name = "HANDLE")]
    pub(in crate::cli) handles: Vec<String>,
    /// Only jobs of this function, or of a pattern; '*' is all
    #[arg(short = 'f', long, value_name = "FN")]
    pub(in crate::cli) function: Option<String>,
    /// Only jobs that were submitted, or died, at least so long ago
    #[arg(long, value_parser = humantime::parse_duration, value_name = "AGE")]
    pub(in crate::cli) older: Option<Duration>,
    /// Tell what would be done, and do nothing
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Print the API's JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

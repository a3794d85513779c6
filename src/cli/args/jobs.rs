//! What can be asked about jobs.

use std::time::Duration;

use clap::Args;

#[derive(Debug, Args)]
pub(in crate::cli) struct SubmitArgs {
    /// The function
    #[arg(value_name = "FN")]
    pub(in crate::cli) function: String,
    /// The payload; - or none with a pipe: stdin
    pub(in crate::cli) payload: Option<std::ffi::OsString>,
    /// Print the handle and return once the job is stored
    #[arg(long)]
    pub(in crate::cli) background: bool,
    /// Before jobs of normal priority
    #[arg(long, conflicts_with = "low")]
    pub(in crate::cli) high: bool,
    /// When nothing else waits
    #[arg(long)]
    pub(in crate::cli) low: bool,
    /// Two jobs of one function with the same key are one job
    #[arg(long, value_name = "KEY")]
    pub(in crate::cli) unique: Option<String>,
    /// A Gearman server to use instead of the running daemon's
    #[arg(long, value_name = "HOST:PORT")]
    pub(in crate::cli) server: Option<String>,
    /// Give up waiting for the result after this long
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    pub(in crate::cli) timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct JobsArgs {
    /// Only jobs of this function
    #[arg(value_name = "FN")]
    pub(in crate::cli) function: Option<String>,
    /// At most so many
    #[arg(short = 'n', long, default_value_t = 100, value_name = "N")]
    pub(in crate::cli) limit: usize,
    #[command(flatten)]
    pub(in crate::cli) of: JobsOfArgs,
    /// Print the API's JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// Which jobs, and in which order.
#[derive(Debug, Args)]
pub(in crate::cli) struct JobsOfArgs {
    /// The oldest first, which is the default
    #[arg(long)]
    pub(in crate::cli) oldest: bool,
    /// The newest first
    #[arg(long, conflicts_with = "oldest")]
    pub(in crate::cli) newest: bool,
    /// Dead letters: jobs that ended without a result
    #[arg(long, conflicts_with = "newest")]
    pub(in crate::cli) dead: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct JobArgs {
    /// The job's handle, H:HOST:N
    pub(in crate::cli) handle: String,
    /// Print the API's JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ShowJobArgs {
    /// The job's handle, H:HOST:N
    pub(in crate::cli) handle: String,
    /// Write its payload to stdout, as it is
    #[arg(long, conflicts_with = "json")]
    pub(in crate::cli) payload: bool,
    /// Print the API's JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

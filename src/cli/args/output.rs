//! What can be asked about workers' output and terminals.

use clap::Args;

use super::values;
use crate::cli::terminal::DetachKey;

#[derive(Debug, Args)]
pub(in crate::cli) struct AttachArgs {
    /// A pool, a worker (POOL:N), patterns, @LABEL, or all
    #[arg(required = true, value_name = "NAME")]
    pub(in crate::cli) names: Vec<String>,
    /// Recent lines to begin with; a terminal begins with its screen
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    pub(in crate::cli) lines: usize,
    /// Type into the terminal of one worker, of a pool with tty = true; one at a time can
    #[arg(short, long, conflicts_with = "json")]
    pub(in crate::cli) interactive: bool,
    /// Take the keyboard from whoever has it
    #[arg(long, requires = "interactive")]
    pub(in crate::cli) steal: bool,
    /// The key that leaves a terminal; pressed twice, it is typed
    #[arg(long, default_value = "ctrl-]", value_name = "KEY")]
    pub(in crate::cli) detach_key: DetachKey,
    /// Print the API's JSON lines
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SendArgs {
    /// A pool, a worker (POOL:N) or a pattern; of pools with tty = true
    pub(in crate::cli) name: String,
    /// The line, without its end
    pub(in crate::cli) line: String,
    /// Print the API's JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct LogsArgs {
    /// A pool, a worker (POOL:N), patterns, @LABEL, or all
    #[arg(required = true, value_name = "NAME")]
    pub(in crate::cli) names: Vec<String>,
    /// Recent lines to look at [default: 100; all that are kept with --since or --grep]
    #[arg(short = 'n', long, value_name = "N")]
    pub(in crate::cli) lines: Option<usize>,
    /// Go on with new lines until Ctrl-C
    #[arg(short = 'f', long)]
    pub(in crate::cli) follow: bool,
    /// No line older than this: an age such as 10m, or an RFC 3339 time
    #[arg(long, value_parser = values::since, value_name = "TIME")]
    pub(in crate::cli) since: Option<String>,
    /// Only lines that this regular expression matches
    #[arg(long, value_name = "REGEX")]
    pub(in crate::cli) grep: Option<regex::bytes::Regex>,
    /// Print the API's JSON lines
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

//! What can be typed.

mod jobs;
mod output;
mod queue;
mod scaling;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::exit::EXIT_CODES;
pub(super) use jobs::{JobArgs, JobsArgs, ShowJobArgs, SubmitArgs};
pub(super) use output::{AttachArgs, LogsArgs, SendArgs};
pub(super) use queue::{
    ExportArgs, FunctionsArgs, ImportArgs, QueueArgs, QueueListArgs, QueueVerb, SweepArgs,
};
pub(super) use scaling::{ExplainArgs, SimulateArgs};
pub(super) use values::{Bounds, Scale};

/// A Gearman job server and the supervisor of the workers that serve it, in one program.
///
/// Without a verb it runs the daemon in the foreground; the verbs talk to a running one.
#[derive(Debug, Parser)]
#[command(name = "gear-supervisor", version, after_help = EXIT_CODES)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) target: Target,
    /// Show what the daemon does: connections and registrations; -vv: packets
    #[arg(short, long, action = ArgAction::Count)]
    pub(super) verbose: u8,
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
}

/// Which file or which daemon is meant.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Target {
    /// The file to run; verbs find the daemon that runs it [default: /etc/gear-supervisor/workers.toml]
    #[arg(short = 'c', long = "config", global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The daemon's control socket [env: GEAR_SUPERVISOR_SOCKET] [default: the only one running]
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run the daemon in the foreground, with a file or with one pool made of the arguments
    Run(RunArgs),
    /// Check a file and tell every mistake
    #[command(visible_alias = "reread")]
    Check(CheckArgs),
    /// Turn a file of supervisord or GearmanManager into one of ours
    Import(TranslateArgs),
    #[command(flatten)]
    Ask(Question),
    /// Serve functions with a plain program, at any Gearman server
    Work(WorkArgs),
    /// Play a recorded load back under a file's settings, in virtual time
    Simulate(SimulateArgs),
    /// Put load on any Gearman server and tell its rates and latencies
    Bench(BenchArgs),
    /// A Gearman server alone, with gearmand's options; see gearmand --help
    #[command(disable_help_flag = true)]
    Gearmand {
        /// gearmand's options
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
        options: Vec<std::ffi::OsString>,
    },
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Verbs that need a running daemon.
#[derive(Debug, Subcommand)]
pub(super) enum Question {
    /// Show pools, workers and queues; exits 3 when something is not as wanted
    Status(StatusArgs),
    /// Show workers' output as it comes, after the last lines, or the screen of one that has a
    /// terminal; Ctrl-C leaves
    #[command(visible_alias = "fg")]
    Attach(AttachArgs),
    /// Type a line into the terminals of workers
    Send(SendArgs),
    /// Show workers' recent output
    #[command(visible_alias = "tail")]
    Logs(LogsArgs),
    /// Start pools or workers
    Start(NamesArgs),
    /// Drain and stop pools or workers; they stay stopped until they are started
    Stop(NamesArgs),
    /// Replace workers one by one, each after its job, a canary first
    Restart(RestartArgs),
    /// Send a signal to workers
    Signal(SignalArgs),
    /// Wait until pools or workers are RUNNING
    Wait(WaitArgs),
    /// Hold a pool at a count, or give it back to the file
    Scale(ScaleArgs),
    /// Read the file again and apply what changed
    #[command(visible_alias = "update")]
    Reload(ReloadArgs),
    /// Submit a job; in the foreground its result comes to stdout
    Submit(SubmitArgs),
    /// List jobs that wait, run or recur, or dead letters
    Jobs(JobsArgs),
    /// Show one job, recurring job or dead letter
    Job(ShowJobArgs),
    /// Withdraw a job that waits, or end a recurring one
    Cancel(JobArgs),
    /// List functions and their queues, work on many jobs at once, and on dead letters
    Queue(QueueArgs),
    /// Let jobs of functions wait, also over restarts, until they are resumed
    Pause(FunctionsArgs),
    /// Let paused functions go on
    Resume(FunctionsArgs),
    /// Kill the worker that holds a job; the job is charged an attempt and tried again
    Kill(JobArgs),
    /// Tell why a pool has the count it has
    Explain(ExplainArgs),
    /// Let jobs in hand finish, stop everything and end the daemon
    Shutdown(PaceArgs),
    /// Print the daemon's process id, or those of workers
    Pid(PidArgs),
    /// List the pools that the file names
    Avail(AvailArgs),
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// How many workers [default: 1]
    #[arg(long, value_name = "N|MIN..MAX", requires = "command")]
    pub(super) count: Option<Bounds>,
    /// Functions that they serve, with commas; left out: what they register
    #[arg(long, value_delimiter = ',', value_name = "FN", requires = "command")]
    pub(super) functions: Vec<String>,
    /// How jobs reach them
    #[arg(long, value_enum, default_value_t, requires = "command")]
    pub(super) protocol: Protocol,
    /// Show connections and registrations; -vv: packets
    #[arg(short, long, action = ArgAction::Count)]
    pub(super) verbose: u8,
    /// The worker's program and its arguments
    #[arg(last = true, value_name = "CMD")]
    pub(super) command: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Protocol {
    /// The program speaks Gearman
    #[default]
    Gearman,
    /// One process per job: payload on stdin, result on stdout
    Exec,
    /// One JSON line per job
    Lines,
    /// A plain program without jobs
    None,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The file [default: the one of -c]
    pub(super) file: Option<PathBuf>,
    /// Print the mistakes as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct TranslateArgs {
    /// supervisord.conf with what it includes, or GearmanManager's ini
    pub(super) file: PathBuf,
    /// Where the result goes; a file that exists is left alone [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct WorkArgs {
    /// Functions to serve, with commas
    #[arg(value_delimiter = ',', required = true, value_name = "FN")]
    pub(super) functions: Vec<String>,
    /// Keep one process and give it a JSON line per job
    #[arg(long)]
    pub(super) lines: bool,
    /// Send output as it comes, not as one result at the end
    #[arg(long, conflicts_with = "lines")]
    pub(super) stream: bool,
    /// Gearman servers, with commas [default: GEARMAN_SERVERS, or 127.0.0.1:4730]
    #[arg(long = "server", value_delimiter = ',', value_name = "HOST:PORT")]
    pub(super) servers: Vec<String>,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(super) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// The kind of load
    #[arg(value_enum)]
    pub(super) mode: crate::bench::Mode,
    /// The server
    #[arg(default_value = "127.0.0.1:4730", value_name = "HOST:PORT")]
    pub(super) server: String,
    /// Connections that submit
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub(super) connections: usize,
    /// Jobs of each that are not answered yet
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(super) in_flight: usize,
    /// Workers; with mixed as many clients wait for results
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub(super) workers: usize,
    /// Functions that each worker registers
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(super) functions: usize,
    /// Bytes of a payload
    #[arg(long, default_value_t = 100, value_name = "BYTES")]
    pub(super) size: usize,
    /// Give background jobs no unique; libgearman gives each of them a UUID
    #[arg(long)]
    pub(super) no_unique: bool,
    /// Send packets that are ready at once in one write; libgearman writes each by itself
    #[arg(long)]
    pub(super) shared_writes: bool,
    /// How many jobs [default: what comes in 5 s; drain: 100000]
    #[arg(long, value_name = "N", conflicts_with = "duration")]
    pub(super) count: Option<u64>,
    /// For how long
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    pub(super) duration: Option<Duration>,
    /// The server's process, to tell its CPU time and memory
    #[arg(long, value_name = "PID")]
    pub(super) server_pid: Option<u32>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Pools, workers, `all`, patterns or labels.
#[derive(Debug, Args)]
pub(super) struct NamesArgs {
    /// Pools, workers (POOL:N), patterns, @LABEL, or all
    #[arg(required = true, value_name = "NAME")]
    pub(super) names: Vec<String>,
    #[command(flatten)]
    pub(super) pace: PaceArgs,
}

#[derive(Debug, Args)]
pub(super) struct RestartArgs {
    /// All at once: each stops after its job, and starts again
    #[arg(long)]
    pub(super) now: bool,
    #[command(flatten)]
    pub(super) names: NamesArgs,
}

/// How long a command may take, and how it tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub(super) struct PaceArgs {
    /// Give up waiting after this long; the daemon goes on
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    pub(super) timeout: Option<Duration>,
    /// Return when the daemon has taken it on
    #[arg(long, conflicts_with = "timeout")]
    pub(super) no_wait: bool,
    /// Print the API's JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Only these pools, workers, patterns or @LABEL
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Print the API's JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Show it anew each second until Ctrl-C
    #[arg(long, conflicts_with = "json")]
    pub(super) watch: bool,
}

#[derive(Debug, Args)]
pub(super) struct SignalArgs {
    /// A name or a number: HUP, SIGUSR1, 15
    pub(super) signal: String,
    #[command(flatten)]
    pub(super) names: NamesArgs,
}

#[derive(Debug, Args)]
pub(super) struct WaitArgs {
    /// Pools, workers (POOL:N), patterns, @LABEL, or all
    #[arg(required = true, value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Give up after this long; until then a daemon that does not answer yet is waited for too
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    pub(super) timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct ScaleArgs {
    /// A pool, a pattern or @LABEL
    pub(super) name: String,
    /// How many; auto gives the pool back to the file
    #[arg(value_name = "N|MIN..MAX|auto")]
    pub(super) to: Scale,
    /// Hold it for this long only
    #[arg(long = "for", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub(super) hold: Option<Duration>,
    #[command(flatten)]
    pub(super) pace: PaceArgs,
}

#[derive(Debug, Args)]
pub(super) struct ReloadArgs {
    /// Apply a file even if it has no pool at all
    #[arg(long)]
    pub(super) allow_empty: bool,
    /// Tell what would be done, and do nothing
    #[arg(long, conflicts_with_all = ["timeout", "no_wait"])]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) pace: PaceArgs,
}

#[derive(Debug, Args)]
pub(super) struct PidArgs {
    /// Pools, workers or patterns; none: the daemon itself
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct AvailArgs {
    /// Print the API's JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Cli {
    /// Whether this is the daemon rather than somebody who talks to it.
    pub(super) fn is_daemon(&self) -> bool {
        matches!(self.verb, None | Some(Verb::Run(_)))
    }
}

#[cfg(test)]
mod tests;

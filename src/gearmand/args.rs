//! gearmand's options, from the command line and from its configuration file.
//!
//! The file holds options as they are typed, with blanks or line ends between them. What the
//! command line says wins.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, ValueEnum};

use super::GearmandError;

/// Read when it is there and no other is named.
const CONFIG_DEFAULT: &str = "/etc/gearmand.conf";

/// What the command line asks for.
#[derive(Debug)]
pub(super) enum Asked {
    /// To print this.
    Text(String),
    /// To serve, or to check that one could.
    Serve(Box<Args>),
}

/// A Gearman job server with gearmand's options, without worker processes.
#[derive(Clone, Debug, Parser)]
#[command(name = "gearmand", disable_version_flag = true, args_override_self = true)]
#[expect(clippy::struct_excessive_bools, reason = "a command line's flags are bools")]
pub(super) struct Args {
    /// Connections that wait to be accepted at most
    #[arg(short = 'b', long, value_name = "N")]
    pub(super) backlog: Option<i32>,
    /// Run in the background; returns when it serves
    #[arg(short = 'd', long)]
    pub(super) daemon: bool,
    /// Send WORK_EXCEPTION to every client, also to those that did not ask for it
    #[arg(long)]
    pub(super) exceptions: bool,
    /// Files it may open [default: as many as the system allows]
    #[arg(short = 'f', long, value_name = "N")]
    pub(super) file_descriptors: Option<u64>,
    /// Lost connections of workers after which a job fails; 0 or -1: never
    #[arg(short = 'j', long, default_value_t = 0, allow_hyphen_values = true, value_name = "N")]
    pub(super) job_retries: i64,
    /// What job handles begin with [default: H:HOST]
    #[arg(long, value_name = "TEXT")]
    pub(super) job_handle_prefix: Option<String>,
    /// Ask silent connections whether they live; it always does
    #[arg(long)]
    pub(super) keepalive: bool,
    /// Seconds of silence before the first question; -1: 60
    #[arg(long, default_value_t = -1, allow_hyphen_values = true, value_name = "SECONDS")]
    pub(super) keepalive_idle: i64,
    /// Seconds between questions; -1: 10
    #[arg(long, default_value_t = -1, allow_hyphen_values = true, value_name = "SECONDS")]
    pub(super) keepalive_interval: i64,
    /// Questions without an answer that end a connection; -1: 6
    #[arg(long, default_value_t = -1, allow_hyphen_values = true, value_name = "N")]
    pub(super) keepalive_count: i64,
    /// Where the log goes: a file, stderr or none
    #[arg(short = 'l', long, default_value = "/var/log/gearmand.log", value_name = "FILE")]
    pub(super) log_file: PathBuf,
    /// Address or name to listen on [default: every address]
    #[arg(short = 'L', long, value_name = "HOST")]
    pub(super) listen: Option<String>,
    /// File for the process id
    #[arg(short = 'P', long, default_value = "/var/gearmand.pid", value_name = "FILE")]
    pub(super) pid_file: PathBuf,
    /// Port to listen on; also $GEARMAND_PORT [default: 4730]
    #[arg(short = 'p', long, value_name = "PORT")]
    pub(super) port: Option<u16>,
    /// builtin: jobs are in memory; any other name: they are in a store on disk
    #[arg(short = 'q', long, default_value = "builtin", value_name = "NAME")]
    pub(super) queue_type: String,
    /// Functions of a worker take turns; they always do
    #[arg(short = 'R', long)]
    pub(super) round_robin: bool,
    /// A file of further options [default: /etc/gearmand.conf if it is there]
    #[arg(long, value_name = "FILE")]
    pub(super) config_file: Option<PathBuf>,
    /// Log to syslog
    #[arg(long)]
    pub(super) syslog: bool,
    /// Write a core file when it crashes
    #[arg(long)]
    pub(super) coredump: bool,
    /// Accepted and not needed: one thread serves all connections
    #[arg(short = 't', long, value_name = "N")]
    pub(super) threads: Option<u32>,
    /// Switch to this user
    #[arg(short = 'u', long, value_name = "USER")]
    pub(super) user: Option<String>,
    /// What to log
    #[arg(long, value_enum, value_name = "LEVEL", ignore_case = false)]
    pub(super) verbose: Option<Level>,
    /// Log more, by each v: connections, packets
    #[arg(short = 'v', action = ArgAction::Count)]
    pub(super) more: u8,
    /// Print the version and exit
    #[arg(short = 'V', long)]
    version: bool,
    /// Workers woken by each new job; 0: all [default: 1, and one more each 50 ms]
    #[arg(short = 'w', long, value_name = "N")]
    pub(super) worker_wakeup: Option<usize>,
    /// Check the options and exit
    #[arg(long = "check-args")]
    pub(super) only_check: bool,
    /// Protocol module; there is none yet
    #[arg(short = 'r', long, hide = true)]
    pub(super) protocol: Option<String>,
    #[command(flatten)]
    unneeded: Unneeded,
    /// The process that `--daemon` starts
    #[arg(long, hide = true)]
    pub(super) detached: bool,
    /// Options that were given and change nothing, to be told.
    #[arg(skip)]
    pub(super) notices: Vec<String>,
}

/// Options that other builds of gearmand need; they are accepted, and it is told.
#[derive(Clone, Debug, clap::Args)]
struct Unneeded {
    #[arg(long, hide = true)]
    hashtable_buckets: Option<u32>,
    #[arg(long, hide = true)]
    http_port: Option<String>,
    #[arg(long, hide = true)]
    ssl: bool,
    #[arg(long, hide = true)]
    ssl_ca_file: Option<PathBuf>,
    #[arg(long, hide = true)]
    ssl_certificate: Option<PathBuf>,
    #[arg(long, hide = true)]
    ssl_key: Option<PathBuf>,
    #[arg(long, hide = true)]
    libsqlite3_db: Option<PathBuf>,
    #[arg(long, hide = true)]
    libsqlite3_table: Option<String>,
    #[arg(long, hide = true)]
    store_queue_on_shutdown: bool,
    #[arg(long, hide = true)]
    mysql_host: Option<String>,
    #[arg(long, hide = true)]
    mysql_port: Option<String>,
    #[arg(long, hide = true)]
    mysql_user: Option<String>,
    #[arg(long, hide = true)]
    mysql_password: Option<String>,
    #[arg(long, hide = true)]
    mysql_db: Option<String>,
    #[arg(long, hide = true)]
    mysql_table: Option<String>,
    #[arg(long, hide = true)]
    libpq_conninfo: Option<String>,
    #[arg(long, hide = true)]
    libpq_table: Option<String>,
    #[arg(long, hide = true)]
    redis_server: Option<String>,
    #[arg(long, hide = true)]
    redis_port: Option<String>,
    #[arg(long, hide = true)]
    redis_password: Option<String>,
    #[arg(long, hide = true)]
    redis_prefix: Option<String>,
    #[arg(long, hide = true)]
    libmemcached_servers: Option<String>,
    #[arg(long, hide = true)]
    libmemcached_prefix: Option<String>,
}

/// gearmand's names of levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub(super) enum Level {
    Fatal,
    Alert,
    Critical,
    Error,
    Warning,
    Notice,
    Info,
    Debug,
}

/// Reads the command line, and before it the file.
pub(super) fn parse(words: &[OsString]) -> Result<Asked, GearmandError> {
    let named = match read(words)? {
        Asked::Text(text) => return Ok(Asked::Text(text)),
        Asked::Serve(args) => args.config_file,
    };
    let file = named.clone().unwrap_or_else(|| CONFIG_DEFAULT.into());
    if named.is_none() && !file.exists() {
        return read(words);
    }
    let mut all = file_words(&file)?;
    all.extend(words.iter().filter(|word| !is_file_name(word)).cloned());
    read(&all)
}

/// `@FILE` is another way to name the file.
fn is_file_name(word: &OsString) -> bool {
    word.as_encoded_bytes().first() == Some(&b'@')
}

fn file_words(path: &Path) -> Result<Vec<OsString>, GearmandError> {
    let text = fs::read_to_string(path)
        .map_err(|error| GearmandError::Usage(format!("{}: {error}", path.display())))?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    Ok(lines.flat_map(str::split_whitespace).map(OsString::from).collect())
}

fn read(words: &[OsString]) -> Result<Asked, GearmandError> {
    let mut all = vec![OsString::from(super::NAME)];
    for word in words {
        match word.to_str().and_then(|word| word.strip_prefix('@')) {
            Some(file) => all.push(format!("--config-file={file}").into()),
            None => all.push(word.clone()),
        }
    }
    let matches = match Args::command().try_get_matches_from(all) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            let text = text.trim_start_matches("error: ").lines().next().unwrap_or_default();
            return Err(GearmandError::Usage(text.to_owned()));
        }
        Err(help) => return Ok(Asked::Text(help.to_string())),
    };
    let mut args = Args::from_arg_matches(&matches)
        .map_err(|error| GearmandError::Usage(error.to_string()))?;
    if args.version {
        // An empty line first: php-gearman's tests take the second word of all that is printed.
        let version = env!("CARGO_PKG_VERSION");
        return Ok(Asked::Text(format!("\n{} {version} - gear-supervisor\n", super::NAME)));
    }
    let given = |id: &&str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let ids: Vec<&str> = matches.ids().map(clap::Id::as_str).filter(given).collect();
    if let Some(id) = ids.iter().find(|id| id.starts_with("ssl") || **id == "http_port") {
        return Err(unsupported(id));
    }
    if let Some(protocol) = &args.protocol {
        return Err(unsupported(&format!("protocol={protocol}")));
    }
    let unneeded = Unneeded::augment_ids();
    let notice = |id: &&&str| unneeded.iter().any(|name| name == **id) || **id == "threads";
    args.notices = ids
        .iter()
        .filter(notice)
        .map(|id| format!("--{} is not needed and changes nothing", id.replace('_', "-")))
        .collect();
    Ok(Asked::Serve(Box::new(args)))
}

fn unsupported(option: &str) -> GearmandError {
    let option = option.replace('_', "-");
    GearmandError::Usage(format!(
        "--{option} is not supported: this server speaks plain Gearman only; put it behind a TLS \
         proxy, or leave the option out"
    ))
}

impl Unneeded {
    /// The names of these options.
    fn augment_ids() -> Vec<String> {
        let command = <Self as clap::Args>::augment_args(clap::Command::new(super::NAME));
        command.get_arguments().map(|arg| arg.get_id().to_string()).collect()
    }
}

#[cfg(test)]
mod tests;

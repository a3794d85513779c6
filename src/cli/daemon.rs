//! The daemon itself, in the foreground: the one way to `supervisor`.

use std::path::{Path, PathBuf};

use std::os::unix::fs::DirBuilderExt;

use super::args::{Bounds, Protocol, RunArgs};
use super::console;
use super::exit::{CliError, Exit};
use super::file::DEFAULT_FILE;
use crate::supervisor::{self, DaemonError, OnStart, RunOptions};

/// What is to be run.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    /// A file.
    File(PathBuf),
    /// One pool, without a file.
    Pool { count: Bounds, functions: Vec<String>, protocol: Protocol, command: Vec<String> },
}

/// `gear-supervisor -c FILE`
pub(super) fn serve(config: Option<&Path>, verbose: u8) -> Result<Exit, CliError> {
    start(&source(None, config)?, verbose)
}

/// `gear-supervisor run …`
pub(super) fn run(run: RunArgs, config: Option<&Path>, verbose: u8) -> Result<Exit, CliError> {
    start(&source(Some(run), config)?, verbose)
}

fn source(run: Option<RunArgs>, config: Option<&Path>) -> Result<Source, CliError> {
    let run = run.filter(|run| !run.command.is_empty());
    match (run, config) {
        (Some(_), Some(_)) => Err(CliError::new(
            Exit::Usage,
            "-c FILE and a command are two things to run; give one of them",
        )),
        (Some(run), None) => Ok(Source::Pool {
            count: run.count.unwrap_or(Bounds { min: 1, max: 1 }),
            functions: run.functions,
            protocol: run.protocol,
            command: run.command,
        }),
        (None, Some(file)) => Ok(Source::File(file.to_owned())),
        (None, None) if Path::new(DEFAULT_FILE).exists() => Ok(Source::File(DEFAULT_FILE.into())),
        (None, None) => Err(CliError::new(Exit::BadFile, format!("there is no {DEFAULT_FILE}"))
            .with_hint("name a file with -c FILE, or run one pool: gear-supervisor run -- CMD")),
    }
}

fn start(source: &Source, verbose: u8) -> Result<Exit, CliError> {
    // The file of `run -- CMD` lives as long as the daemon, which may read it again.
    let (file, _kept) = match source {
        Source::File(file) => (file.clone(), None),
        Source::Pool { count, functions, protocol, command } => {
            let text = pool_file(*count, functions, *protocol, command)?;
            let kept = TemporaryFile::write(&text).map_err(|error| {
                CliError::failed(format!("the settings of run cannot be written: {error}"))
            })?;
            (kept.0.clone(), Some(kept))
        }
    };
    let on_start: OnStart = Box::new(|handle, tasks| console::follow(&handle, tasks));
    match supervisor::run(RunOptions { file, verbosity: verbose, on_start }) {
        Ok(()) => Ok(Exit::Done),
        Err(error @ DaemonError::BadFile(_)) => {
            Err(CliError::new(Exit::BadFile, error.to_string()))
        }
        Err(error @ DaemonError::EssentialFailed { .. }) => {
            Err(CliError::new(Exit::EssentialFailed, error.to_string()))
        }
        Err(error) if error.is_held() => Err(CliError::new(Exit::Held, error.to_string())),
        Err(error) => Err(CliError::failed(error.to_string())),
    }
}

/// A file in the temporary folder, gone when the daemon is.
#[derive(Debug)]
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn write(text: &str) -> std::io::Result<Self> {
        let name = format!("gear-supervisor-run-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let file = folder.join("run.toml");
        std::fs::write(&file, text)?;
        Ok(Self(file))
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if let Some(folder) = self.0.parent() {
            // What stays is a small file in the temporary folder.
            std::fs::remove_dir_all(folder).unwrap_or_default();
        }
    }
}

/// The file that says what `run --count N -- CMD` says.
fn pool_file(
    count: Bounds,
    functions: &[String],
    protocol: Protocol,
    command: &[String],
) -> Result<String, CliError> {
    let failed = |error: serde_json::Error| CliError::failed(error.to_string());
    // JSON strings and lists are TOML strings and lists; a dollar would begin a variable.
    let command = serde_json::to_string(command).map_err(failed)?.replace('$', "$$");
    let functions = serde_json::to_string(functions).map_err(failed)?.replace('$', "$$");
    let directory = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let directory = directory.to_string_lossy().replace('$', "$$");
    let directory = serde_json::to_string(&directory).map_err(failed)?;
    let Bounds { min, max } = count;
    let protocol = match protocol {
        Protocol::Gearman => "gearman",
        Protocol::Exec => "exec",
        Protocol::Lines => "lines",
        Protocol::None => "none",
    };
    Ok(format!(
        "[pool.run]\ncommand = {command}\nfunctions = {functions}\nprotocol = \"{protocol}\"\n\
         count = {{ min = {min}, max = {max} }}\ndirectory = {directory}\nuser = \"${{USER}}\"\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_args(command: &[&str]) -> RunArgs {
        RunArgs {
            count: None,
            functions: Vec::new(),
            protocol: Protocol::Exec,
            verbose: 0,
            command: command.iter().map(|&word| word.to_owned()).collect(),
        }
    }

    #[test]
    fn a_file_or_a_command_is_run_but_not_both() {
        let file = Path::new("workers.toml");
        let from_file = Ok(Source::File(file.to_owned()));
        assert_eq!(source(None, Some(file)), from_file);
        assert_eq!(source(Some(run_args(&[])), Some(file)), from_file);
        let pool = source(Some(run_args(&["wc", "-w"])), None);
        let one = Bounds { min: 1, max: 1 };
        assert!(matches!(pool, Ok(Source::Pool { count, .. }) if count == one), "{pool:?}");
        let both = source(Some(run_args(&["wc"])), Some(file)).unwrap_err();
        assert_eq!(both.exit(), Exit::Usage);
    }
}

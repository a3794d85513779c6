//! The daemon itself, in the foreground: the one way to `supervisor`.

use std::path::{Path, PathBuf};

use super::args::{Bounds, Protocol, RunArgs};
use super::exit::{CliError, Exit};
use super::file::DEFAULT_FILE;

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
    Err(CliError::failed(format!("the daemon is not wired yet: {source:?}, verbose {verbose}")))
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

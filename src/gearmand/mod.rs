//! A drop-in for gearmand's command line: the broker alone, with gearmand's options and signals.
//!
//! | file | |
//! |---|---|
//! | `args` | the command line and the configuration file |
//! | `settings` | what they mean to the broker |
//! | `log` | the log file, syslog |
//! | `detach` | `--daemon`, `--user`, the pid file |
//! | `serve` | the broker and the signals |
//!
//! It is reached as `gear-supervisor gearmand …`, or under the name `gearmand`. Errors read
//! `gearmand: …` and exit with 1, as there.

mod args;
mod detach;
mod log;
mod serve;
mod settings;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use self::args::Asked;

/// The name and the verb.
pub const NAME: &str = "gearmand";

/// What ends the program early.
#[derive(Debug, thiserror::Error)]
enum GearmandError {
    /// The command line or the file is not right.
    #[error("{0}")]
    Usage(String),
    /// The broker or its surroundings did not start.
    #[error("{what}: {why}")]
    Start { what: String, why: String },
}

impl GearmandError {
    #[expect(clippy::needless_pass_by_value, reason = "closures of map_err own the error")]
    fn start(what: impl Into<String>, why: impl ToString) -> Self {
        Self::Start { what: what.into(), why: why.to_string() }
    }
}

/// The arguments behind the name, when the program was started as gearmand.
pub fn is_asked_for(words: impl IntoIterator<Item = OsString>) -> Option<Vec<OsString>> {
    let mut words = words.into_iter();
    let program = words.next()?;
    let rest: Vec<OsString> = words.collect();
    if Path::new(&program).file_name() == Some(OsStr::new(NAME)) {
        return Some(rest);
    }
    (rest.first().map(OsString::as_os_str) == Some(OsStr::new(NAME)))
        .then(|| rest.into_iter().skip(1).collect())
}

/// Runs until it is told to stop; `words` are the arguments behind the name.
#[must_use]
pub fn main(words: &[OsString]) -> ExitCode {
    match run(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell that stderr is closed.
            writeln!(std::io::stderr(), "gearmand: {error}").unwrap_or_default();
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[OsString]) -> Result<(), GearmandError> {
    match args::parse(words)? {
        Asked::Text(text) => {
            let told = std::io::stdout().write_all(text.as_bytes());
            told.map_err(|error| GearmandError::start("cannot write", error))
        }
        Asked::Serve(args) => {
            let settings = settings::read(&args)?;
            if args.only_check {
                return Ok(());
            }
            if args.daemon && !args.detached {
                return detach::respawn(words);
            }
            serve::serve(&args, settings)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_asked_for_by_the_programs_name_or_by_the_verb() {
        let asked = |words: &[&str]| is_asked_for(words.iter().map(OsString::from));
        let rest = |words: &[&str]| Some(words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(asked(&["/usr/sbin/gearmand", "-d"]), rest(&["-d"]));
        assert_eq!(asked(&["gear-supervisor", "gearmand", "-d"]), rest(&["-d"]));
        assert_eq!(asked(&["gear-supervisor", "-c", "gearmand"]), None);
        assert_eq!(asked(&["gear-supervisor"]), None);
    }
}

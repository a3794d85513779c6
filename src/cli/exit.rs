//! Exit codes, and errors that know theirs.

use std::io;
use std::process::ExitCode;

use crate::control::api::FailureCode;
use crate::control::client::ClientError;

/// How the program ends, for scripts; documented in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It was done.
    Done = 0,
    /// It was tried and failed.
    Failed = 1,
    /// The command line is not right.
    Usage = 2,
    /// It was done, but something is not as wanted: a worker is down, the file is not applied.
    NotAsWanted = 3,
    /// Nothing has that name.
    NoSuchName = 4,
    /// No daemon answers.
    NoDaemon = 5,
    /// It did not happen in time; the daemon goes on with it.
    TimedOut = 6,
    /// The daemon: an essential pool failed (`EX_SOFTWARE` of sysexits.h).
    EssentialFailed = 70,
    /// The daemon: a port or the state folder is held by another process (`EX_TEMPFAIL`).
    Held = 75,
    /// The daemon: the file has mistakes (`EX_CONFIG`).
    BadFile = 78,
}

/// The table of exit codes as `--help` shows it.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done                          5  no daemon answers
  1  failed                        6  timed out; the daemon goes on with it
  2  wrong usage                  70  daemon: an essential pool failed
  3  not as wanted: something is  75  daemon: a port or the state folder is held
     down, a file is not applied  78  the file has mistakes
  4  no such name";

/// Why a verb did not end well.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CliError {
    /// Something to tell the operator.
    Told {
        /// How the program ends.
        exit: Exit,
        /// What failed.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Whoever read our output has gone, as `head` does: nothing is wrong and nobody listens.
    ReaderGone,
}

impl CliError {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self::Told { exit, message: message.into(), hint: None }
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// Adds what to do.
    pub(super) fn with_hint(self, text: impl Into<String>) -> Self {
        match self {
            Self::Told { exit, message, .. } => {
                Self::Told { exit, message, hint: Some(text.into()) }
            }
            Self::ReaderGone => Self::ReaderGone,
        }
    }

    /// How the program ends.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Told { exit, .. } => *exit,
            Self::ReaderGone => Exit::Done,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::ReaderGone;
        }
        Self::failed(format!("cannot write the output: {error}"))
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match error {
            ClientError::NoDaemon { .. } => Self::new(Exit::NoDaemon, message)
                .with_hint("start it with gear-supervisor -c FILE"),
            ClientError::Denied { .. } => Self::new(Exit::NoDaemon, message)
                .with_hint("run this as the daemon's user, or open it with socket_group"),
            ClientError::Refused(failure) => Self::Told {
                exit: exit_of(failure.code),
                message: failure.message,
                hint: failure.hint,
            },
            ClientError::BrokenOff { source, .. } => Self::failed(format!("{message}: {source}")),
            ClientError::Unreadable { source, .. } => Self::failed(format!("{message}: {source}"))
                .with_hint("is the daemon of another version than this program?"),
        }
    }
}

fn exit_of(code: FailureCode) -> Exit {
    match code {
        FailureCode::NoSuchName => Exit::NoSuchName,
        FailureCode::Failed | FailureCode::Stopping => Exit::Failed,
        FailureCode::BadRequest => Exit::Usage,
        FailureCode::BadFile => Exit::NotAsWanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::Failure;

    #[test]
    fn refusals_end_with_the_code_that_scripts_look_for() {
        for (code, exit) in [
            (FailureCode::NoSuchName, 4),
            (FailureCode::Failed, 1),
            (FailureCode::Stopping, 1),
            (FailureCode::BadRequest, 2),
            (FailureCode::BadFile, 3),
        ] {
            let failure = Failure { code, message: String::new(), hint: None };
            let error = CliError::from(ClientError::Refused(failure));
            assert_eq!(error.exit() as u8, exit, "{code:?}");
        }
        let gone = io::Error::from(io::ErrorKind::NotFound);
        let error = ClientError::NoDaemon { path: "/x.sock".into(), source: gone };
        assert_eq!(CliError::from(error).exit() as u8, 5);
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        let error = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((&error, error.exit()), (&CliError::ReaderGone, Exit::Done));
    }
}

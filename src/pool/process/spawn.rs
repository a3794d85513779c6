//! Starting one process.
//!
//! The standard library's `Command` uses posix_spawn as long as no hook and no user is asked for,
//! so the daemon is never forked: a fork with gigabytes resident stalls every thread. What only a
//! forked child could set, the shim sets.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::OFlag;
use nix::unistd::{Gid, Uid, fchown, pipe2};

use super::shim::{self, ShimSpec};
use crate::config::Account;

/// What to start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where it runs.
    pub directory: PathBuf,
    /// Who it runs as, when that is somebody else.
    pub account: Option<Account>,
    /// File-mode mask, when it is not ours.
    pub umask: Option<u32>,
}

/// A started process.
#[derive(Debug)]
pub struct Spawned {
    /// Its process id, and that of its group.
    pub pid: i32,
    /// Read end of its standard output.
    pub stdout: OwnedFd,
    /// Read end of its standard error.
    pub stderr: OwnedFd,
}

/// A process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// There is no such program.
    #[error("'{0}' is not found in PATH; install it or write its whole path")]
    NotFound(String),
    /// There is no such folder.
    #[error("directory {0} is not there")]
    NoDirectory(PathBuf),
    /// Anything else.
    #[error("'{program}' cannot be started")]
    Failed {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

pub(super) fn spawn(launch: &Launch, binary: &Path) -> Result<Spawned, SpawnError> {
    let (program, arguments) =
        launch.argv.split_first().ok_or_else(|| SpawnError::NotFound(String::new()))?;
    let failed = |source: io::Error| failure(launch, program, source);
    let (stdout, out) = output_pipe(launch.account.as_ref()).map_err(failed)?;
    let (stderr, err) = output_pipe(launch.account.as_ref()).map_err(failed)?;
    let mut command = if launch.account.is_some() || launch.umask.is_some() {
        let spec = ShimSpec::new(launch.account.as_ref(), launch.umask);
        let mut command = Command::new(binary);
        command.arg(shim::WORD).arg(spec.to_argument()).arg(program);
        command
    } else {
        Command::new(program)
    };
    let child = command
        .args(arguments)
        .env_clear()
        .envs(launch.env.iter().map(|(key, value)| (key, value)))
        .current_dir(&launch.directory)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(failed)?;
    // Dropping the child neither waits for it nor ends it: that is the reaper's.
    let pid = i32::try_from(child.id()).or(Err(failed(io::ErrorKind::InvalidData.into())))?;
    Ok(Spawned { pid, stdout, stderr })
}

fn failure(launch: &Launch, program: &OsString, source: io::Error) -> SpawnError {
    let program = program.to_string_lossy().into_owned();
    match source.kind() {
        io::ErrorKind::NotFound if !launch.directory.is_dir() => {
            SpawnError::NoDirectory(launch.directory.clone())
        }
        io::ErrorKind::NotFound => SpawnError::NotFound(program),
        _ => SpawnError::Failed { program, source },
    }
}

/// A pipe whose ends belong to the worker's user, so that it can open /dev/stdout.
fn output_pipe(account: Option<&Account>) -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    if let Some(account) = account {
        let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
        fchown(write.as_fd(), Some(uid), Some(gid))?;
    }
    Ok((read, write))
}

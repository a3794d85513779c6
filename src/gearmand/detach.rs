//! Becoming a process of the background, another user, and a line in the pid file.
//!
//! A process with threads cannot fork safely, so `--daemon` starts the program again: the child
//! begins a session of its own and says `READY` on its stdout once it serves, and only then does
//! the parent end. A child that cannot serve has said why on stderr.

use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{
    User, chdir, dup2_stderr, dup2_stdout, initgroups, setresgid, setresuid, setsid,
};

use super::GearmandError;

/// Said by the child once it serves.
const READY: &str = "ready";

/// Starts the program again in the background, and waits until it serves.
pub(super) fn respawn(words: &[OsString]) -> Result<(), GearmandError> {
    let failed = |error| GearmandError::start("cannot start the daemon", error);
    let own = std::env::current_exe().map_err(failed)?;
    let mut child = Command::new(own)
        .arg0(super::NAME)
        .arg("--detached")
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
    }
    if line.trim_end() == READY {
        return Ok(());
    }
    let status = child.wait().map_err(failed)?;
    Err(GearmandError::start("the daemon did not start", status))
}

/// Leaves the terminal; for the child.
pub(super) fn leave() -> Result<(), GearmandError> {
    setsid().map_err(|error| GearmandError::start("cannot begin a session", error))?;
    Ok(())
}

/// Tells the parent that it may end, and lets go of its terminal and its folder.
pub(super) fn tell_ready() -> Result<(), GearmandError> {
    let failed = |error| GearmandError::start("cannot go to the background", error);
    // The parent may have been killed; the child serves all the same.
    writeln!(io::stdout(), "{READY}").unwrap_or_default();
    let null = File::options().read(true).write(true).open("/dev/null").map_err(failed)?;
    dup2_stdout(&null).map_err(|error| failed(error.into()))?;
    dup2_stderr(&null).map_err(|error| failed(error.into()))?;
    chdir("/").map_err(|error| failed(error.into()))
}

/// Becomes another user, while there is one thread.
pub(super) fn become_user(name: &str) -> Result<(), GearmandError> {
    let failed = |error| GearmandError::start(format!("cannot switch to user {name}"), error);
    let user = User::from_name(name).map_err(failed)?;
    let Some(user) = user else {
        return Err(GearmandError::Usage(format!("--user={name}: there is no such user")));
    };
    if nix::unistd::geteuid() == user.uid {
        return Ok(());
    }
    let text = CString::new(name).map_err(|error| GearmandError::Usage(error.to_string()))?;
    initgroups(&text, user.gid).map_err(failed)?;
    setresgid(user.gid, user.gid, user.gid).map_err(failed)?;
    setresuid(user.uid, user.uid, user.uid).map_err(failed)
}

/// A file with our process id, locked while we run and removed at the end.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    _lock: Flock<File>,
}

impl PidFile {
    /// Writes the file, unless it is that of a server that runs.
    pub(super) fn create(path: PathBuf) -> Result<Self, GearmandError> {
        let failed = |error: io::Error| {
            GearmandError::start(format!("cannot write {}", path.display()), error)
        };
        let mut lock = loop {
            let file = File::options().write(true).create(true).truncate(false).open(&path);
            match Flock::lock(file.map_err(failed)?, FlockArg::LockExclusiveNonblock) {
                Ok(lock) if is_at(&lock, &path).map_err(failed)? => break lock,
                // A server that ended has removed it meanwhile.
                Ok(_) => {}
                Err((_, Errno::EWOULDBLOCK)) => {
                    let held = format!("{} is the pid file of a running server", path.display());
                    let mend = "give another --pid-file, or stop that one";
                    return Err(GearmandError::start(held, mend));
                }
                Err((_, error)) => return Err(failed(error.into())),
            }
        };
        lock.set_len(0).map_err(failed)?;
        writeln!(lock, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { path, _lock: lock })
    }
}

/// Whether the path still names the open file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Its folder may belong to root, whom we were; gearmand leaves the file behind then, too.
        fs::remove_file(&self.path).unwrap_or_default();
    }
}

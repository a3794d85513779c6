//! Starting a program with pipes to it, and waiting for its end.

use std::ffi::{CString, NulError, OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use bytes::BytesMut;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{AccessFlags, Pid, access, pipe2};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::{Receiver, Sender};

use super::shim::{CHILD_OF, LAUNCH_FD};
use super::signals::Listener;
use crate::model::Exit;

/// Where an exec program finds the pipe for its progress.
const PROGRESS_FD: RawFd = 3;
/// More than a pipe can hold, in bytes (`/proc/sys/fs/pipe-max-size`).
const LEFT_IN_PIPE_MAX: usize = 1 << 20;

/// A program that was started, and our ends of its pipes.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) process: Process,
    pub(super) stdin: Sender,
    pub(super) stdout: Receiver,
    /// Unless fd 3 was to stay closed.
    pub(super) progress: Option<Receiver>,
}

/// What a program finds at fd 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fd3 {
    /// A pipe for its progress.
    Progress,
    /// Nothing.
    Closed,
}

/// A child process; it is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    ends: Listener,
    exit: Option<Exit>,
}

/// A program that cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot run {program}")]
pub struct SpawnError {
    /// The program as it was named.
    pub program: String,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl Child {
    /// Starts the program with `variables` added to our own environment, and waits until it runs.
    pub(super) async fn spawn(
        command: &[OsString],
        variables: &[(&str, &[u8])],
        fd3: Fd3,
    ) -> Result<Self, SpawnError> {
        let failed = |source| SpawnError {
            program: command.first().map(|name| name.display().to_string()).unwrap_or_default(),
            source,
        };
        let (child, launch) = spawn_shim(command, variables, fd3).map_err(failed)?;
        launched(launch).await.map_err(failed)?;
        Ok(child)
    }
}

/// Starts the shim; its pipe ends without a byte when it has become the program.
fn spawn_shim(
    command: &[OsString],
    variables: &[(&str, &[u8])],
    fd3: Fd3,
) -> io::Result<(Child, Receiver)> {
    let (their_stdin, stdin) = pipe()?;
    let (stdout, their_stdout) = pipe()?;
    let (launch, their_launch) = pipe()?;
    let mut actions = PosixSpawnFileActions::init()?;
    actions.add_dup2(their_stdin.as_raw_fd(), 0)?;
    actions.add_dup2(their_stdout.as_raw_fd(), 1)?;
    actions.add_dup2(their_launch.as_raw_fd(), LAUNCH_FD)?;
    let progress = match fd3 {
        Fd3::Progress => Some(pipe()?),
        Fd3::Closed => None,
    };
    if let Some((_, their_progress)) = &progress {
        actions.add_dup2(their_progress.as_raw_fd(), PROGRESS_FD)?;
    }
    let argv = shim_argv(command)?;
    let environment = environment(variables)?;
    // Listened to before there is a child, so that its end cannot be missed.
    let ends = Listener::open_child()?;
    let attributes = PosixSpawnAttr::init()?;
    // By this link the binary is found even when an upgrade has replaced it.
    let pid = posix_spawn(c"/proc/self/exe", &actions, &attributes, &argv, &environment)?;
    let child = Child {
        process: Process { pid, ends, exit: None },
        stdin: Sender::from_owned_fd(stdin)?,
        stdout: Receiver::from_owned_fd(stdout)?,
        progress: progress.map(|(ours, _)| Receiver::from_owned_fd(ours)).transpose()?,
    };
    Ok((child, Receiver::from_owned_fd(launch)?))
}

fn shim_argv(command: &[OsString]) -> Result<Vec<CString>, NulError> {
    let adapter = Pid::this().to_string();
    let shim = ["gear-supervisor", CHILD_OF, &adapter].map(str::as_bytes);
    let command = command.iter().map(|word| word.as_bytes());
    shim.into_iter().chain(command).map(CString::new).collect()
}

/// Waits until the shim has become the program, or failed to.
async fn launched(mut launch: Receiver) -> io::Result<()> {
    let mut errno = String::new();
    launch.read_to_string(&mut errno).await?;
    match errno.parse() {
        Ok(errno) => Err(io::Error::from_raw_os_error(errno)),
        Err(_) => Ok(()),
    }
}

impl Process {
    /// Waits for the end. May be dropped at any time.
    pub(super) async fn wait(&mut self) -> io::Result<Exit> {
        loop {
            if let Some(exit) = self.try_wait()? {
                return Ok(exit);
            }
            self.ends.next().await;
        }
    }

    /// Asks the kernel to end it now.
    pub(super) fn kill(&self) {
        if self.exit.is_none() {
            // The pid is ours until we have waited for it, so this hits nobody else.
            kill(self.pid, Signal::SIGKILL).unwrap_or_default();
        }
    }

    fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        if self.exit.is_none() {
            self.exit = match waitpid(self.pid, Some(WaitPidFlag::WNOHANG))? {
                WaitStatus::Exited(_, code) => Some(Exit::Code(code)),
                WaitStatus::Signaled(_, signal, core) => Some(Exit::Signal { signal, core }),
                _ => None,
            };
        }
        Ok(self.exit)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a pipe holds after its writer ended, without waiting for strays that hold it open too.
pub(super) fn left_in(pipe: Receiver) -> io::Result<BytesMut> {
    // Not by the runtime, which may not know yet that there is something to read.
    let mut pipe = std::fs::File::from(pipe.into_nonblocking_fd()?);
    let mut left = Vec::new();
    match pipe.by_ref().take(LEFT_IN_PIPE_MAX as u64).read_to_end(&mut left) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(error) => return Err(error),
    }
    Ok(BytesMut::from(&left[..]))
}

/// Tells in advance whether there is such a program, so that no job is taken in vain.
pub(super) fn check_program(program: &OsStr) -> Result<(), SpawnError> {
    let executable = |path: &Path| match access(path, AccessFlags::X_OK) {
        Ok(()) if path.is_dir() => Err(Errno::EACCES),
        other => other,
    };
    let found = if program.as_bytes().contains(&b'/') {
        executable(Path::new(program))
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).any(|dir| executable(&dir.join(program)).is_ok());
        if found { Ok(()) } else { Err(Errno::ENOENT) }
    };
    found.map_err(|errno| SpawnError {
        program: program.display().to_string(),
        source: errno.into(),
    })
}

/// A pipe whose ends no child inherits by accident.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    // An end below the numbers that a child is given would be overwritten before it is copied.
    let mut low = Vec::new();
    loop {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        if reader.as_raw_fd() > LAUNCH_FD && writer.as_raw_fd() > LAUNCH_FD {
            return Ok((reader, writer));
        }
        low.push((reader, writer));
    }
}

fn environment(variables: &[(&str, &[u8])]) -> Result<Vec<CString>, NulError> {
    let pair = |name: &[u8], value: &[u8]| CString::new([name, b"=", value].concat());
    let ours = std::env::vars_os()
        .filter(|(name, _)| !variables.iter().any(|(other, _)| name == other))
        .map(|(name, value)| pair(name.as_bytes(), &value.into_vec()));
    let theirs = variables.iter().map(|(name, value)| pair(name.as_bytes(), value));
    ours.chain(theirs).collect()
}

//! What the daemon's own binary does when it is started with [`WORD`]: it becomes a worker.
//!
//! It gets its [`ShimSpec`] as JSON on its standard input, a socket, changes what only a process
//! can change of itself, and executes the program. The socket is closed by that; a failure is
//! written to it before.

use std::ffi::{CString, OsString};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, dup2_stdin, execve, setgroups, setresgid, setresuid, setsid};
use rustix::process::ioctl_tiocsctty;
use serde::{Deserialize, Serialize};
use signal_hook::consts::SIGPIPE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::debug;

use super::grants::{self, Refusal};
use super::launch::{Launch, StartError, find_program};
use super::limits::FileLimit;
use crate::config::Limits;

/// The hidden first argument.
pub const WORD: &str = "start-worker";

/// Exit code of a shim that could not become its program, as a shell's.
const EXIT_NOT_STARTED: u8 = 127;

/// Longest failure text that is read, in bytes.
const FAILURE_LEN_MAX: u64 = 4096;

/// What to become.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ShimSpec {
    argv: Vec<String>,
    env: Vec<(OsString, OsString)>,
    directory: PathBuf,
    ids: Option<Ids>,
    umask: Option<u32>,
    file_limit: Option<FileLimit>,
    limits: Limits,
    /// The file by which it enters its control group.
    entrance: Option<PathBuf>,
    input: Input,
}

/// What becomes the program's standard input.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Input {
    /// /dev/null
    Nothing,
    /// The terminal that is its output; it gets a session of its own there.
    Terminal,
}

#[derive(Debug, Serialize, Deserialize)]
struct Ids {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

impl ShimSpec {
    pub(super) fn new(
        launch: &Launch,
        file_limit: Option<FileLimit>,
        entrance: Option<PathBuf>,
        input: Input,
    ) -> Self {
        let Launch { argv, env, directory, account, umask, limits, .. } = launch.clone();
        let ids = account.map(|account| Ids {
            uid: account.uid,
            gid: account.gid,
            groups: account.groups,
        });
        let env = env.into_iter().collect();
        Self { argv, env, directory, ids, umask, file_limit, limits, entrance, input }
    }
}

/// The daemon's side of a start through the shim.
#[derive(Debug)]
pub(super) struct Order {
    channel: UnixStream,
    /// What the socket did not take at once: nothing, unless the environment is enormous.
    rest: Vec<u8>,
}

impl Order {
    /// Puts the order into the socket.
    pub(super) fn new(channel: UnixStream, spec: &ShimSpec) -> io::Result<Self> {
        channel.set_nonblocking(true)?;
        let mut rest = serde_json::to_vec(spec)?;
        let taken = (&channel).write(&rest)?;
        rest.drain(..taken);
        if rest.is_empty() {
            channel.shutdown(Shutdown::Write)?;
        }
        Ok(Self { channel, rest })
    }

    /// Hands the rest over; returns why the program was not started, if it was not.
    pub(super) async fn hand_over(self) -> Option<String> {
        let mut failure = Vec::new();
        if let Err(error) = self.talk(&mut failure).await {
            // The shim was killed; its exit tells that.
            debug!(%error, "the shim did not take its order");
        }
        (!failure.is_empty()).then(|| String::from_utf8_lossy(&failure).into_owned())
    }

    async fn talk(self, failure: &mut Vec<u8>) -> io::Result<()> {
        let mut channel = tokio::net::UnixStream::from_std(self.channel)?;
        if !self.rest.is_empty() {
            channel.write_all(&self.rest).await?;
            channel.shutdown().await?;
        }
        // The end comes when the program is executed, since that closes the other side.
        channel.take(FAILURE_LEN_MAX).read_to_end(failure).await?;
        Ok(())
    }
}

/// Becomes the worker that standard input describes; returns only if that failed.
#[must_use]
pub fn run() -> ExitCode {
    // The duplicate is close-on-exec.
    let channel = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from);
    let failure = match channel {
        Ok(mut channel) => {
            let failure = become_worker(&mut channel);
            let told = channel.write_all(failure.to_string().as_bytes());
            told.err().map(|error| format!("{failure} ({error})"))
        }
        Err(error) => Some(format!("cannot read the order: {error}")),
    };
    if let Some(failure) = failure {
        eprintln!("{WORD}: {failure}");
    }
    ExitCode::from(EXIT_NOT_STARTED)
}

fn become_worker(channel: &mut UnixStream) -> StartError {
    match read_order(channel) {
        Ok(spec) => match execute(&spec) {
            Ok(never) => match never {},
            Err(error) => error,
        },
        Err(source) => step(WORD, "read the order")(source),
    }
}

fn read_order(channel: &mut UnixStream) -> io::Result<ShimSpec> {
    let mut text = Vec::new();
    channel.read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn execute(spec: &ShimSpec) -> Result<std::convert::Infallible, StartError> {
    let program = spec.argv.first().ok_or(StartError::Empty)?;
    let fails = |what| move |error| step(program, what)(io::Error::from(error));
    match spec.input {
        Input::Nothing => {
            let null = std::fs::File::open("/dev/null").map_err(step(program, "open /dev/null"))?;
            dup2_stdin(null).map_err(fails("use /dev/null as input"))?;
        }
        Input::Terminal => take_terminal().map_err(step(program, "take its terminal"))?,
    }
    // A Rust program ignores SIGPIPE and what it executes would go on ignoring it. A handler, any
    // one, is reset to the default by the execution.
    signal_hook::flag::register(SIGPIPE, Arc::default()).map_err(step(program, "reset SIGPIPE"))?;
    if let Some(limit) = spec.file_limit {
        // Before the user changes, since it may be a raise for the new one.
        limit.apply().map_err(step(program, "set the file limit"))?;
    }
    let refused = |refusal| refused(program, refusal);
    if let Some(entrance) = &spec.entrance {
        grants::enter(entrance).map_err(refused)?;
    }
    grants::before_user(&spec.limits).map_err(refused)?;
    if let Some(ids) = &spec.ids {
        change_user(ids).map_err(step(program, "change the user"))?;
    }
    grants::after_user(&spec.limits).map_err(refused)?;
    if let Some(mask) = spec.umask {
        umask(Mode::from_bits_truncate(mask));
    }
    // As the new user: what root may enter it may not, and on NFS the other way round.
    std::env::set_current_dir(&spec.directory).map_err(|source| StartError::Directory {
        program: program.clone(),
        directory: spec.directory.clone(),
        source,
    })?;
    let path = spec.env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    let file = find_program(program, path, &spec.directory)?;
    let argv = spec.argv.iter().map(|arg| arg.as_bytes().to_vec());
    let env = spec.env.iter();
    let env = env.map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    let nul = |_| step(program, "a NUL byte in an argument")(io::ErrorKind::InvalidInput.into());
    let file = CString::new(file.as_os_str().as_bytes()).map_err(nul)?;
    let argv = argv.map(CString::new).collect::<Result<Vec<_>, _>>().map_err(nul)?;
    let env = env.map(CString::new).collect::<Result<Vec<_>, _>>().map_err(nul)?;
    execve(&file, &argv, &env).map_err(fails("execute"))
}

/// Begins a session whose terminal is the one on standard output.
fn take_terminal() -> io::Result<()> {
    setsid()?;
    ioctl_tiocsctty(io::stdout())?;
    Ok(dup2_stdin(io::stdout())?)
}

/// Groups first: without root they cannot be changed any more.
fn change_user(ids: &Ids) -> io::Result<()> {
    let groups: Vec<Gid> = ids.groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups)?;
    let gid = Gid::from_raw(ids.gid);
    setresgid(gid, gid, gid)?;
    let uid = Uid::from_raw(ids.uid);
    setresuid(uid, uid, uid)?;
    Ok(())
}

fn refused(program: &str, refusal: Refusal) -> StartError {
    let Refusal { key, source, hint } = refusal;
    StartError::Refused { program: program.to_owned(), key, source, hint }
}

fn step(program: &str, step: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::Step { program: program.to_owned(), step, source }
}

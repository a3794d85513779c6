//! Starting one process.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{AccessFlags, Gid, Uid, access, getegid, geteuid, getgroups, pipe2};
use tokio::sync::oneshot;

use super::cgroups::{WorkerGroup, group_name};
use super::grants::Refusal;
use super::launch::{Launch, StartError, find_program};
use super::shim::{self, Input, ShimSpec};
use super::strays::mark;
use super::table::{Born, Processes};
use super::terminal;
use crate::config::{Account, Limits};
use crate::model::{Exit, WorkerId, WorkerName};

/// A process that was started.
#[derive(Debug)]
pub struct Child {
    /// Its id, which is its group's too.
    pub pid: i32,
    /// The read end of its standard output; reading does not block.
    pub stdout: OwnedFd,
    /// The read end of its standard error; reading does not block.
    pub stderr: OwnedFd,
    /// Tells how it ended.
    pub end: End,
}

/// A process that was started on a terminal of its own.
#[derive(Debug)]
pub struct TerminalChild {
    /// Its id, which is its group's and its session's too.
    pub pid: i32,
    /// Our end of its terminal; neither reading nor writing blocks.
    pub terminal: OwnedFd,
    /// Tells how it ended.
    pub end: End,
}

/// The end of a process, to be waited for.
#[derive(Debug)]
pub struct End {
    exit: oneshot::Receiver<Exit>,
    shim: Option<shim::Order>,
}

/// How a start came out in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The program ran and ended.
    Exited(Exit),
    /// The shim could not become the program.
    NotStarted(String),
}

/// A start that lacks nothing.
#[derive(Debug)]
struct Prepared {
    command: Command,
    shim: Option<shim::Order>,
}

impl End {
    /// Waits until the process has ended and was reaped.
    pub async fn wait(self) -> Ended {
        let failure = match self.shim {
            Some(order) => order.hand_over().await,
            None => None,
        };
        match (self.exit.await, failure) {
            (_, Some(failure)) => Ended::NotStarted(failure),
            (Ok(exit), None) => Ended::Exited(exit),
            (Err(_), None) => Ended::NotStarted("nobody reaps processes any more".to_owned()),
        }
    }
}

impl Processes {
    /// Starts a process in its own group, with /dev/null as its input and pipes as its outputs.
    ///
    /// Blocks for the time of a `posix_spawn`, about a millisecond. Where another user or a mask
    /// is asked for, a program that cannot be executed is told by [`End::wait`].
    ///
    /// # Errors
    /// When the program, its directory or a resource is missing.
    pub fn spawn(
        &self,
        worker: WorkerId,
        name: &WorkerName,
        launch: &Launch,
    ) -> Result<Child, StartError> {
        let prepare = |group: Option<&WorkerGroup>| self.on_pipes(launch, group);
        let ((pid, end), (stdout, stderr)) = self.start((worker, name), launch, prepare)?;
        Ok(Child { pid, stdout, stderr, end })
    }

    /// Starts a process in a session of its own, with a terminal as its input and its outputs; a
    /// program that cannot be executed is told by [`End::wait`].
    ///
    /// # Errors
    /// When there is no terminal or process to be had.
    pub fn spawn_on_terminal(
        &self,
        worker: WorkerId,
        name: &WorkerName,
        launch: &Launch,
    ) -> Result<TerminalChild, StartError> {
        let prepare = |group: Option<&WorkerGroup>| self.on_terminal(launch, group);
        let ((pid, end), terminal) = self.start((worker, name), launch, prepare)?;
        Ok(TerminalChild { pid, terminal, end })
    }

    /// Starts what `prepare` makes, in the control group that is asked for, and enters it into the
    /// table. Our ends of what it writes to come back with it.
    fn start<T>(
        &self,
        (worker, name): (WorkerId, &WorkerName),
        launch: &Launch,
        prepare: impl FnOnce(Option<&WorkerGroup>) -> Result<(Prepared, T), StartError>,
    ) -> Result<((i32, End), T), StartError> {
        let group = self.make_group(worker, name, launch)?;
        let prepared = prepare(group.as_ref());
        // From before the start until it is known, so that it cannot be reaped as an orphan.
        let mut table = self.shared.lock();
        let started = prepared.and_then(|(mut prepared, ours)| {
            let child = prepared.command.spawn().map_err(step(launch, "spawn"))?;
            Ok((prepared.shim, ours, i32::try_from(child.id()).unwrap_or_default()))
        });
        let (shim, ours, pid) = match started {
            Ok(started) => started,
            Err(error) => {
                if let Some(group) = group {
                    table.cgroups.remove(group);
                }
                return Err(error);
            }
        };
        if let (Some(limit), None) = (self.shared.file_limit, &shim) {
            limit.give(pid);
        }
        let exit = table.insert(Born { worker, name, strays: launch.strays, group, pid });
        Ok(((pid, End { exit, shim }), ours))
    }

    /// A start with /dev/null and two pipes, of which our ends are given.
    fn on_pipes(
        &self,
        launch: &Launch,
        group: Option<&WorkerGroup>,
    ) -> Result<(Prepared, (OwnedFd, OwnedFd)), StartError> {
        let failed = step(launch, "pipe");
        let (stdout, child_stdout) = output_pipe(launch.account.as_ref()).map_err(&failed)?;
        let (stderr, child_stderr) = output_pipe(launch.account.as_ref()).map_err(&failed)?;
        let mut prepared = if needs_shim(launch) {
            self.through_shim(launch, group, Input::Nothing)?
        } else {
            Prepared { command: direct(launch)?, shim: None }
        };
        // These settings, and no `pre_exec`, user or group, are what lets std use posix_spawn.
        prepared.command.process_group(0).stdout(child_stdout).stderr(child_stderr);
        Ok((prepared, (stdout, stderr)))
    }

    /// A start with a terminal, of which our end is given.
    fn on_terminal(
        &self,
        launch: &Launch,
        group: Option<&WorkerGroup>,
    ) -> Result<(Prepared, OwnedFd), StartError> {
        let failed = step(launch, "open a terminal");
        let (terminal, theirs) = terminal::open(launch.account.as_ref()).map_err(&failed)?;
        let mut prepared = self.through_shim(launch, group, Input::Terminal)?;
        // Not in a group of its own yet: the leader of a group cannot begin a session.
        prepared.command.stdout(theirs.try_clone().map_err(&failed)?).stderr(theirs);
        Ok((prepared, terminal))
    }

    /// The shim as a command, and the order that it gets.
    fn through_shim(
        &self,
        launch: &Launch,
        group: Option<&WorkerGroup>,
        input: Input,
    ) -> Result<Prepared, StartError> {
        let (ours, theirs) = UnixStream::pair().map_err(step(launch, "socketpair"))?;
        let mut command = Command::new(&self.shared.own_binary);
        command.env_clear().arg(shim::WORD).stdin(OwnedFd::from(theirs));
        let entrance = group.map(WorkerGroup::entrance);
        let spec = ShimSpec::new(launch, self.shared.file_limit, entrance, input);
        let order = shim::Order::new(ours, &spec).map_err(step(launch, "order to the shim"))?;
        Ok(Prepared { command, shim: Some(order) })
    }

    /// The control group that a launch asks for. It is removed if nothing comes to be in it.
    fn make_group(
        &self,
        worker: WorkerId,
        name: &WorkerName,
        launch: &Launch,
    ) -> Result<Option<WorkerGroup>, StartError> {
        let Some(limits) = &launch.limits.cgroup else { return Ok(None) };
        let name = group_name(name, &mark(worker));
        let made = self.shared.lock().cgroups.make(&name, limits);
        made.map(Some).map_err(|Refusal { key, source, hint }| {
            let program = launch.argv.first().cloned().unwrap_or_default();
            StartError::Refused { program, key, source, hint }
        })
    }
}

fn step(launch: &Launch, step: &'static str) -> impl Fn(io::Error) -> StartError {
    let program = launch.argv.first().cloned().unwrap_or_default();
    move |source| StartError::Step { program: program.clone(), step, source }
}

/// A command that is the program itself.
fn direct(launch: &Launch) -> Result<Command, StartError> {
    let program = launch.argv.first().ok_or(StartError::Empty)?.as_str();
    let directory = &launch.directory;
    if let Err(source) = check_directory(directory) {
        let (program, directory) = (program.to_owned(), directory.clone());
        return Err(StartError::Directory { program, directory, source });
    }
    // With its full path: std would fork the daemon to search a PATH that is not its own.
    let path = launch.env.get(std::ffi::OsStr::new("PATH"));
    let file = find_program(program, path.map(AsRef::as_ref), directory)?;
    let mut command = Command::new(file);
    command.arg0(program).args(launch.argv.iter().skip(1));
    command.current_dir(directory).stdin(Stdio::null());
    command.env_clear().envs(&launch.env);
    Ok(command)
}

/// Looks first, since a `posix_spawn` does not tell which of the two it did not find.
fn check_directory(directory: &Path) -> io::Result<()> {
    if !std::fs::metadata(directory)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(access(directory, AccessFlags::X_OK)?)
}

/// Whether the process must change something that only it can change.
fn needs_shim(launch: &Launch) -> bool {
    let is_usual = launch.umask.is_none() && launch.limits == Limits::default();
    !is_usual || launch.account.as_ref().is_some_and(|account| !is_ours(account))
}

fn is_ours(account: &Account) -> bool {
    let mut wanted: Vec<Gid> = account.groups.iter().copied().map(Gid::from_raw).collect();
    wanted.sort_unstable_by_key(|gid| gid.as_raw());
    let groups = getgroups().is_ok_and(|mut groups| {
        groups.sort_unstable_by_key(|gid| gid.as_raw());
        groups == wanted
    });
    groups && geteuid() == Uid::from_raw(account.uid) && getegid() == Gid::from_raw(account.gid)
}

/// A pipe for a process's output: our end, its end.
fn output_pipe(account: Option<&Account>) -> io::Result<(OwnedFd, Stdio)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    // Only our end: the two ends of a pipe do not share this flag.
    fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    if account.is_some_and(|account| Uid::from_raw(account.uid) != geteuid()) {
        // Opening /dev/stdout opens the pipe anew, which asks for the permissions of its inode.
        // Its owner could be given away only with CAP_CHOWN. The way there is the link in /proc of
        // a process that holds the pipe, which only processes of the same user can follow.
        fchmod(&write, Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IWGRP | Mode::S_IWOTH)?;
    }
    Ok((read, Stdio::from(File::from(write))))
}

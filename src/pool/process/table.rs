//! The children that live, under one lock.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::cgroups::{Cgroups, WorkerGroup};
use super::ledger::{Ledger, LedgerEntry};
use super::leftovers::{self, Leftover};
use super::limits::FileLimit;
use super::reaper::{Reaper, children_signals};
use super::strays::{self, Deceased, Departed};
use crate::config::Strays;
use crate::host::OomCount;
use crate::model::{Exit, WorkerId, WorkerName};

/// Exit code of a shell whose program was ended by KILL.
const KILLED_BELOW_A_SHELL: i32 = 128 + 9;

/// Ended workers of whom a second look for strays waits no longer.
const DEPARTED_MAX: usize = 1024;

/// What a daemon's table of processes needs.
#[derive(Clone, Debug)]
pub struct ProcessesOptions {
    /// The daemon's own binary: the shim, and the command of `exec` and `lines` workers.
    pub own_binary: PathBuf,
    /// The file that remembers living processes; `None` for none.
    pub ledger: Option<PathBuf>,
    /// The limit of open files that workers get; `None`: the daemon's.
    pub file_limit: Option<FileLimit>,
    /// The folder of the control group that may be divided among workers; `None`: none may.
    pub cgroup: Option<PathBuf>,
}

/// Why the table could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The ledger cannot be used.
    #[error("cannot use the list of processes {}", .path.display())]
    Ledger {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The news of ended children cannot be received.
    #[error("cannot watch for ended children")]
    Signals(#[source] io::Error),
}

/// The table of living children; clones share it.
#[derive(Clone, Debug)]
pub struct Processes {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) own_binary: PathBuf,
    pub(super) file_limit: Option<FileLimit>,
    table: Mutex<Table>,
}

#[derive(Debug)]
pub(super) struct Table {
    live: HashMap<i32, Live>,
    pids: HashMap<WorkerId, i32>,
    ledger: Option<Ledger>,
    leftovers: Vec<LedgerEntry>,
    pub(super) orphans: u64,
    oom: OomCount,
    pub(super) cgroups: Cgroups,
    /// Workers that ended since the last second look for strays.
    departed: Departed,
}

#[derive(Debug)]
struct Live {
    worker: WorkerId,
    name: String,
    strays: Strays,
    group: Option<WorkerGroup>,
    exit: oneshot::Sender<Exit>,
}

/// A child that was started just now.
#[derive(Debug)]
pub(super) struct Born<'a> {
    pub(super) worker: WorkerId,
    pub(super) name: &'a WorkerName,
    pub(super) strays: Strays,
    pub(super) group: Option<WorkerGroup>,
    pub(super) pid: i32,
}

impl Processes {
    /// Opens the table: adopts orphans, reads the ledger, and starts the reaper on `tracker`.
    ///
    /// The reaper ends with `stop`, which must come after the last pool has closed.
    ///
    /// # Errors
    /// When the ledger or the signal handler cannot be set up.
    pub fn open(
        options: ProcessesOptions,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, OpenError> {
        if let Err(error) = set_child_subreaper(true) {
            debug!(%error, "orphans of workers will not come to us");
        }
        let (ledger, leftovers) = match options.ledger {
            None => (None, Vec::new()),
            Some(path) => {
                let opened = Ledger::open(&path);
                let (ledger, leftovers) =
                    opened.map_err(|source| OpenError::Ledger { path, source })?;
                (Some(ledger), leftovers)
            }
        };
        let table = Table {
            live: HashMap::new(),
            pids: HashMap::new(),
            ledger,
            leftovers,
            orphans: 0,
            oom: OomCount::of_process(),
            cgroups: Cgroups::new(options.cgroup),
            departed: Departed::new(),
        };
        let ProcessesOptions { own_binary, file_limit, .. } = options;
        let shared = Arc::new(Shared { own_binary, file_limit, table: Mutex::new(table) });
        let signals = children_signals().map_err(OpenError::Signals)?;
        tracker.spawn(Reaper::new(Arc::clone(&shared), signals).run(stop));
        Ok(Self { shared })
    }

    /// Ends the processes that a killed daemon left behind, and tells which there were.
    ///
    /// To be awaited before the first worker is started.
    pub async fn end_leftovers(&self) -> Vec<Leftover> {
        let entries = std::mem::take(&mut self.shared.lock().leftovers);
        let ended = leftovers::end(&entries).await;
        if let Some(ledger) = &mut self.shared.lock().ledger {
            ledger.compact();
        }
        ended
    }

    /// The daemon's own binary.
    pub fn own_binary(&self) -> &std::path::Path {
        &self.shared.own_binary
    }

    /// Signals the worker's process; false when it has ended.
    pub fn signal(&self, worker: WorkerId, signal: Signal) -> bool {
        let table = self.shared.lock();
        table.pids.get(&worker).is_some_and(|pid| kill(Pid::from_raw(*pid), signal).is_ok())
    }

    /// Kills the worker's process and its group; false when it has ended.
    pub fn kill_group(&self, worker: WorkerId) -> bool {
        let table = self.shared.lock();
        let Some(pid) = table.pids.get(&worker) else { return false };
        let group = Pid::from_raw(*pid);
        // What may be left behind is in the group too.
        // A process with a terminal has no group before it has begun its session.
        let kill_all = || killpg(group, Signal::SIGKILL).or_else(|_| kill(group, Signal::SIGKILL));
        match table.live.get(pid).map(|live| (live.strays, &live.group)) {
            Some((Strays::Warn | Strays::Leave, _)) => kill(group, Signal::SIGKILL).is_ok(),
            // Before it has entered its control group it is in its process group alone.
            Some((Strays::Kill, of_control)) => {
                let killed = of_control.as_ref().is_some_and(WorkerGroup::kill);
                kill_all().is_ok() || killed
            }
            None => kill_all().is_ok(),
        }
    }

    /// How many children live.
    pub fn live_count(&self) -> usize {
        self.shared.lock().live.len()
    }

    /// How many orphans of workers were reaped.
    pub fn orphan_count(&self) -> u64 {
        self.shared.lock().orphans
    }
}

impl Shared {
    /// The table. A panic elsewhere leaves it whole: each change is one insertion or removal.
    pub(super) fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Takes a child that was started under this lock.
    pub(super) fn insert(&mut self, born: Born<'_>) -> oneshot::Receiver<Exit> {
        let Born { worker, name, strays, group, pid } = born;
        let (exit, ended) = oneshot::channel();
        self.live.insert(pid, Live { worker, name: name.to_string(), strays, group, exit });
        self.pids.insert(worker, pid);
        if let Some(ledger) = &mut self.ledger {
            ledger.add(pid, name);
        }
        ended
    }

    /// Ends the rest of a dead leader's group while its zombie still holds the group's number;
    /// false when the process is none that we started.
    pub(super) fn kill_rest(&self, pid: i32) -> bool {
        let Some(live) = self.live.get(&pid) else { return false };
        if live.strays != Strays::Kill {
            return true;
        }
        if let Some(group) = &live.group {
            group.kill();
        }
        match killpg(Pid::from_raw(pid), Signal::SIGKILL) {
            // EPERM: what is left of the group changed its user; ESRCH: nothing is left.
            Ok(()) | Err(Errno::ESRCH | Errno::EPERM) => {}
            Err(error) => debug!(pid, %error, "cannot kill the rest of the group"),
        }
        true
    }

    /// Forgets a child that was reaped, and tells its exit.
    pub(super) fn remove(&mut self, pid: i32, exit: Exit) {
        let Some(live) = self.live.remove(&pid) else { return };
        let Live { worker, name, strays, group, exit: told } = live;
        let exit =
            if self.is_out_of_memory(exit, group.as_ref()) { Exit::OutOfMemory } else { exit };
        let members = group.as_ref().map(WorkerGroup::members).unwrap_or_default();
        let dead = Deceased { worker, pid, name: &name, strays, members: &members };
        strays::treat(dead, |pid| self.live.contains_key(&pid));
        if strays == Strays::Kill {
            self.departed.insert(strays::mark(worker), name);
            if self.departed.len() >= DEPARTED_MAX {
                self.look_again();
            }
        }
        if let Some(group) = group {
            self.cgroups.remove(group);
        }
        self.pids.remove(&worker);
        if let Some(ledger) = &mut self.ledger {
            ledger.remove(pid);
        }
        if told.send(exit).is_err() {
            debug!(pid, "nobody waits for this process any more");
        }
    }

    /// Whether a second look for strays is owed.
    pub(super) fn has_departed(&self) -> bool {
        !self.departed.is_empty()
    }

    /// Looks a second time for what ended workers left behind.
    pub(super) fn look_again(&mut self) {
        let departed = std::mem::take(&mut self.departed);
        strays::look_again(&departed, |pid| self.live.contains_key(&pid));
    }

    /// Whether the kernel ended it for want of memory. Its own control group tells that for sure;
    /// the daemon's tells only that somebody was ended, and what it tells counts once.
    fn is_out_of_memory(&mut self, exit: Exit, group: Option<&WorkerGroup>) -> bool {
        // A shell in front of what was killed says so with its exit code.
        let by_kill = matches!(exit, Exit::Signal { signal: Signal::SIGKILL, .. });
        let has_grown = by_kill && self.oom.has_grown();
        let told = group.is_some_and(WorkerGroup::ran_out_of_memory);
        has_grown || (told && (by_kill || exit == Exit::Code(KILLED_BELOW_A_SHELL)))
    }
}

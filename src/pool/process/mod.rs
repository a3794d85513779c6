//! Starting, signalling and reaping processes.
//!
//! One table knows every live process that we started, and one reaper waits for all of them. A
//! process is started, signalled and reaped under the table's lock, so that none is reaped before
//! it is known and none is signalled after it was reaped.

mod ledger;
mod reaper;
pub mod shim;
mod spawn;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::model::{Exit, WorkerId};

use ledger::Ledger;
pub use spawn::{Launch, SpawnError, Spawned};

/// Where the ends of processes are delivered. Unbounded, and yet bounded: by the processes that
/// live, each of which ends once. The reaper must not wait for a slow pool.
pub type Exits = mpsc::UnboundedSender<(WorkerId, Exit)>;

/// The live processes.
#[derive(Clone, Debug)]
pub struct Processes {
    table: Arc<Mutex<Table>>,
    /// Our own program, for the shim and the adapter of exec and lines workers.
    binary: Arc<Path>,
}

#[derive(Debug)]
struct Table {
    live: HashMap<i32, Live>,
    ledger: Ledger,
}

#[derive(Debug)]
struct Live {
    worker: WorkerId,
    exits: Exits,
}

impl Processes {
    /// Ends what an earlier daemon left behind, and begins to reap.
    ///
    /// # Errors
    /// When SIGCHLD cannot be listened to or the list of processes cannot be kept in `state_dir`.
    pub fn start(
        binary: PathBuf,
        state_dir: &Path,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        nix::sys::prctl::set_child_subreaper(true)?;
        let ledger = Ledger::open(state_dir)?;
        let table = Arc::new(Mutex::new(Table { live: HashMap::new(), ledger }));
        let processes = Self { table, binary: binary.into() };
        tasks.spawn(reaper::run(processes.clone(), reaper::signals()?, stop));
        Ok(processes)
    }

    /// Our own program.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Starts a process in a group of its own; its end is delivered to `exits`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(
        &self,
        launch: &Launch,
        worker: WorkerId,
        exits: Exits,
    ) -> Result<Spawned, SpawnError> {
        let mut table = self.lock();
        let spawned = spawn::spawn(launch, &self.binary)?;
        table.live.insert(spawned.pid, Live { worker, exits });
        if let Err(error) = table.ledger.add(spawned.pid) {
            warn!(%error, pid = spawned.pid, "a process could not be noted for the next start");
        }
        Ok(spawned)
    }

    /// Sends a signal to a process and its group; nothing happens when it has been reaped.
    pub fn signal(&self, pid: i32, signal: Signal) -> bool {
        let table = self.lock();
        if !table.live.contains_key(&pid) {
            return false;
        }
        match killpg(Pid::from_raw(pid), signal) {
            Ok(()) => true,
            Err(Errno::ESRCH) => false,
            Err(error) => {
                warn!(%error, pid, %signal, "a process could not be signalled");
                false
            }
        }
    }

    /// A panic under the lock leaves the table whole: every change to it is one insert or remove.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

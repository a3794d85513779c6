//! The one place that waits for children.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use rustix::process::{self as raw, WaitId, WaitIdOptions, WaitIdStatus};
use signal_hook::consts::SIGCHLD;
use signal_hook_tokio::Signals;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::procfs::{self, ProcStat};
use super::table::Shared;
use crate::model::Exit;

/// Children reaped before other tasks of the thread get their turn.
const REAPED_AT_ONCE_MAX: usize = 64;

/// How long no child has ended when strays are looked for a second time.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The news that some child ended.
pub(super) fn children_signals() -> io::Result<Signals> {
    Signals::new([SIGCHLD])
}

/// Reaps every child, ours and adopted.
pub(super) struct Reaper {
    shared: Arc<Shared>,
    signals: Signals,
}

impl Reaper {
    pub(super) fn new(shared: Arc<Shared>, signals: Signals) -> Self {
        Self { shared, signals }
    }

    /// Runs until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        // A child may have ended before the handler was there.
        let mut news = true;
        while news {
            while self.sweep() == Sweep::More {
                tokio::task::yield_now().await;
            }
            news = tokio::select! {
                () = stop.cancelled() => false,
                signal = self.signals.next() => signal.is_some(),
                () = sleep(LOOK_AGAIN_AFTER), if self.shared.lock().has_departed() => {
                    self.shared.lock().look_again();
                    true
                }
            };
        }
    }

    /// Reaps what is dead. One SIGCHLD may stand for many children.
    fn sweep(&self) -> Sweep {
        for _ in 0..REAPED_AT_ONCE_MAX {
            match look() {
                Look::Dead(pid) => self.reap(pid),
                Look::Unknown => return self.reap_by_scan(),
                Look::Nobody => return Sweep::Done,
            }
        }
        Sweep::More
    }

    /// Reaps one child that is dead.
    fn reap(&self, pid: i32) {
        let mut table = self.shared.lock();
        let is_ours = table.kill_rest(pid);
        let Some(raw_pid) = raw::Pid::from_raw(pid) else { return };
        let status =
            raw::waitid(WaitId::Pid(raw_pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        match status {
            Ok(Some(status)) if is_ours => table.remove(pid, exit(&status)),
            Ok(Some(_)) => {
                table.orphans += 1;
                table.cgroups.sweep();
                debug!(pid, "reaped an orphan");
            }
            Ok(None) => debug!(pid, "a child that was dead lives"),
            Err(error) => warn!(pid, %error, "cannot reap a child"),
        }
    }

    /// Reaps children that died of a realtime signal, whose number `nix` cannot express: it
    /// returns an error there that does not tell the process.
    fn reap_by_scan(&self) -> Sweep {
        let Ok(pids) = procfs::pids() else { return Sweep::Done };
        let our_pid = i32::try_from(std::process::id()).unwrap_or_default();
        for pid in pids {
            let stat = ProcStat::read(pid);
            if stat.is_ok_and(|stat| stat.parent == our_pid && stat.state == 'Z') {
                self.reap(pid);
            }
        }
        Sweep::Done
    }
}

/// Whether a sweep left something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sweep {
    More,
    Done,
}

/// What a look at the children showed.
enum Look {
    /// This one is dead.
    Dead(i32),
    /// One is dead, but which is not known.
    Unknown,
    /// None is dead.
    Nobody,
}

/// Looks for a dead child without reaping it.
fn look() -> Look {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    loop {
        return match waitid(Id::All, flags) {
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => {
                Look::Dead(pid.as_raw())
            }
            Ok(_) | Err(Errno::ECHILD) => Look::Nobody,
            Err(Errno::EINTR) => continue,
            Err(Errno::EINVAL) => Look::Unknown,
            Err(error) => {
                warn!(%error, "cannot look for ended children");
                Look::Nobody
            }
        };
    }
}

fn exit(status: &WaitIdStatus) -> Exit {
    match status.terminating_signal() {
        None => Exit::Code(status.exit_status().unwrap_or_default()),
        Some(number) => match Signal::try_from(number) {
            Ok(signal) => Exit::Signal { signal, core: status.dumped() },
            // A realtime signal; told as a shell would.
            Err(_) => Exit::Code(128 + number),
        },
    }
}

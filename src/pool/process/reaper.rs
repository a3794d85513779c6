//! The one place that waits for children.
//!
//! It looks without reaping, kills the rest of the group while its leader is still a zombie (so
//! the group's number cannot have been given to somebody else), then reaps and delivers.

use std::io;

use futures_util::StreamExt;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use signal_hook::consts::SIGCHLD;
use signal_hook_tokio::Signals;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::Processes;
use crate::model::Exit;

pub(super) fn signals() -> io::Result<Signals> {
    Signals::new([SIGCHLD])
}

/// Reaps until `stop`; children that ended before it began are found at once.
pub(super) async fn run(processes: Processes, mut signals: Signals, stop: CancellationToken) {
    loop {
        reap_all(&processes);
        tokio::select! {
            () = stop.cancelled() => break,
            signal = signals.next() => if signal.is_none() { break },
        }
    }
}

/// Signals of one kind are merged, so one may stand for many children.
fn reap_all(processes: &Processes) {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    loop {
        // Under the lock: a child that is just being started must be in the table first.
        let mut table = processes.lock();
        let pid = match waitid(Id::All, look) {
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) => pid,
            Ok(_) | Err(Errno::ECHILD) => return,
            Err(Errno::EINTR) => continue,
            Err(error) => {
                warn!(%error, "children could not be waited for");
                return;
            }
        };
        let live = table.live.remove(&pid.as_raw());
        if live.is_some() {
            kill_rest_of_group(pid);
        }
        let exit = reap(pid);
        match (live, exit) {
            (Some(live), Some(exit)) => {
                if let Err(error) = table.ledger.remove(pid.as_raw()) {
                    warn!(%error, %pid, "the end of a process could not be noted");
                }
                if live.exits.send((live.worker, exit)).is_err() {
                    debug!(%pid, "a process ended after its pool");
                }
            }
            (None, Some(exit)) => debug!(%pid, %exit, "reaped an orphan"),
            (_, None) => {}
        }
    }
}

fn kill_rest_of_group(leader: Pid) {
    match killpg(leader, Signal::SIGKILL) {
        // EPERM: only the zombie is left and it belongs to another user.
        Ok(()) | Err(Errno::ESRCH | Errno::EPERM) => {}
        Err(error) => warn!(%error, %leader, "the rest of a process group could not be killed"),
    }
}

fn reap(pid: Pid) -> Option<Exit> {
    match waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG) {
        Ok(WaitStatus::Exited(_, code)) => Some(Exit::Code(code)),
        Ok(WaitStatus::Signaled(_, signal, core)) => Some(Exit::Signal { signal, core }),
        Ok(_) => None,
        Err(error) => {
            warn!(%error, %pid, "a child could not be reaped");
            None
        }
    }
}

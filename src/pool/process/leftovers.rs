//! Ends what a killed daemon left behind.
//!
//! They are not our children, so each is held by a pidfd: a signal through it reaches that process
//! or nobody, however process ids are used again.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tracing::{debug, warn};

use super::ledger::LedgerEntry;
use super::procfs::{ProcStat, has_env, pids};

/// How long they have after TERM, and again after KILL.
const WAIT: Duration = Duration::from_secs(2);

/// A process of an earlier daemon that was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// `POOL:N`
    pub worker: String,
    /// Its process id.
    pub pid: i32,
}

/// Ends the processes of these groups: TERM, a short wait, KILL.
pub(super) async fn end(entries: &[LedgerEntry]) -> Vec<Leftover> {
    let mut ended = BTreeMap::new();
    for signal in [Signal::TERM, Signal::KILL] {
        let held = match find(entries) {
            Ok(held) => held,
            Err(error) => {
                warn!(%error, "cannot look for processes of an earlier daemon");
                return Vec::new();
            }
        };
        for (leftover, pidfd) in &held {
            let Leftover { worker, pid } = leftover;
            if !ended.contains_key(pid) {
                warn!(%worker, pid, "ending a process that an earlier daemon left behind");
            }
            send(pidfd, signal);
            if signal == Signal::TERM {
                send(pidfd, Signal::CONT);
            }
        }
        ended.extend(held.iter().map(|(leftover, _)| (leftover.pid, leftover.clone())));
        if let Err(error) = tokio::task::spawn_blocking(move || wait(held)).await {
            warn!(%error, "cannot wait for processes of an earlier daemon");
        }
    }
    ended.into_values().collect()
}

/// The processes of these groups that live.
fn find(entries: &[LedgerEntry]) -> io::Result<Vec<(Leftover, OwnedFd)>> {
    let groups: BTreeMap<i32, &LedgerEntry> =
        entries.iter().map(|entry| (entry.pid, entry)).collect();
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let found = pids()?.filter_map(|pid| {
        let group = groups.get(&ProcStat::read(pid).ok()?.group)?;
        // Held first, then looked at: what is true now stays true of this process.
        let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        let stat = ProcStat::read(pid).ok()?;
        let is_leader = pid == group.pid && stat.started == group.started;
        // A member whose leader is gone is known by what it inherited from it.
        let is_member = stat.group == group.pid
            && stat.started >= group.started
            && has_env(pid, &format!("GEAR_WORKER={}", group.worker));
        let lives = stat.state != 'Z' && (is_leader || is_member);
        lives.then(|| (Leftover { worker: group.worker.clone(), pid }, pidfd))
    });
    Ok(found.collect())
}

fn send(pidfd: &OwnedFd, signal: Signal) {
    if let Err(error) = pidfd_send_signal(pidfd, signal) {
        debug!(%error, "a process of an earlier daemon cannot be signalled");
    }
}

/// Waits until all of them have ended, but not for long. Blocks.
fn wait(held: Vec<(Leftover, OwnedFd)>) {
    let until = Instant::now() + WAIT;
    for (leftover, pidfd) in held {
        match wait_until(&pidfd, until) {
            Ok(0) => debug!(pid = leftover.pid, "a process of an earlier daemon goes on"),
            Ok(_) => {}
            Err(error) => warn!(pid = leftover.pid, %error, "cannot wait for a process"),
        }
    }
}

/// A pidfd becomes readable when its process ends.
fn wait_until(pidfd: &OwnedFd, until: Instant) -> Result<i32, Errno> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], left) {
            // By SIGCHLD: they have become our children if their daemon was ours.
            Err(Errno::EINTR) => {}
            outcome => return outcome,
        }
    }
}

//! What a worker leaves behind outside its group: processes with a session of their own.
//!
//! They come to us when their parents end, since the daemon is a subreaper. Whose they are is told
//! by their session or group, or by the mark that they inherited in their environment. A program
//! that clears its environment and has a session of its own is nobody's, unless its worker has a
//! control group.

use std::collections::HashMap;
use std::fs;
use std::io;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tracing::{debug, warn};

use super::procfs::{self, ProcStat, env, has_env};
use crate::config::Strays;
use crate::model::WorkerId;

/// Name of the variable that marks what a worker starts.
pub const MARK: &str = "GEAR_ID";
/// Looks at what the killed have left in turn; each goes one generation deeper.
const ROUNDS_MAX: usize = 16;

/// The value of [`MARK`] for one process; no other process of the host has it.
#[must_use]
pub fn mark(worker: WorkerId) -> String {
    format!("{}.{}", std::process::id(), worker.0)
}

/// A worker that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deceased<'a> {
    pub(super) worker: WorkerId,
    pub(super) pid: i32,
    /// `POOL:N`
    pub(super) name: &'a str,
    pub(super) strays: Strays,
    /// What is left in its control group, if it had one.
    pub(super) members: &'a [i32],
}

/// Does with a dead worker's strays what its pool wants; `is_live` knows the workers that live.
pub(super) fn treat(dead: Deceased<'_>, is_live: impl Fn(i32) -> bool) {
    if dead.strays == Strays::Leave {
        return;
    }
    let variable = format!("{MARK}={}", mark(dead.worker));
    let children = match children_of_ours() {
        Ok(children) => children,
        Err(error) => return debug!(%error, "cannot look for strays"),
    };
    for pid in children.into_iter().filter(|pid| !is_live(*pid)) {
        let is_its = |stat: ProcStat| {
            let inherited = stat.session == dead.pid || stat.group == dead.pid;
            let is_member = dead.members.contains(&pid);
            stat.state != 'Z' && (is_member || inherited || has_env(pid, &variable))
        };
        if !ProcStat::read(pid).is_ok_and(is_its) {
            continue;
        }
        match dead.strays {
            Strays::Kill => kill_stray(pid, dead.name),
            Strays::Warn => {
                let (worker, command) = (dead.name, command(pid));
                warn!(worker, pid, command, "the worker left a process behind");
            }
            Strays::Leave => {}
        }
    }
}

/// Names of workers that have ended, by their marks.
pub(super) type Departed = HashMap<String, String>;

/// Looks once more for what ended workers left to be killed, by their marks alone.
///
/// The first look may miss some: a process in the midst of an exec shows no environment, and the
/// kernel's list of children may pass one over while others end.
pub(super) fn look_again(departed: &Departed, is_live: impl Fn(i32) -> bool) {
    let children = match children_of_ours() {
        Ok(children) => children,
        Err(error) => return debug!(%error, "cannot look for strays"),
    };
    for pid in children.into_iter().filter(|pid| !is_live(*pid)) {
        if ProcStat::read(pid).is_ok_and(|stat| stat.state != 'Z')
            && let Some(worker) = env(pid, MARK).and_then(|mark| departed.get(&mark))
        {
            kill_stray(pid, worker);
        }
    }
}

fn kill_stray(pid: i32, worker: &str) {
    warn!(worker, pid, command = command(pid), "killing a process that the worker left behind");
    kill_tree(pid);
}

/// Kills a process and all below it. It is a child of ours, so nobody reaps it meanwhile.
fn kill_tree(root: i32) {
    let mut found = vec![root];
    let mut layer = vec![root];
    for _ in 0..ROUNDS_MAX {
        layer = layer.iter().flat_map(|pid| children(*pid)).collect();
        if layer.is_empty() {
            break;
        }
        found.extend(&layer);
    }
    // Those below are held before their parents die and their numbers may be used again.
    let held: Vec<_> = found
        .into_iter()
        .filter_map(|pid| pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok())
        .collect();
    for pidfd in held {
        if let Err(error) = pidfd_send_signal(&pidfd, Signal::KILL) {
            debug!(%error, "a stray cannot be killed");
        }
    }
}

/// Every child of this process: the workers, and what was left to us.
fn children_of_ours() -> io::Result<Vec<i32>> {
    if fs::exists("/proc/self/task")? && fs::exists("/proc/thread-self/children")? {
        let pid = i32::try_from(std::process::id()).unwrap_or_default();
        return Ok(children(pid));
    }
    // A kernel without CONFIG_PROC_CHILDREN.
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let is_ours = |pid: &i32| ProcStat::read(*pid).is_ok_and(|stat| stat.parent == own);
    Ok(procfs::pids()?.filter(is_ours).collect())
}

/// The children of all threads of a process.
pub(super) fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    lists.flat_map(|list| pids_of(&list)).collect()
}

fn pids_of(list: &str) -> Vec<i32> {
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Its command line, for people.
fn command(pid: i32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_else(|_| Vec::new());
    String::from_utf8_lossy(&words).replace('\0', " ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_second_look_kills_what_has_the_mark_of_an_ended_worker_and_nothing_else() {
        let marked =
            |mark: &str| Command::new("sleep").arg("1000").env(MARK, mark).spawn().unwrap();
        let (mut left, mut other) = (marked("test.1"), marked("test.2"));
        let departed = Departed::from([("test.1".to_owned(), "w:1".to_owned())]);
        let mut ended = None;
        while ended.is_none() {
            look_again(&departed, |_| false);
            ended = left.try_wait().unwrap();
        }
        assert!(!ended.unwrap().success());
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}

//! The processes that live, on disk, so that the daemon that comes after a crash finds them.
//!
//! One line each: `+PID START` when it begins, `-PID` when it was reaped; START is the kernel's
//! start time, which tells the process from a later one of the same number. The file is written
//! anew when it has grown.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tracing::{info, warn};

/// Lines beyond those of live processes at which the file is written anew.
const STALE_LINES_MAX: usize = 4096;

#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    file: File,
    live: BTreeMap<i32, u64>,
    stale: usize,
}

impl Ledger {
    /// Ends what an earlier daemon left behind, and begins an empty list.
    pub(super) fn open(state_dir: &Path) -> io::Result<Self> {
        let path = state_dir.join("workers");
        match fs::read_to_string(&path) {
            Ok(text) => end_leftovers(&read(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let file = File::create(&path)?;
        Ok(Self { path, file, live: BTreeMap::new(), stale: 0 })
    }

    pub(super) fn add(&mut self, pid: i32) -> io::Result<()> {
        // A process that has ended already is a zombie until we reap it, and has a start time.
        let Some(start) = start_time(pid) else { return Ok(()) };
        self.live.insert(pid, start);
        writeln!(self.file, "+{pid} {start}")
    }

    pub(super) fn remove(&mut self, pid: i32) -> io::Result<()> {
        if self.live.remove(&pid).is_none() {
            return Ok(());
        }
        self.stale += 2;
        if self.stale < STALE_LINES_MAX {
            return writeln!(self.file, "-{pid}");
        }
        let lines = self.live.iter().map(|(pid, start)| format!("+{pid} {start}\n"));
        let fresh = self.path.with_extension("new");
        fs::write(&fresh, lines.collect::<String>())?;
        fs::rename(&fresh, &self.path)?;
        self.file = File::options().append(true).open(&self.path)?;
        self.stale = 0;
        Ok(())
    }
}

fn read(text: &str) -> BTreeMap<i32, u64> {
    let mut live = BTreeMap::new();
    for line in text.lines() {
        if let Some(pid) = line.strip_prefix('-').and_then(|pid| pid.parse::<i32>().ok()) {
            live.remove(&pid);
        }
        let begun = line.strip_prefix('+').and_then(|line| line.split_once(' '));
        // A line that a crash has cut is no process of ours.
        if let Some((Ok(pid), Ok(start))) = begun.map(|(pid, start)| (pid.parse(), start.parse())) {
            live.insert(pid, start);
        }
    }
    live
}

/// The daemon is gone, and with it the readers of their output: there is nothing to wait for.
fn end_leftovers(leftovers: &BTreeMap<i32, u64>) {
    for (pid, start) in leftovers {
        if start_time(*pid) != Some(*start) {
            continue;
        }
        match killpg(Pid::from_raw(*pid), Signal::SIGKILL) {
            Ok(()) => info!(pid, "ended a worker that an earlier daemon had left behind"),
            Err(error) => warn!(%error, pid, "a worker of an earlier daemon could not be ended"),
        }
    }
}

/// Field 22 of /proc/PID/stat; the name before it may hold spaces and brackets.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_what_began_less_what_ended() {
        let live = read("+10 5\n+11 6\n-10\n+12 7\n+1");
        assert_eq!(live, BTreeMap::from([(11, 6), (12, 7)]));
    }

    #[test]
    fn our_own_start_time_is_known() {
        assert!(start_time(i32::try_from(std::process::id()).unwrap()).is_some());
    }
}

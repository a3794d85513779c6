//! The list of living processes on disk, for the next daemon if this one is killed.
//!
//! ```text
//! boot 0b8c5f0e-…
//! + 812 48151623 thumbnails:3
//! - 812
//! ```
//! A process id with its start time (proc_pid_stat(5), field 22) names one process of a boot for
//! ever. Lines are appended, never synced: after a crash of the host there is nothing to find. The
//! file is written anew when most of it is past.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::procfs::ProcStat;
use crate::model::WorkerName;

/// A file of no more lines is left as it is, however many of them are past.
const LINES_FEW: usize = 256;

/// A process of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LedgerEntry {
    pub(super) pid: i32,
    /// In clock ticks since the boot.
    pub(super) started: u64,
    /// `POOL:N`
    pub(super) worker: String,
}

/// The file, and what of it holds.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    file: File,
    lines: usize,
    live: BTreeMap<i32, LedgerEntry>,
    /// An error was told already.
    failed: bool,
}

impl Ledger {
    /// Opens the file; also returns what an earlier daemon of this boot left in it.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<LedgerEntry>)> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let text = match fs::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let left = parse(&text, boot.trim());
        let file = append(path)?;
        let live = BTreeMap::new();
        let lines = text.lines().count();
        let mut ledger = Self { path: path.to_owned(), file, lines, live, failed: false };
        if left.is_empty() {
            ledger.compact();
        }
        Ok((ledger, left))
    }

    /// Adds a process that was started and not reaped yet.
    pub(super) fn add(&mut self, pid: i32, name: &WorkerName) {
        let started = match ProcStat::read(pid) {
            Ok(stat) => stat.started,
            Err(error) => return self.complain(&error),
        };
        let entry = LedgerEntry { pid, started, worker: name.to_string() };
        self.append(&line(&entry));
        self.live.insert(pid, entry);
    }

    /// Takes a process out that was reaped.
    pub(super) fn remove(&mut self, pid: i32) {
        if self.live.remove(&pid).is_some() {
            self.append(&format!("- {pid}\n"));
            if self.lines > LINES_FEW + 4 * self.live.len() {
                self.compact();
            }
        }
    }

    /// Writes the file anew with only what lives.
    pub(super) fn compact(&mut self) {
        if let Err(error) = self.rewrite() {
            self.complain(&error);
        }
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let mut text = format!("boot {}\n", boot.trim());
        text.extend(self.live.values().map(line));
        let new = self.path.with_extension("new");
        if let Err(error) = fs::remove_file(&new)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = append(&new)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&new, &self.path)?;
        self.file = file;
        self.lines = self.live.len() + 1;
        Ok(())
    }

    fn append(&mut self, line: &str) {
        self.lines += 1;
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            self.complain(&error);
        }
    }

    /// Workers run though the list cannot be kept; this is told once.
    fn complain(&mut self, error: &io::Error) {
        if !self.failed {
            self.failed = true;
            let path = self.path.display();
            warn!(%path, %error, "cannot keep the list of processes; after a crash of the daemon \
                its workers will not be found");
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn line(entry: &LedgerEntry) -> String {
    let LedgerEntry { pid, started, worker } = entry;
    let mut line = String::new();
    // Writing to a String cannot fail.
    writeln!(line, "+ {pid} {started} {worker}").ok();
    line
}

/// What lives according to the text; a line cut off by a crash is passed over.
fn parse(text: &str, boot: &str) -> Vec<LedgerEntry> {
    let mut live = BTreeMap::new();
    let mut same_boot = false;
    for line in text.lines() {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("boot"), Some(of), None, None) => same_boot = of == boot,
            (Some("+"), Some(pid), Some(started), Some(worker)) => {
                if let (Ok(pid), Ok(started)) = (pid.parse(), started.parse()) {
                    live.insert(pid, LedgerEntry { pid, started, worker: worker.to_owned() });
                }
            }
            (Some("-"), Some(pid), None, None) => {
                if let Ok(pid) = pid.parse::<i32>() {
                    live.remove(&pid);
                }
            }
            _ => {}
        }
    }
    if same_boot { live.into_values().collect() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_holds_what_was_started_and_not_ended_in_this_boot() {
        let text = "boot b\n+ 5 100 a:1\n+ 6 101 a:2\n- 5\n+ 7 102 b:1\n+ 8 10";
        let workers = |boot| -> Vec<_> {
            parse(text, boot).into_iter().map(|entry| (entry.pid, entry.worker)).collect()
        };
        assert_eq!(workers("b"), [(6, "a:2".to_owned()), (7, "b:1".to_owned())]);
        assert_eq!(workers("c"), []);
    }

    #[test]
    fn the_file_stays_short_over_many_starts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("workers");
        let (mut ledger, left) = Ledger::open(&path).unwrap();
        assert_eq!(left, []);
        let own = i32::try_from(std::process::id()).unwrap();
        let name: WorkerName = "a:1".parse().unwrap();
        for _ in 0..2000 {
            ledger.add(own, &name);
            ledger.remove(own);
        }
        ledger.add(own, &name);
        assert!(fs::read_to_string(&path).unwrap().lines().count() < 600);
        let (_, left) = Ledger::open(&path).unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].started, ProcStat::read(own).unwrap().started);
    }
}

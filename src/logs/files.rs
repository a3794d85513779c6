//! All log files: one per path, however many pools write to it.
//!
//! Decides which older files are deleted or compressed.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;

use super::compress::Job;
use super::file::{Appended, Identity, LogFile};
use super::older::{
    Older, absent_is_fine, older_files, older_files_and_more, older_path, unfinished_path,
};
use super::rotation::Batch;
use crate::config::LogSettings;

/// Names an open log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FileKey(u64);

/// Every log file.
#[derive(Debug, Default)]
pub(super) struct Files {
    next: u64,
    open: HashMap<FileKey, Shared>,
    /// Told when there may be something to compress.
    compression: Rc<Notify>,
}

#[derive(Debug)]
struct Shared {
    file: LogFile,
    users: usize,
    /// True from a compression that failed to the next rotation.
    rests: bool,
}

impl Files {
    /// Told when there may be something to compress.
    pub(super) fn compression(&self) -> Rc<Notify> {
        Rc::clone(&self.compression)
    }

    /// The file at `path`, for one user more; its limits are those named last.
    pub(super) fn open(&mut self, path: PathBuf, settings: &LogSettings) -> FileKey {
        if settings.compress {
            self.compression.notify_one();
        }
        if let Some((key, shared)) =
            self.open.iter_mut().find(|(_, shared)| shared.file.path() == path)
        {
            shared.users += 1;
            shared.file.configure(settings);
            trim(&shared.file);
            return *key;
        }
        let key = FileKey(self.next);
        self.next += 1;
        let file = LogFile::new(path, settings);
        trim(&file);
        self.open.insert(key, Shared { file, users: 1, rests: false });
        key
    }

    /// Gives a file up; it is closed with its last user.
    pub(super) fn close(&mut self, key: FileKey) {
        let Some(shared) = self.open.get_mut(&key) else { return };
        shared.users -= 1;
        if shared.users == 0 {
            self.open.remove(&key);
        }
    }

    /// Appends to a file, and makes room when that began a new one; tells how many bytes are lost.
    pub(super) fn append(&mut self, key: FileKey, batch: Batch<'_>, now: Instant) -> u64 {
        let Some(shared) = self.open.get_mut(&key) else { return 0 };
        let Appended { rotated, lost } = shared.file.append(batch, now);
        if rotated {
            shared.rests = false;
            trim(&shared.file);
            if shared.file.settings().compress {
                self.compression.notify_one();
            }
        }
        lost
    }

    /// The next older file to compress: the newest of a log, since it stays longest.
    pub(super) fn next_to_compress(&mut self) -> Option<Job> {
        let wanting = |shared: &&mut Shared| shared.file.settings().compress && !shared.rests;
        for shared in self.open.values_mut().filter(wanting) {
            let log = shared.file.path();
            let Some(plain) = older_files(log).find(|older| !older.compressed) else { continue };
            match Job::open(log, &plain.path) {
                Ok(Some(job)) => return Some(job),
                Ok(None) => shared.rests = true,
                Err(error) => shared.give_up(&error),
            }
        }
        None
    }

    /// Puts what a job has made in the place of its source, wherever that is now.
    pub(super) fn compressed(&mut self, job: &Job, result: io::Result<()>) {
        let put = result.and_then(|()| put_in_place(job));
        if let Some(shared) = self.open.values_mut().find(|shared| shared.file.path() == job.log) {
            match put {
                Ok(()) => trim(&shared.file),
                Err(error) => shared.give_up(&error),
            }
        }
        self.compression.notify_one();
    }

    /// False while output is being lost.
    pub(super) fn is_complete(&self, key: FileKey) -> bool {
        self.open.get(&key).is_some_and(|shared| !shared.file.is_failing())
    }

    /// The paths that hold a file's output, the oldest first.
    pub(super) fn paths(&self, key: FileKey) -> Option<Vec<PathBuf>> {
        let file = &self.open.get(&key)?.file;
        let mut paths: Vec<_> = older_files(file.path()).map(|older| older.path).collect();
        paths.reverse();
        paths.push(file.path().to_owned());
        Some(paths)
    }

    /// Opens every file again with its next output.
    pub(super) fn reopen(&mut self) {
        self.open.values_mut().for_each(|shared| shared.file.reopen());
    }
}

impl Shared {
    fn give_up(&mut self, error: &io::Error) {
        self.rests = true;
        warn!(file = %self.file.path().display(), %error,
            "old log files could not be compressed; the next rotation tries again");
    }
}

/// Deletes the oldest of a log's older files until they fit its own limit.
fn trim(file: &LogFile) {
    let Some(total_max) = file.settings().total_max else { return };
    let older = older_files_and_more(file.path());
    let total = older.iter().map(|(_, found)| found.len()).sum();
    delete_until(total, total_max, older.into_iter().rev());
}

fn delete_until(mut total: u64, total_max: u64, files: impl Iterator<Item = (Older, Metadata)>) {
    for (Older { path, .. }, found) in files {
        if total <= total_max {
            return;
        }
        match fs::remove_file(&path) {
            Ok(()) => total = total.saturating_sub(found.len()),
            Err(error) => {
                warn!(file = %path.display(), %error, "old log file could not be deleted");
            }
        }
    }
}

/// The compressed file goes first: between the two steps both are there, and the plain one counts.
fn put_in_place(job: &Job) -> io::Result<()> {
    let is_source =
        |(older, found): &(Older, Metadata)| !older.compressed && Identity::of(found) == job.source;
    let unfinished = unfinished_path(&job.log);
    match older_files_and_more(&job.log).into_iter().find(is_source) {
        Some((older, _)) => {
            fs::rename(&unfinished, older_path(&job.log, older.number, true))?;
            fs::remove_file(&older.path)
        }
        // It was deleted meanwhile.
        None => absent_is_fine(fs::remove_file(&unfinished)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> LogSettings {
        LogSettings { size_max: 100, ..LogSettings::default() }
    }

    #[test]
    fn pools_that_name_one_file_share_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::default();
        let path = dir.path().join("x.log");
        let first = files.open(path.clone(), &settings());
        let second = files.open(path.clone(), &settings());
        assert_eq!(first, second);
        files.close(first);
        files.append(second, Batch::new(b"a\n", None), Instant::now());
        assert_eq!(fs::read(&path).unwrap(), b"a\n");
        files.close(second);
        assert_eq!(files.paths(second), None);
    }

    #[test]
    fn a_pool_keeps_no_more_than_its_own_total() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let mut files = Files::default();
        let limited = LogSettings { total_max: Some(250), ..settings() };
        let key = files.open(path.clone(), &limited);
        let line = [&[b'x'; 99][..], b"\n"].concat();
        for _ in 0..5 {
            files.append(key, Batch::new(&line, None), Instant::now());
        }
        assert_eq!(older_files(&path).count(), 2);
        files.open(path.clone(), &LogSettings { total_max: Some(0), ..settings() });
        assert_eq!(older_files(&path).count(), 0, "a lowered limit holds at once");
        assert!(path.exists());
    }

    #[test]
    fn what_a_killed_daemon_left_half_compressed_counts_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        fs::write(unfinished_path(&path), "half").unwrap();
        // Killed between the two steps, it left both.
        fs::write(older_path(&path, 1, false), "old\n").unwrap();
        fs::write(older_path(&path, 1, true), "the same").unwrap();
        let mut files = Files::default();
        let key = files.open(path.clone(), &LogSettings { compress: true, ..settings() });
        assert!(!unfinished_path(&path).exists());
        assert_eq!(files.paths(key).unwrap(), [older_path(&path, 1, false), path.clone()]);
        let job = files.next_to_compress().unwrap();
        fs::write(unfinished_path(&path), "whole").unwrap();
        files.compressed(&job, Ok(()));
        assert_eq!(files.paths(key).unwrap(), [older_path(&path, 1, true), path.clone()]);
        assert_eq!(fs::read(older_path(&path, 1, true)).unwrap(), b"whole");
        assert!(files.next_to_compress().is_none());
    }

    #[test]
    fn a_file_that_moved_on_while_it_was_compressed_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let mut files = Files::default();
        let key = files.open(path.clone(), &LogSettings { compress: true, keep: 2, ..settings() });
        let line = [&[b'x'; 99][..], b"\n"].concat();
        let mut job = None;
        for turn in 0..4 {
            files.append(key, Batch::new(&line, None), Instant::now());
            if turn == 1 {
                job = files.next_to_compress();
            }
            fs::write(unfinished_path(&path), "done").unwrap();
            match turn {
                2 => files.compressed(job.as_ref().unwrap(), Ok(())),
                3 => assert!(older_path(&path, 2, false).exists(), "the compressed one was third"),
                _ => {}
            }
        }
        files.compressed(&job.unwrap(), Ok(()));
        assert!(!unfinished_path(&path).exists(), "nobody needs it any more");
    }
}

//! All log files: one per path, however many pools write to it, and a limit over all of them.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use tokio::time::Instant;
use tracing::warn;

use super::file::{Appended, LogFile, older_files};
use crate::config::LogSettings;

/// Names an open log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FileKey(u64);

/// Every log file.
#[derive(Debug)]
pub(super) struct Files {
    total_max: u64,
    next: u64,
    open: HashMap<FileKey, Shared>,
    /// Files of pools that are gone; they still count and may be deleted for room.
    retired: Vec<PathBuf>,
}

#[derive(Debug)]
struct Shared {
    file: LogFile,
    users: usize,
}

impl Files {
    /// No files, which may use `total_max` bytes in all.
    pub(super) fn new(total_max: u64) -> Self {
        Self { total_max, next: 0, open: HashMap::new(), retired: Vec::new() }
    }

    /// The file at `path`, for one user more; its limits are those named last.
    pub(super) fn open(&mut self, path: PathBuf, settings: &LogSettings) -> FileKey {
        if let Some((key, shared)) =
            self.open.iter_mut().find(|(_, shared)| shared.file.path() == path)
        {
            shared.users += 1;
            shared.file.configure(settings);
            return *key;
        }
        self.retired.retain(|retired| *retired != path);
        let key = FileKey(self.next);
        self.next += 1;
        self.open.insert(key, Shared { file: LogFile::new(path, settings), users: 1 });
        key
    }

    /// Gives a file up; it is closed with its last user.
    pub(super) fn close(&mut self, key: FileKey) {
        let Some(shared) = self.open.get_mut(&key) else { return };
        shared.users -= 1;
        if shared.users == 0 {
            self.retired.push(shared.file.path().to_owned());
            self.open.remove(&key);
        }
    }

    /// Appends to a file, and makes room when that began a new one.
    pub(super) fn append(&mut self, key: FileKey, bytes: &[u8], now: Instant) {
        let Some(shared) = self.open.get_mut(&key) else { return };
        if shared.file.append(bytes, now) == Appended::Rotated {
            self.make_room();
        }
    }

    /// False while output is being lost.
    pub(super) fn is_complete(&self, key: FileKey) -> bool {
        self.open.get(&key).is_some_and(|shared| !shared.file.is_failing())
    }

    /// The paths that hold a file's output, the oldest first.
    pub(super) fn paths(&self, key: FileKey) -> Option<Vec<PathBuf>> {
        let file = &self.open.get(&key)?.file;
        let mut paths: Vec<_> =
            older_files(file.path()).into_iter().map(|(path, _)| path).rev().collect();
        paths.push(file.path().to_owned());
        Some(paths)
    }

    /// Opens every file again with its next output.
    pub(super) fn reopen(&mut self) {
        self.open.values_mut().for_each(|shared| shared.file.reopen());
    }

    /// Deletes the oldest of the older files until all files fit the limit. Of files as old as each
    /// other the one with the higher number goes, so the numbers stay without a gap.
    fn make_room(&self) {
        let current = self.open.values().map(|shared| shared.file.path());
        let roots: Vec<&Path> = current.chain(self.retired.iter().map(PathBuf::as_path)).collect();
        let mut total: u64 =
            roots.iter().filter_map(|path| fs::metadata(path).ok()).map(|found| found.len()).sum();
        let mut older = Vec::new();
        for root in &roots {
            for (age, (path, found)) in older_files(root).into_iter().enumerate() {
                total += found.len();
                older.push((found.modified().ok(), Reverse(age), path, found.len()));
            }
        }
        older.sort();
        for (_, _, path, len) in older {
            if total <= self.total_max {
                return;
            }
            match fs::remove_file(&path) {
                Ok(()) => total = total.saturating_sub(len),
                Err(error) => {
                    warn!(file = %path.display(), %error, "old log file could not be deleted");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::rotation::rotated_path;
    use super::*;
    use crate::config::LogFormat;

    fn settings() -> LogSettings {
        LogSettings { file: None, size_max: 100, keep: 5, format: LogFormat::Text }
    }

    #[test]
    fn the_oldest_files_of_all_pools_go_when_the_total_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::new(550);
        let paths = ["a.log", "b.log"].map(|name| dir.path().join(name));
        let keys = paths.clone().map(|path| files.open(path, &settings()));
        let line = [&[b'x'; 99][..], b"\n"].concat();
        for turn in 0..8 {
            let which = turn / 4;
            files.append(keys[which], &line, Instant::now());
            let written = fs::File::open(&paths[which]).unwrap();
            written.set_modified(UNIX_EPOCH + Duration::from_secs(turn as u64)).unwrap();
        }
        let exists = |path: &PathBuf, number| rotated_path(path, number).exists();
        assert_eq!([1, 2, 3].map(|number| exists(&paths[1], number)), [true; 3]);
        assert_eq!([1, 2, 3].map(|number| exists(&paths[0], number)), [false; 3]);
        assert!(paths[0].exists(), "the current file is never deleted");
    }

    #[test]
    fn pools_that_name_one_file_share_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::new(1000);
        let path = dir.path().join("x.log");
        let first = files.open(path.clone(), &settings());
        let second = files.open(path.clone(), &settings());
        assert_eq!(first, second);
        files.close(first);
        files.append(second, b"a\n", Instant::now());
        assert_eq!(fs::read(&path).unwrap(), b"a\n");
        files.close(second);
        assert_eq!(files.paths(second), None);
    }
}

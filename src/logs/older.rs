//! The older files of a log: `x.log.1` is the newest, `x.log.1.gz` the same when compressed.
//!
//! A file is compressed under a name of its own that counts for nothing; then that is renamed, and
//! then the plain file goes. A daemon that is killed in between leaves both, and the plain one
//! counts.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// What a file is called while it is being compressed, behind the log's name.
const UNFINISHED: &str = ".gz.part";

/// One older file that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Older {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its place, from 1.
    pub(super) number: u32,
    /// Whether it is compressed.
    pub(super) compressed: bool,
}

/// The older files of `log`, the newest first; a gap in their numbers ends them.
pub(super) fn older_files(log: &Path) -> impl Iterator<Item = Older> {
    (1..).map_while(|number| {
        [false, true].into_iter().find_map(|compressed| {
            let path = older_path(log, number, compressed);
            path.exists().then_some(Older { path, number, compressed })
        })
    })
}

/// The same with what the system knows of them.
pub(super) fn older_files_and_more(log: &Path) -> Vec<(Older, Metadata)> {
    let known = |older: Older| fs::metadata(&older.path).ok().map(|found| (older, found));
    older_files(log).filter_map(known).collect()
}

/// The name of an older file.
pub(super) fn older_path(log: &Path, number: u32, compressed: bool) -> PathBuf {
    beside(log, &format!(".{number}{}", if compressed { ".gz" } else { "" }))
}

/// The name of a file that is being compressed.
pub(super) fn unfinished_path(log: &Path) -> PathBuf {
    beside(log, UNFINISHED)
}

/// Moves the log and its older files one on, and deletes those above `keep`.
pub(super) fn shift(log: &Path, keep: u32) -> io::Result<()> {
    let mut older: Vec<_> = older_files(log).collect();
    let surplus = older.split_off(older.len().min(keep.saturating_sub(1) as usize));
    surplus.iter().try_for_each(|older| absent_is_fine(fs::remove_file(&older.path)))?;
    if keep == 0 {
        return absent_is_fine(fs::remove_file(log));
    }
    for older in older.iter().rev() {
        let next = older.number + 1;
        // What an earlier run left under the other name would stand for this one, or hide it.
        absent_is_fine(fs::remove_file(older_path(log, next, !older.compressed)))?;
        absent_is_fine(fs::rename(&older.path, older_path(log, next, older.compressed)))?;
    }
    absent_is_fine(fs::remove_file(older_path(log, 1, true)))?;
    absent_is_fine(fs::rename(log, older_path(log, 1, false)))
}

/// Success where there was nothing to do.
pub(super) fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn beside(log: &Path, end: &str) -> PathBuf {
    let mut name: OsString = log.as_os_str().to_owned();
    name.push(end);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(log: &Path) -> Vec<String> {
        older_files(log).map(|older| fs::read_to_string(older.path).unwrap()).collect()
    }

    #[test]
    fn older_files_move_on_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("x.log");
        let write = |text: &str| fs::write(&log, text).unwrap();
        for text in ["one", "two", "three", "four"] {
            write(text);
            shift(&log, 2).unwrap();
        }
        assert_eq!(texts(&log), ["four", "three"]);
        shift(&log, 1).unwrap();
        assert_eq!(texts(&log).len(), 0, "a lowered keep deletes what is above it");
        write("five");
        shift(&log, 0).unwrap();
        assert!(!log.exists());
    }

    #[test]
    fn compressed_files_move_on_under_their_own_names_and_plain_ones_hide_them() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("x.log");
        for (name, text) in [("x.log", "new"), ("x.log.1", "one"), ("x.log.1.gz", "half")] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        fs::write(older_path(&log, 2, true), "two").unwrap();
        fs::write(older_path(&log, 4, true), "beyond the gap").unwrap();
        assert_eq!(texts(&log), ["one", "two"]);
        shift(&log, 9).unwrap();
        assert_eq!(texts(&log), ["new", "one", "two", "beyond the gap"]);
        let compressed: Vec<_> = older_files(&log).map(|older| older.compressed).collect();
        assert_eq!(compressed, [false, false, true, true]);
        assert!(!older_path(&log, 1, true).exists(), "it would stand for another file");
    }
}

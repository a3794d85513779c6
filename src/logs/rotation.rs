//! When a log file is rotated, and what its older files are called: `x.log.1` is the newest.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use memchr::{memchr, memrchr};

/// What is to happen next to bytes that wait for their file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Write so many of them.
    Write(usize),
    /// Begin a new file first.
    Rotate,
}

/// How full a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fill {
    /// Its bytes.
    pub(super) size: u64,
    /// True when its last line has no end yet.
    pub(super) mid_line: bool,
}

/// Decides so that files end with a line's end and do not grow above `size_max`, unless a single
/// line is longer. `bytes` is not empty.
pub(super) fn next_step(bytes: &[u8], fill: Fill, size_max: u64) -> Step {
    let room = usize::try_from(size_max.saturating_sub(fill.size)).unwrap_or(usize::MAX);
    let Some(fits) = bytes.get(..room) else { return Step::Write(bytes.len()) };
    if fits.len() == bytes.len() {
        return Step::Write(bytes.len());
    }
    if let Some(end) = memrchr(b'\n', fits) {
        return Step::Write(end + 1);
    }
    if fill.size > 0 && !fill.mid_line {
        return Step::Rotate;
    }
    match memchr(b'\n', bytes) {
        Some(end) => Step::Write(end + 1),
        None if room == 0 && fill.size > 0 => Step::Rotate,
        None => Step::Write(bytes.len()),
    }
}

/// The name of an older file, from 1.
pub(super) fn rotated_path(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// The older files that exist, the newest first.
pub(super) fn rotated_paths(path: &Path) -> impl Iterator<Item = PathBuf> {
    (1..).map(move |number| rotated_path(path, number)).take_while(|older| older.exists())
}

/// Moves the file and its older ones one on, and deletes those above `keep`.
pub(super) fn shift(path: &Path, keep: u32) -> io::Result<()> {
    let surplus: Vec<_> = rotated_paths(path).skip(keep.saturating_sub(1) as usize).collect();
    surplus.iter().try_for_each(fs::remove_file)?;
    if keep == 0 {
        return absent_is_fine(fs::remove_file(path));
    }
    for number in (1..keep).rev() {
        absent_is_fine(fs::rename(rotated_path(path, number), rotated_path(path, number + 1)))?;
    }
    absent_is_fine(fs::rename(path, rotated_path(path, 1)))
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_end_where_lines_end() {
        let step = |bytes: &[u8], size, mid_line, size_max| {
            next_step(bytes, Fill { size, mid_line }, size_max)
        };
        assert_eq!(step(b"a\nb\n", 0, false, 10), Step::Write(4));
        assert_eq!(step(b"a\nb\n", 6, false, 10), Step::Write(4));
        assert_eq!(step(b"a\nb\n", 7, false, 10), Step::Write(2));
        assert_eq!(step(b"a\nb\n", 9, false, 10), Step::Rotate);
        assert_eq!(step(b"a\nb\n", 90, false, 10), Step::Rotate);
        assert_eq!(step(b"longer than it\nb", 0, false, 10), Step::Write(15));
        assert_eq!(step(b"longer than it\nb", 8, true, 10), Step::Write(15));
        assert_eq!(step(b"a part without end", 8, true, 10), Step::Write(18));
        assert_eq!(step(b"a part without end", 26, true, 10), Step::Rotate);
    }

    #[test]
    fn older_files_move_on_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let write = |text: &str| fs::write(&path, text).unwrap();
        for text in ["one", "two", "three", "four"] {
            write(text);
            shift(&path, 2).unwrap();
        }
        let texts: Vec<_> =
            rotated_paths(&path).map(|path| fs::read_to_string(path).unwrap()).collect();
        assert_eq!(texts, ["four", "three"]);
        shift(&path, 1).unwrap();
        assert_eq!(rotated_paths(&path).count(), 0, "a lowered keep deletes what is above it");
        write("five");
        shift(&path, 0).unwrap();
        assert!(!path.exists());
    }
}

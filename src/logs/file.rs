//! One log file: appended to, rotated by size, opened again when somebody moved it.
//!
//! Nothing here fails upwards: what cannot be written is counted, warned about once a minute, and
//! tried again with the next output, so that a full disk never stops a worker.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use tokio::time::Instant;
use tracing::{info, warn};

use super::rotation::{Fill, Step, next_step, rotated_paths, shift};
use crate::config::LogSettings;

/// Who may read a log: the owner and its group.
const FILE_MODE: u32 = 0o640;
/// The same for a folder that we create for logs.
const FOLDER_MODE: u32 = 0o750;
/// Lost output is warned about this often.
const WARN_PAUSE: Duration = Duration::from_mins(1);
/// Whether the file still has its name is looked up this often at most.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// One log file.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    size_max: u64,
    keep: u32,
    open: Option<OpenFile>,
    looked_at: Option<Instant>,
    trouble: Trouble,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    /// Device and inode; `None` for what is no plain file and is never rotated.
    identity: Option<(u64, u64)>,
    fill: Fill,
}

/// Output that could not be written.
#[derive(Debug, Default)]
struct Trouble {
    lost: u64,
    lost_unsaid: u64,
    warned_at: Option<Instant>,
}

/// Whether an append began a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    /// It did not.
    Same,
    /// It did: there is one older file more.
    Rotated,
}

impl LogFile {
    /// A file that is opened with its first output.
    pub(super) fn new(path: PathBuf, settings: &LogSettings) -> Self {
        Self {
            path,
            size_max: settings.size_max,
            keep: settings.keep,
            open: None,
            looked_at: None,
            trouble: Trouble::default(),
        }
    }

    /// Takes changed limits.
    pub(super) fn configure(&mut self, settings: &LogSettings) {
        self.size_max = settings.size_max;
        self.keep = settings.keep;
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// True while output is being lost.
    pub(super) fn is_failing(&self) -> bool {
        self.trouble.lost > 0
    }

    /// Closes the file; the next output opens what then has its name.
    pub(super) fn reopen(&mut self) {
        self.open = None;
        self.looked_at = None;
    }

    /// Appends whole records, or raw output.
    pub(super) fn append(&mut self, bytes: &[u8], now: Instant) -> Appended {
        let mut rest = bytes;
        match self.try_append(&mut rest, now) {
            Ok(appended) => {
                self.trouble.recovered(&self.path);
                appended
            }
            Err(error) => {
                self.trouble.lost(rest.len() as u64, &error, &self.path, now);
                Appended::Same
            }
        }
    }

    fn try_append(&mut self, rest: &mut &[u8], now: Instant) -> io::Result<Appended> {
        self.look(now);
        let mut appended = Appended::Same;
        let mut size_max = self.size_max;
        while !rest.is_empty() {
            let open = match self.open.take() {
                Some(open) => self.open.insert(open),
                None => self.open.insert(open_file(&self.path)?),
            };
            let step = match open.identity {
                Some(_) => next_step(rest, open.fill, size_max),
                None => Step::Write(rest.len()),
            };
            match step {
                Step::Write(len) => open.write(rest, len)?,
                Step::Rotate => match shift(&self.path, self.keep) {
                    Ok(()) => {
                        self.open = None;
                        appended = Appended::Rotated;
                    }
                    Err(error) => {
                        warn!(file = %self.path.display(), %error, "log file could not be rotated");
                        size_max = u64::MAX;
                    }
                },
            }
        }
        Ok(appended)
    }

    /// Drops a file that was deleted or moved by somebody else, so that output goes on under the
    /// name where it is looked for.
    fn look(&mut self, now: Instant) {
        let recent = self.looked_at.is_some_and(|at| now.duration_since(at) < LOOK_PAUSE);
        let Some(identity) = self.open.as_ref().and_then(|open| open.identity).filter(|_| !recent)
        else {
            return;
        };
        self.looked_at = Some(now);
        let named = fs::metadata(&self.path).ok().map(|found| (found.dev(), found.ino()));
        if named != Some(identity) {
            self.open = None;
        }
    }
}

impl OpenFile {
    /// Writes `len` bytes of `rest` and takes off it what was written.
    fn write(&mut self, rest: &mut &[u8], len: usize) -> io::Result<()> {
        let mut left = len;
        while left > 0 {
            match self.file.write(rest.get(..left).unwrap_or(rest)) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    let (done, tail) = rest.split_at(written);
                    self.fill.size += written as u64;
                    self.fill.mid_line = done.last() != Some(&b'\n');
                    *rest = tail;
                    left -= written;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Trouble {
    fn lost(&mut self, bytes: u64, error: &io::Error, path: &Path, now: Instant) {
        self.lost += bytes;
        self.lost_unsaid += bytes;
        if self.warned_at.is_none_or(|at| now.duration_since(at) >= WARN_PAUSE) {
            let lost_bytes = std::mem::take(&mut self.lost_unsaid);
            self.warned_at = Some(now);
            warn!(file = %path.display(), lost_bytes, %error,
                "output of workers could not be written; it is tried again with the next output");
        }
    }

    /// The pause between warnings goes on: a disk that is full now and then warns no more often.
    fn recovered(&mut self, path: &Path) {
        if self.lost > 0 {
            let lost_bytes = std::mem::take(&mut self.lost);
            self.lost_unsaid = 0;
            info!(file = %path.display(), lost_bytes, "output of workers is written again");
        }
    }
}

/// The older files of `path` with their sizes and times of last change, the newest first.
pub(super) fn older_files(path: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    rotated_paths(path)
        .filter_map(|older| Some((older.clone(), fs::metadata(&older).ok()?)))
        .collect()
}

fn open_file(path: &Path) -> io::Result<OpenFile> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    }
    let file = match open_options().create_new(true).mode(FILE_MODE).open(path) {
        // The mode once more, as the process's mask may have taken bits away.
        Ok(file) => {
            file.set_permissions(Permissions::from_mode(FILE_MODE))?;
            file
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => open_existing(path)?,
        Err(error) => return Err(error),
    };
    let about = file.metadata()?;
    let identity = about.is_file().then_some((about.dev(), about.ino()));
    // Whether an earlier run ended in the middle of a line is not worth a read.
    Ok(OpenFile { file, identity, fill: Fill { size: about.len(), mid_line: false } })
}

/// Follows a symlink only when root or we ourselves made it: in a folder that a worker may write,
/// it could put one that leads to any file.
fn open_existing(path: &Path) -> io::Result<File> {
    let link = fs::symlink_metadata(path)?;
    let ours = link.uid() == 0 || link.uid() == geteuid().as_raw();
    if link.is_symlink() && ours {
        return open_options().open(path);
    }
    open_options().custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()).open(path)
}

fn open_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    // Opening a fifo must not wait for its reader.
    options.append(true).custom_flags(OFlag::O_NONBLOCK.bits());
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogFormat;

    fn settings(size_max: u64, keep: u32) -> LogSettings {
        LogSettings { file: None, size_max, keep, format: LogFormat::Text }
    }

    #[test]
    fn rotated_files_hold_every_byte_in_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/x.log");
        let mut file = LogFile::new(path.clone(), &settings(100, 9));
        let mut all = Vec::new();
        for turn in 0..20 {
            let text = format!("line {turn}\n").repeat(turn);
            let lines = text.get(..text.len().min(300)).unwrap_or_default();
            let whole = lines.rfind('\n').map_or("", |end| &lines[..=end]);
            file.append(whole.as_bytes(), Instant::now());
            all.extend_from_slice(whole.as_bytes());
        }
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, FILE_MODE);
        let mut found: Vec<Vec<u8>> =
            rotated_paths(&path).map(|older| fs::read(older).unwrap()).collect();
        assert_eq!(found.len(), 9);
        found.reverse();
        found.push(fs::read(&path).unwrap());
        for bytes in &found {
            assert!(bytes.len() <= 100 && bytes.ends_with(b"\n"));
        }
        assert!(all.ends_with(&found.concat()));
    }

    #[test]
    fn output_goes_on_under_the_name_after_the_file_was_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let mut file = LogFile::new(path.clone(), &settings(100, 1));
        let now = Instant::now();
        file.append(b"a\n", now);
        fs::remove_file(&path).unwrap();
        file.append(b"b\n", now + LOOK_PAUSE);
        assert_eq!(fs::read(&path).unwrap(), b"b\n");
        fs::rename(&path, dir.path().join("moved")).unwrap();
        file.reopen();
        file.append(b"c\n", now + LOOK_PAUSE);
        assert_eq!(fs::read(&path).unwrap(), b"c\n");
    }

    #[test]
    fn a_full_disk_loses_lines_and_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let mut file = LogFile::new(path.clone(), &settings(100, 1));
        file.append(b"lost\n", Instant::now());
        assert!(file.is_failing());
        fs::remove_file(&path).unwrap();
        file.reopen();
        file.append(b"kept\n", Instant::now());
        assert!(!file.is_failing());
        assert_eq!(fs::read(&path).unwrap(), b"kept\n");
    }
}

//! One log file: appended to, rotated by size and age, opened again when somebody moved it.
//!
//! Nothing here fails upwards: what cannot be written is counted, warned about once a minute, and
//! tried again with the next output, so that a full disk never stops a worker.
//!
//! An outside logrotate finds what it expects: a file that was moved or deleted is left for a new
//! one within a second of output (or at once with SIGUSR2), and one that was cut short
//! (`copytruncate`) is written on from its new end.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use tokio::time::Instant;
use tracing::{info, warn};

use super::older::{absent_is_fine, shift, unfinished_path};
use super::rotation::{Batch, Fill, Step, next_step};
use crate::config::LogSettings;

/// Who may read a log: the owner and its group.
pub(super) const FILE_MODE: u32 = 0o640;
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
    settings: LogSettings,
    open: Option<OpenFile>,
    looked_at: Option<Instant>,
    trouble: Trouble,
    rotation_warned_at: Option<Instant>,
}

/// What a file is known by while its name changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The number of its device.
    pub(super) device: u64,
    /// Its number there.
    pub(super) inode: u64,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    /// `None` for what is no plain file and is never rotated.
    identity: Option<Identity>,
    fill: Fill,
    /// When the file was made; `None` where no clock reaches back so far.
    begun: Option<Instant>,
    /// True when a record was written in part, and the rest of it is lost.
    torn: bool,
}

/// Output that could not be written.
#[derive(Debug, Default)]
struct Trouble {
    lost: u64,
    lost_unsaid: u64,
    warned_at: Option<Instant>,
}

/// What came of an append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Appended {
    /// It began a new file: there is one older file more.
    pub(super) rotated: bool,
    /// Bytes that could not be written.
    pub(super) lost: u64,
}

impl LogFile {
    /// A file that is opened with its first output.
    pub(super) fn new(path: PathBuf, settings: &LogSettings) -> Self {
        if let Err(error) = absent_is_fine(fs::remove_file(unfinished_path(&path))) {
            warn!(file = %path.display(), %error, "a half compressed file could not be deleted");
        }
        Self {
            path,
            settings: settings.clone(),
            open: None,
            looked_at: None,
            trouble: Trouble::default(),
            rotation_warned_at: None,
        }
    }

    /// Takes changed limits.
    pub(super) fn configure(&mut self, settings: &LogSettings) {
        self.settings = settings.clone();
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What its pool asks for.
    pub(super) fn settings(&self) -> &LogSettings {
        &self.settings
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
    pub(super) fn append(&mut self, mut batch: Batch<'_>, now: Instant) -> Appended {
        let mut appended = Appended::default();
        if batch.rest.is_empty() {
            return appended;
        }
        match self.try_append(&mut batch, &mut appended.rotated, now) {
            Ok(()) => self.trouble.recovered(&self.path),
            Err(error) => {
                if let Some(open) = &mut self.open {
                    open.torn = open.fill.mid_line;
                }
                appended.lost = batch.rest.len() as u64;
                self.trouble.lost(appended.lost, &error, &self.path, now);
            }
        }
        appended
    }

    fn try_append(
        &mut self,
        batch: &mut Batch<'_>,
        rotated: &mut bool,
        now: Instant,
    ) -> io::Result<()> {
        self.look(now);
        let mut may_rotate = true;
        while !batch.rest.is_empty() {
            let open = match self.open.take() {
                Some(open) => self.open.insert(open),
                None => self.open.insert(open_file(&self.path, now)?),
            };
            match open.next_step(*batch, may_rotate.then_some(&self.settings), now) {
                Step::Write(len) => open.write(&mut batch.rest, len)?,
                // Cut short by somebody else since the last look, it is not full after all.
                Step::Rotate if open.is_cut_short(now) => {}
                Step::Rotate => match shift(&self.path, self.settings.keep) {
                    Ok(()) => {
                        self.open = None;
                        *rotated = true;
                    }
                    Err(error) => {
                        self.warn_of_rotation(&error, now);
                        may_rotate = false;
                    }
                },
            }
        }
        Ok(())
    }

    /// Drops a file that was deleted or moved by somebody else, so that output goes on under the
    /// name where it is looked for.
    fn look(&mut self, now: Instant) {
        let recent = self.looked_at.is_some_and(|at| now.duration_since(at) < LOOK_PAUSE);
        let Some(open) = self.open.as_mut().filter(|open| open.identity.is_some() && !recent)
        else {
            return;
        };
        self.looked_at = Some(now);
        let named = fs::metadata(&self.path).ok().map(|found| Identity::of(&found));
        if named == open.identity {
            open.is_cut_short(now);
        } else {
            self.open = None;
        }
    }

    fn warn_of_rotation(&mut self, error: &io::Error, now: Instant) {
        if self.rotation_warned_at.is_none_or(|at| now.duration_since(at) >= WARN_PAUSE) {
            self.rotation_warned_at = Some(now);
            warn!(file = %self.path.display(), %error, "log file could not be rotated; it grows");
        }
    }
}

impl Identity {
    /// Of what was looked up.
    pub(super) fn of(found: &fs::Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}

impl OpenFile {
    /// What to do next; without limits all is written.
    fn next_step(&self, batch: Batch<'_>, limits: Option<&LogSettings>, now: Instant) -> Step {
        let Some(limits) = limits.filter(|_| self.identity.is_some()) else {
            return Step::Write(batch.rest.len());
        };
        let is_over = |max| self.begun.is_some_and(|begun| now.duration_since(begun) >= max);
        let is_old = limits.age_max.is_some_and(is_over);
        if is_old && self.fill.size > 0 && batch.may_end_before(self.fill) {
            return Step::Rotate;
        }
        next_step(batch, self.fill, limits.size_max)
    }

    /// Whether the file has become shorter; it is as good as new then.
    fn is_cut_short(&mut self, now: Instant) -> bool {
        let Ok(found) = self.file.metadata() else { return false };
        if self.identity.is_none() || found.len() >= self.fill.size {
            return false;
        }
        self.fill = Fill { size: found.len(), mid_line: false };
        self.begun = Some(now);
        true
    }

    /// Writes `len` bytes of `rest` and takes off it what was written.
    fn write(&mut self, rest: &mut &[u8], len: usize) -> io::Result<()> {
        let mut left = len;
        if self.torn {
            // What is left of the lost record is a line of its own and spoils no other.
            self.file.write_all(b"\n")?;
            self.fill.size += 1;
            self.torn = false;
        }
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

fn open_file(path: &Path, now: Instant) -> io::Result<OpenFile> {
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
    let identity = about.is_file().then(|| Identity::of(&about));
    // Where the file system does not know, the age is counted from now on.
    let made = about.created().unwrap_or_else(|_| SystemTime::now());
    let begun = now.checked_sub(made.elapsed().unwrap_or_default());
    // Whether an earlier run ended in the middle of a line is not worth a read.
    let fresh = Fill { size: about.len(), mid_line: false };
    Ok(OpenFile { file, identity, fill: fresh, begun, torn: false })
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
mod tests;

//! Room on the disk that is kept for the moment when there is none.
//!
//! SQLite needs space to delete, too: the log of a commit comes first. When the disk is full this
//! file is removed, so that the ends of jobs can still be recorded. No new job is taken until there
//! is room to make it again.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::fcntl::posix_fallocate;

/// Several times what the log grows to before it is taken back to the file.
pub(super) const LEN: u32 = 16 << 20;
/// How long after a try to make it again the next one is due.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// The file, and whether it is there.
#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
    /// When it was found missing, or tried last; nothing while it is there.
    missing: Option<Instant>,
}

impl Ballast {
    /// Makes it; a disk without room for it is full.
    pub(super) fn open(path: PathBuf) -> Self {
        let missing = make(&path).is_err().then(Instant::now);
        Self { path, missing }
    }

    /// Whether it is gone.
    pub(super) fn is_missing(&self) -> bool {
        self.missing.is_some()
    }

    /// Gives its room away.
    pub(super) fn drop_it(&mut self) {
        self.missing = Some(Instant::now());
        // Without it there is nothing more to give.
        fs::remove_file(&self.path).unwrap_or_default();
    }

    /// Whether it is gone, and the next try to make it is due.
    pub(super) fn is_due(&self) -> bool {
        self.missing.is_some_and(|tried| tried.elapsed() >= TRY_EVERY)
    }

    /// Tries to make it again.
    pub(super) fn restore(&mut self) {
        self.missing = make(&self.path).is_err().then(Instant::now);
    }
}

fn make(path: &PathBuf) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(path)?;
    posix_fallocate(&file, 0, LEN.into()).map_err(io::Error::from).inspect_err(|_| {
        // A part of it is of no use to anybody.
        fs::remove_file(path).unwrap_or_default();
    })
}
